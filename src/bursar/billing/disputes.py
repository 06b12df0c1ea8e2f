"""Disputes: how they stand, and what the shop says to them.

Owns dispute_answers. An answer is stored before the provider is called, and its reference is the
idempotency key for ever. What a dispute does to money and credits is reckoned with the payment's
other reversals, by settle alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID, uuid4

import orjson

from bursar import errors, failpoints
from bursar.access import audit_log, idempotency
from bursar.access.actors import Actor
from bursar.billing import dispute_list, payments, reversals, settle
from bursar.billing.dispute_list import Dispute
from bursar.billing.rules import USUAL, Rules
from bursar.clock import Clock
from bursar.db import Database
from bursar.db.connections import Connection
from bursar.messages import timers
from bursar.providers.after_sale import DisputeAnswer
from bursar.providers.port import PaymentFacts, Provider

ANSWER_TIMER = "dispute.answer"
ANSWER_LENGTH = timedelta(minutes=2)
KEY_REMEMBERED = timedelta(hours=23)
GIVEN_UP_AFTER = timedelta(minutes=10)
"""How old an answer must be until the dispute itself is asked whether it got there."""
AUDITED = {
    "draft": "dispute.evidence_kept",
    "submit": "dispute.evidence_submitted",
    "accept": "dispute.accepted",
}
LOST = "This answer never reached the payment provider. Say it anew."
STORED = (
    "The answer is stored and will be sent once the provider answers. Look at the dispute again in "
    "a moment, or repeat the request with the same Idempotency-Key."
)

# The unique index on open answers lets one of two at once through.
BEGIN = """
insert into dispute_answers (customer_id, reversal_id, kind, reference, evidence, requested_by,
    created_at)
values ($1, $2, $3, $4, $5::jsonb, $6, $7)
on conflict (customer_id, reversal_id) where state = 'pending' do nothing
returning reference
"""

FIND = """
select customer_id, id, reversal_id, kind, reference, evidence, state, created_at
from dispute_answers where reference = $1
"""

CLOSE = """
update dispute_answers set state = $3, closed_at = $4
where customer_id = $1 and id = $2 and state = 'pending'
returning true
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """What somebody says to a dispute: evidence, kept or submitted, or that the shop gives in."""

    dispute_id: int
    accept: bool = False
    evidence: Mapping[str, str] | None = None
    submit: bool = False
    actor: Actor
    rules: Rules = USUAL

    @property
    def kind(self) -> str:
        if self.accept:
            return "accept"
        return "submit" if self.submit else "draft"


async def say(
    db: Database,
    providers: Mapping[str, Provider],
    said: Said,
    *,
    clock: Clock,
    key: idempotency.Key | None = None,
    resume: str | None = None,
) -> Dispute:
    """Send evidence, or give in; returns the dispute as it stands then.

    Evidence is merged into what was kept before; an empty text takes a field away.
    Raises NotFound, NotSupported, DisputeClosed, DisputeBusy, ProviderUnavailable,
    ProviderRejected, ProviderUnknown (sent again by a timer, under the same key).
    """
    reference = resume
    if reference is None:

        async def work(conn: Connection) -> str:
            begun = await _begin(conn, providers, said, at=clock.now())
            if key is not None:
                await idempotency.attach(conn, key, begun)
            return begun

        reference = await db.run(work)
    failpoints.reach("dispute.after_intent")
    await _send(db, providers, reference, clock, said.rules)
    async with db.connection() as conn:
        return await dispute_list.get_dispute(conn, said.dispute_id)


async def check_answer(
    db: Database,
    providers: Mapping[str, Provider],
    reference: str,
    clock: Clock,
    *,
    rules: Rules = USUAL,
) -> datetime | None:
    """The timer's act: send an answer again whose outcome is not known.

    Raises the provider's failures: the timer tries again.
    """
    try:
        await _send(db, providers, reference, clock, rules)
    except (errors.ProviderRejected, errors.NotFound):
        return None
    return None


async def check(
    db: Database,
    providers: Mapping[str, Provider],
    reference: str,
    clock: Clock,
    *,
    rules: Rules = USUAL,
) -> datetime | None:
    """The timer's act: ask how an open dispute stands; returns when to look again.

    Raises the provider's failures: the timer tries again.
    """
    async with db.connection() as conn:
        found = await reversals.find_by_reference(conn, reference)
        if found is None or found[1].state != "pending":
            return None
        customer_id, reversal = found
        payment = await payments.get_payment(conn, customer_id, reversal.payment_id)
    provider = providers.get(payment.provider)
    if provider is None or payment.payment_intent_id is None:
        return None
    facts = await provider.list_disputes(payment.payment_intent_id)
    await _settle(db, facts, clock, rules)
    async with db.connection() as conn:
        found = await reversals.find_by_reference(conn, reference)
    if found is None or found[1].state != "pending":
        return None
    return clock.now() + reversals.LOOK_AT_DISPUTE


