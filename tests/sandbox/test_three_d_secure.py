"""3-D Secure: the bank asks the buyer, who confirms, refuses, waits too long or goes away."""

from __future__ import annotations

import html
from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qs, urljoin, urlsplit

import httpx
import pytest
import stripe

from bursar_sandbox.running import Sandbox
from hosted_page_shop import BANK_ASKS, FORM, Shop, advance, answer_bank, at_bank, open_shop, post
from stripe_shop import card, pay_intent

NOT_CONFIRMED = (
    "Your bank did not confirm the payment. You were not charged. Try again or use another card."
)
FAILURE = "payment_intent_authentication_failure"


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with Sandbox() as running:
        yield running


@pytest.fixture
def shop(sandbox: Sandbox) -> Iterator[Shop]:
    with open_shop(sandbox.base_url) as shop:
        yield shop


@pytest.fixture
def v1(shop: Shop) -> Any:
    return shop.client.v1


def intent_of(shop: Shop, sold: Any) -> Any:
    return shop.client.v1.payment_intents.retrieve(shop.session(sold.id).payment_intent)


def bank_of(intent: Any) -> str:
    return str(intent.next_action.redirect_to_url.url)


def test_the_bank_shows_the_payment_and_charges_nothing_yet(shop: Shop) -> None:
    sold = shop.sell()
    sent = post(sold.url, card_number=BANK_ASKS)
    assert sent.status_code == 303
    page = httpx.get(urljoin(sold.url, sent.headers["location"]))
    assert page.status_code == 200
    for words in ("Test bank", urlsplit(shop.url).netloc, "$45.00", "3184", "428 190"):
        assert words in page.text
    for button in ("Confirm", "Refuse", "Let it time out"):
        assert f">{button}</button>" in page.text
    assert f"form-action 'self' {shop.url};" in page.headers["content-security-policy"]
    intent = intent_of(shop, sold)
    assert intent.status == "requires_action"
    assert bank_of(intent) == str(page.url)
    assert shop.charges(sold.id) == []
    assert shop.session(sold.id).status == "open"


@pytest.mark.parametrize("number", ["4000002500003155", BANK_ASKS, "4000000000003220"])
def test_confirmed_payment_is_paid_and_leads_to_the_shop(shop: Shop, number: str) -> None:
    sold = shop.sell()
    answer = at_bank(sold, "confirm", number)
    assert answer.status_code == 303
    assert answer.headers["location"] == f"{shop.url}/thanks?session={sold.id}"
    session = shop.session(sold.id)
    assert (session.status, session.payment_status) == ("complete", "paid")
    assert session.customer_details.email == FORM["email"]
    (charge,) = shop.charges(sold.id)
    secured = charge.payment_method_details.card.three_d_secure
    assert (secured.result, secured.authentication_flow) == ("authenticated", "challenge")


def test_the_shop_hears_of_it_before_the_buyer_is_back(shop: Shop) -> None:
    shop.webhook_delay_seconds = 0.2
    with shop.hearing_webhooks():
        httpx.get(at_bank(shop.sell(), "confirm").headers["location"])
    assert "event payment_intent.requires_action" in shop.arrivals
    assert shop.arrivals[-2] == "event checkout.session.completed"
    assert shop.arrivals[-1].startswith("buyer /thanks")


@pytest.mark.parametrize("answer", ["refuse", "time_out"])
def test_unconfirmed_payment_is_not_charged_and_may_be_tried_again(shop: Shop, answer: str) -> None:
    sold = shop.sell()
    back = at_bank(sold, answer)
    assert back.status_code == 303
    page = httpx.get(urljoin(sold.url, back.headers["location"]))
    assert urlsplit(str(page.url)).path == urlsplit(sold.url).path
    assert NOT_CONFIRMED in html.unescape(page.text)
    assert f'value="{FORM["email"]}"' in page.text
    assert '<option value="GB" selected>' in page.text
    intent = intent_of(shop, sold)
    assert intent.status == "requires_payment_method"
    assert (intent.last_payment_error.code, intent.next_action) == (FAILURE, None)
    (told,) = shop.client.v1.events.list({"limit": 1}).data
    assert told.type == "payment_intent.payment_failed"
    assert told.data.object["last_payment_error"]["code"] == FAILURE
    assert shop.charges(sold.id) == []
    assert post(sold.url).status_code == 303
    assert shop.session(sold.id).payment_status == "paid"


