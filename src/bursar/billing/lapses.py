"""Orders that nobody decided about in time, and orders that ended: the provider asked, or told.

Works the timers that authorizations sets. It takes no money and lets none go.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from datetime import datetime, timedelta

from bursar import errors
from bursar.billing import authorizations, cases, checkouts, payments
from bursar.billing.payments import Payment
from bursar.billing.rules import USUAL, Rules
from bursar.clock import Clock
from bursar.db import Database
from bursar.providers.port import Provider

LOOK_AGAIN = timedelta(hours=1)
PATIENCE = timedelta(days=3)
"""How long after its end money may still show as held before a person is asked."""


async def lapse(
    db: Database,
    providers: Mapping[str, Provider],
    reference: str,
    clock: Clock,
    *,
    rules: Rules = USUAL,
) -> datetime | None:
    """The timer's act: ask what became of money that the bank should hold no longer.

    A provider lets go of it in its own time; past our patience a case is opened. Raises the
    provider's failures: the timer tries again.
    """
    async with db.connection() as conn:
        payment = await payments.find_by_reference(conn, reference)
    if payment is None or payment.state != "authorized" or payment.provider not in providers:
        return None
    until, now = payment.authorized_until, clock.now()
    if until is not None and now < until:
        return until + authorizations.ASK_AFTER
    provider = providers[payment.provider]
    payment = await checkouts.sync(db, provider, payment, clock=clock, rules=rules)
    if payment.state != "authorized":
        return None
    if until is None or now - until < PATIENCE:
        return now + LOOK_AGAIN
    async with db.transaction() as conn:
        await cases.open_cases(conn, [_overdue(payment, until)], at=now)
    return None


async def label(
    db: Database, providers: Mapping[str, Provider], reference: str, clock: Clock
) -> datetime | None:
    """The timer's act: have the provider's metadata say how an order ended.

    It is a help for people, so a provider that refuses it is left alone.
    """
    async with db.connection() as conn:
        payment = await payments.find_by_reference(conn, reference)
    if payment is None or payment.provider not in providers:
        return None
    word = authorizations.WORDS.get(payment.state)
    if word is not None:
        with contextlib.suppress(errors.ProviderRejected):
            await providers[payment.provider].label_payment(
                session_id=payment.session_id,
                payment_intent_id=payment.payment_intent_id,
                word=word,
            )
    return None


def _overdue(payment: Payment, until: datetime) -> cases.Opening:
    return cases.Opening(
        kind="unknown",
        reference=f"order:{payment.id}",
        customer_id=payment.customer_id,
        payment_id=payment.id,
        amount_minor=payment.authorized_minor,
        currency=payment.currency,
        summary=f"The money held for payment {payment.id} should be let go since "
        f"{until:%Y-%m-%d}, and {payment.provider} still shows it as held.",
        detail={"reference": payment.reference, "payment_intent_id": payment.payment_intent_id},
    )
