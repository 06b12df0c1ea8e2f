"""Orders for tests: bought with capture by hand, told of, decided about."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from bursar.access.actors import Actor
from bursar.billing import captures, order_decisions
from bursar.billing.captures import Wanted
from bursar.billing.order_decisions import Decision, Kind
from bursar.billing.payments import Payment
from bursar.clock import ShiftedClock
from worlds import World

ADMIN = Actor("admin", None, None)


class LaterClock:
    """The time, some while from now."""

    def __init__(self, world: World, later: timedelta) -> None:
        self._clock, self._later = world.wiring.clock, later

    def now(self) -> datetime:
        return self._clock.now() + self._later


async def tell(world: World, payment: Payment) -> None:
    """Deliver every event about a payment, and work off what is due."""
    found = await world.payment(payment)
    async with world.http() as http:
        events = (await http.get("/v1/events", params={"limit": 100})).json()["data"]
    words = [payment.reference, found.payment_intent_id or payment.reference]
    about = [event for event in reversed(events) if any(word in str(event) for word in words)]
    await world.deliver(about)
    await world.work()


async def held(world: World, user: str = "ada", **wanted: Any) -> Payment:
    """An order whose money is held: the Enterprise pack, 100 pages for $50."""
    if "amount_minor" not in wanted:
        wanted.setdefault("package", "enterprise")
    payment = await world.open_checkout(user, capture_method="manual", **wanted)
    await world.pay(payment)
    await tell(world, payment)
    found = await world.payment(payment)
    assert found.status == "authorized"
    return found


async def decide(
    world: World, payment: Payment, kind: Kind, amount: int | None = None, **more: Any
) -> Decision:
    clock = more.pop("clock", world.wiring.clock)
    wanted = Wanted(
        payment_id=payment.id,
        kind=kind,
        amount_minor=amount,
        requested_by="admin",
        actor=ADMIN,
        **{name: more.pop(name) for name in ("reason",) if name in more},
    )
    return await captures.decide(
        world.wiring.db, world.wiring.providers, wanted, clock=clock, **more
    )


async def decisions(world: World, payment: Payment) -> list[tuple[str, int | None, str]]:
    async with world.wiring.db.connection() as conn:
        found = await order_decisions.list_for_payment(conn, payment.customer_id, payment.id)
    return [(one.kind, one.amount_minor, one.state) for one in found]


async def topics(world: World) -> list[str]:
    """The topics of what the outbox holds, the oldest first."""
    async with world.wiring.db.connection() as conn:
        rows = await conn.fetch("select topic from outbox_messages order by id")
    return [row["topic"] for row in rows]


async def advance(world: World, **by: float) -> None:
    """Let time pass: at the sandbox, and in business here, as the server follows it."""
    seconds = int(timedelta(**by).total_seconds())
    async with world.http() as http:
        moved = await http.post("/_sandbox/clock", json={"advance": seconds})
        assert moved.status_code == 200, moved.text
    clock = world.wiring.clock
    assert isinstance(clock, ShiftedClock)
    clock.offset = timedelta(seconds=moved.json()["offset"])
