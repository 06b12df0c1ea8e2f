"""The hosted page with promotion codes and taxes: what it shows, refuses and never blocks."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from bursar_sandbox.running import Sandbox
from hosted_page_shop import FORM, Shop, open_shop, post


@pytest.fixture(scope="module")
def shop(checked_sandbox: Sandbox) -> Iterator[Shop]:
    with open_shop(checked_sandbox.base_url) as shop:
        yield shop


def promote(shop: Shop, code: str, **coupon: Any) -> None:
    """A promotion code of a new coupon."""
    made = shop.client.v1.coupons.create({"percent_off": 15, **coupon})
    params: Any = {"promotion": {"type": "coupon", "coupon": made.id}, "code": code}
    shop.client.v1.promotion_codes.create(params)


def enter(sold: Any, code: str, act: str = "apply", **typed: str) -> httpx.Response:
    """Send the code's form, with what the browser adds of the other one."""
    return httpx.post(f"{sold.url}/code", data={"code": code, "act": act, **typed}, timeout=30)


def seen(page: str) -> str:
    """The total that the page's form stands for, in minor units."""
    found = re.search(r'name="seen_total" value="(\d+)"', page)
    assert found is not None
    return found[1]


def test_code_is_taken_shown_and_removed(shop: Shop) -> None:
    promote(shop, "LAUNCH15")
    sold = shop.sell(allow_promotion_codes=True)
    assert "Promotion code" in httpx.get(sold.url).text
    page = enter(sold, "launch15", **FORM)
    assert page.status_code == 200
    for words in ("−$6.75", "$38.25", "LAUNCH15", FORM["email"], FORM["card_number"]):
        assert words in page.text
    assert seen(page.text) == "3825"
    assert "LAUNCH15" in httpx.get(sold.url).text
    page = enter(sold, "", "remove")
    assert "LAUNCH15" not in page.text
    assert seen(page.text) == "4500"
    assert shop.session(sold.id).amount_total == 4500


def test_wrong_code_is_an_error_at_its_field_and_blocks_nothing(shop: Shop) -> None:
    sold = shop.sell(allow_promotion_codes=True)
    page = enter(sold, "NOSUCHCODE")
    assert page.status_code == 422
    problem = re.search(r'<p class="problem" id="code-problem">.*?<span>(.*?)</span>', page.text)
    assert problem is not None
    assert problem[1] == "There is no such code. Check the spelling"
    assert 'value="NOSUCHCODE"' in page.text
    assert "There is a problem" not in page.text
    assert post(sold.url, seen_total="4500", code="NOSUCHCODE").status_code == 303
    assert shop.session(sold.id).amount_total == 4500


@pytest.mark.parametrize(
    ("coupon", "says"),
    [
        ({"max_redemptions": 1}, "This code is used up"),
        ({"percent_off": 99.5}, "The order is too small for this code"),
        (
            {"percent_off": "", "amount_off": 100, "currency": "eur"},
            "This code is not for this order",
        ),
    ],
)
def test_worthless_code_says_why(shop: Shop, coupon: dict[str, Any], says: str) -> None:
    code = f"WHY{len(says)}"
    promote(shop, code, **coupon)
    if "max_redemptions" in coupon:
        first = shop.sell(allow_promotion_codes=True)
        enter(first, code)
        assert post(first.url).status_code == 303
    sold = shop.sell(allow_promotion_codes=True)
    assert says in enter(sold, code).text
    assert shop.session(sold.id).discounts == []
    assert post(sold.url, seen_total="4500").status_code == 303


def test_code_used_up_meanwhile_is_noticed_before_anything_is_charged(shop: Shop) -> None:
    promote(shop, "LASTONE", max_redemptions=1)
    first, second = (shop.sell(allow_promotion_codes=True) for _ in range(2))
    pages = [enter(sold, "LASTONE").text for sold in (first, second)]
    assert [seen(page) for page in pages] == ["3825", "3825"]
    assert post(first.url, seen_total="3825").status_code == 303
    late = post(second.url, seen_total="3825")
    assert late.status_code == 409
    assert "The discount was used up or has ended. The total is now $45.00" in late.text
    assert shop.charges(second.id) == []
    assert post(second.url, seen_total=seen(late.text)).status_code == 303
    assert [charge.amount for charge in shop.charges(second.id)] == [4500]


