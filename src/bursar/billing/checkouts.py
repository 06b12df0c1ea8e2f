"""Hosted checkouts: opened at the provider, and looked at again when the buyer comes back.

The payment row is committed before the provider is called, with everything the provider will be
told; its reference is the provider's idempotency key for ever. So a second try after any death in
between asks the very same question.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from uuid import uuid4

from bursar import errors, failpoints
from bursar.access import idempotency
from bursar.billing import customers, orders, payments, settle
from bursar.billing.orders import Order, Priced
from bursar.billing.payments import Intent, Payment
from bursar.clock import Clock
from bursar.db import Database
from bursar.db.connections import Connection
from bursar.messages import timers
from bursar.providers.port import CheckoutOrder, OrderLine, Provider

CHECK_TIMER = "payment.check"
CHECK_AFTER = timedelta(minutes=5)
"""How long after a session's end we ask what became of it, if no message told us."""
SESSION_LENGTH = timedelta(hours=24)


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
    Raises Invalid and its leaves, ProviderUnavailable, ProviderRejected, ProviderUnknown.
    """
    reference = resume
    if reference is None:
        async with db.transaction() as conn:
            priced = await orders.price(conn, provider.name, provider.capabilities, order)
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
    return await _call(db, provider, payment, order, clock)


async def sync(db: Database, provider: Provider, payment: Payment, *, clock: Clock) -> Payment:
    """Ask the provider how an unfinished payment stands, and settle it as its webhook would.

    Raises ProviderUnavailable, ProviderRejected or ProviderUnknown.
    """
    if payment.settled or (payment.session_id is None and payment.payment_intent_id is None):
        return payment
    facts = await provider.fetch_payment(
        session_id=payment.session_id,
        payment_intent_id=payment.payment_intent_id,
        reference=payment.reference,
    )

    async def work(conn: Connection) -> None:
        await settle.settle(conn, facts, at=clock.now(), fetched=True)

    await db.run(work)
    async with db.connection() as conn:
        return await payments.get_payment(conn, payment.customer_id, payment.id)


async def check(
    db: Database, providers: Mapping[str, Provider], reference: str, clock: Clock
) -> None:
    """The timer's act: a payment whose session should have ended by now is looked at once more."""
    async with db.connection() as conn:
        payment = await payments.find_by_reference(conn, reference)
    if payment is not None and payment.provider in providers:
        await sync(db, providers[payment.provider], payment, clock=clock)


async def _begin(
    conn: Connection, provider: Provider, order: Order, priced: Priced, *, at: datetime
) -> str:
    reference = uuid4()
    intent = Intent(
        customer_id=order.customer_id,
        reference=reference,
        user_id=order.user.id,
        provider=provider.name,
        kind="checkout",
        amount_minor=priced.amount_minor,
        currency=priced.currency,
        unit=priced.unit,
        credits=priced.credits,
        snapshot=priced.snapshot(),
        request={
            "lines": [
                {
                    "quantity": line.quantity,
                    "price_id": line.price_id,
                    "amount_minor": line.amount_minor,
                    "product_id": line.product_id,
                }
                for line in priced.lines
            ],
            "capture_method": priced.capture_method,
            "success_url": order.success_url,
            "cancel_url": order.cancel_url,
        },
        description=order.description,
        metadata=order.metadata,
    )
    await payments.begin(conn, intent, at=at)
    await timers.schedule(
        conn, CHECK_TIMER, str(reference), due_at=at + SESSION_LENGTH + CHECK_AFTER, at=at
    )
    return str(reference)


async def _call(
    db: Database, provider: Provider, payment: Payment, order: Order, clock: Clock
) -> Payment:
    """Ask the provider for the session that the stored payment describes, and store the answer."""
    provider_customer_id = await customers.provider_customer(
        db, provider, payment.customer_id, order.user, at=clock.now()
    )
    asked = payment.request
    try:
        opened = await provider.create_checkout(
            CheckoutOrder(
                reference=payment.reference,
                provider_customer_id=provider_customer_id,
                currency=payment.currency,
                lines=[OrderLine(**line) for line in asked["lines"]],
                success_url=asked["success_url"],
                cancel_url=asked["cancel_url"],
                capture_method=asked["capture_method"],
                description=payment.description,
                metadata=payment.metadata,
            )
        )
    except errors.ProviderRejected:
        async with db.transaction() as conn:
            await payments.not_opened(conn, payment, "refused")
        raise
    except errors.ProviderUnknown:
        async with db.transaction() as conn:
            await payments.not_opened(conn, payment, "unknown")
        raise
    failpoints.reach("checkout.after_call")
    async with db.transaction() as conn:
        await payments.opened(
            conn,
            payment,
            session_id=opened.session_id,
            session_url=opened.url,
            expires_at=opened.expires_at,
            payment_intent_id=opened.payment_intent_id,
        )
        return await payments.get_payment(conn, payment.customer_id, payment.id)
