"""Portal configurations and sessions through the official client, checked against the schema."""

from __future__ import annotations

from typing import Any

import pytest
import stripe

from bursar_sandbox.running import Sandbox
from portal_shop import BACK, FEATURES, PlanShop


@pytest.fixture(scope="module")
def shop(checked_sandbox: Sandbox) -> PlanShop:
    return PlanShop(checked_sandbox.base_url)


@pytest.fixture
def customer(shop: PlanShop) -> str:
    return str(shop.v1.customers.create({"email": "ada@lovelace.example"}).id)


def refused(call: Any, params: dict[str, Any], *ids: str) -> stripe.InvalidRequestError:
    with pytest.raises(stripe.InvalidRequestError) as caught:
        call(*ids, params)
    return caught.value


def test_an_account_has_a_default_configuration_that_sessions_use(
    shop: PlanShop, customer: str
) -> None:
    (default,) = shop.v1.billing_portal.configurations.list({"is_default": True}).data
    assert default.active
    assert default.features.subscription_cancel.enabled
    assert default.features.subscription_cancel.mode == "at_period_end"
    assert default.features.invoice_history.enabled
    # Which plans there are, no account can know before its owner has said so.
    assert not default.features.subscription_update.enabled
    session = shop.v1.billing_portal.sessions.create({"customer": customer})
    assert session.configuration == default.id
    assert session.return_url is None
    again = shop.v1.billing_portal.configurations.retrieve(default.id)
    assert again.id == default.id


def test_a_configuration_has_the_features_that_were_asked_for(shop: PlanShop) -> None:
    made = shop.configuration()
    features = made.features
    assert features.subscription_update.default_allowed_updates == ["price", "quantity"]
    assert features.subscription_update.proration_behavior == "always_invoice"
    assert features.subscription_cancel.cancellation_reason.options[0] == "unused"
    assert not features.customer_update.enabled
    # The products are only shown to those who ask for them.
    assert "products" not in features.subscription_update
    shown = shop.v1.billing_portal.configurations.retrieve(
        made.id, {"expand": ["features.subscription_update.products"]}
    )
    products = shown.features.subscription_update.products
    assert [one.product for one in products] == [one["product"] for one in shop.products]
    assert products[0].prices == [shop.prices["Basic"], shop.prices["Basic year"]]
    assert products[2].adjustable_quantity.maximum == 50


def test_an_update_changes_what_it_names_and_nothing_else(shop: PlanShop) -> None:
    made = shop.configuration()
    changed = shop.v1.billing_portal.configurations.update(
        made.id,
        {
            "business_profile": {"headline": "Ada's plans"},
            "default_return_url": BACK,
            "features": {"subscription_cancel": {"enabled": True, "mode": "immediately"}},
            "metadata": {"shop": "1"},
        },
    )
    assert changed.business_profile.headline == "Ada's plans"
    assert changed.features.subscription_cancel.mode == "immediately"
    assert changed.features.subscription_cancel.cancellation_reason.enabled
    assert changed.features.subscription_update.enabled
    assert changed.default_return_url == BACK
    gone = shop.v1.billing_portal.configurations.update(made.id, {"active": False})
    assert not gone.active
    inactive = shop.v1.billing_portal.configurations.list({"active": False, "limit": 100}).data
    assert made.id in [one.id for one in inactive]
    kinds = [event.type for event in shop.v1.events.list({"limit": 3}).data]
    assert kinds == [
        "billing_portal.configuration.updated",
        "billing_portal.configuration.updated",
        "billing_portal.configuration.created",
    ]


def test_a_session_s_address_is_secret_and_an_event_tells_of_it(
    shop: PlanShop, customer: str
) -> None:
    made = shop.configuration()
    session = shop.v1.billing_portal.sessions.create(
        {"customer": customer, "configuration": made.id, "return_url": BACK, "locale": "auto"}
    )
    assert session.url.startswith(f"{shop.sandbox_url}/p/session/test_")
    assert session.id not in session.url
    assert (session.customer, session.configuration, session.flow) == (customer, made.id, None)
    event = shop.v1.events.list({"limit": 1}).data[0]
    assert event.type == "billing_portal.session.created"
    assert event.data.object["id"] == session.id
    whole = shop.v1.billing_portal.sessions.create(
        {"customer": customer, "configuration": made.id, "expand": ["configuration"]}
    )
    assert whole.configuration.id == made.id


def test_a_configuration_s_return_url_is_its_sessions_own(shop: PlanShop, customer: str) -> None:
    made = shop.v1.billing_portal.configurations.create(
        {"features": FEATURES, "default_return_url": BACK}
    )
    session = shop.v1.billing_portal.sessions.create(
        {"customer": customer, "configuration": made.id}
    )
    assert session.return_url == BACK


