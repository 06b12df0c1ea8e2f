"""A shop with plans for the tests of the sandbox's portal and of its pages in subscription mode.

Owns the shop's catalogue, its portal and how a buyer subscribes. It never looks into the sandbox's
store.
"""

from __future__ import annotations

import html
import re
import time
from dataclasses import dataclass, field
from typing import Any

import httpx
from stripe import StripeClient

from hosted_page_shop import FORM, answer_bank

KEY = "sk_test_portal_shop"
BACK = "http://shop.example/account"
DAY = 24 * 3600
GOOD, OTHER, DECLINED = "4242 4242 4242 4242", "5555 5555 5555 4444", "4000 0000 0000 0002"
BANK_ASKS = "4000 0027 6000 3184"
FEATURES: dict[str, Any] = {
    "customer_update": {"enabled": False},
    "invoice_history": {"enabled": True},
    "payment_method_update": {"enabled": True},
    "subscription_cancel": {
        "enabled": True,
        "mode": "at_period_end",
        "cancellation_reason": {"enabled": True, "options": ["unused", "too_expensive", "other"]},
    },
}


@dataclass
class PlanShop:
    """Two monthly plans, a yearly one and seats; `prices` by name, in dollars."""

    sandbox_url: str
    prices: dict[str, str] = field(default_factory=dict)
    products: list[dict[str, Any]] = field(default_factory=list)

    def __post_init__(self) -> None:
        addresses: Any = {"api": self.sandbox_url}
        self.v1: Any = StripeClient(KEY, base_addresses=addresses, max_network_retries=0).v1
        for name, amounts in (
            ("Basic", {"month": 1500, "year": 15000}),
            ("Pro", {"month": 3000}),
            ("Seats", {"month": 900}),
        ):
            product = self.v1.products.create({"name": name})
            ids = []
            for interval, amount in amounts.items():
                price = self.v1.prices.create(
                    {
                        "product": product.id,
                        "currency": "usd",
                        "unit_amount": amount,
                        "recurring": {"interval": interval},
                    }
                )
                ids.append(price.id)
                self.prices[name if interval == "month" else f"{name} {interval}"] = price.id
            adjustable = {"enabled": name == "Seats", "minimum": 1, "maximum": 50}
            self.products.append(
                {"product": product.id, "prices": ids, "adjustable_quantity": adjustable}
            )

    def sell(self, plan: str = "Basic", quantity: int = 1, **changes: Any) -> Any:
        """A checkout session for a plan."""
        return self.v1.checkout.sessions.create(
            {
                "mode": "subscription",
                "line_items": [{"price": self.prices[plan], "quantity": quantity}],
                "success_url": "http://shop.example/thanks?session={CHECKOUT_SESSION_ID}",
                "cancel_url": "http://shop.example/plans",
                **changes,
            }
        )

    def subscribed(self, plan: str = "Basic", number: str = GOOD, **changes: Any) -> Any:
        """The subscription of a buyer who has been through the hosted page."""
        sold = self.sell(plan, **changes)
        answer = httpx.post(sold.url, data={**FORM, "card_number": number}, timeout=30)
        assert answer.status_code == 303, text_of(answer)
        return self.subscription(self.v1.checkout.sessions.retrieve(sold.id).subscription)

    def subscription(self, subscription_id: str) -> Any:
        return self.v1.subscriptions.retrieve(subscription_id)

    def configuration(self, **features: Any) -> Any:
        """A portal in which plans can be changed and charged at once, changed as told."""
        update = {
            "enabled": True,
            "default_allowed_updates": ["price", "quantity"],
            "proration_behavior": "always_invoice",
            "products": self.products,
        }
        wanted = {**FEATURES, "subscription_update": update}
        for name, changes in features.items():
            wanted[name] = {**wanted[name], **changes}
        return self.v1.billing_portal.configurations.create({"features": wanted})

    def portal(self, customer: str, features: dict[str, Any] | None = None, **more: Any) -> Portal:
        """An open portal of this customer."""
        configuration = self.configuration(**(features or {})).id
        session = self.v1.billing_portal.sessions.create(
            {"customer": customer, "return_url": BACK, "configuration": configuration, **more}
        )
        return Portal(self, session.url)

    def events_of(self, act: Any) -> list[str]:
        """The types of the events that `act` brings about, oldest first."""
        before = self.v1.events.list({"limit": 1}).data[0].id
        act()
        later = self.v1.events.list({"limit": 100, "ending_before": before}).data
        return [str(event.type) for event in later][::-1]

    def advance(self, seconds: int) -> None:
        answer = httpx.post(f"{self.sandbox_url}/_sandbox/clock", json={"advance": seconds})
        answer.raise_for_status()


@dataclass(frozen=True)
class Portal:
    """The portal's pages as a browser without script uses them."""

    shop: PlanShop
    url: str

    def get(self, path: str = "", **query: str) -> httpx.Response:
        return httpx.get(f"{self.url}{path}", params=query, timeout=30)

    def post(self, path: str, **fields: str) -> httpx.Response:
        return httpx.post(f"{self.url}{path}", data=fields, timeout=30)

    def quote(self, subscription: str, plan: str, quantity: int = 1) -> httpx.Response:
        """What a change costs."""
        price = self.shop.prices[plan]
        return self.get(f"/plans/{subscription}/change", price=price, quantity=str(quantity))

    def confirm(self, quote: httpx.Response) -> httpx.Response:
        """Press the button below a quote."""
        action = re.search(r'action="([^"]+/change)"', quote.text)
        assert action is not None, quote.text
        fields = dict(re.findall(r'name="(\w+)" value="([^"]*)"', quote.text))
        return httpx.post(f"{self.shop.sandbox_url}{action[1]}", data=fields, timeout=30)

    def add_card(self, number: str = GOOD, **changes: str) -> httpx.Response:
        return self.post("/cards/new", **{**FORM, "card_number": number, **changes})

    def at_bank(self, sent: httpx.Response, answer: str) -> httpx.Response:
        """Answer the bank to which a form has led, and follow its lead."""
        assert sent.status_code == 303
        back = answer_bank(f"{self.shop.sandbox_url}{sent.headers['location']}", answer)
        assert back.status_code == 303
        return httpx.get(back.headers["location"], timeout=30)


def text_of(answer: httpx.Response) -> str:
    """What the page says, without its tags."""
    words = re.sub(r"<[^>]+>", " ", html.unescape(answer.text))
    return re.sub(r"\s+", " ", words)


def day_of(moment: int) -> str:
    """Seconds since 1970 as the pages write the day."""
    at = time.gmtime(moment)
    return f"{at.tm_mday} {time.strftime('%b %Y', at)}"


def leads_to(answer: httpx.Response, said: str) -> bool:
    """Whether the answer leads to the portal's first page, which says that."""
    return answer.status_code == 303 and answer.headers["location"].endswith(f"?said={said}")
