"""A subscription's status: what its invoices' outcomes make of it, and how it ends.

Owns the writing of subscriptions and their items, and the events that tell of a change. It never
makes an invoice and never charges anybody.
"""

from __future__ import annotations

from typing import Any

import orjson

from bursar_sandbox.store import Transaction
from bursar_sandbox.stripe import events, records
from bursar_sandbox.stripe.subscription_objects import ENDED, items_of

_OVERDUE = ("past_due", "unpaid")


def find(tx: Transaction, subscription_id: str) -> dict[str, Any] | None:
    """The subscription with that id; None if there is none."""
    found = tx.find(subscription_id)
    return found if found is not None and found["object"] == "subscription" else None


def of_customer(tx: Transaction, customer_id: str) -> list[dict[str, Any]]:
    """The customer's subscriptions that have not ended, newest first."""
    rows = tx.execute(
        "SELECT body FROM objects WHERE object = 'subscription' AND customer = ?"
        " AND label NOT IN ('canceled', 'incomplete_expired') ORDER BY seq DESC",
        (customer_id,),
    ).fetchall()
    return [orjson.loads(row[0]) for row in rows]


def id_of(invoice: dict[str, Any]) -> str | None:
    """The id of the subscription that an invoice is for; None for any other invoice."""
    details = (invoice["parent"] or {}).get("subscription_details")
    return str(details["subscription"]) if details else None


def of_invoice(tx: Transaction, invoice: dict[str, Any]) -> dict[str, Any] | None:
    """The subscription that an invoice is for; None for any other invoice."""
    subscription_id = id_of(invoice)
    return find(tx, subscription_id) if subscription_id else None


def add(tx: Transaction, subscription: dict[str, Any], private: dict[str, Any]) -> None:
    """Store a new subscription; nobody hears of it until `announce`."""
    records.insert(tx, subscription, {**private, "silent": True})
    _keep_items(tx, subscription)


def announce(tx: Transaction, subscription: dict[str, Any]) -> None:
    """Tell of a new subscription."""
    remember(tx, subscription, silent=False)
    events.emit(tx, "customer.subscription.created", subscription)


def remember(tx: Transaction, subscription: dict[str, Any], **facts: Any) -> None:
    """Keep facts of a subscription that are never shown."""
    private = {**tx.private(subscription["id"]), **facts}
    records.replace_private(tx, subscription["id"], private)


def save(tx: Transaction, subscription: dict[str, Any], event: str | None = None) -> None:
    """Store what has changed of a subscription and tell of it.

    `event` is a further event that the change means, such as `customer.subscription.paused`.
    """
    before = records.get(tx, "subscription", subscription["id"])
    former = events.changes(before, subscription)
    records.replace(tx, subscription)
    if "items" in former:
        _keep_items(tx, subscription)
    if tx.private(subscription["id"]).get("silent"):
        return
    if former:
        events.emit(tx, "customer.subscription.updated", subscription, former)
    if event is not None:
        events.emit(tx, event, subscription)


def _keep_items(tx: Transaction, subscription: dict[str, Any]) -> None:
    rows = tx.execute(
        "SELECT id FROM objects WHERE object = 'subscription_item' AND parent = ?",
        (subscription["id"],),
    ).fetchall()
    known = {row[0] for row in rows}
    for item in items_of(subscription):
        if item["id"] in known:
            records.replace(tx, item)
            known.discard(item["id"])
        else:
            records.insert(tx, item)
    for item_id in known:
        records.delete(tx, records.get(tx, "subscription_item", item_id))


def end(
    tx: Transaction,
    subscription: dict[str, Any],
    status: str = "canceled",
    *,
    reason: str | None = None,
) -> None:
    """End the subscription now, as `canceled` or `incomplete_expired`."""
    details = dict(subscription["cancellation_details"])
    details["reason"] = reason or details["reason"]
    subscription.update(
        cancellation_details=details,
        canceled_at=subscription["canceled_at"] or tx.now,
        ended_at=tx.now,
        status=status,
    )
    if status == "incomplete_expired":
        subscription["canceled_at"] = None
        save(tx, subscription)
        return
    records.replace(tx, subscription)
    events.emit(tx, "customer.subscription.deleted", subscription)


