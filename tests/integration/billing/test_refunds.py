"""Refunds: ours and the dashboard's, whole and in part, pending and failed, in any order."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta
from typing import Any

import pytest

from bursar import errors
from bursar.billing import cases, refunds, reversals
from bursar.billing.payments import Payment
from bursar.billing.refunds import Refund, Wanted
from bursar.billing.rules import Rules
from bursar.ledger import balances, entries
from bursar.ledger.entries import Cause, GiveBack, Posting
from worlds import World


async def bought(world: World, user: str = "ada", **wanted: Any) -> Payment:
    """A payment that is paid and credited."""
    payment = await world.open_checkout(user, **wanted)
    await world.pay(payment)
    await tell(world, payment)
    return await world.payment(payment)


async def tell(world: World, payment: Payment) -> None:
    """Deliver every event about a payment, and work them off."""
    found = await world.payment(payment)
    async with world.http() as http:
        events = (await http.get("/v1/events", params={"limit": 100})).json()["data"]
    wanted = [payment.reference, found.payment_intent_id or payment.reference]
    about = [event for event in reversed(events) if any(word in str(event) for word in wanted)]
    await world.deliver(about)
    await world.work()


async def refund(world: World, payment: Payment, amount: int | None = None, **more: Any) -> Refund:
    wanted = Wanted(payment_id=payment.id, amount_minor=amount, requested_by="admin", **more)
    provider = world.wiring.provider("stripe")
    return await refunds.request(world.wiring.db, provider, wanted, clock=world.wiring.clock)


async def use(world: World, payment: Payment, amount: int, unit: str = "credit") -> None:
    posting = Posting(
        customer_id=payment.customer_id,
        unit=unit,
        type="usage",
        amount=-amount,
        cause=Cause("test", f"use {payment.reference} {amount}", "use"),
    )
    async with world.wiring.db.transaction() as conn:
        [made] = await entries.post(conn, [posting], at=world.wiring.clock.now())
    assert made.outcome == "posted"


async def standing(world: World, payment: Payment, unit: str = "credit") -> tuple[int, int, int]:
    """Spendable, held, owed."""
    async with world.wiring.db.connection() as conn:
        at = world.wiring.clock.now()
        found = await balances.balance(conn, payment.customer_id, unit, at=at)
    return found.spendable, found.held, found.owed


async def listed(world: World, payment: Payment) -> list[tuple[int, str]]:
    async with world.wiring.db.connection() as conn:
        found = await reversals.list_for_payments(conn, payment.customer_id, [payment.id])
    return [(reversal.amount_minor, reversal.state) for reversal in found.get(payment.id, [])]


def dashboard(world: World, payment: Payment, amount: int) -> Any:
    """A refund that somebody makes at the provider."""
    return world.stripe.v1.refunds.create(
        {"payment_intent": str(payment.payment_intent_id), "amount": amount}
    )


async def test_a_whole_refund_takes_the_credits_back_once(world: World) -> None:
    payment = await bought(world, amount_minor=1000, currency="usd")
    made = await refund(world, payment)
    assert (made.reversal.state, made.credits_reversed, made.owed) == ("settled", 1000, 0)
    assert await standing(world, payment) == (0, 0, 0)
    await tell(world, payment)
    assert (await world.payment(payment)).status == "refunded"
    assert await standing(world, payment) == (0, 0, 0)
    assert await listed(world, payment) == [(1000, "settled")]


async def test_a_part_takes_its_share_rounded_up(world: World) -> None:
    payment = await bought(world, package="basic")
    made = await refund(world, payment, 100)
    # 12 pages for $10: a tenth of them is 1.2, so 2 go back.
    assert made.credits_reversed == 2
    assert (await world.payment(payment)).status == "partially_refunded"
    second = await refund(world, payment, 100)
    assert second.credits_reversed == 1
    rest = await refund(world, payment)
    assert (rest.reversal.amount_minor, rest.credits_reversed) == (800, 9)
    assert await standing(world, payment, "page") == (0, 0, 0)


async def test_spent_credits_are_owed_and_the_next_purchase_pays(world: World) -> None:
    first = await bought(world, amount_minor=1000, currency="usd")
    await bought(world, amount_minor=1000, currency="usd")
    await use(world, first, 1200)
    made = await refund(world, first)
    assert (made.credits_reversed, made.owed) == (1000, 200)
    assert await standing(world, first) == (0, 0, 200)
    await bought(world, amount_minor=500, currency="usd")
    assert await standing(world, first) == (300, 0, 0)


async def test_spent_credits_can_be_a_reason_to_refuse(world: World) -> None:
    payment = await bought(world, amount_minor=1000, currency="usd")
    await use(world, payment, 1)
    with pytest.raises(errors.CreditsSpent):
        await refund(world, payment, rules=Rules(of_spent="refuse"))
    assert await listed(world, payment) == []
    made = await refund(world, payment, rules=Rules(of_spent="refuse"), force=True)
    assert made.owed == 1


async def test_a_refund_made_at_the_provider_is_learned_from_its_events(world: World) -> None:
    payment = await bought(world, amount_minor=1000, currency="usd")
    dashboard(world, payment, 300)
    await tell(world, payment)
    await tell(world, payment)
    assert await listed(world, payment) == [(300, "settled")]
    assert await standing(world, payment) == (700, 0, 0)
    dashboard(world, payment, 700)
    await tell(world, payment)
    assert (await world.payment(payment)).status == "refunded"
    assert await standing(world, payment) == (0, 0, 0)


async def test_a_refund_that_arrives_before_completion_waits_for_it(world: World) -> None:
    payment = await world.open_checkout(amount_minor=1000, currency="usd")
    await world.pay(payment)
    session = world.stripe.v1.checkout.sessions.retrieve(str(payment.session_id))
    world.stripe.v1.refunds.create({"payment_intent": str(session.payment_intent), "amount": 400})
    async with world.http() as http:
        events = (await http.get("/v1/events", params={"limit": 100})).json()["data"]
    about = [event for event in events if str(session.payment_intent) in str(event)]
    assert about[0]["type"].startswith(("refund.", "charge.refund"))
    for event in about:  # The newest first.
        await world.deliver([event])
        await world.work()
    assert await standing(world, payment) == (600, 0, 0)
    assert await listed(world, payment) == [(400, "settled")]


async def test_twenty_parallel_refunds_of_600_on_1000_give_one(world: World) -> None:
    payment = await bought(world, amount_minor=1000, currency="usd")
    answers = await asyncio.gather(
        *(refund(world, payment, 600) for _ in range(20)), return_exceptions=True
    )
    made = [answer for answer in answers if isinstance(answer, Refund)]
    assert len(made) == 1
    assert all(isinstance(answer, Refund | errors.RefundExceedsCaptured) for answer in answers), (
        answers
    )
    assert await listed(world, payment) == [(600, "settled")]
    assert await standing(world, payment) == (400, 0, 0)


async def test_what_can_not_be_refunded_is_refused_by_name(world: World) -> None:
    payment = await world.open_checkout()
    with pytest.raises(errors.PaymentNotRefundable):
        await refund(world, payment)
    paid = await bought(world)
    with pytest.raises(errors.RefundExceedsCaptured):
        await refund(world, paid, 501)
    await refund(world, paid)
    with pytest.raises(errors.PaymentNotRefundable):
        await refund(world, paid, 1)
    with pytest.raises(errors.NotFound):
        await refund(world, payment.__class__(**{**fields(payment), "id": 999}))


def fields(payment: Payment) -> dict[str, Any]:
    return {name: getattr(payment, name) for name in payment.__slots__}


PENDING, FAILING = "4000000000007726", "4000000000005126"


async def bought_with(world: World, number: str) -> Payment:
    payment = await world.open_checkout(amount_minor=1000, currency="usd")
    async with world.http() as http:
        card = {
            "type": "card",
            "card[number]": number,
            "card[exp_month]": "12",
            "card[exp_year]": "2034",
            "card[cvc]": "123",
        }
        made = await http.post("/v1/payment_methods", data=card)
        assert made.status_code == 200, made.text
        paid = await http.post(
            f"/v1/payment_pages/{payment.session_id}/confirm",
            data={"payment_method": made.json()["id"]},
        )
        assert paid.status_code == 200, paid.text
    await tell(world, payment)
    return await world.payment(payment)


async def wait_for(world: World, payment: Payment, state: str) -> None:
    for _ in range(100):
        await tell(world, payment)
        if [found for _, found in await listed(world, payment)] == [state]:
            return
        async with world.http() as http:
            await http.post("/_sandbox/clock", json={"advance": 3600})
        await asyncio.sleep(0.2)
    raise AssertionError(f"never {state}: {await listed(world, payment)}")


async def test_a_pending_refund_holds_and_then_takes(world: World) -> None:
    payment = await bought_with(world, PENDING)
    made = await refund(world, payment, 400)
    assert (made.reversal.state, made.credits_reversed) == ("pending", 0)
    assert await standing(world, payment) == (600, 400, 0)
    await wait_for(world, payment, "settled")
    assert await standing(world, payment) == (600, 0, 0)
    assert (await world.payment(payment)).status == "partially_refunded"


async def test_a_refund_that_fails_later_gives_everything_back(world: World) -> None:
    payment = await bought_with(world, FAILING)
    await refund(world, payment, 400)
    await wait_for(world, payment, "released")
    assert await standing(world, payment) == (1000, 0, 0)
    after = await world.payment(payment)
    assert (after.status, after.refunded_minor, after.refund_pending_minor) == ("completed", 0, 0)
    again = await refund(world, payment, 400)
    assert again.reversal.amount_minor == 400


class LaterClock:
    """The time, some while from now."""

    def __init__(self, world: World, later: timedelta) -> None:
        self._clock, self._later = world.wiring.clock, later

    def now(self) -> datetime:
        return self._clock.now() + self._later


async def forget_the_answer(world: World) -> str:
    """As if the provider's answer had never come; the reference of the one refund."""
    async with world.wiring.db.transaction() as conn:
        await conn.execute("update reversals set state = 'pending', provider_ref = null")
        return str(await conn.fetchval("select reference::text from reversals"))


