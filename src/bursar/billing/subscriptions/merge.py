"""Merging: what was read of subscriptions, brought into their rows, which stay locked.

Finds whose a subscription is, sees to it that each invoice with money in it has a payment, and
says what the invoices say of those payments. Posts no credits and gives no features: `follow` does.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any
from uuid import UUID, uuid4

import asyncpg

from bursar.billing import catalog_plans, customers, payments, provider_customers
from bursar.billing.catalog_plans import Terms
from bursar.billing.payments import Intent, Payment
from bursar.billing.strangers import Owner
from bursar.billing.subscriptions import rows
from bursar.billing.subscriptions.rows import Invoice, Subscription
from bursar.db.connections import Connection
from bursar.providers.port import Line, PaymentFacts, PaymentState, Totals
from bursar.providers.recurring import InvoiceFact, SubscriptionFact

OWED = ("past_due", "unpaid")


class Raced(asyncpg.SerializationError):
    """Another transaction stored the same subscription just now: begin anew, and find it."""


@dataclass(frozen=True, slots=True)
class Read:
    """A subscription after merging. `before` is None for one that is new here."""

    before: Subscription | None
    row: Subscription
    invoices: list[Invoice]
    before_invoices: dict[str, Invoice]
    """As they were, by the provider's id."""
    terms: dict[str, Terms]
    """The plans of all prices that are named, by price id."""

    @property
    def plan(self) -> Terms | None:
        """The plan that it is of now."""
        return self.terms.get(self.row.price_id)


@dataclass(frozen=True, slots=True)
class Merged:
    """What was read, what its invoices say of payments, and the subscriptions that are nobody's."""

    read: list[Read]
    facts: list[PaymentFacts]
    strays: list[SubscriptionFact]


async def merge(
    conn: Connection,
    told: Sequence[SubscriptionFact],
    *,
    at: datetime,
    owner: Owner | None = None,
) -> Merged:
    """Merge what was read; `owner` is whose those are that have none, if a person said so.

    Raises Raced.
    """
    merged = Merged([], [], [])
    # The oldest answer first: of one subscription the last of them is to stand.
    for fact in sorted(told, key=lambda fact: (fact.subscription_id, fact.read)):
        if not fact.items:
            continue
        before = await rows.lock(conn, fact.provider, fact.subscription_id)
        whose = _owner_of(before) or owner or await _find_owner(conn, fact)
        if whose is None:
            merged.strays.append(fact)
            continue
        # An older answer may not name the price of today.
        known = [before.price_id] if before else []
        terms = await catalog_plans.list_terms(conn, fact.provider, [*_prices(fact), *known])
        row = await _put(conn, fact, before, whose, terms, at=at)
        earlier = {i.invoice_id: i for i in await rows.list_invoices(conn, row)}
        news = [told for told in fact.invoices if _is_news(told, earlier.get(told.invoice_id))]
        for invoice in news:
            await rows.put_invoice(conn, row, invoice, number=fact.read)
        merged.facts.extend(
            await _bill(conn, replace(fact, invoices=tuple(news)), row, earlier, terms=terms, at=at)
        )
        invoices = await rows.list_invoices(conn, row)
        terms |= await catalog_plans.list_terms(conn, fact.provider, _lines(invoices))
        merged.read.append(Read(before, row, invoices, earlier, terms))
    return merged


def _is_news(told: InvoiceFact, before: Invoice | None) -> bool:
    """Whether an invoice may have changed: one that is paid, or void, and stored so, does not."""
    ended = before is not None and before.status in ("paid", "void")
    return not (ended and before is not None and before.status == told.status)


def _owner_of(row: Subscription | None) -> Owner | None:
    return Owner(row.customer_id, row.user_id) if row else None


async def _find_owner(conn: Connection, fact: SubscriptionFact) -> Owner | None:
    """Whose it is: who opened the checkout, else whom the provider's customer is, else the one
    with that verified address."""
    if fact.reference is not None:
        payment = await payments.find_by_reference(conn, fact.reference)
        if payment is not None and payment.provider == fact.provider:
            return Owner(payment.customer_id, payment.user_id)
    if fact.provider_customer_id is not None:
        found = await provider_customers.find_owner(conn, fact.provider, fact.provider_customer_id)
        if found is not None:
            return Owner(found, await customers.find_person(conn, found))
    user = await customers.find_by_email(conn, fact.email) if fact.email else None
    return Owner(user.customer_id, user.id) if user else None


