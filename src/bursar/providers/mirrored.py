"""The catalogue at a provider: what is put there, what is told of it, and the calls about both.

A part of the port. Plain values; nothing is decided here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal, Protocol

Kind = Literal["product", "price", "coupon", "promotion_code"]
Tax = Literal["exclusive", "inclusive"]

MADE, CHANGED, GONE, READ = 0, 1, 2, 3
"""What of two words of one second counts: a later step does, and the provider's own answer most."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CatalogFact:
    """How one thing of the catalogue stood at a time of the provider's.

    `body` has the fields that were told, by their names here:
    product: name, description, active, metadata (text by text);
    price: product, currency, amount_minor (None: no single one), recurring, active;
    coupon: name, percent_off (decimal text), amounts (minor units by currency), products (ids,
    None: all), max_redemptions, times_redeemed, ends_at (RFC 3339), valid, metadata;
    promotion_code: coupon, code, active, customer, first_time, minimum_minor, minimum_currency,
    max_redemptions, times_redeemed, ends_at, metadata.
    """

    provider: str
    kind: Kind
    id: str
    at: datetime
    step: int = READ
    body: Mapping[str, Any] = field(default_factory=dict)

    @property
    def gone(self) -> bool:
        """Whether it was deleted; a fact of that has no body."""
        return not self.body


@dataclass(frozen=True, slots=True)
class Discount:
    """What a checkout is opened with: a promotion code's id, else the coupon's."""

    coupon_id: str
    promotion_id: str | None = None

    @property
    def name(self) -> str:
        """As a session's totals name it."""
        if self.promotion_id:
            return f"promotion_code:{self.promotion_id}"
        return f"coupon:{self.coupon_id}"


@dataclass(frozen=True, slots=True)
class CheckoutTerms:
    """What a deployment lets hosted checkouts do; stored with each, so that a repeat is the same.

    No `payment_methods` means the provider's own choice.
    """

    promotion_codes: bool = False
    automatic_tax: bool = False
    payment_methods: tuple[str, ...] = ()


PLAIN = CheckoutTerms()


@dataclass(frozen=True, slots=True)
class ProductOrder:
    """A product to be made or kept up at the provider, under an id of our choice."""

    product_id: str
    name: str
    description: str | None
    metadata: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class PriceOrder:
    """A price to be made at the provider. A new one takes the lookup key from the old one."""

    reference: str
    product_id: str
    lookup_key: str
    currency: str
    amount_minor: int
    recurring: Literal["month", "year"] | None
    metadata: Mapping[str, str]
    tax: Tax | None = None


@dataclass(frozen=True, slots=True)
class FoundPrice:
    """A price that the provider has under a lookup key."""

    price_id: str
    product_id: str
    currency: str
    amount_minor: int | None
    recurring: str | None
    tax: str | None = None


class CatalogCalls(Protocol):
    """The calls about the catalogue: what is sold, and all that the provider has of it."""

    async def put_product(self, order: ProductOrder) -> None:
        """Make a product, or bring the one under that id up to date."""

    async def find_price(self, lookup_key: str) -> FoundPrice | None:
        """The live price under a lookup key."""

    async def create_price(self, order: PriceOrder) -> str:
        """Make a price, once for each reference; it takes the lookup key. Returns its id."""

    async def archive_price(self, price_id: str) -> None:
        """Take a price off sale; what runs on it keeps running."""

    async def list_catalog(self) -> list[CatalogFact]:
        """Every product, price, coupon and promotion code that there is."""

    async def fetch_catalog(self, kind: Kind, thing_id: str) -> CatalogFact:
        """One of them; gone if it is not there."""

    async def find_discount(self, code: str) -> list[CatalogFact]:
        """The promotion code that buyers type so, with its coupon; else the coupon of that id.

        Empty when there is neither.
        """
