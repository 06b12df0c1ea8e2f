"""The intent that a buyer's try to complete a checkout session confirms: found, or made.

Owns what such an intent looks like. It confirms none: `checkout` does.
"""

from __future__ import annotations

from typing import Any

from bursar_sandbox.store import Transaction
from bursar_sandbox.stripe import intents, records, session_endings, session_intents, setup_intents


def to_pay(tx: Transaction, session: dict[str, Any], details: dict[str, Any]) -> dict[str, Any]:
    """The session's payment intent, made on the first try; `details` are the buyer's."""
    known = session_intents.of(tx, session)
    if known is not None and known["object"] == "payment_intent" and not _replaced(session, known):
        return known
    intent = intents.blank(tx, session["amount_total"], session["currency"])
    intent.update(tx.private(session["id"])["intent"])
    intent["payment_method_types"] = session["payment_method_types"]
    intent["payment_method_options"] = intents.options_for(session["payment_method_types"])
    if session["mode"] == "subscription":
        intent.update(description="Subscription creation", setup_future_usage="off_session")
    card = session["payment_method_options"].get("card", {})
    if card.get("capture_method"):
        intent["capture_method"] = "manual"
    if card.get("request_three_d_secure"):
        shown = intent["payment_method_options"]["card"]
        shown["request_three_d_secure"] = card["request_three_d_secure"]
    keeps = session_endings.wants_customer(session) or intent["setup_future_usage"]
    if session["customer"] is None and keeps:
        session_endings.make_customer(tx, session, details)
    intent["customer"] = session["customer"]
    intents.add(tx, intent, {"session": session["id"]})
    session_intents.keep(tx, session, intent)
    return intent


def _replaced(session: dict[str, Any], intent: dict[str, Any]) -> bool:
    """Whether the intent was given up because for a while there was nothing to pay."""
    return bool(session["mode"] == "subscription" and intent["status"] == "canceled")


def to_save(tx: Transaction, session: dict[str, Any], details: dict[str, Any]) -> dict[str, Any]:
    """The session's setup intent; one that sells a subscription makes it on the first try."""
    if session["customer"] is None and session_endings.wants_customer(session):
        session_endings.make_customer(tx, session, details)
        records.replace(tx, session)
    setup = session_intents.of(tx, session)
    if setup is None or setup["object"] != "setup_intent":
        setup = setup_intents.blank(tx, session["payment_method_types"])
        setup_intents.add(tx, setup, {"session": session["id"]})
        session_intents.keep(tx, session, setup)
    setup["customer"] = session["customer"]
    return setup
