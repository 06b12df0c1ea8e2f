"""Saved cards: a customer's own, and nobody else's; receipts where they are to go."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from bursar import errors
from bursar.access.actors import Actor
from bursar.billing import catalog_file, catalog_push, saved_cards
from bursar.wiring import opened
from bursar_sandbox.running import Sandbox
from web_shop import CARD, GOOD
from worlds import ROOT, World, settings_for, stripe_client

ADA = Actor("user", "ada", None)


async def known(world: World, user_id: str) -> tuple[int, str]:
    """A customer whom the provider knows, and under which name."""
    payment = await world.open_checkout(user_id)
    async with world.wiring.db.connection() as conn:
        name = await conn.fetchval(
            "select provider_customer_id from provider_customers where customer_id = $1",
            payment.customer_id,
        )
    return payment.customer_id, name


def save(world: World, name: str, card: str = "pm_card_visa") -> str:
    """Save a card at the provider."""
    return world.stripe.v1.payment_methods.attach(card, {"customer": name}).id


async def cards(world: World, customer_id: int) -> list[Any]:
    wiring = world.wiring
    found = await saved_cards.list_cards(wiring.db, wiring.providers, customer_id)
    return [saved.card for saved in found]


async def test_cards_are_listed_chosen_and_removed(world: World) -> None:
    user = await world.user("ada")
    assert await cards(world, user.customer_id) == []
    customer_id, name = await known(world, "ada")
    assert await cards(world, customer_id) == []
    visa, mastercard = save(world, name), save(world, name, "pm_card_mastercard")
    found = {card.id: card for card in await cards(world, customer_id)}
    assert {card.brand for card in found.values()} == {"visa", "mastercard"}
    assert [card.default for card in found.values()] == [False, False]
    assert (found[visa].last4, found[visa].exp_month > 0) == ("4242", True)
    wiring = world.wiring
    act = (wiring.db, wiring.providers, customer_id, mastercard, ADA)
    assert (await saved_cards.make_default(*act)).card.default
    found = {card.id: card for card in await cards(world, customer_id)}
    assert (found[visa].default, found[mastercard].default) == (False, True)
    await saved_cards.remove(*act)
    assert [card.id for card in await cards(world, customer_id)] == [visa]
    with pytest.raises(errors.NotFound):
        await saved_cards.remove(*act)


async def test_anothers_card_is_like_none(world: World) -> None:
    _, ada = await known(world, "ada")
    bob_id, _ = await known(world, "bob")
    card = save(world, ada)
    wiring = world.wiring
    told = set()
    for card_id in (card, "pm_nothing", "../customers"):
        for act in (saved_cards.remove, saved_cards.make_default):
            with pytest.raises(errors.NotFound) as refused:
                await act(wiring.db, wiring.providers, bob_id, card_id, ADA)
            told.add(refused.value.detail)
    assert len(told) == 1
    assert world.stripe.v1.payment_methods.retrieve(card).customer == ada


async def test_a_customer_deleted_at_the_provider_has_no_cards(world: World) -> None:
    customer_id, name = await known(world, "ada")
    save(world, name)
    world.stripe.v1.customers.delete(name)
    assert await cards(world, customer_id) == []


@pytest.mark.parametrize(("receipts", "sent_to"), [("provider", "ada@example.com"), ("bursar", "")])
async def test_receipts_have_one_sender(
    sandbox: Sandbox, database_url: str, receipts: str, sent_to: str
) -> None:
    settings = settings_for(sandbox, database_url, receipts=receipts)
    async with opened(settings) as wiring:
        wanted = catalog_file.read(ROOT / "catalog.toml")
        await catalog_push.push(wiring.db, wiring.provider("stripe"), wanted, clock=wiring.clock)
        world = World(wiring, sandbox, stripe_client(sandbox))
        await world.user("ada")
        async with wiring.db.transaction() as conn:
            await conn.execute("update users set email = 'ada@example.com'")
        payment = await world.open_checkout("ada")
        await world.pay(payment)
        session = world.stripe.v1.checkout.sessions.retrieve(
            str(payment.session_id), {"expand": ["payment_intent"]}
        )
        assert (session.payment_intent.receipt_email or "") == sent_to


async def test_a_buyer_who_ticks_the_box_finds_the_card_next_time(world: World) -> None:
    first = await world.open_checkout("ada")
    assert first.session_url is not None
    assert "Save this card" in httpx.get(first.session_url).text
    unticked = httpx.post(first.session_url, data={**CARD, "card_number": GOOD})
    assert unticked.status_code == 303
    assert await cards(world, first.customer_id) == []
    second = await world.open_checkout("ada")
    form = {**CARD, "card_number": GOOD, "save": "yes"}
    assert httpx.post(second.session_url or "", data=form).status_code == 303
    [kept] = await cards(world, second.customer_id)
    assert (kept.brand, kept.last4) == ("visa", "4242")
    third = await world.open_checkout("ada")
    assert kept.id in httpx.get(third.session_url or "").text
    other = await world.open_checkout("bob")
    assert kept.id not in httpx.get(other.session_url or "").text
