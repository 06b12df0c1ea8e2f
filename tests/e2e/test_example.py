"""The example app as its README runs it: a real process, the sandbox's webhooks, kill -9."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import httpx2
import pytest

from bursar import Bursar, config
from bursar.billing import payments
from bursar.config import Settings
from bursar.wiring import opened
from bursar_sandbox.running import Sandbox
from worlds import ROOT, World, eventually, free_port, stripe_client

EXAMPLE = ROOT / "examples" / "paid_endpoint"
WEBHOOK_SECRET = "whsec_paid_endpoint"


@dataclass
class Example:
    """The example's address, its settings, and what it printed over all its lives."""

    url: str
    settings: Settings
    said: Path
    sandbox: Sandbox

    @contextmanager
    def running(self, crash_at: str = "") -> Iterator[subprocess.Popen[bytes]]:
        """The app as a process of its own, ready; stopped in the end if it still runs."""
        environment = {
            **{k: v for k, v in os.environ.items() if not k.startswith(("BURSAR_", "STRIPE_"))},
            "DATABASE_URL": str(self.settings.database_url),
            "STRIPE_API_BASE": self.sandbox.base_url,
            "BURSAR_PUBLIC_URL": f"{self.url}/billing",
            "BURSAR_WORKER_LEASE_SECONDS": "1",
            "BURSAR_WORKER_POLL_SECONDS": "0.05",
            "BURSAR_CRASH_AT": crash_at,
        }
        port = self.url.rpartition(":")[2]
        command = [sys.executable, "-m", "uvicorn", "--app-dir", str(EXAMPLE), "--port", port]
        with self.said.open("ab") as said:
            process = subprocess.Popen(
                [*command, "app:app"], env=environment, stdout=said, stderr=said
            )
            try:
                while not self._answers():
                    assert process.poll() is None, self.said.read_text()
                    time.sleep(0.05)
                yield process
            finally:
                if process.poll() is None:
                    process.send_signal(signal.SIGTERM)
                process.wait(30)

    def _answers(self) -> bool:
        try:
            answer = httpx2.get(f"{self.url}/billing/readyz", timeout=5)
        except httpx2.TransportError:
            return False
        return answer.status_code == 200

    def greetings(self) -> list[str]:
        """The event ids for which ada was thanked, in order."""
        return re.findall(r"^thanks ada 10 (\S+)$", self.said.read_text(), re.M)

    async def summarize(self, text: str, key: str = "") -> httpx2.Response:
        headers = {"x-user": "ada", **({"idempotency-key": key} if key else {})}
        async with httpx2.AsyncClient(base_url=self.url, timeout=30) as http:
            return await http.post("/summarize", json={"text": text}, headers=headers)

    async def checkout(self) -> str:
        """Follow the 402 to the provider's page; its address."""
        refused = await self.summarize("One. Two.")
        assert refused.status_code == 402, refused.text
        async with httpx2.AsyncClient(base_url=self.url, timeout=30) as http:
            sent = await http.get(refused.json()["buy"], headers={"x-user": "ada"})
        assert sent.status_code == 303, sent.text
        return str(sent.headers["location"])

    async def pay(self, hosted: str) -> None:
        """Pay at the sandbox as the official command line does, without a browser."""
        client = stripe_client(self.sandbox)
        session = next(
            one
            for one in client.v1.checkout.sessions.list().data
            if one.url and one.url.split("#")[0] == hosted.split("#", maxsplit=1)[0]
        )
        async with opened(self.settings) as wiring:
            async with wiring.db.connection() as conn:
                payment = await payments.find_by_session(conn, "stripe", session.id)
            assert payment is not None
            await World(wiring, self.sandbox, client).pay(payment)

    async def assert_audit_clean(self) -> None:
        async with opened(self.settings) as wiring:
            await World(wiring, self.sandbox, stripe_client(self.sandbox)).assert_audit_clean()


@pytest.fixture
async def example(tmp_path: Path, database_url: str) -> AsyncIterator[Example]:
    """The example on its own sandbox, which sends webhooks to its front door."""
    url = f"http://127.0.0.1:{free_port()}"
    webhook = (f"{url}/billing/api/stripe/webhook", WEBHOOK_SECRET)
    waits = (0.3, 0.6, 1.2, 2.4, 4.8)
    with Sandbox(home=tmp_path, webhook=webhook, retry_seconds=waits) as sandbox:
        settings = config.read(
            EXAMPLE / "sandbox.env", database_url=database_url, stripe_api_base=sandbox.base_url
        )
        yield Example(url, settings, tmp_path / "said.txt", sandbox)


