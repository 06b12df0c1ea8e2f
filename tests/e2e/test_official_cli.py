"""Stripe's own command-line tool runs its scenarios on the sandbox, and the events come about."""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx2
import pytest

from bursar_sandbox.running import Sandbox
from stripe_schema import recorded, schema_or_skip

pytestmark = pytest.mark.npm

CLI_VERSION = "1.52.0"
KEY = "sk_test_bursar_cli"
EVENTS = """
    checkout.session.completed
    checkout.session.expired
    checkout.session.async_payment_succeeded
    checkout.session.async_payment_failed
    payment_intent.succeeded
    payment_intent.payment_failed
    payment_intent.canceled
    payment_intent.created
    charge.succeeded
    charge.failed
    charge.refunded
    charge.refund.updated
    customer.created
    customer.updated
    customer.deleted
    product.created
    product.updated
    product.deleted
    price.created
    price.updated
""".split()


def installed() -> Path:
    """The tool, installed once into the tests' cache outside the repository."""
    folder = Path.home() / ".cache" / "bursar-tests" / f"stripe-cli-{CLI_VERSION}"
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not list(folder.glob("node_modules/@stripe/cli-*/bin/stripe")):
            # The package picks the program of this machine by itself.
            manifest = {"private": True, "dependencies": {"@stripe/cli": CLI_VERSION}}
            (folder / "package.json").write_text(json.dumps(manifest))
            quiet = ["--ignore-scripts", "--no-audit", "--no-fund", "--no-package-lock", "--silent"]
            subprocess.run(["npm", "install", *quiet], cwd=folder, timeout=100, check=True)
        (program,) = folder.glob("node_modules/@stripe/cli-*/bin/stripe")
    return program


@pytest.fixture(scope="module")
def record(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("official") / "record.jsonl"


@pytest.fixture(scope="module")
def sandbox(record: Path) -> Iterator[Sandbox]:
    with Sandbox(record=record) as running:
        yield running


@pytest.fixture(scope="module")
def tool(
    sandbox: Sandbox, tmp_path_factory: pytest.TempPathFactory
) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs the tool against the sandbox."""
    try:
        program = installed()
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
        pytest.skip(f"npm could not install Stripe's command-line tool: {error}")
    home = tmp_path_factory.mktemp("home")
    environment = {
        "HOME": str(home),
        "PATH": os.environ["PATH"],
        "STRIPE_CLI_TELEMETRY_OPTOUT": "1",
        # It looks for newer versions of itself: whatever it wants of the world fails at once.
        "HTTPS_PROXY": "http://127.0.0.1:9",
    }

    def run(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(program), "--api-key", KEY, "--api-base", sandbox.base_url, *words],
            env=environment,
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )

    return run


def types_since(sandbox: Sandbox, event_id: str) -> list[str]:
    """The types of the events after that one, all of them when it is empty; newest first."""
    params = {"limit": "100", **({"ending_before": event_id} if event_id else {})}
    answer = httpx2.get(f"{sandbox.base_url}/v1/events", params=params, auth=(KEY, ""))
    return [event["type"] for event in answer.json()["data"]]


def latest(sandbox: Sandbox) -> str:
    """The id of the newest event; empty before the first."""
    answer = httpx2.get(f"{sandbox.base_url}/v1/events", params={"limit": "1"}, auth=(KEY, ""))
    return next((str(event["id"]) for event in answer.json()["data"]), "")


@pytest.mark.parametrize("event", EVENTS)
def test_trigger_succeeds_and_its_event_comes_about(
    sandbox: Sandbox, tool: Callable[..., subprocess.CompletedProcess[str]], event: str
) -> None:
    before = latest(sandbox)
    done = tool("trigger", event)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Trigger succeeded!" in done.stdout + done.stderr
    # Banks take their time: what is to come of a debit is there a minute later.
    httpx2.post(f"{sandbox.base_url}/_sandbox/clock", json={"advance": 60}).raise_for_status()
    assert event in types_since(sandbox, before)


def test_trigger_of_what_the_sandbox_does_not_play_says_so(
    tool: Callable[..., subprocess.CompletedProcess[str]],
) -> None:
    done = tool("trigger", "invoice.created")
    assert "Trigger succeeded!" not in done.stdout + done.stderr


def test_plain_calls_of_the_tool_are_answered(
    sandbox: Sandbox, tool: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    made = tool("customers", "create", "--email", "ada@example.com")
    customer = json.loads(made.stdout)
    assert customer["email"] == "ada@example.com"
    found = tool("get", customer["id"])
    assert json.loads(found.stdout)["id"] == customer["id"]


def test_everything_that_the_tool_was_told_fits_stripes_own_types(
    sandbox: Sandbox, record: Path, tool: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    tool("trigger", "charge.refunded")
    assert recorded.problems(record, schema_or_skip()) == []
