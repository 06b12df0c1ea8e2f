"""Cards that customers keep: attached, shown, charged without the buyer, renewed, given up."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from urllib.parse import urljoin

import httpx
import pytest
import stripe

from bursar_sandbox import control_client
from bursar_sandbox.control_client import SandboxError
from bursar_sandbox.running import Sandbox
from hosted_page_shop import BANK_ASKS, Shop, answer_bank, open_shop, post
from stripe_shop import card, pay_intent

ONCE_SET_UP = "4000002500003155"
WHEN_PRESENT = "4000003800000446"


@pytest.fixture(scope="module")
def shared_sandbox(checked_sandbox: Sandbox) -> Sandbox:
    """What these tests are told is checked against Stripe's types."""
    return checked_sandbox


@pytest.fixture
def shop(shared_sandbox: Sandbox) -> Iterator[Shop]:
    with open_shop(shared_sandbox.base_url) as shop:
        yield shop


@pytest.fixture
def customer(v1: Any) -> str:
    return str(v1.customers.create({"email": "ada@lovelace.example", "name": "Ada"}).id)


def saved(v1: Any, customer: str, number: str = "4242424242424242", **options: Any) -> Any:
    """A card that the customer has saved."""
    method = card(v1, number).id
    v1.payment_methods.attach(method, {"customer": customer})
    return v1.payment_methods.update(method, options) if options else v1.payment_methods.retrieve(
        method
    )  # fmt: skip


@pytest.mark.parametrize("number", [ONCE_SET_UP, BANK_ASKS])
def test_card_whose_bank_asks_declines_without_the_buyer(
    shop: Shop, customer: str, number: str
) -> None:
    v1 = shop.client.v1
    method = saved(v1, customer, number)
    with pytest.raises(stripe.CardError) as caught:
        pay_intent(v1, method.id, customer=customer, off_session=True)
    error = caught.value.error
    assert (caught.value.http_status, error.code, error.decline_code) == (
        402, "authentication_required", "authentication_required",
    )  # fmt: skip
    assert error.payment_method.id == method.id
    intent = v1.payment_intents.retrieve(error.payment_intent.id)
    assert (intent.status, intent.amount_received) == ("requires_payment_method", 0)
    assert v1.charges.retrieve(error.charge).status == "failed"
    assert shop.client.v1.events.list({"limit": 1}).data[0].type == "payment_intent.payment_failed"
    # With the buyer there, the same intent goes on with the same card.
    there = v1.payment_intents.confirm(
        intent.id, {"payment_method": method.id, "return_url": "https://shop.example/back"}
    )
    answer_bank(there.next_action.redirect_to_url.url, "confirm")
    assert v1.payment_intents.retrieve(intent.id).status == "succeeded"


def test_card_that_asks_only_a_buyer_who_is_there(v1: Any, customer: str) -> None:
    method = saved(v1, customer, WHEN_PRESENT).id
    assert pay_intent(v1, method, customer=customer, off_session=True).status == "succeeded"
    assert pay_intent(v1, method, customer=customer).status == "requires_action"


def test_payment_keeps_the_card_for_its_customer(v1: Any, customer: str) -> None:
    paid = pay_intent(v1, customer=customer, setup_future_usage="off_session")
    (method,) = v1.customers.payment_methods.list(customer, {"type": "card"}).data
    assert method.id == paid.payment_method
    assert v1.customers.payment_methods.list(customer, {"type": "sepa_debit"}).data == []


def test_default_is_named_and_forgotten_with_the_card(shop: Shop, customer: str) -> None:
    v1 = shop.client.v1
    method = saved(v1, customer).id
    default = {"invoice_settings": {"default_payment_method": method}}
    types = shop.events_of(lambda: v1.customers.update(customer, default))
    assert types == ["customer.updated"]
    types = shop.events_of(lambda: v1.payment_methods.detach(method))
    assert types == ["customer.updated", "payment_method.detached"]
    assert v1.customers.retrieve(customer).invoice_settings.default_payment_method is None
    with pytest.raises(stripe.InvalidRequestError):
        pay_intent(v1, method, customer=customer)
    with pytest.raises(stripe.InvalidRequestError):
        v1.customers.update(customer, default)


def test_card_is_changed_by_hand_and_by_its_bank(shop: Shop, customer: str) -> None:
    v1 = shop.client.v1
    method = saved(v1, customer)
    change = {"card": {"exp_month": 1, "exp_year": 2041}, "metadata": {"own": "yes"}}
    assert shop.events_of(lambda: v1.payment_methods.update(method.id, change)) == [
        "payment_method.updated"
    ]
    types = shop.events_of(lambda: control_client.renew_card(shop.sandbox_url, method.id))
    assert types == ["payment_method.automatically_updated"]
    (told,) = v1.events.list({"limit": 1}).data
    assert told.data.previous_attributes.to_dict() == {"card": {"exp_year": 2041}}
    assert v1.payment_methods.retrieve(method.id).card.exp_year == 2044


def test_only_a_saved_card_is_renewed(shop: Shop) -> None:
    with pytest.raises(SandboxError):
        control_client.renew_card(shop.sandbox_url, card(shop.client.v1).id)


