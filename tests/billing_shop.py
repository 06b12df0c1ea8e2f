"""A shop that sells subscriptions through the sandbox, for tests: its plans, its customers, time.

Owns the calls such a shop makes with the official library, and the reading of events.
"""

from __future__ import annotations

import datetime
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import stripe

from bursar_sandbox import control_client

DAY = 24 * 3600
HOUR = 3600


@dataclass
class Billing:
    """A shop at a sandbox. `v1` are the official client's resources."""

    url: str
    v1: Any

    def plan(self, amount: int = 2900, interval: str = "month", **options: Any) -> Any:
        """A recurring price of a product of its own."""
        product = self.v1.products.create({"name": options.pop("name", "Pro")})
        rhythm = {"interval": interval, **options.pop("recurring", {})}
        wanted = {"currency": "usd", "unit_amount": amount, "recurring": rhythm}
        return self.v1.prices.create({"product": product.id, **wanted, **options})

    def customer(self, card: str | None = "pm_card_visa", **options: Any) -> Any:
        """A customer who pays with that card by default; with none, who has none."""
        made = self.v1.customers.create({"email": "ada@lovelace.example", **options})
        if card is not None:
            self.use_card(made.id, card)
        return made

    def use_card(self, customer_id: str, card: str) -> str:
        """Let the customer pay with that card from now on; the payment method's id."""
        method = self.v1.payment_methods.attach(card, {"customer": customer_id}).id
        wanted = {"invoice_settings": {"default_payment_method": method}}
        self.v1.customers.update(customer_id, wanted)
        return str(method)

    def subscribe(self, customer: Any, *prices: Any, **options: Any) -> Any:
        """A subscription of the customer's to these prices."""
        items = [{"price": price.id} for price in prices]
        return self.v1.subscriptions.create({"customer": customer.id, "items": items, **options})

    def again(self, subscription: Any, *expand: str) -> Any:
        """The subscription as it is now."""
        return self.v1.subscriptions.retrieve(subscription.id, {"expand": list(expand)})

    def invoices(self, subscription: Any) -> list[Any]:
        """The subscription's invoices, oldest first."""
        found = self.v1.invoices.list({"subscription": subscription.id, "limit": 100}).data
        return list(found)[::-1]

    def now(self) -> int:
        """The sandbox's time."""
        return control_client.now(self.url)

    def advance(self, seconds: int) -> None:
        """Let so much time pass."""
        control_client.advance_clock(self.url, seconds)

    def go_to(self, at: int) -> None:
        """Let time pass until then."""
        self.advance(at - self.now())

    def go_to_day(self, month: int, day: int) -> None:
        """Let time pass until the next such day's noon."""
        today = datetime.datetime.fromtimestamp(self.now(), datetime.UTC)
        noon = today.replace(month=month, day=day, hour=12, minute=0, second=0, microsecond=0)
        if noon <= today:
            noon = noon.replace(year=noon.year + 1)
        self.go_to(int(noon.timestamp()))

    def events(self, act: Callable[[], object]) -> list[Any]:
        """The events that `act` brings about, oldest first."""
        before = self.v1.events.list({"limit": 1}).data[0].id
        act()
        found = self.v1.events.list({"limit": 100, "ending_before": before}).data
        return list(found)[::-1]

    def event_types(self, act: Callable[[], object], about: str = "") -> list[str]:
        """The types of those events; only such as begin with `about`."""
        types = [str(event.type) for event in self.events(act)]
        return [kind for kind in types if kind.startswith(about)]


def days(times: list[int]) -> list[str]:
    """Times as months and days: `01-31`."""
    return [datetime.datetime.fromtimestamp(at, datetime.UTC).strftime("%m-%d") for at in times]


def previous(event: stripe.Event) -> dict[str, Any]:
    """What has changed, as the event tells it."""
    former: dict[str, Any] = event.data.to_dict()["previous_attributes"]
    return former


def item_of(subscription: Any) -> Any:
    """The subscription's first item."""
    return subscription["items"].data[0]
