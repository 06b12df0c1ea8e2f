"""Payment links: made, changed, visited by buyers, used up and closed."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import urljoin

import httpx
import pytest
import stripe

from bursar_sandbox.running import Sandbox
from hosted_page_shop import FORM, Shop, open_shop, post

THING = {"currency": "usd", "unit_amount": 1500, "product_data": {"name": "Credits"}}


@pytest.fixture(scope="module")
def shared_sandbox(checked_sandbox: Sandbox) -> Sandbox:
    """What these tests are told is checked against Stripe's types."""
    return checked_sandbox


@pytest.fixture
def shop(shared_sandbox: Sandbox) -> Iterator[Shop]:
    with open_shop(shared_sandbox.base_url) as shop:
        yield shop


def new_link(v1: Any, **options: Any) -> Any:
    """A link that sells two things for 15 each."""
    price = v1.prices.create(THING)
    return v1.payment_links.create({"line_items": [{"price": price.id, "quantity": 2}], **options})


def visit(link: Any, query: str = "") -> str:
    """Open the link as a buyer; the address of the payment page."""
    found = httpx.get(link.url + query)
    assert found.status_code == 303, found.text
    return urljoin(link.url, found.headers["location"])


def session_at(shop: Shop, page: str) -> Any:
    return shop.session(page.rsplit("/", 1)[1])


def test_each_visit_opens_a_session_of_its_own(shop: Shop) -> None:
    link = new_link(
        shop.client.v1,
        metadata={"campaign": "May"},
        payment_intent_data={"metadata": {"pack": "large"}, "description": "A pack"},
    )
    first, second = visit(link), visit(link)
    assert first != second
    session = session_at(shop, first)
    assert (session.payment_link, session.amount_total) == (link.id, 3000)
    assert (session.customer, session.customer_creation) == (None, "if_required")
    assert session.metadata.to_dict() == {"campaign": "May"}
    text = httpx.get(first).text
    assert "Paying <strong>the shop</strong>" in text
    assert 'name="email"' in text
    done = post(first)
    assert done.headers["location"] == f"/c/pay/{session.id}"
    now = session_at(shop, first)
    assert (now.status, now.payment_status) == ("complete", "paid")
    assert now.customer_details.email == FORM["email"]
    intent = shop.client.v1.payment_intents.retrieve(now.payment_intent)
    assert (intent.description, intent.metadata.to_dict()) == ("A pack", {"pack": "large"})
    listed = shop.client.v1.checkout.sessions.list({"payment_link": link.id}).data
    assert {one.id for one in listed} == {first.rsplit("/", 1)[1], second.rsplit("/", 1)[1]}


def test_guest_becomes_a_customer_when_the_link_says_so(shop: Shop) -> None:
    page = visit(new_link(shop.client.v1, customer_creation="always"))
    post(page)
    customer = shop.client.v1.customers.retrieve(session_at(shop, page).customer)
    assert customer.email == FORM["email"]


def test_link_leads_to_the_shop_when_it_knows_the_way(shop: Shop) -> None:
    url = f"{shop.url}/thanks?id={{CHECKOUT_SESSION_ID}}"
    after = {"type": "redirect", "redirect": {"url": url}}
    page = visit(new_link(shop.client.v1, after_completion=after))
    session = session_at(shop, page)
    assert session.success_url == url
    assert post(page).headers["location"] == f"{shop.url}/thanks?id={session.id}"


def test_link_without_a_way_thanks_the_buyer_itself(shop: Shop) -> None:
    after = {
        "type": "hosted_confirmation",
        "hosted_confirmation": {"custom_message": "Your credits are on their way."},
    }
    page = visit(new_link(shop.client.v1, after_completion=after))
    assert session_at(shop, page).success_url == "https://stripe.com"
    thanks = httpx.get(urljoin(page, post(page).headers["location"])).text
    assert "This order is paid" in thanks
    assert "Your credits are on their way." in thanks
    assert "stripe.com" not in thanks


@pytest.mark.parametrize(
    ("query", "reference", "email"),
    [
        ("?client_reference_id=user_42&prefilled_email=a%40b.example", "user_42", "a@b.example"),
        ("?client_reference_id=no%20spaces&prefilled_email=nobody", None, None),
        ("?utm_source=x", None, None),
    ],
)
def test_address_may_name_the_buyer(
    shop: Shop, query: str, reference: str | None, email: str | None
) -> None:
    session = session_at(shop, visit(new_link(shop.client.v1), query))
    assert (session.client_reference_id, session.customer_email) == (reference, email)


def test_link_ends_at_its_limit(shop: Shop) -> None:
    v1 = shop.client.v1
    link = new_link(
        v1,
        restrictions={"completed_sessions": {"limit": 2}},
        inactive_message="Sold out. Come back in June.",
    )
    post(visit(link))
    assert v1.payment_links.retrieve(link.id).restrictions.completed_sessions.count == 1
    page = visit(link)
    types = shop.events_of(lambda: post(page))
    assert "payment_link.updated" in types
    now = v1.payment_links.retrieve(link.id)
    assert (now.active, now.restrictions.completed_sessions.count) == (False, 2)
    closed = httpx.get(link.url)
    assert (closed.status_code, "Sold out. Come back in June." in closed.text) == (410, True)


