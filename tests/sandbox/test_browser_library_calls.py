"""The calls that a browser may make with a publishable key, and what it is shown."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from bursar_sandbox.running import Sandbox

PUBLISHABLE = "pk_test_bursar_tests"
CARD = {
    "payment_method_data[type]": "card",
    "payment_method_data[card][number]": "4242424242424242",
    "payment_method_data[card][exp_month]": "12",
    "payment_method_data[card][exp_year]": "2040",
    "payment_method_data[card][cvc]": "123",
}


@pytest.fixture
def browser(shared_sandbox: Sandbox) -> Any:
    """What a browser sends, from a page of another origin."""
    headers = {"Authorization": f"Bearer {PUBLISHABLE}", "Origin": "https://shop.example"}
    with httpx.Client(base_url=shared_sandbox.base_url, headers=headers) as client:
        yield client


@pytest.fixture
def intent(v1: Any) -> Any:
    """An intent over 20.00 usd that nobody confirmed."""
    return v1.payment_intents.create(
        {
            "amount": 2000,
            "currency": "usd",
            "payment_method_types": ["card"],
            "metadata": {"order": "7"},
            "description": "Three months",
        }
    )


def confirm(browser: httpx.Client, intent: Any, **fields: str) -> httpx.Response:
    card = {**CARD, "payment_method_data[card][number]": fields.pop("number", "4242424242424242")}
    data = {"client_secret": intent.client_secret, "use_stripe_sdk": "true", **card, **fields}
    return browser.post(f"/v1/payment_intents/{intent.id}/confirm", data=data)


def error_of(response: httpx.Response, status: int) -> dict[str, Any]:
    assert response.status_code == status, response.text
    error: dict[str, Any] = response.json()["error"]
    return error


def test_a_browser_confirms_with_the_intents_secret(
    browser: httpx.Client, intent: Any, v1: Any
) -> None:
    answer = confirm(browser, intent)
    assert answer.status_code == 200
    shown = answer.json()
    assert (shown["id"], shown["status"]) == (intent.id, "succeeded")
    assert v1.payment_intents.retrieve(intent.id).amount_received == 2000


def test_a_browser_sees_less_of_an_intent_than_its_seller(
    browser: httpx.Client, intent: Any
) -> None:
    params = {"client_secret": intent.client_secret}
    shown = browser.get(f"/v1/payment_intents/{intent.id}", params=params).json()
    assert (shown["amount"], shown["description"]) == (2000, "Three months")
    assert {"metadata", "customer", "latest_charge", "amount_received"} & set(shown) == set()
    refused = confirm(browser, intent, number="4000000000000002")
    told = error_of(refused, 402)["payment_intent"]
    assert told["status"] == "requires_payment_method"
    assert "metadata" not in told


@pytest.mark.parametrize(
    ("number", "code", "decline_code"),
    [
        ("4000000000000002", "card_declined", "generic_decline"),
        ("4000000000009995", "card_declined", "insufficient_funds"),
        ("4000000000000069", "expired_card", "expired_card"),
    ],
)
def test_a_decline_reads_as_the_real_ones_do(
    browser: httpx.Client, intent: Any, number: str, code: str, decline_code: str
) -> None:
    error = error_of(confirm(browser, intent, number=number), 402)
    assert (error["type"], error["code"]) == ("card_error", code)
    assert error["decline_code"] == decline_code
    assert error["message"]
    assert error["payment_intent"]["id"] == intent.id


def test_the_banks_page_is_left_to_the_library(browser: httpx.Client, intent: Any) -> None:
    shown = confirm(browser, intent, number="4000002760003184").json()
    assert shown["status"] == "requires_action"
    action = shown["next_action"]
    assert action["type"] == "use_stripe_sdk"
    assert action["use_stripe_sdk"]["stripe_js"].endswith(f"/c/bank/{intent.id}")


def test_automatic_methods_need_no_return_address_from_the_library(
    browser: httpx.Client, v1: Any
) -> None:
    intent = v1.payment_intents.create({"amount": 2000, "currency": "usd"})
    assert confirm(browser, intent).json()["status"] == "succeeded"


@pytest.mark.parametrize(
    ("secret", "code"),
    [
        ("", "parameter_missing"),
        ("{id}_secret_guessed", "payment_intent_invalid_parameter"),
    ],
)
def test_without_the_intents_secret_nothing_is_done_or_shown(
    browser: httpx.Client, intent: Any, v1: Any, secret: str, code: str
) -> None:
    guessed = secret.format(id=intent.id)
    for answer in (
        confirm(browser, intent, client_secret=guessed),
        browser.get(f"/v1/payment_intents/{intent.id}", params={"client_secret": guessed}),
    ):
        error = error_of(answer, 400)
        assert (error["type"], error["code"]) == ("invalid_request_error", code)
        assert error["param"] == "client_secret"
    assert v1.payment_intents.retrieve(intent.id).status == "requires_payment_method"


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/v1/payment_intents"),
        ("POST", "/v1/payment_intents"),
        ("GET", "/v1/customers"),
        ("POST", "/v1/refunds"),
        ("GET", "/v1/events"),
        ("GET", "/v1/balance"),
        ("GET", "/v1/payment_methods"),
    ],
)
def test_a_publishable_key_opens_nothing_else(
    browser: httpx.Client, method: str, path: str
) -> None:
    error = error_of(browser.request(method, path), 401)
    assert error["code"] == "secret_key_required"
    assert "publishable API key" in error["message"]


def test_a_seller_may_not_send_the_browsers_parameters(
    intent: Any, shared_sandbox: Sandbox
) -> None:
    answer = httpx.post(
        f"{shared_sandbox.base_url}/v1/payment_intents/{intent.id}/confirm",
        headers={"Authorization": "Bearer sk_test_bursar_tests"},
        data={"client_secret": intent.client_secret, "payment_method": "pm_card_visa"},
    )
    assert error_of(answer, 400)["code"] == "parameter_unknown"


def test_a_browser_makes_a_payment_method(browser: httpx.Client) -> None:
    card = {
        name.removeprefix("payment_method_data[").replace("]", "", 1): value
        for name, value in CARD.items()
    }
    made = browser.post("/v1/payment_methods", data=card).json()
    assert (made["object"], made["card"]["last4"]) == ("payment_method", "4242")


def test_pages_of_any_origin_may_call(browser: httpx.Client, intent: Any) -> None:
    asked = browser.options(
        f"/v1/payment_intents/{intent.id}/confirm",
        headers={
            "Access-Control-Request-Method": "POST",
            "Access-Control-Request-Headers": "authorization",
        },
    )
    assert asked.status_code == 200
    assert asked.headers["access-control-allow-origin"] == "*"
    assert "authorization" in asked.headers["access-control-allow-headers"]
    assert confirm(browser, intent).headers["access-control-allow-origin"] == "*"


def test_the_library_and_its_frame_are_served(shared_sandbox: Sandbox) -> None:
    for path in ("/v3/", "/stripe.js"):
        script = httpx.get(shared_sandbox.base_url + path)
        assert script.headers["content-type"].startswith("text/javascript")
        assert "window.Stripe" in script.text
    frame = httpx.get(f"{shared_sandbox.base_url}/v3/card")
    policy = frame.headers["content-security-policy"]
    assert "frame-ancestors http: https:" in policy
    assert "connect-src 'self'" in policy
    assert httpx.get(f"{shared_sandbox.base_url}/v3/static/card.html").status_code == 404


def test_the_bank_stands_in_a_frame_only_when_it_is_asked_to(
    browser: httpx.Client, intent: Any
) -> None:
    confirm(browser, intent, number="4000002760003184")
    alone = browser.get(f"/c/bank/{intent.id}")
    assert "frame-ancestors 'none'" in alone.headers["content-security-policy"]
    assert "bank.js" not in alone.text
    framed = browser.get(f"/c/bank/{intent.id}?frame=1")
    assert "frame-ancestors http: https:" in framed.headers["content-security-policy"]
    assert "bank.js" in framed.text
