"""Subscriptions on a test clock, half a month in: what tests of plan changes begin with."""

from __future__ import annotations

from typing import Any

DAY = 24 * 3600
APRIL, MAY = 1_775_001_600, 1_777_593_600  # the first days of two months of 2026, 30 days apart
MIDDLE = APRIL + 15 * DAY


class Plans:
    """Prices that are made when they are asked for."""

    def __init__(self, v1: Any) -> None:
        self._v1 = v1

    def monthly(self, amount: int, name: str = "Basic", currency: str = "usd") -> str:
        return self._price(amount, name, currency, "month")

    def yearly(self, amount: int, name: str = "Yearly", currency: str = "usd") -> str:
        return self._price(amount, name, currency, "year")

    def _price(self, amount: int, name: str, currency: str, interval: str) -> str:
        price = self._v1.prices.create(
            {
                "currency": currency,
                "unit_amount": amount,
                "recurring": {"interval": interval},
                "product_data": {"name": name},
            }
        )
        return str(price.id)


def customer_on_clock(v1: Any, at: int = APRIL, **fields: Any) -> tuple[str, str]:
    """A customer with a good card on a clock that stands at `at`: their ids."""
    clock = v1.test_helpers.test_clocks.create({"frozen_time": at})
    customer = v1.customers.create({"test_clock": clock.id, "name": "Ada", **fields})
    method = v1.payment_methods.attach("pm_card_visa", {"customer": customer.id})
    settings = {"default_payment_method": method.id}
    v1.customers.update(customer.id, {"invoice_settings": settings})
    return str(customer.id), str(clock.id)


def subscribed(v1: Any, price: str, **options: Any) -> tuple[Any, str]:
    """A subscription that began on the first of April; its clock stands in the month's middle."""
    customer, clock = customer_on_clock(v1)
    wanted = {"customer": customer, "items": [{"price": price}], **options}
    subscription = v1.subscriptions.create(wanted)
    v1.test_helpers.test_clocks.advance(clock, {"frozen_time": MIDDLE})
    return subscription, clock


def change(v1: Any, subscription: Any, price: str, **options: Any) -> Any:
    """The subscription after its only item has got another price."""
    item = subscription["items"].data[0].id
    wanted = {"items": [{"id": item, "price": price}], **options}
    return v1.subscriptions.update(subscription.id, wanted)


def prorations(v1: Any, subscription: Any, *, pending: bool | None = None) -> list[Any]:
    """The subscription's prorations as invoice items, oldest first."""
    wanted: dict[str, Any] = {"customer": subscription.customer, "limit": 100}
    if pending is not None:
        wanted["pending"] = pending
    items = v1.invoice_items.list(wanted).data
    return [item for item in reversed(items) if item.proration]


def amounts(invoice: Any) -> list[int]:
    """What the invoice's lines come to, in their order."""
    return [line.amount for line in invoice.lines.data]