@pytest.mark.parametrize(
    ("features", "says", "param"),
    [
        ({"subscription_update": {"enabled": True}}, "Missing required param", None),
        ({"payment_method_update": {"enabled": False}}, "payment method update is disabled", None),
        (
            {"subscription_cancel": {"proration_behavior": "create_prorations"}},
            "immediately",
            "features[subscription_cancel][proration_behavior]",
        ),
        (
            {"subscription_cancel": {"mode": "soon"}},
            "must be one of",
            "features[subscription_cancel][mode]",
        ),
        ({"subscription_cancel": {"enabled": ""}}, "", None),
        (
            {"customer_update": {"enabled": True, "allowed_updates": ["shoe_size"]}},
            "must be one of",
            "features[customer_update][allowed_updates][0]",
        ),
        (
            {"subscription_pause": {"enabled": True}},
            "does not play",
            "features[subscription_pause][enabled]",
        ),
        ({"nonsense": {"enabled": True}}, "unknown parameter", "features[nonsense]"),
    ],
)
def test_features_that_can_not_be_are_refused_by_name(
    shop: PlanShop, features: dict[str, Any], says: str, param: str | None
) -> None:
    wanted: dict[str, Any] = {**FEATURES}
    wanted["subscription_update"] = {
        "enabled": True,
        "default_allowed_updates": ["price"],
        "products": shop.products,
    }
    if "subscription_update" in features:
        wanted |= features
    else:
        wanted |= {name: {**wanted.get(name, {}), **part} for name, part in features.items()}
    if features == {"subscription_cancel": {"enabled": ""}}:
        made = shop.v1.billing_portal.configurations.create({"features": wanted})
        assert not made.features.subscription_cancel.enabled
        return
    error = refused(shop.v1.billing_portal.configurations.create, {"features": wanted})
    assert says in str(error.user_message)
    assert param is None or error.param == param


def test_two_prices_of_one_product_need_different_intervals(shop: PlanShop) -> None:
    product = shop.products[1]["product"]
    other = shop.v1.prices.create(
        {
            "product": product,
            "currency": "usd",
            "unit_amount": 9900,
            "recurring": {"interval": "month"},
        }
    )
    same = {**shop.products[1], "prices": [*shop.products[1]["prices"], other.id]}
    strange = {**shop.products[0], "prices": [other.id]}
    for one, param in (
        (same, "features[subscription_update][products][0][prices]"),
        (strange, "features[subscription_update][products][0][prices][0]"),
    ):
        update = {"enabled": True, "default_allowed_updates": ["price"], "products": [one]}
        wanted = {**FEATURES, "subscription_update": update}
        error = refused(shop.v1.billing_portal.configurations.create, {"features": wanted})
        assert error.param == param


@pytest.mark.parametrize(
    ("change", "status", "param"),
    [
        ({"customer": None}, 400, "customer"),
        ({"customer": "cus_none"}, 400, "customer"),
        ({"configuration": "bpc_none"}, 400, "configuration"),
        ({"return_url": "shop"}, 400, "return_url"),
        ({"on_behalf_of": "acct_1"}, 400, "on_behalf_of"),
        ({"flow_data": {"type": "dance"}}, 400, "flow_data[type]"),
        ({"flow_data": {"type": "subscription_cancel"}}, 400, "flow_data[subscription_cancel]"),
        ({"nonsense": "1"}, 400, "nonsense"),
    ],
)
def test_a_session_that_can_not_be_is_refused_by_name(
    shop: PlanShop, customer: str, change: dict[str, Any], status: int, param: str
) -> None:
    wanted = {"customer": customer, "return_url": BACK, **change}
    wanted = {name: value for name, value in wanted.items() if value is not None}
    error = refused(shop.v1.billing_portal.sessions.create, wanted)
    assert (error.http_status, error.param) == (status, param)


def test_an_inactive_configuration_opens_nothing(shop: PlanShop, customer: str) -> None:
    made = shop.configuration()
    shop.v1.billing_portal.configurations.update(made.id, {"active": False})
    error = refused(
        shop.v1.billing_portal.sessions.create, {"customer": customer, "configuration": made.id}
    )
    assert error.param == "configuration"
    (default,) = shop.v1.billing_portal.configurations.list({"is_default": True}).data
    with pytest.raises(stripe.InvalidRequestError):
        shop.v1.billing_portal.configurations.update(default.id, {"active": False})


def test_a_flow_is_refused_in_stripe_s_words(shop: PlanShop) -> None:
    mine, others = shop.subscribed(), shop.subscribed()
    create = shop.v1.billing_portal.sessions.create
    item = mine["items"].data[0].id

    def ask(kind: str, **details: Any) -> str:
        asked = {"customer": mine.customer, "configuration": configuration.id}
        part = {"subscription": mine.id, **details}
        return str(refused(create, {**asked, "flow_data": {"type": kind, kind: part}}).user_message)

    configuration = shop.configuration()
    assert ask("subscription_cancel", subscription=others.id) == (
        f"No such subscription: '{others.id}'"
    )
    same = [{"id": item, "price": shop.prices["Basic"], "quantity": 1}]
    assert ask("subscription_update_confirm", items=same) == (
        "Cannot update the subscription because there are no changes to confirm."
    )
    shop.v1.subscriptions.update(mine.id, {"cancel_at_period_end": True})
    assert ask("subscription_cancel") == (
        f"The subscription `{mine.id}` is already set to be canceled at period end."
    )
    configuration = shop.v1.billing_portal.configurations.create({"features": FEATURES})
    assert ask("subscription_update") == (
        "This subscription cannot be updated because the subscription update feature in the portal "
        "configuration is disabled."
    )