def end_all(tx: Transaction, customer_id: str) -> None:
    """End whatever a customer who is deleted has subscribed to."""
    for subscription in of_customer(tx, customer_id):
        end(tx, subscription, reason="cancellation_requested")


def paid(tx: Transaction, invoice: dict[str, Any]) -> None:
    """Tell the subscription, if the invoice is one's, that the invoice is paid."""
    subscription = of_invoice(tx, invoice)
    if subscription is None or subscription["status"] in ENDED:
        return
    _note_delinquency(tx, invoice["customer"], delinquent=False)
    _keep_method(tx, subscription, invoice)
    _settled(tx, subscription, invoice)


def closed(tx: Transaction, invoice: dict[str, Any]) -> None:
    """Tell the subscription, if the invoice is one's, that it is void or uncollectible."""
    subscription = of_invoice(tx, invoice)
    if subscription is None or subscription["status"] in ENDED:
        return
    if subscription["status"] == "incomplete":
        if invoice["billing_reason"] == "subscription_create":
            end(tx, subscription, "incomplete_expired")
        return
    _settled(tx, subscription, invoice)


def _settled(tx: Transaction, subscription: dict[str, Any], invoice: dict[str, Any]) -> None:
    """Nothing is owed on the invoice any more."""
    status = subscription["status"]
    first = status == "incomplete" and invoice["billing_reason"] == "subscription_create"
    latest = subscription["latest_invoice"] == invoice["id"]
    resumes = status == "paused" and tx.private(subscription["id"]).get("resumes") == invoice["id"]
    if first or resumes or (latest and status in _OVERDUE):
        on_trial = (subscription["trial_end"] or 0) > tx.now
        subscription["status"] = "trialing" if on_trial else "active"
        if resumes:
            subscription.pop("status_details", None)
            save(tx, subscription, "customer.subscription.resumed")
            return
    save(tx, subscription)


def _keep_method(tx: Transaction, subscription: dict[str, Any], invoice: dict[str, Any]) -> None:
    """Let the subscription go on with what has paid it, where the seller wants that."""
    if subscription["payment_settings"]["save_default_payment_method"] != "on_subscription":
        return
    intent = tx.find(tx.private(invoice["id"]).get("intent") or "")
    if intent is not None and intent["status"] == "succeeded":
        method = tx.find(intent["payment_method"] or "")
        if method is not None and method["customer"] == subscription["customer"]:
            subscription["default_payment_method"] = method["id"]


def failed(tx: Transaction, invoice: dict[str, Any]) -> None:
    """Tell the subscription, if the invoice is one's, that it could not be collected."""
    subscription = of_invoice(tx, invoice)
    if subscription is None or subscription["status"] in ENDED:
        return
    _note_delinquency(tx, invoice["customer"], delinquent=True)
    resumes = tx.private(subscription["id"]).get("resumes") == invoice["id"]
    if subscription["status"] == "paused" and resumes:
        subscription.pop("status_details", None)
        subscription["status"] = "past_due"
        save(tx, subscription, "customer.subscription.resumed")
    elif subscription["status"] in ("active", "trialing"):
        subscription["status"] = "past_due"
        save(tx, subscription)


def _note_delinquency(tx: Transaction, customer_id: str, *, delinquent: bool) -> None:
    before = tx.find(customer_id)
    if before is None or before.get("deleted") or before["delinquent"] == delinquent:
        return
    after = {**before, "delinquent": delinquent}
    records.replace(tx, after)
    events.emit_update(tx, before, after)


def set_up(tx: Transaction, setup: dict[str, Any], subscription_id: str | None) -> None:
    """Tell the subscription, if the setup intent is one's, that a method is saved for it."""
    subscription = find(tx, subscription_id) if subscription_id else None
    if subscription is None or subscription["status"] in ENDED:
        return
    subscription["pending_setup_intent"] = None
    if subscription["payment_settings"]["save_default_payment_method"] == "on_subscription":
        subscription["default_payment_method"] = setup["payment_method"]
    save(tx, subscription)


def forget_method(tx: Transaction, customer_id: str, method_id: str) -> None:
    """Let no subscription of the customer's be paid with a method that is detached."""
    for subscription in of_customer(tx, customer_id):
        if subscription["default_payment_method"] == method_id:
            subscription["default_payment_method"] = None
            save(tx, subscription)
