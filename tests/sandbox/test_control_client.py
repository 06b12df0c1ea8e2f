"""The functions behind the command line: clock, faults, reset, events on demand, listening."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest

from bursar_sandbox import control_client, triggers
from bursar_sandbox.control_client import EVENTS, SandboxError
from bursar_sandbox.running import Sandbox
from stripe_receiver import Receiver


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with Sandbox() as running:
        yield running


@pytest.mark.parametrize("event", EVENTS)
def test_trigger_makes_its_event_happen(sandbox: Sandbox, event: str) -> None:
    found = control_client.trigger(sandbox.base_url, event)
    assert (found["object"], found["type"]) == ("event", triggers.event_of(event))


def test_trigger_returns_the_event_that_it_made_and_no_earlier_one(sandbox: Sandbox) -> None:
    made = [control_client.trigger(sandbox.base_url, "refund.created")["id"] for _ in range(3)]
    assert len(set(made)) == 3


def test_trigger_of_an_unknown_event_names_those_there_are(sandbox: Sandbox) -> None:
    with pytest.raises(SandboxError, match=r"payout\.paid happen.*payment_intent\.succeeded"):
        control_client.trigger(sandbox.base_url, "payout.paid")


def test_listening_ends_with_the_block(sandbox: Sandbox, receiver: Receiver) -> None:
    events = ["customer.created", "customer.deleted"]
    with control_client.listen(sandbox.base_url, receiver.url, events=events) as listener:
        receiver.secret = listener.secret
        control_client.trigger(sandbox.base_url, "product.created")
        control_client.trigger(sandbox.base_url, "customer.deleted")
        receiver.wait_for(lambda one: len(one.events) == 2)
        assert receiver.types == events
        assert receiver.refused == []
    url = f"{sandbox.base_url}/v1/webhook_endpoints"
    assert httpx.get(url, auth=("sk_test_listening", "")).json()["data"] == []


def test_clock_moves_by_what_it_is_told(sandbox: Sandbox) -> None:
    before = control_client.now(sandbox.base_url)
    after = control_client.advance_clock(sandbox.base_url, 31 * 86_400)
    assert after >= before + 31 * 86_400
    assert control_client.now(sandbox.base_url) >= after
    with pytest.raises(SandboxError, match="not negative"):
        control_client.advance_clock(sandbox.base_url, -1)


def test_faults_are_set_read_and_cleared(sandbox: Sandbox) -> None:
    control_client.set_faults(sandbox.base_url, seed=7, drop=0.1, reorder=True)
    found = control_client.faults(sandbox.base_url)["faults"]
    assert (found["seed"], found["drop"], found["reorder"]) == (7, 0.1, True)
    with pytest.raises(SandboxError, match="no such fault: dorp"):
        control_client.set_faults(sandbox.base_url, dorp=1)
    control_client.clear_faults(sandbox.base_url)
    assert control_client.faults(sandbox.base_url)["faults"] is None


def test_reset_and_resend(start: Callable[..., Sandbox], receiver: Receiver) -> None:
    base_url = start(webhook=(receiver.url, receiver.secret)).base_url
    control_client.trigger(base_url, "customer.created")
    receiver.wait_for(lambda one: len(one.events) == 1)
    (sent,) = control_client.deliveries(base_url)
    control_client.resend(base_url, sent["id"])
    receiver.wait_for(lambda one: len(one.events) == 2)
    control_client.reset(base_url)
    assert control_client.deliveries(base_url) == []
    with pytest.raises(SandboxError, match="no such delivery"):
        control_client.resend(base_url, sent["id"])


def test_a_sandbox_that_is_not_there_is_said_in_words() -> None:
    calls: list[Callable[[str], Any]] = [
        control_client.now,
        control_client.reset,
        lambda url: control_client.trigger(url, "customer.created"),
        lambda url: control_client.listen(url, "http://127.0.0.1:1/x").__enter__(),
    ]
    for call in calls:
        with pytest.raises(SandboxError, match=r"No answer from the sandbox at http://127\.0"):
            call("http://127.0.0.1:1")
