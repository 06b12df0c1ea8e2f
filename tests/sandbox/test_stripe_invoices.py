"""Invoices: drafted from items, finalized, paid, refused, given up."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import pytest
import stripe

from bursar_sandbox.running import Sandbox
from hosted_page_shop import Shop, advance, answer_bank, open_shop
from stripe_shop import card, iban

PAID = ["invoice_payment.paid", "invoice.updated", "invoice.paid", "invoice.payment_succeeded"]


@pytest.fixture(scope="module")
def shared_sandbox(checked_sandbox: Sandbox) -> Sandbox:
    """What these tests are told is checked against Stripe's types."""
    return checked_sandbox


@pytest.fixture
def shop(shared_sandbox: Sandbox) -> Iterator[Shop]:
    with open_shop(shared_sandbox.base_url) as shop:
        yield shop


@pytest.fixture
def customer(v1: Any) -> str:
    return str(v1.customers.create({"email": "ada@lovelace.example", "name": "Ada"}).id)


def add_item(v1: Any, customer: str, amount: int = 2000, **options: Any) -> Any:
    """A pending item."""
    wanted = {"customer": customer, "amount": amount, "currency": "usd"}
    return v1.invoice_items.create({**wanted, "description": "Credits", **options})


def draft(v1: Any, customer: str, **options: Any) -> Any:
    """A draft over all that is pending; over 20.00 if nothing is."""
    if not v1.invoice_items.list({"customer": customer, "pending": True}).data:
        add_item(v1, customer)
    wanted = {"customer": customer, "pending_invoice_items_behavior": "include"}
    return v1.invoices.create({**wanted, **options})


def attach(v1: Any, customer: str, number: str = "4242424242424242") -> str:
    return str(v1.payment_methods.attach(card(v1, number).id, {"customer": customer}).id)


def test_draft_takes_what_is_pending(v1: Any, customer: str) -> None:
    price = v1.prices.create(
        {"currency": "usd", "unit_amount": 250, "product_data": {"name": "Ink"}}
    )
    add_item(v1, customer, 1999)
    wanted = {"customer": customer, "pricing": {"price": price.id}, "quantity": 3}
    ink = v1.invoice_items.create(wanted)
    assert (ink.amount, ink.description, ink.pricing.price_details.price) == (
        750, "Ink", price.id,
    )  # fmt: skip
    empty = v1.invoices.create({"customer": customer})
    assert (empty.total, empty.lines.data) == (0, [])
    invoice = draft(v1, customer)
    assert (invoice.status, invoice.number, invoice.amount_due) == ("draft", None, 2749)
    lines = v1.invoices.line_items.list(invoice.id).data
    assert [(line.amount, line.quantity) for line in lines] == [(1999, 1), (750, 3)]
    assert lines[1].parent.invoice_item_details.invoice_item == ink.id
    assert v1.invoice_items.list({"customer": customer, "pending": True}).data == []
    assert len(v1.invoice_items.list({"invoice": invoice.id}).data) == 2


def test_items_of_a_draft_change_its_sums(shop: Shop, customer: str) -> None:
    v1 = shop.client.v1
    invoice = draft(v1, customer)
    types = shop.events_of(lambda: add_item(v1, customer, 500, invoice=invoice.id))
    assert types == ["invoiceitem.created", "invoice.updated"]
    first, second = v1.invoice_items.list({"invoice": invoice.id}).data
    v1.invoice_items.update(second.id, {"amount": 100})
    assert v1.invoices.retrieve(invoice.id).total == 600
    v1.invoice_items.delete(first.id)
    assert v1.invoices.retrieve(invoice.id).total == 100
    v1.invoices.finalize_invoice(invoice.id)
    for act in (
        lambda: v1.invoice_items.delete(second.id),
        lambda: add_item(v1, customer, invoice=invoice.id),
        lambda: v1.invoices.update(invoice.id, {"default_payment_method": ""}),
        lambda: v1.invoices.delete(invoice.id),
        lambda: v1.invoices.finalize_invoice(invoice.id),
    ):
        with pytest.raises(stripe.InvalidRequestError) as caught:
            act()
        assert caught.value.code == "invoice_not_editable"


def test_finalized_invoice_waits_for_a_payment(shop: Shop, customer: str) -> None:
    v1 = shop.client.v1
    made = draft(v1, customer)
    types = shop.events_of(lambda: v1.invoices.finalize_invoice(made.id))
    assert types == ["payment_intent.created", "invoice.finalized"]
    expand: Any = {"expand": ["payments.data.payment.payment_intent", "confirmation_secret"]}
    invoice = v1.invoices.retrieve(made.id, expand)
    (payment,) = invoice.payments.data
    intent = payment.payment.payment_intent
    assert (invoice.status, payment.status, payment.amount_requested) == ("open", "open", 2000)
    assert (intent.amount, intent.customer) == (2000, customer)
    assert invoice.confirmation_secret.client_secret == intent.client_secret
    prefix = v1.customers.retrieve(customer).invoice_prefix
    assert invoice.number == f"{prefix}-0001"
    second = v1.invoices.finalize_invoice(draft(v1, customer).id)
    assert second.number == f"{prefix}-0002"
    # A page of the seller's pays the intent, and the invoice is paid with it.
    v1.payment_intents.confirm(intent.id, {"payment_method": "pm_card_visa"})
    assert v1.invoices.retrieve(made.id).status == "paid"


