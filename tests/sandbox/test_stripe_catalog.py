"""Products and prices, through the official client."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
import stripe


def test_product_is_created_changed_and_read_back(v1: Any) -> None:
    product = v1.products.create(
        {
            "name": "Pro",
            "description": "Everything",
            "images": ["https://shop.example/a.png"],
            "marketing_features": [{"name": "Fast"}, {"name": "Safe"}],
            "metadata": {"sku": "p1", "tier": "2"},
        }
    )
    v1.products.update(
        product.id, {"name": "Pro+", "description": "", "metadata": {"tier": "", "new": "x"}}
    )
    found = v1.products.retrieve(product.id)
    assert found.name == "Pro+"
    assert found.description is None
    assert found.metadata.to_dict() == {"sku": "p1", "new": "x"}
    assert [feature.name for feature in found.marketing_features] == ["Fast", "Safe"]


def test_metadata_is_cleared_by_an_empty_string(v1: Any) -> None:
    product = v1.products.create({"name": "Pro", "metadata": {"a": "1"}})
    assert v1.products.update(product.id, {"metadata": ""}).metadata.to_dict() == {}


@pytest.mark.parametrize(
    "metadata",
    [
        {f"key{n}": "x" for n in range(51)},
        {"k" * 41: "x"},
        {"key": "v" * 501},
    ],
    ids=["keys", "key", "value"],
)
def test_metadata_beyond_its_limits_is_refused(v1: Any, metadata: dict[str, str]) -> None:
    with pytest.raises(stripe.InvalidRequestError) as caught:
        v1.products.create({"name": "Pro", "metadata": metadata})
    assert caught.value.http_status == 400


def test_product_without_a_name_is_refused_by_that_name(v1: Any) -> None:
    with pytest.raises(stripe.InvalidRequestError) as missing:
        v1.products.create({})
    assert (missing.value.code, missing.value.param) == ("parameter_missing", "name")
    with pytest.raises(stripe.InvalidRequestError) as empty:
        v1.products.create({"name": ""})
    assert (empty.value.code, empty.value.param) == ("parameter_invalid_empty", "name")


def test_default_price_comes_with_its_product(v1: Any) -> None:
    product = v1.products.create(
        {
            "name": "Pro",
            "default_price_data": {
                "currency": "eur",
                "unit_amount": 900,
                "recurring": {"interval": "month"},
            },
            "expand": ["default_price"],
        }
    )
    assert product.default_price.product == product.id
    assert product.default_price.recurring.interval == "month"
    assert product.default_price.type == "recurring"


def test_product_with_prices_stays_and_one_without_can_go(v1: Any) -> None:
    product = v1.products.create({"name": "Pro"})
    lone = v1.products.create({"name": "Alone"})
    v1.prices.create({"product": product.id, "currency": "usd", "unit_amount": 100})
    with pytest.raises(stripe.InvalidRequestError):
        v1.products.delete(product.id)
    assert v1.products.delete(lone.id).deleted is True
    with pytest.raises(stripe.InvalidRequestError) as caught:
        v1.products.retrieve(lone.id)
    assert caught.value.http_status == 404


def test_price_of_a_product_made_on_the_way(v1: Any) -> None:
    price = v1.prices.create(
        {
            "currency": "USD",
            "product_data": {"name": "Made here"},
            "unit_amount_decimal": "0.5",
            "nickname": "half a cent",
            "expand": ["product"],
        }
    )
    assert price.product.name == "Made here"
    assert price.currency == "usd"
    assert price.unit_amount is None
    assert price.unit_amount_decimal == Decimal("0.5")


def test_price_without_amount_currency_or_product_is_refused(v1: Any) -> None:
    product = v1.products.create({"name": "Pro"}).id
    for params, param in [
        ({"product": product, "unit_amount": 100}, "currency"),
        ({"product": product, "currency": "usd"}, "unit_amount"),
        ({"unit_amount": 100, "currency": "usd"}, "product"),
    ]:
        with pytest.raises(stripe.InvalidRequestError) as caught:
            v1.prices.create(params)
        assert (caught.value.code, caught.value.param) == ("parameter_missing", param)


@pytest.mark.parametrize(
    ("change", "param"),
    [
        ({"currency": "xyz"}, "currency"),
        ({"unit_amount": -1}, "unit_amount"),
        ({"unit_amount": "12.5"}, "unit_amount"),
        ({"recurring": {"interval": "fortnight"}}, "recurring[interval]"),
        ({"unit_amount_decimal": "2"}, "unit_amount"),
        ({"product": "prod_none"}, "product"),
    ],
)
def test_price_with_a_wrong_value_is_refused_by_name(
    v1: Any, change: dict[str, Any], param: str
) -> None:
    product = v1.products.create({"name": "Pro"}).id
    with pytest.raises(stripe.InvalidRequestError) as caught:
        v1.prices.create({"product": product, "currency": "usd", "unit_amount": 100, **change})
    assert caught.value.http_status == 400
    assert caught.value.param == param


def test_lookup_key_is_one_prices_until_it_is_transferred(v1: Any) -> None:
    product = v1.products.create({"name": "Pro"}).id
    params = {"product": product, "currency": "usd", "unit_amount": 100}
    key = f"key-{product}"
    first = v1.prices.create({**params, "lookup_key": key})
    with pytest.raises(stripe.InvalidRequestError) as caught:
        v1.prices.create({**params, "lookup_key": key})
    assert caught.value.param == "lookup_key"
    second = v1.prices.create({**params, "lookup_key": key, "transfer_lookup_key": True})
    assert v1.prices.retrieve(first.id).lookup_key is None
    found = v1.prices.list({"lookup_keys": [key, "another"]})
    assert [price.id for price in found.data] == [second.id]


def test_prices_are_listed_by_product_activity_and_currency(v1: Any) -> None:
    product = v1.products.create({"name": "Pro"}).id
    dollars = v1.prices.create({"product": product, "currency": "usd", "unit_amount": 100})
    euros = v1.prices.create({"product": product, "currency": "eur", "unit_amount": 90})
    v1.prices.update(euros.id, {"active": False, "nickname": "old"})

    def listed(**filters: Any) -> list[str]:
        return [price.id for price in v1.prices.list({"product": product, **filters}).data]

    assert listed() == [euros.id, dollars.id]
    assert listed(active=True) == [dollars.id]
    assert listed(active=False) == [euros.id]
    assert listed(currency="eur") == [euros.id]
    assert listed(recurring={"interval": "month"}) == []


def test_currency_options_and_tiers_show_only_when_expanded(v1: Any) -> None:
    product = v1.products.create({"name": "Pro"}).id
    price = v1.prices.create(
        {
            "product": product,
            "currency": "usd",
            "billing_scheme": "tiered",
            "tiers_mode": "volume",
            "tiers": [{"up_to": 10, "unit_amount": 100}, {"up_to": "inf", "unit_amount": 80}],
            "recurring": {"interval": "month"},
            "currency_options": {"eur": {"unit_amount": 90}},
        }
    )
    assert "tiers" not in price
    found = v1.prices.retrieve(price.id, {"expand": ["tiers", "currency_options"]})
    assert [tier.up_to for tier in found.tiers] == [10, None]
    assert found.currency_options["eur"].unit_amount == 90
