"""The hosted page over plain HTTP, as a browser without script uses it."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from bursar_sandbox.running import Sandbox
from hosted_page_shop import FORM, Shop, advance, at_bank, open_shop, post


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with Sandbox() as running:
        yield running


@pytest.fixture
def shop(sandbox: Sandbox) -> Iterator[Shop]:
    with open_shop(sandbox.base_url) as shop:
        yield shop


def text_of(answer: httpx.Response) -> str:
    return html.unescape(answer.text)


def test_the_page_shows_the_order_and_asks_for_a_card(shop: Shop) -> None:
    page = httpx.get(shop.sell().url)
    assert page.status_code == 200
    assert page.headers["cache-control"] == "no-store"
    for words in ("Ink, black", "2 × $15.00", "$30.00", "Subtotal", "Tax", "$45.00", "Paper"):
        assert words in text_of(page)
    for name in FORM:
        assert f'name="{name}"' in page.text
    assert f'href="{shop.url}/basket"' in page.text
    assert "Sandbox: plays Stripe." in page.text


def test_the_policy_allows_nothing_inline_and_the_way_back(shop: Shop) -> None:
    page = httpx.get(shop.sell().url)
    policy = page.headers["content-security-policy"]
    assert f"form-action 'self' {shop.url};" in policy
    assert "unsafe" not in policy
    assert "style=" not in page.text
    assert "<style" not in page.text


def test_a_posted_card_pays_and_leads_to_the_shop(shop: Shop) -> None:
    sold = shop.sell()
    answer = post(sold.url)
    assert answer.status_code == 303
    assert answer.headers["location"] == f"{shop.url}/thanks?session={sold.id}"
    session = shop.session(sold.id)
    assert (session.status, session.payment_status) == ("complete", "paid")
    details = session.customer_details
    assert (details.email, details.name) == (FORM["email"], FORM["name"])
    assert (details.address.country, details.address.postal_code) == ("GB", "SW1A 1AA")
    (charge,) = shop.charges(sold.id)
    assert (charge.amount, charge.paid) == (4500, True)


def test_the_buyer_comes_back_after_the_shop_has_answered(shop: Shop) -> None:
    shop.webhook_delay_seconds = 0.2
    with shop.hearing_webhooks():
        sold = shop.sell()
        answer = post(sold.url)
        httpx.get(answer.headers["location"])
    assert "event checkout.session.completed" in shop.arrivals
    assert shop.arrivals[-1] == f"buyer /thanks?session={sold.id}"


@pytest.mark.parametrize(
    ("number", "says"),
    [
        ("4000 0000 0000 0002", "Your bank declined the payment and gave no reason."),
        ("4000 0000 0000 9995", "Your card does not have enough money for this payment."),
        ("4000 0000 0000 0069", "This card has expired."),
        ("4000 0000 0000 0127", "The security code is not right."),
        ("4000 0000 0000 0119", "Your bank could not process the payment."),
        ("4000 0000 0000 9987", "Your bank declined the payment and gave no reason."),
    ],
)
def test_a_decline_says_not_charged_and_keeps_every_value(
    shop: Shop, number: str, says: str
) -> None:
    sold = shop.sell()
    answer = post(sold.url, card_number=number)
    assert answer.status_code == 402
    told = text_of(answer)
    assert "There is a problem" in told
    assert f"{says} You were not charged." in told
    assert "<title>Error: " in told
    for name, value in {**FORM, "card_number": number}.items():
        if name != "country":
            assert f'name="{name}"' in told
            assert f'value="{value}"' in told
    assert '<option value="GB" selected>' in told
    assert shop.session(sold.id).payment_status == "unpaid"
    assert not any(charge.paid for charge in shop.charges(sold.id))


def test_another_card_after_a_decline_pays_the_same_intent(shop: Shop) -> None:
    sold = shop.sell()
    post(sold.url, card_number="4000000000000002")
    assert post(sold.url, card_number="5555-5555-5555-4444").status_code == 303
    assert sorted(charge.paid for charge in shop.charges(sold.id)) == [False, True]
    assert len({charge.payment_intent for charge in shop.charges(sold.id)}) == 1


@pytest.mark.parametrize(
    "wish",
    [
        {},
        {"customer_creation": "always"},
        {"payment_intent_data": {"capture_method": "manual"}},
        {"payment_intent_data": {"setup_future_usage": "off_session"}},
    ],
    ids=["plain", "customer", "held", "kept"],
)
def test_the_page_announces_what_is_sent_in_order(shop: Shop, wish: dict[str, object]) -> None:
    sold = shop.sell(**wish)
    groups = re.findall(r"<dt>(.+?)</dt>(.+?)</div>", httpx.get(sold.url).text, re.S)
    accepted, declined, asked, left = (
        re.findall(r"<code>(.+?)</code>", listed) for _, listed in groups
    )
    assert shop.events_of(lambda: post(sold.url)) == accepted
    sold = shop.sell(**wish)
    assert shop.events_of(lambda: post(sold.url, card_number="4000000000000002")) == declined
    sold = shop.sell(**wish)
    assert shop.events_of(lambda: at_bank(sold, "refuse")) == asked
    assert left == ["checkout.session.expired"]


def test_wrong_fields_are_named_and_the_bank_is_not_asked(shop: Shop) -> None:
    sold = shop.sell()
    answer = post(sold.url, card_number="4242 4242 4242 4241", expiry="01 / 20", email="ada")
    assert answer.status_code == 422
    told = text_of(answer)
    for name in ("email", "card_number", "expiry"):
        assert f'<a href="#{name}">' in told
        assert f'aria-describedby="{name}-hint {name}-problem"' in told or (
            f'aria-describedby="{name}-problem"' in told
        )
    assert told.count('aria-invalid="true"') == 3
    assert "You were not charged." in told
    assert 'value="4242 4242 4242 4241"' in told
    assert shop.charges(sold.id) == []


def test_pressing_twice_pays_once(shop: Shop) -> None:
    shop.webhook_delay_seconds = 0.2
    sold = shop.sell()
    with shop.hearing_webhooks(), ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda _: post(sold.url), range(4)))
    assert {answer.status_code for answer in answers} == {303}
    assert len({answer.headers["location"] for answer in answers}) == 1
    assert len(shop.charges(sold.id)) == 1


def test_a_paid_session_says_so_and_leads_back(shop: Shop) -> None:
    sold = shop.sell()
    post(sold.url)
    page = httpx.get(sold.url)
    assert page.status_code == 200
    assert "This order is paid" in page.text
    assert f"{shop.url}/thanks?session={sold.id}" in page.text
    assert "<form" not in page.text
    assert "This order is paid" in post(sold.url, card_number="").text


def test_an_expired_session_takes_no_money(shop: Shop) -> None:
    sold = shop.sell()
    shop.client.v1.checkout.sessions.expire(sold.id)
    for answer in (httpx.get(sold.url), post(sold.url)):
        assert answer.status_code == 410
        assert "You were not charged" in answer.text
        assert f'href="{shop.url}/basket"' in answer.text
    assert shop.charges(sold.id) == []


def test_a_session_that_lapsed_by_the_clock_is_expired(shop: Shop) -> None:
    sold = shop.sell()
    advance(shop.sandbox_url, 25 * 3600)
    assert post(sold.url).status_code == 410
    assert httpx.get(sold.url).status_code == 410


@pytest.mark.parametrize("name", ["cs_test_unknown", "cs_%00", "%FF%FE", "prod_1", "%3Cscript%3E"])
def test_an_unknown_session_is_not_found(shop: Shop, name: str) -> None:
    for answer in (
        httpx.get(f"{shop.sandbox_url}/c/pay/{name}"),
        post(f"{shop.sandbox_url}/c/pay/{name}"),
    ):
        assert answer.status_code == 404
        assert "There is no such payment page" in answer.text


def test_another_objects_id_is_no_session(shop: Shop) -> None:
    customer = shop.client.v1.customers.create({"email": "ada@lovelace.example"})
    assert httpx.get(f"{shop.sandbox_url}/c/pay/{customer.id}").status_code == 404


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\xff\xfe\x00",
        b"%",
        b"email=%00%FF&card_number=%ED%A0%80",
        b"card_number=" + "٤".encode() * 16,
        b"country=" + b"X" * 5000,
        b"email[]=a&email=" + b"<script>",
    ],
)
def test_no_body_breaks_the_page(shop: Shop, body: bytes) -> None:
    answer = httpx.post(
        shop.sell().url,
        content=body,
        headers={"content-type": "application/x-www-form-urlencoded"},
    )
    assert answer.status_code == 422
    assert "<script>" not in answer.text


@pytest.mark.parametrize("body", [b"name=" + b"x" * 70_000, b"&".join([b"name=x"] * 60)])
def test_a_body_that_is_no_form_of_ours_is_refused(shop: Shop, body: bytes) -> None:
    answer = httpx.post(shop.sell().url, content=body)
    assert answer.status_code == 413
    assert "You were not charged" in answer.text


def test_an_email_that_the_shop_named_is_not_the_buyers_to_change(shop: Shop) -> None:
    sold = shop.sell(customer_email="grace@hopper.example")
    page = httpx.get(sold.url)
    assert 'value="grace@hopper.example"' in page.text
    assert " readonly" in page.text
    assert post(sold.url, email="mallory@elsewhere.example").status_code == 303
    assert shop.session(sold.id).customer_details.email == "grace@hopper.example"


def test_the_address_of_the_sessions_customer_is_filled_in(shop: Shop) -> None:
    customer = shop.client.v1.customers.create({"email": "grace@hopper.example"})
    page = httpx.get(shop.sell(customer=customer.id).url)
    assert 'value="grace@hopper.example"' in page.text


def test_names_from_the_shop_are_text_and_never_markup(shop: Shop) -> None:
    data = {"currency": "usd", "unit_amount": 500, "product_data": {"name": "<b>Bold</b> & co"}}
    page = httpx.get(shop.sell(line_items=[{"price_data": data, "quantity": 1}]).url)
    assert "&lt;b&gt;Bold&lt;/b&gt; &amp; co" in page.text


def test_a_card_that_is_only_held_is_not_called_charged(shop: Shop) -> None:
    sold = shop.sell(payment_intent_data={"capture_method": "manual"})
    page = httpx.get(sold.url)
    assert "Your card shows a hold of $45.00" in page.text
    assert "payment_intent.amount_capturable_updated" in page.text
    assert post(sold.url).status_code == 303
    assert "Your card shows a hold of" in httpx.get(sold.url).text


def test_an_order_that_costs_nothing_asks_for_no_card(shop: Shop) -> None:
    data = {"currency": "usd", "unit_amount": 0, "product_data": {"name": "Trial ink"}}
    sold = shop.sell(line_items=[{"price_data": data, "quantity": 1}])
    page = httpx.get(sold.url)
    assert "Place order" in page.text
    assert 'name="card_number"' not in page.text
    assert post(sold.url, name="", card_number="").status_code == 422
    assert post(sold.url, card_number="", expiry="", security_code="").status_code == 303
    assert shop.session(sold.id).payment_status == "no_payment_required"
    assert "This order is placed" in httpx.get(sold.url).text


def test_an_address_mistyped_before_a_decline_can_be_mended(shop: Shop) -> None:
    sold = shop.sell(customer_creation="always")
    declined = post(sold.url, email="adda@lovelace.example", card_number="4000000000000002")
    assert " readonly" not in declined.text
    assert post(sold.url).status_code == 303
    assert shop.session(sold.id).customer_details.email == FORM["email"]


def test_a_drawer_button_fills_the_form_without_script(shop: Shop) -> None:
    page = httpx.get(shop.sell().url, params={"card": "insufficient-funds"})
    assert 'value="4000 0000 0000 9995"' in page.text
    assert httpx.get(shop.sell().url, params={"card": "nonsense"}).status_code == 200


def test_styles_and_script_are_served_with_their_types(shop: Shop) -> None:
    for name, media_type in (
        ("hosted.css", "text/css; charset=utf-8"),
        ("hosted.js", "text/javascript; charset=utf-8"),
        ("hosted.svg", "image/svg+xml"),
    ):
        answer = httpx.get(f"{shop.sandbox_url}/_sandbox/static/{name}")
        assert (answer.status_code, answer.headers["content-type"]) == (200, media_type)
    missing = httpx.get(f"{shop.sandbox_url}/_sandbox/static/hosted.py")
    assert missing.status_code == 404
