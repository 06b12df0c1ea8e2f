"""Bank debits: asked for at once, answered later; through the API and on the hosted page."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
import stripe

from bursar_sandbox.running import Sandbox
from hosted_page_shop import Shop, advance, open_shop, post
from stripe_shop import confirm_page, iban, open_session

ARRIVES = "AT611904300234573201"


@pytest.fixture(scope="module")
def shared_sandbox(checked_sandbox: Sandbox) -> Sandbox:
    """What these tests are told is checked against Stripe's types."""
    return checked_sandbox


@pytest.fixture(scope="module")
def shop(checked_sandbox: Sandbox) -> Iterator[Shop]:
    with open_shop(checked_sandbox.base_url) as shop:
        yield shop


def account(v1: Any, number: str = "000123456789", **fields: str) -> Any:
    """A payment method of an account in the United States."""
    details = {"routing_number": "110000000", "account_number": number, **fields}
    return v1.payment_methods.create(
        {
            "type": "us_bank_account",
            "us_bank_account": details,
            "billing_details": {"email": "ada@example.com", "name": "Ada"},
        }
    )


@pytest.mark.parametrize(
    ("number", "word", "payment_status"),
    [
        ("000123456789", "succeeded", "paid"),
        ("000111111113", "failed", "unpaid"),
        ("000222222227", "failed", "unpaid"),
    ],
)
def test_us_account_is_debited_and_answers_later(
    client: Any, shared_sandbox: Sandbox, number: str, word: str, payment_status: str
) -> None:
    v1 = client.v1
    session = open_session(v1, payment_method_types=["card", "us_bank_account"])
    confirm_page(client, session, account(v1, number))
    session = v1.checkout.sessions.retrieve(
        session.id, {"expand": ["payment_intent.latest_charge"]}
    )
    assert (session.status, session.payment_status) == ("complete", "unpaid")
    assert session.payment_intent.status == "processing"
    shown = session.payment_intent.latest_charge.payment_method_details
    assert (shown.type, shown.us_bank_account.last4) == ("us_bank_account", number[-4:])
    advance(shared_sandbox.base_url, 5)
    session = v1.checkout.sessions.retrieve(session.id, {"expand": ["payment_intent"]})
    assert session.payment_status == payment_status
    events = v1.events.list({"type": f"checkout.session.async_payment_{word}", "limit": 1}).data
    assert events[0].data.object["id"] == session.id
    if word == "failed":
        assert session.payment_intent.status == "requires_payment_method"
        assert session.payment_intent.last_payment_error.payment_method.type == "us_bank_account"


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"routing_number": "11000000"}, "us_bank_account[routing_number]"),
        ({"routing_number": "021000021"}, "us_bank_account[routing_number]"),
        ({"account_number": "12a4"}, "us_bank_account[account_number]"),
        ({"account_holder_type": "nobody"}, "us_bank_account[account_holder_type]"),
    ],
)
def test_us_account_that_can_not_be_is_refused(v1: Any, fields: dict[str, str], param: str) -> None:
    with pytest.raises(stripe.InvalidRequestError) as caught:
        account(v1, **fields)
    assert caught.value.param == param


def test_account_in_another_currency_is_refused(client: Any) -> None:
    v1 = client.v1
    session = open_session(
        v1, unit_currency="gbp", payment_method_types=["card", "us_bank_account", "sepa_debit"]
    )
    for method in (account(v1), iban(v1, ARRIVES)):
        with pytest.raises(stripe.InvalidRequestError) as caught:
            confirm_page(client, session, method)
        assert caught.value.code == "payment_method_currency_mismatch"


def test_slow_debit_takes_minutes(client: Any, shared_sandbox: Sandbox) -> None:
    v1 = client.v1
    session = open_session(v1, unit_currency="eur", payment_method_types=["sepa_debit"])
    confirm_page(client, session, iban(v1, "AT051904300235473205"))
    advance(shared_sandbox.base_url, 100)
    assert v1.payment_intents.retrieve(paid_by(v1, session)).status == "processing"
    advance(shared_sandbox.base_url, 100)
    assert v1.payment_intents.retrieve(paid_by(v1, session)).status == "requires_payment_method"


