"""What people ask of a subscription: another plan or quantity, its end, a pause, going on.

Owns subscription_changes. A change is stored before the provider is called, one at a time for each
subscription, and its reference is the idempotency key for ever. What became of a call whose answer
was lost is asked again under the key while the provider remembers it, and read from the
subscription after that.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Literal
from uuid import UUID, uuid4

import orjson

from bursar import errors, failpoints
from bursar.access import audit_log, idempotency
from bursar.access.actors import Actor
from bursar.billing import asking, catalog_plans, settle, subscribing
from bursar.billing.rules import USUAL, Rules
from bursar.billing.subscriptions import rows, steps
from bursar.billing.subscriptions.rows import Subscription
from bursar.clock import Clock
from bursar.db import Database
from bursar.db.connections import Connection
from bursar.messages import timers
from bursar.providers.port import Provider
from bursar.providers.recurring import (
    ChangeOrder,
    Preview,
    Proration,
    SteerKind,
    SubscriptionFact,
)

CHECK_TIMER = "subscription.change"
ANSWER_LENGTH = timedelta(minutes=2)
CALL_LASTS = timedelta(minutes=10)
"""How long after its beginning a change may still be made by a call that was not answered."""
KEY_REMEMBERED = timedelta(hours=23)
PREVIEW_LASTS = timedelta(hours=1)
Kind = Literal["change", "cancel", "cancel_now", "resume", "pause", "unpause"]
STORED = (
    "The change is stored, and what became of it will be asked. Look at the subscription again in "
    "a moment, or repeat the request with the same Idempotency-Key."
)

# The unique index on pending changes lets one of two at once through; the other adds nothing.
BEGIN = """
insert into subscription_changes (customer_id, subscription_id, kind, reference, wanted,
    requested_by, created_at)
