"""The intent behind a checkout session: what takes the money, or saves the card.

Owns where it is kept. In payment and setup mode the session shows its intent; in subscription mode
it is the first invoice's, or saves the card for later ones, and the session doesn't name it.
"""

from __future__ import annotations

from typing import Any

from bursar_sandbox.store import Transaction
from bursar_sandbox.stripe import intents, records, setup_intents


def of(tx: Transaction, session: dict[str, Any]) -> dict[str, Any] | None:
    """The session's intent, to pay or to save a card; None before the first try."""
    shown = session["setup_intent"] or session["payment_intent"]
    return tx.find(shown or tx.private(session["id"]).get("hidden_intent") or "")


def keep(tx: Transaction, session: dict[str, Any], intent: dict[str, Any]) -> None:
    """Let the session have this intent from now on, and store the session."""
    if session["mode"] == "subscription":
        private = {**tx.private(session["id"]), "hidden_intent": intent["id"]}
        records.replace_private(tx, session["id"], private)
    else:
        session[intent["object"]] = intent["id"]
    records.replace(tx, session)


def let_go(tx: Transaction, session: dict[str, Any]) -> None:
    """Cancel the intent of a session that nobody completes any more, if it still can be."""
    intent = of(tx, session)
    if intent is None:
        return
    if intent["object"] == "setup_intent":
        if intent["status"] in setup_intents.CONFIRMABLE:
            setup_intents.cancel(tx, intent, "abandoned")
    elif intent["status"] in intents.CANCELABLE:
        intents.cancel(tx, intent, "automatic")
