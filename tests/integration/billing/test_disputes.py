"""Disputes: opened, won, lost, beside refunds, as questions only; what they do to credits."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from bursar import errors
from bursar.billing import catalog_file, catalog_push, entitlements, refunds
from bursar.billing.payments import Payment
from bursar.billing.refunds import Wanted
from bursar.checks.audit import audit
from bursar.messages import outbox
from bursar.providers.after_sale import DisputeFact
from bursar.providers.port import PaymentFacts
from disputed import (
    FRAUDULENT,
    INQUIRY,
    at_provider,
    bought,
    decide,
    events_of,
    listed,
    standing,
    tell,
    use,
)
from worlds import World


async def refund(world: World, payment: Payment, amount: int) -> None:
    wanted = Wanted(payment_id=payment.id, amount_minor=amount, requested_by="admin")
    provider = world.wiring.provider("stripe")
    await refunds.request(world.wiring.db, provider, wanted, clock=world.wiring.clock)


async def says(world: World, payment: Payment, status: Any, state: Any, **more: Any) -> None:
    """A dispute over the whole, as the provider's message would say it."""
    now = more.pop("at", None) or world.wiring.clock.now()
    at = now + timedelta(seconds=more.pop("later", 0))
    told: dict[str, Any] = {
        "provider_ref": "du_1",
        "amount_minor": payment.captured_minor,
        "inquiry": False,
        "reason": "fraudulent",
        "due_at": at + timedelta(days=7),
        **more,
    }
    dispute = DisputeFact(status=status, state=state, at=at, **told)
    fact = PaymentFacts(
        provider="stripe",
        at=at,
        payment_intent_id=payment.payment_intent_id,
        disputes=(dispute,),
    )
    await world.settle([fact])


async def test_a_dispute_holds_its_credits_and_a_lost_one_takes_them(world: World) -> None:
    payment = await tell(world, await bought(world, FRAUDULENT))
    assert (payment.status, payment.disputed_minor) == ("disputed", 1000)
    assert await standing(world, payment) == (0, 1000, 0)
    [dispute] = await listed(world)
    assert (dispute.status, dispute.inquiry, dispute.reason) == (
        "needs_response",
        False,
        "fraudulent",
    )
    assert dispute.due_at is not None
    await decide(world, payment, "losing_evidence")
    payment = await tell(world, payment)
    assert (payment.status, payment.disputed_minor) == ("disputed", 1000)
    assert await standing(world, payment) == (0, 0, 0)
    [dispute] = await listed(world)
    assert (dispute.status, dispute.state) == ("lost", "settled")


async def test_a_dispute_that_is_won_gives_everything_free(world: World) -> None:
    payment = await tell(world, await bought(world, FRAUDULENT))
    await decide(world, payment, "winning_evidence")
    payment = await tell(world, payment)
    assert (payment.status, payment.disputed_minor) == ("completed", 0)
    assert await standing(world, payment) == (1000, 0, 0)
    assert [dispute.status for dispute in await listed(world)] == ["won"]


async def test_an_inquiry_is_listed_and_moves_nothing(world: World) -> None:
    payment = await tell(world, await bought(world, INQUIRY))
    assert (payment.status, payment.disputed_minor) == ("completed", 0)
    assert await standing(world, payment) == (1000, 0, 0)
    [dispute] = await listed(world)
    assert (dispute.status, dispute.inquiry, dispute.state) == ("needs_response", True, "pending")
    await decide(world, payment, "losing_evidence")
    payment = await tell(world, payment)
    assert payment.status == "completed"
    assert [(d.status, d.state) for d in await listed(world)] == [("closed", "released")]
    assert await standing(world, payment) == (1000, 0, 0)