values ($1, $2, $3, $4, $5::jsonb, $6, $7)
on conflict (customer_id, subscription_id) where state = 'pending' do nothing
returning reference
"""

FIND = """
select customer_id, subscription_id, kind, reference, wanted, state, created_at
from subscription_changes where reference = $1
"""

CLOSE = """
update subscription_changes set state = $2, closed_at = $3
where reference = $1 and state = 'pending'
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What is asked for. `plan`, `interval` and `quantity` are those of a change; what is not
    named stays. `at` is the moment of a preview, so that the change costs what was shown."""

    customer_id: int
    subscription_id: int
    kind: Kind
    plan: str | None = None
    interval: Literal["month", "year"] | None = None
    quantity: int | None = None
    proration: Proration = "create_prorations"
    at: datetime | None = None
    requested_by: str
    actor: Actor | None = None
    rules: Rules = USUAL


@dataclass(frozen=True, slots=True)
class Change:
    """A change that was asked for, as it stands."""

    customer_id: int
    subscription_id: int
    kind: Kind
    reference: str
    wanted: Mapping[str, Any]
    state: Literal["pending", "done", "refused"]
    created_at: datetime


async def preview(
    db: Database, providers: Mapping[str, Provider], wanted: Wanted, *, clock: Clock
) -> Preview:
    """What a change costs now and next, as the provider reckons it.

    Raises NotFound, Invalid and its leaves, NotSupported, SubscriptionNotChangeable and the
    provider's failures.
    """
    async with db.connection() as conn:
        row = await rows.get(conn, wanted.customer_id, wanted.subscription_id)
        price_id = await _price(conn, row, wanted)
        quantity = wanted.quantity or row.quantity
        proration = await _proration(conn, row, price_id, quantity, wanted.proration)
    provider = _provider_of(providers, row)
    if not provider.capabilities.recurring.previews:
        raise errors.NotSupported(f"{row.provider} can't say beforehand what a change costs.")
    at = _moment(wanted, clock.now())
    order = _order(row, price_id, replace(wanted, proration=proration), at)
    return await provider.preview_change(order)


async def request(
    db: Database,
    providers: Mapping[str, Provider],
    wanted: Wanted,
    *,
    clock: Clock,
    key: idempotency.Key | None = None,
    resume: str | None = None,
) -> Subscription:
    """Change, end, pause or resume a subscription; returns it as it stands then.

    What is so already is answered without a call. Raises NotFound, Invalid and its leaves,
    NotSupported, SubscriptionNotChangeable, ProviderRejected, ProviderUnavailable and
    ProviderUnknown (asked about by a timer).
    """
    reference = resume
    if reference is None:

        async def work(conn: Connection) -> str | None:
            begun = await _begin(conn, providers, wanted, at=clock.now())
            if key is not None and begun is not None:
                await idempotency.attach(conn, key, begun)
            return begun

        reference = await db.run(work)
    failpoints.reach("subscription.after_intent")
    if reference is not None:
        await _carry_out(db, providers, reference, clock, wanted.rules)
    async with db.connection() as conn:
        return await rows.get(conn, wanted.customer_id, wanted.subscription_id)


async def check(
    db: Database,
    providers: Mapping[str, Provider],
    reference: str,
    clock: Clock,
    *,
    rules: Rules = USUAL,
) -> datetime | None:
    """The timer's act: have a change that is pending carried out; returns when to look again.

    Raises ProviderUnavailable and ProviderUnknown: the timer tries again.
    """
    try:
        await _carry_out(db, providers, reference, clock, rules)
    except (errors.ProviderRejected, errors.SubscriptionNotChangeable, errors.NotFound):
        return None
    return None


async def _begin(
    conn: Connection, providers: Mapping[str, Provider], wanted: Wanted, *, at: datetime
) -> str | None:
    """Store a change; returns its reference, None when all is so already."""
    row = await rows.get(conn, wanted.customer_id, wanted.subscription_id)
    provider = _provider_of(providers, row)
    # Who waits here for another's change to be stored finds it made.
    row = await rows.lock(conn, row.provider, row.subscription_id) or row
    if wanted.kind in ("pause", "unpause") and not provider.capabilities.recurring.pause:
        raise errors.NotSupported(f"{row.provider} can't pause a subscription.")
    details: dict[str, Any] = {}
    if wanted.kind == "change":
        if wanted.proration not in provider.capabilities.recurring.prorations:
            raise errors.NotSupported(f"{row.provider} can't reckon a change so.")
        price_id = await _price(conn, row, wanted)
        quantity = wanted.quantity or row.quantity
        if (price_id, quantity) == (row.price_id, row.quantity):
            return None
        moment = _moment(wanted, at)
        proration = await _proration(conn, row, price_id, quantity, wanted.proration)
        details = {
            "price_id": price_id,
            "quantity": quantity,
            "proration": proration,
            "at": moment.astimezone(UTC).isoformat(),
        }
    elif not steps.is_needed(row, wanted.kind):
        return None
    elif wanted.kind == "resume" and row.cancel_at and row.plan_group and not row.addon:
        await subscribing.refuse_second(conn, row.customer_id, row.plan_group)
    reference = await conn.fetchval(
        BEGIN,
        row.customer_id,
        row.id,
        wanted.kind,
        uuid4(),
        orjson.dumps(details).decode(),
        wanted.requested_by,
        at,
    )
    if reference is None:
        raise errors.SubscriptionNotChangeable(
            "The subscription is being changed just now; look again in a moment."
        )
    await timers.schedule(conn, CHECK_TIMER, str(reference), due_at=at + ANSWER_LENGTH, at=at)
    if wanted.actor is not None:
        await audit_log.record(
            conn,
            wanted.actor,
            f"subscription.{wanted.kind}",
            subject=f"subscription:{row.id}",
            customer_id=row.customer_id,
            detail={**details, "plan": wanted.plan, "reference": str(reference)},
        )
    return str(reference)


async def _carry_out(
    db: Database,
    providers: Mapping[str, Provider],
    reference: str,
    clock: Clock,
    rules: Rules,
) -> None:
    """Have a change made under its key, and settle the answer."""
    async with db.connection() as conn:
        change = await _find(conn, reference)
        if change is None:
            raise errors.NotFound("There is no such change.")
        row = await rows.get(conn, change.customer_id, change.subscription_id)
    if change.state != "pending":
        return _told(change)
    provider = _provider_of(providers, row)
    if clock.now() - change.created_at >= KEY_REMEMBERED:
        # The provider may have forgotten the key: what the subscription does not show never was.
        row = await asking.read(db, provider, row, clock=clock, rules=rules)
        return await _close(
            db, change, "done" if steps.shows(row, change.kind, change.wanted) else "refused", clock
        )
    number = await asking.next_read(db)
    try:
        fact = await _call(provider, row, change)
    except errors.ProviderRejected:
        row = await asking.read(db, provider, row, clock=clock, rules=rules)
        shown = steps.shows(row, change.kind, change.wanted)
        await _close(db, change, "done" if shown else "refused", clock)
        if shown:
            return None
        raise
    except errors.ProviderUnavailable as error:
        raise errors.ProviderUnavailable(STORED) from error
    except errors.ProviderUnknown as error:
        # A provider may replay its own failure under the key for ever: look what it did.
        row = await asking.read(db, provider, row, clock=clock, rules=rules)
        shown = steps.shows(row, change.kind, change.wanted)
        if not shown and clock.now() - change.created_at < CALL_LASTS:
            raise errors.ProviderUnknown(STORED) from error
        # No call of then runs any more, so that what is not seen was not done.
        await _close(db, change, "done" if shown else "refused", clock)
        return None if shown else _told(replace(change, state="refused"))
    failpoints.reach("subscription.after_call")
    told = asking.numbered([fact], number)

    async def work(conn: Connection) -> None:
        await settle.settle(conn, told, at=clock.now(), fetched=True, rules=rules)
        await conn.execute(CLOSE, UUID(change.reference), "done", clock.now())
        await timers.cancel(conn, CHECK_TIMER, change.reference)

    await db.run(work)
    async with db.connection() as conn:
        row = await rows.get(conn, change.customer_id, change.subscription_id)
    if row.read_number > number:
        # Somebody asked after us and was answered before the change was made: that answer stood.
        await asking.read(db, provider, row, clock=clock, rules=rules)
    return None


async def _close(
    db: Database, change: Change, state: Literal["done", "refused"], clock: Clock
) -> None:
    async with db.transaction() as conn:
        await conn.execute(CLOSE, UUID(change.reference), state, clock.now())
        await timers.cancel(conn, CHECK_TIMER, change.reference)


async def _call(provider: Provider, row: Subscription, change: Change) -> SubscriptionFact:
    if change.kind != "change":
        kind: SteerKind = change.kind
        return await provider.steer_subscription(change.reference, row.subscription_id, kind)
    wanted = change.wanted
    order = ChangeOrder(
        subscription_id=row.subscription_id,
        item_id=row.item_id,
        price_id=wanted["price_id"],
        quantity=wanted["quantity"],
        proration=wanted["proration"],
        at=datetime.fromisoformat(wanted["at"]),
    )
    return await provider.change_subscription(change.reference, order)


async def _price(conn: Connection, row: Subscription, wanted: Wanted) -> str:
    """The price that a change leads to: of the plan that is named, for the same interval and
    currency unless others are. Raises what can't be changed so."""
    if row.status not in ("trialing", "active"):
        raise errors.SubscriptionNotChangeable(
            f"The subscription is {row.status}. Only one that is trialing or active can be changed."
        )
    if wanted.plan in (None, row.plan) and wanted.interval in (None, row.interval):
        return row.price_id
    key = wanted.plan or row.plan
    if key is None:
        raise errors.Invalid("Name the plan: this subscription's price is not in the catalogue.")
    interval = wanted.interval or ("year" if row.interval == "year" else "month")
    plan, price = await catalog_plans.get_recurring(
        conn, row.provider, key, interval, currency=row.currency
    )
    if row.plan_group is not None and plan.group != row.plan_group:
        raise errors.Invalid(
            f"{key!r} is of another group of plans than {row.plan!r}: subscribe to it beside this."
        )
    return price.provider_price_id