async def told(example: Example, count: int) -> list[str]:
    """Wait until ada was thanked so often; the events' ids."""

    async def so_often() -> bool:
        return len(example.greetings()) >= count

    await eventually(so_often)
    return example.greetings()


async def test_a_call_is_refused_paid_for_served_and_counted(example: Example) -> None:
    with example.running() as process:
        await example.pay(await example.checkout())
        await told(example, 1)
        served = await example.summarize("First. Second.", key="call-1")
        assert served.json() == {"summary": "First.", "credits_left": 9}
        again = await example.summarize("First. Second.", key="call-1")
        assert again.json() == served.json()
        failed = await example.summarize("   ")
        assert failed.status_code == 422
        assert (await example.summarize("Other.")).json()["credits_left"] == 8
        process.send_signal(signal.SIGTERM)
        process.wait(30)
    assert "Application shutdown complete" in example.said.read_text()
    assert len(example.greetings()) == 1
    await example.assert_audit_clean()


async def test_a_key_lets_no_other_work_through_and_its_failure_can_be_repeated(
    example: Example,
) -> None:
    with example.running():
        await example.pay(await example.checkout())
        await told(example, 1)
        for _ in range(2):  # what failed costs nothing, and its repeat fails in the same way
            assert (await example.summarize("   ", key="mine")).status_code == 422
        first = await example.summarize("First. Second.", key="mine")
        assert first.json() == {"summary": "First.", "credits_left": 9}
        assert (await example.summarize("   ", key="mine")).status_code == 422
        other = await example.summarize("Other. Work.", key="mine")
        assert other.json() == {"summary": "Other.", "credits_left": 8}
        for _ in range(2):
            again = await example.summarize("First. Second.", key="mine")
            assert again.json() == first.json()
        assert (await example.summarize("Last.")).json()["credits_left"] == 7
    await example.assert_audit_clean()


async def test_work_that_succeeds_after_its_reservation_went_back_is_paid_once(
    example: Example,
) -> None:
    with example.running():
        await example.pay(await example.checkout())
        await told(example, 1)
        key = sha256(b"late\nOne. Two.").hexdigest()
        library = Bursar(example.settings, with_worker=False)
        async with library.lifespan():
            hold = await library.credits.hold("ada", 1, key=key, description="A summary")
            await library.credits.release("ada", hold.hold_id)
        for _ in range(2):
            served = await example.summarize("One. Two.", key="late")
            assert served.json() == {"summary": "One.", "credits_left": 9}
        assert (await example.summarize("Last.")).json()["credits_left"] == 8
    await example.assert_audit_clean()


async def test_ten_calls_and_no_more_for_ten_credits(example: Example) -> None:
    with example.running():
        await example.pay(await example.checkout())
        await told(example, 1)
        answers = await asyncio.gather(*(example.summarize("A. B.") for _ in range(14)))
    assert sorted(answer.status_code for answer in answers) == [200] * 10 + [402] * 4
    await example.assert_audit_clean()


async def test_killed_between_the_commit_and_the_handler_it_runs_after_a_restart(
    example: Example,
) -> None:
    with example.running(crash_at="send.before_delivery") as process:
        await example.pay(await example.checkout())
        assert process.wait(30) == -signal.SIGKILL
    assert example.greetings() == []
    with example.running():
        await told(example, 1)
        assert (await example.summarize("A. B.")).json()["credits_left"] == 9
    assert len(example.greetings()) == 1
    await example.assert_audit_clean()


async def test_killed_after_the_handler_it_runs_again_with_the_same_event(
    example: Example,
) -> None:
    with example.running(crash_at="send.after_delivery") as process:
        await example.pay(await example.checkout())
        assert process.wait(30) == -signal.SIGKILL
    assert len(example.greetings()) == 1
    with example.running():
        first, again = await told(example, 2)
        assert first == again
        assert (await example.summarize("A. B.")).json()["credits_left"] == 9
    await example.assert_audit_clean()


def test_the_example_is_short_and_its_readme_names_what_it_sells() -> None:
    assert len((EXAMPLE / "app.py").read_text().splitlines()) <= 80
    readme = (EXAMPLE / "README.md").read_text()
    assert WEBHOOK_SECRET in readme
    assert WEBHOOK_SECRET in (EXAMPLE / "sandbox.env").read_text()