async def _put(
    conn: Connection,
    fact: SubscriptionFact,
    before: Subscription | None,
    owner: Owner,
    terms: dict[str, Terms],
    *,
    at: datetime,
) -> Subscription:
    if before is not None:
        if fact.read <= before.read_number:
            return before
        row = replace(before, **_fields(fact, before, terms, at))
        await rows.save(conn, row)
        return row
    fields = {
        "customer_id": owner.customer_id,
        "provider": fact.provider,
        "subscription_id": fact.subscription_id,
        "user_id": owner.user_id,
        "reference": _uuid(fact.reference),
        "created_at": fact.created_at,
        **_fields(fact, None, terms, at),
    }
    if await rows.insert(conn, fields) is None:
        raise Raced(f"subscription {fact.subscription_id} was stored just now")
    row_now = await rows.lock(conn, fact.provider, fact.subscription_id)
    assert row_now is not None  # noqa: S101 - it was made a line above
    return row_now


def _fields(
    fact: SubscriptionFact, before: Subscription | None, terms: dict[str, Terms], at: datetime
) -> dict[str, Any]:
    """The columns that an answer sets. Of several things subscribed to that of a plan counts."""
    item = next((item for item in fact.items if item.price_id in terms), fact.items[0])
    plan = terms.get(item.price_id)
    owed_since = before.past_due_at if before else None
    return {
        "plan": plan.key if plan else None,
        "plan_group": plan.group if plan else None,
        "addon": plan.addon if plan else False,
        "price_id": item.price_id,
        "item_id": item.item_id,
        "quantity": item.quantity,
        "amount_minor": item.amount_minor,
        "currency": item.currency,
        "interval": item.interval,
        "interval_count": item.interval_count,
        "status": fact.status,
        "raw_status": fact.raw_status,
        "period_start": item.period_start,
        "period_end": item.period_end,
        "trial_start": fact.trial_start,
        "trial_end": fact.trial_end,
        "cancel_at": fact.cancel_at,
        "cancel_at_period_end": fact.cancel_at_period_end,
        "canceled_at": fact.canceled_at,
        "ended_at": fact.ended_at,
        "resumes_at": fact.resumes_at,
        "past_due_at": (owed_since or _owed_since(fact) or at) if fact.status in OWED else None,
        "read_number": fact.read,
    }


def _owed_since(fact: SubscriptionFact) -> datetime | None:
    """Since when the oldest invoice that is open is owed: the beginning of what it is for."""
    return min((i.created_at for i in fact.invoices if i.status == "open"), default=None)


async def _bill(
    conn: Connection,
    fact: SubscriptionFact,
    row: Subscription,
    earlier: dict[str, Invoice],
    *,
    terms: dict[str, Terms],
    at: datetime,
) -> list[PaymentFacts]:
    """See to the payments of these invoices, and say what they tell of them."""
    stored = {invoice.invoice_id: invoice for invoice in await rows.list_invoices(conn, row)}
    facts: list[PaymentFacts] = []
    plan = terms.get(row.price_id)
    for told in fact.invoices:
        invoice = stored[told.invoice_id]
        if told.status == "draft" or invoice.read_number > fact.read:
            continue
        # What an invoice is of, its lines say; the subscription may be of another plan by now.
        named = [terms[i] for i in (line.price_id or "" for line in told.lines) if i in terms]
        payment = await _payment(conn, row, invoice, plan=named[-1] if named else plan, at=at)
        if payment is None:
            continue
        if invoice.payment_id is None:
            await rows.set_payment(conn, invoice, payment.id)
        before = earlier.get(told.invoice_id)
        tried = told.attempts > (before.attempts if before else 0)
        facts.append(_fact(row, payment, told, fact, tried=tried, at=at))
    return facts