def paid_by(v1: Any, session: Any) -> str:
    """The id of the session's payment intent."""
    return str(v1.checkout.sessions.retrieve(session.id).payment_intent)


def test_page_offers_a_debit_beside_the_card_and_takes_it(shop: Shop) -> None:
    price = {"currency": "eur", "unit_amount": 1500, "product_data": {"name": "Ink"}}
    sold = shop.sell(
        line_items=[{"price_data": price, "quantity": 1}],
        payment_method_types=["card", "sepa_debit", "us_bank_account"],
    )
    page = httpx.get(sold.url).text
    assert "Bank debit (SEPA)" in page
    assert "Bank debit (US)" not in page
    wrong = post(sold.url, method="sepa_debit", iban="AT00", card_number="", expiry="")
    assert wrong.status_code == 422
    assert "The IBAN is not right" in wrong.text
    assert "Enter the card number" not in wrong.text
    done = post(sold.url, method="sepa_debit", iban="AT61 1904 3002 3457 3201", card_number="")
    assert (done.status_code, done.headers["location"]) == (
        303,
        f"{shop.url}/thanks?session={sold.id}",
    )
    assert shop.session(sold.id).payment_status == "unpaid"
    again = httpx.get(sold.url)
    assert "Your bank has been asked for" in again.text
    advance(shop.sandbox_url, 5)
    assert shop.session(sold.id).payment_status == "paid"


def test_page_of_a_debit_alone_asks_for_no_card(shop: Shop) -> None:
    sold = shop.sell(payment_method_types=["us_bank_account"])
    page = httpx.get(sold.url, params={"card": "us-debit-fails"}).text
    assert "Pay by bank debit" in page
    assert "Card number" not in page
    assert 'value="000222222227"' in page
    for changes, says in (
        ({"routing_number": "123"}, "A routing number has 9 digits"),
        ({"routing_number": "021000021"}, "The sandbox has one bank only: 110000000"),
        ({"account_number": "1"}, "An account number has 4 to 17 digits"),
    ):
        given = {"routing_number": "110000000", "account_number": "000222222227", **changes}
        assert says in post(sold.url, method="us_bank_account", **given).text
    sent = {"routing_number": "110000000", "account_number": "000222222227"}
    assert post(sold.url, method="card", **sent).status_code == 303
    assert shop.session(sold.id).payment_status == "unpaid"


@pytest.mark.parametrize(
    ("deed", "number", "word"),
    [
        ("arrived", "AT051904300235473205", "succeeded"),
        ("bounced", "AT321904300235473204", "failed"),
    ],
)
def test_button_has_the_bank_answer_now(
    start: Callable[..., Sandbox],
    client_for: Callable[[Sandbox], Any],
    deed: str,
    number: str,
    word: str,
) -> None:
    sandbox = start()
    client = client_for(sandbox)
    v1 = client.v1
    session = open_session(v1, unit_currency="eur", payment_method_types=["sepa_debit"])
    confirm_page(client, session, iban(v1, number))
    overview = httpx.get(f"{sandbox.base_url}/_sandbox/").text
    assert "At the bank" in overview
    (charge,) = v1.charges.list({"limit": 1}).data
    pressed = httpx.post(f"{sandbox.base_url}/_sandbox/payments/{charge.id}", data={"do": deed})
    assert pressed.status_code == 303
    paid = v1.checkout.sessions.retrieve(session.id).payment_status == "paid"
    assert paid == (word == "succeeded")
    advance(sandbox.base_url, 600)
    types = [event.type for event in v1.events.list({"limit": 100}).data]
    answers = [kind for kind in types if kind.startswith("checkout.session.async_payment")]
    assert answers == [f"checkout.session.async_payment_{word}"]
