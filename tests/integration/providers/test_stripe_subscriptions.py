"""The adapter's calls about subscriptions, against a Stripe that answers as the real one does."""

from __future__ import annotations

import time
import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import httpx2
import pytest

import hosted_page_shop
from bursar import errors
from bursar.providers.port import CheckoutOrder, CustomerOrder, OrderLine, PaymentFacts
from bursar.providers.recurring import (
    ChangeOrder,
    Proration,
    SteerKind,
    SubscribeTerms,
    SubscriptionFact,
)
from bursar.providers.stripe import Stripe
from bursar_sandbox import control_client
from bursar_sandbox.running import Sandbox
from worlds import SECRET_KEY, WEBHOOK_SECRET, stripe_client

DECLINED = "pm_card_chargeCustomerFail"
DAY = 86_400
ASKS = "pm_card_authenticationRequired"


@dataclass
class Shop:
    """The adapter, the official library, a customer with a card, and two plans."""

    adapter: Stripe
    v1: Any
    customer_id: str
    basic: str
    pro: str
    yearly: str

    def subscribe(self, **options: Any) -> Any:
        wanted = {"customer": self.customer_id, "items": [{"price": self.basic}], **options}
        return self.v1.subscriptions.create(wanted)

    def card(self, method: str = "pm_card_visa") -> str:
        attached = self.v1.payment_methods.attach(method, {"customer": self.customer_id})
        return str(attached.id)

    def charge_by_default(self, card_id: str) -> None:
        settings = {"default_payment_method": card_id}
        self.v1.customers.update(self.customer_id, {"invoice_settings": settings})

    async def fetch(self, subscription_id: str) -> SubscriptionFact:
        found = await self.adapter.fetch_subscription(subscription_id=subscription_id)
        assert found is not None
        return found

    async def order(
        self, subscription_id: str, price_id: str, proration: Proration, quantity: int = 1
    ) -> ChangeOrder:
        [item] = (await self.fetch(subscription_id)).items
        return ChangeOrder(
            subscription_id=subscription_id,
            item_id=item.item_id,
            price_id=price_id,
            quantity=quantity,
            proration=proration,
            at=datetime.fromtimestamp(int(time.time()), UTC),
        )


def reference() -> str:
    return str(uuid.uuid4())


@pytest.fixture
async def shop(sandbox: Sandbox) -> AsyncIterator[Shop]:
    adapter = Stripe(
        secret_key=SECRET_KEY, webhook_secrets=[WEBHOOK_SECRET], base=sandbox.base_url, live=False
    )
    v1 = stripe_client(sandbox).v1

    def price(amount: int, interval: str = "month") -> str:
        product = v1.products.create({"name": f"Plan of {amount}"})
        made = v1.prices.create(
            {
                "product": product.id,
                "currency": "usd",
                "unit_amount": amount,
                "recurring": {"interval": interval},  # type: ignore[typeddict-item]
            }
        )
        return made.id

    made = await adapter.create_customer(
        CustomerOrder(reference=reference(), email="ada@example.com", name="Ada", metadata={})
    )
    here = Shop(adapter, v1, made, price(1500), price(3000), price(15_000, "year"))
    here.charge_by_default(here.card())
    yield here
    await adapter.close()


def checkout(shop: Shop, terms: SubscribeTerms) -> CheckoutOrder:
    return CheckoutOrder(
        reference=reference(),
        provider_customer_id=shop.customer_id,
        currency="usd",
        lines=[OrderLine(quantity=2, price_id=shop.basic)],
        success_url="http://127.0.0.1:8000/thanks",
        cancel_url="http://127.0.0.1:8000/pricing",
        capture_method="automatic",
        description="Basic",
        metadata={"team": "blue"},
        subscribe=terms,
    )


async def complete(sandbox: Sandbox, session_id: str) -> None:
    """Complete a session as the official command line does."""
    async with httpx2.AsyncClient(
        base_url=sandbox.base_url, headers={"Authorization": f"Bearer {SECRET_KEY}"}, timeout=30
    ) as http:
        wanted = {"type": "card", "card[token]": "tok_visa"}
        made = await http.post("/v1/payment_methods", data=wanted)
        data = {"payment_method": made.json()["id"]}
        done = await http.post(f"/v1/payment_pages/{session_id}/confirm", data=data)
    assert done.status_code == 200, done.text


def complete_without_card(url: str) -> None:
    """Complete a session as a buyer does on the hosted page."""
    done = hosted_page_shop.post(url, card_number="", expiry="", security_code="")
    assert done.status_code == 303, done.text


