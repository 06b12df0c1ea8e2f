"""Events and webhooks: what is sent, in which order, how it is signed, and how it is retried."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
import stripe

from bursar_sandbox.running import Sandbox
from stripe_receiver import Receiver
from stripe_shop import card, confirm_page, iban, open_session, pay_intent

Start = Callable[..., Sandbox]
ClientFor = Callable[[Sandbox], Any]
PAID = [
    "payment_intent.created",
    "charge.succeeded",
    "payment_intent.succeeded",
    "checkout.session.completed",
]


def listening(start: Start, receiver: Receiver, **options: Any) -> Sandbox:
    """A sandbox that sends everything to the receiver."""
    return start(webhook=(receiver.url, receiver.secret), **options)


def deliveries(sandbox: Sandbox) -> list[dict[str, Any]]:
    """The sandbox's own account of what it sent, newest first."""
    found: list[dict[str, Any]] = httpx.get(f"{sandbox.base_url}/_sandbox/deliveries").json()[
        "data"
    ]
    return found


def test_paid_session_sends_its_events_in_order(
    start: Start, client_for: ClientFor, receiver: Receiver
) -> None:
    client = client_for(listening(start, receiver))
    session = open_session(client.v1)
    confirm_page(client, session, card(client.v1))
    event = receiver.wait_for_type("checkout.session.completed")
    assert receiver.types == PAID
    assert event.data.object["id"] == session.id
    assert event.api_version == stripe.api_version
    assert receiver.refused == []


def test_declined_then_paid_session_makes_one_intent(
    start: Start, client_for: ClientFor, receiver: Receiver
) -> None:
    client = client_for(listening(start, receiver))
    session = open_session(client.v1, customer_creation="always")
    with pytest.raises(stripe.CardError):
        confirm_page(client, session, card(client.v1, "4000000000000002"))
    confirm_page(client, session, card(client.v1))
    receiver.wait_for_type("checkout.session.completed")
    assert receiver.types == [
        "customer.created",
        "payment_intent.created",
        "charge.failed",
        "payment_intent.payment_failed",
        "charge.succeeded",
        "payment_intent.succeeded",
        "checkout.session.completed",
    ]


def test_debit_sends_its_end_by_itself(
    start: Start, client_for: ClientFor, receiver: Receiver
) -> None:
    client = client_for(listening(start, receiver))
    session = open_session(client.v1, unit_currency="eur", payment_method_types=["sepa_debit"])
    confirm_page(client, session, iban(client.v1, "DE62370400440532013001"))
    receiver.wait_for_type("checkout.session.async_payment_failed")
    assert receiver.types == [
        "payment_intent.created",
        "charge.pending",
        "payment_intent.processing",
        "checkout.session.completed",
        "charge.failed",
        "payment_intent.payment_failed",
        "checkout.session.async_payment_failed",
    ]


def test_webhook_looks_as_stripes_does(
    start: Start, client_for: ClientFor, receiver: Receiver
) -> None:
    client = client_for(listening(start, receiver))
    client.v1.customers.create({"email": "a@example.com"}, {"idempotency_key": "hook-1"})
    event = receiver.wait_for_type("customer.created")
    headers = receiver.headers[0]
    assert headers["User-Agent"].startswith("Stripe/1.0")
    assert headers["Content-Type"] == "application/json; charset=utf-8"
    assert receiver.raw[0].startswith(b'{\n  "id": "evt_')
    assert json.loads(receiver.raw[0])["data"]["object"]["email"] == "a@example.com"
    assert (event.livemode, event.pending_webhooks) == (False, 1)
    assert event.request.idempotency_key == "hook-1"
    assert event.request.id.startswith("req_")


def test_update_tells_the_former_values(
    start: Start, client_for: ClientFor, receiver: Receiver
) -> None:
    v1 = client_for(listening(start, receiver)).v1
    customer = v1.customers.create({"name": "Ada", "metadata": {"a": "1", "b": "2"}})
    v1.customers.update(customer.id, {"name": "Bea", "metadata": {"b": "3"}})
    v1.customers.update(customer.id, {"name": "Bea"})
    product = v1.products.create({"name": "Last"})
    receiver.wait_for_type("product.created")
    updates = [one for one in receiver.events if one.type == "customer.updated"]
    assert len(updates) == 1, "an update that changes nothing is no event"
    former = updates[0].data.previous_attributes
    assert former.to_dict() == {"name": "Ada", "metadata": {"b": "2"}}
    assert product.id


