"""Orders under review: captured whole or in part, canceled, lapsed; here and at the provider."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from bursar import errors
from bursar.access import audit_log
from bursar.billing import (
    authorizations,
    captures,
    cases,
    catalog_file,
    catalog_push,
    intents,
    lapses,
    order_review,
)
from bursar.billing.order_decisions import Decision
from bursar.billing.orders import Order
from bursar.billing.payments import Payment
from bursar.messages import outbox
from bursar.providers.port import CaptureOrder, PaymentFacts, RefundFact
from bursar.providers.stripe import Stripe
from bursar.wiring import opened
from bursar_sandbox.running import Sandbox
from orders_world import ADMIN, LaterClock, advance, decide, decisions, held, tell, topics
from stripe_schema import recorded, schema_or_skip
from worlds import ROOT, World, settings_for, stripe_client

pytestmark = pytest.mark.timeout(120)


async def ask_for_everything(world: World) -> None:
    async with world.wiring.db.transaction() as conn:
        await outbox.subscribe(conn, "host:test", ["*"], at=world.wiring.clock.now())


@pytest.fixture
async def clocked(database_url: str, tmp_path: Path) -> AsyncIterator[World]:
    """A world whose sandbox is its own, so that its clock may run ahead of everybody else's."""
    record = tmp_path / "record.jsonl"
    record.touch()
    with Sandbox(home=tmp_path, record=record) as sandbox:
        async with opened(settings_for(sandbox, database_url)) as wiring:
            wanted = catalog_file.read(ROOT / "catalog.toml")
            provider = wiring.provider("stripe")
            await catalog_push.push(wiring.db, provider, wanted, clock=wiring.clock)
            here = World(wiring, sandbox, stripe_client(sandbox))
            yield here
            await here.assert_audit_clean()
    assert recorded.problems(record, schema_or_skip()) == []


def intent_of(world: World, payment: Payment) -> Any:
    return world.stripe.v1.payment_intents.retrieve(
        str(payment.payment_intent_id), {"expand": ["latest_charge"]}
    )


async def pages(world: World, payment: Payment) -> int:
    return await world.balance(payment.customer_id)


async def test_an_order_says_what_is_held_and_until_when(world: World) -> None:
    payment = await held(world)
    charge = intent_of(world, payment).latest_charge
    assert payment.authorized_minor == 5000
    assert payment.authorized_until is not None
    until = charge.payment_method_details.card.capture_before
    assert payment.authorized_until.timestamp() == until
    assert await pages(world, payment) == 0


async def test_a_capture_takes_the_money_and_brings_the_credits_once(world: World) -> None:
    await ask_for_everything(world)
    payment = await held(world)
    made = await decide(world, payment, "capture")
    assert (made.state, made.amount_minor) == ("done", 5000)
    after = await world.payment(payment)
    assert (after.status, after.captured_minor) == ("completed", 5000)
    assert await pages(world, payment) == 100
    await tell(world, payment)
    await tell(world, payment)
    assert await pages(world, payment) == 100
    assert await topics(world) == ["payment.authorized", "payment.completed"]
    assert await decisions(world, payment) == [("capture", 5000, "done")]


async def test_a_part_brings_its_share_and_the_rest_is_let_go_not_refunded(world: World) -> None:
    payment = await held(world)
    await decide(world, payment, "capture", 1999)
    await tell(world, payment)
    after = await world.payment(payment)
    assert (after.status, after.captured_minor, after.refunded_minor) == ("completed", 1999, 0)
    # 100 pages × 1999 / 5000 is 39.98.
    assert await pages(world, payment) == 39
    with pytest.raises(errors.PaymentNotCapturable):
        await decide(world, payment, "capture", 100)


