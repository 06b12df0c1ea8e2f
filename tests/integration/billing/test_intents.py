"""Payments by card form: opened once, credited once, given up when nobody pays."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from bursar import errors
from bursar.billing import cases, checkouts, intents
from bursar.billing.payments import Payment
from card_form_shop import buy, confirm, open_intent, push, tell
from worlds import World


class LaterClock:
    """The time, some while from now."""

    def __init__(self, world: World, later: timedelta) -> None:
        self._clock, self._later = world.wiring.clock, later

    def now(self) -> datetime:
        return self._clock.now() + self._later


async def check(world: World, payment: Payment, later: timedelta) -> datetime | None:
    wiring = world.wiring
    clock = LaterClock(world, later)
    return await intents.check(wiring.db, wiring.providers, payment.reference, clock)


async def lose_the_answer(world: World, payment: Payment) -> None:
    """As if the provider's answer to the call had never come."""
    async with world.wiring.db.transaction() as conn:
        await conn.execute(
            "delete from provider_refs where kind = 'intent' and ref = $1",
            payment.payment_intent_id,
        )
        await conn.execute("update payments set opening = 'unknown', payment_intent_id = null")


async def kinds_of_cases(world: World) -> list[str]:
    async with world.wiring.db.connection() as conn:
        return [case.kind for case in await cases.list_cases(conn)]


def intent_at(world: World, payment: Payment) -> Any:
    return world.stripe.v1.payment_intents.retrieve(str(payment.payment_intent_id))


async def test_a_confirmed_intent_brings_its_credits_once(world: World) -> None:
    payment = await buy(world)
    assert (payment.kind, payment.status, payment.captured_minor) == ("intent", "completed", 500)
    assert await world.balance(payment.customer_id) == 5
    await tell(world, payment)
    await world.sync(payment)
    assert await world.balance(payment.customer_id) == 5
    assert await kinds_of_cases(world) == []


async def test_the_provider_is_told_what_is_paid_and_by_whom(world: World) -> None:
    opened = await open_intent(world, metadata={"cart": "7"})
    intent = intent_at(world, opened.payment)
    assert (intent.amount, intent.currency) == (500, "usd")
    assert intent.metadata["bursar_reference"] == opened.payment.reference
    assert intent.metadata["cart"] == "7"
    assert intent.customer is not None
    assert opened.client_secret == intent.client_secret


async def test_the_client_secret_is_stored_nowhere(world: World) -> None:
    opened = await open_intent(world)
    secret = opened.client_secret.rpartition("_")[2]
    async with world.wiring.db.connection() as conn:
        tables = await conn.fetch(
            "select quote_ident(table_name) as name from information_schema.tables"
            " where table_schema = 'public' and table_type = 'BASE TABLE'"
        )
        for table in tables:
            found = await conn.fetchval(
                f"select count(*) from {table['name']} t where t::text like $1", f"%{secret}%"
            )
            assert found == 0, table["name"]


async def test_a_declined_card_then_a_good_one_is_one_payment(world: World) -> None:
    opened = await open_intent(world)
    refused = await confirm(world, opened, "pm_card_chargeDeclinedInsufficientFunds")
    assert refused["error"]["decline_code"] == "insufficient_funds"
    await tell(world, opened.payment)
    failed = await world.payment(opened.payment)
    assert (failed.status, failed.failure) == ("failed", "insufficient_funds")
    await confirm(world, opened)
    await tell(world, opened.payment)
    assert (await world.payment(opened.payment)).status == "completed"
    assert await world.balance(opened.payment.customer_id) == 5


async def test_a_top_up_by_card_form_brings_its_credits(world: World) -> None:
    payment = await buy(world, amount_minor=1234, currency="usd")
    assert await world.balance(payment.customer_id, "credit") == 1234


async def test_another_amount_at_the_provider_is_a_case_and_brings_nothing(world: World) -> None:
    opened = await open_intent(world)
    world.stripe.v1.payment_intents.update(str(opened.payment.payment_intent_id), {"amount": 100})
    await confirm(world, opened)
    await tell(world, opened.payment)
    assert (await world.payment(opened.payment)).mismatch
    assert await world.balance(opened.payment.customer_id) == 0
    assert await kinds_of_cases(world) == ["mismatch"]


async def test_webhooks_that_were_all_lost_are_made_up_by_the_timer(world: World) -> None:
    opened = await open_intent(world)
    await confirm(world, opened)
    async with world.wiring.db.transaction() as conn:
        await conn.execute("update timers set due_at = now()")
    await world.work()
    assert (await world.payment(opened.payment)).status == "completed"
    assert await world.balance(opened.payment.customer_id) == 5


async def test_an_unpaid_intent_is_looked_at_soon_later_and_at_its_end(world: World) -> None:
    payment = (await open_intent(world)).payment
    assert payment.expires_at is not None
    soon, later = (payment.created_at + after for after in checkouts.CHECKED_OPEN)
    async with world.wiring.db.connection() as conn:
        timers = await conn.fetch("select kind, reference, due_at from timers")
    assert [tuple(row) for row in timers] == [(checkouts.CHECK_TIMER, payment.reference, soon)]
    assert await check(world, payment, timedelta(minutes=16)) == later
    end = payment.expires_at + checkouts.CHECK_AFTER
    assert await check(world, payment, timedelta(hours=3)) == end


async def test_a_lost_message_of_an_intent_costs_a_quarter_of_an_hour_and_not_a_day(
    world: World,
) -> None:
    opened = await open_intent(world)
    await confirm(world, opened)
    async with world.wiring.db.connection() as conn:
        due_at = await conn.fetchval("select due_at from timers")
    wait = due_at - opened.payment.created_at
    assert wait <= timedelta(minutes=15)
    assert await check(world, opened.payment, wait) is None
    assert (await world.payment(opened.payment)).status == "completed"
    assert await world.balance(opened.payment.customer_id) == 5


