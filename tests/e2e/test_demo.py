"""`bursar demo` as people start it: a process of its own, on free ports and an empty home."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from bursar.billing import catalog_file
from bursar.db.connections import connect

ROOT = Path(__file__).resolve().parents[2]
KEYS = set(
    "pid server stripe lemonsqueezy paddle user_id user_key service_key admin_key account_url "
    "admin_url database_url webhook_secrets".split()
)
START_SECONDS, STOP_SECONDS = 60.0, 10.0

pytestmark = pytest.mark.timeout(180)


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on now."""
    with contextlib.ExitStack() as held:
        probes = [held.enter_context(socket.socket()) for _ in range(count)]
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [probe.getsockname()[1] for probe in probes]


class Demo:
    """A demo of one home: started, found by its file, stopped."""

    def __init__(self, home: Path) -> None:
        self.home = home
        server, sandbox = free_ports(2)
        kept = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("BURSAR_", "STRIPE_", "PG", "DATABASE_", "FRONTEND_"))
        }
        self.environment = {
            **kept,
            "BURSAR_HOME": str(home),
            "BURSAR_PORT": str(server),
            "BURSAR_SANDBOX_STRIPE_PORT": str(sandbox),
            "BURSAR_CATALOG": str(ROOT / "catalog.toml"),
        }
        self.process: subprocess.Popen[str] | None = None

    def command(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run `bursar` with these words to its end."""
        return subprocess.run(
            [sys.executable, "-m", "bursar.entrypoints.cli", *words],
            env=self.environment,
            cwd=self.home.parent,
            capture_output=True,
            text=True,
            timeout=START_SECONDS + STOP_SECONDS,
            check=False,
        )

    def begin(self, *words: str) -> None:
        """Run `bursar` with these words, until it is stopped."""
        self.process = subprocess.Popen(
            [sys.executable, "-m", "bursar.entrypoints.cli", *words],
            env=self.environment,
            cwd=self.home.parent,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def start(self, *words: str) -> dict[str, Any]:
        """Start the demo and wait until its file is there; returns what the file says."""
        self.begin("demo", *words)
        wait_for(lambda: self.announced() or self.process.poll() is not None, START_SECONDS)
        facts = self.announced()
        if facts is None:
            pytest.fail(f"the demo did not come up:\n{self.process.communicate()[0]}")
        return facts

    def announced(self) -> dict[str, Any] | None:
        """What the file says, if it is this demo's and not that of one that was killed."""
        with contextlib.suppress(FileNotFoundError):
            facts: dict[str, Any] = json.loads(self.file.read_text())
            if facts["pid"] == self.process.pid:
                return facts
        return None

    @property
    def file(self) -> Path:
        return self.home / "demo.json"

    def end(self, number: signal.Signals) -> tuple[int, str]:
        """Send a signal; the exit code and the output of the demo, which ends in time."""
        self.process.send_signal(number)
        output, _ = self.process.communicate(timeout=STOP_SECONDS)
        return self.process.returncode, output

    def processes(self) -> list[str]:
        """The command lines of all processes that work on this home or its ports."""
        found = []
        for entry in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                line = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
                held = (entry / "environ").read_bytes().decode(errors="replace")
                if (
                    f"BURSAR_HOME={self.home}\0" in held
                    and "Z (zombie)" not in (entry / "status").read_text()
                ):
                    found.append(line)
        return found


@pytest.fixture
def demo() -> Iterator[Demo]:
    # Not pytest's own folder, which other users can't enter: as root PostgreSQL runs as one.
    with tempfile.TemporaryDirectory(prefix="bursar-demo-") as folder:
        Path(folder).chmod(0o711)
        made = Demo(Path(folder) / "home")
        yield made
        if made.process is not None and made.process.poll() is None:
            made.end(signal.SIGTERM)


def wait_for(claim: Callable[[], bool], seconds: float) -> None:
    """Wait until the claim is true; fail when time is up."""
    end = time.monotonic() + seconds
    while not claim():
        if time.monotonic() > end:
            pytest.fail(f"waited {seconds} s in vain")
        time.sleep(0.05)


def execute(database_url: str, sql: str) -> object:
    """Run one statement; the first column of its first row, if it has one."""

    async def run() -> object:
        conn = await connect(database_url)
        try:
            return await conn.fetchval(sql)
        finally:
            await conn.close()

    return asyncio.run(run())


def balance(facts: dict[str, Any]) -> int:
    answer = httpx2.get(
        f"{facts['server']}/user/balance?unit=page",
        headers={"Authorization": f"Bearer {facts['user_key']}"},
    )
    assert answer.status_code == 200, answer.text
    return int(answer.json()["balance"])


def test_once_buys_a_pack_shows_it_and_leaves_nothing_running(demo: Demo) -> None:
    done = demo.command("demo", "--once")
    assert done.returncode == 0, done.stdout + done.stderr
    for shown in ("checkout.session.completed (done)", "0 → 5 pages", "+5 purchase"):
        assert shown in done.stdout
    assert not demo.file.exists()
    assert demo.processes() == []


def test_demo_file_says_the_truth_to_its_owner_alone_and_goes_with_the_demo(demo: Demo) -> None:
    facts = demo.start()
    assert set(facts) == KEYS
    assert stat.S_IMODE(demo.file.stat().st_mode) == 0o600
    assert facts["pid"] == demo.process.pid
    assert facts["user_id"] == "demo-user"
    assert facts["webhook_secrets"]["stripe"].startswith("whsec_")
    assert balance(facts) == 0
    for kind in ("user", "service", "admin"):
        assert facts[f"{kind}_key"].startswith(f"bursar_{kind}_")
    for link in ("account", "admin") * 2:
        # The links work again and again, each time for a new browser.
        answer = httpx2.get(facts[f"{link}_url"], follow_redirects=False)
        assert (answer.status_code, answer.headers["location"]) == (303, f"/{link}")
        assert "bursar_session" in answer.cookies
    code, output = demo.end(signal.SIGTERM)
    assert code == 0, output
    assert not demo.file.exists()
    assert demo.processes() == []


def test_second_start_keeps_balance_and_keys_and_fresh_drops_them(demo: Demo) -> None:
    assert demo.command("demo", "--once").returncode == 0
    kept = demo.start()
    assert balance(kept) == 5
    links = [kept["account_url"], kept["admin_url"]]
    assert demo.end(signal.SIGINT)[0] == 0
    again = demo.start()
    assert again["user_key"] == kept["user_key"]
    for link in links:
        assert httpx2.get(link, follow_redirects=False).status_code != 303
    assert demo.end(signal.SIGTERM)[0] == 0
    fresh = demo.start("--fresh")
    assert balance(fresh) == 0
    assert fresh["user_key"] != kept["user_key"]


def test_killed_demo_leaves_no_process_and_the_next_one_starts(demo: Demo) -> None:
    demo.start()
    assert len(demo.processes()) >= 3
    demo.end(signal.SIGKILL)
    wait_for(lambda: demo.processes() == [], STOP_SECONDS)
    facts = demo.start()
    assert facts["pid"] == demo.process.pid
    assert balance(facts) == 0


def test_child_that_dies_ends_the_demo_with_its_last_words(demo: Demo) -> None:
    facts = demo.start()
    children = Path(f"/proc/{facts['pid']}/task/{facts['pid']}/children").read_text().split()
    server = next(
        pid for pid in children if "serve" in Path(f"/proc/{pid}/cmdline").read_text().split("\0")
    )
    os.kill(int(server), signal.SIGKILL)
    output, _ = demo.process.communicate(timeout=STOP_SECONDS + 5)
    assert demo.process.returncode == 1
    assert "The server ended (signal SIGKILL)" in output
    assert demo.processes() == []


def test_second_demo_of_one_home_is_told_and_changes_nothing(demo: Demo) -> None:
    facts = demo.start()
    second = demo.command("demo")
    assert second.returncode == 1
    assert f"runs in {demo.home} already (process {facts['pid']})" in second.stderr
    assert balance(facts) == 0


@pytest.mark.parametrize("variable", ["BURSAR_PORT", "BURSAR_SANDBOX_STRIPE_PORT"])
def test_taken_port_is_named_by_its_variable(demo: Demo, variable: str) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", int(demo.environment[variable])))
        taken.listen()
        done = demo.command("demo", "--once")
    assert done.returncode == 1
    assert f"set {variable} to another port" in done.stderr
    assert demo.processes() == []


def test_signal_during_the_start_stops_what_was_started(demo: Demo) -> None:
    demo.begin("demo")
    wait_for((demo.home / "logs" / "sandbox.log").exists, START_SECONDS)
    code, output = demo.end(signal.SIGINT)
    assert code == 0, output
    assert not demo.file.exists()
    assert demo.processes() == []


def test_demo_leaves_a_live_database_alone(demo: Demo, database_url: str) -> None:
    demo.environment["DATABASE_URL"] = database_url
    execute(database_url, "insert into deployment (mode) values ('live')")
    for words in (("demo", "--once"), ("demo", "--once", "--fresh")):
        done = demo.command(*words)
        assert done.returncode == 1
        assert "(mode_mismatch)" in done.stderr
    assert execute(database_url, "select mode from deployment") == "live"


def test_fresh_drops_no_tables_of_somebody_else(demo: Demo, empty_database_url: str) -> None:
    demo.environment["DATABASE_URL"] = empty_database_url
    execute(empty_database_url, "create table theirs as select 7 as number")
    done = demo.command("demo", "--once", "--fresh")
    assert done.returncode == 1
    assert "(conflict)" in done.stderr
    assert execute(empty_database_url, "select number from theirs") == 7


def test_commands_find_the_demo_that_is_up(demo: Demo) -> None:
    facts = demo.start()
    # Who tries things out opens more card forms than one address may in a shop.
    for _ in range(12):
        opened = httpx2.post(
            f"{facts['server']}/api/stripe/payment-intent",
            json={"package": "starter"},
            headers={"Authorization": f"Bearer {facts['user_key']}"},
            timeout=30,
        )
        assert opened.status_code == 200, opened.text
    pushed = json.loads(demo.command("catalog", "push", "--json").stdout)
    assert pushed["created"] == []
    assert len(pushed["unchanged"]) == len(catalog_file.read(ROOT / "catalog.toml").prices)
    keys = json.loads(demo.command("keys", "list", "--json").stdout)["data"]
    assert [key["kind"] for key in keys] == ["user", "service", "admin"]
    assert demo.command("audit").returncode == 0
    assert demo.end(signal.SIGTERM)[0] == 0


def test_sandbox_runs_alone_without_postgresql(demo: Demo) -> None:
    demo.begin("sandbox")
    health = f"http://127.0.0.1:{demo.environment['BURSAR_SANDBOX_STRIPE_PORT']}/_sandbox/health"

    def answers() -> bool:
        with contextlib.suppress(httpx2.TransportError):
            return httpx2.get(health).status_code == 200
        return False

    wait_for(answers, START_SECONDS)
    assert not list(demo.home.glob("pg*"))
    demo.end(signal.SIGTERM)
    assert demo.processes() == []
