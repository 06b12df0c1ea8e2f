"""Unmatched money finds its owner: by a verified address, or by a person's decision.

The provider is asked anew for all that it knows before a payment is made of a case, so that what
went back meanwhile counts. Each case ends once, however many end it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from bursar import errors
from bursar.access import audit_log
from bursar.access.actors import Actor
from bursar.billing import asking, cases, customers, settle, strangers
from bursar.billing.cases import Case
from bursar.billing.customers import User
from bursar.billing.rules import USUAL, Rules
from bursar.billing.settle import FactsMissing
from bursar.billing.strangers import Owner
from bursar.clock import Clock
from bursar.db import Database
from bursar.db.connections import Connection
from bursar.messages import timers
from bursar.providers.port import PaymentFacts, Provider, Told
from bursar.providers.recurring import SubscriptionNews

NAMED = ("session_id", "payment_intent_id", "subscription_id")


@dataclass(frozen=True, slots=True, kw_only=True)
class Resolution:
    """How a case ends: its money is a user's or a customer's, or a note says what was done."""

    case_id: int
    user_id: str | None = None
    customer_id: int | None = None
    note: str | None = None
    actor: Actor | str
    rules: Rules = USUAL


async def resolve(
    db: Database, providers: Mapping[str, Provider], wanted: Resolution, *, clock: Clock
) -> Case:
    """End a case by hand; unmatched money becomes a payment of the account that is named.

    Raises NotFound, Invalid, CaseResolved, CaseNotAssignable, NotSupported and the provider's
    failures.
    """
    named = [name for name in (wanted.user_id, wanted.customer_id) if name is not None]
    if len(named) > 1 or not (named or wanted.note):
        raise errors.Invalid("Say one of user and customer, or a note.")
    if not named:
        async with db.transaction() as conn:
            case = await cases.resolve(conn, wanted.case_id, wanted.note or "", at=clock.now())
            await _record(conn, wanted, case)
            return case
    async with db.connection() as conn:
        case = await cases.get_case(conn, wanted.case_id)
        await _owner(conn, wanted)
    if case.state != "open":
        raise errors.CaseResolved(f"Case {case.id} is resolved: {case.resolution}")
    if case.kind != "unmatched":
        raise errors.CaseNotAssignable()
    facts = await _fetch(db, providers, case)
    return await db.run(lambda conn: _assign(conn, wanted, case, facts, clock.now()))


async def claim(conn: Connection, user: User, *, at: datetime) -> None:
    """Have what waits for a user's address looked at, now that it is verified."""
    if user.email is None or not user.email_verified:
        return
    for case in await cases.list_of_email(conn, user.email):
        await timers.schedule(conn, strangers.MATCH_TIMER, case.reference, due_at=at, at=at)


async def check(
    db: Database,
    providers: Mapping[str, Provider],
    reference: str,
    clock: Clock,
    *,
    rules: Rules = USUAL,
) -> datetime | None:
    """The timer's act: look whether the owner of a case's money is known by now.

    Raises the provider's failures: the timer tries again.
    """
    async with db.connection() as conn:
        case = await cases.find_case(conn, "unmatched", reference)
    if case is None or case.state != "open":
        return None
    facts = await _fetch(db, providers, case)
    await asking.take(db, facts, clock=clock, rules=rules)
    return None


async def _fetch(db: Database, providers: Mapping[str, Provider], case: Case) -> list[Told]:
    """All that the provider knows of a case's money now."""
    provider = case.reference.partition(":")[0]
    if provider not in providers:
        raise errors.NotSupported(f"{provider} is not set up in this deployment.")
    named = {name: str(case.detail[name]) for name in NAMED if case.detail.get(name)}
    subscription_id = named.pop("subscription_id", None)
    news = SubscriptionNews(provider, subscription_id) if subscription_id else None
    return await asking.ask(db, providers[provider], FactsMissing(**named, news=news))


async def _assign(
    conn: Connection, wanted: Resolution, case: Case, facts: list[Told], at: datetime
) -> Case:
    """Make a payment of a case's money, once: the case's row is the lock."""
    if await cases.find_waiting(conn, "unmatched", case.reference) is None:
        case = await cases.get_case(conn, case.id)
        raise errors.CaseResolved(f"Case {case.id} is resolved: {case.resolution}")
    owner = await _owner(conn, wanted)
    payment_id = None
    if "subscription_id" not in case.detail:
        said = [fact for fact in facts if isinstance(fact, PaymentFacts)]
        found = [t for t in strangers.things(said) if t.reference == case.reference]
        if not found:
            raise errors.ProviderRejected(
                "The payment provider does not know of this money. Resolve the case with a note."
            )
        payment_id = await strangers.record(conn, found[0], owner, at=at)
    who = f"user {owner.user_id}" if owner.user_id else f"customer {owner.customer_id}"
    resolution = f"Given to {who}." + (f" {wanted.note}" if wanted.note else "")
    told = {"customer_id": owner.customer_id, "payment_id": payment_id}
    case = await cases.resolve(conn, case.id, resolution, at=at, **told)
    await settle.settle(conn, facts, at=at, fetched=True, rules=wanted.rules, owner=owner)
    await _record(conn, wanted, case)
    return case


async def _owner(conn: Connection, wanted: Resolution) -> Owner:
    """The account that is named. Raises NotFound."""
    if wanted.user_id is not None:
        user = await customers.find_user(conn, wanted.user_id)
        if user is None:
            raise errors.NotFound("There is no such user.")
        return Owner(user.customer_id, user.id)
    customer = await customers.find_customer(conn, wanted.customer_id or 0)
    if customer is None or customer.kind == "house":
        raise errors.NotFound("There is no such customer.")
    return Owner(customer.id, await customers.find_person(conn, customer.id))


async def _record(conn: Connection, wanted: Resolution, case: Case) -> None:
    await audit_log.record(
        conn,
        wanted.actor,
        "case.resolved",
        subject=f"case:{case.id}",
        customer_id=case.customer_id,
        reason=wanted.note,
        detail={"kind": case.kind, "reference": case.reference, "payment_id": case.payment_id},
    )