async def test_a_lost_answer_is_asked_for_again_under_its_key(world: World) -> None:
    payment = (await open_intent(world)).payment
    await lose_the_answer(world, payment)
    assert await check(world, payment, timedelta(minutes=3)) is None
    after = await world.payment(payment)
    assert (after.opening, after.payment_intent_id) == ("open", payment.payment_intent_id)


async def test_past_the_keys_life_an_intent_is_found_by_our_reference(world: World) -> None:
    payment = (await open_intent(world)).payment
    await lose_the_answer(world, payment)
    assert await check(world, payment, timedelta(hours=24)) is None
    after = await world.payment(payment)
    assert (after.opening, after.payment_intent_id) == ("open", payment.payment_intent_id)


async def test_an_intent_that_never_was_is_ended_and_not_repeated(world: World) -> None:
    payment = (await open_intent(world)).payment
    await lose_the_answer(world, payment)
    reference = "7b7b7b7b-0000-4000-8000-000000000000"
    async with world.wiring.db.transaction() as conn:
        await conn.execute("update payments set reference = $1::text::uuid", reference)
        await conn.execute(
            "update provider_refs set ref = $1 where ref = $2", reference, payment.reference
        )
    assert await check(world, replace(payment, reference=reference), timedelta(hours=24)) is None
    after = await world.payment(payment)
    assert (after.opening, after.status) == ("refused", "canceled")


@pytest.mark.parametrize("tried", [False, True])
async def test_an_intent_that_nobody_paid_is_given_up_after_a_day(
    world: World, tried: bool
) -> None:
    opened = await open_intent(world)
    if tried:
        await confirm(world, opened, "pm_card_chargeDeclined")
        await tell(world, opened.payment)
    await check(world, opened.payment, timedelta(hours=23))
    assert intent_at(world, opened.payment).status == "requires_payment_method"
    assert await check(world, opened.payment, timedelta(hours=25)) is None
    assert intent_at(world, opened.payment).status == "canceled"
    assert (await world.payment(opened.payment)).status == "canceled"
    assert await kinds_of_cases(world) == []


async def test_an_intent_paid_in_its_last_moment_is_not_given_up(world: World) -> None:
    opened = await open_intent(world)
    await confirm(world, opened)
    assert await check(world, opened.payment, timedelta(hours=25)) is None
    assert (await world.payment(opened.payment)).status == "completed"


async def test_money_that_is_held_is_never_let_go_for_want_of_a_message(world: World) -> None:
    opened = await open_intent(world, capture_method="manual")
    await confirm(world, opened)
    await check(world, opened.payment, timedelta(hours=25))
    assert intent_at(world, opened.payment).status == "requires_capture"
    assert (await world.payment(opened.payment)).status == "authorized"


async def test_a_customer_deleted_at_the_provider_is_made_anew(world: World) -> None:
    first = intent_at(world, (await open_intent(world)).payment)
    world.stripe.v1.customers.delete(str(first.customer))
    second = intent_at(world, (await open_intent(world)).payment)
    assert second.customer != first.customer


async def test_an_intent_is_refunded_like_any_payment(world: World) -> None:
    payment = await buy(world)
    world.stripe.v1.refunds.create({"payment_intent": str(payment.payment_intent_id)})
    await tell(world, payment)
    assert (await world.payment(payment)).status == "refunded"
    assert await world.balance(payment.customer_id) == 0


@pytest.mark.parametrize(
    ("wanted", "error"),
    [
        ({"plan": "gone", "months": 1}, errors.UnknownItem),
        ({"plan": "pages-pro", "months": 2}, errors.DurationNotOffered),
        ({"plan": "pages-pro", "months": 3, "currency": "jpy"}, errors.CurrencyNotSold),
        ({"plan": "pages-pro", "months": 3, "shown_minor": 8000}, errors.AmountMismatch),
        ({"plan": "pages-pro", "months": 3, "shown_minor": 81}, errors.AmountInMajorUnits),
        ({"package": "starter", "shown_minor": 5}, errors.AmountInMajorUnits),
        ({"amount_minor": 49, "currency": "usd"}, errors.AmountTooSmall),
        ({"amount_minor": 499, "currency": "usd"}, errors.AmountOutOfBounds),
    ],
)
async def test_what_is_not_sold_so_is_refused_before_the_provider_is_called(
    world: World, tmp_path: Path, wanted: dict[str, Any], error: type[errors.Error]
) -> None:
    await push(world, tmp_path)
    with pytest.raises(error) as refused:
        await open_intent(world, **wanted)
    assert type(refused.value) is error
    async with world.wiring.db.connection() as conn:
        assert await conn.fetchval("select count(*) from payments") == 0


async def test_yen_have_no_minor_unit_to_mistake(world: World, tmp_path: Path) -> None:
    await push(world, tmp_path)
    wanted = {"plan": "pages-pro", "months": 1, "currency": "jpy", "shown_minor": 4500}
    assert (await open_intent(world, **wanted)).payment.amount_minor == 4500


async def test_the_least_that_the_provider_charges_is_named(world: World) -> None:
    with pytest.raises(errors.AmountTooSmall, match=r"at least \$0\.50"):
        await open_intent(world, amount_minor=7, currency="usd")


async def test_the_timer_of_a_hosted_checkout_is_looked_after_as_before(world: World) -> None:
    payment = await world.open_checkout()
    await world.pay(payment)
    assert await check(world, payment, checkouts.CHECK_AFTER) is None
    assert (await world.payment(payment)).status == "completed"
