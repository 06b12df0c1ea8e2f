"""One PostgreSQL cluster in a home: made once, started, watched, stopped.

Owns the data directory and the server's process. It never decides who may start it: the holder
of the home's lock does. Durable unless asked otherwise, which only throw-away tests should do.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

from bursar import errors
from bursar.db.accounts import Account
from bursar.db.binaries import Binaries
from bursar.db.home import HOST, USER, Home
from bursar.db.ports import choose_port, is_free

START_TIMEOUT_SECONDS = 120.0
FAST_STOP_SECONDS = 10.0
POLL_SECONDS = 0.01
LOG_TAIL_LINES = 8
START_ATTEMPTS = 3
MAX_CONNECTIONS = 200


class Cluster:
    """The cluster of one home and one major version."""

    def __init__(self, home: Home, binaries: Binaries, account: Account, *, durable: bool) -> None:
        self._home = home
        self._binaries = binaries
        self._account = account
        self._durable = durable
        self._data = home.data(binaries.major)
        self._log = home.log(binaries.major)
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def alive(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Make the cluster if there is none and start it; return when it takes connections.

        The server ends with the calling thread (see Account.start).
        Raises errors.EmbeddedServerFailed with the end of the server's log.
        """
        self._check_version()
        if not self._data.exists():
            self._create()
        elif not self._home.password_file.exists():
            raise errors.EmbeddedServerFailed(
                f"{self._home.password_file} is gone, and only it opens {self._data}. "
                f"Bring it back, or move {self._data} away to begin with an empty database."
            )
        self._check_owner()
        self._await_predecessor()
        for attempt in range(START_ATTEMPTS):
            port = choose_port(self._home)
            self._home.write(self._home.port_file, str(port))
            self._launch(port)
            if self._await_ready():
                return
            # Somebody may have taken the port between our look and the server's.
            if attempt == START_ATTEMPTS - 1 or is_free(port):
                break
        raise errors.EmbeddedServerFailed(
            f"PostgreSQL did not start. The end of {self._log}:\n{self._log_tail()}"
        )

    def stop(self) -> None:
        """Shut down fast and cleanly; after ten seconds without a clean end."""
        process, self._process = self._process, None
        if process is None:
            return
        for number in (signal.SIGINT, signal.SIGQUIT, signal.SIGKILL):
            if process.poll() is None:
                process.send_signal(number)
            try:
                process.wait(FAST_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                continue
            return

    def _check_version(self) -> None:
        major = self._binaries.major
        others = sorted(self._home.path.glob("pg[0-9]*/PG_VERSION"))
        if self._data.exists():
            others = [self._data / "PG_VERSION"]
        for file in others:
            found = file.read_text().strip()
            if found != str(major):
                raise errors.EmbeddedServerFailed(_upgrade_help(file.parent, found, major))

    def _create(self) -> None:
        draft = self._data.with_name(f"{self._data.name}.new")
        secret = draft.with_name("password.initdb")
        shutil.rmtree(draft, ignore_errors=True)
        draft.mkdir(mode=0o700)
        self._account.own(draft)
        try:
            # initdb reads the password as the server's user, who must not keep it.
            self._home.write(secret, self._home.password())
            self._account.own(secret)
            program = [
                *(str(self._binaries.folder / "initdb"), f"--pgdata={draft}"),
                *(f"--username={USER}", f"--pwfile={secret}", "--auth=scram-sha-256"),
                *("--encoding=UTF8", "--locale=C", "--no-instructions"),
                *(() if self._durable else ("--no-sync",)),
            ]
            with self._log.open("wb") as log:
                code = self._account.start(program, log).wait(START_TIMEOUT_SECONDS)
        finally:
            secret.unlink(missing_ok=True)
        if code != 0:
            raise errors.EmbeddedServerFailed(
                f"initdb could not make {draft}. The end of {self._log}:\n{self._log_tail()}"
            )
        draft.rename(self._data)

    def _check_owner(self) -> None:
        if self._data.stat().st_uid != self._account.uid:
            raise errors.EmbeddedServerFailed(
                f"{self._data} belongs to user id {self._data.stat().st_uid}, and PostgreSQL would "
                f"run as {self._account.name}. Start Bursar as the user who made it (root makes it "
                "for nobody), or set BURSAR_HOME to another folder."
            )

    def _await_predecessor(self) -> None:
        """Wait for the server of a dead owner to end; ask it to, where the system did not."""
        deadline = time.monotonic() + FAST_STOP_SECONDS
        asked = False
        while (pid := self._recorded_pid()) is not None and _is_running(pid):
            if not _looks_like_postgres(pid):
                # The number was given to another program after a crash, as in a container.
                (self._data / "postmaster.pid").unlink(missing_ok=True)
                return
            if time.monotonic() > deadline:
                raise errors.EmbeddedServerFailed(
                    f"An earlier PostgreSQL (process {pid}) still runs on {self._data} and does "
                    f"not stop. Stop it by `kill -INT {pid}`, then start again."
                )
            if not asked and _looks_like_postgres(pid, self._data):
                os.kill(pid, signal.SIGINT)
                asked = True
            time.sleep(POLL_SECONDS)

    def _recorded_pid(self) -> int | None:
        lines = self._status()
        return int(lines[0]) if lines and lines[0].strip().isdigit() else None

    def _status(self) -> list[str]:
        try:
            return (self._data / "postmaster.pid").read_text().splitlines()
        except FileNotFoundError:
            return []

    def _launch(self, port: int) -> None:
        durable = "on" if self._durable else "off"
        settings = {
            "listen_addresses": HOST,
            "port": str(port),
            # No socket: its path may be too long, and passwords then hold for everybody.
            "unix_socket_directories": "",
            "password_encryption": "scram-sha-256",
            "max_connections": str(MAX_CONNECTIONS),
            "fsync": durable,
            "synchronous_commit": durable,
            "full_page_writes": durable,
            "timezone": "UTC",
            "log_timezone": "UTC",
            # A statement's text may hold personal data; errors are reported to the client anyway.
            "log_min_error_statement": "panic",
            "log_min_messages": "log",
            "log_checkpoints": "off",
            "logging_collector": "off",
        }
        program = [str(self._binaries.folder / "postgres"), "-D", str(self._data)]
        for name, value in settings.items():
            program += ["-c", f"{name}={value}"]
        with self._log.open("wb") as log:
            self._process = self._account.start(program, log)

    def _await_ready(self) -> bool:
        """Wait until the server that we started says so; a file left by a crash does not count."""
        assert self._process is not None  # noqa: S101 - _launch came before
        deadline = time.monotonic() + START_TIMEOUT_SECONDS
        while self._process.poll() is None:
            lines = self._status()
            ours = bool(lines) and lines[0] == str(self._process.pid)
            if ours and len(lines) >= 8 and lines[7].strip() == "ready":
                return True
            if time.monotonic() > deadline:
                self.stop()
                break
            time.sleep(POLL_SECONDS)
        return False

    def _log_tail(self) -> str:
        lines = self._log.read_text(errors="replace").splitlines()
        return "\n".join(lines[-LOG_TAIL_LINES:])


def _is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _looks_like_postgres(pid: int, data: Path | None = None) -> bool:
    """Tell whether the process is a PostgreSQL server (on `data`), as far as the system says."""
    try:
        command = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        # Not Linux, or it ended just now. Taken for a server, but not for one to send a signal.
        return data is None
    if not any(b"postgres" in word for word in command):
        return False
    return data is None or str(data).encode() in command


def _upgrade_help(folder: Path, found: str, major: int) -> str:
    return (
        f"{folder} holds data of PostgreSQL {found}, and the programs here are version {major}. "
        f"To bring the data over: (1) with BURSAR_PG_BIN set to the program folder of "
        f"PostgreSQL {found}, start Bursar and save the data with `pg_dump --format=custom "
        f"--file=bursar.dump DATABASE_URL`; (2) stop it and move {folder} away; (3) without "
        "BURSAR_PG_BIN start Bursar once, stop what writes, and load the data with `pg_restore "
        "--clean --if-exists --dbname=DATABASE_URL bursar.dump`."
    )
