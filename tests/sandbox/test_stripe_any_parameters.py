"""Whatever is sent, the API answers; it never makes a mistake of its own."""

from __future__ import annotations

from urllib.parse import urlencode

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bursar_sandbox.running import Sandbox

BASES: dict[str, list[tuple[str, str]]] = {
    "/v1/products": [("name", "Pro")],
    "/v1/prices": [("currency", "usd"), ("unit_amount", "900"), ("product_data[name]", "Pro")],
    "/v1/customers": [],
    "/v1/payment_methods": [("type", "card"), ("card[token]", "tok_visa")],
    "/v1/payment_intents": [("amount", "900"), ("currency", "eur")],
    "/v1/refunds": [],
    "/v1/coupons": [("percent_off", "10")],
    "/v1/promotion_codes": [("promotion[type]", "coupon"), ("promotion[coupon]", "WELCOME10")],
    "/v1/tax_rates": [("display_name", "VAT"), ("inclusive", "true"), ("percentage", "19")],
    "/v1/checkout/sessions": [
        ("mode", "payment"),
        ("success_url", "https://shop.example"),
        ("line_items[0][price_data][currency]", "usd"),
        ("line_items[0][price_data][unit_amount]", "900"),
        ("line_items[0][price_data][product_data][name]", "Pro"),
        ("line_items[0][quantity]", "1"),
    ],
    "/v1/webhook_endpoints": [("url", "https://shop.example"), ("enabled_events[]", "a.b")],
}
NAMES = st.sampled_from(
    "active address allow_promotion_codes amount amount_off applies_to automatic_tax "
    "billing_details capture_method card charge code confirm coupon currency currency_options "
    "custom_fields custom_text custom_unit_amount customer default_price_data description "
    "discounts duration duration_in_months email enabled_events expand expires_at id images "
    "inclusive invoice_settings line_items max_redemptions metadata mode name payment_intent "
    "payment_intent_data payment_method payment_method_data payment_method_options "
    "payment_method_types percent_off percentage product_data promotion quantity recurring "
    "redeem_by restrictions sepa_debit shipping tax_rates tiers transform_quantity type "
    "unit_amount unit_amount_decimal url us_bank_account".split()
)
PARTS = st.sampled_from(
    ["", "0", "1", "a", "card", "currency", "enabled", "interval", "name", "number", "price"]
)
VALUES = st.one_of(
    st.sampled_from(["", "0", "-1", "1", "true", "usd", "card", "inf", "NaN", "month", "9" * 30]),
    st.text(max_size=12),
)
FIELDS = st.tuples(NAMES, st.lists(PARTS, max_size=3), VALUES)


@pytest.fixture(scope="module", autouse=True)
def a_coupon(shared_sandbox: Sandbox) -> None:
    """The coupon that the promotion codes are for."""
    httpx.post(
        f"{shared_sandbox.base_url}/v1/coupons",
        data={"id": "WELCOME10", "percent_off": "10"},
        auth=("sk_test_bursar_tests", ""),
    ).raise_for_status()


@pytest.mark.parametrize("path", BASES)
@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(fields=st.lists(FIELDS, min_size=1, max_size=3))
def test_any_parameters_are_taken_or_refused(
    shared_sandbox: Sandbox, path: str, fields: list[tuple[str, list[str], str]]
) -> None:
    pairs = [
        (name + "".join(f"[{part}]" for part in parts), value) for name, parts, value in fields
    ]
    answer = httpx.post(
        shared_sandbox.base_url + path,
        content=urlencode(pairs, errors="replace"),
        auth=("sk_test_bursar_tests", ""),
    )
    assert answer.status_code in (200, 400, 402), answer.text
