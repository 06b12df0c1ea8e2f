"""What a completed checkout session in subscription mode begins: a subscription, its first invoice.

Owns how the session's items, discount, taxes and wishes become the subscription's. Whether the
session is complete, `checkout` decides; the caller stores the session.
"""

from __future__ import annotations

from typing import Any

from bursar_sandbox.store import Transaction
from bursar_sandbox.stripe import (
    events,
    invoice_payments,
    records,
    subscription_creation,
    subscription_discounts,
    subscription_invoices,
    subscription_states,
)
from bursar_sandbox.stripe.params import Params
from bursar_sandbox.stripe.subscription_creation import Start

Body = dict[str, Any]


def begin(tx: Transaction, session: Body, intent: Body | None) -> None:
    """Make the subscription; the session names it and its first invoice from here on.

    `intent` is what has paid the first invoice, or saved a card where nothing was due; None where
    no card was asked for.
    """
    _locate(tx, session)
    private = tx.private(session["id"])
    start = subscription_creation.build(tx, _wanted(tx, session, private, intent), archived=True)
    if private.get("discount"):
        start = _discounted(tx, start, private["discount"])
    subscription = start.subscription
    draft = subscription_creation.first_draft(tx, start)
    subscription_creation.keep(tx, start, counted=True)
    under_way = intent is not None and intent["object"] == "payment_intent"
    if not under_way:
        subscription["status"] = "trialing" if subscription["trial_end"] else "active"
    invoice = subscription_invoices.store(tx, subscription, draft, advances=False)
    subscription_states.save(tx, subscription)
    subscription_states.announce(tx, subscription)
    invoice_payments.finalize(tx, invoice, intent if under_way else None)
    if intent is not None and intent["status"] == "processing":
        # A debit is on its way: the buyer has done everything, so the subscription runs.
        subscription["status"] = "active"
        subscription_states.save(tx, subscription)
    session.update(subscription=subscription["id"], invoice=invoice["id"])
    found = records.get(tx, "subscription", subscription["id"])
    subscription_creation.schedule(tx, found)


def _locate(tx: Transaction, session: Body) -> None:
    """Have the customer live where the session's tax was reckoned for."""
    customer = records.get(tx, "customer", session["customer"])
    address = (session["customer_details"] or {}).get("address")
    taxed = session["automatic_tax"]["enabled"]
    if taxed and address and not (customer["address"] or {}).get("country"):
        after = {**customer, "address": address}
        records.replace(tx, after)
        events.emit_update(tx, customer, after)


def _wanted(tx: Transaction, session: Body, private: Body, intent: Body | None) -> Params:
    """The session's wishes as the parameters of a new subscription."""
    items = private["line_items"]
    fields = dict(private.get("subscription") or {})
    fields.update(
        add_invoice_items=_rows(tx, session, [one for one in items if not _recurs(one)]),
        automatic_tax={"enabled": "true" if session["automatic_tax"]["enabled"] else "false"},
        currency=session["currency"],
        customer=session["customer"],
        items=_rows(tx, session, [one for one in items if _recurs(one)]),
    )
    method = tx.find((intent or {}).get("payment_method") or "")
    if method is not None and method["customer"] == session["customer"]:
        fields["default_payment_method"] = method["id"]
    return Params(fields)


def _recurs(item: Body) -> bool:
    return item["price"]["recurring"] is not None


def _rows(tx: Transaction, session: Body, items: list[Body]) -> Body:
    rows: Body = {}
    for place, item in enumerate(items):
        rows[str(place)] = {"price": item["price"]["id"], "quantity": str(item["quantity"])}
        taxes = tx.private(item["id"]).get("taxes", [])
        if taxes and not session["automatic_tax"]["enabled"]:
            ids = [part["rate"]["id"] for part in taxes]
            rows[str(place)]["tax_rates"] = {str(at): one for at, one in enumerate(ids)}
    return rows


def _discounted(tx: Transaction, start: Start, terms: Body) -> Start:
    """The same subscription with the session's discount."""
    own = subscription_discounts.belonging(tx, start.subscription, terms)
    start.subscription["discounts"] = [own["discount"]["id"]]
    return Start(start.subscription, [own], start.shares, start.extras)