async def _begin(
    conn: Connection, providers: Mapping[str, Provider], said: Said, *, at: datetime
) -> str:
    dispute = await dispute_list.get_dispute(conn, said.dispute_id, lock=True)
    _provider_of(providers, dispute)
    answerable = said.accept or dispute.status == "needs_response"
    if dispute.state != "pending" or not answerable:
        raise errors.DisputeClosed(
            f"Dispute {dispute.id} is {dispute.status.replace('_', ' ')}: nothing can be added to "
            "it any more."
        )
    evidence = dict(dispute.evidence) | dict(said.evidence or {})
    reference = await conn.fetchval(
        BEGIN,
        dispute.customer_id,
        dispute.id,
        said.kind,
        uuid4(),
        orjson.dumps(evidence).decode(),
        said.actor.principal,
        at,
    )
    if reference is None:
        raise errors.DisputeBusy(
            f"Another answer to dispute {dispute.id} is being sent just now; look again in a "
            "moment."
        )
    await audit_log.record(
        conn,
        said.actor,
        AUDITED[said.kind],
        subject=f"dispute:{dispute.id}",
        customer_id=dispute.customer_id,
        detail={"payment_id": dispute.payment_id, "fields": sorted(said.evidence or ())},
    )
    due_at = at + ANSWER_LENGTH
    await timers.schedule(conn, ANSWER_TIMER, str(reference), due_at=due_at, at=at)
    return str(reference)


@dataclass(frozen=True, slots=True)
class _Sending:
    """A stored answer with what it takes to send it."""

    db: Database
    provider: Provider
    dispute: Dispute
    order: DisputeAnswer
    answer_id: int
    clock: Clock
    rules: Rules

    async def ask(self, age: timedelta) -> list[PaymentFacts]:
        """The provider's answer; where that can't be had any more, how the dispute stands.

        Raises the provider's failures; ProviderRejected for an answer that never got there.
        """
        if age >= KEY_REMEMBERED:
            return await self._look(errors.ProviderRejected(LOST))
        try:
            return await self.provider.answer_dispute(self.order)
        except errors.ProviderUnknown as error:
            # A provider may replay its own failure under the key for ever.
            otherwise = errors.ProviderRejected(LOST) if age >= GIVEN_UP_AFTER else error
            return await self._look(otherwise)

    async def _look(self, otherwise: errors.Error) -> list[PaymentFacts]:
        """How the dispute stands, if that shows that the answer got there; else raise."""
        facts = await self.provider.list_disputes(self.dispute.payment_intent_id or "")
        told = [d for f in facts for d in f.disputes if d.provider_ref == self.order.provider_ref]
        waits = any(d.status == "needs_response" for d in told)
        if self.order.kind == "draft" or waits or not told:
            raise otherwise
        return facts

    async def done(self, facts: list[PaymentFacts]) -> None:
        """Settle what the provider says, and keep what it has of the evidence."""
        await self.db.run(lambda conn: self._close(conn, facts))

    async def _close(self, conn: Connection, facts: list[PaymentFacts]) -> None:
        at, dispute = self.clock.now(), self.dispute
        await settle.settle(conn, facts, at=at, fetched=True, rules=self.rules)
        if not await conn.fetchval(CLOSE, dispute.customer_id, self.answer_id, "done", at):
            return
        await timers.cancel(conn, ANSWER_TIMER, self.order.reference)
        if self.order.kind == "accept":
            return
        kept = {name: text for name, text in self.order.evidence.items() if text}
        submitted_at = at if self.order.kind == "submit" else None
        await reversals.keep_evidence(
            conn, dispute.customer_id, dispute.id, kept, submitted_at=submitted_at
        )

    async def refused(self) -> None:
        """Note that the provider does not take it."""
        async with self.db.transaction() as conn:
            told = self.dispute.customer_id, self.answer_id, "refused", self.clock.now()
            await conn.execute(CLOSE, *told)
            await timers.cancel(conn, ANSWER_TIMER, self.order.reference)


async def _send(
    db: Database,
    providers: Mapping[str, Provider],
    reference: str,
    clock: Clock,
    rules: Rules,
) -> None:
    """Send a stored answer under its key, and settle what the provider makes of it."""
    async with db.connection() as conn:
        stored = await conn.fetchrow(FIND, UUID(reference))
        if stored is None:
            raise errors.NotFound("There is no such answer.")
        dispute = await dispute_list.get_dispute(conn, stored["reversal_id"])
    if stored["state"] == "done":
        return
    if stored["state"] == "refused":
        raise errors.ProviderRejected("The payment provider refused this answer. Say it anew.")
    order = DisputeAnswer(
        reference=reference,
        provider_ref=dispute.provider_ref,
        kind=stored["kind"],
        evidence=orjson.loads(stored["evidence"]),
    )
    provider = _provider_of(providers, dispute)
    sending = _Sending(db, provider, dispute, order, stored["id"], clock, rules)
    try:
        facts = await sending.ask(clock.now() - stored["created_at"])
    except errors.ProviderRejected:
        await sending.refused()
        raise
    except errors.ProviderUnavailable as error:
        raise errors.ProviderUnavailable(STORED) from error
    except errors.ProviderUnknown as error:
        raise errors.ProviderUnknown(STORED) from error
    failpoints.reach("dispute.after_call")
    await sending.done(facts)


def _provider_of(providers: Mapping[str, Provider], dispute: Dispute) -> Provider:
    try:
        return providers[dispute.provider]
    except KeyError as error:
        raise errors.NotSupported(
            f"{dispute.provider} is not set up in this deployment."
        ) from error


async def _settle(db: Database, facts: list[PaymentFacts], clock: Clock, rules: Rules) -> None:
    async def work(conn: Connection) -> None:
        await settle.settle(conn, facts, at=clock.now(), fetched=True, rules=rules)

    await db.run(work)