async def test_a_day_later_a_lost_refund_is_looked_up_and_never_made_again(world: World) -> None:
    payment = await bought(world, amount_minor=1000, currency="usd")
    await refund(world, payment, 300)
    reference = await forget_the_answer(world)
    provider, clock = world.wiring.provider("stripe"), LaterClock(world, timedelta(hours=26))
    wanted = Wanted(payment_id=payment.id, amount_minor=300, requested_by="admin")
    again = await refunds.request(world.wiring.db, provider, wanted, clock=clock, resume=reference)
    assert (again.reversal.state, again.reversal.amount_minor) == ("settled", 300)
    intent = str(payment.payment_intent_id)
    assert len(world.stripe.v1.refunds.list({"payment_intent": intent}).data) == 1
    assert await standing(world, payment) == (700, 0, 0)


async def test_what_we_took_for_never_made_gives_way_to_what_the_provider_says(
    world: World,
) -> None:
    payment = await bought(world, amount_minor=1000, currency="usd")
    await refund(world, payment, 300)
    await forget_the_answer(world)
    async with world.wiring.db.transaction() as conn:
        await conn.execute("update reversals set state = 'released', steps = steps + 1")
    await tell(world, payment)
    assert await listed(world, payment) == [(300, "settled")]
    assert await standing(world, payment) == (700, 0, 0)