async def test_an_inquiry_that_becomes_a_dispute_holds_from_then_on(world: World) -> None:
    payment = await tell(world, await bought(world, INQUIRY))
    dispute = await at_provider(world, payment)
    evidence = {"uncategorized_text": "escalate_inquiry_evidence"}
    world.stripe.v1.disputes.update(dispute.id, {"evidence": evidence, "submit": True})
    async with world.http() as http:
        await http.post("/_sandbox/clock", json={"advance": 3600})
        found = await http.get(f"/v1/disputes/{dispute.id}")
    assert found.json()["status"] == "needs_response"
    payment = await tell(world, payment)
    assert payment.status == "disputed"
    assert await standing(world, payment) == (0, 1000, 0)
    assert [(d.inquiry, d.state) for d in await listed(world)] == [(False, "pending")]


async def test_a_prevented_dispute_that_cost_the_money_takes_in_the_same_second(
    world: World,
) -> None:
    payment = await tell(world, await bought(world))
    assert await standing(world, payment) == (1000, 0, 0)
    at = world.wiring.clock.now()
    for state in ("released", "settled", "released"):
        await says(world, payment, "prevented", state, at=at, due_at=at)
    assert await standing(world, payment) == (0, 0, 0)


async def test_a_dispute_in_the_buyers_currency_is_of_the_whole(world: World) -> None:
    payment = await tell(world, await bought(world))
    assert await standing(world, payment) == (1000, 0, 0)
    at = world.wiring.clock.now()
    dispute = DisputeFact(
        provider_ref="du_1",
        amount_minor=7,
        status="lost",
        state="settled",
        inquiry=False,
        reason="fraudulent",
        due_at=None,
        at=at,
    )
    intent = payment.payment_intent_id
    fact = PaymentFacts(
        provider="stripe", at=at, payment_intent_id=intent, currency="eur", disputes=(dispute,)
    )
    await world.settle([fact])
    after = await world.payment(payment)
    assert (after.status, after.disputed_minor, after.mismatch) == ("disputed", 1000, None)
    assert await standing(world, payment) == (0, 0, 0)


async def test_refund_and_dispute_take_at_most_what_was_granted(world: World) -> None:
    payment = await tell(world, await bought(world))
    await refund(world, payment, 600)
    await says(world, payment, "needs_response", "pending")
    assert await standing(world, payment) == (0, 400, 0)
    assert (await world.payment(payment)).status == "disputed"
    await says(world, payment, "lost", "settled")
    assert await standing(world, payment) == (0, 0, 0)


async def test_a_dispute_won_after_a_refund_releases_only_its_own_part(world: World) -> None:
    payment = await tell(world, await bought(world))
    await refund(world, payment, 600)
    await says(world, payment, "needs_response", "pending")
    await says(world, payment, "won", "released")
    assert await standing(world, payment) == (400, 0, 0)
    after = await world.payment(payment)
    assert (after.status, after.refunded_minor, after.disputed_minor) == (
        "partially_refunded",
        600,
        0,
    )


async def test_spent_credits_of_a_lost_dispute_are_owed(world: World) -> None:
    payment = await tell(world, await bought(world))
    await use(world, payment, 700)
    await says(world, payment, "needs_response", "pending")
    assert await standing(world, payment) == (0, 300, 0)
    await says(world, payment, "lost", "settled")
    assert await standing(world, payment) == (0, 0, 700)


async def test_a_lost_dispute_that_is_won_after_all_gives_back(world: World) -> None:
    payment = await tell(world, await bought(world))
    await says(world, payment, "lost", "settled")
    assert await standing(world, payment) == (0, 0, 0)
    await says(world, payment, "won", "released", later=60)
    assert await standing(world, payment) == (1000, 0, 0)
    # The older word comes once more.
    await says(world, payment, "lost", "settled")
    assert await standing(world, payment) == (1000, 0, 0)
    assert (await world.payment(payment)).status == "completed"


async def test_a_refund_while_disputed_is_refused(world: World) -> None:
    payment = await tell(world, await bought(world, FRAUDULENT))
    with pytest.raises(errors.PaymentNotRefundable):
        await refund(world, payment, 100)


