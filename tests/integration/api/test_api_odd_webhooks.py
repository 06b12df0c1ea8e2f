"""Webhooks that are signed and odd: worked off to an end, without a failure or a false credit.

Bounded and the same at each run: every example follows from the code.
"""

from __future__ import annotations

import json
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import odd_events
from api_server import Server, sign
from bursar.billing import cases
from bursar.billing.payments import Payment
from bursar.db import Database
from bursar.providers.stripe import translate
from worlds import WEBHOOK_SECRET, World

WEBHOOK = "/api/stripe/webhook"
JSON = {"Content-Type": "application/json"}
GOOD_STATES = {"done", "ignored", "quarantined"}


def odd_bodies(ids: odd_events.Ids, how_many: int, seed: int) -> list[bytes]:
    """Events about these ids: of each type some, each with one odd value in one field."""
    drawn = random.Random(seed)  # noqa: S311
    made = []
    for event_type in sorted(translate.HANDLED):
        thing = odd_events.objects(ids)[odd_events.kind_of(event_type)]
        plain = odd_events.event("evt_odd", event_type, thing)
        every = [
            (place, odd)
            for place in odd_events.places(plain)
            for odd in odd_events.ODD_VALUES.values()
        ]
        for place, odd in drawn.sample(every, how_many):
            message = {**plain, "id": f"evt_odd_{len(made)}_{seed}"}
            made.append(odd_events.with_odd(message, place, odd))
    return made


@asynccontextmanager
async def receiving(world: World) -> AsyncIterator[httpx.AsyncClient]:
    """A client of a server in the same world, without a worker."""
    server = Server(world.settings)
    try:
        async with httpx.AsyncClient(base_url=server.url, timeout=30) as client:
            yield client
    finally:
        server.stop()


async def post(client: httpx.AsyncClient, body: bytes) -> httpx.Response:
    headers = {**JSON, "Stripe-Signature": sign(body, secret=WEBHOOK_SECRET)}
    return await client.post(WEBHOOK, content=body, headers=headers)


async def states_of(db: Database) -> list[tuple[str, str, str]]:
    async with db.connection() as conn:
        rows = await conn.fetch(
            "select m.type, s.state, s.reason from inbox_messages m "
            "join inbox_states s on s.message_id = m.id"
        )
    return [(row["type"], row["state"], row["reason"] or "") for row in rows]


@pytest.mark.parametrize("bound", ["ids of a paid checkout", "ids of an open one", "unknown ids"])
async def test_odd_events_are_taken_and_end_without_a_failure(world: World, bound: str) -> None:
    """Posted over HTTP, worked off by the worker: none fails, the books stay right."""
    ids = odd_events.Ids()
    payment = await world.open_checkout()
    if bound != "unknown ids":
        if bound == "ids of a paid checkout":
            await world.pay(payment)
            await world.deliver(await world.events_about(payment))
            await world.work()
            payment = await world.payment(payment)
            assert payment.status == "completed"
        ids = odd_events.Ids(
            session=str(payment.session_id),
            intent=payment.payment_intent_id or "pi_odd",
            reference=payment.reference,
        )
    async with receiving(world) as client:
        for body in odd_bodies(ids, 9, seed=7):
            response = await post(client, body)
            assert (response.status_code, response.text) == (200, '{"received": true}'), body
    await world.work()
    states = await states_of(world.wiring.db)
    assert len(states) > 100
    assert [s for s in states if s[1] not in GOOD_STATES] == []
    assert {"done", "quarantined"} <= {state for _, state, _ in states}
    await assert_credits_follow_the_money(world, payment)


async def assert_credits_follow_the_money(world: World, payment: Payment) -> None:
    """Whatever the events said, the credits are those of the merged payment, and no more."""
    after = await world.payment(payment)
    assert after.captured_minor in (0, 500)
    granted = 5 if after.completed_at is not None and after.mismatch is None else 0
    back = -(-granted * min(500, after.refunded_minor + after.disputed_minor) // 500)
    assert await world.balance(payment.customer_id) == granted - back, after


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=50),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["id", "type", "livemode", "created", "data", "object"]),
            inner,
            max_size=6,
        )
    ),
    max_leaves=10,
)


async def test_any_body_under_any_header_is_200_or_400_and_is_worked_off(world: World) -> None:
    server = Server(world.settings)
    statuses: set[int] = set()

    @settings(
        max_examples=150,
        deadline=None,
        database=None,
        derandomize=True,
        suppress_health_check=list(HealthCheck),
    )
    @given(
        body=st.binary(max_size=500) | JSON_VALUES.map(lambda value: json.dumps(value).encode()),
        header=st.none()
        | st.text(st.characters(min_codepoint=32, max_codepoint=255), max_size=80).map(
            lambda text: text.strip()
        ),
        signed=st.booleans(),
    )
    def example(body: bytes, header: str | None, signed: bool) -> None:
        said = sign(body, secret=WEBHOOK_SECRET) if signed else header
        headers = [(b"content-type", b"application/json")]
        if said is not None:
            headers.append((b"stripe-signature", said.encode("latin-1")))
        with httpx.Client(base_url=server.url) as client:
            response = client.post(WEBHOOK, content=body, headers=headers)
        assert response.status_code == (200 if signed else 400), response.text
        statuses.add(response.status_code)

    try:
        example()
    finally:
        server.stop()
    assert statuses == {200, 400}
    await world.work()
    states = await states_of(world.wiring.db)
    assert {state for _, state, _ in states} <= GOOD_STATES


