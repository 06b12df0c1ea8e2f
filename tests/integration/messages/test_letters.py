"""Which events make letters: bought, captured and refunded at a real sandbox."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest

import card_form_shop
from bursar.billing import authorizations, cases, letters
from bursar.billing.events import TOPICS
from bursar.billing.payments import Payment
from bursar.billing.plan_terms import later
from bursar.db.connections import Connection
from bursar.entrypoints import sending, sending_mail
from bursar.entrypoints.letters.letter import minute
from bursar.entrypoints.sending_mail import WORDS
from bursar.wiring import Wiring
from letter_box import Box, letter_box
from orders_world import LaterClock, decide, held, tell
from worlds import World

pytestmark = pytest.mark.timeout(120)


@pytest.fixture
async def box(world: World) -> AsyncIterator[Box]:
    """The mail server of the world, whose buyer Ada has an address."""
    async with letter_box() as box:
        settings = world.settings.model_copy(
            update={
                "smtp_url": box.url,
                "mail_from": "Acme <billing@acme.example>",
                "operator_email": "operator@acme.example",
                "receipts": "bursar",
            }
        )
        given = world.wiring
        world.wiring = Wiring(settings, given.db, given.clock, given.providers, given.tags)
        await sending_mail.arrange(world.wiring)
        await world.user("ada")
        async with world.wiring.db.connection() as conn:
            await conn.execute("update users set email = 'ada@example.com', name = 'Ada'")
        yield box


async def subjects(world: World, box: Box) -> list[str]:
    """Send what is due; the subjects of all that ever came, the oldest first."""
    way = sending_mail.way(world.wiring)
    assert way is not None
    while await sending.send_once(world.wiring, way):
        pass
    return [str(message["Subject"]).strip().removeprefix("[Test] ") for message in box.messages]


def text(box: Box) -> str:
    """The newest letter's plain text on one line."""
    body = box.messages[-1].get_body(("plain",))
    assert body is not None
    return " ".join(str(body.get_content()).split())


async def test_a_purchase_makes_one_receipt_however_often_it_is_told(
    world: World, box: Box
) -> None:
    payment = await world.open_checkout("ada")
    await world.pay(payment)
    await tell(world, payment)
    await tell(world, payment)
    assert await subjects(world, box) == ["Your receipt from Bursar: $5.00"]
    told = text(box)
    assert "What you bought: Starter" in told
    assert "You get: " in told
    assert f"Payment: {payment.id}" in told


async def test_the_receipt_of_a_plan_says_from_when_to_when_it_runs(
    world: World, box: Box, tmp_path: Path
) -> None:
    await card_form_shop.push(world, tmp_path)
    payment = await card_form_shop.buy(world, plan="pages-pro", months=3, shown_minor=8100)
    assert payment.completed_at is not None
    await subjects(world, box)
    told = text(box)
    end = later(payment.completed_at, 3)
    assert "What you bought: Pro, 3 months" in told
    assert f"Runs: {minute(payment.completed_at)} to {minute(end)}" in told
    assert "Includes: priority, 100 exports" in told


async def test_an_order_is_confirmed_when_it_is_captured(world: World, box: Box) -> None:
    payment = await held(world)
    assert await subjects(world, box) == []
    await decide(world, payment, "capture", 3000)
    await tell(world, payment)
    assert await subjects(world, box) == ["Your order at Bursar is confirmed: $30.00"]
    assert "Your bank held $50.00. The rest is let go" in text(box)
    assert "You get" not in text(box)


async def test_an_order_that_is_let_go_makes_no_letter(world: World, box: Box) -> None:
    payment = await held(world)
    await decide(world, payment, "cancel")
    await tell(world, payment)
    assert await subjects(world, box) == []


async def test_each_refund_makes_a_letter(world: World, box: Box) -> None:
    payment = await world.open_checkout("ada")
    await world.pay(payment)
    await tell(world, payment)
    assert len(await subjects(world, box)) == 1
    for amount, told in ((200, "$2.00"), (300, "$5.00")):
        intent = (await world.payment(payment)).payment_intent_id
        async with world.http() as http:
            made = await http.post("/v1/refunds", data={"payment_intent": intent, "amount": amount})
        assert made.status_code == 200, made.text
        await tell(world, payment)
        assert (await subjects(world, box))[-1] == f"Your refund from Bursar: {told}"
    assert len(box.letters) == 3
    assert "all of the $5.00" in text(box)


async def test_the_operator_is_told_of_a_dispute(world: World, box: Box) -> None:
    payment = await world.open_checkout("ada")
    await world.pay(payment, "tok_createDispute")
    await tell(world, payment)
    found = await subjects(world, box)
    [dispute] = [subject for subject in found if "disputes" in subject]
    assert dispute.startswith("A buyer disputes $5.00, answer by ")
    assert [one["To"] for one in box.messages if "disputes" in one["Subject"]] == [
        "operator@acme.example"
    ]


async def test_the_operator_is_told_that_held_money_lapses(world: World, box: Box) -> None:
    payment = await held(world)
    later = LaterClock(world, timedelta(days=6, hours=12))
    for _ in range(2):
        await authorizations.announce(
            world.wiring.db, world.wiring.providers, payment.reference, later
        )
    [subject] = await subjects(world, box)
    assert subject.startswith(f"Decide about order {payment.id}: $50.00 is held until ")
    assert f"/admin/orders/{payment.id}" in text(box)


async def test_the_operator_is_told_of_a_case(world: World, box: Box) -> None:
    opening = cases.Opening(
        kind="unmatched",
        reference="intent:pi_1",
        amount_minor=1234,
        currency="usd",
        summary="Somebody paid.",
    )
    async with world.wiring.db.transaction() as conn:
        await cases.open_cases(conn, [opening], at=world.wiring.clock.now())
    [subject] = await subjects(world, box)
    assert "Money came in that belongs to no order we know" in subject
    assert "Amount: $12.34" in text(box)
    case_id = re.search(r"Case: (\d+)", text(box))
    assert case_id is not None
    # Each command is whole: pasted, it is taken.
    for command in (
        f"bursar cases show {case_id[1]} ",
        f"bursar cases resolve {case_id[1]} --user ID ",
        f'bursar cases resolve {case_id[1]} --note "what was done" ',
    ):
        assert command in text(box)


async def test_without_an_operator_only_buyers_get_letters(world: World, box: Box) -> None:
    settings = world.settings.model_copy(update={"operator_email": "", "receipts": "provider"})
    given = world.wiring
    world.wiring = Wiring(settings, given.db, given.clock, given.providers, given.tags)
    await sending_mail.arrange(world.wiring)
    payment: Payment = await world.open_checkout("ada")
    await world.pay(payment, "tok_createDispute")
    await tell(world, payment)
    assert await subjects(world, box) == []


async def test_what_is_undone_leaves_no_letter(world: World, box: Box) -> None:
    payment = await held(world)
    event_of = {"id": payment.id, "user_id": "ada", "customer_id": payment.customer_id}

    async def cause(conn: Connection) -> None:
        told = letters.Event("payment.refunded", "x", payment.customer_id, event_of)
        await letters.tell(conn, [told], at=world.wiring.clock.now())
        raise RuntimeError("the cause failed")

    with pytest.raises(RuntimeError):
        await world.wiring.db.run(cause)
    assert await subjects(world, box) == []


def test_every_letter_has_words_and_every_topic_is_there() -> None:
    made = letters.destinations(receipts=True, operator=True)
    assert set(made) == set(WORDS)
    assert {topic for topics in made.values() for topic in topics} <= set(TOPICS)
