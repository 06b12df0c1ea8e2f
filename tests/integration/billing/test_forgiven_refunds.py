"""Refunds where a shop forgives what is spent: nothing is owed, nothing is won by it either."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from bursar import errors
from bursar.access.actors import Actor
from bursar.billing import holds, refunds, settle, uses
from bursar.billing.holds import Capture, Captured, Opened, Release, Reserve
from bursar.billing.payments import Payment
from bursar.billing.refunds import Refund, Wanted
from bursar.billing.rules import OfSpent, Rules
from bursar.billing.uses import Done, Request, Return
from bursar.entrypoints import worker
from bursar.ledger import balances, entries
from bursar.ledger.entries import Cause, Posting
from bursar.providers.port import PaymentFacts, RefundFact, ReversalState
from bursar.wiring import opened
from worlds import World


@pytest.fixture
def forgiving(world: World) -> World:
    """The same world, in which the shop forgives."""
    settings = world.settings.model_copy(update={"refund_of_spent": "forgive"})
    return World(replace(world.wiring, settings=settings), world.sandbox, world.stripe)


async def bought(world: World) -> Payment:
    """A thousand credits, paid for."""
    payment = await world.open_checkout(amount_minor=1000, currency="usd")
    await world.pay(payment)
    await world.sync(payment)
    return await world.payment(payment)


async def use(world: World, payment: Payment, amount: int) -> int:
    cause = Cause("test", f"use {payment.reference} {amount}", "use")
    one = Posting(
        customer_id=payment.customer_id, unit="credit", type="usage", amount=-amount, cause=cause
    )
    async with world.wiring.db.transaction() as conn:
        [made] = await entries.post(conn, [one], at=world.wiring.clock.now())
    assert made.posting_id is not None
    return made.posting_id


async def reverse(world: World, payment: Payment, used: int) -> None:
    """Give a use back whole."""
    asked = Return(asking(payment, "reverse"), used, None)
    async with world.wiring.db.transaction() as conn:
        by = Actor("service", None, None)
        [done] = await uses.give_back(conn, [asked], by=by, at=world.wiring.clock.now())
    assert isinstance(done, Done)


def asking(payment: Payment, key: str) -> Request:
    return Request(customer_id=payment.customer_id, principal="service", key=key, request_hash=b"h")


async def standing(world: World, payment: Payment) -> tuple[int, int, int]:
    """Spendable, held, owed."""
    async with world.wiring.db.connection() as conn:
        at = world.wiring.clock.now()
        found = await balances.balance(conn, payment.customer_id, "credit", at=at)
    return found.spendable, found.held, found.owed


async def refund(world: World, payment: Payment, amount: int | None = None) -> Refund:
    wanted = Wanted(
        payment_id=payment.id,
        amount_minor=amount,
        requested_by="admin",
        rules=Rules(of_spent="forgive"),
    )
    provider = world.wiring.provider("stripe")
    return await refunds.request(world.wiring.db, provider, wanted, clock=world.wiring.clock)


async def told(
    world: World,
    payment: Payment,
    name: str,
    amount: int,
    state: ReversalState,
    *,
    of_spent: OfSpent = "forgive",
) -> None:
    """Settle what the provider says of one refund."""
    at = world.wiring.clock.now()
    fact = RefundFact(f"re_{name}_{payment.id}", None, amount, state, at)
    said = PaymentFacts(provider="stripe", at=at, reference=payment.reference, refunds=(fact,))
    async with world.wiring.db.transaction() as conn:
        await settle.settle(conn, [said], at=at, fetched=True, rules=Rules(of_spent=of_spent))


async def reserve(world: World, payment: Payment, amount: int) -> int:
    wanted = Reserve(asking(payment, "h"), "credit", amount, timedelta(hours=1))
    async with world.wiring.db.transaction() as conn:
        [made] = await holds.open(conn, [wanted], at=world.wiring.clock.now())
    assert isinstance(made, Opened)
    return made.hold_id


async def release(world: World, payment: Payment, hold_id: int) -> None:
    async with world.wiring.db.transaction() as conn:
        wanted = [Release(payment.customer_id, "service", hold_id)]
        await holds.release(conn, wanted, at=world.wiring.clock.now())


async def capture(world: World, payment: Payment, hold_id: int) -> None:
    async with world.wiring.db.transaction() as conn:
        wanted = [Capture(asking(payment, "capture"), hold_id, None)]
        [done] = await holds.capture(conn, wanted, at=world.wiring.clock.now())
    assert isinstance(done, Captured)


async def test_what_is_spent_is_let_go_and_the_rest_is_taken(world: World) -> None:
    payment = await bought(world)
    await use(world, payment, 700)
    made = await refund(world, payment)
    assert (made.reversal.state, made.credits_reversed, made.owed) == ("settled", 1000, 0)
    assert await standing(world, payment) == (0, 0, 0)
    await bought(world)
    assert await standing(world, payment) == (1000, 0, 0)


async def test_what_was_forgiven_is_not_taken_by_a_later_settling(world: World) -> None:
    payment = await bought(world)
    await use(world, payment, 900)
    await refund(world, payment, 500)
    assert await standing(world, payment) == (0, 0, 0)
    other = await bought(world)
    await told(world, payment, "failed", 100, "released")
    assert await standing(world, payment) == (1000, 0, 0)
    # The other half is another step. What was bought since is there, and goes first.
    await refund(world, payment)
    assert await standing(world, other) == (500, 0, 0)


async def test_a_refund_made_in_the_dashboard_is_forgiven_too(forgiving: World) -> None:
    payment = await bought(forgiving)
    await use(forgiving, payment, 800)
    intent = str(payment.payment_intent_id)
    forgiving.stripe.v1.refunds.create({"payment_intent": intent, "amount": 1000})
    async with forgiving.http() as http:
        events = (await http.get("/v1/events", params={"limit": 100})).json()["data"]
    await forgiving.deliver([event for event in reversed(events) if intent in str(event)])
    await forgiving.work()
    assert (await forgiving.payment(payment)).status == "refunded"
    assert await standing(forgiving, payment) == (0, 0, 0)


async def test_without_the_setting_it_is_owed(world: World) -> None:
    payment = await bought(world)
    await use(world, payment, 800)
    await told(world, payment, "a", 1000, "settled", of_spent="debt")
    assert await standing(world, payment) == (0, 0, 800)


async def test_a_forgiven_refund_that_fails_leaves_what_was_there_before(world: World) -> None:
    payment = await bought(world)
    await use(world, payment, 700)
    await told(world, payment, "a", 1000, "settled")
    assert await standing(world, payment) == (0, 0, 0)
    await told(world, payment, "a", 1000, "released")
    assert await standing(world, payment) == (300, 0, 0)
    # And once more, so that nothing is won by turns.
    await told(world, payment, "b", 1000, "settled")
    assert await standing(world, payment) == (0, 0, 0)
    await told(world, payment, "b", 1000, "released")
    assert await standing(world, payment) == (300, 0, 0)


@pytest.mark.parametrize("failing", ["a", "b"])
async def test_of_two_forgiven_refunds_one_fails(world: World, failing: str) -> None:
    payment = await bought(world)
    await use(world, payment, 600)
    await told(world, payment, "a", 500, "settled")
    await told(world, payment, "b", 500, "settled")
    await told(world, payment, failing, 500, "released")
    # As if there had been one: of the 500 that it takes 400 were left.
    assert await standing(world, payment) == (0, 0, 0)
    await told(world, payment, "a" if failing == "b" else "b", 500, "released")
    assert await standing(world, payment) == (400, 0, 0)


async def test_what_was_forgiven_and_comes_back_into_a_debt_is_owed(world: World) -> None:
    payment = await bought(world)
    other = await bought(world)
    await use(world, payment, 2000)
    await told(world, other, "o", 400, "settled", of_spent="debt")
    await told(world, payment, "p", 1000, "settled")
    assert await standing(world, payment) == (0, 0, 400)
    await told(world, payment, "p", 1000, "released")
    assert await standing(world, payment) == (0, 0, 400)


async def test_what_a_hold_reserves_is_nobodys_debt_and_goes_when_it_comes_back(
    world: World,
) -> None:
    payment = await bought(world)
    await use(world, payment, 300)
    number = await reserve(world, payment, 600)
    await told(world, payment, "a", 1000, "settled")
    # A hundred were there, three hundred are spent and forgiven, six hundred may come back.
    assert await standing(world, payment) == (0, 600, 0)
    await release(world, payment, number)
    assert await standing(world, payment) == (0, 0, 0)


async def test_a_pending_refund_forgives_only_when_it_settles(world: World) -> None:
    payment = await bought(world)
    await use(world, payment, 300)
    await told(world, payment, "a", 1000, "pending")
    assert await standing(world, payment) == (0, 700, 0)
    await told(world, payment, "a", 1000, "settled")
    assert await standing(world, payment) == (0, 0, 0)


async def test_the_timer_forgives_as_the_webhook_does(forgiving: World) -> None:
    payment = await bought(forgiving)
    await use(forgiving, payment, 700)
    # Nobody answers, so the refund is only stored: the timer asks for it, and settles.
    away = forgiving.settings.model_copy(update={"stripe_api_base": "http://127.0.0.1:9"})
    wanted = Wanted(payment_id=payment.id, requested_by="admin", rules=Rules(of_spent="forgive"))
    async with opened(away) as dead:
        with pytest.raises(errors.ProviderUnavailable):
            await refunds.request(dead.db, dead.provider("stripe"), wanted, clock=dead.clock)
    assert await standing(forgiving, payment) == (0, 300, 0)
    async with forgiving.wiring.db.transaction() as conn:
        await conn.execute("update timers set due_at = now() where kind = 'refund.check'")
    await worker.work_timers(forgiving.wiring)
    assert (await forgiving.payment(payment)).status == "refunded"
    assert await standing(forgiving, payment) == (0, 0, 0)


async def test_a_use_given_back_after_a_forgiven_refund_brings_nothing(world: World) -> None:
    payment = await bought(world)
    used = await use(world, payment, 700)
    await told(world, payment, "a", 1000, "settled")
    await reverse(world, payment, used)
    assert await standing(world, payment) == (0, 0, 0)


async def test_a_use_after_a_forgiven_refund_comes_back_whole(world: World) -> None:
    payment = await bought(world)
    await use(world, payment, 700)
    await told(world, payment, "a", 1000, "settled")
    other = await bought(world)
    used = await use(world, other, 400)
    await reverse(world, other, used)
    assert await standing(world, payment) == (1000, 0, 0)


async def test_a_hold_captured_after_a_forgiven_refund_owes_nothing(world: World) -> None:
    payment = await bought(world)
    number = await reserve(world, payment, 1000)
    await told(world, payment, "a", 1000, "settled")
    await capture(world, payment, number)
    assert await standing(world, payment) == (0, 0, 0)
    await bought(world)
    assert await standing(world, payment) == (1000, 0, 0)
