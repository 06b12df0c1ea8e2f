"""Setup intents and sessions in setup mode: cards are saved, and nothing is charged."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qs, urljoin, urlsplit

import httpx
import pytest
import stripe

from bursar_sandbox.running import Sandbox
from hosted_page_shop import BANK_ASKS, Shop, advance, answer_bank, open_shop, post
from stripe_shop import card, iban, pay_intent

SOON_EXPIRED = 25 * 3600
ONCE_SET_UP = "4000002500003155"


@pytest.fixture(scope="module")
def shared_sandbox(checked_sandbox: Sandbox) -> Sandbox:
    """What these tests are told is checked against Stripe's types."""
    return checked_sandbox


@pytest.fixture
def shop(shared_sandbox: Sandbox) -> Iterator[Shop]:
    with open_shop(shared_sandbox.base_url) as shop:
        yield shop


def new_customer(v1: Any) -> str:
    return str(v1.customers.create({"email": "ada@lovelace.example"}).id)


def set_up(v1: Any, method: str = "pm_card_visa", **options: Any) -> Any:
    """A confirmed setup intent."""
    wanted = {"confirm": True, "payment_method": method, "payment_method_types": ["card"]}
    return v1.setup_intents.create({**wanted, **options})


def saving_session(shop: Shop, **options: Any) -> Any:
    """A session whose page saves a card."""
    params: Any = {
        "mode": "setup",
        "currency": "usd",
        "success_url": f"{shop.url}/saved?session={{CHECKOUT_SESSION_ID}}",
        "cancel_url": f"{shop.url}/account",
        **options,
    }
    return shop.client.v1.checkout.sessions.create(params)


def test_card_is_saved_for_its_customer_without_a_charge(shop: Shop) -> None:
    v1 = shop.client.v1
    customer = new_customer(v1)
    done: list[Any] = []
    types = shop.events_of(
        lambda: done.append(set_up(v1, customer=customer, expand=["latest_attempt"]))
    )
    (intent,) = done
    assert types == ["setup_intent.created", "payment_method.attached", "setup_intent.succeeded"]
    assert (intent.status, intent.usage, intent.last_setup_error) == (
        "succeeded", "off_session", None,
    )  # fmt: skip
    assert intent.latest_attempt.status == "succeeded"
    assert v1.payment_methods.retrieve(intent.payment_method).customer == customer
    assert v1.charges.list({"customer": customer}).data == []
    again = pay_intent(v1, intent.payment_method, customer=customer, off_session=True)
    assert again.status == "succeeded"


def test_intent_without_a_customer_leaves_the_card_to_be_attached_later(v1: Any) -> None:
    intent = set_up(v1)
    customer = new_customer(v1)
    method = v1.payment_methods.attach(intent.payment_method, {"customer": customer})
    assert method.customer == customer


def test_declined_card_is_not_saved_and_another_one_may_be(shop: Shop) -> None:
    v1 = shop.client.v1
    customer = new_customer(v1)
    with pytest.raises(stripe.CardError) as caught:
        set_up(v1, "pm_card_chargeDeclined", customer=customer)
    refused = caught.value.error.setup_intent
    assert (caught.value.http_status, caught.value.code) == (402, "card_declined")
    assert (refused.status, refused.payment_method) == ("requires_payment_method", None)
    assert shop.client.v1.events.list({"limit": 1}).data[0].type == "setup_intent.setup_failed"
    assert v1.payment_methods.list({"customer": customer}).data == []
    confirmed = v1.setup_intents.confirm(refused.id, {"payment_method": "pm_card_visa"})
    assert (confirmed.status, confirmed.last_setup_error) == ("succeeded", None)
    attempts = v1.setup_attempts.list({"setup_intent": refused.id}).data
    assert [one.status for one in attempts] == ["succeeded", "failed"]
    assert attempts[1].setup_error.decline_code == "generic_decline"


def test_card_that_fails_only_when_charged_can_be_saved(v1: Any) -> None:
    customer = new_customer(v1)
    intent = set_up(v1, "pm_card_chargeCustomerFail", customer=customer)
    assert intent.status == "succeeded"
    with pytest.raises(stripe.CardError) as caught:
        pay_intent(v1, intent.payment_method, customer=customer, off_session=True)
    assert caught.value.error.decline_code == "generic_decline"


