"""Guests: they buy by a link, and are told apart, or not, by the address that they gave."""

from __future__ import annotations

from typing import Any
from urllib.parse import urljoin

import httpx

from bursar.access.actors import Actor
from bursar.billing import cases, customers, links, payments, unmatched
from bursar.billing.cases import Case
from bursar.billing.links import Wanted
from bursar.billing.payments import Payment
from bursar.billing.unmatched import Resolution
from worlds import World

ADMIN = Actor("admin", None, None)


async def link_of(world: World, package: str = "starter") -> str:
    provider = world.wiring.provider("stripe")
    wanted = Wanted(package=package, actor=ADMIN)
    return (await links.open(world.wiring.db, provider, wanted, clock=world.wiring.clock)).url


async def visit(url: str) -> str:
    """Open a link; the address of the page to pay at."""
    async with httpx.AsyncClient() as browser:
        page = await browser.get(url)
    assert page.status_code == 303, page.text
    return urljoin(url, page.headers["location"])


async def pay_as_guest(world: World, url: str, email: str, number: str = "4242424242424242") -> str:
    """Open a link and pay as somebody whom the shop does not know; the session's id."""
    return await pay_page(world, await visit(url), email, number)


async def pay_page(world: World, page: str, email: str, number: str = "4242424242424242") -> str:
    """Pay at a page as somebody whom the shop does not know; the session's id."""
    session_id = page.rsplit("/", 1)[1]
    async with world.http() as http:
        card = {
            "type": "card",
            "card[number]": number,
            "card[exp_month]": "12",
            "card[exp_year]": "2034",
            "card[cvc]": "123",
            "billing_details[email]": email,
            "billing_details[name]": "Gus Guest",
        }
        method = await http.post("/v1/payment_methods", data=card)
        assert method.status_code == 200, method.text
        paid = await http.post(
            f"/v1/payment_pages/{session_id}/confirm",
            data={"payment_method": method.json()["id"]},
        )
    assert paid.status_code == 200, paid.text
    return session_id


async def tell(world: World, session_id: str) -> None:
    """Deliver what the provider has to say of a session and its intent; work it off."""
    session = world.stripe.v1.checkout.sessions.retrieve(session_id)
    async with world.http() as http:
        events = (await http.get("/v1/events", params={"limit": 100})).json()["data"]
    words = [session_id, str(session.payment_intent)]
    await world.deliver([e for e in reversed(events) if any(word in str(e) for word in words)])
    await world.work()


async def put_user(world: World, user_id: str, email: str | None, *, verified: bool) -> int:
    """What the host app says of a user; the personal customer."""
    at = world.wiring.clock.now()
    async with world.wiring.db.transaction() as conn:
        user = await customers.put_user(
            conn, user_id, email=email, email_verified=verified, name=None, at=at
        )
        await unmatched.claim(conn, user, at=at)
    return user.customer_id


async def opened(world: World, state: str | None = "open") -> list[Case]:
    async with world.wiring.db.connection() as conn:
        return await cases.list_cases(conn, state=state)


async def payments_of(world: World, customer_id: int) -> list[Payment]:
    async with world.wiring.db.connection() as conn:
        return await payments.list_payments(conn, customer_id, limit=10)


async def resolve(world: World, case: Case, **how: Any) -> Case:
    wiring = world.wiring
    wanted = Resolution(case_id=case.id, actor=ADMIN, **how)
    return await unmatched.resolve(wiring.db, wiring.providers, wanted, clock=wiring.clock)
