"""What else comes of a completed checkout session: its customer, consents, invoice and link.

Owns these consequences, in their order. Whether the session is complete, `checkout` decides.
"""

from __future__ import annotations

from typing import Any

from bursar_sandbox.store import Transaction
from bursar_sandbox.stripe import (
    customers,
    events,
    invoice_payments,
    methods,
    payment_links,
    records,
)


def wants_customer(session: dict[str, Any]) -> bool:
    """Whether the session can't be completed without a customer of its own."""
    invoice = session["invoice_creation"]
    return session["customer_creation"] == "always" or bool(invoice and invoice["enabled"])


def make_customer(tx: Transaction, session: dict[str, Any], details: dict[str, Any]) -> None:
    """Make a customer of the buyer; the session names it, and is not stored yet."""
    customer = customers.add(
        tx,
        email=details["email"] or session["customer_email"],
        name=details["name"],
        address=details["address"],
    )
    session["customer"] = customer["id"]


def conclude(
    tx: Transaction,
    session: dict[str, Any],
    details: dict[str, Any],
    intent: dict[str, Any] | None,
) -> None:
    """Let follow what does before the seller is told; the session is not stored yet.

    `details` are the buyer's, `intent` the payment or setup intent, None for a free order.
    """
    if session["customer"] is None and wants_customer(session):
        make_customer(tx, session, details)
    private = tx.private(session["id"])
    _consent(session, private.get("ticked", {}))
    _update_customer(tx, session, private.get("customer_update") or {}, details)
    if intent is not None:
        _keep_method(tx, session, intent, private.get("ticked", {}))
    if session["payment_link"] is not None:
        payment_links.count_use(tx, session["payment_link"])
    if session["payment_status"] != "unpaid":
        write_invoice(tx, session, intent)


def write_invoice(tx: Transaction, session: dict[str, Any], intent: dict[str, Any] | None) -> None:
    """Write the invoice that the seller wanted, once the money is there; the caller stores."""
    wanted = session["invoice_creation"]
    if wanted and wanted["enabled"] and session["invoice"] is None:
        customer = tx.find(session["customer"] or "")
        if customer is None or customer.get("deleted"):
            return
        invoice_payments.of_session(tx, session, customer, intent)


def _consent(session: dict[str, Any], ticked: dict[str, bool]) -> None:
    asked = session["consent_collection"]
    if asked is None:
        return
    promotions = None
    if asked["promotions"] == "auto":
        promotions = "opt_in" if ticked.get("promotions") else "opt_out"
    terms = "accepted" if asked["terms_of_service"] == "required" else None
    session["consent"] = {"promotions": promotions, "terms_of_service": terms}


def _update_customer(
    tx: Transaction, session: dict[str, Any], wanted: dict[str, str], details: dict[str, Any]
) -> None:
    """Write what the buyer has typed into the customer that the seller has named."""
    before = tx.find(session["customer"] or "")
    if before is None or before.get("deleted") or "auto" not in wanted.values():
        return
    after = dict(before)
    if wanted["name"] == "auto" and details["name"]:
        after["name"] = details["name"]
    if wanted["address"] == "auto" and details["address"]:
        after["address"] = details["address"]
    collected = session["collected_information"] or {}
    if wanted["shipping"] == "auto" and collected.get("shipping_details"):
        after["shipping"] = {
            "carrier": None,
            "phone": None,
            "tracking_number": None,
            **collected["shipping_details"],
        }
    if after != before:
        records.replace(tx, after)
        events.emit_update(tx, before, after)


def _keep_method(
    tx: Transaction, session: dict[str, Any], intent: dict[str, Any], ticked: dict[str, bool]
) -> None:
    """Keep the card for another time, if the buyer has ticked the box or the seller asked."""
    method = tx.find(intent["payment_method"] or "")
    if method is None or session["customer"] is None:
        return
    saved = method["customer"] is not None
    if ticked.get("save"):
        method["allow_redisplay"] = "always"
        if not saved:
            methods.keep(tx, method, session["customer"])
            return
    elif saved and method["allow_redisplay"] == "unspecified":
        method["allow_redisplay"] = "limited"
    records.replace(tx, method)