async def _payment(
    conn: Connection, row: Subscription, invoice: Invoice, *, plan: Terms | None, at: datetime
) -> Payment | None:
    """The payment that is an invoice's money: the checkout's for the first, else one of its own.

    None for an invoice by which nobody was to pay anything.
    """
    if invoice.payment_id is not None:
        return await payments.get_payment(conn, row.customer_id, invoice.payment_id)
    if invoice.reason == "create" and row.reference is not None:
        opened = await payments.find_by_reference(conn, row.reference)
        own = opened is not None and opened.customer_id == row.customer_id
        if opened is not None and own and not await rows.is_taken(conn, opened):
            return opened
    if invoice.due_minor == 0:
        return None
    intent = Intent(
        customer_id=row.customer_id,
        reference=uuid4(),
        user_id=row.user_id,
        provider=row.provider,
        kind="invoice",
        amount_minor=invoice.due_minor,
        currency=invoice.currency,
        unit=plan.unit if plan else None,
        credits=0,
        snapshot={
            "name": _name(row, invoice, plan),
            "subscribes": row.plan,
            "currency": invoice.currency,
            "capture_method": "automatic",
        },
        request={},
        description=invoice.number,
        metadata={},
        opening="open",
    )
    payment_id = await payments.begin(conn, intent, at=at)
    return await payments.get_payment(conn, row.customer_id, payment_id)


def _fact(
    row: Subscription,
    payment: Payment,
    told: InvoiceFact,
    fact: SubscriptionFact,
    *,
    tried: bool,
    at: datetime,
) -> PaymentFacts:
    state: PaymentState | None = None
    when = told.finalized_at or told.created_at
    if told.status == "paid":
        state, when = "completed", told.paid_at or when
    elif told.status in ("void", "uncollectible"):
        state, when = "canceled", told.ended_at or when
    elif tried:
        # Nobody says when an attempt was; what counts is that it came after those before.
        state, when = "failed", at
    return PaymentFacts(
        provider=row.provider,  # type: ignore[arg-type]
        at=when,
        reference=payment.reference,
        session_id=payment.session_id,
        payment_intent_id=told.payment_intent_id,
        charge_id=told.charge_id,
        provider_customer_id=fact.provider_customer_id,
        state=state,
        currency=told.currency,
        amount_minor=told.due_minor,
        captured_minor=told.paid_minor if told.status == "paid" else None,
        totals=_totals(told) if state == "completed" else None,
        failure=told.failure if state == "failed" else None,
        receipt_url=told.url,
    )


def _totals(told: InvoiceFact) -> Totals:
    """What an invoice came to; a balance of old may lower what was to be paid."""
    lines = tuple(
        Line(line.price_id, line.quantity, max(0, line.amount_minor))
        for line in told.lines
        if not line.proration
    )
    return Totals(
        lines=lines,
        subtotal_minor=max(0, told.subtotal_minor),
        discount_minor=told.discount_minor,
        tax_added_minor=told.tax_added_minor,
        total_minor=told.due_minor,
        discounts=told.discounts,
    )


def _name(row: Subscription, invoice: Invoice, plan: Terms | None) -> str:
    """What an invoice is of, as its payment is listed."""
    if plan is not None and invoice.reason == "update":
        return f"{plan.name}, change of plan"
    if plan is not None:
        times = f" × {row.quantity}" if row.quantity > 1 else ""
        return f"{plan.name}{times}, by the {row.interval}"
    said = next((line.description for line in invoice.lines if line.description), None)
    return said or (f"Invoice {invoice.number}" if invoice.number else "Invoice")


def _prices(fact: SubscriptionFact) -> list[str]:
    of_lines = [line.price_id for invoice in fact.invoices for line in invoice.lines]
    return [*(item.price_id for item in fact.items), *(price for price in of_lines if price)]


def _lines(invoices: Sequence[Invoice]) -> list[str]:
    return [line.price_id for invoice in invoices for line in invoice.lines if line.price_id]


def _uuid(reference: str | None) -> UUID | None:
    """Our reference; None for what somebody else wrote there."""
    try:
        return UUID(reference) if reference else None
    except ValueError:
        return None
