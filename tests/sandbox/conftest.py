"""Fixtures of the sandbox's tests: a running sandbox, the official client, a webhook receiver."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import stripe

from bursar_sandbox.running import Sandbox
from stripe_receiver import Receiver
from stripe_schema import recorded, schema_or_skip

KEY = "sk_test_bursar_tests"


def client_of(base_url: str, key: str = KEY) -> Any:
    """The official client for a sandbox; it never retries, so that tests see every answer."""
    return stripe.StripeClient(key, base_addresses={"api": base_url}, max_network_retries=0)


@pytest.fixture(scope="session")
def shared_sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    """One sandbox for all tests that only add to it; all that it says is checked, as below."""
    home = tmp_path_factory.mktemp("sandbox")
    record = home / "record.jsonl"
    with Sandbox(home=home, record=record) as sandbox:
        yield sandbox
    # Some of these tests have it say nothing over the API.
    assert not record.stat().st_size or recorded.problems(record, schema_or_skip()) == []


@pytest.fixture(scope="module")
def checked_sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    """A sandbox of the module's own; all that it says is checked against Stripe's types."""
    record = tmp_path_factory.mktemp("checked") / "record.jsonl"
    with Sandbox(record=record) as sandbox:
        yield sandbox
    assert recorded.problems(record, schema_or_skip()) == []


@pytest.fixture
def client(shared_sandbox: Sandbox) -> Any:
    """The official client for the shared sandbox."""
    return client_of(shared_sandbox.base_url)


@pytest.fixture
def v1(client: Any) -> Any:
    """The official client's resources."""
    return client.v1


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Sandbox]]:
    """Starts a sandbox of the test's own; all of them stop when the test ends."""
    with ExitStack() as stack:

        def start_one(**options: Any) -> Sandbox:
            options.setdefault("home", tmp_path / "sandbox")
            return stack.enter_context(Sandbox(**options))

        yield start_one


@pytest.fixture
def client_for() -> Callable[[Sandbox], Any]:
    """Makes the official client for a sandbox of the test's own."""
    return lambda sandbox: client_of(sandbox.base_url)


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """A webhook receiver that takes everything until told otherwise."""
    with Receiver() as one:
        yield one
