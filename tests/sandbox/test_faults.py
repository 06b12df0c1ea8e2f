"""Faults on purpose: what goes wrong, that it can be mended, and that a seed repeats it."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest
import stripe

from bursar_sandbox import faults
from bursar_sandbox.faults import Faults, Plan
from bursar_sandbox.running import Sandbox
from stripe_receiver import Receiver

KEY = ("sk_test_bursar_tests", "")
Start = Callable[..., Sandbox]


@pytest.fixture
def sandbox(start: Start, receiver: Receiver) -> Sandbox:
    return start(webhook=(receiver.url, receiver.secret), retry_seconds=[0.1, 0.1])


@pytest.fixture
def v1(sandbox: Sandbox, client_for: Callable[[Sandbox], Any]) -> Any:
    return client_for(sandbox).v1


def break_it(sandbox: Sandbox, **wanted: Any) -> dict[str, Any]:
    """Set faults; the sandbox's answer."""
    answer = httpx.post(f"{sandbox.base_url}/_sandbox/faults", json=wanted)
    answer.raise_for_status()
    found: dict[str, Any] = answer.json()
    return found


def mend(sandbox: Sandbox) -> None:
    httpx.delete(f"{sandbox.base_url}/_sandbox/faults").raise_for_status()


def create(sandbox: Sandbox, path: str = "customers", key: str = "", **fields: str) -> Any:
    """A plain POST that nobody retries."""
    headers = {"Idempotency-Key": key} if key else {}
    url = f"{sandbox.base_url}/v1/{path}"
    return httpx.post(url, data=fields, headers=headers, auth=KEY, timeout=10)


def deliveries(sandbox: Sandbox) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = httpx.get(f"{sandbox.base_url}/_sandbox/deliveries").json()[
        "data"
    ]
    return found


def some_calls(v1: Any, count: int) -> list[str]:
    """Customers; returns their ids."""
    return [v1.customers.create({"email": f"{n}@example.com"}).id for n in range(count)]


def test_duplicates_arrive_twice_under_the_same_id(
    sandbox: Sandbox, v1: Any, receiver: Receiver
) -> None:
    break_it(sandbox, duplicate=1)
    some_calls(v1, 3)
    receiver.wait_for(lambda one: len(one.events) == 6)
    assert set(Counter(event.id for event in receiver.events).values()) == {2}


def test_dropped_webhooks_are_listed_and_come_when_resent(
    sandbox: Sandbox, v1: Any, receiver: Receiver
) -> None:
    break_it(sandbox, drop=1)
    some_calls(v1, 2)
    found = deliveries(sandbox)
    assert [one["state"] for one in found] == ["dropped", "dropped"]
    assert [event.id for event in v1.events.list().data] == [one["event_id"] for one in found]
    mend(sandbox)
    some_calls(v1, 1)
    receiver.wait_for(lambda one: len(one.events) == 1)
    httpx.post(f"{sandbox.base_url}/_sandbox/deliveries/{found[0]['id']}/resend")
    receiver.wait_for(lambda one: len(one.events) == 2)
    assert receiver.events[1].id == found[0]["event_id"]


def test_reordered_webhooks_all_arrive_in_another_order(
    sandbox: Sandbox, v1: Any, receiver: Receiver
) -> None:
    break_it(sandbox, seed=3, reorder=True)
    ids = some_calls(v1, 8)
    receiver.wait_for(lambda one: len(one.events) == 8)
    arrived = [event.data.object["id"] for event in receiver.events]
    assert sorted(arrived) == sorted(ids)
    assert arrived != ids


def test_delayed_webhook_comes_no_sooner(sandbox: Sandbox, v1: Any, receiver: Receiver) -> None:
    break_it(sandbox, delay=3600)
    some_calls(v1, 1)
    (owed,) = deliveries(sandbox)
    assert owed["state"] == "pending"
    assert owed["next_at"] > time.time() + 3000
    httpx.post(f"{sandbox.base_url}/_sandbox/deliveries/{owed['id']}/resend")
    receiver.wait_for(lambda one: len(one.events) == 1)


def test_forged_webhook_is_refused_and_the_next_attempt_is_right(
    sandbox: Sandbox, v1: Any, receiver: Receiver
) -> None:
    break_it(sandbox, bad_signature=1)
    some_calls(v1, 2)
    receiver.wait_for(lambda one: len(one.events) == 2)
    assert len(receiver.refused) == 2
    assert {one["attempts"] for one in deliveries(sandbox)} == {2}


def test_failing_call_does_nothing_and_may_be_repeated(sandbox: Sandbox, v1: Any) -> None:
    break_it(sandbox, api_500=1)
    refused = create(sandbox, key="once", email="a@example.com")
    assert (refused.status_code, refused.json()["error"]["type"]) == (500, "api_error")
    assert v1.customers.list().data == []
    mend(sandbox)
    assert create(sandbox, key="once", email="a@example.com").status_code == 200
    assert len(v1.customers.list().data) == 1


def test_call_that_is_done_and_fails_keeps_its_500_under_the_key(sandbox: Sandbox, v1: Any) -> None:
    break_it(sandbox, api_500_after=1)
    assert create(sandbox, key="once", email="a@example.com").status_code == 500
    assert len(v1.customers.list().data) == 1
    mend(sandbox)
    again = create(sandbox, key="once", email="a@example.com")
    assert (again.status_code, again.headers["idempotent-replayed"]) == (500, "true")
    assert len(v1.customers.list().data) == 1