def test_invoice_is_paid_with_the_customers_default(shop: Shop, customer: str) -> None:
    v1 = shop.client.v1
    invoice = draft(v1, customer)
    with pytest.raises(stripe.InvalidRequestError) as caught:
        v1.invoices.pay(invoice.id)
    assert caught.value.param == "default_payment_method"
    assert v1.invoices.retrieve(invoice.id).status == "draft"
    default = {"default_payment_method": attach(v1, customer)}
    v1.customers.update(customer, {"invoice_settings": default})
    types = shop.events_of(lambda: v1.invoices.pay(invoice.id))
    assert types == [
        "payment_intent.created", "invoice.finalized", "charge.succeeded",
        "payment_intent.succeeded", *PAID,
    ]  # fmt: skip
    paid = v1.invoices.retrieve(invoice.id)
    assert (paid.status, paid.amount_paid, paid.amount_remaining) == ("paid", 2000, 0)
    assert (paid.attempted, paid.attempt_count) == (True, 1)
    (payment,) = v1.invoice_payments.list({"invoice": invoice.id, "status": "paid"}).data
    by_intent = {"type": "payment_intent", "payment_intent": payment.payment.payment_intent}
    (same,) = v1.invoice_payments.list({"payment": by_intent}).data
    assert (same.id, v1.invoice_payments.retrieve(same.id).amount_paid) == (payment.id, 2000)
    with pytest.raises(stripe.InvalidRequestError) as caught:
        v1.invoices.pay(invoice.id)
    assert "already paid" in str(caught.value)


def test_declined_card_leaves_the_invoice_open(shop: Shop, customer: str) -> None:
    v1 = shop.client.v1
    invoice = draft(v1, customer)
    bad = attach(v1, customer, "4000000000000341")
    before = shop.latest_event_id()
    with pytest.raises(stripe.CardError) as caught:
        v1.invoices.pay(invoice.id, {"payment_method": bad})
    assert caught.value.code == "card_declined"
    types = shop.event_types_since(before)
    assert types[-3:] == [
        "charge.failed",
        "payment_intent.payment_failed",
        "invoice.payment_failed",
    ]
    now = v1.invoices.retrieve(invoice.id)
    assert (now.status, now.attempted, now.attempt_count) == ("open", True, 1)
    again = v1.invoices.pay(invoice.id, {"payment_method": attach(v1, customer)})
    assert (again.status, again.attempt_count) == ("paid", 2)


def test_bank_that_asks_has_the_invoice_wait_for_the_buyer(shop: Shop, customer: str) -> None:
    v1 = shop.client.v1
    invoice = draft(v1, customer)
    asks = attach(v1, customer, "4000002760003184")
    before = shop.latest_event_id()
    with pytest.raises(stripe.CardError) as caught:
        v1.invoices.pay(invoice.id, {"payment_method": asks})
    assert caught.value.code == "invoice_payment_intent_requires_action"
    assert shop.event_types_since(before)[-3:] == [
        "payment_intent.requires_action", "invoice.payment_failed",
        "invoice.payment_action_required",
    ]  # fmt: skip
    (payment,) = v1.invoice_payments.list({"invoice": invoice.id}).data
    intent = v1.payment_intents.retrieve(payment.payment.payment_intent)
    answer_bank(intent.next_action.use_stripe_sdk["stripe_js"], "confirm")
    assert v1.invoices.retrieve(invoice.id).status == "paid"


def test_delayed_debit_pays_the_invoice_when_the_bank_answers(shop: Shop, customer: str) -> None:
    v1 = shop.client.v1
    account = iban(v1, "AT611904300234573201").id
    v1.payment_methods.attach(account, {"customer": customer})
    add_item(v1, customer, currency="eur")
    settings = {"payment_method_types": ["sepa_debit"]}
    invoice = draft(v1, customer, payment_settings=settings)
    pending = v1.invoices.pay(invoice.id, {"payment_method": account})
    assert pending.status == "open"
    advance(shop.sandbox_url, 60)
    assert v1.invoices.retrieve(invoice.id).status == "paid"


def test_money_may_come_outside_of_stripe(shop: Shop, customer: str) -> None:
    v1 = shop.client.v1
    invoice = v1.invoices.finalize_invoice(draft(v1, customer).id)
    paid = v1.invoices.pay(invoice.id, {"paid_out_of_band": True})
    (payment,) = v1.invoice_payments.list({"invoice": invoice.id}).data
    assert (paid.status, payment.status) == ("paid", "canceled")
    assert v1.charges.list({"customer": customer}).data == []


