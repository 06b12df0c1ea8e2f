"""What happens to subscriptions by time: trials end, periods renew, invoices are tried again.

Owns the meaning of each such moment and when the next ones come. The transaction lives in the
moment itself, however far a clock has gone on in one step, so that everything bears its own time.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

from bursar_sandbox.store import Transaction
from bursar_sandbox.stripe import (
    events,
    invoice_balances,
    invoice_payments,
    invoices,
    periods,
    records,
    subscription_invoices,
    subscription_lines,
    subscription_methods,
    subscription_retries,
    subscription_states,
)
from bursar_sandbox.stripe.discounts import Terms
from bursar_sandbox.stripe.ids import new_id
from bursar_sandbox.stripe.periods import DAY
from bursar_sandbox.stripe.subscription_invoices import Draft
from bursar_sandbox.stripe.subscription_objects import ENDED, items_of, period_end

Body = dict[str, Any]
WARNED_DAYS = 3
"""How many days before a trial's end the seller hears of it."""
_STILL = (*ENDED, "incomplete", "paused")


def schedule(tx: Transaction, subscription: Body) -> None:
    """Let happen in time what a subscription has ahead of it, as it is now.

    One that still waits for its first payment may run by then; the moment itself looks again.
    """
    if subscription["status"] in ENDED:
        return
    ends = period_end(subscription)
    _at(tx, subscription, "subscription.renew", ends)
    ahead = subscription_retries.rules(tx).upcoming_days * DAY
    if ends - ahead > tx.now:
        _at(tx, subscription, "subscription.upcoming", ends - ahead)
    if subscription["cancel_at"] is not None:
        _at(tx, subscription, "subscription.cancel", subscription["cancel_at"])
    pause = subscription["pause_collection"]
    if pause is not None and pause["resumes_at"] is not None:
        _at(tx, subscription, "subscription.collect_again", pause["resumes_at"])
    if subscription["status"] == "trialing":
        warned = subscription["trial_end"] - WARNED_DAYS * DAY
        if warned > tx.now:
            _at(tx, subscription, "subscription.trial_will_end", warned)
        else:
            warn_of_trial_end(tx, subscription["id"])


def _at(tx: Transaction, subscription: Body, kind: str, due: int) -> None:
    known = tx.private(subscription["id"]).get("due", {})
    if known.get(kind) != due:
        tx.store.schedule(tx, due, kind, subscription["id"])
        subscription_states.remember(tx, subscription, due={**known, kind: due})


def _awaited(tx: Transaction, subscription_id: str, kind: str) -> Body | None:
    """The subscription, if it still waits for this moment: plans may have changed since."""
    subscription = subscription_states.find(tx, subscription_id)
    if subscription is None or subscription["status"] in _STILL:
        return None
    waits = tx.private(subscription_id).get("due", {}).get(kind) == tx.now
    return subscription if waits else None


def warn_of_trial_end(tx: Transaction, subscription_id: str) -> None:
    """Tell, once for each, that a trial ends soon."""
    subscription = subscription_states.find(tx, subscription_id)
    if subscription is None or subscription["status"] != "trialing":
        return
    end = subscription["trial_end"]
    if end - tx.now > WARNED_DAYS * DAY or tx.private(subscription_id).get("warned") == end:
        return
    subscription_states.remember(tx, subscription, warned=end)
    events.emit(tx, "customer.subscription.trial_will_end", subscription)


def announce_invoice(tx: Transaction, subscription_id: str) -> None:
    """Tell that the next invoice comes soon, and what will stand on it."""
    subscription = _awaited(tx, subscription_id, "subscription.upcoming")
    if subscription is None or _ends_by(subscription, period_end(subscription)):
        return
    invoice = upcoming(tx, subscription).invoice
    events.emit(tx, "invoice.upcoming", {**invoice, "id": new_id("upcoming_in")})


def upcoming(
    tx: Transaction,
    subscription: Body,
    waiting: Sequence[Body] = (),
    terms: list[Terms] | None = None,
) -> Draft:
    """The invoice that the end of the running period will bring, if nothing changes until then.

    `waiting` are invoice items to come beside those that wait already; `terms` the discounts, where
    they are not those that the subscription has.
    """
    due = period_end(subscription)
    after = copy.deepcopy(subscription)
    now, tx.now = tx.now, due
    try:
        draft = renewed(tx, after, due, waiting, terms)
    finally:
        tx.now = now
    draft.invoice.update(
        billing_reason="upcoming",
        next_payment_attempt=due + invoices.FINALIZE_SECONDS
        if subscription["collection_method"] == "charge_automatically"
        else None,
    )
    return draft