@pytest.mark.parametrize(
    ("number", "says"),
    [("4000008400001629", "gave no reason"), ("4000008260003178", "does not have enough money")],
)
def test_card_may_be_declined_after_it_was_confirmed(shop: Shop, number: str, says: str) -> None:
    sold = shop.sell()
    back = at_bank(sold, "confirm", number)
    page = httpx.get(urljoin(sold.url, back.headers["location"]))
    assert says in html.unescape(page.text)
    (charge,) = shop.charges(sold.id)
    assert (charge.paid, charge.status) == (False, "failed")
    assert shop.session(sold.id).status == "open"


def test_the_page_itself_forgets_a_problem_unless_the_bank_sent_the_buyer(shop: Shop) -> None:
    sold = shop.sell()
    at_bank(sold, "refuse")
    assert NOT_CONFIRMED not in html.unescape(httpx.get(sold.url).text)
    post(sold.url)
    paid = httpx.get(f"{sold.url}?problem=bank")
    assert "This order is paid" in paid.text
    fresh = shop.sell()
    assert "There is a problem" not in httpx.get(f"{fresh.url}?problem=bank").text


def test_answering_twice_charges_once_and_leads_to_the_same_place(shop: Shop) -> None:
    sold = shop.sell()
    sent = post(sold.url, card_number=BANK_ASKS)
    bank = urljoin(sold.url, sent.headers["location"])
    method = intent_of(shop, sold).payment_method
    answers = [
        httpx.post(bank, data={"method": method, "answer": answer})
        for answer in ("confirm", "confirm", "refuse")
    ]
    assert {answer.headers["location"] for answer in answers} == {
        f"{shop.url}/thanks?session={sold.id}"
    }
    assert httpx.get(bank).headers["location"] == f"{shop.url}/thanks?session={sold.id}"
    assert len(shop.charges(sold.id)) == 1


def test_an_answer_to_an_earlier_card_changes_nothing(shop: Shop) -> None:
    sold = shop.sell()
    post(sold.url, card_number=BANK_ASKS)
    bank, first = bank_of(intent_of(shop, sold)), intent_of(shop, sold).payment_method
    post(sold.url, card_number="4000 0000 0000 3220")
    assert intent_of(shop, sold).payment_method != first
    assert httpx.post(bank, data={"method": first, "answer": "confirm"}).status_code == 303
    assert intent_of(shop, sold).status == "requires_action"
    assert shop.charges(sold.id) == []


def test_another_card_pays_while_the_bank_still_waits(shop: Shop) -> None:
    sold = shop.sell()
    post(sold.url, card_number=BANK_ASKS)
    assert post(sold.url).status_code == 303
    assert shop.session(sold.id).payment_status == "paid"
    assert [charge.paid for charge in shop.charges(sold.id)] == [True]


def test_abandoned_payment_expires_uncharged(shop: Shop) -> None:
    sold = shop.sell()
    post(sold.url, card_number=BANK_ASKS)
    intent = intent_of(shop, sold)
    advance(shop.sandbox_url, 25 * 3600)
    assert shop.session(sold.id).status == "expired"
    assert intent_of(shop, sold).status == "canceled"
    late = answer_late(bank_of(intent), intent.payment_method)
    page = httpx.get(urljoin(sold.url, late.headers["location"]))
    assert page.status_code == 410
    assert "You were not charged" in page.text
    assert shop.charges(sold.id) == []


def answer_late(bank: str, method: str) -> httpx.Response:
    return httpx.post(bank, data={"method": method, "answer": "confirm"})


def test_a_held_amount_is_confirmed_and_still_held(shop: Shop) -> None:
    sold = shop.sell(payment_intent_data={"capture_method": "manual"})
    at_bank(sold, "confirm")
    assert intent_of(shop, sold).status == "requires_capture"
    assert shop.session(sold.id).payment_status == "unpaid"


@pytest.mark.parametrize(
    ("answer", "status", "outcome"),
    [
        ("confirm", "succeeded", "succeeded"),
        ("refuse", "requires_payment_method", "failed"),
        ("time_out", "requires_payment_method", "failed"),
    ],
)
def test_intent_without_a_page_returns_to_its_seller(
    v1: Any, answer: str, status: str, outcome: str
) -> None:
    url = "https://shop.example/back?order=7&note="
    intent = pay_intent(v1, "pm_card_authenticationRequired", return_url=url)
    back = answer_bank(bank_of(intent), answer)
    location = urlsplit(back.headers["location"])
    assert f"{location.scheme}://{location.netloc}{location.path}" == "https://shop.example/back"
    assert parse_qs(location.query, keep_blank_values=True) == {
        "order": ["7"],
        "note": [""],
        "payment_intent": [intent.id],
        "payment_intent_client_secret": [intent.client_secret],
        "redirect_status": [outcome],
    }
    assert v1.payment_intents.retrieve(intent.id).status == status
    assert httpx.get(bank_of(intent)).headers["location"] == back.headers["location"]


