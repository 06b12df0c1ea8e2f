"""Unmatched money: given once, by hand or by address; recorded where its owner is known."""

from __future__ import annotations

import asyncio

import pytest

from bursar import errors
from bursar.access import audit_log
from bursar.billing import cases, customers, unmatched
from bursar.billing.cases import Case
from disputed import FRAUDULENT
from guests import link_of, opened, pay_as_guest, payments_of, put_user, resolve, tell
from worlds import World


async def test_somebody_who_verifies_while_the_money_is_told_of_gets_it(world: World) -> None:
    """The address is verified in a transaction that the other does not see, and the other way."""
    session_id = await pay_as_guest(world, await link_of(world), "gus@example.com")
    async with world.wiring.db.transaction() as conn:
        at = world.wiring.clock.now()
        user = await customers.put_user(
            conn, "gus", email="gus@example.com", email_verified=True, name=None, at=at
        )
        await unmatched.claim(conn, user, at=at)
        await tell(world, session_id)
    assert [case.kind for case in await opened(world)] == ["unmatched"]
    async with world.wiring.db.transaction() as conn:
        due = await conn.execute("update timers set due_at = now() where kind = 'case.match'")
    assert due == "UPDATE 1"
    await world.work()
    assert await world.balance(user.customer_id) == 5
    assert await opened(world) == []


async def test_a_case_is_given_by_hand_once_of_ten_at_once(world: World) -> None:
    customer_id = await put_user(world, "ada", None, verified=False)
    await tell(world, await pay_as_guest(world, await link_of(world), "gus@example.com"))
    [case] = await opened(world)
    answers = await asyncio.gather(
        *(resolve(world, case, user_id="ada") for _ in range(10)), return_exceptions=True
    )
    done = [answer for answer in answers if isinstance(answer, Case)]
    assert len(done) == 1
    assert all(isinstance(a, Case | errors.CaseResolved) for a in answers), answers
    assert (done[0].state, done[0].customer_id) == ("resolved", customer_id)
    assert await world.balance(customer_id) == 5
    async with world.wiring.db.connection() as conn:
        logged = await audit_log.list_entries(conn, action="case.resolved", limit=10)
    assert [(entry.actor, entry.subject) for entry in logged] == [("admin", f"case:{case.id}")]


async def test_by_hand_and_by_address_at_once_is_one_grant(world: World) -> None:
    ada = await put_user(world, "ada", None, verified=False)
    await tell(world, await pay_as_guest(world, await link_of(world), "gus@example.com"))
    [case] = await opened(world)
    gus = await put_user(world, "gus", "gus@example.com", verified=True)
    await asyncio.gather(
        resolve(world, case, customer_id=ada), world.work(), return_exceptions=True
    )
    await world.work()
    assert sorted([await world.balance(ada), await world.balance(gus)]) == [0, 5]
    assert await opened(world) == []


async def test_what_went_back_of_a_guests_money_counts_when_it_is_given(world: World) -> None:
    customer_id = await put_user(world, "ada", None, verified=False)
    session_id = await pay_as_guest(world, await link_of(world), "gus@example.com")
    await tell(world, session_id)
    session = world.stripe.v1.checkout.sessions.retrieve(session_id)
    world.stripe.v1.refunds.create({"payment_intent": str(session.payment_intent), "amount": 200})
    await tell(world, session_id)
    [case] = await opened(world)
    await resolve(world, case, user_id="ada", note="wrote to us")
    assert await world.balance(customer_id) == 3
    [payment] = await payments_of(world, customer_id)
    assert payment.status == "partially_refunded"


async def test_a_case_ends_by_a_note_and_only_money_is_given(world: World) -> None:
    await tell(world, await pay_as_guest(world, await link_of(world), "gus@example.com"))
    [case] = await opened(world)
    for how in ({}, {"user_id": "ada", "customer_id": 1}):
        with pytest.raises(errors.Invalid):
            await resolve(world, case, **how)
    for how in ({"user_id": "nobody"}, {"customer_id": 0}, {"customer_id": 999}):
        with pytest.raises(errors.NotFound):
            await resolve(world, case, **how)
    done = await resolve(world, case, note="Refunded by hand.")
    assert (done.state, done.resolution) == ("resolved", "Refunded by hand.")
    with pytest.raises(errors.CaseResolved):
        await resolve(world, case, note="Again.")
    async with world.wiring.db.transaction() as conn:
        opening = cases.Opening(kind="dead", reference="message:1", summary="Gone.")
        await cases.open_cases(conn, [opening], at=world.wiring.clock.now())
    [dead] = await opened(world)
    await put_user(world, "ada", None, verified=False)
    with pytest.raises(errors.CaseNotAssignable):
        await resolve(world, dead, user_id="ada")