async def test_a_pending_refund_whose_webhooks_are_lost_is_asked_about(world: World) -> None:
    payment = await bought_with(world, PENDING)
    made = await refund(world, payment, 400)
    assert made.reversal.state == "pending"
    for _ in range(50):
        async with world.http() as http:
            await http.post("/_sandbox/clock", json={"advance": 3600})
            found = await http.get(f"/v1/refunds/{made.reversal.provider_ref}")
        if found.json()["status"] == "succeeded":
            break
        await asyncio.sleep(0.1)
    async with world.wiring.db.transaction() as conn:
        due = await conn.execute("update timers set due_at = now() where kind = 'refund.check'")
    assert due == "UPDATE 1"
    await world.work()
    assert await listed(world, payment) == [(400, "settled")]
    assert await standing(world, payment) == (600, 0, 0)


async def test_a_use_given_back_after_its_refund_pays_what_is_owed(world: World) -> None:
    payment = await bought(world, amount_minor=1000, currency="usd")
    await use(world, payment, 1000)
    await refund(world, payment)
    assert await standing(world, payment) == (0, 0, 1000)
    async with world.wiring.db.transaction() as conn:
        taken = await conn.fetchval("select id from ledger_postings where type = 'usage'")
        back = GiveBack(
            customer_id=payment.customer_id,
            posting_id=taken,
            amount=None,
            cause=Cause("test", "back", "give_back"),
        )
        await entries.give_back(conn, [back], at=world.wiring.clock.now())
    assert await standing(world, payment) == (0, 0, 0)