async def test_a_refund_after_a_part_was_captured_takes_back_its_share(world: World) -> None:
    payment = await held(world)
    await decide(world, payment, "capture", 2500)
    await tell(world, payment)
    # As much as was let go: no matter, for this did go back.
    world.stripe.v1.refunds.create(
        {"payment_intent": str(payment.payment_intent_id), "amount": 2500}
    )
    await tell(world, payment)
    after = await world.payment(payment)
    assert (after.status, after.refunded_minor) == ("refunded", 2500)
    assert await pages(world, payment) == 0


@pytest.mark.parametrize("first", ["refund", "capture"])
async def test_a_rest_that_an_old_api_version_calls_a_refund_does_not_count(
    world: World, first: str
) -> None:
    payment = await held(world)
    told = await world.wiring.provider("stripe").capture_payment(
        CaptureOrder(str(uuid4()), str(payment.payment_intent_id), 2000)
    )
    at = told[0].at
    rest = PaymentFacts(
        provider="stripe",
        at=at,
        payment_intent_id=payment.payment_intent_id,
        refunds=(RefundFact("re_rest", None, 3000, "settled", at),),
    )
    captured = [replace(told[0], released_minor=3000)]
    for facts in [[rest], captured] if first == "refund" else [captured, [rest]]:
        await world.settle(facts)
    await world.sync(payment)
    after = await world.payment(payment)
    assert (after.captured_minor, after.refunded_minor) == (2000, 0)
    real = replace(rest, refunds=(RefundFact("re_real", None, 500, "settled", at),))
    await world.settle([real, rest])
    after = await world.payment(payment)
    assert (after.status, after.refunded_minor) == ("partially_refunded", 500)
    await tell(world, payment)
    assert await pages(world, payment) == 30


async def test_a_cancellation_charges_nothing(world: World) -> None:
    await ask_for_everything(world)
    payment = await held(world)
    made = await decide(world, payment, "cancel", reason="requested_by_customer")
    assert (made.state, made.reason) == ("done", "requested_by_customer")
    intent = intent_of(world, payment)
    assert (intent.status, intent.cancellation_reason) == ("canceled", "requested_by_customer")
    await tell(world, payment)
    after = await world.payment(payment)
    assert (after.status, after.captured_minor) == ("canceled", 0)
    assert await pages(world, payment) == 0
    assert await topics(world) == ["payment.authorized", "payment.canceled"]


async def test_what_can_not_be_captured_is_refused_by_name(world: World) -> None:
    opened = await world.open_checkout()
    for kind in ("capture", "cancel"):
        with pytest.raises(errors.PaymentNotCapturable):
            await decide(world, opened, kind)  # type: ignore[arg-type]
    with pytest.raises(errors.NotFound):
        await decide(world, replace(opened, id=999), "capture")
    payment = await held(world, "bob")
    with pytest.raises(errors.CaptureExceedsAuthorized) as refused:
        await decide(world, payment, "capture", 5001)
    assert refused.value.errors[0]["field"] == "amount"
    assert await decisions(world, payment) == []
    assert await pages(world, payment) == 0


async def test_of_twenty_captures_at_once_one_takes_the_money(world: World) -> None:
    payment = await held(world)
    answers = await asyncio.gather(
        *(decide(world, payment, "capture", 1000) for _ in range(20)), return_exceptions=True
    )
    made = [answer for answer in answers if isinstance(answer, Decision)]
    assert [one.state for one in made] == ["done"]
    assert all(isinstance(a, Decision | errors.PaymentNotCapturable) for a in answers), answers
    assert (await world.payment(payment)).captured_minor == 1000
    assert await pages(world, payment) == 20


async def test_a_capture_and_a_cancellation_at_once_end_one_way(world: World) -> None:
    for turn in range(4):
        payment = await held(world, f"user-{turn}")
        kinds = ("capture", "cancel") if turn % 2 else ("cancel", "capture")
        answers = await asyncio.gather(
            *(decide(world, payment, kind) for kind in kinds),  # type: ignore[arg-type]
            return_exceptions=True,
        )
        [won] = [answer for answer in answers if isinstance(answer, Decision)]
        await tell(world, payment)
        after = await world.payment(payment)
        assert after.status == ("completed" if won.kind == "capture" else "canceled")
        assert await pages(world, payment) == (100 if won.kind == "capture" else 0)