async def test_money_that_a_person_ended_by_a_note_is_given_to_nobody(world: World) -> None:
    session_id = await pay_as_guest(world, await link_of(world), "gus@example.com")
    await tell(world, session_id)
    [case] = await opened(world)
    await resolve(world, case, note="Refunded by hand.")
    customer_id = await put_user(world, "gus", "gus@example.com", verified=True)
    session = world.stripe.v1.checkout.sessions.retrieve(session_id)
    world.stripe.v1.refunds.create({"payment_intent": str(session.payment_intent), "amount": 100})
    await tell(world, session_id)
    assert await world.balance(customer_id) == 0
    assert await opened(world) == []


async def known(world: World) -> tuple[int, str]:
    """A customer whom the provider knows, and under which name."""
    payment = await world.open_checkout()
    async with world.wiring.db.connection() as conn:
        name = await conn.fetchval(
            "select provider_customer_id from provider_customers where customer_id = $1",
            payment.customer_id,
        )
    return payment.customer_id, name


async def test_money_of_a_known_customer_that_bought_nothing_of_ours_is_recorded(
    world: World,
) -> None:
    customer_id, name = await known(world)
    intent = world.stripe.v1.payment_intents.create(
        {
            "amount": 700,
            "currency": "usd",
            "customer": name,
            "payment_method": "pm_card_visa",
            "confirm": True,
            "automatic_payment_methods": {"enabled": True, "allow_redirects": "never"},
        }
    )
    async with world.http() as http:
        events = (await http.get("/v1/events", params={"limit": 100})).json()["data"]
    await world.deliver([e for e in reversed(events) if intent.id in str(e)])
    await world.work()
    payment = (await payments_of(world, customer_id))[0]
    assert (payment.kind, payment.status, payment.captured_minor, payment.credits) == (
        "external",
        "completed",
        700,
        0,
    )
    assert [(case.kind, case.payment_id) for case in await opened(world)] == [
        ("mismatch", payment.id)
    ]
    assert await world.balance(customer_id) == 0


async def test_a_dashboards_session_of_our_price_is_credited_by_its_lines(world: World) -> None:
    customer_id, name = await known(world)
    async with world.wiring.db.connection() as conn:
        price = await conn.fetchval(
            "select provider_price_id from catalog_prices where key = 'basic' and active"
        )
    session = world.stripe.v1.checkout.sessions.create(
        {
            "mode": "payment",
            "customer": name,
            "line_items": [{"price": price, "quantity": 2}],
            "success_url": "https://shop.example/",
        }
    )
    async with world.http() as http:
        card = {"type": "card", "card[token]": "tok_visa"}
        method = (await http.post("/v1/payment_methods", data=card)).json()["id"]
        page = f"/v1/payment_pages/{session.id}/confirm"
        assert (await http.post(page, data={"payment_method": method})).status_code == 200
    await tell(world, session.id)
    payment = (await payments_of(world, customer_id))[0]
    assert (payment.kind, payment.status, payment.credits) == ("external", "completed", 24)
    assert await world.balance(customer_id) == 24
    assert await opened(world) == []


async def test_a_guests_disputed_money_is_disputed_when_it_is_given(world: World) -> None:
    customer_id = await put_user(world, "ada", None, verified=False)
    url = await link_of(world)
    await tell(world, await pay_as_guest(world, url, "gus@example.com", FRAUDULENT))
    [case] = await opened(world)
    await resolve(world, case, user_id="ada")
    [payment] = await payments_of(world, customer_id)
    assert (payment.status, payment.disputed_minor) == ("disputed", 500)
    assert await world.balance(customer_id) == 0


async def test_the_same_money_told_of_ten_times_at_once_is_one_payment(world: World) -> None:
    customer_id = await put_user(world, "gus", "gus@example.com", verified=True)
    session_id = await pay_as_guest(world, await link_of(world), "gus@example.com")
    provider = world.wiring.provider("stripe")
    facts = await provider.fetch_payment(
        session_id=session_id, payment_intent_id=None, reference=None
    )
    await asyncio.gather(*(world.settle(facts) for _ in range(10)))
    assert len(await payments_of(world, customer_id)) == 1
    assert await world.balance(customer_id) == 5


async def test_money_that_went_back_is_given_without_a_second_case(world: World) -> None:
    v1 = world.stripe.v1
    intent = v1.payment_intents.create(
        {
            "amount": 2000,
            "currency": "usd",
            "payment_method": "pm_card_visa",
            "confirm": True,
            "automatic_payment_methods": {"enabled": True, "allow_redirects": "never"},
        }
    )
    v1.refunds.create({"payment_intent": intent.id})
    charged = [event for event in v1.events.list({"limit": 20}).data if intent.id in str(event)]
    await world.deliver([event.to_dict() for event in reversed(charged)])
    await world.work()
    ada = await put_user(world, "ada", None, verified=False)
    [case] = await opened(world)
    await resolve(world, case, user_id="ada")
    assert [payment.status for payment in await payments_of(world, ada)] == ["refunded"]
    assert await opened(world) == []