async def test_a_checkout_that_begins_a_subscription_is_found_and_read_whole(
    shop: Shop, sandbox: Sandbox
) -> None:
    order = checkout(shop, SubscribeTerms())
    opened = await shop.adapter.create_checkout(order)
    assert opened == await shop.adapter.find_checkout(order.reference, shop.customer_id)
    session = shop.v1.checkout.sessions.retrieve(opened.session_id)
    assert (session.mode, session.payment_method_collection) == ("subscription", "always")
    await complete(sandbox, opened.session_id)
    payment, subscription = await shop.adapter.fetch_payment(
        session_id=opened.session_id, payment_intent_id=None, reference=order.reference
    )
    assert isinstance(payment, PaymentFacts)
    # What was taken is the invoice's to say.
    assert (payment.state, payment.captured_minor) == ("completed", None)
    assert payment.reference == order.reference
    assert payment.totals is not None
    assert [(row.price_id, row.quantity) for row in payment.totals.lines] == [(shop.basic, 2)]
    assert isinstance(subscription, SubscriptionFact)
    assert (subscription.status, subscription.reference) == ("active", order.reference)
    assert subscription.email == "ada@example.com"
    [item] = subscription.items
    assert (item.price_id, item.quantity, item.amount_minor) == (shop.basic, 2, 1500)
    [invoice] = subscription.invoices
    assert (invoice.status, invoice.reason, invoice.total_minor) == ("paid", "create", 3000)
    assert invoice.charge_id
    by_intent = await shop.adapter.fetch_payment(
        session_id=None, payment_intent_id=invoice.payment_intent_id, reference=None
    )
    assert by_intent[-1] == subscription


async def test_the_payment_of_an_invoice_leads_to_its_subscription(shop: Shop) -> None:
    made = shop.subscribe()
    [invoice] = (await shop.fetch(made.id)).invoices
    told = await shop.adapter.fetch_payment(
        session_id=None, payment_intent_id=invoice.payment_intent_id, reference=None
    )
    payment, subscription = told
    assert isinstance(payment, PaymentFacts)
    assert (payment.state, payment.captured_minor) == ("completed", 1500)
    assert isinstance(subscription, SubscriptionFact)
    assert subscription.subscription_id == made.id


@pytest.mark.parametrize(
    ("terms", "collect", "behavior"),
    [
        (SubscribeTerms(14), "always", "cancel"),
        (SubscribeTerms(14, trial_card=False), "if_required", "cancel"),
        (SubscribeTerms(14, trial_card=False, trial_end="pause"), "if_required", "pause"),
    ],
)
async def test_a_trial_takes_nothing_and_asks_for_a_card_as_it_was_told(
    shop: Shop, sandbox: Sandbox, terms: SubscribeTerms, collect: str, behavior: str
) -> None:
    order = checkout(shop, terms)
    opened = await shop.adapter.create_checkout(order)
    session = shop.v1.checkout.sessions.retrieve(opened.session_id)
    assert (session.payment_method_collection, session.amount_total) == (collect, 0)
    if terms.trial_card:
        await complete(sandbox, opened.session_id)
    else:
        complete_without_card(opened.url)
    payment, subscription = await shop.adapter.fetch_payment(
        session_id=opened.session_id, payment_intent_id=None, reference=order.reference
    )
    assert isinstance(payment, PaymentFacts)
    assert (payment.state, payment.captured_minor, payment.amount_minor) == ("completed", 0, 0)
    assert isinstance(subscription, SubscriptionFact)
    assert subscription.status == "trialing"
    assert subscription.trial_start is not None
    assert subscription.trial_end is not None
    assert (subscription.trial_end - subscription.trial_start).days == 14
    made = shop.v1.subscriptions.retrieve(subscription.subscription_id)
    assert made.trial_settings.end_behavior.missing_payment_method == behavior


async def test_an_open_checkout_is_closed_and_a_closed_one_refuses(shop: Shop) -> None:
    opened = await shop.adapter.create_checkout(checkout(shop, SubscribeTerms()))
    await shop.adapter.expire_checkout(opened.session_id)
    session = shop.v1.checkout.sessions.retrieve(opened.session_id)
    assert session.status == "expired"
    with pytest.raises(errors.ProviderRejected):
        await shop.adapter.expire_checkout(opened.session_id)


async def test_what_is_not_there_is_none(shop: Shop) -> None:
    adapter = shop.adapter
    assert await adapter.fetch_subscription(subscription_id="sub_none") is None
    assert await adapter.fetch_subscription(invoice_id="in_none") is None
    assert await adapter.fetch_subscription() is None
    loose = shop.v1.invoices.create({"customer": shop.customer_id})
    assert await adapter.fetch_subscription(invoice_id=loose.id) is None