@pytest.mark.parametrize(("answer", "outcome"), [("confirm", "succeeded"), ("refuse", "failed")])
def test_bank_is_asked_on_its_own_page(shop: Shop, answer: str, outcome: str) -> None:
    v1 = shop.client.v1
    customer, back = new_customer(v1), f"{shop.url}/back?kept=1"
    intent = set_up(v1, card(v1, BANK_ASKS).id, customer=customer, return_url=back)
    assert (intent.status, intent.next_action.type) == ("requires_action", "redirect_to_url")
    url = intent.next_action.redirect_to_url.url
    assert "Nothing is charged now" in httpx.get(url).text
    done = answer_bank(url, answer)
    query = parse_qs(urlsplit(done.headers["location"]).query)
    assert done.headers["location"].startswith(f"{shop.url}/back?")
    assert query["setup_intent"] == [intent.id]
    assert query["setup_intent_client_secret"] == [intent.client_secret]
    assert (query["redirect_status"], query["kept"]) == ([outcome], ["1"])
    now = v1.setup_intents.retrieve(intent.id)
    saved = v1.payment_methods.list({"customer": customer}).data
    if outcome == "succeeded":
        assert (now.status, [one.id for one in saved]) == ("succeeded", [now.payment_method])
    else:
        assert (now.status, saved) == ("requires_payment_method", [])
        assert now.last_setup_error.code == "setup_intent_authentication_failure"


def test_card_set_up_with_its_bank_is_charged_without_the_buyer(shop: Shop) -> None:
    v1 = shop.client.v1
    customer = new_customer(v1)
    method = card(v1, ONCE_SET_UP).id
    intent = set_up(v1, method, customer=customer, return_url=f"{shop.url}/back")
    answer_bank(intent.next_action.redirect_to_url.url, "confirm")
    assert pay_intent(v1, method, customer=customer, off_session=True).status == "succeeded"
    assert pay_intent(v1, method, customer=customer).status == "requires_action"


def test_without_a_return_url_the_page_leads_to_the_bank_itself(v1: Any) -> None:
    intent = set_up(v1, "pm_card_authenticationRequired")
    assert intent.next_action.type == "use_stripe_sdk"


def test_bank_account_is_saved_with_a_mandate(v1: Any) -> None:
    method = iban(v1, "AT611904300234573201").id
    customer = new_customer(v1)
    intent = set_up(v1, method, customer=customer, payment_method_types=["sepa_debit"])
    assert intent.status == "succeeded"
    assert intent.mandate.startswith("mandate_")
    with pytest.raises(stripe.InvalidRequestError):
        set_up(v1, iban(v1, "AT611904300234573201").id, payment_method_types=["card"])


def test_intent_is_changed_until_it_ends(v1: Any) -> None:
    intent = v1.setup_intents.create({"metadata": {"a": "1"}, "usage": "on_session"})
    assert intent.automatic_payment_methods.enabled
    customer = new_customer(v1)
    changed = v1.setup_intents.update(
        intent.id,
        {"customer": customer, "metadata": {"b": "2"}, "payment_method": "pm_card_visa"},
    )
    assert (changed.status, changed.customer) == ("requires_confirmation", customer)
    assert changed.metadata.to_dict() == {"a": "1", "b": "2"}
    assert v1.setup_intents.list({"customer": customer}).data[0].id == intent.id
    assert v1.setup_intents.confirm(intent.id).status == "succeeded"
    for act in (
        lambda: v1.setup_intents.update(intent.id, {"payment_method": "pm_card_visa"}),
        lambda: v1.setup_intents.confirm(intent.id),
        lambda: v1.setup_intents.cancel(intent.id),
    ):
        with pytest.raises(stripe.InvalidRequestError) as caught:
            act()
        assert caught.value.code == "setup_intent_unexpected_state"


def test_intent_is_canceled_with_a_reason(shop: Shop) -> None:
    v1 = shop.client.v1
    intent = v1.setup_intents.create({"payment_method_types": ["card"]})
    types = shop.events_of(
        lambda: v1.setup_intents.cancel(intent.id, {"cancellation_reason": "abandoned"})
    )
    assert types == ["setup_intent.canceled"]
    now = v1.setup_intents.retrieve(intent.id)
    assert (now.status, now.cancellation_reason) == ("canceled", "abandoned")