def test_page_offers_the_cards_that_the_buyer_agreed_to(shop: Shop, customer: str) -> None:
    v1 = shop.client.v1
    mine = saved(v1, customer, "5555555555554444", allow_redisplay="always")
    hidden = saved(v1, customer, "4000056655665556")
    sold = shop.sell(customer=customer)
    text = httpx.get(sold.url).text
    assert "Mastercard ending in 4444" in text
    assert "Another card" in text
    assert hidden.id not in text
    paid = httpx.post(sold.url, data={"method": mine.id, "email": "ada@lovelace.example"})
    assert paid.headers["location"] == f"{shop.url}/thanks?session={sold.id}"
    (charge,) = shop.charges(sold.id)
    assert (charge.payment_method, charge.customer) == (mine.id, customer)
    assert shop.session(sold.id).customer_details.email == "ada@lovelace.example"


def test_card_of_somebody_else_is_not_taken(shop: Shop, customer: str) -> None:
    v1 = shop.client.v1
    other = v1.customers.create({}).id
    theirs = saved(v1, other, allow_redisplay="always")
    sold = shop.sell(customer=customer)
    refused = httpx.post(sold.url, data={"method": theirs.id, "email": "ada@lovelace.example"})
    assert refused.status_code == 422
    assert shop.charges(sold.id) == []


def test_saved_card_goes_by_its_bank_on_the_page(shop: Shop, customer: str) -> None:
    mine = saved(shop.client.v1, customer, BANK_ASKS, allow_redisplay="always")
    sold = shop.sell(customer=customer)
    sent = httpx.post(sold.url, data={"method": mine.id, "email": "ada@lovelace.example"})
    done = answer_bank(urljoin(sold.url, sent.headers["location"]), "confirm")
    assert done.headers["location"] == f"{shop.url}/thanks?session={sold.id}"
    assert shop.session(sold.id).payment_status == "paid"


@pytest.mark.parametrize(("ticked", "cards"), [({"save": "yes"}, ["always"]), ({}, [])])
def test_buyer_decides_whether_the_card_is_kept(
    shop: Shop, customer: str, ticked: dict[str, str], cards: list[str]
) -> None:
    options = {"payment_method_save": "enabled"}
    sold = shop.sell(customer=customer, saved_payment_method_options=options)
    assert "Save this card" in httpx.get(sold.url).text
    types = shop.events_of(lambda: post(sold.url, **ticked))
    kept = shop.client.v1.payment_methods.list({"customer": customer}).data
    assert [method.allow_redisplay for method in kept] == cards
    assert ("payment_method.attached" in types) == bool(ticked)


def test_card_kept_by_the_seller_is_not_offered_again(shop: Shop, customer: str) -> None:
    data = {"setup_future_usage": "off_session"}
    post(shop.sell(customer=customer, payment_intent_data=data).url)
    (kept,) = shop.client.v1.payment_methods.list({"customer": customer}).data
    assert kept.allow_redisplay == "limited"
    assert kept.id not in httpx.get(shop.sell(customer=customer).url).text


def test_page_updates_the_customer_only_as_far_as_allowed(shop: Shop, customer: str) -> None:
    wanted = {"address": "auto"}
    post(shop.sell(customer=customer, customer_update=wanted).url)
    now = shop.client.v1.customers.retrieve(customer)
    assert (now.name, now.address.country, now.address.postal_code) == ("Ada", "GB", "SW1A 1AA")
    post(shop.sell(customer=customer, customer_update={"name": "auto"}).url)
    assert shop.client.v1.customers.retrieve(customer).name == "Ada Lovelace"


def test_card_token_serves_once(v1: Any, customer: str) -> None:
    typed = {"number": "4242424242424242", "exp_month": 12, "exp_year": 2040, "cvc": "123"}
    token = v1.tokens.create({"card": typed})
    assert (token.used, token.card.last4, token.card.brand) == (False, "4242", "Visa")
    source = v1.customers.payment_sources.create(customer, {"source": token.id})
    assert (source.object, source.customer) == ("card", customer)
    assert v1.tokens.retrieve(token.id).used
    with pytest.raises(stripe.InvalidRequestError) as caught:
        v1.customers.payment_sources.create(customer, {"source": token.id})
    assert caught.value.code == "token_already_used"


def test_source_is_a_payment_method_too(shop: Shop) -> None:
    v1 = shop.client.v1
    customer = v1.customers.create({"source": "tok_visa", "expand": ["sources", "default_source"]})
    (source,) = customer.sources.data
    assert customer.default_source.id == source.id
    paid = pay_intent(v1, source.id, customer=customer.id, off_session=True)
    assert paid.status == "succeeded"
    first = v1.customers.payment_sources.list(customer.id).data[0]
    changed = v1.customers.payment_sources.update(customer.id, first.id, {"name": "Ada L."})
    assert (changed.name, shop.latest_event_id() != "") == ("Ada L.", True)
    other = v1.customers.payment_sources.create(customer.id, {"source": "tok_mastercard"})
    v1.customers.update(customer.id, {"default_source": other.id})
    types = shop.events_of(lambda: v1.customers.payment_sources.delete(customer.id, other.id))
    assert types == ["customer.updated", "payment_method.detached", "customer.source.deleted"]
    assert v1.customers.retrieve(customer.id).default_source is None
    with pytest.raises(stripe.InvalidRequestError):
        v1.customers.payment_sources.retrieve(customer.id, other.id)


@pytest.mark.parametrize(
    ("source", "code"), [("tok_none", "resource_missing"), ("tok_chargeDeclined", "card_declined")]
)
def test_source_that_is_none_is_refused(v1: Any, customer: str, source: str, code: str) -> None:
    with pytest.raises((stripe.InvalidRequestError, stripe.CardError)) as caught:
        v1.customers.payment_sources.create(customer, {"source": source})
    assert caught.value.code == code
    assert v1.customers.payment_sources.list(customer).data == []