async def test_a_dispute_of_which_only_its_own_message_came_is_found(world: World) -> None:
    payment = await bought(world, FRAUDULENT)
    events = await events_of(world, payment)
    [opened] = [event for event in events if event["type"] == "charge.dispute.created"]
    await world.deliver([opened])
    await world.work()
    assert (await world.payment(payment)).status == "disputed"
    assert await standing(world, payment) == (0, 1000, 0)


async def test_a_dispute_whose_messages_were_all_lost_is_found_by_the_payment(
    world: World,
) -> None:
    payment = await bought(world, FRAUDULENT)
    await world.sync(payment)
    assert (await world.payment(payment)).status == "disputed"


async def test_an_open_dispute_is_asked_about_and_its_end_found(world: World) -> None:
    payment = await tell(world, await bought(world, FRAUDULENT))
    await decide(world, payment, "winning_evidence")
    async with world.wiring.db.transaction() as conn:
        due = await conn.execute("update timers set due_at = now() where kind = 'dispute.check'")
    assert due == "UPDATE 1"
    await world.work()
    assert (await world.payment(payment)).status == "completed"
    assert await standing(world, payment) == (1000, 0, 0)
    async with world.wiring.db.connection() as conn:
        left = await conn.fetchval("select count(*) from timers where kind = 'dispute.check'")
    assert left == 0


CATALOG = """
[units.page]
name = "Pages"

[packs.pro]
name = "Pro"
unit = "page"
credits = 30
prices = { usd = 2000 }
features = ["priority"]
"""


async def test_a_whole_loss_ends_what_the_payment_entitled_to(world: World, tmp_path: Path) -> None:
    file, wiring = tmp_path / "catalog.toml", world.wiring
    file.write_text(CATALOG)
    wanted = catalog_file.read(file)
    await catalog_push.push(wiring.db, wiring.provider("stripe"), wanted, clock=wiring.clock)
    payment = await tell(world, await bought(world, package="pro"))
    ends = []
    for status, state in (("needs_response", "pending"), ("lost", "settled")):
        await says(world, payment, status, state)
        async with wiring.db.connection() as conn:
            at = wiring.clock.now()
            ends.append(len(await entitlements.list_for(conn, payment.customer_id, at=at)))
    assert ends == [1, 0]


async def test_dispute_events_are_told_once_each(world: World) -> None:
    async with world.wiring.db.transaction() as conn:
        await outbox.subscribe(conn, "tests", ["dispute.*"], at=world.wiring.clock.now())
    payment = await tell(world, await bought(world, FRAUDULENT))
    await decide(world, payment, "losing_evidence")
    await tell(world, payment)
    await tell(world, payment)
    async with world.wiring.db.connection() as conn:
        rows = await conn.fetch("select topic, payload from outbox_messages order by id")
    assert [row["topic"] for row in rows] == ["dispute.opened", "dispute.lost"]


# What each fault does to books with a lost dispute (the first three) or a pending one.
FAULTS = {
    "reversals_fit": ("lost", "update payments set disputed_minor = 0"),
    "refunds_take_credits_back": ("lost", "update reversals set inquiry = true"),
    "held_for_refunds": ("needs_response", "update reversals set state = 'released'"),
}


@pytest.mark.parametrize("check", FAULTS)
async def test_each_invariant_finds_its_fault_in_a_dispute(world: World, check: str) -> None:
    status, fault = FAULTS[check]
    payment = await tell(world, await bought(world))
    await says(world, payment, status, "settled" if status == "lost" else "pending")
    await world.assert_audit_clean()

    async with world.wiring.db.connection() as conn:
        planting = conn.transaction()
        await planting.start()
        await conn.execute(fault)
        found = {finding.check for finding in await audit(conn)}
        await planting.rollback()
    assert check in found