async def test_an_invoice_leads_to_its_subscription_and_is_among_those_told(shop: Shop) -> None:
    made = shop.subscribe()
    [first] = (await shop.fetch(made.id)).invoices
    for number in range(10):
        order = await shop.order(made.id, (shop.pro, shop.basic)[number % 2], "always_invoice")
        await shop.adapter.change_subscription(reference(), order)
    newest = (await shop.fetch(made.id)).invoices
    assert first.invoice_id not in [invoice.invoice_id for invoice in newest]
    found = await shop.adapter.fetch_subscription(invoice_id=first.invoice_id)
    assert found is not None
    assert [*found.invoices] == [*newest, first]


async def test_an_invoice_of_many_lines_is_read_whole(shop: Shop) -> None:
    for number in range(11):
        shop.v1.invoice_items.create(
            {"customer": shop.customer_id, "currency": "usd", "amount": 100 + number}
        )
    made = shop.subscribe()
    [invoice] = (await shop.fetch(made.id)).invoices
    assert len(invoice.lines) == 12
    assert invoice.subtotal_minor == invoice.total_minor == 1500 + sum(range(100, 111))


@pytest.mark.parametrize("proration", ["create_prorations", "none", "always_invoice"])
async def test_a_preview_agrees_with_what_the_change_then_costs(
    shop: Shop, proration: Proration
) -> None:
    made = shop.subscribe()
    before = await shop.fetch(made.id)
    order = await shop.order(made.id, shop.pro, proration)
    preview = await shop.adapter.preview_change(order)
    assert preview.next_at == before.items[0].period_end
    after = await shop.adapter.change_subscription(reference(), order)
    assert after.items[0].price_id == shop.pro
    of_change = [invoice for invoice in after.invoices if invoice.reason == "update"]
    assert sum(invoice.paid_minor for invoice in of_change) == preview.due_now_minor
    assert (preview.due_now_minor > 0) == (proration == "always_invoice")
    assert bool(preview.lines) == (proration != "none")
    coming = shop.v1.invoices.create_preview({"subscription": made.id})
    assert coming.total == preview.next_total_minor
    assert all(line.proration for line in preview.lines)


async def test_another_interval_is_paid_at_once_as_previewed(shop: Shop) -> None:
    made = shop.subscribe()
    order = await shop.order(made.id, shop.yearly, "create_prorations")
    preview = await shop.adapter.preview_change(order)
    after = await shop.adapter.change_subscription(reference(), order)
    [invoice] = [invoice for invoice in after.invoices if invoice.reason == "update"]
    assert invoice.paid_minor == preview.due_now_minor > 13_000
    assert preview.next_total_minor == 15_000
    assert abs((preview.next_at - after.items[0].period_end).total_seconds()) < 60


async def test_quantities_change_and_a_repeat_changes_nothing_more(shop: Shop) -> None:
    made = shop.subscribe()
    order = await shop.order(made.id, shop.basic, "always_invoice", quantity=4)
    key = reference()
    first = await shop.adapter.change_subscription(key, order)
    assert first == await shop.adapter.change_subscription(key, order)
    assert first.items[0].quantity == 4
    assert len(first.invoices) == 2


@pytest.mark.parametrize("method", [DECLINED, ASKS])
async def test_a_card_that_does_not_pay_refuses_the_change_whole(shop: Shop, method: str) -> None:
    made = shop.subscribe()
    before = await shop.fetch(made.id)
    shop.charge_by_default(shop.card(method))
    order = await shop.order(made.id, shop.pro, "always_invoice")
    with pytest.raises(errors.ProviderRejected):
        await shop.adapter.change_subscription(reference(), order)
    after = await shop.fetch(made.id)
    assert (after.status, after.items) == ("active", before.items)
    assert [row.invoice_id for row in after.invoices] == [row.invoice_id for row in before.invoices]


async def test_a_subscription_is_cancelled_with_its_period_and_resumed(shop: Shop) -> None:
    made = shop.subscribe()
    told = await shop.adapter.steer_subscription(reference(), made.id, "cancel")
    assert (told.status, told.cancel_at_period_end) == ("active", True)
    assert told.cancel_at == told.items[0].period_end
    assert told.canceled_at is not None
    told = await shop.adapter.steer_subscription(reference(), made.id, "resume")
    assert (told.cancel_at, told.cancel_at_period_end) == (None, False)


async def test_an_end_at_a_time_of_its_own_is_taken_back_too(shop: Shop) -> None:
    made = shop.subscribe()
    at = int(time.time()) + 86_400
    shop.v1.subscriptions.update(made.id, {"cancel_at": at, "proration_behavior": "none"})
    told = await shop.fetch(made.id)
    assert (told.cancel_at, told.cancel_at_period_end) == (datetime.fromtimestamp(at, UTC), False)
    key = reference()
    for _ in range(2):
        told = await shop.adapter.steer_subscription(key, made.id, "resume")
        assert told.cancel_at is None