@pytest.mark.parametrize("amount", [5000, 1000])
async def test_a_capture_in_the_providers_dashboard_ends_the_same(
    world: World, amount: int
) -> None:
    await ask_for_everything(world)
    payment = await held(world)
    world.stripe.v1.payment_intents.capture(
        str(payment.payment_intent_id), {"amount_to_capture": amount}
    )
    await tell(world, payment)
    after = await world.payment(payment)
    assert (after.status, after.captured_minor) == ("completed", amount)
    assert await pages(world, payment) == amount // 50
    assert await topics(world) == ["payment.authorized", "payment.completed"]
    with pytest.raises(errors.PaymentNotCapturable):
        await decide(world, payment, "cancel")


async def test_events_of_a_capture_end_the_same_in_any_order(world: World) -> None:
    payment = await held(world)
    world.stripe.v1.payment_intents.capture(
        str(payment.payment_intent_id), {"amount_to_capture": 1500}
    )
    async with world.http() as http:
        events = (await http.get("/v1/events", params={"limit": 100})).json()["data"]
    about = [event for event in events if str(payment.payment_intent_id) in str(event)]
    assert {"charge.captured", "payment_intent.succeeded"} <= {event["type"] for event in about}
    for event in about:  # The newest first, and the old ones again.
        await world.deliver([event])
        await world.work()
    after = await world.payment(payment)
    assert (after.status, after.captured_minor, after.authorized_minor) == ("completed", 1500, 5000)
    assert await pages(world, payment) == 30


async def test_a_decision_that_comes_after_the_dashboards_is_refused(world: World) -> None:
    payment = await held(world)
    world.stripe.v1.payment_intents.cancel(str(payment.payment_intent_id))
    # No event has come yet: here the money still shows as held.
    with pytest.raises(errors.PaymentNotCapturable):
        await decide(world, payment, "capture")
    assert await decisions(world, payment) == [("capture", 5000, "refused")]
    assert (await world.payment(payment)).status == "canceled"


async def test_another_sum_in_the_dashboard_is_not_our_capture(world: World) -> None:
    payment = await held(world)
    world.stripe.v1.payment_intents.capture(
        str(payment.payment_intent_id), {"amount_to_capture": 700}
    )
    with pytest.raises(errors.PaymentNotCapturable):
        await decide(world, payment, "capture", 5000)
    after = await world.payment(payment)
    assert (after.status, after.captured_minor) == ("completed", 700)
    assert await pages(world, payment) == 14


async def test_the_provider_says_how_an_order_ended(world: World) -> None:
    taken, let_go = await held(world), await held(world, "bob")
    await decide(world, taken, "capture", 100)
    await decide(world, let_go, "cancel")
    await world.work()
    for payment, word in ((taken, "captured"), (let_go, "canceled")):
        session = world.stripe.v1.checkout.sessions.retrieve(str(payment.session_id))
        told = [session.to_dict()["metadata"], intent_of(world, payment).to_dict()["metadata"]]
        assert [labels["bursar_order"] for labels in told] == [word, word]
        assert [labels["bursar_reference"] for labels in told] == [payment.reference] * 2


async def test_a_decision_is_in_the_audit_log(world: World) -> None:
    payment = await held(world)
    await decide(world, payment, "capture", 1000)
    async with world.wiring.db.connection() as conn:
        [entry] = await audit_log.list_entries(conn, action="order.captured", limit=10)
    assert (entry.actor, entry.subject) == ("admin", f"payment:{payment.id}")
    assert (entry.detail["amount_minor"], entry.detail["currency"]) == (1000, "usd")


