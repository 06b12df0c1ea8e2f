"""The sandbox as a process: start, stop, controls, its record."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from bursar_sandbox import settings
from bursar_sandbox.running import Sandbox


def test_sandbox_stops_cleanly_when_told_to() -> None:
    command = [sys.executable, "-m", "bursar_sandbox", "--port", "0"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert " ready on http://127.0.0.1:" in process.stdout.readline()
        process.terminate()
        _, errors = process.communicate(timeout=20)
    assert (process.returncode, errors) == (0, "")


def test_port_that_is_taken_is_said_in_one_line(shared_sandbox: Sandbox) -> None:
    port = shared_sandbox.base_url.rsplit(":", 1)[1]
    command = [sys.executable, "-m", "bursar_sandbox", "--port", port]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 1
    assert port in done.stderr
    assert "Traceback" not in done.stderr


def test_health_needs_no_key(shared_sandbox: Sandbox) -> None:
    assert httpx.get(f"{shared_sandbox.base_url}/_sandbox/health").json() == {"ok": True}


def test_clock_only_moves_forward_and_is_kept(
    client_for: Callable[[Sandbox], Any], tmp_path: Path
) -> None:
    with Sandbox(home=tmp_path) as sandbox:
        url = f"{sandbox.base_url}/_sandbox/clock"
        before = httpx.get(url).json()["now"]
        assert httpx.post(url, json={"advance": 1000}).json()["now"] >= before + 1000
        for wrong in ({"advance": -1}, {"advance": "1"}, {"advance": True}, {}, []):
            assert httpx.post(url, json=wrong).status_code == 400
    with Sandbox(home=tmp_path) as sandbox:
        assert client_for(sandbox).v1.customers.create({}).created >= before + 1000


def test_reset_forgets_everything_but_the_endpoint_it_was_started_with(
    start: Callable[..., Sandbox], client_for: Callable[[Sandbox], Any]
) -> None:
    sandbox = start(webhook=("http://127.0.0.1:1/hook", "whsec_x"))
    v1 = client_for(sandbox).v1
    v1.customers.create({})
    v1.webhook_endpoints.create({"url": "http://127.0.0.1:2/hook", "enabled_events": ["*"]})
    httpx.post(f"{sandbox.base_url}/_sandbox/clock", json={"advance": 10**6})
    assert httpx.post(f"{sandbox.base_url}/_sandbox/reset").json() == {"ok": True}
    assert v1.customers.list().data == []
    assert [one.url for one in v1.webhook_endpoints.list().data] == ["http://127.0.0.1:1/hook"]
    assert httpx.get(f"{sandbox.base_url}/_sandbox/deliveries").json() == {"data": []}


def test_restart_with_the_same_webhook_makes_no_second_endpoint(
    client_for: Callable[[Sandbox], Any], tmp_path: Path
) -> None:
    for secret in ("whsec_a", "whsec_b"):
        with Sandbox(home=tmp_path, webhook=("http://127.0.0.1:1/hook", secret)) as sandbox:
            assert len(client_for(sandbox).v1.webhook_endpoints.list().data) == 1


def test_resend_of_nothing_is_a_404(shared_sandbox: Sandbox) -> None:
    answer = httpx.post(f"{shared_sandbox.base_url}/_sandbox/deliveries/999999/resend")
    assert answer.status_code == 404


def test_record_has_a_line_per_answer(
    start: Callable[..., Sandbox], client_for: Callable[[Sandbox], Any], tmp_path: Path
) -> None:
    record = tmp_path / "record.jsonl"
    v1 = client_for(start(record=record)).v1
    name = "two\nlines\u2028"
    v1.customers.create({"name": name})
    v1.customers.list()
    lines = [json.loads(line) for line in record.read_text("utf-8").rstrip("\n").split("\n")]
    assert [(line["kind"], line["method"], line["status"]) for line in lines] == [
        ("response", "POST", 200),
        ("response", "GET", 200),
    ]
    assert lines[0]["body"]["name"] == name


@pytest.mark.parametrize("text", ["1,x", "-1"])
def test_wait_that_can_not_be_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"wait|float"):
        settings.parse_retry(text)


def test_settings_come_from_the_environment() -> None:
    found = settings.from_environment(
        {
            "BURSAR_SANDBOX_STRIPE_PORT": "7",
            "BURSAR_SANDBOX_RETRY": "0.5,2",
            "BURSAR_SANDBOX_RECORD": "record.jsonl",
            "BURSAR_SANDBOX_STRIPE_WEBHOOK": "http://127.0.0.1/a,b,whsec_x",
        }
    )
    assert (found.port, found.retry_seconds) == (7, (0.5, 2.0))
    assert found.record == Path("record.jsonl")
    assert found.webhook == ("http://127.0.0.1/a,b", "whsec_x")


def test_a_browser_that_opens_the_address_finds_the_sandboxs_page(tmp_path: Path) -> None:
    with Sandbox(home=tmp_path) as sandbox:
        headers = {"accept": "text/html,*/*;q=0.8"}
        answer = httpx.get(f"{sandbox.base_url}/", follow_redirects=True, headers=headers)
        assert answer.status_code == 200
        assert answer.url.path == "/_sandbox/"