async def _proration(
    conn: Connection, row: Subscription, price_id: str, quantity: int, asked: Proration
) -> Proration:
    """How a change is reckoned: one that is credited is credited at once, and what the credits
    bring goes back with it. With the next invoice both would have been had by then."""
    terms = await catalog_plans.list_terms(conn, row.provider, [row.price_id, price_id])
    old, new = terms.get(row.price_id), terms.get(price_id)
    if asked != "create_prorations" or old is None or not old.credits:
        return asked
    fewer = new is None or new.credits * quantity < old.credits * row.quantity
    same = new is not None and new.yearly_credits == old.yearly_credits
    return "always_invoice" if fewer or not same else asked


def _order(row: Subscription, price_id: str, wanted: Wanted, at: datetime) -> ChangeOrder:
    return ChangeOrder(
        subscription_id=row.subscription_id,
        item_id=row.item_id,
        price_id=price_id,
        quantity=wanted.quantity or row.quantity,
        proration=wanted.proration,
        at=at,
    )


def _moment(wanted: Wanted, now: datetime) -> datetime:
    """The moment a change is reckoned for. Raises Invalid: who chose it would choose the cost."""
    moment = (wanted.at or now).replace(microsecond=0)
    if not timedelta(minutes=-1) <= now - moment <= PREVIEW_LASTS:
        raise errors.Invalid("This preview is too old, or of no time yet: ask for a new one.")
    return moment


async def _find(conn: Connection, reference: str) -> Change | None:
    found = await conn.fetchrow(FIND, UUID(reference))
    if found is None:
        return None
    fields = dict(found)
    fields["reference"] = str(fields["reference"])
    fields["wanted"] = orjson.loads(fields["wanted"])
    return Change(**fields)


def _told(change: Change) -> None:
    """Nothing for a change that stands. Raises SubscriptionNotChangeable for one refused."""
    if change.state == "refused":
        raise errors.SubscriptionNotChangeable(
            "The payment provider did not make this change. Look at the subscription, and decide "
            "anew."
        )


def _provider_of(providers: Mapping[str, Provider], row: Subscription) -> Provider:
    try:
        return providers[row.provider]
    except KeyError as error:
        raise errors.NotSupported(f"{row.provider} is not set up in this deployment.") from error
