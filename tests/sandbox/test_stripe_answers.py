"""Every answer and every webhook of a tour through the sandbox, held against Stripe's own types."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
import stripe

from bursar_sandbox.running import Sandbox
from hosted_page_shop import answer_bank
from stripe_receiver import Receiver
from stripe_schema import recorded, schema_or_skip
from stripe_shop import card, confirm_page, iban, open_session, pay_intent

pytestmark = pytest.mark.npm

DECLINED = (
    "pm_card_chargeDeclined",
    "pm_card_chargeDeclinedInsufficientFunds",
    "pm_card_chargeDeclinedExpiredCard",
    "pm_card_chargeDeclinedIncorrectCvc",
    "pm_card_chargeDeclinedProcessingError",
    "pm_card_chargeCustomerFail",
)


def tour(client: Any, base_url: str) -> None:
    """Call everything that the sandbox has, in as many states as there are."""
    _catalog(client.v1)
    _customers(client.v1)
    _intents(client.v1)
    _refunds(client.v1)
    _sessions(client, base_url)
    _rest(client)


def _catalog(v1: Any) -> None:
    product = v1.products.create(
        {
            "name": "Pro",
            "package_dimensions": {"height": 1, "length": 2, "weight": 3.5, "width": 4},
            "shippable": True,
            "tax_details": {"tax_code": "txcd_10000000"},
            "default_price_data": {"currency": "usd", "unit_amount": 1000},
            "expand": ["default_price"],
        }
    )
    v1.products.update(product.id, {"description": "More"})
    price = v1.prices.create(
        {
            "product": product.id,
            "currency": "usd",
            "billing_scheme": "tiered",
            "tiers_mode": "graduated",
            "tiers": [{"up_to": 5, "flat_amount": 100}, {"up_to": "inf", "unit_amount": 5}],
            "recurring": {"interval": "year", "usage_type": "licensed"},
            "expand": ["tiers", "product"],
        }
    )
    v1.prices.create(
        {
            "product": product.id,
            "currency": "usd",
            "custom_unit_amount": {"enabled": True, "preset": 500},
            "currency_options": {"eur": {"unit_amount": 400}},
            "transform_quantity": {"divide_by": 10, "round": "up"},
            "expand": ["currency_options"],
        }
    )
    v1.prices.update(price.id, {"nickname": "n"})
    v1.prices.list({"product": product.id, "expand": ["data.product"]})
    v1.products.delete(v1.products.create({"name": "Gone"}).id)
    v1.products.list({"active": True})


def _customers(v1: Any) -> None:
    customer = v1.customers.create(
        {
            "email": "ada@example.com",
            "address": {"line1": "1 Street"},
            "shipping": {"name": "Ada", "address": {"line1": "1 Street"}},
            "expand": ["sources", "subscriptions", "tax", "tax_ids"],
        }
    )
    v1.customers.update(customer.id, {"name": "Ada"})
    method = v1.payment_methods.attach("pm_card_amex", {"customer": customer.id})
    v1.payment_methods.update(method.id, {"metadata": {"a": "b"}})
    v1.customers.payment_methods.list(customer.id)
    debit = iban(v1, "DE89370400440532013000")
    v1.payment_methods.attach(debit.id, {"customer": customer.id})
    v1.payment_methods.detach(method.id, {"expand": ["customer"]})
    v1.customers.delete(customer.id)
    v1.customers.retrieve(customer.id)
    v1.payment_methods.retrieve(method.id)


def _intents(v1: Any) -> None:
    customer = v1.customers.create({"email": "ada@example.com"}).id
    every = ["latest_charge.balance_transaction", "latest_charge.refunds", "payment_method"]
    paid = pay_intent(v1, customer=customer, setup_future_usage="off_session", expand=every)
    v1.charges.update(paid.latest_charge.id, {"fraud_details": {"user_report": "safe"}})
    v1.charges.list({"customer": customer, "expand": ["data.payment_intent"]})
    v1.balance_transactions.list({"expand": ["data.source"]})
    for method in DECLINED:
        with contextlib.suppress(stripe.CardError):
            pay_intent(v1, method)
    held = pay_intent(v1, capture_method="manual")
    v1.payment_intents.capture(held.id, {"amount_to_capture": 500})
    v1.payment_intents.cancel(pay_intent(v1, capture_method="manual").id)
    pay_intent(v1, "pm_card_threeDSecure2Required")
    pay_intent(v1, "pm_card_threeDSecure2Required", return_url="", payment_method_types=["card"])
    open_one = v1.payment_intents.create({"amount": 500, "currency": "eur"})
    v1.payment_intents.update(open_one.id, {"payment_method": "pm_card_visa"})
    shipping = {"name": "Ada", "address": {"line1": "1 Street", "country": "GB"}}
    v1.payment_intents.update(open_one.id, {"shipping": shipping, "receipt_email": "a@example.com"})
    debit = iban(v1, "DE62370400440532013001").id
    pay_intent(v1, debit, currency="eur", payment_method_types=["sepa_debit"])
    v1.payment_intents.list({"expand": ["data.customer"]})
    for number in ("4000002760003184", "4000008400001629"):
        for answer in ("confirm", "refuse"):
            asked = pay_intent(v1, card(v1, number).id)
            answer_bank(asked.next_action.redirect_to_url.url, answer)
            v1.payment_intents.retrieve(asked.id, {"expand": ["latest_charge"]})


def _refunds(v1: Any) -> None:
    every = ["charge.refunds", "balance_transaction.source", "payment_intent", "payment_method"]
    for number in ("4242424242424242", "4000000000007726", "4000000000005126"):
        paid = pay_intent(v1, card(v1, number).id)
        given = v1.refunds.create({"payment_intent": paid.id, "amount": 100, "expand": every})
        v1.refunds.update(given.id, {"metadata": {"a": "b"}})
        v1.refunds.create({"charge": paid.latest_charge, "reason": "fraudulent"})
        with contextlib.suppress(stripe.InvalidRequestError):
            v1.refunds.create({"charge": paid.latest_charge})
    v1.refunds.list({"expand": ["data.charge"]})


def _sessions(client: Any, base_url: str) -> None:
    v1 = client.v1
    every = ["line_items.data.price.product", "payment_intent", "customer"]
    first = open_session(
        v1,
        automatic_tax={"enabled": True},
        after_expiration={"recovery": {"enabled": True}},
        consent_collection={"promotions": "auto"},
        custom_fields=[
            {"key": "a", "label": {"type": "custom", "custom": "A"}, "type": "numeric"},
            {
                "key": "b",
                "label": {"type": "custom", "custom": "B"},
                "type": "dropdown",
                "dropdown": {"options": [{"label": "One", "value": "1"}]},
            },
        ],
        custom_text={"submit": {"message": "Thanks"}},
        customer_creation="always",
        invoice_creation={"enabled": True},
        saved_payment_method_options={"payment_method_save": "enabled"},
        shipping_address_collection={"allowed_countries": ["DE"]},
        tax_id_collection={"enabled": True},
        expand=[*every, "total_details.breakdown"],
    )
    with contextlib.suppress(stripe.CardError):
        confirm_page(client, first, card(v1, "4000000000000002"))
    confirm_page(client, first, card(v1))
    v1.checkout.sessions.retrieve(first.id, {"expand": every})
    held = open_session(v1, payment_method_options={"card": {"capture_method": "manual"}})
    confirm_page(client, held, card(v1))
    for number in ("DE89370400440532013000", "DE62370400440532013001"):
        debit = open_session(v1, unit_currency="eur", payment_method_types=["sepa_debit"])
        confirm_page(client, debit, iban(v1, number))
    v1.checkout.sessions.expire(open_session(v1, quantity=1).id)
    open_session(v1)
    httpx.post(f"{base_url}/_sandbox/clock", json={"advance": 25 * 3600})
    v1.checkout.sessions.list({"expand": ["data.line_items", "data.payment_intent"]})
    v1.checkout.sessions.line_items.list(first.id)


def _rest(client: Any) -> None:
    v1 = client.v1
    client.raw_request("get", "/v1/account")
    endpoint = v1.webhook_endpoints.create({"url": "http://127.0.0.1:1/x", "enabled_events": ["*"]})
    v1.webhook_endpoints.update(endpoint.id, {"disabled": True})
    v1.webhook_endpoints.list()
    v1.webhook_endpoints.delete(endpoint.id)
    v1.events.list({"limit": 100})
    for wrong in ({}, {"name": ""}, {"name": "x", "nonsense": "1"}):
        with contextlib.suppress(stripe.InvalidRequestError):
            v1.products.create(wrong)
    with contextlib.suppress(stripe.InvalidRequestError):
        v1.customers.retrieve("cus_none")
    with contextlib.suppress(stripe.IdempotencyError):
        for name in ("Ada", "Bea"):
            v1.customers.create({"name": name}, {"idempotency_key": "tour"})


def test_every_answer_and_webhook_fits_stripes_own_types(
    start: Callable[..., Sandbox],
    client_for: Callable[[Sandbox], Any],
    receiver: Receiver,
    tmp_path: Path,
) -> None:
    schema = schema_or_skip()
    record = tmp_path / "record.jsonl"
    sandbox = start(record=record, webhook=(receiver.url, receiver.secret))
    tour(client_for(sandbox), sandbox.base_url)
    receiver.wait_for_type("checkout.session.async_payment_failed")
    receiver.wait_for(lambda one: one.types.count("checkout.session.expired") == 2)
    receiver.wait_for(lambda one: one.types.count("refund.failed") == 2)
    assert recorded.problems(record, schema) == []
    lines = record.read_text("utf-8").count('"kind":')
    assert lines > 150, "the tour was cut short"
