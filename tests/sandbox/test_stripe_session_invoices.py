"""Invoices and receipts of one-time checkout sessions."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from bursar_sandbox.running import Sandbox
from hosted_page_shop import Shop, advance, open_shop, post
from stripe_shop import SUCCESS, card, confirm_page, iban, open_session


@pytest.fixture(scope="module")
def shared_sandbox(checked_sandbox: Sandbox) -> Sandbox:
    """What these tests are told is checked against Stripe's types."""
    return checked_sandbox


@pytest.fixture
def shop(shared_sandbox: Sandbox) -> Iterator[Shop]:
    with open_shop(shared_sandbox.base_url) as shop:
        yield shop


def test_session_writes_a_paid_invoice(client: Any) -> None:
    v1 = client.v1
    data = {"description": "Thank you", "metadata": {"order": "7"}, "footer": "Bye"}
    session = open_session(v1, invoice_creation={"enabled": True, "invoice_data": data})
    confirm_page(client, session, card(v1))
    expand: Any = {"expand": ["invoice.payments"]}
    now = v1.checkout.sessions.retrieve(session.id, expand)
    invoice = now.invoice
    assert (invoice.status, invoice.amount_paid, invoice.customer) == ("paid", 3000, now.customer)
    assert (invoice.description, invoice.footer) == ("Thank you", "Bye")
    assert invoice.metadata.to_dict() == {"order": "7"}
    (line,) = invoice.lines.data
    assert (line.amount, line.quantity, line.description) == (3000, 2, "Credits")
    (payment,) = invoice.payments.data
    assert payment.payment.payment_intent == now.payment_intent
    assert now.customer_details.email == invoice.customer_email


def test_sessions_discount_and_taxes_are_the_invoices(client: Any) -> None:
    v1 = client.v1
    coupon = v1.coupons.create({"percent_off": 15, "duration": "once"})
    rate = v1.tax_rates.create({"display_name": "VAT", "percentage": 19, "inclusive": False})
    price = {"currency": "usd", "unit_amount": 999, "product_data": {"name": "Ink"}}
    session = v1.checkout.sessions.create(
        {
            "mode": "payment",
            "success_url": SUCCESS,
            "line_items": [
                {"price_data": price, "quantity": 3, "tax_rates": [rate.id]},
                {"price_data": {**price, "unit_amount": 101}, "quantity": 7},
            ],
            "discounts": [{"coupon": coupon.id}],
            "invoice_creation": {"enabled": True},
        }
    )
    confirm_page(client, session, card(v1))
    invoice = v1.invoices.retrieve(v1.checkout.sessions.retrieve(session.id).invoice)
    details = session.total_details
    assert (invoice.subtotal, invoice.total) == (session.amount_subtotal, session.amount_total)
    assert [part.amount for part in invoice.total_discount_amounts] == [details.amount_discount]
    assert [part.amount for part in invoice.total_taxes] == [details.amount_tax]
    assert invoice.total_excluding_tax == invoice.total - details.amount_tax
    lines = invoice.lines.data
    off = sum(part.amount for line in lines for part in line.discount_amounts)
    tax = sum(part.amount for line in lines for part in line.taxes)
    assert sum(line.amount for line in lines) - off + tax == invoice.total
    assert lines[0].taxes[0].tax_rate_details.tax_rate == rate.id


def test_delayed_session_writes_its_invoice_when_the_money_is_there(
    client: Any, shared_sandbox: Sandbox
) -> None:
    v1 = client.v1
    session = open_session(
        v1,
        unit_currency="eur",
        payment_method_types=["sepa_debit"],
        invoice_creation={"enabled": True},
    )
    confirm_page(client, session, iban(v1, "AT611904300234573201"))
    assert v1.checkout.sessions.retrieve(session.id).invoice is None
    advance(shared_sandbox.base_url, 60)
    now = v1.checkout.sessions.retrieve(session.id)
    assert v1.invoices.retrieve(now.invoice).status == "paid"


def test_free_order_has_an_invoice_over_nothing(shop: Shop) -> None:
    price = {"currency": "usd", "unit_amount": 0, "product_data": {"name": "Sample"}}
    sold = shop.sell(
        line_items=[{"price_data": price, "quantity": 1}], invoice_creation={"enabled": True}
    )
    assert post(sold.url).status_code == 303
    invoice = shop.client.v1.invoices.retrieve(shop.session(sold.id).invoice)
    assert (invoice.status, invoice.total) == ("paid", 0)


def test_invoice_has_a_page_a_pdf_and_a_receipt(shop: Shop) -> None:
    sold = shop.sell(invoice_creation={"enabled": True})
    post(sold.url)
    invoice = shop.client.v1.invoices.retrieve(shop.session(sold.id).invoice)
    page = httpx.get(invoice.hosted_invoice_url)
    for words in (invoice.number, "Paid", "Ink, black", "$45.00", "Ada Lovelace"):
        assert words in page.text
    (charge,) = shop.charges(sold.id)
    assert charge.receipt_url in page.text
    assert httpx.get(charge.receipt_url).status_code == 200
    paper = httpx.get(invoice.invoice_pdf)
    assert paper.headers["content-type"] == "application/pdf"
    assert paper.content.startswith(b"%PDF-1.4")
    assert invoice.number.encode() in paper.content


def test_receipt_goes_to_the_address_that_the_seller_names(shop: Shop) -> None:
    data = {"receipt_email": "books@lovelace.example"}
    sold = shop.sell(payment_intent_data=data)
    post(sold.url)
    (charge,) = shop.charges(sold.id)
    assert charge.receipt_email == "books@lovelace.example"