def test_code_of_everything_asks_for_no_card(shop: Shop) -> None:
    promote(shop, "ALLFREE", percent_off=100)
    sold = shop.sell(allow_promotion_codes=True)
    page = enter(sold, "ALLFREE").text
    assert "Nothing to pay" in page
    assert "Card number" not in page
    assert post(sold.url, card_number="", expiry="", seen_total="0").status_code == 303
    session = shop.session(sold.id)
    assert (session.status, session.payment_status) == ("complete", "no_payment_required")
    assert session.payment_intent is None


def test_sellers_discount_has_no_field_and_can_not_be_removed(shop: Shop) -> None:
    coupon = shop.client.v1.coupons.create({"percent_off": 15, "name": "Friends"})
    sold = shop.sell(discounts=[{"coupon": coupon.id}])
    page = httpx.get(sold.url).text
    assert "Friends" in page
    assert "Promotion code" not in page
    enter(sold, "", "remove")
    assert shop.session(sold.id).amount_total == 3825
    assert enter(sold, "ANY").status_code == 422


def test_code_of_a_closed_page_changes_nothing(shop: Shop) -> None:
    sold = shop.sell(allow_promotion_codes=True)
    assert post(sold.url).status_code == 303
    assert "This order is paid" in enter(sold, "LAUNCH15").text
    assert httpx.get(f"{sold.url}/code").headers["location"].endswith(sold.id)
    assert httpx.post(f"{sold.url}x/code", data={}).status_code == 404


def test_tax_follows_the_country_of_the_form(shop: Shop) -> None:
    sold = shop.sell(automatic_tax={"enabled": True})
    page = httpx.get(sold.url).text
    assert seen(page) == "4500"
    assert "United States: the sandbox" in page
    page = post(sold.url, act="update", country="DE").text
    assert (seen(page), "€" in page) == ("5355", False)
    for words in ("Germany: the sandbox", "$8.55", "$53.55", FORM["card_number"]):
        assert words in page
    assert shop.session(sold.id).status == "open"
    assert post(sold.url, country="DE", seen_total="5355").status_code == 303
    session = shop.session(sold.id)
    assert (session.amount_total, session.total_details.amount_tax) == (5355, 855)
    assert [charge.amount for charge in shop.charges(sold.id)] == [5355]


def test_the_form_begins_in_the_country_whose_tax_the_order_has(shop: Shop) -> None:
    address = {"country": "DE", "postal_code": "10115"}
    ada = shop.client.v1.customers.create({"email": "ada@example.com", "address": address})
    sold = shop.sell(customer=ada.id, automatic_tax={"enabled": True})
    page = httpx.get(sold.url).text
    assert (seen(page), "Germany: the sandbox" in page) == ("5355", True)
    assert re.findall(r'<option value="(..)" selected>', page) == ["DE"]
    assert 'value="10115"' in page


def test_tax_that_the_buyer_has_not_seen_is_shown_first(shop: Shop) -> None:
    sold = shop.sell(automatic_tax={"enabled": True})
    page = post(sold.url, country="US", postal_code="10001", seen_total="4500")
    assert page.status_code == 409
    assert "The tax of your country has changed the order. The total is now $48.60" in page.text
    assert shop.charges(sold.id) == []
    paid = post(sold.url, country="US", postal_code="10001", seen_total=seen(page.text))
    assert paid.status_code == 303


def test_included_tax_is_said_to_be_included(shop: Shop) -> None:
    price = {"currency": "eur", "unit_amount": 1190, "product_data": {"name": "Ink"}}
    sold = shop.sell(
        line_items=[{"price_data": price, "quantity": 1}], automatic_tax={"enabled": True}
    )
    page = post(sold.url, act="update", country="DE").text
    assert seen(page) == "1190"
    assert "included" in page
    assert "€1.90" in page