async def test_refusing_what_is_spent_counts_the_share_and_not_the_part_alone(
    world: World,
) -> None:
    payment = await bought(world, package="basic")
    await refund(world, payment, 100, rules=Rules(of_spent="refuse"))
    rest = await refund(world, payment, rules=Rules(of_spent="refuse"))
    assert rest.credits_reversed == 10
    assert await standing(world, payment, "page") == (0, 0, 0)


async def test_our_own_request_beside_the_dashboards_is_no_excess(world: World) -> None:
    payment = await bought(world, amount_minor=1000, currency="usd")
    dashboard(world, payment, 1000)
    with pytest.raises(errors.ProviderRejected):
        await refund(world, payment)
    await tell(world, payment)
    assert await standing(world, payment) == (0, 0, 0)
    async with world.wiring.db.connection() as conn:
        assert await cases.list_cases(conn) == []


async def test_a_lost_answer_is_asked_for_under_its_key_and_refunds_once(world: World) -> None:
    payment = await bought(world, amount_minor=1000, currency="usd")
    await refund(world, payment, 300)
    async with world.wiring.db.transaction() as conn:
        # As if the answer had never come: the row is as it was before the call.
        await conn.execute("update reversals set state = 'pending', provider_ref = null")
        reference = await conn.fetchval("select reference::text from reversals")
    later = await refunds.check(
        world.wiring.db, world.wiring.providers, reference, world.wiring.clock
    )
    assert later is not None
    assert await listed(world, payment) == [(300, "settled")]
    intent = str(payment.payment_intent_id)
    assert len(world.stripe.v1.refunds.list({"payment_intent": intent}).data) == 1
    assert await standing(world, payment) == (700, 0, 0)


async def test_a_refund_the_provider_refuses_leaves_all_as_it_was(world: World) -> None:
    payment = await bought(world, amount_minor=1000, currency="usd")
    dashboard(world, payment, 800)
    # Bursar has not heard of it, and asks for more than is left there.
    with pytest.raises(errors.ProviderRejected):
        await refund(world, payment, 500)
    assert await listed(world, payment) == [(500, "released")]
    assert await standing(world, payment) == (1000, 0, 0)
    await tell(world, payment)
    assert await standing(world, payment) == (200, 0, 0)
    async with world.wiring.db.connection() as conn:
        assert await cases.list_cases(conn) == []
