"""The hosted page's own rules, without a server: amounts, checks, words, policy."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bursar_sandbox.stripe.pages import card_form, drawer, rendering, wording
from bursar_sandbox.stripe.pages.amounts import format_amount
from bursar_sandbox.stripe.pages.card_form import Entered
from bursar_sandbox.stripe.pages.countries import COUNTRIES
from bursar_sandbox.stripe.pages.orders import order_of

GOOD = Entered(
    email="ada@lovelace.example",
    card_number="4242 4242 4242 4242",
    expiry="12 / 29",
    security_code="123",
    name="Ada Lovelace",
    country="GB",
    postal_code="W1",
)


def problems(**changes: str) -> dict[str, str]:
    return card_form.problems(replace(GOOD, **changes), year=2026, month=11)


@pytest.mark.parametrize(
    ("amount_minor", "currency", "text"),
    [
        (1234500, "usd", "$12,345.00"),
        (5, "eur", "€0.05"),
        (12000000000, "jpy", "¥12,000,000,000"),
        (1250, "kwd", "KWD\u00a01.250"),
        (50000, "isk", "ISK\u00a0500.00"),
        (-7500, "USD", "−$75.00"),
        (0, "cad", "CA$0.00"),
    ],
)
def test_amounts_have_the_decimals_that_stripe_counts(
    amount_minor: int, currency: str, text: str
) -> None:
    assert format_amount(amount_minor, currency) == text


def test_a_good_card_has_no_problems() -> None:
    assert problems() == {}


@pytest.mark.parametrize(
    "number",
    [
        "4242424242424242",
        "4242-4242-4242-4242",
        "4242\u00a04242\u20134242 4242",
        "36227206271667",
        "6200000000000005",
    ],
)
def test_a_number_may_be_pasted_with_any_gaps(number: str) -> None:
    assert problems(card_number=number) == {}


@pytest.mark.parametrize(
    ("number", "says"),
    [
        ("", "Enter the card number"),
        ("4242", "Card number is incomplete. Enter all 16 digits"),
        ("3782 822463 1000", "Card number is incomplete. Enter all 15 digits"),
        ("4242424242424241", "The card number is not right. Check it against your card"),
        ("4242 4242 4242 424x", "A card number has digits only. Check it against your card"),
        (
            "４２４２４２４２４２４２４２４２",
            "A card number has digits only. Check it against your card",
        ),
        ("4" * 40, "Card number is too long. Check it against your card"),
    ],
)
def test_a_wrong_number_names_its_fault(number: str, says: str) -> None:
    assert problems(card_number=number)["card_number"] == says


@pytest.mark.parametrize("expiry", ["11/26", "1126", "11 / 2026", "112026", "11-26", "1/27"])
def test_an_expiry_is_read_in_every_common_spelling(expiry: str) -> None:
    assert problems(expiry=expiry) == {}


@pytest.mark.parametrize(
    ("expiry", "says"),
    [
        ("", "Enter the expiry date"),
        ("10 / 26", "Expiry date is in the past. Check the card"),
        ("13 / 29", "The month is 01 to 12. Check the card"),
        ("00 / 29", "The month is 01 to 12. Check the card"),
        ("12 / 2099", "Expiry date is too far ahead. Check the card"),
        ("12", "Write the expiry date as MM / YY, as on the card"),
        ("१२ / २९", "Write the expiry date as MM / YY, as on the card"),
    ],
)
def test_a_wrong_expiry_names_its_fault(expiry: str, says: str) -> None:
    assert problems(expiry=expiry)["expiry"] == says


def test_the_code_has_the_length_of_its_brand() -> None:
    amex = {"card_number": "378282246310005"}
    assert problems(**amex, security_code="1234") == {}
    assert "4 digits on the front" in problems(**amex, security_code="123")["security_code"]
    assert "3 digits on the back" in problems(security_code="1234")["security_code"]
    assert "security_code" in problems(security_code="12a")


@pytest.mark.parametrize(
    "email", ["", "ada", "ada@lovelace", "a b@c.de", "a@b..de", "a@b.de, x@y.z"]
)
def test_a_wrong_email_is_a_problem_of_its_field(email: str) -> None:
    assert list(problems(email=email)) == ["email"]


def test_problems_come_in_the_order_of_the_form() -> None:
    wrong = card_form.problems(Entered(country="XX", postal_code="9" * 21), year=2026, month=11)
    first, *_, last = wrong
    assert (first, last, len(wrong)) == ("email", "postal_code", 7)
    assert tuple(wrong) == card_form.FIELD_NAMES[:7]


def test_a_posted_body_keeps_only_known_fields() -> None:
    entered = card_form.read(b"name=Ada+L%C3%B6we&admin=1&email=a%40b.de%00&expiry=%FF")
    assert (entered.name, entered.email, entered.country) == ("Ada Löwe", "a@b.de", "")


def test_a_body_with_too_many_fields_is_refused() -> None:
    with pytest.raises(ValueError, match="fields"):
        card_form.read(b"&".join(b"name=x" for _ in range(51)))


@pytest.mark.parametrize("card", drawer.TEST_CARDS, ids=lambda card: card.key)
def test_every_card_of_the_drawer_fills_a_form_without_problems(card: drawer.TestCard) -> None:
    entered = drawer.filled(Entered(), card, 2026)
    assert card_form.problems(entered, year=2026, month=12) == {}
    assert entered.card_number == card.number


def test_the_drawer_leaves_what_the_buyer_typed() -> None:
    entered = drawer.filled(Entered(email="me@shop.example", name="Me"), drawer.TEST_CARDS[0], 2026)
    assert (entered.email, entered.name) == ("me@shop.example", "Me")


@pytest.mark.parametrize("reason", ["lost_card", "stolen_card", "fraudulent", "do_not_honor", None])
def test_a_banks_secret_reason_is_never_told(reason: str | None) -> None:
    told = wording.refusal("card_declined", reason)
    assert told == wording.refusal("card_declined", "generic_decline")
    assert "gave no reason" in told.message


@pytest.mark.parametrize(
    "code",
    [
        "card_declined",
        "expired_card",
        "incorrect_cvc",
        "incorrect_number",
        "insufficient_funds",
        "invalid_expiry_year",
        "processing_error",
        "authentication_required",
        "test_mode_live_card",
    ],
)
def test_every_refusal_says_that_nothing_was_charged(code: str) -> None:
    assert "You were not charged." in wording.refusal(code, None).message


def policy_for(*ways_out: str) -> str:
    values: dict[str, object] = {"state": "unknown", "order": None}
    page = rendering.page("closed.html", values, ways_out=ways_out)
    return page.headers["content-security-policy"]


def test_the_form_may_only_end_at_the_shop() -> None:
    policy = policy_for("https://shop.example:8443/ok?a=1", "http://127.0.0.1:80/no", "myapp://ok")
    assert "form-action 'self' https://shop.example:8443 http://127.0.0.1:80 myapp:;" in policy


@pytest.mark.parametrize(
    "url", ["https://a;script-src *", "https://a b.example", "http://x:99999/", "", "no url"]
)
def test_no_address_can_write_into_the_policy(url: str) -> None:
    assert policy_for(url) == policy_for()


@pytest.mark.parametrize("url", ["javascript:alert(1)", "data:text/html,x", "/elsewhere", None])
def test_no_link_leads_into_a_script(url: str | None) -> None:
    session = {"id": "cs_test_1", "currency": "usd", "success_url": url, "cancel_url": url}
    order = order_of(session)
    assert (order.success_url, order.cancel_url) == ("", "")


def test_every_country_has_a_code_of_two_letters_and_a_name() -> None:
    assert len(COUNTRIES) == 249
    assert all(code.isalpha() and code.isupper() and len(code) == 2 for code in COUNTRIES)
    assert COUNTRIES["DE"] == "Germany"
    assert list(COUNTRIES)[-1] == "ZW"
