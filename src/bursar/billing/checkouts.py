"""Hosted checkouts: opened at the provider, and looked at again when the buyer comes back.

The payment row is committed before the provider is called, with everything the provider will be
told; its reference is the provider's idempotency key for ever. So a second try after any death in
between asks the very same question.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import asdict
from datetime import datetime, timedelta
from uuid import uuid4

from bursar import errors, failpoints
from bursar.access import idempotency
from bursar.billing import (
    asking,
    cases,
    coupons,
    customers,
    mirror,
    orders,
    payments,
    provider_customers,
    settle,
    subscribing,
)
from bursar.billing.coupons import Coupon
from bursar.billing.orders import Order, Priced
from bursar.billing.payments import Intent, Payment
from bursar.billing.rules import USUAL, Rules
from bursar.clock import Clock
from bursar.db import Database
from bursar.db.connections import Connection
from bursar.messages import timers
from bursar.providers.mirrored import CheckoutTerms, Discount
from bursar.providers.port import CheckoutOrder, OpenedCheckout, OrderLine, Provider
from bursar.providers.recurring import SubscribeTerms

CHECK_TIMER = "payment.check"
ANSWER_LENGTH = timedelta(minutes=2)
"""How long the provider may take to open a session before the call counts as lost."""
CHECK_AFTER = timedelta(minutes=5)
"""How long after the end of a session or an intent we ask what became of it, if no message told."""
CHECKED_OPEN = (timedelta(minutes=15), timedelta(hours=2))
"""How long after its opening one that is open is asked about: most are paid within minutes, and a
buyer whose message was lost must not wait for its end."""
LOOK_AGAIN = timedelta(hours=6)
PATIENCE = timedelta(days=30)
"""How long money may be on its way (a bank debit, a hold) before a person is asked."""
KEY_REMEMBERED = timedelta(hours=23)
"""How long a provider surely remembers an idempotency key: past it a call is not repeated."""


async def open(
    db: Database,
    provider: Provider,
    order: Order,
    *,
    clock: Clock,
    key: idempotency.Key | None = None,
    resume: str | None = None,
) -> Payment:
    """Open a hosted checkout for `order`; returns the payment with its address.

    `key` is the client's claimed idempotency key, to which the payment is tied as it is stored;
    `resume` the reference that an earlier try with that key got to.
    Raises Invalid and its leaves, AlreadySubscribed, CouponExhausted, ProviderUnavailable,
    ProviderRejected, ProviderUnknown.
    """
    reference = resume
    if reference is None:
        coupon = await _coupon(db, provider, order, clock)
        async with db.transaction() as conn:
            priced = await orders.price(conn, provider.name, provider.capabilities, order)
            if coupon is not None:
                priced = orders.discounted(provider.capabilities, priced, coupon, at=clock.now())
            admitted = await subscribing.admit(
                conn, order.customer_id, provider.name, priced, at=clock.now()
            )
            if admitted.same is not None:
                reference = admitted.same.reference
            else:
                reference = await _begin(conn, provider, order, priced, at=clock.now())
            if key is not None:
                await idempotency.attach(conn, key, reference)
    failpoints.reach("checkout.after_intent")
    async with db.connection() as conn:
        payment = await payments.find_by_reference(conn, reference)
    if payment is None:
        raise errors.NotFound("There is no such payment.")
    if payment.opening == "open":
        return payment
    if payment.opening == "refused":
        raise errors.ProviderRejected(
            "The payment provider refused this checkout. Begin a new one, with another "
            "Idempotency-Key."
        )
    await _make_way(db, provider, payment, clock)
    opened = await _call(db, provider, payment, clock)
    return await subscribing.give_way(db, provider, opened, clock=clock)


async def _make_way(db: Database, provider: Provider, payment: Payment, clock: Clock) -> None:
    """Close the open checkouts that one for a subscription replaces."""
    group = payment.snapshot.get("plan_group")
    if group is None or payment.snapshot.get("addon"):
        return
    async with db.connection() as conn:
        found = await payments.list_subscribing(conn, payment.customer_id, group, at=clock.now())
    older = [other for other in found if other.id < payment.id]
    try:
        await subscribing.close_others(db, provider, older, group, clock=clock)
    except errors.AlreadySubscribed:
        async with db.transaction() as conn:
            await payments.not_opened(conn, payment, "refused")
        raise


async def sync(
    db: Database,
    provider: Provider,
    payment: Payment,
    *,
    clock: Clock,
    rules: Rules = USUAL,
) -> Payment:
    """Ask the provider how an unfinished payment stands, and settle it as its webhook would.

    Raises ProviderUnavailable, ProviderRejected or ProviderUnknown.
    """
    if payment.settled or (payment.session_id is None and payment.payment_intent_id is None):
        return payment
    missing = settle.FactsMissing(payment.session_id, payment.payment_intent_id, payment.reference)
    await asking.take(db, await asking.ask(db, provider, missing), clock=clock, rules=rules)
    async with db.connection() as conn:
        return await payments.get_payment(conn, payment.customer_id, payment.id)


async def check(
    db: Database,
    providers: Mapping[str, Provider],
    reference: str,
    clock: Clock,
    *,
    rules: Rules = USUAL,
) -> datetime | None:
    """The timer's act: ask what became of a payment that no message has closed.

    A call whose answer we never had is asked again under its key, while the provider remembers the
    key, and by our reference after that; a session that should have ended, or money that is on its
    way, is looked at. Returns when to look again; past its patience it opens a case.
    Raises ProviderUnavailable, ProviderRejected or ProviderUnknown: the timer tries again.
    """
    async with db.connection() as conn:
        payment = await payments.find_by_reference(conn, reference)
    if payment is None or payment.provider not in providers or payment.opening == "refused":
        return None
    provider, now = providers[payment.provider], clock.now()
    if payment.opening != "open":
        with contextlib.suppress(errors.ProviderRejected):
            opened = await _call(db, provider, payment, clock)
            await subscribing.give_way(db, provider, opened, clock=clock, rules=rules)
        return None
    payment = await sync(db, provider, payment, clock=clock, rules=rules)
    if payment.settled:
        return None
    if now - payment.created_at < PATIENCE:
        return next_look(payment, now)
    opening = cases.Opening(
        kind="unknown",
        reference=f"payment:{payment.id}",
        customer_id=payment.customer_id,
        payment_id=payment.id,
        amount_minor=payment.amount_minor,
        currency=payment.currency,
        summary=f"What became of this payment is not known: it is {payment.state} since "
        f"{payment.created_at:%Y-%m-%d}. Look it up at {payment.provider} by its reference.",
        detail={"reference": payment.reference, "session_id": payment.session_id},
    )
    async with db.transaction() as conn:
        await cases.open_cases(conn, [opening], at=now)
    return None


async def _coupon(db: Database, provider: Provider, order: Order, clock: Clock) -> Coupon | None:
    if order.coupon is None:
        return None
    return await coupons.find(db, provider, order.coupon, at=clock.now())


async def _begin(
    conn: Connection, provider: Provider, order: Order, priced: Priced, *, at: datetime
) -> str:
    reference = uuid4()
    terms = provider.capabilities.terms
    # Whoever may type a code gets its discount; with a coupon of ours none is typed.
    typed = terms.promotion_codes and priced.discount is None
    intent = Intent(
        customer_id=order.customer_id,
        reference=reference,
        user_id=order.user.id,
        provider=provider.name,
        kind="checkout",
        amount_minor=priced.amount_minor - priced.discount_minor,
        currency=priced.currency,
        unit=priced.unit,
        credits=priced.credits,
        snapshot={**priced.snapshot(), "promotion_codes": typed},
        request={
            "lines": [asdict(line) for line in priced.lines],
            "capture_method": priced.capture_method,
            "success_url": order.success_url,
            "cancel_url": order.cancel_url,
            "discount": asdict(priced.discount) if priced.discount else None,
            "terms": asdict(terms),
            "subscribe": asdict(priced.subscribes.terms) if priced.subscribes else None,
            "receipt_email": order.user.email if provider.capabilities.receipts else None,
        },
        description=order.description,
        metadata=order.metadata,
    )
    await payments.begin(conn, intent, at=at)
    await timers.schedule(conn, CHECK_TIMER, str(reference), due_at=at + ANSWER_LENGTH, at=at)
    return str(reference)


async def _call(db: Database, provider: Provider, payment: Payment, clock: Clock) -> Payment:
    """Ask the provider for the session that the stored payment describes, and store the answer.

    It is asked for only under a key that the provider remembers; later it is looked for, and what
    the provider does not have under our reference never was.
    """
    if clock.now() - payment.created_at >= KEY_REMEMBERED:
        opened = await _find(db, provider, payment, clock)
        if opened is not None:
            return await _store(db, payment, opened, clock)
        async with db.transaction() as conn:
            await payments.not_opened(conn, payment, "refused")
        raise errors.ProviderRejected("This checkout was never opened. Begin a new one.")
    try:
        opened = await _create(db, provider, payment, clock)
    except errors.ProviderCouponRefused as error:
        # Somebody took the last one, or ended it, and we had not heard of it.
        async with db.transaction() as conn:
            await payments.not_opened(conn, payment, "refused")
            named = [payment.snapshot["coupon"]] if "coupon" in payment.snapshot else []
            await mirror.read_used(conn, provider.name, named, at=clock.now())
        raise coupons.refusal(error) from error
    except errors.ProviderRejected:
        async with db.transaction() as conn:
            await payments.not_opened(conn, payment, "refused")
        raise
    except errors.ProviderUnknown:
        # A provider may replay its own failure under the key for ever: what it did is then found
        # by our reference.
        found = None
        if payment.opening == "unknown":
            with contextlib.suppress(errors.ProviderRejected):
                found = await _find(db, provider, payment, clock)
        if found is None:
            async with db.transaction() as conn:
                await payments.not_opened(conn, payment, "unknown")
            raise
        opened = found
    failpoints.reach("checkout.after_call")
    return await _store(db, payment, opened, clock)


async def _find(
    db: Database, provider: Provider, payment: Payment, clock: Clock
) -> OpenedCheckout | None:
    async with db.connection() as conn:
        user = await customers.ensure_user(conn, payment.user_id or "", at=clock.now())
    customer = await provider_customers.name_at(
        db, provider, payment.customer_id, user, at=clock.now()
    )
    return await provider.find_checkout(payment.reference, customer)


async def _store(db: Database, payment: Payment, opened: OpenedCheckout, clock: Clock) -> Payment:
    async with db.transaction() as conn:
        await payments.opened(
            conn,
            payment,
            session_id=opened.session_id,
            session_url=opened.url,
            expires_at=opened.expires_at,
            payment_intent_id=opened.payment_intent_id,
        )
        await timers.cancel(conn, CHECK_TIMER, payment.reference)
        stored = await payments.get_payment(conn, payment.customer_id, payment.id)
        due_at = next_look(stored, clock.now())
        await timers.schedule(conn, CHECK_TIMER, payment.reference, due_at=due_at, at=clock.now())
        return stored


def next_look(payment: Payment, now: datetime) -> datetime:
    """The next time to ask about a payment that is not settled yet, by session or by card form."""
    if payment.expires_at is None:
        return now + LOOK_AGAIN
    end = payment.expires_at + CHECK_AFTER
    looks = (*(payment.created_at + after for after in CHECKED_OPEN), end)
    return next((look for look in looks if now < look <= end), now + LOOK_AGAIN)


async def _create(
    db: Database, provider: Provider, payment: Payment, clock: Clock, *, again: bool = False
) -> OpenedCheckout:
    async with db.connection() as conn:
        user = await customers.ensure_user(conn, payment.user_id or "", at=clock.now())
    customer = await provider_customers.name_at(
        db, provider, payment.customer_id, user, at=clock.now()
    )
    asked = payment.request
    order = CheckoutOrder(
        reference=payment.reference,
        provider_customer_id=customer,
        currency=payment.currency,
        lines=[OrderLine(**line) for line in asked["lines"]],
        success_url=asked["success_url"],
        cancel_url=asked["cancel_url"],
        capture_method=asked["capture_method"],
        description=payment.description,
        metadata=payment.metadata,
        discount=Discount(**asked["discount"]) if asked.get("discount") else None,
        terms=CheckoutTerms(**asked.get("terms", {})),
        receipt_email=asked.get("receipt_email"),
        subscribe=SubscribeTerms(**asked["subscribe"]) if asked.get("subscribe") else None,
    )
    try:
        return await provider.create_checkout(order)
    except errors.ProviderCustomerMissing:
        if again:
            raise
        # Somebody deleted the customer at the provider: it is made anew, once.
        await provider_customers.forget(db, provider, payment.customer_id, customer)
        return await _create(db, provider, payment, clock, again=True)