async def test_an_end_now_is_an_end_and_asked_for_again_still_one(shop: Shop) -> None:
    made = shop.subscribe()
    for key in (reference(), reference()):
        told = await shop.adapter.steer_subscription(key, made.id, "cancel_now")
        assert (told.status, told.ended_at is None) == ("canceled", False)
    with pytest.raises(errors.ProviderRejected):
        await shop.adapter.steer_subscription(reference(), made.id, "resume")
    with pytest.raises(errors.ProviderRejected):
        await shop.adapter.steer_subscription(reference(), "sub_none", "cancel_now")


async def test_a_pause_says_so_and_ends(shop: Shop) -> None:
    made = shop.subscribe()
    told = await shop.adapter.steer_subscription(reference(), made.id, "pause")
    assert (told.status, told.raw_status) == ("paused", "active")
    told = await shop.adapter.steer_subscription(reference(), made.id, "unpause")
    assert told.status == "active"


async def test_a_default_card_is_charged_for_running_subscriptions_too(shop: Shop) -> None:
    own = shop.card()
    running = shop.subscribe(default_payment_method=own)
    ended = shop.subscribe(default_payment_method=own)
    shop.v1.subscriptions.cancel(ended.id)
    card = shop.card("pm_card_mastercard")
    await shop.adapter.set_default_card(shop.customer_id, card)
    customer = shop.v1.customers.retrieve(shop.customer_id)
    assert customer.invoice_settings.default_payment_method == card
    assert shop.v1.subscriptions.retrieve(running.id).default_payment_method == card
    assert shop.v1.subscriptions.retrieve(ended.id).default_payment_method != card


async def test_the_portal_has_an_address_and_wants_a_customer(shop: Shop) -> None:
    url = await shop.adapter.open_portal(shop.customer_id, "http://127.0.0.1:8000/account")
    assert url.startswith("http")
    with pytest.raises(errors.ProviderCustomerMissing):
        await shop.adapter.open_portal("cus_none", "http://127.0.0.1:8000/account")


def test_the_adapter_says_that_it_can(shop: Shop) -> None:
    can = shop.adapter.capabilities.recurring
    assert (can.subscriptions, can.previews, can.pause, can.portal) == (True, True, True, True)
    assert set(can.prorations) == {"create_prorations", "none", "always_invoice"}


@pytest.mark.parametrize("kind", ["resume", "unpause"])
async def test_a_trial_that_ended_without_a_card_is_paused_and_goes_on_with_one(
    sandbox: Sandbox, shop: Shop, kind: SteerKind
) -> None:
    shop.charge_by_default("")
    made = shop.subscribe(
        trial_period_days=3,
        trial_settings={"end_behavior": {"missing_payment_method": "pause"}},
    )
    control_client.advance_clock(sandbox.base_url, 4 * DAY)
    told = await shop.fetch(made.id)
    assert (told.status, told.raw_status) == ("paused", "paused")
    shop.charge_by_default(shop.card())
    key = reference()
    for _ in range(2):
        told = await shop.adapter.steer_subscription(key, made.id, kind)
        assert told.status == "active"
    assert [row.paid_minor for row in told.invoices if row.total_minor] == [1500]


async def test_a_renewal_that_fails_says_how_often_and_why_and_is_paid_by_another_card(
    sandbox: Sandbox, shop: Shop
) -> None:
    made = shop.subscribe()
    shop.charge_by_default(shop.card(DECLINED))
    control_client.advance_clock(sandbox.base_url, 32 * DAY)
    told = await shop.fetch(made.id)
    assert told.status == "past_due"
    failed, first = told.invoices
    assert (first.status, first.reason, first.failure) == ("paid", "create", None)
    assert (failed.status, failed.reason, failed.paid_minor) == ("open", "cycle", 0)
    assert failed.failure in ("generic_decline", "card_declined")
    assert failed.attempts >= 1
    assert failed.due_minor == failed.total_minor == 1500
    assert failed.payment_intent_id
    by_invoice = await shop.adapter.fetch_subscription(invoice_id=failed.invoice_id)
    assert by_invoice == told
    shop.v1.invoices.pay(failed.invoice_id, {"payment_method": shop.card()})
    told = await shop.fetch(made.id)
    assert (told.status, told.invoices[0].status) == ("active", "paid")
    assert (told.invoices[0].failure, told.invoices[0].paid_minor) == (None, 1500)
