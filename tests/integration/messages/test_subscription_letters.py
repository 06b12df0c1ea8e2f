"""Letters to subscribers: a charge that failed and recovered, an end, a trial's end; by a real
sandbox whose clock runs."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from bursar.billing import letters
from bursar.entrypoints import sending, sending_mail
from bursar.entrypoints.letters import subscribers as words
from bursar.entrypoints.letters.letter import Matter
from bursar.wiring import Wiring
from bursar_sandbox.running import Sandbox
from letter_box import NOW, Box, letter_box
from plans import CATALOG
from selling_world import selling
from subscribers import Subscribers
from worlds import World

pytestmark = pytest.mark.timeout(120)
FAILING = "pm_card_chargeCustomerFail"
GOOD = "pm_card_visa"


@pytest.fixture
async def shop(sandbox: Sandbox, database_url: str, tmp_path: Path) -> AsyncIterator[Subscribers]:
    async with selling(sandbox, database_url, tmp_path, CATALOG) as world:
        here = Subscribers(world)
        await here.begin()
        yield here


@pytest.fixture
async def box(shop: Subscribers) -> AsyncIterator[Box]:
    """The mail server of the world, whose subscriber Ada has an address."""
    async with letter_box() as box:
        settings = shop.world.settings.model_copy(
            update={"smtp_url": box.url, "mail_from": "Acme <billing@acme.example>"}
        )
        given = shop.world.wiring
        shop.world.wiring = Wiring(settings, given.db, given.clock, given.providers, given.tags)
        await sending_mail.arrange(shop.world.wiring)
        await shop.world.user("ada")
        async with shop.world.wiring.db.connection() as conn:
            await conn.execute("update users set email = 'ada@example.com', name = 'Ada'")
        yield box


async def subjects(world: World, box: Box) -> list[str]:
    """Send what is due; the subjects of all that ever came, the oldest first."""
    way = sending_mail.way(world.wiring)
    assert way is not None
    while await sending.send_once(world.wiring, way):
        pass
    said = [str(message["Subject"]) for message in box.messages]
    return [" ".join(subject.split()).removeprefix("[Test] ") for subject in said]


def text(box: Box, index: int = -1) -> str:
    """A letter's plain text on one line."""
    body = box.messages[index].get_body(("plain",))
    assert body is not None
    return " ".join(str(body.get_content()).split())


async def test_a_failed_charge_is_told_with_its_reason_and_the_way_to_pay(
    shop: Subscribers, box: Box
) -> None:
    payment = await shop.subscribe("ada", "basic")
    await shop.use_card(payment.customer_id, FAILING)
    await shop.advance(days=32)
    found = await subjects(shop.world, box)
    assert found == ["Your payment of $15.00 for Basic at Bursar failed"]
    [*_, invoice] = await shop.invoices(payment.customer_id)
    assert invoice.url is not None
    told = text(box)
    assert "Hello Ada, We could not take $15.00 for Basic, because the bank declined it" in told
    assert "We try again on" in told
    assert f"Pay now: {invoice.url}" in told
    html = box.messages[-1].get_body(("html",))
    assert html is not None
    assert f'href="{invoice.url}"' in str(html.get_content())


async def test_a_charge_that_comes_after_all_is_told_once(shop: Subscribers, box: Box) -> None:
    payment = await shop.subscribe("ada", "basic")
    await shop.use_card(payment.customer_id, FAILING)
    await shop.advance(days=32)
    before = len(await subjects(shop.world, box))
    await shop.use_card(payment.customer_id, GOOD)
    await shop.advance(days=10)
    await shop.hear()
    found = await subjects(shop.world, box)
    assert before == 1
    assert found[before] == "Your payment of $15.00 for Basic at Bursar went through"
    assert len([subject for subject in found if "went through" in subject]) == 1
    assert "Your plan goes on" in text(box)


async def test_what_nobody_pays_for_ends_with_a_final_notice(shop: Subscribers, box: Box) -> None:
    payment = await shop.subscribe("ada", "basic")
    await shop.use_card(payment.customer_id, FAILING)
    await shop.advance(days=60, step=timedelta(days=3))
    assert (await shop.subscription(payment.customer_id)).status == "canceled"
    found = await subjects(shop.world, box)
    final = found.index("Basic at Bursar has ended, because it was not paid")
    assert "We do not try your card again." in text(box, final)
    failed = [text(box, index) for index in range(len(found)) if index != final]
    assert len(failed) == 3
    assert sum("We try again on" in told for told in failed) == 2
    assert sum("This was the last try, so Basic ends now." in told for told in failed) == 1


async def test_whoever_cancels_gets_no_final_notice(shop: Subscribers, box: Box) -> None:
    payment = await shop.subscribe("ada", "basic")
    row = await shop.subscription(payment.customer_id)
    await shop.change(row, "cancel_now")
    assert (await shop.subscription(payment.customer_id)).status == "canceled"
    assert await subjects(shop.world, box) == []


async def test_a_trials_end_is_told_before_it_with_what_a_card_means(
    shop: Subscribers, box: Box
) -> None:
    payment = await shop.subscribe("ada", "trial")
    await shop.advance(days=10)
    assert await subjects(shop.world, box) == []
    await shop.advance(days=2)
    row = await shop.subscription(payment.customer_id)
    assert row.trial_end is not None
    end = f"{row.trial_end.day} {row.trial_end:%b %Y}"
    assert await subjects(shop.world, box) == [f"Your trial of Trial at Bursar ends on {end}"]
    told = text(box).replace("\N{NO-BREAK SPACE}", " ")
    assert f"it goes on at $20.00 a month, charged first on {end}" in told
    assert f"Without a card it ends on {end} and nothing is charged." in told


def told_of(**data: object) -> str:
    """The words about a trial whose checkout asked for a card."""
    known = {
        "plan": "pro",
        "quantity": 2,
        "amount": 1500,
        "currency": "usd",
        "interval": "year",
        "trial_end": "2026-12-04T10:00:00Z",
        "cancel_at": None,
        **data,
    }
    matter = Matter(
        topic="subscription.trial_ending",
        data=known,
        created_at=NOW,
        shop="Acme",
        own_url="https://shop.example",
        item="Pro",
    )
    return " ".join(words.trial_ending(matter).paragraphs).replace("\N{NO-BREAK SPACE}", " ")


def test_a_trial_with_a_card_says_what_is_charged_and_one_that_was_canceled_that_nothing_is() -> (
    None
):
    assert "It goes on at $30.00 a year, charged first on 4 Dec 2026 to the card" in told_of()
    canceled = told_of(cancel_at=datetime(2026, 12, 4, 10).isoformat())
    assert "ends on 4 Dec 2026 and nothing is charged." in canceled


def test_letters_of_subscriptions_go_out_without_receipts_of_ours() -> None:
    made = letters.destinations(receipts=False, operator=False)
    assert {letters.FINAL_NOTICE, *letters.OF_SUBSCRIPTIONS.values()} <= set(made)
