"""A purchase through the sandbox: the snapshot, the merge, the grant, the cases."""

from __future__ import annotations

from typing import Any

import pytest

from bursar import errors
from bursar.billing import cases, checkouts
from bursar.messages import inbox
from worlds import World


async def list_cases(world: World) -> list[cases.Case]:
    async with world.wiring.db.connection() as conn:
        return await cases.list_cases(conn)


async def messages(world: World, state: str) -> list[inbox.Message]:
    async with world.wiring.db.connection() as conn:
        return await inbox.list_messages(conn, state=state, before=None, limit=100)


async def test_a_paid_session_becomes_credits_once(world: World) -> None:
    payment = await world.open_checkout()
    assert (payment.status, payment.opening, payment.credits) == ("pending", "open", 5)
    assert payment.session_url is not None
    await world.pay(payment)
    events = await world.events_about(payment)
    assert {"checkout.session.completed", "payment_intent.succeeded", "charge.succeeded"} <= {
        event["type"] for event in events
    }
    await world.deliver(events)
    await world.work()
    await world.deliver(events)
    await world.work()
    after = await world.payment(payment)
    assert (after.status, after.captured_minor) == ("completed", 500)
    assert after.completed_at is not None
    assert await world.balance(payment.customer_id) == 5
    assert await list_cases(world) == []


async def test_our_reference_stands_on_the_session_and_on_its_intent(world: World) -> None:
    payment = await world.open_checkout()
    await world.pay(payment)
    session = world.stripe.v1.checkout.sessions.retrieve(
        str(payment.session_id), {"expand": ["payment_intent"]}
    ).to_dict()
    assert session["metadata"]["bursar_reference"] == payment.reference
    assert session["client_reference_id"] == payment.reference
    assert session["payment_intent"]["metadata"]["bursar_reference"] == payment.reference
    await checkouts.sync(
        world.wiring.db, world.wiring.provider("stripe"), payment, clock=world.wiring.clock
    )


async def test_the_success_page_settles_as_the_webhook_does(world: World) -> None:
    payment = await world.open_checkout()
    await world.pay(payment)
    provider = world.wiring.provider("stripe")
    synced = await checkouts.sync(world.wiring.db, provider, payment, clock=world.wiring.clock)
    assert synced.status == "completed"
    assert await world.balance(payment.customer_id) == 5
    await world.deliver(await world.events_about(payment))
    await world.work()
    assert await world.balance(payment.customer_id) == 5
    assert await world.payment(payment) == synced


async def test_a_completed_session_that_is_not_paid_yet_grants_nothing(world: World) -> None:
    payment = await world.open_checkout()
    await world.pay(payment)
    [completed] = [
        event
        for event in await world.events_about(payment)
        if event["type"] == "checkout.session.completed"
    ]
    completed["data"]["object"]["payment_status"] = "unpaid"
    await world.deliver([completed])
    await world.work()
    assert (await world.payment(payment)).state == "processing"
    assert await world.balance(payment.customer_id) == 0


async def test_a_free_amount_buys_by_the_rate(world: World) -> None:
    payment = await world.open_checkout(amount_minor=1234, currency="usd")
    await world.pay(payment)
    await world.deliver(await world.events_about(payment))
    await world.work()
    assert await world.balance(payment.customer_id, "credit") == 1234


async def test_a_quantity_multiplies_amount_and_credits(world: World) -> None:
    payment = await world.open_checkout(package="pro", quantity=3)
    assert (payment.amount_minor, payment.credits) == (6000, 90)
    await world.pay(payment)
    await world.deliver(await world.events_about(payment))
    await world.work()
    assert await world.balance(payment.customer_id) == 90


