"""Payments whose buyers complain to their banks: made at the sandbox, told of as the tests wish."""

from __future__ import annotations

from typing import Any

from bursar.billing import dispute_list
from bursar.billing.dispute_list import Dispute
from bursar.billing.payments import Payment
from bursar.ledger import balances, entries
from bursar.ledger.entries import Cause, Posting
from worlds import World

FRAUDULENT = "4000000000000259"
INQUIRY = "4000000000001976"


async def bought(
    world: World, number: str = "4242424242424242", user: str = "ada", **wanted: Any
) -> Payment:
    """A payment by this card, of which Bursar has heard nothing yet."""
    asked = wanted or {"amount_minor": 1000, "currency": "usd"}
    payment = await world.open_checkout(user, **asked)
    card = {
        "type": "card",
        "card[number]": number,
        "card[exp_month]": "12",
        "card[exp_year]": "2034",
        "card[cvc]": "123",
    }
    async with world.http() as http:
        made = await http.post("/v1/payment_methods", data=card)
        assert made.status_code == 200, made.text
        paid = await http.post(
            f"/v1/payment_pages/{payment.session_id}/confirm",
            data={"payment_method": made.json()["id"]},
        )
    assert paid.status_code == 200, paid.text
    return payment


async def events_of(world: World, payment: Payment) -> list[dict[str, Any]]:
    """All that the sandbox has to say of a payment, the oldest first."""
    session = world.stripe.v1.checkout.sessions.retrieve(str(payment.session_id))
    words = [payment.reference, str(session.payment_intent)]
    async with world.http() as http:
        events = (await http.get("/v1/events", params={"limit": 100})).json()["data"]
    return [event for event in reversed(events) if any(word in str(event) for word in words)]


async def tell(world: World, payment: Payment) -> Payment:
    """Deliver everything about a payment, and work it off."""
    await world.deliver(await events_of(world, payment))
    await world.work()
    return await world.payment(payment)


async def at_provider(world: World, payment: Payment) -> Any:
    """The one dispute of a payment as the provider has it."""
    session = world.stripe.v1.checkout.sessions.retrieve(str(payment.session_id))
    listed = world.stripe.v1.disputes.list({"payment_intent": str(session.payment_intent)})
    [dispute] = listed.data
    return dispute


async def decide(world: World, payment: Payment, text: str) -> None:
    """Send the evidence by which the sandbox's bank decides, and let it read that."""
    dispute = await at_provider(world, payment)
    world.stripe.v1.disputes.update(
        dispute.id, {"evidence": {"uncategorized_text": text}, "submit": True}
    )
    async with world.http() as http:
        for _ in range(20):
            await http.post("/_sandbox/clock", json={"advance": 60})
            found = await http.get(f"/v1/disputes/{dispute.id}")
            if found.json()["status"] in ("won", "lost", "warning_closed"):
                return
    raise AssertionError(found.text)


async def listed(world: World) -> list[Dispute]:
    async with world.wiring.db.connection() as conn:
        return await dispute_list.list_disputes(conn, limit=50)


async def standing(world: World, payment: Payment, unit: str = "credit") -> tuple[int, int, int]:
    """Spendable, held, owed."""
    async with world.wiring.db.connection() as conn:
        at = world.wiring.clock.now()
        found = await balances.balance(conn, payment.customer_id, unit, at=at)
    return found.spendable, found.held, found.owed


async def use(world: World, payment: Payment, amount: int) -> None:
    posting = Posting(
        customer_id=payment.customer_id,
        unit="credit",
        type="usage",
        amount=-amount,
        cause=Cause("test", f"use {payment.reference} {amount}", "use"),
    )
    async with world.wiring.db.transaction() as conn:
        [made] = await entries.post(conn, [posting], at=world.wiring.clock.now())
    assert made.outcome == "posted"
