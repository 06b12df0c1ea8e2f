"""What comes after a sale, in Bursar's words: disputes, links that sell again, saved cards.

A part of the port: data that adapters and billing share. It decides nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, Protocol

DisputeStatus = Literal["needs_response", "under_review", "won", "lost", "closed", "prevented"]
"""`closed` ends an inquiry; what is `prevented` never came to a dispute."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DisputeFact:
    """A dispute as the provider has it. An inquiry only asks: no money has moved."""

    provider_ref: str
    amount_minor: int
    status: DisputeStatus
    state: Literal["pending", "settled", "released"]
    """What it does to the money: taken for now, for good, or not at all."""
    inquiry: bool
    reason: str | None
    due_at: datetime | None
    """Until when evidence is taken."""
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class DisputeAnswer:
    """What the shop says to a dispute. `reference` is also the idempotency key, for ever.

    `accept` gives in. Else `evidence` is what the provider is to have in all, in our words, and
    `submit` whether it goes to the bank now, which can't be undone.
    """

    reference: str
    provider_ref: str
    kind: Literal["draft", "submit", "accept"]
    evidence: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class LinkOrder:
    """An address at which anybody buys one of a price. `reference` is the idempotency key."""

    reference: str
    price_id: str


@dataclass(frozen=True, slots=True)
class OpenedLink:
    """A payment link as the provider made it."""

    link_id: str
    url: str


@dataclass(frozen=True, slots=True)
class Card:
    """A saved card, by what its owner knows it by. `default` is charged unless another is named."""

    id: str
    brand: str
    last4: str
    exp_month: int
    exp_year: int
    default: bool


class LinksAndCards(Protocol):
    """The calls about payment links and saved cards, which any provider's adapter has."""

    async def create_link(self, order: LinkOrder) -> OpenedLink:
        """Make an address that sells one price to anybody, once for each reference."""

    async def find_link(self, reference: str) -> OpenedLink | None:
        """The address that was made under our reference, if there is one that still sells."""

    async def close_link(self, link_id: str) -> None:
        """Have an address sell nothing any more."""

    async def list_cards(self, provider_customer_id: str) -> list[Card]:
        """The cards that a customer saved, the newest first."""

    async def remove_card(self, card_id: str) -> None:
        """Forget a saved card."""

    async def set_default_card(self, provider_customer_id: str, card_id: str) -> None:
        """Have a customer's own card be the one that is charged by default."""