def test_signature_follows_real_time_and_events_the_sandboxes(
    start: Start, client_for: ClientFor, receiver: Receiver
) -> None:
    sandbox = listening(start, receiver)
    before = int(time.time())
    httpx.post(f"{sandbox.base_url}/_sandbox/clock", json={"advance": 31 * 24 * 3600})
    client_for(sandbox).v1.customers.create({})
    event = receiver.wait_for_type("customer.created")
    assert event.created >= before + 31 * 24 * 3600
    assert receiver.refused == []
    signed = int(receiver.headers[0]["Stripe-Signature"].split(",")[0].removeprefix("t="))
    assert before <= signed <= time.time()


@pytest.mark.parametrize("status", [500, 404, 302])
def test_refused_webhook_comes_again_with_a_new_signature(
    start: Start, client_for: ClientFor, receiver: Receiver, status: int
) -> None:
    sandbox = listening(start, receiver, retry_seconds=[1.1, 1.1])
    receiver.answers = [status]
    v1 = client_for(sandbox).v1
    v1.customers.create({})
    receiver.wait_for(lambda one: len(one.events) == 2)
    assert receiver.events[0].id == receiver.events[1].id
    signatures = [headers["Stripe-Signature"] for headers in receiver.headers]
    assert signatures[0] != signatures[1]
    settled(lambda: deliveries(sandbox)[0]["state"] == "delivered")
    assert deliveries(sandbox)[0]["attempts"] == 2
    assert v1.events.retrieve(receiver.events[0].id).pending_webhooks == 0


def settled(condition: Callable[[], bool]) -> None:
    """Wait for what follows the receiver's answer; raises AssertionError when it never does."""
    deadline = time.monotonic() + 15
    while not condition():
        assert time.monotonic() < deadline, "it never came to that"
        time.sleep(0.02)


def test_failing_event_does_not_hold_up_the_next(
    start: Start, client_for: ClientFor, receiver: Receiver
) -> None:
    v1 = client_for(listening(start, receiver, retry_seconds=[0.5])).v1
    receiver.answers = [500, 200, 200]
    v1.customers.create({})
    v1.products.create({"name": "Pro"})
    receiver.wait_for(lambda one: len(one.events) == 3)
    assert receiver.types == ["customer.created", "product.created", "customer.created"]


def test_webhook_is_given_up_after_its_last_wait_and_resent_by_hand(
    start: Start, client_for: ClientFor, receiver: Receiver
) -> None:
    sandbox = listening(start, receiver, retry_seconds=[0.05, 0.05])
    receiver.answers = [500, 500, 500]
    v1 = client_for(sandbox).v1
    v1.customers.create({})
    settled(lambda: bool(deliveries(sandbox)) and deliveries(sandbox)[0]["state"] == "failed")
    (row,) = deliveries(sandbox)
    assert (row["attempts"], row["last_status"], len(receiver.events)) == (3, 500, 3)
    assert [one.id for one in v1.events.list({"delivery_success": False}).data] == [row["event_id"]]
    answer = httpx.post(f"{sandbox.base_url}/_sandbox/deliveries/{row['id']}/resend")
    assert answer.json() == {"ok": True}
    receiver.wait_for(lambda one: len(one.events) == 4)
    settled(lambda: deliveries(sandbox)[0]["state"] == "delivered")


def test_receiver_that_is_not_there_is_tried_again(start: Start, client_for: ClientFor) -> None:
    sandbox = start(webhook=("http://127.0.0.1:1/hook", "whsec_x"), retry_seconds=[0.05])
    client_for(sandbox).v1.customers.create({})
    settled(lambda: bool(deliveries(sandbox)) and deliveries(sandbox)[0]["state"] == "failed")
    assert deliveries(sandbox)[0]["attempts"] == 2
    assert "ConnectError" in deliveries(sandbox)[0]["last_error"]


