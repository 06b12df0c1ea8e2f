"""A shop that sells plans, for the tests of its pages: what a subscriber presses, without script.

Built on `web_shop`. No webhook reaches it: what the provider knows is asked by the pages, or by
`look`, as the worker would.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import timedelta
from html import unescape
from pathlib import Path
from typing import Any

import httpx
import stripe

from bursar.billing import asking, customers, provider_customers
from bursar.billing.subscriptions import rows
from bursar.billing.subscriptions.rows import Subscription
from bursar.clock import ShiftedClock
from bursar.wiring import Wiring
from bursar_sandbox import control_client
from bursar_sandbox.running import Sandbox
from web_shop import GOOD, SECRET_KEY, Shop, pay

CATALOG = """
[units.page]
name = "Pages"

[packs.starter]
name = "Starter pack"
unit = "page"
credits = 5
prices = { usd = 500 }

[plans.basic]
name = "Basic"
unit = "page"
credits = 20
features = ["history"]
prices = { month = { usd = 1500 }, year = { usd = 15000 } }
group = "pages"

[plans.pro]
name = "Pro"
unit = "page"
credits = 50
features = ["history", "priority"]
prices = { month = { usd = 3000 }, year = { usd = 30000 } }
group = "pages"

[plans.team]
name = "Team"
description = "Members share one balance."
unit = "page"
credits = 200
features = ["seats"]
prices = { month = { usd = 9900 } }
group = "pages"

[plans.studio]
name = "Studio"
unit = "page"
features = ["export"]
limits = { projects = 3 }
prices = { month = { usd = 900 } }
trial_days = 14
group = "studio"
"""


@dataclass
class PlanShop:
    """A shop and the provider at which it sells."""

    shop: Shop
    sandbox: Sandbox

    @property
    def stripe(self) -> Any:
        addresses: Any = {"api": self.sandbox.base_url}
        return stripe.StripeClient(SECRET_KEY, base_addresses=addresses, max_network_retries=0).v1

    def subscribe(
        self, browser: httpx.Client, plan: str, period: str = "month", card: str = GOOD
    ) -> httpx.Response:
        """Press the plan's button, pay, come back: the page that says what was begun."""
        left = press(browser, plan, period)
        assert left.status_code == 303, left.text
        back = pay(left.headers["location"], card)
        assert back.status_code == 303, back.text
        return browser.get(back.headers["location"])

    def row(self, user_id: str) -> Subscription:
        """A user's newest subscription."""

        async def work(wiring: Wiring) -> Subscription:
            user = await _user(wiring, user_id)
            async with wiring.db.connection() as conn:
                return (await rows.list_for(conn, user, limit=1))[0]

        return self.shop.call(work)

    def look(self, user_id: str) -> Subscription:
        """Ask the provider how a user's newest subscription stands, as the worker does."""
        row = self.row(user_id)

        async def work(wiring: Wiring) -> Subscription:
            provider = wiring.provider(row.provider)
            return await asking.read(wiring.db, provider, row, clock=wiring.clock)

        return self.shop.call(work)

    def advance(self, **by: float) -> None:
        """Let time pass, there and here."""
        base = self.sandbox.base_url
        control_client.advance_clock(base, int(timedelta(**by).total_seconds()))
        clock = self.shop.wiring.clock
        assert isinstance(clock, ShiftedClock)
        clock.offset = timedelta(seconds=control_client.ahead(base))

    def use_card(self, user_id: str, method: str) -> None:
        """Have another card charged from now on, by the provider's own test method."""
        row = self.row(user_id)

        async def work(wiring: Wiring) -> str | None:
            async with wiring.db.connection() as conn:
                return await provider_customers.find_name(conn, "stripe", row.customer_id)

        customer = str(self.shop.call(work))
        attached = self.stripe.payment_methods.attach(method, {"customer": customer})
        update = {"default_payment_method": attached.id}
        self.stripe.customers.update(customer, {"invoice_settings": update})
        self.stripe.subscriptions.update(row.subscription_id, update)


async def _user(wiring: Wiring, user_id: str) -> int:
    async with wiring.db.connection() as conn:
        return (await customers.find_personal(conn, [user_id]))[user_id]


def form(page: httpx.Response, action: str) -> dict[str, str]:
    """The fields of the form that posts to `action`, as a browser would send them."""
    found = re.search(rf'<form[^>]*action="{re.escape(action)}".*?</form>', page.text, re.S)
    assert found is not None, f"no form posts to {action}"
    fields = re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)"', found[0])
    return {name: unescape(value) for name, value in fields}


def press(browser: httpx.Client, plan: str, period: str = "month") -> httpx.Response:
    """Press the plan's button on the price list."""
    page = browser.get("/pricing", params={"period": period})
    forms = re.findall(
        r'<form method="post" action="/pricing/subscribe".*?</form>', page.text, re.S
    )
    mine = next(found for found in forms if f'value="{plan}"' in found)
    fields = dict(re.findall(r'name="(\w+)" value="([^"]*)"', mine))
    return browser.post("/pricing/subscribe", data=fields)


def follow(browser: httpx.Client, answer: httpx.Response) -> httpx.Response:
    """The page to which a form has led."""
    assert answer.status_code == 303, answer.text
    return browser.get(answer.headers["location"].partition("#")[0])


def sell_plans(shop: Shop, folder: Path) -> None:
    """Put the plans on sale."""
    shop.sell(folder, CATALOG)