def renewed(
    tx: Transaction,
    subscription: Body,
    at: int,
    waiting: Sequence[Body] = (),
    terms: list[Terms] | None = None,
) -> Draft:
    """Begin the next periods of the items whose period has ended `at`, and draw their invoice.

    Only the given body is changed, nothing is stored. `waiting` and `terms` as for `upcoming`.
    """
    starts = [item["current_period_start"] for item in items_of(subscription)]
    due = [item for item in items_of(subscription) if item["current_period_end"] <= at]
    anchor = subscription["billing_cycle_anchor"]
    for item in due:
        start = item["current_period_end"]
        end = periods.end_of(item["price"], anchor, start)
        item.update(current_period_start=start, current_period_end=end)
    lines = [subscription_lines.of_period(tx, subscription, item) for item in due]
    pending = [*subscription_invoices.pending_of(tx, subscription), *waiting]
    return subscription_invoices.draw(
        tx, subscription, "subscription_cycle", lines, pending, period=(min(starts), at),
        terms=terms,
    )  # fmt: skip


def _ends_by(subscription: Body, at: int) -> bool:
    return subscription["cancel_at"] is not None and subscription["cancel_at"] <= at


def renew(tx: Transaction, subscription_id: str) -> None:
    """A period, or a trial, has come to its end."""
    subscription = _awaited(tx, subscription_id, "subscription.renew")
    if subscription is None or period_end(subscription) > tx.now:
        return
    if _ends_by(subscription, tx.now):
        finish(tx, subscription)
        return
    if subscription["status"] == "trialing":
        if not leave_trial(tx, subscription):
            return
        subscription["status"] = "active"
    draft = renewed(tx, subscription, tx.now)
    _bill(tx, subscription, draft)
    schedule(tx, records.get(tx, "subscription", subscription_id))


def leave_trial(tx: Transaction, subscription: Body) -> bool:
    """Whether a subscription goes on after its trial; one that nobody can pay may not.

    One that doesn't is canceled or paused here, and stored.
    """
    wanted = subscription["trial_settings"]["end_behavior"]["missing_payment_method"]
    sent = subscription["collection_method"] == "send_invoice"
    has_method = subscription_methods.of(tx, subscription) is not None
    if wanted == "create_invoice" or sent or has_method:
        return True
    if wanted == "cancel":
        subscription_states.end(tx, subscription)
        return False
    subscription.update(
        status="paused",
        status_details={
            "paused": {
                "subscription": {"type": "trial_end_without_payment_method"},
                "transitioned_at": tx.now,
                "type": "subscription",
            }
        },
    )
    subscription_states.save(tx, subscription, "customer.subscription.paused")
    return False


def _bill(tx: Transaction, subscription: Body, draft: Draft) -> None:
    """Store a period's invoice; who has paused, or does not pay, is not charged for it."""
    pause = subscription["pause_collection"]
    if subscription["status"] == "unpaid" or (pause and pause["behavior"] == "keep_as_draft"):
        draft.invoice["auto_advance"] = False
    invoice = subscription_invoices.store(tx, subscription, draft, advances=pause is None)
    subscription_states.save(tx, subscription)
    if pause is None or pause["behavior"] == "keep_as_draft":
        return
    invoice["auto_advance"] = False
    invoice_payments.finalize(tx, invoice)
    if invoice["status"] == "open":
        forgo(tx, invoice, pause["behavior"])


def forgo(tx: Transaction, invoice: Body, behavior: str) -> None:
    """Give up what is owed on an open invoice: `void` it, or `mark_uncollectible`."""
    if behavior == "void":
        invoice_payments.abandon(tx, invoice)
        invoice_balances.give_back(tx, invoice)
        invoices.close(tx, invoice, "void", "voided_at", "invoice.voided")
    else:
        invoices.close(
            tx, invoice, "uncollectible", "marked_uncollectible_at",
            "invoice.marked_uncollectible",
        )  # fmt: skip