@pytest.mark.parametrize(
    ("act", "status", "moment"),
    [
        ("void_invoice", "void", "voided_at"),
        ("mark_uncollectible", "uncollectible", "marked_uncollectible_at"),
    ],
)
def test_open_invoice_is_given_up(
    shop: Shop, customer: str, act: str, status: str, moment: str
) -> None:
    v1 = shop.client.v1
    with pytest.raises(stripe.InvalidRequestError):
        getattr(v1.invoices, act)(draft(v1, customer).id)
    invoice = v1.invoices.finalize_invoice(draft(v1, customer).id)
    before = shop.latest_event_id()
    now = getattr(v1.invoices, act)(invoice.id)
    event = "invoice.voided" if status == "void" else "invoice.marked_uncollectible"
    assert shop.event_types_since(before)[-1] == event
    assert now.status == status
    assert now.status_transitions[moment] is not None
    method = {"payment_method": attach(v1, customer)}
    if status == "void":
        with pytest.raises(stripe.InvalidRequestError):
            v1.invoices.pay(invoice.id, method)
    else:
        assert v1.invoices.pay(invoice.id, method).status == "paid"


def test_invoice_is_sent_to_who_has_an_address(shop: Shop, customer: str) -> None:
    v1 = shop.client.v1
    with pytest.raises(stripe.InvalidRequestError):
        v1.invoices.send_invoice(draft(v1, customer).id)
    with pytest.raises(stripe.InvalidRequestError):
        draft(v1, customer, collection_method="send_invoice")
    sent = draft(v1, customer, collection_method="send_invoice", days_until_due=7)
    assert sent.due_date == sent.created + 7 * 24 * 3600
    types = shop.events_of(lambda: v1.invoices.send_invoice(sent.id))
    assert types == ["payment_intent.created", "invoice.finalized", "invoice.sent"]
    nobody = v1.customers.create({}).id
    unknown = draft(v1, nobody, collection_method="send_invoice", days_until_due=7)
    with pytest.raises(stripe.InvalidRequestError):
        v1.invoices.send_invoice(unknown.id)


def test_deleted_draft_gives_its_items_back(shop: Shop, customer: str) -> None:
    v1 = shop.client.v1
    invoice = draft(v1, customer)
    assert shop.events_of(lambda: v1.invoices.delete(invoice.id)) == ["invoice.deleted"]
    with pytest.raises(stripe.InvalidRequestError) as caught:
        v1.invoices.retrieve(invoice.id)
    assert caught.value.http_status == 404
    assert len(v1.invoice_items.list({"customer": customer, "pending": True}).data) == 1


@pytest.mark.parametrize(("number", "status"), [("4242424242424242", "paid"), (None, "open")])
def test_draft_that_goes_on_by_itself_is_collected_an_hour_later(
    shop: Shop, customer: str, number: str | None, status: str
) -> None:
    v1 = shop.client.v1
    if number is not None:
        default = {"default_payment_method": attach(v1, customer, number)}
        v1.customers.update(customer, {"invoice_settings": default})
    invoice = draft(v1, customer, auto_advance=True)
    assert invoice.automatically_finalizes_at == invoice.created + 3600
    advance(shop.sandbox_url, 3700)
    now = v1.invoices.retrieve(invoice.id)
    assert (now.status, now.attempt_count) == (status, 1)


def test_invoice_over_nothing_is_paid_at_once(v1: Any, customer: str) -> None:
    invoice = v1.invoices.create({"customer": customer})
    paid = v1.invoices.finalize_invoice(invoice.id)
    assert (paid.status, paid.amount_paid) == ("paid", 0)
    assert v1.invoice_payments.list({"invoice": invoice.id}).data == []


def test_page_shows_an_invoice_once_it_is_finalized(shop: Shop, customer: str) -> None:
    waiting = draft(shop.client.v1, customer)
    address = f"{shop.sandbox_url}/i/{waiting.id}"
    assert httpx.get(address).status_code == 404
    assert httpx.get(f"{address}/pdf").status_code == 404
    shop.client.v1.invoices.finalize_invoice(waiting.id)
    assert "To be paid" in httpx.get(address).text


@pytest.mark.parametrize(
    ("params", "param"),
    [
        ({"customer": "cus_none"}, "customer"),
        ({"days_until_due": 3}, "days_until_due"),
        ({"collection_method": "by_hand"}, "collection_method"),
        ({"subscription": "sub_x"}, "subscription"),
        ({"wrong": "x"}, "wrong"),
    ],
)
def test_wrong_invoice_is_refused(
    v1: Any, customer: str, params: dict[str, Any], param: str
) -> None:
    with pytest.raises(stripe.InvalidRequestError) as caught:
        v1.invoices.create({"customer": customer, **params})
    assert caught.value.param == param


@pytest.mark.parametrize(
    ("params", "param"),
    [
        ({"currency": ""}, "currency"),
        ({"amount": ""}, "amount"),
        ({"invoice": "in_none"}, "invoice"),
        ({"unit_amount_decimal": "10"}, "amount"),
    ],
)
def test_wrong_item_is_refused(v1: Any, customer: str, params: dict[str, Any], param: str) -> None:
    with pytest.raises(stripe.InvalidRequestError) as caught:
        add_item(v1, customer, **params)
    assert caught.value.param == param