class Losing(Stripe):
    """The adapter, whose answers to captures are lost: after they were done, or before."""

    lose = "after"

    async def capture_payment(self, order: CaptureOrder) -> list[PaymentFacts]:
        if self.lose == "after":
            await super().capture_payment(order)
        if self.lose:
            raise errors.ProviderUnknown
        return await super().capture_payment(order)

    async def fetch_payment(self, **asked: Any) -> list[PaymentFacts]:
        if self.lose == "after":
            raise errors.ProviderUnavailable
        return await super().fetch_payment(**asked)


@pytest.fixture
async def losing(world: World) -> Any:
    adapter = Losing(
        secret_key=world.settings.stripe_secret_key,
        webhook_secrets=world.settings.stripe_webhook_secrets,
        base=world.sandbox.base_url,
        live=False,
    )
    yield adapter
    await adapter.close()


async def lose_the_answer(world: World, payment: Payment, losing: Losing) -> str:
    """A capture whose answer never comes; returns its reference."""
    wanted = captures.Wanted(
        payment_id=payment.id, kind="capture", amount_minor=2000, requested_by="admin",
        actor=ADMIN,
    )  # fmt: skip
    with pytest.raises(errors.ProviderUnknown):
        await captures.decide(world.wiring.db, {"stripe": losing}, wanted, clock=world.wiring.clock)
    assert await decisions(world, payment) == [("capture", 2000, "unknown")]
    async with world.wiring.db.connection() as conn:
        return str(await conn.fetchval("select reference from order_decisions"))


@pytest.mark.parametrize("hours", [0.05, 24])
async def test_a_lost_answer_is_asked_for_by_a_timer(
    world: World, losing: Losing, hours: float
) -> None:
    payment = await held(world)
    reference = await lose_the_answer(world, payment, losing)
    with pytest.raises(errors.PaymentNotCapturable):
        await decide(world, payment, "cancel")
    clock = LaterClock(world, timedelta(hours=hours))
    providers = world.wiring.providers
    assert await captures.check(world.wiring.db, providers, reference, clock) is None
    assert await decisions(world, payment) == [("capture", 2000, "done")]
    after = await world.payment(payment)
    assert (after.status, after.captured_minor) == ("completed", 2000)
    assert await pages(world, payment) == 40


async def test_what_the_provider_never_did_is_refused_in_the_end_and_not_repeated(
    world: World, losing: Losing
) -> None:
    payment = await held(world)
    losing.lose = "before"
    reference = await lose_the_answer(world, payment, losing)
    db, providers = world.wiring.db, {"stripe": losing}
    soon = LaterClock(world, timedelta(minutes=3))
    with pytest.raises(errors.ProviderUnknown):
        await captures.check(db, providers, reference, soon)
    later = LaterClock(world, timedelta(minutes=11))
    assert await captures.check(db, providers, reference, later) is None
    assert await decisions(world, payment) == [("capture", 2000, "refused")]
    assert (await world.payment(payment)).status == "authorized"
    await decide(world, payment, "capture", 3000)
    assert await decisions(world, payment) == [
        ("capture", 2000, "refused"),
        ("capture", 3000, "done"),
    ]
    assert intent_of(world, payment).amount_received == 3000


async def test_after_the_keys_life_nothing_is_asked_for_again(world: World, losing: Losing) -> None:
    payment = await held(world)
    losing.lose = "before"
    reference = await lose_the_answer(world, payment, losing)
    clock = LaterClock(world, timedelta(hours=24))
    assert await captures.check(world.wiring.db, world.wiring.providers, reference, clock) is None
    assert await decisions(world, payment) == [("capture", 2000, "refused")]
    assert intent_of(world, payment).status == "requires_capture"