async def test_a_decline_is_recorded_and_another_card_then_pays(world: World) -> None:
    payment = await world.open_checkout()
    await world.pay(payment, "tok_chargeDeclinedInsufficientFunds")
    await world.deliver(await world.events_about(payment))
    await world.work()
    failed = await world.payment(payment)
    assert (failed.status, failed.failure) == ("failed", "insufficient_funds")
    assert await world.balance(payment.customer_id) == 0
    await world.pay(payment)
    await world.deliver(await world.events_about(payment))
    await world.work()
    assert (await world.payment(payment)).status == "completed"
    assert await world.balance(payment.customer_id) == 5


async def test_a_session_that_ends_unpaid_expires(world: World) -> None:
    payment = await world.open_checkout()
    world.stripe.v1.checkout.sessions.expire(str(payment.session_id))
    await world.deliver(await world.events_about(payment))
    await world.work()
    assert (await world.payment(payment)).status == "expired"
    assert await world.balance(payment.customer_id) == 0


async def test_one_customer_at_the_provider_serves_every_checkout(world: World) -> None:
    first, second = await world.open_checkout(), await world.open_checkout()
    sessions = [
        world.stripe.v1.checkout.sessions.retrieve(str(p.session_id)).to_dict()
        for p in (first, second)
    ]
    assert sessions[0]["customer"] == sessions[1]["customer"]
    customer = world.stripe.v1.customers.retrieve(sessions[0]["customer"]).to_dict()
    assert customer["metadata"]["bursar_user"] == "ada"


def tampered(events: list[dict[str, Any]], **changes: Any) -> list[dict[str, Any]]:
    """The completed-session event with other top-level fields."""
    completed = next(e for e in events if e["type"] == "checkout.session.completed")
    return [{**completed, **changes}]


@pytest.mark.parametrize(
    ("changes", "code"),
    [({"livemode": True}, "livemode_mismatch"), ({"account": "acct_other"}, "account_mismatch")],
)
async def test_an_event_of_another_mode_or_account_is_quarantined(
    world: World, changes: dict[str, Any], code: str
) -> None:
    payment = await world.open_checkout()
    await world.pay(payment)
    await world.deliver(tampered(await world.events_about(payment), **changes))
    await world.work()
    quarantined = await messages(world, "quarantined")
    assert [message.reason.split(":")[0] for message in quarantined if message.reason] == [code]
    assert (await world.payment(payment)).status == "pending"
    assert await world.balance(payment.customer_id) == 0


async def buy_something_else(world: World, reference: str, **line: Any) -> list[dict[str, Any]]:
    """A paid session that carries our reference but sells what the dashboard says."""
    session = world.stripe.v1.checkout.sessions.create(
        {
            "mode": "payment",
            "line_items": [line],
            "success_url": "https://shop.example/",
            "metadata": {"bursar_reference": reference},
            "payment_intent_data": {"metadata": {"bursar_reference": reference}},
        }  # type: ignore[arg-type]
    )
    async with world.http() as http:
        method = await http.post(
            "/v1/payment_methods", data={"type": "card", "card[token]": "tok_visa"}
        )
        paid = await http.post(
            f"/v1/payment_pages/{session.id}/confirm",
            data={"payment_method": method.json()["id"]},
        )
        assert paid.status_code == 200, paid.text
        events = await http.get("/v1/events", params={"limit": 100})
    return [
        e for e in reversed(events.json()["data"]) if session.id in str(e) or reference in str(e)
    ]


async def begun(world: World) -> tuple[str, int]:
    """A payment whose session we never learned: its reference and customer."""
    payment = await world.open_checkout()
    async with world.wiring.db.transaction() as conn:
        await conn.execute("delete from provider_refs where ref = $1", payment.session_id)
        await conn.execute(
            "update payments set session_id = null, session_url = null, opening = 'opening'"
        )
    return payment.reference, payment.customer_id


