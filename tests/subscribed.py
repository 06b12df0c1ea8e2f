"""What tests of subscriptions do and look at, beside the shop of `subscribers`."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from bursar.billing import cases, payments, refunds
from bursar.billing.payments import Payment
from bursar.billing.refunds import Wanted
from bursar.ledger import entries
from bursar.ledger.entries import Cause, Posting
from bursar_sandbox import control_client
from bursar_sandbox.running import Sandbox
from plans import CATALOG
from selling_world import selling
from subscribers import Subscribers

FAILING = "pm_card_chargeCustomerFail"
GOOD = "pm_card_visa"


@asynccontextmanager
async def selling_plans(
    sandbox: Sandbox, database_url: str, folder: Path
) -> AsyncIterator[Subscribers]:
    """A shop of plans at a sandbox without a past: what others sold would renew here, too."""
    control_client.reset(sandbox.base_url)
    async with selling(sandbox, database_url, folder, CATALOG) as world:
        here = Subscribers(world)
        await here.begin()
        yield here


async def opened_cases(shop: Subscribers) -> list[str]:
    async with shop.world.wiring.db.connection() as conn:
        found = await cases.list_cases(conn, state="open", before=None, limit=100)
    return [case.kind for case in found]


async def paid(shop: Subscribers, customer_id: int) -> list[Payment]:
    """Oldest first."""
    async with shop.world.wiring.db.connection() as conn:
        found = await payments.list_payments(conn, customer_id, limit=100)
    return found[::-1]


async def refund(shop: Subscribers, payment: Payment, amount: int | None = None) -> None:
    wiring = shop.world.wiring
    wanted = Wanted(payment_id=payment.id, amount_minor=amount, requested_by="admin")
    await refunds.request(wiring.db, wiring.provider("stripe"), wanted, clock=wiring.clock)
    await shop.hear()


async def use(shop: Subscribers, customer_id: int, amount: int) -> None:
    posting = Posting(
        customer_id=customer_id,
        unit="page",
        type="usage",
        amount=-amount,
        cause=Cause("test", f"use {customer_id} {amount}", "use"),
    )
    async with shop.world.wiring.db.transaction() as conn:
        [made] = await entries.post(conn, [posting], at=shop.clock.now())
    assert made.outcome == "posted"


async def finish_free(shop: Subscribers, payment: Payment) -> None:
    """Finish a checkout that asks for no card."""
    async with shop.world.http() as http:
        form = {"email": "ada@example.com", "name": "Ada", "country": "US", "postal_code": "10001"}
        answer = await http.post(str(payment.session_url), data=form)
    assert answer.status_code == 303, answer.text
    await shop.hear()