def test_link_is_switched_off_and_on(shop: Shop) -> None:
    v1 = shop.client.v1
    link = new_link(v1)
    assert shop.events_of(lambda: v1.payment_links.update(link.id, {"active": False})) == [
        "payment_link.updated"
    ]
    assert "no longer active" in httpx.get(link.url).text
    assert link.id in {one.id for one in v1.payment_links.list({"active": False}).data}
    v1.payment_links.update(link.id, {"active": True, "metadata": {"a": "b"}})
    assert session_at(shop, visit(link)).metadata.to_dict() == {"a": "b"}
    missing = httpx.get(f"{shop.sandbox_url}/b/plink_none")
    assert missing.status_code == 404


def test_link_sells_by_its_price_though_it_is_archived(shop: Shop) -> None:
    v1 = shop.client.v1
    link = v1.payment_links.create(
        {"line_items": [{"price_data": THING, "quantity": 1}], "expand": ["line_items"]}
    )
    price = link.line_items.data[0].price
    items = v1.checkout.sessions.line_items.list(visit(link).rsplit("/", 1)[1])
    assert (items.data[0].price.id, price.active) == (price.id, False)


def test_quantity_of_a_line_is_changed_for_the_next_visits(shop: Shop) -> None:
    v1 = shop.client.v1
    link = new_link(v1)
    (item,) = v1.payment_links.line_items.list(link.id).data
    v1.payment_links.update(link.id, {"line_items": [{"id": item.id, "quantity": 5}]})
    (changed,) = v1.payment_links.line_items.list(link.id).data
    assert (changed.quantity, changed.amount_total) == (5, 7500)
    assert session_at(shop, visit(link)).amount_total == 7500
    with pytest.raises(stripe.InvalidRequestError):
        v1.payment_links.update(link.id, {"line_items": [{"id": "li_none", "quantity": 1}]})


def test_buyer_chooses_the_quantity_within_the_sellers_bounds(shop: Shop) -> None:
    v1 = shop.client.v1
    allowed = {"enabled": True, "minimum": 1, "maximum": 4}
    row = {"price_data": THING, "quantity": 2, "adjustable_quantity": allowed}
    page = visit(v1.payment_links.create({"line_items": [row]}))
    item = re.search(r'name="item" value="(\w+)"', httpx.get(page).text)
    assert item is not None
    fields = {"item": item[1], "quantity": "3", "name": "Ada"}
    changed = httpx.post(f"{page}/quantity", data=fields)
    assert (changed.status_code, "$45.00" in changed.text) == (200, True)
    assert 'value="Ada"' in changed.text
    for wrong in ("5", "0", "many"):
        refused = httpx.post(f"{page}/quantity", data={**fields, "quantity": wrong})
        assert refused.status_code == 422
        assert "Choose a quantity of 1 to 4." in refused.text
    assert post(page, seen_total="4500").status_code == 303
    session = session_at(shop, page)
    assert (session.amount_subtotal, session.amount_total) == (4500, 4500)
    (charge,) = shop.charges(session.id)
    assert charge.amount == 4500


def test_fixed_quantity_is_not_the_buyers_to_change(shop: Shop) -> None:
    page = visit(new_link(shop.client.v1))
    item = shop.client.v1.checkout.sessions.line_items.list(page.rsplit("/", 1)[1]).data[0]
    refused = httpx.post(f"{page}/quantity", data={"item": item.id, "quantity": "1"})
    assert refused.status_code == 422
    assert session_at(shop, page).amount_total == 3000


def test_recurring_link_says_that_the_sandbox_can_not_sell_it_yet(shop: Shop) -> None:
    v1 = shop.client.v1
    price = v1.prices.create({**THING, "recurring": {"interval": "month"}})
    link = v1.payment_links.create({"line_items": [{"price": price.id, "quantity": 1}]})
    assert link.subscription_data is not None
    assert link.invoice_creation is None
    assert "recurring price" in httpx.get(link.url).text


def test_links_options_are_their_sessions_options(shop: Shop) -> None:
    v1 = shop.client.v1
    link = new_link(
        v1,
        allow_promotion_codes=True,
        invoice_creation={"enabled": True},
        consent_collection={"promotions": "auto", "terms_of_service": "required"},
    )
    page = visit(link)
    session = session_at(shop, page)
    assert (session.allow_promotion_codes, session.invoice_creation.enabled) == (True, True)
    refused = post(page)
    assert refused.status_code == 422
    assert "Agree to the shop’s terms" in refused.text
    assert shop.charges(session.id) == []
    assert post(page, terms="yes", promotions="yes").status_code == 303
    now = session_at(shop, page)
    assert (now.consent.terms_of_service, now.consent.promotions) == ("accepted", "opt_in")
    assert v1.invoices.retrieve(now.invoice).status == "paid"


@pytest.mark.parametrize(
    ("params", "param"),
    [
        ({"line_items": []}, "line_items"),
        ({"line_items": [{"price": "price_none", "quantity": 1}]}, "line_items[0][price]"),
        ({"after_completion": {"type": "redirect"}}, "after_completion[redirect]"),
        (
            {"after_completion": {"type": "redirect", "redirect": {"url": "javascript:x"}}},
            "after_completion[redirect][url]",
        ),
        ({"restrictions": {"completed_sessions": {"limit": 0}}},
         "restrictions[completed_sessions][limit]"),
        ({"wrong": "x"}, "wrong"),
    ],
)  # fmt: skip
def test_wrong_link_is_refused(shop: Shop, params: dict[str, Any], param: str) -> None:
    with pytest.raises(stripe.InvalidRequestError) as caught:
        new_link(shop.client.v1, **params)
    assert caught.value.param == param