@pytest.mark.parametrize(
    ("params", "param"),
    [
        ({"confirm": True}, None),
        ({"customer": "cus_none"}, "customer"),
        ({"payment_method": "pm_none"}, "payment_method"),
        ({"usage": "sometimes"}, "usage"),
        ({"wrong": "x"}, "wrong"),
    ],
)
def test_wrong_setup_is_refused(v1: Any, params: dict[str, Any], param: str | None) -> None:
    with pytest.raises(stripe.InvalidRequestError) as caught:
        v1.setup_intents.create(params)
    assert (caught.value.http_status, caught.value.param) == (400, param)


def test_method_of_another_customer_is_refused(v1: Any) -> None:
    method = v1.payment_methods.attach("pm_card_visa", {"customer": new_customer(v1)})
    with pytest.raises(stripe.InvalidRequestError) as caught:
        set_up(v1, method.id, customer=new_customer(v1))
    assert caught.value.param == "payment_method"


def test_page_saves_a_card_and_leads_back(shop: Shop) -> None:
    v1 = shop.client.v1
    customer = new_customer(v1)
    data = {"metadata": {"order": "7"}, "description": "For later"}
    session = saving_session(shop, customer=customer, setup_intent_data=data)
    assert (session.amount_total, session.payment_status) == (None, "no_payment_required")
    text = httpx.get(session.url).text
    assert "Save your card" in text
    assert "Nothing is charged now" in text
    done = post(session.url)
    assert done.headers["location"] == f"{shop.url}/saved?session={session.id}"
    expand: Any = {"expand": ["setup_intent.payment_method"]}
    now = v1.checkout.sessions.retrieve(session.id, expand)
    assert (now.status, now.payment_intent) == ("complete", None)
    assert now.setup_intent.metadata.to_dict() == {"order": "7"}
    assert now.setup_intent.payment_method.customer == customer
    assert v1.charges.list({"customer": customer}).data == []
    assert "Your card is saved" in httpx.get(str(session.url)).text


def test_declined_card_keeps_the_page_open(shop: Shop) -> None:
    session = saving_session(shop, customer_creation="always")
    refused = post(session.url, card_number="4000000000000002")
    assert refused.status_code == 402
    assert "gave no reason" in refused.text
    assert shop.session(session.id).status == "open"
    assert post(session.url).status_code == 303
    now = shop.session(session.id)
    (saved,) = shop.client.v1.payment_methods.list({"customer": now.customer}).data
    assert saved.card.last4 == "4242"


def test_page_asks_the_bank_and_tells_the_shop_afterwards(shop: Shop) -> None:
    session = saving_session(shop, customer=new_customer(shop.client.v1))
    sent = post(session.url, card_number=BANK_ASKS)
    bank = urljoin(session.url, sent.headers["location"])
    back = answer_bank(bank, "refuse")
    page = httpx.get(urljoin(session.url, back.headers["location"]))
    assert "Your bank did not confirm" in page.text
    sent = post(session.url, card_number=BANK_ASKS)
    before = shop.latest_event_id()
    done = answer_bank(urljoin(session.url, sent.headers["location"]), "confirm")
    assert done.headers["location"] == f"{shop.url}/saved?session={session.id}"
    assert shop.event_types_since(before) == [
        "payment_method.attached", "setup_intent.succeeded", "checkout.session.completed",
    ]  # fmt: skip


def test_expired_page_gives_its_intent_up(shop: Shop) -> None:
    session = saving_session(shop)
    advance(shop.sandbox_url, SOON_EXPIRED)
    intent = shop.client.v1.setup_intents.retrieve(session.setup_intent)
    assert (intent.status, intent.cancellation_reason) == ("canceled", "abandoned")
    page = httpx.get(urljoin(shop.sandbox_url, f"/c/pay/{session.id}"))
    assert page.status_code == 410
    assert "No card was saved" in page.text


@pytest.mark.parametrize(
    ("params", "param"),
    [
        ({"currency": ""}, "currency"),
        ({"line_items": [{"price": "price_x", "quantity": 1}]}, "line_items"),
        ({"payment_intent_data": {"description": "x"}}, "payment_intent_data"),
        ({"customer_update": {"name": "auto"}}, "customer_update"),
    ],
)
def test_session_that_cannot_save_a_card_is_refused(
    shop: Shop, params: dict[str, Any], param: str
) -> None:
    with pytest.raises(stripe.InvalidRequestError) as caught:
        saving_session(shop, **params)
    assert caught.value.param == param