async def told(world: World, payment: Payment) -> dict[str, dict[str, Any]]:
    """Pay; returns what the provider has to say of it, by type, of which nothing was heard yet."""
    await world.pay(payment)
    return {event["type"]: event for event in await world.events_about(payment)}


COMPLETED = "checkout.session.completed"
Made = Callable[[dict[str, Any]], bytes]


def at(*place: str, odd: str) -> Made:
    """The event with raw JSON at a place of its object."""
    return lambda event: odd_events.with_odd(event, ("data", "object", *place), odd)


def top(name: str, odd: str) -> Made:
    """The event with raw JSON in a field of its envelope."""
    return lambda event: odd_events.with_odd({**event, name: None}, (name,), odd)


def stranger(event: dict[str, Any]) -> bytes:
    """The same money, but nothing that names a payment of ours."""
    session = {
        **event["data"]["object"],
        "id": "cs_test_stranger",
        "payment_intent": None,
        "client_reference_id": None,
        "metadata": {},
    }
    return json.dumps({**event, "data": {"object": session}}).encode()


@pytest.mark.parametrize(
    ("made", "state", "code", "credits"),
    [
        (lambda _: b"nonsense", "quarantined", "payload_unparseable", 0),
        (lambda _: b'{"id": "\xff"}', "quarantined", "payload_encoding", 0),
        (at("customer_details", "name", odd='"A\\u0000da"'), "done", "", 5),
        (at("customer_details", "name", odd='"A\\ud83d"'), "done", "", 5),
        (at("customer_details", "email", odd='"a\\u0000@b.example"'), "done", "", 5),
        (at("amount_total", odd="NaN"), "quarantined", "payload_number", 0),
        (at("amount_total", odd="1e400"), "quarantined", "payload_number", 0),
        (at("metadata", odd="[" * 100_000), "quarantined", "payload_too_deep", 0),
        (top("id", "null"), "quarantined", "event_id_invalid", 0),
        (top("id", '""'), "quarantined", "event_id_invalid", 0),
        (top("id", "7"), "quarantined", "event_id_invalid", 0),
        (top("id", '"' + "e" * 10_000 + '"'), "quarantined", "event_id_invalid", 0),
        (top("type", '"invoice.updated"'), "ignored", "event type is not used", 0),
        (top("api_version", '"2099-01-01"'), "done", "", 5),
        (top("something_new", '{"x": [1]}'), "done", "", 5),
        (top("livemode", "true"), "quarantined", "livemode_mismatch", 0),
        (top("account", '"acct_other"'), "quarantined", "account_mismatch", 0),
        (stranger, "done", "unmatched money", 0),
        (at("amount_total", odd='"500"'), "quarantined", "amount_invalid", 0),
        (at("amount_total", odd="true"), "quarantined", "amount_invalid", 0),
        (at("amount_total", odd="10.5"), "quarantined", "amount_invalid", 0),
        (at("amount_total", odd="-1"), "quarantined", "amount_invalid", 0),
        (at("amount_total", odd=str(2**63)), "quarantined", "amount_out_of_range", 0),
        (at("amount_total", odd=str(10**12 + 1)), "quarantined", "amount_out_of_range", 0),
        (at("payment_status", odd='"unpaid"'), "done", "", 0),
        (at("payment_status", odd='"invented"'), "quarantined", "payload_unparseable", 0),
    ],
)
async def test_one_odd_event_ends_as_the_table_says(
    world: World, made: Made, state: str, code: str, credits: int
) -> None:
    payment = await world.open_checkout()
    body = made((await told(world, payment))[COMPLETED])
    async with receiving(world) as client:
        assert (await post(client, body)).status_code == 200
    await world.work()
    [(_, ended, reason)] = await states_of(world.wiring.db)
    assert (ended, reason[: len(code)]) == (state, code)
    assert await world.balance(payment.customer_id) == credits
    async with world.wiring.db.connection() as conn:
        found = [case.kind for case in await cases.list_cases(conn)]
    assert found == (["unmatched"] if made is stranger else [])


async def test_an_unpaid_session_that_comes_late_does_not_undo_a_payment(world: World) -> None:
    payment = await world.open_checkout()
    events = await told(world, payment)
    await world.deliver(list(events.values()))
    await world.work()
    late = at("payment_status", odd='"unpaid"')({**events[COMPLETED], "id": "evt_late"})
    async with receiving(world) as client:
        assert (await post(client, late)).status_code == 200
    await world.work()
    assert (await world.payment(payment)).status == "completed"
    assert await world.balance(payment.customer_id) == 5


async def test_a_refund_event_without_its_amount_is_asked_for(world: World) -> None:
    payment = await world.open_checkout()
    await world.deliver(list((await told(world, payment)).values()))
    await world.work()
    intent_id = (await world.payment(payment)).payment_intent_id
    refund = world.stripe.v1.refunds.create({"payment_intent": str(intent_id), "amount": 100})
    plain = odd_events.event("evt_refund", "refund.created", refund.to_dict())
    async with receiving(world) as client:
        assert (await post(client, at("amount", odd="null")(plain))).status_code == 200
    await world.work()
    assert (await world.payment(payment)).refunded_minor == 100
    assert await world.balance(payment.customer_id) == 4
