"""An open invoice's page over plain HTTP: shown, paid, declined, by way of the bank."""

from __future__ import annotations

import re
from typing import Any

import httpx
import pytest

from bursar_sandbox.running import Sandbox
from hosted_page_shop import FORM, answer_bank
from portal_shop import BANK_ASKS, DAY, DECLINED, OTHER, PlanShop, text_of


@pytest.fixture(scope="module")
def shop(checked_sandbox: Sandbox) -> PlanShop:
    return PlanShop(checked_sandbox.base_url)


def pay(url: str, number: str = OTHER, **changes: str) -> httpx.Response:
    return httpx.post(url, data={**FORM, "card_number": number, **changes}, timeout=30)


def billed(shop: PlanShop, amount: int = 2500) -> Any:
    """An open invoice over one thing, without any plan."""
    customer = shop.v1.customers.create({"email": "ada@lovelace.example", "name": "Ada"}).id
    shop.v1.invoice_items.create(
        {"customer": customer, "amount": amount, "currency": "usd", "description": "Advice"}
    )
    made = shop.v1.invoices.create(
        {
            "customer": customer,
            "collection_method": "send_invoice",
            "days_until_due": 14,
            "pending_invoice_items_behavior": "include",
        }
    )
    return shop.v1.invoices.finalize_invoice(made.id)


def overdue(shop: PlanShop) -> Any:
    """The invoice of a subscription whose renewal has failed."""
    subscription = shop.subscribed()
    method = shop.v1.payment_methods.attach(
        "pm_card_chargeCustomerFail", {"customer": subscription.customer}
    )
    shop.v1.subscriptions.update(subscription.id, {"default_payment_method": method.id})
    shop.advance(32 * DAY)
    return shop.v1.invoices.retrieve(shop.subscription(subscription.id).latest_invoice)


def test_an_open_invoice_is_paid_by_card_on_its_page(shop: PlanShop) -> None:
    invoice = billed(shop)
    page = httpx.get(invoice.hosted_invoice_url)
    told = text_of(page)
    assert "To be paid" in told
    assert "Advice $25.00" in told
    assert "Pay $25.00" in told
    announced = re.findall(r"<dt>(.+?)</dt>(.+?)</div>", page.text, re.S)
    accepted, declined = (re.findall(r"<code>(.+?)</code>", listed) for _, listed in announced)
    answers: list[httpx.Response] = []
    seen = shop.events_of(lambda: answers.append(pay(invoice.hosted_invoice_url, DECLINED)))
    assert seen == declined
    assert answers[0].status_code == 402
    assert "You were not charged." in text_of(answers[0])
    assert f'value="{DECLINED}"' in answers[0].text
    seen = shop.events_of(lambda: answers.append(pay(invoice.hosted_invoice_url)))
    assert answers[1].status_code == 303
    assert seen == accepted
    paid = shop.v1.invoices.retrieve(invoice.id)
    assert (paid.status, paid.amount_paid) == ("paid", 2500)
    page = httpx.get(invoice.hosted_invoice_url)
    assert "<form" not in page.text
    assert "Receipt" in page.text
    assert pay(invoice.hosted_invoice_url).status_code == 303
    assert len(shop.v1.charges.list({"customer": invoice.customer}).data) == 2


def test_what_is_not_filled_in_is_asked_for_at_its_field(shop: PlanShop) -> None:
    invoice = billed(shop)
    answer = pay(invoice.hosted_invoice_url, "", name="")
    assert answer.status_code == 422
    assert '<a href="#card_number">' in answer.text
    assert '<a href="#name">' in answer.text
    assert "#email" not in answer.text
    assert shop.v1.invoices.retrieve(invoice.id).status == "open"


def test_the_bank_leads_back_to_the_invoice(shop: PlanShop) -> None:
    invoice = billed(shop)
    url = invoice.hosted_invoice_url
    for answer, status in (("refuse", "open"), ("confirm", "paid")):
        sent = pay(url, BANK_ASKS)
        back = answer_bank(f"{shop.sandbox_url}{sent.headers['location']}", answer)
        assert back.headers["location"].startswith(url)
        page = httpx.get(back.headers["location"])
        assert ("Your bank did not confirm" in text_of(page)) == (answer == "refuse")
        assert shop.v1.invoices.retrieve(invoice.id).status == status


def test_paying_a_plan_s_invoice_makes_it_active_again_with_the_new_card(start: Any) -> None:
    shop = PlanShop(start().base_url)
    invoice = overdue(shop)
    details = invoice.parent.subscription_details
    assert shop.subscription(details.subscription).status == "past_due"
    url = invoice.hosted_invoice_url
    assert "Your plan is charged to this card from now on." in text_of(httpx.get(url))
    assert pay(url).status_code == 303
    subscription = shop.subscription(details.subscription)
    assert subscription.status == "active"
    method = shop.v1.payment_methods.retrieve(subscription.default_payment_method)
    assert (method.card.last4, method.customer) == ("4444", subscription.customer)


def test_a_plan_goes_on_with_a_card_that_the_bank_has_confirmed(start: Any) -> None:
    shop = PlanShop(start().base_url)
    invoice = overdue(shop)
    sent = pay(invoice.hosted_invoice_url, BANK_ASKS)
    back = answer_bank(f"{shop.sandbox_url}{sent.headers['location']}", "confirm")
    assert httpx.get(back.headers["location"]).status_code == 200
    details = shop.v1.invoices.retrieve(invoice.id).parent.subscription_details
    subscription = shop.subscription(details.subscription)
    assert subscription.status == "active"
    method = shop.v1.payment_methods.retrieve(subscription.default_payment_method)
    assert method.card.last4 == "3184"


def test_a_void_invoice_and_a_draft_take_no_card(shop: PlanShop) -> None:
    invoice = billed(shop)
    shop.v1.invoices.void_invoice(invoice.id)
    page = httpx.get(invoice.hosted_invoice_url)
    assert "Void: nothing is owed" in text_of(page)
    assert "<form" not in page.text
    assert pay(invoice.hosted_invoice_url).status_code == 303
    assert shop.v1.charges.list({"customer": invoice.customer}).data == []
    customer = shop.v1.customers.create({}).id
    draft = shop.v1.invoices.create({"customer": customer})
    assert httpx.get(f"{shop.sandbox_url}/i/{draft.id}").status_code == 404
    assert pay(f"{shop.sandbox_url}/i/{draft.id}").status_code == 404