def cancel(tx: Transaction, subscription_id: str) -> None:
    """The time has come at which the subscription was to end."""
    subscription = _awaited(tx, subscription_id, "subscription.cancel")
    if subscription is not None and _ends_by(subscription, tx.now):
        finish(tx, subscription)


def finish(tx: Transaction, subscription: Body, *, reason: str | None = None) -> None:
    """End the subscription. What waits for its next invoice is billed on a last one."""
    stop_collecting(tx, subscription)
    pending = subscription_invoices.pending_of(tx, subscription, own=True)
    if pending and reason is None:
        draft = subscription_invoices.draw(
            tx, subscription, "subscription_cycle", [], pending, terms=[]
        )
        subscription_invoices.store(tx, subscription, draft)
    subscription_states.end(tx, subscription, reason=reason)


def stop_collecting(tx: Transaction, subscription: Body) -> None:
    """Ask by itself for none of the subscription's unpaid invoices any more."""
    rows = tx.execute(
        "SELECT id FROM objects WHERE object = 'invoice' AND customer = ?"
        " AND label IN ('draft', 'open')"
        " AND body ->> '$.parent.subscription_details.subscription' = ?",
        (subscription["customer"], subscription["id"]),
    ).fetchall()
    for (invoice_id,) in rows:
        before = records.get(tx, "invoice", invoice_id)
        after = {
            **before,
            "auto_advance": False,
            "automatically_finalizes_at": None,
            "next_payment_attempt": None,
        }
        records.replace(tx, after)
        events.emit_update(tx, before, after)


def collect_again(tx: Transaction, subscription_id: str) -> None:
    """A pause of collection has come to its end."""
    subscription = _awaited(tx, subscription_id, "subscription.collect_again")
    pause = subscription["pause_collection"] if subscription else None
    if subscription is not None and pause and (pause["resumes_at"] or tx.now + 1) <= tx.now:
        subscription["pause_collection"] = None
        subscription_states.save(tx, subscription)


def lapse(tx: Transaction, subscription_id: str) -> None:
    """Nobody has paid the first invoice in time: it is void, and the subscription never was."""
    subscription = subscription_states.find(tx, subscription_id)
    if subscription is None or subscription["status"] != "incomplete":
        return
    invoice = records.get(tx, "invoice", subscription["latest_invoice"])
    if invoice["status"] == "open":
        forgo(tx, invoice, "void")


def advance(tx: Transaction, invoice_id: str) -> None:
    """An hour after it was made, a draft that goes on by itself is finalized and collected."""
    if _has_customer(tx, invoice_id):
        invoice_payments.advance(tx, invoice_id)
        _after_try(tx, invoice_id)


def _has_customer(tx: Transaction, invoice_id: str) -> bool:
    """Whether there is still somebody to ask: a customer may have been deleted meanwhile."""
    invoice = tx.find(invoice_id) or {}
    customer = tx.find(invoice.get("customer") or "")
    return customer is not None and not customer.get("deleted")


def retry(tx: Transaction, invoice_id: str) -> None:
    """The time for another try to collect an invoice has come."""
    invoice = records.get(tx, "invoice", invoice_id)
    if invoice["status"] != "open" or invoice["next_payment_attempt"] != tx.now:
        return
    if not _has_customer(tx, invoice_id):
        return
    invoice_payments.collect(tx, invoice)
    _after_try(tx, invoice_id)


def _after_try(tx: Transaction, invoice_id: str) -> None:
    """After the last try, do what the seller's rules say."""
    invoice = tx.find(invoice_id)
    if invoice is None or invoice.get("status") != "open" or not invoice["attempted"]:
        return
    subscription = subscription_states.of_invoice(tx, invoice)
    if subscription is None or subscription["status"] != "past_due":
        return
    if invoice["next_payment_attempt"] is not None:
        return
    ending = subscription_retries.rules(tx).after_last
    if ending == "cancel":
        finish(tx, subscription, reason="payment_failed")
    elif ending == "unpaid":
        subscription["status"] = "unpaid"
        subscription_states.save(tx, subscription)


def overdue(tx: Transaction, invoice_id: str) -> None:
    """An invoice that was sent is not paid by its day."""
    invoice = records.get(tx, "invoice", invoice_id)
    if invoice["status"] == "open":
        events.emit(tx, "invoice.overdue", invoice)
        subscription_states.failed(tx, invoice)