async def test_a_day_before_its_end_an_authorization_is_announced_once(clocked: World) -> None:
    world = clocked
    await ask_for_everything(world)
    payment = await held(world)
    await advance(world, days=5, hours=23)
    await world.work()
    assert await topics(world) == ["payment.authorized"]
    await advance(world, hours=2)
    await world.work()
    await world.sync(payment)
    await world.work()
    assert await topics(world) == ["payment.authorized", "payment.authorization_expiring"]
    async with world.wiring.db.connection() as conn:
        waiting = await order_review.list_orders(conn, limit=10)
    assert [order.payment.id for order in waiting] == [payment.id]


async def test_what_was_decided_is_announced_no_more(clocked: World) -> None:
    world = clocked
    await ask_for_everything(world)
    payment = await held(world)
    await decide(world, payment, "capture")
    await advance(world, days=8)
    await world.work()
    assert await topics(world) == ["payment.authorized", "payment.completed"]


@pytest.mark.parametrize("told", [True, False])
async def test_a_lapsed_authorization_is_over_and_nothing_is_charged(
    clocked: World, told: bool
) -> None:
    world = clocked
    payment = await held(world)
    await advance(world, days=7, minutes=6)
    if told:
        await tell(world, payment)
    else:
        # Every event was lost: the timer asks.
        await world.work()
    after = await world.payment(payment)
    assert (after.status, after.captured_minor) == ("expired", 0)
    assert await pages(world, payment) == 0
    async with world.wiring.db.connection() as conn:
        assert await order_review.count_waiting(conn) == 0
        [order] = await order_review.list_orders(conn, "expired", limit=10)
    assert order.payment.id == payment.id
    with pytest.raises(errors.PaymentNotCapturable):
        await decide(world, payment, "capture")


async def test_money_that_a_provider_holds_for_ever_is_a_case_in_the_end(world: World) -> None:
    payment = await held(world)
    db, providers = world.wiring.db, world.wiring.providers
    assert payment.authorized_until is not None
    ahead = payment.authorized_until - world.wiring.clock.now()
    early = LaterClock(world, ahead - timedelta(hours=1))
    due = payment.authorized_until + authorizations.ASK_AFTER
    assert await lapses.lapse(db, providers, payment.reference, early) == due
    late = LaterClock(world, ahead + timedelta(hours=1))
    again = await lapses.lapse(db, providers, payment.reference, late)
    assert again is not None
    assert again > due
    last = LaterClock(world, ahead + timedelta(days=4))
    assert await lapses.lapse(db, providers, payment.reference, last) is None
    async with db.connection() as conn:
        assert [(case.kind, case.amount_minor) for case in await cases.list_cases(conn)] == [
            ("unknown", 5000)
        ]


async def test_an_order_is_completed_when_it_is_captured_not_when_it_was_held(
    clocked: World,
) -> None:
    world = clocked
    payment = await held(world)
    await advance(world, hours=5)
    await decide(world, payment, "capture")
    after = await world.payment(payment)
    assert after.completed_at is not None
    assert timedelta(0) <= world.wiring.clock.now() - after.completed_at < timedelta(hours=1)


async def test_an_order_by_card_form_is_held_and_captured_in_part(world: World) -> None:
    user = await world.user("ada")
    order = Order(
        customer_id=user.customer_id, user=user, package="enterprise", capture_method="manual"
    )
    provider = world.wiring.provider("stripe")
    opened = await intents.open(world.wiring.db, provider, order, clock=world.wiring.clock)
    world.stripe.v1.payment_intents.confirm(
        str(opened.payment.payment_intent_id),
        {"payment_method": "pm_card_visa", "return_url": "https://shop.example/back"},
    )
    await tell(world, opened.payment)
    payment = await world.payment(opened.payment)
    assert (payment.status, payment.authorized_minor) == ("authorized", 5000)
    await decide(world, payment, "capture", 1500)
    await tell(world, payment)
    after = await world.payment(payment)
    assert (after.status, after.captured_minor) == ("completed", 1500)
    assert await pages(world, payment) == 30