def test_restart_goes_on_with_what_is_owed(
    client_for: ClientFor, receiver: Receiver, tmp_path: Path
) -> None:
    receiver.answers = [503]
    options: dict[str, Any] = {"home": tmp_path, "webhook": (receiver.url, receiver.secret)}
    with Sandbox(**options, retry_seconds=[2]) as sandbox:
        customer = client_for(sandbox).v1.customers.create({"name": "Ada"})
        settled(lambda: deliveries(sandbox)[0]["attempts"] == 1)
    with Sandbox(**options) as sandbox:
        receiver.wait_for(lambda one: len(one.events) == 2)
        assert client_for(sandbox).v1.customers.retrieve(customer.id).name == "Ada"
    assert receiver.types == ["customer.created", "customer.created"]


def test_endpoint_hears_only_what_it_asked_for(
    start: Start, client_for: ClientFor, receiver: Receiver
) -> None:
    sandbox = start()
    v1 = client_for(sandbox).v1
    endpoint = v1.webhook_endpoints.create(
        {
            "url": receiver.url,
            "enabled_events": ["product.created", "price.created"],
            "api_version": stripe.api_version,
            "metadata": {"who": "us"},
        }
    )
    assert endpoint.secret.startswith("whsec_")
    receiver.secret = endpoint.secret
    found = v1.webhook_endpoints.retrieve(endpoint.id)
    assert "secret" not in found
    assert (found.status, found.api_version) == ("enabled", stripe.api_version)
    v1.customers.create({})
    v1.products.create({"name": "Pro"})
    receiver.wait_for_type("product.created")
    v1.webhook_endpoints.update(endpoint.id, {"disabled": True})
    v1.products.create({"name": "Silent"})
    v1.webhook_endpoints.update(endpoint.id, {"disabled": False, "enabled_events": ["*"]})
    v1.customers.create({})
    receiver.wait_for_type("customer.created")
    assert receiver.types == ["product.created", "customer.created"]
    assert v1.webhook_endpoints.delete(endpoint.id).deleted is True
    assert v1.webhook_endpoints.list().data == []


@pytest.mark.parametrize(
    ("change", "param"),
    [
        ({"url": "shop"}, "url"),
        ({"url": "ftp://shop.example"}, "url"),
        ({"enabled_events": []}, "enabled_events"),
        ({"enabled_events": ["Everything!"]}, "enabled_events"),
    ],
)
def test_endpoint_that_can_not_be_is_refused(v1: Any, change: dict[str, Any], param: str) -> None:
    params = {"url": "https://shop.example/hook", "enabled_events": ["*"], **change}
    with pytest.raises(stripe.InvalidRequestError) as caught:
        v1.webhook_endpoints.create(params)
    assert caught.value.param == param


def test_every_endpoint_gets_its_own_signature(
    start: Start, client_for: ClientFor, receiver: Receiver
) -> None:
    sandbox = listening(start, receiver)
    with Receiver() as other:
        other.secret = "whsec_of_another"
        v1 = client_for(sandbox).v1
        made = v1.webhook_endpoints.create({"url": other.url, "enabled_events": ["*"]})
        other.secret = made.secret
        v1.customers.create({})
        assert receiver.wait_for_type("customer.created").id == (
            other.wait_for_type("customer.created").id
        )
        assert receiver.refused == other.refused == []


def test_events_are_listed_by_type(start: Start, client_for: ClientFor) -> None:
    v1 = client_for(start()).v1
    pay_intent(v1)
    v1.customers.create({})

    def listed(**filters: Any) -> list[str]:
        return [event.type for event in v1.events.list(filters).data]

    assert listed(type="customer.created") == ["customer.created"]
    assert listed(type="payment_intent.*") == ["payment_intent.succeeded", "payment_intent.created"]
    assert listed(types=["charge.succeeded", "customer.created"]) == [
        "customer.created",
        "charge.succeeded",
    ]
    event = v1.events.list({"type": "charge.succeeded"}).data[0]
    assert v1.events.retrieve(event.id).data.object["object"] == "charge"
    assert event.pending_webhooks == 0


def test_refused_call_sends_nothing(
    start: Start, client_for: ClientFor, receiver: Receiver
) -> None:
    v1 = client_for(listening(start, receiver)).v1
    with pytest.raises(stripe.InvalidRequestError):
        v1.products.create(
            {"name": "Pro", "default_price_data": {"currency": "zzz", "unit_amount": 1}}
        )
    v1.customers.create({})
    receiver.wait_for_type("customer.created")
    assert receiver.types == ["customer.created"]