def test_intent_without_a_return_address_ends_at_the_bank(v1: Any) -> None:
    intent = pay_intent(
        v1, "pm_card_authenticationRequired", return_url="", payment_method_types=["card"]
    )
    done = answer_bank(intent.next_action.use_stripe_sdk["stripe_js"], "confirm")
    assert done.status_code == 200
    assert "The bank has your answer" in done.text
    assert v1.payment_intents.retrieve(intent.id).status == "succeeded"


def test_card_set_up_once_pays_without_its_buyer(v1: Any) -> None:
    customer = v1.customers.create({"email": "ada@lovelace.example"}).id
    first = pay_intent(
        v1, card(v1, "4000002500003155").id, customer=customer, setup_future_usage="off_session"
    )
    method = first.payment_method
    answer_bank(bank_of(first), "confirm")
    again = pay_intent(v1, method, customer=customer, off_session=True)
    assert again.status == "succeeded"
    always = v1.payment_methods.attach(card(v1, BANK_ASKS).id, {"customer": customer})
    with pytest.raises(stripe.CardError) as caught:
        pay_intent(v1, always.id, customer=customer, off_session=True)
    assert caught.value.code == "authentication_required"


def test_session_may_ask_for_a_challenge(shop: Shop) -> None:
    wanted = {"card": {"request_three_d_secure": "challenge"}}
    sold = shop.sell(payment_method_options=wanted)
    assert at_bank(sold, "confirm", "4000 0000 0000 3055").status_code == 303
    assert shop.session(sold.id).payment_status == "paid"
    plain = shop.sell()
    assert (
        post(plain.url, card_number="4000 0000 0000 3055").headers["location"].startswith(shop.url)
    )


def test_seller_may_ask_for_a_challenge_that_the_bank_does_not(v1: Any) -> None:
    method = card(v1, "4000000000003055").id
    assert pay_intent(v1, method).status == "succeeded"
    wanted = {"card": {"request_three_d_secure": "any"}}
    asked = pay_intent(v1, card(v1, "4000000000003055").id, payment_method_options=wanted)
    assert asked.status == "requires_action"


def test_unknown_payments_and_strange_answers_are_harmless(shop: Shop) -> None:
    for name in ("pi_none", shop.sell().id, "%3Cscript%3E"):
        url = f"{shop.sandbox_url}/c/bank/{name}"
        for answer in (httpx.get(url), httpx.post(url, data={"answer": "confirm"})):
            assert answer.status_code == 404
    sold = shop.sell()
    sent = post(sold.url, card_number=BANK_ASKS)
    bank = urljoin(sold.url, sent.headers["location"])
    assert httpx.post(bank, data={"answer": "perhaps"}).status_code == 200
    assert httpx.post(bank, content=b"x" * 70_000).status_code == 413
    assert intent_of(shop, sold).status == "requires_action"


def test_receipt_says_what_was_paid_and_given_back(shop: Shop) -> None:
    sold = shop.sell()
    at_bank(sold, "confirm")
    (charge,) = shop.charges(sold.id)
    page = httpx.get(charge.receipt_url)
    assert page.status_code == 200
    for words in ("Receipt", "$45.00", "Card ending in 3184", urlsplit(shop.url).netloc):
        assert words in html.unescape(page.text)
    assert "Refunded" not in page.text
    shop.client.v1.refunds.create({"charge": charge.id, "amount": 1500})
    told = html.unescape(httpx.get(charge.receipt_url).text)
    assert "−$15.00" in told
    assert "$30.00" in told
    assert httpx.get(f"{shop.sandbox_url}/receipts/{sold.id}").status_code == 404


def test_receipt_of_a_hold_says_that_nothing_was_charged(shop: Shop) -> None:
    sold = shop.sell(payment_intent_data={"capture_method": "manual"})
    post(sold.url)
    (charge,) = shop.charges(sold.id)
    assert "not charged yet" in httpx.get(charge.receipt_url).text
    shop.client.v1.payment_intents.capture(charge.payment_intent, {"amount_to_capture": 2000})
    told = httpx.get(charge.receipt_url).text
    assert "$20.00" in told
    assert "Refunded" not in told


def test_declined_charge_has_no_receipt(shop: Shop) -> None:
    sold = shop.sell()
    post(sold.url, card_number="4000 0000 0000 0002")
    (charge,) = shop.charges(sold.id)
    assert charge.receipt_url is None
    assert httpx.get(f"{shop.sandbox_url}/receipts/{charge.id}").status_code == 404
