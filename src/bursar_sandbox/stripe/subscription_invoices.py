"""The invoices of subscriptions: what stands on one, and when it is issued.

Owns how a subscription's items, pending invoice items, discounts and taxes become an invoice. How
one is finalized and paid, `invoice_payments` owns. All amounts are in minor units.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from bursar_sandbox.store import Transaction
from bursar_sandbox.stripe import (
    customer_discounts,
    events,
    invoice_lines,
    invoice_payments,
    invoices,
    records,
    subscription_discounts,
    subscription_states,
    subscription_totals,
)
from bursar_sandbox.stripe.cards import Decline
from bursar_sandbox.stripe.discounts import Terms
from bursar_sandbox.stripe.periods import DAY
from bursar_sandbox.stripe.subscription_objects import items_of

Body = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Draft:
    """An invoice that is reckoned and not stored: what a preview shows, and `store` keeps."""

    invoice: Body
    lines: list[Body]
    items: list[Body]
    terms: list[Terms]


def draw(
    tx: Transaction,
    subscription: Body,
    reason: str,
    lines: list[Body],
    pending: list[Body],
    *,
    period: tuple[int, int] | None = None,
    terms: list[Terms] | None = None,
) -> Draft:
    """The draft over these lines of the subscription's items, and these pending invoice items.

    `reason` is the `billing_reason`; `period` what the invoice says it is for; `terms` are the
    discounts, where they are not those that the subscription has.
    """
    customer = records.get(tx, "customer", subscription["customer"])
    invoice = invoices.blank(tx, customer, subscription["currency"])
    _describe(tx, invoice, subscription, reason)
    if period is not None:
        invoice.update(period_start=period[0], period_end=period[1])
    every = [invoice_lines.of_item(item, invoice["id"]) for item in pending]
    every += [{**line, "invoice": invoice["id"]} for line in lines]
    has = subscription_discounts.terms_of(tx, subscription) if terms is None else terms
    used = subscription_discounts.in_force(has, tx.now)
    used = used or customer_discounts.in_force(tx, customer["id"])
    sources = [*items_of(subscription), *pending]
    subscription_totals.reckon(tx, invoice, every, used, sources)
    return Draft(invoice, every, pending, used)


def _describe(tx: Transaction, invoice: Body, subscription: Body, reason: str) -> None:
    settings = subscription["invoice_settings"]
    sent = subscription["collection_method"] == "send_invoice"
    taxed = subscription["automatic_tax"]["enabled"]
    invoice.update(
        auto_advance=True,
        billing_reason=reason,
        collection_method=subscription["collection_method"],
        default_payment_method=None,
        default_tax_rates=subscription["default_tax_rates"],
        description=settings["description"],
        due_date=tx.now + subscription["days_until_due"] * DAY if sent else None,
        footer=settings["footer"] or invoice["footer"],
        custom_fields=settings["custom_fields"] or invoice["custom_fields"],
        parent={
            "quote_details": None,
            "subscription_details": {
                "metadata": subscription["metadata"],
                "subscription": subscription["id"],
            },
            "type": "subscription_details",
        },
        payment_settings={
            **invoice["payment_settings"],
            "payment_method_types": subscription["payment_settings"]["payment_method_types"],
        },
        test_clock=subscription["test_clock"],
    )
    if taxed:
        located = bool((invoice["customer_address"] or {}).get("country"))
        invoice["automatic_tax"] = {
            "disabled_reason": None,
            "enabled": True,
            "liability": {"type": "self"},
            "provider": "stripe",
            "status": "complete" if located else "requires_location_inputs",
        }


def pending_of(tx: Transaction, subscription: Body, *, own: bool = False) -> list[Body]:
    """The items that wait for the subscription's next invoice, oldest first.

    Those that belong to no subscription wait for it too, unless only its `own` are wanted.
    """
    found = invoices.pending_items(tx, subscription["customer"], subscription["currency"])
    return [item for item in found if _waits_for(item, subscription["id"], own=own)]


def _waits_for(item: Body, subscription_id: str, *, own: bool) -> bool:
    details = (item["parent"] or {}).get("subscription_details")
    return not own if details is None else bool(details["subscription"] == subscription_id)


def store(tx: Transaction, subscription: Body, draft: Draft, *, advances: bool = True) -> Body:
    """Keep a draft, which the subscription names from here on; the caller stores the subscription.

    With `advances`, an hour later it is finalized and collected.
    """
    invoice = draft.invoice
    subscription["latest_invoice"] = invoice["id"]
    if advances and invoice["auto_advance"]:
        due = tx.now + invoices.FINALIZE_SECONDS
        invoice["automatically_finalizes_at"] = due
    records.insert(tx, invoice, {"lines": draft.lines, "terms": draft.terms})
    for item in draft.items:
        records.replace(tx, {**item, "invoice": invoice["id"]})
    if invoice["automatically_finalizes_at"] is not None:
        tx.store.schedule(
            tx, invoice["automatically_finalizes_at"], "invoice.advance", invoice["id"]
        )
    events.emit(tx, "invoice.created", invoice)
    subscription_discounts.spend(tx, subscription, draft.lines)
    customer_discounts.spend(tx, invoice["customer"], draft.lines)
    return invoice


def issue(
    tx: Transaction, subscription: Body, draft: Draft, *, off_session: bool = False,
    collects: bool = True,
) -> Decline | None:  # fmt: skip
    """Keep a draft, finalize it and try to collect it at once; why it isn't paid, if it isn't.

    The subscription is stored; read it again afterwards. Without `collects` the invoice stays open
    for the buyer to pay. An invoice that is sent only goes out.
    """
    invoice = store(tx, subscription, draft, advances=False)
    subscription_states.save(tx, subscription)
    invoice_payments.finalize(tx, invoice)
    if invoice["status"] != "open":
        return None
    if invoice["collection_method"] == "send_invoice":
        invoice_payments.sent(tx, invoice)
        return None
    if not collects:
        return None
    method = invoice_payments.default_method(tx, invoice)
    if method is None:
        invoice_payments.collect(tx, invoice)
        return None
    return invoice_payments.pay(tx, invoice, method, off_session=off_session)