@pytest.mark.parametrize(
    ("line", "word"),
    [
        ({"price": "OTHER", "quantity": 1}, "bought"),
        ({"price": "SAME", "quantity": 2}, "bought"),
        (
            {
                "price_data": {
                    "currency": "eur",
                    "unit_amount": 500,
                    "product_data": {"name": "Starter"},
                },
                "quantity": 1,
            },
            "currency",
        ),
        (
            {
                "price_data": {
                    "currency": "usd",
                    "unit_amount": 100,
                    "product_data": {"name": "Starter"},
                },
                "quantity": 1,
            },
            "bought",
        ),
    ],
)
async def test_another_price_quantity_or_currency_grants_nothing_and_opens_a_case(
    world: World, line: dict[str, Any], word: str
) -> None:
    reference, customer_id = await begun(world)
    async with world.wiring.db.connection() as conn:
        prices = {
            row["key"]: row["provider_price_id"]
            for row in await conn.fetch(
                "select key, provider_price_id from catalog_prices where kind = 'pack'"
            )
        }
    if "price" in line:
        line = {**line, "price": prices["starter" if line["price"] == "SAME" else "basic"]}
    await world.deliver(await buy_something_else(world, reference, **line))
    await world.work()
    opened = await list_cases(world)
    assert [(case.kind, case.customer_id) for case in opened] == [("mismatch", customer_id)]
    assert word in opened[0].summary
    assert await world.balance(customer_id) == 0
    assert await messages(world, "failed") == []


async def test_a_paid_session_that_is_not_ours_is_one_case(world: World) -> None:
    events = await buy_something_else(
        world,
        "4f4f4f4f-0000-4000-8000-000000000000",
        price_data={
            "currency": "usd",
            "unit_amount": 700,
            "product_data": {"name": "Something else"},
        },
        quantity=1,
    )
    await world.deliver(events)
    await world.work()
    opened = await list_cases(world)
    assert [(c.kind, c.amount_minor, c.currency) for c in opened] == [("unmatched", 700, "usd")]
    assert {m.state for m in await messages(world, "done")} == {"done"}


async def test_a_second_intent_under_our_reference_is_a_case_not_a_grant(world: World) -> None:
    payment = await world.open_checkout()
    await world.pay(payment)
    await world.deliver(await world.events_about(payment))
    await world.work()
    intent = world.stripe.v1.payment_intents.create(
        {
            "amount": 500,
            "currency": "usd",
            "payment_method": "pm_card_visa",
            "confirm": True,
            "automatic_payment_methods": {"enabled": True, "allow_redirects": "never"},
            "metadata": {"bursar_reference": payment.reference},
        }
    )
    await world.deliver(await world.events_about(payment))
    await world.work()
    assert [c.reference for c in await list_cases(world)] == [f"stripe:intent:{intent.id}"]
    assert await world.balance(payment.customer_id) == 5


@pytest.mark.parametrize(
    ("wanted", "refusal"),
    [
        ({"package": "nothing"}, errors.UnknownItem),
        ({"price_id": "price_nothing"}, errors.UnknownItem),
        ({"package": "starter", "currency": "eur"}, errors.CurrencyNotSold),
        ({"amount_minor": 1000, "currency": "eur"}, errors.CurrencyNotSold),
        ({"amount_minor": 499, "currency": "usd"}, errors.AmountOutOfBounds),
        ({"amount_minor": 500001, "currency": "usd"}, errors.AmountOutOfBounds),
        ({"amount_minor": 1000, "package": "starter"}, errors.Invalid),
        ({"amount_minor": 1000, "unit": "page"}, errors.CurrencyNotSold),
        ({"amount_minor": 1000, "unit": "hour"}, errors.UnknownUnit),
        ({"amount_minor": 1000, "quantity": 2}, errors.Invalid),
        ({"package": "enterprise", "quantity": 1_000_000}, errors.AmountOutOfBounds),
    ],
)
async def test_what_is_not_for_sale_is_refused_before_the_provider_is_called(
    world: World, wanted: dict[str, Any], refusal: type[errors.Error]
) -> None:
    with pytest.raises(refusal):
        await world.open_checkout(**wanted)
    async with world.wiring.db.connection() as conn:
        assert await conn.fetchval("select count(*) from payments") == 0
