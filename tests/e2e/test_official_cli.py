"""Stripe's own command-line tool runs its scenarios on the sandbox: the events come about, and a
server of ours takes them all."""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx2
import pytest

from bursar.billing import cases
from bursar.checks.audit import audit
from bursar.db import Database
from bursar.messages import inbox
from bursar_sandbox import control_client
from bursar_sandbox.running import Sandbox
from bursar_sandbox.triggers import event_of
from stripe_schema import recorded, schema_or_skip
from worlds import eventually, free_port, serving, settings_for

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
    payment_intent.amount_capturable_updated
    charge.succeeded
    charge.captured
    charge.dispute.created
    charge.dispute.updated
    charge.dispute.closed
    balance.available
    charge.failed
    charge.refunded
    charge.refund.updated
    customer.created
    customer.updated
    customer.deleted
    customer.source.created
    customer.source.updated
    setup_intent.created
    setup_intent.succeeded
    setup_intent.setup_failed
    setup_intent.requires_action
    setup_intent.canceled
    payment_method.attached
    payment_method.detached
    payment_method.updated
    payment_link.created
    payment_link.updated
    invoice.created
    invoice.updated
    invoice.deleted
    invoice.finalized
    invoice.sent
    invoice.paid
    invoice.payment_succeeded
    invoice.payment_failed
    invoice.payment_action_required
    invoice.marked_uncollectible
    invoice.voided
    invoiceitem.created
    invoiceitem.deleted
    product.created
    product.updated
    product.deleted
    price.created
    price.updated
    coupon.created
    coupon.updated
    coupon.deleted
    promotion_code.created
    promotion_code.updated
    tax_rate.created
    tax_rate.updated
    payment_intent.processing
    payment_intent.requires_action
    plan.created
    plan.updated
    plan.deleted
    customer.discount.created
    customer.discount.updated
    customer.discount.deleted
    customer.subscription.created
    customer.subscription.updated
    customer.subscription.paused
    customer.subscription.deleted
    customer.subscription.trial_will_end
    subscription.payment_succeeded
    subscription.payment_failed
    billing_portal.configuration.created
    billing_portal.configuration.updated
    billing_portal.session.created
    test_helpers.test_clock.created
    test_helpers.test_clock.advancing
    test_helpers.test_clock.ready
    test_helpers.test_clock.deleted
""".split()

# What the tool can do at Stripe and not here, by the beginnings of its names.
OUT_OF_SCOPE = tuple(
    "account. cash_balance. credit_note. customer_cash_balance_transaction. identity. issuing_ "
    "payment_intent.partially_funded payout. quote. reporting. subscription_schedule. topup. "
    "transfer. v1.".split()
)

UNDER_WAY = {"received", "processing", "failed"}


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


def ids_since(sandbox: Sandbox, event_id: str) -> set[str]:
    """The ids of all events after that one."""
    params = {"limit": "100", **({"ending_before": event_id} if event_id else {})}
    found: set[str] = set()
    with httpx2.Client(base_url=sandbox.base_url, auth=(KEY, "")) as api:
        while page := api.get("/v1/events", params=params).raise_for_status().json()["data"]:
            found |= {event["id"] for event in page}
            params["ending_before"] = page[0]["id"]
    return found


def latest(sandbox: Sandbox) -> str:
    """The id of the newest event; empty before the first."""
    answer = httpx2.get(f"{sandbox.base_url}/v1/events", params={"limit": "1"}, auth=(KEY, ""))
    return next((str(event["id"]) for event in answer.json()["data"]), "")


def test_every_scenario_of_the_tool_is_run_or_named_as_not_played(
    tool: Callable[..., subprocess.CompletedProcess[str]],
) -> None:
    told = tool("trigger", "--help").stdout.partition("Supported events:")[2].partition("\n\n")[0]
    played = {name for name in told.split() if not name.startswith(OUT_OF_SCOPE)}
    assert len(played) == 80
    assert played == set(EVENTS)
    assert len(EVENTS) == len(played)


@pytest.mark.parametrize("event", EVENTS)
def test_trigger_succeeds_and_its_event_comes_about(
    sandbox: Sandbox, tool: Callable[..., subprocess.CompletedProcess[str]], event: str
) -> None:
    before = latest(sandbox)
    done = tool("trigger", event)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Trigger succeeded!" in done.stdout + done.stderr
    # Banks take their time: what is to come of a debit is there a minute later.
    control_client.advance_clock(sandbox.base_url, 60)
    assert event_of(event) in types_since(sandbox, before)


def test_trigger_of_what_the_sandbox_does_not_play_says_so(
    tool: Callable[..., subprocess.CompletedProcess[str]],
) -> None:
    done = tool("trigger", "payout.created")
    assert "Trigger succeeded!" not in done.stdout + done.stderr


def test_plain_calls_of_the_tool_are_answered(
    sandbox: Sandbox, tool: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    made = tool("customers", "create", "--email", "ada@example.com")
    customer = json.loads(made.stdout)
    assert customer["email"] == "ada@example.com"
    found = tool("get", customer["id"])
    assert json.loads(found.stdout)["id"] == customer["id"]


@contextmanager
def endpoint(sandbox: Sandbox, url: str) -> Iterator[str]:
    """An endpoint at the sandbox for every type of event; its secret."""
    with httpx2.Client(base_url=sandbox.base_url, auth=(KEY, "")) as api:
        fields = {"url": url, "enabled_events[]": "*"}
        made = api.post("/v1/webhook_endpoints", data=fields).raise_for_status().json()
        yield made["secret"]
        api.delete(f"/v1/webhook_endpoints/{made['id']}").raise_for_status()


async def received(db: Database) -> list[inbox.Message]:
    async with db.connection() as conn:
        return await inbox.list_messages(conn, state=None, before=None, limit=1000)


async def test_every_event_of_the_tool_arrives_is_verified_stored_and_worked_off(
    sandbox: Sandbox, tool: Callable[..., subprocess.CompletedProcess[str]], db: Database
) -> None:
    settings = settings_for(sandbox, db.url, port=free_port())
    with endpoint(sandbox, f"{settings.own_url}/api/stripe/webhook") as secret:
        settings = settings.model_copy(update={"stripe_webhook_secrets": (secret,)})
        before = latest(sandbox)
        with serving(settings):
            for event in EVENTS:
                assert tool("trigger", event).returncode == 0, event
            control_client.advance_clock(sandbox.base_url, 60)
            sent = ids_since(sandbox, before)

            async def all_worked_off() -> bool:
                found = await received(db)
                states = {message.event_key: message.state for message in found}
                return sent <= set(states) and not set(states.values()) & UNDER_WAY

            await eventually(all_worked_off, seconds=30)
    found = await received(db)
    assert {event_of(name) for name in EVENTS} <= {message.type for message in found}
    # Every one at once: what had to be tried twice was not understood the first time.
    others = [one for one in found if one.state not in ("done", "ignored") or one.attempts]
    assert others == []
    async with db.connection() as conn:
        # Nobody began these payments here: a person is asked, and no credits are given.
        opened = await cases.list_cases(conn, state="open", before=None, limit=100)
        assert {case.kind for case in opened} == {"unmatched"}
        assert await conn.fetchval("select count(*) from ledger_entries") == 0
        assert await audit(conn) == []


def test_everything_that_the_tool_was_told_fits_stripes_own_types(
    sandbox: Sandbox, record: Path, tool: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    tool("trigger", "charge.refunded")
    assert recorded.problems(record, schema_or_skip()) == []
