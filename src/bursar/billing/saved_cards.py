"""Saved cards: what a customer's own cards at a provider are, and which is charged by default.

They live at the provider alone, under the customer's name there; nothing of them is stored here.
Somebody else's card looks the same as none.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from bursar import errors
from bursar.access import audit_log
from bursar.access.actors import Actor
from bursar.billing import provider_customers
from bursar.db import Database
from bursar.providers.after_sale import Card
from bursar.providers.port import Provider


@dataclass(frozen=True, slots=True)
class SavedCard:
    """A card, and the provider that keeps it."""

    provider: str
    card: Card


async def list_cards(
    db: Database, providers: Mapping[str, Provider], customer_id: int
) -> list[SavedCard]:
    """A customer's cards at all providers. Raises the provider's failures."""
    found: list[SavedCard] = []
    for name, provider in sorted(providers.items()):
        async with db.connection() as conn:
            known_as = await provider_customers.find_name(conn, name, customer_id)
        if known_as is not None:
            found += [SavedCard(name, card) for card in await provider.list_cards(known_as)]
    return found


async def get_card(
    db: Database, providers: Mapping[str, Provider], customer_id: int, card_id: str
) -> SavedCard:
    """One card. Raises NotFound and the provider's failures."""
    for saved in await list_cards(db, providers, customer_id):
        if saved.card.id == card_id:
            return saved
    raise errors.NotFound("There is no such payment method.")


async def remove(
    db: Database, providers: Mapping[str, Provider], customer_id: int, card_id: str, actor: Actor
) -> SavedCard:
    """Have the provider forget a card. Raises NotFound and the provider's failures."""
    saved = await get_card(db, providers, customer_id, card_id)
    await _record(db, actor, "payment_method.removed", saved, customer_id)
    await providers[saved.provider].remove_card(card_id)
    return saved


async def make_default(
    db: Database, providers: Mapping[str, Provider], customer_id: int, card_id: str, actor: Actor
) -> SavedCard:
    """Have a card be charged unless another is named. Raises NotFound, the provider's failures."""
    saved = await get_card(db, providers, customer_id, card_id)
    async with db.connection() as conn:
        known_as = await provider_customers.find_name(conn, saved.provider, customer_id)
    await _record(db, actor, "payment_method.made_default", saved, customer_id)
    await providers[saved.provider].set_default_card(known_as or "", card_id)
    return replace(saved, card=replace(saved.card, default=True))


async def _record(
    db: Database, actor: Actor, action: str, saved: SavedCard, customer_id: int
) -> None:
    async with db.transaction() as conn:
        await audit_log.record(
            conn,
            actor,
            action,
            subject=f"payment_method:{saved.card.id}",
            customer_id=customer_id,
            detail={"provider": saved.provider},
        )