def test_silent_call_ends_without_an_answer(sandbox: Sandbox, v1: Any) -> None:
    break_it(sandbox, api_timeout=1, timeout_seconds=0.1)
    with pytest.raises(httpx.RemoteProtocolError):
        create(sandbox, key="once", email="a@example.com")
    assert v1.customers.list().data == []
    break_it(sandbox, api_timeout_after=1, timeout_seconds=0.1)
    with pytest.raises(httpx.RemoteProtocolError):
        create(sandbox, key="once", email="a@example.com")
    (made,) = v1.customers.list().data
    mend(sandbox)
    again = create(sandbox, key="once", email="a@example.com")
    assert (again.status_code, again.json()["id"]) == (200, made.id)


def test_silence_for_one_caller_holds_up_no_other(sandbox: Sandbox) -> None:
    break_it(sandbox, api_timeout=1, timeout_seconds=20, routes="/v1/products")
    with ThreadPoolExecutor() as pool:
        silent = pool.submit(
            httpx.post, f"{sandbox.base_url}/v1/products", auth=KEY, timeout=1, data={"name": "x"}
        )
        assert create(sandbox).status_code == 200
        assert not silent.done()
        assert isinstance(silent.exception(), httpx.ReadTimeout)


def test_official_client_gets_through_failing_calls_once(
    sandbox: Sandbox, client_for: Callable[[Sandbox], Any]
) -> None:
    break_it(sandbox, seed=1, api_500=0.4, api_timeout_after=0.3, timeout_seconds=0.02)
    client = stripe.StripeClient(
        "sk_test_bursar_tests",
        base_addresses={"api": sandbox.base_url},
        max_network_retries=10,
    )
    names = [f"{n}@example.com" for n in range(4)]
    for name in names:
        client.v1.customers.create({"email": name})
    found = client_for(sandbox).v1.customers.list().data
    assert sorted(customer.email for customer in found) == names
    calls = httpx.get(f"{sandbox.base_url}/_sandbox/faults").json()["calls"]
    assert calls > len(names), "no call failed"


def test_only_posts_under_the_chosen_routes_fail(sandbox: Sandbox, v1: Any) -> None:
    break_it(sandbox, api_500=1, routes=["/v1/refunds", "/v1/products"])
    assert create(sandbox).status_code == 200
    assert create(sandbox, "products", name="x").status_code == 500
    assert v1.products.list().data == []
    assert httpx.get(f"{sandbox.base_url}/_sandbox/faults").json()["calls"] == 1


def test_same_seed_fails_the_same_calls(sandbox: Sandbox) -> None:
    def statuses(seed: int) -> list[int]:
        break_it(sandbox, seed=seed, api_500=0.5)
        return [create(sandbox).status_code for _ in range(20)]

    first = statuses(7)
    assert first == statuses(7)
    assert set(first) == {200, 500}
    assert first != statuses(8)


def test_faults_are_shown_and_gone_after_a_reset(sandbox: Sandbox) -> None:
    url = f"{sandbox.base_url}/_sandbox/faults"
    nothing = {"faults": None, "calls": 0, "webhooks": 0}
    assert httpx.get(url).json() == nothing
    shown = break_it(sandbox, seed=5, drop=0.25)["faults"]
    assert (shown["seed"], shown["drop"], shown["routes"]) == (5, 0.25, ["/v1/"])
    assert httpx.get(url).json()["faults"] == shown
    httpx.post(f"{sandbox.base_url}/_sandbox/reset")
    assert httpx.get(url).json() == nothing


@pytest.mark.parametrize(
    "wrong",
    [
        [],
        {"dorp": 0.1},
        {"drop": 1.1},
        {"drop": -0.1},
        {"drop": True},
        {"drop": "0.1"},
        {"delay": -1},
        {"delay": 1e9},
        {"seed": 0.5},
        {"seed": None},
        {"reorder": 1},
        {"routes": [1]},
    ],
)
def test_faults_that_can_not_be_are_refused_by_name(sandbox: Sandbox, wrong: Any) -> None:
    answer = httpx.post(f"{sandbox.base_url}/_sandbox/faults", json=wrong)
    assert answer.status_code == 400
    for name in wrong:
        assert name in answer.json()["error"]["message"]


def test_a_chance_moves_no_other_decision() -> None:
    def drops(**others: Any) -> list[bool]:
        plan = Plan()
        plan.set(Faults(seed=11, drop=0.5, **others))
        return [plan.for_webhook()[0].dropped for _ in range(50)]

    alone = drops()
    assert 10 < sum(alone) < 40
    assert drops(duplicate=0.5, reorder=True, bad_signature=0.3, delay=2.0) == alone


def test_chances_come_about_as_often_as_told() -> None:
    plan = Plan()
    plan.set(faults.parse({"seed": 2, "api_500": 0.2, "duplicate": 0.3}))
    calls = Counter(plan.for_call("POST", "/v1/refunds") for _ in range(2000))
    assert 340 < calls["api_500"] < 460
    twice = sum(len(plan.for_webhook()) == 2 for _ in range(2000))
    assert 520 < twice < 680
