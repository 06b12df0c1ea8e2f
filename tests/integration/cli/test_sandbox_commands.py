"""The commands that steer a sandbox, on a real one."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from bursar.entrypoints.cli.demo.kept import Place
from bursar_sandbox import control_client
from bursar_sandbox.running import Sandbox
from stripe_receiver import Receiver
from worlds import stripe_client

Command = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with Sandbox(retry_seconds=(0.2,)) as running:
        yield running


@pytest.fixture
def bursar(bare: Command, monkeypatch: pytest.MonkeyPatch, sandbox: Sandbox) -> Command:
    """Runs commands that find the sandbox by its port, as it is after a reset."""
    control_client.reset(sandbox.base_url)
    monkeypatch.setenv("BURSAR_SANDBOX_STRIPE_PORT", sandbox.base_url.rpartition(":")[2])
    return bare


def test_clock_is_shown_and_advanced_by_what_people_write(
    bursar: Command, sandbox: Sandbox
) -> None:
    before = json.loads(bursar("sandbox", "clock", "--json")[1])
    assert abs(before["ahead_seconds"]) <= 1
    for span, seconds in {"10s": 10, "5m": 300, "2h": 7200, "31d": 2_678_400}.items():
        start = control_client.now(sandbox.base_url)
        code, out, _ = bursar("sandbox", "clock", "advance", span, "--json")
        assert code == 0
        assert 0 <= json.loads(out)["now"] - start - seconds <= 2
    assert bursar("sandbox", "clock", "show")[1].endswith(" ahead of real time\n")


def test_what_is_due_by_then_has_happened_when_the_command_ends(
    bursar: Command, sandbox: Sandbox
) -> None:
    price = {"currency": "usd", "unit_amount": 1500, "product_data": {"name": "Credits"}}
    sessions = stripe_client(sandbox).v1.checkout.sessions
    session = sessions.create(
        {
            "mode": "payment",
            "success_url": "https://shop.example/thanks",
            "line_items": [{"price_data": price, "quantity": 1}],
        }
    )
    assert bursar("sandbox", "clock", "advance", "23h")[0] == 0
    assert sessions.retrieve(session.id).status == "open"
    assert bursar("sandbox", "clock", "advance", "2h")[0] == 0
    assert sessions.retrieve(session.id).status == "expired"


@pytest.mark.parametrize(
    "words",
    [
        ("clock", "advance"),
        ("clock", "show", "31d"),
        ("clock", "advance", "31"),
        ("clock", "back", "31d"),
        ("clock", "advance", "-1d"),
        ("clock", "--url", "http://shop:x"),
        ("faults", "--drop", "1.5"),
        ("faults", "--delay", "soon"),
        ("faults", "--drop", "1", "--off"),
        ("faults", "--show", "--off"),
    ],
)
def test_what_makes_no_sense_is_wrong_usage_and_changes_nothing(
    bursar: Command, sandbox: Sandbox, words: tuple[str, ...]
) -> None:
    control_client.set_faults(sandbox.base_url, seed=3)
    code, out, err = bursar("sandbox", *words)
    assert (code, out) == (2, "")
    assert "Usage: bursar sandbox" in err
    assert control_client.faults(sandbox.base_url)["faults"]["seed"] == 3


def test_faults_are_set_as_named_shown_replaced_and_lifted(
    bursar: Command, sandbox: Sandbox
) -> None:
    chances = "--duplicate 0.3 --drop 0.1 --bad-signature 0.2 --api-500 0.4 --api-500-after 0.5"
    words = f"--seed 7 {chances} --api-timeout 0.6 --api-timeout-after 0.7 --timeout 3s"
    places = "--routes /v1/charges --routes /v1/refunds --delay 2s --reorder"
    code, out, _ = bursar("sandbox", "faults", *words.split(), *places.split(), "--json")
    assert code == 0
    assert json.loads(out)["faults"] == {
        **{"seed": 7, "duplicate": 0.3, "drop": 0.1, "bad_signature": 0.2, "reorder": True},
        **{"delay": 2.0, "api_500": 0.4, "api_500_after": 0.5, "api_timeout": 0.6},
        **{"api_timeout_after": 0.7, "timeout_seconds": 3.0},
        "routes": ["/v1/charges", "/v1/refunds"],
    }
    for words in ("faults", "faults --show"):
        told = bursar("sandbox", *words.split())[1].splitlines()
        assert ["duplicate", "0.3"] in [line.split() for line in told]
    bursar("sandbox", "faults", "--drop", "0.5")
    now = control_client.faults(sandbox.base_url)["faults"]
    assert (now["drop"], now["duplicate"], now["reorder"]) == (0.5, 0.0, False)
    assert bursar("sandbox", "faults", "--off")[1] == "Nothing goes wrong on purpose.\n"
    assert control_client.faults(sandbox.base_url)["faults"] is None


def test_refusal_of_the_sandbox_ends_with_1_and_its_words(bursar: Command) -> None:
    assert bursar("sandbox", "faults", "--delay", "2h") == (
        1,
        "",
        "error: `delay` is a time in seconds, at most 3600\n",
    )
    code, out, err = bursar("trigger", "payout.paid")
    assert (code, out) == (1, "")
    assert "No scenario makes payout.paid happen. `bursar trigger --list` names those" in err


def test_sandbox_that_is_away_is_said_with_what_starts_one(bare: Command) -> None:
    listen = ("listen", "--forward-to", "127.0.0.1:1")
    for words in (("sandbox", "clock"), ("trigger", "charge.failed"), listen):
        code, out, err = bare(*words, "--url", "127.0.0.1:1")
        assert (code, out) == (1, "")
        assert "No answer from the sandbox at http://127.0.0.1:1" in err
        assert "`bursar sandbox` and `bursar demo` start one" in err


def test_trigger_prints_the_event_that_happened(bursar: Command, sandbox: Sandbox) -> None:
    code, out, _ = bursar("trigger", "charge.refunded")
    assert code == 0
    kind, event_id, object_id = out.split()
    assert (kind, event_id[:4], object_id[:3]) == ("charge.refunded", "evt_", "ch_")
    event = json.loads(bursar("trigger", "product.created", "--json")[1])
    assert (event["object"], event["type"]) == ("event", "product.created")


def test_trigger_lists_what_there_is_without_a_sandbox(bare: Command) -> None:
    assert bare("trigger", "--list")[1].split() == list(control_client.EVENTS)
    assert json.loads(bare("trigger", "--list", "--json")[1])["data"] == list(control_client.EVENTS)
    for words in ((), ("charge.failed", "--list")):
        assert bare("trigger", *words)[0] == 2


def test_reset_empties_the_sandbox(bursar: Command, sandbox: Sandbox) -> None:
    control_client.set_faults(sandbox.base_url, drop=0.5)
    control_client.advance_clock(sandbox.base_url, 86_400)
    code, out, _ = bursar("sandbox", "reset")
    assert code == 0
    assert out.count("\n") == 1
    assert control_client.faults(sandbox.base_url)["faults"] is None
    assert abs(control_client.now(sandbox.base_url) - time.time()) < 60


def test_sandbox_of_the_demo_that_is_up_is_found_and_its_reset_has_a_warning(
    bare: Command, monkeypatch: pytest.MonkeyPatch, sandbox: Sandbox, tmp_path: Path
) -> None:
    monkeypatch.delenv("BURSAR_SANDBOX_STRIPE_PORT", raising=False)
    place = Place(tmp_path / "home")
    place.prepare()
    place.announce({"pid": os.getpid(), "stripe": sandbox.base_url})
    assert bare("trigger", "customer.created")[0] == 0
    code, out, _ = bare("sandbox", "reset")
    assert code == 0
    assert "Bursar's database keeps what it knows" in out
    assert "`bursar demo --fresh`" in out
    # A port that was chosen goes before a demo's file, and --url before both.
    monkeypatch.setenv("BURSAR_SANDBOX_STRIPE_PORT", "1")
    assert bare("sandbox", "clock")[0] == 1
    assert bare("sandbox", "clock", "--url", sandbox.base_url)[0] == 0


def test_file_of_a_demo_that_was_killed_leads_nowhere(
    bare: Command, monkeypatch: pytest.MonkeyPatch, sandbox: Sandbox, tmp_path: Path
) -> None:
    ended = subprocess.Popen(["true"])
    ended.wait()
    place = Place(tmp_path / "home")
    place.prepare()
    place.announce({"pid": ended.pid, "stripe": sandbox.base_url})
    code, out, _ = bare("sandbox", "reset", "--url", sandbox.base_url, "--json")
    assert code == 0
    assert json.loads(out) == {"reset": sandbox.base_url, "demo": False}


@pytest.fixture
def listening(
    sandbox: Sandbox, receiver: Receiver
) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Starts `bursar listen` to the receiver as a process of its own."""
    control_client.reset(sandbox.base_url)
    started: list[subprocess.Popen[str]] = []

    def start(*words: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "bursar.entrypoints.cli", "listen"]
        process = subprocess.Popen(
            [*command, "--url", sandbox.base_url, "--forward-to", receiver.url, *words],
            stdout=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        if process.poll() is None:
            process.kill()
        process.communicate()


def line_of(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_listen_forwards_signed_webhooks_with_a_line_for_each_until_it_is_stopped(
    sandbox: Sandbox,
    receiver: Receiver,
    listening: Callable[..., subprocess.Popen[str]],
    number: signal.Signals,
) -> None:
    process = listening("--events", "customer.created,product.deleted")
    receiver.secret = line_of(process).removeprefix("Signing secret: ").strip()
    assert receiver.url in line_of(process)
    control_client.trigger(sandbox.base_url, "customer.created")
    assert line_of(process).split()[1::2] == ["customer.created", "200"]
    # The receiver verified with the secret that was printed.
    receiver.wait_for(lambda one: one.types == ["customer.created"])
    control_client.trigger(sandbox.base_url, "product.deleted")
    assert line_of(process).split()[1] == "product.deleted"
    process.send_signal(number)
    assert process.wait(10) == 0
    control_client.trigger(sandbox.base_url, "customer.created")
    assert len(control_client.deliveries(sandbox.base_url)) == 2
    assert receiver.refused == []


def test_listen_shows_what_was_refused_tried_again_and_dropped(
    sandbox: Sandbox, receiver: Receiver, listening: Callable[..., subprocess.Popen[str]]
) -> None:
    process = listening("--json", "--events", "customer.created")
    receiver.answers = [500, 500]
    first = json.loads(line_of(process))
    assert first["forward_to"] == receiver.url
    receiver.secret = first["secret"]
    control_client.trigger(sandbox.base_url, "customer.created")
    told = json.loads(line_of(process))
    while told["state"] == "pending":
        assert told["last_status"] == 500
        told = json.loads(line_of(process))
    assert (told["state"], told["attempts"]) == ("failed", 2)
    control_client.set_faults(sandbox.base_url, drop=1.0)
    control_client.trigger(sandbox.base_url, "customer.created")
    assert json.loads(line_of(process))["state"] == "dropped"
