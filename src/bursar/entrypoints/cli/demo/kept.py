"""The demo's files under BURSAR_HOME: its lock, what it keeps, and `demo.json` while it is up.

Everything here is for the one user who runs the demo (mode 0600). It never holds a real key.
"""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import json
import os
import secrets
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from bursar import errors
from bursar.config import Settings
from bursar.db.home import Home


def _sandbox_key(kind: str) -> str:
    return f"{kind}_test_{secrets.token_hex(16)}"


@dataclass(frozen=True, slots=True)
class Kept:
    """What stays the same from one start to the next."""

    secret_key: str = field(default_factory=lambda: _sandbox_key("sk"))
    publishable_key: str = field(default_factory=lambda: _sandbox_key("pk"))
    webhook_secret: str = ""
    endpoint_id: str = ""
    user_key: str = ""
    service_key: str = ""
    admin_key: str = ""
    link_token: str = ""
    """The sign-in link of the demo that runs, or of one that was killed."""
    admin_link_token: str = ""
    """The same for the operator's pages."""


@dataclass(frozen=True, slots=True)
class Place:
    """The folder of a demo: BURSAR_HOME."""

    home: Path

    @property
    def demo_file(self) -> Path:
        return self.home / "demo.json"

    @property
    def kept_file(self) -> Path:
        return self.home / "demo-kept.json"

    @property
    def sandbox(self) -> Path:
        return self.home / "sandbox"

    @property
    def logs(self) -> Path:
        return self.home / "logs"

    def prepare(self) -> None:
        """Make the folders. Raises Misconfigured where that is not allowed."""
        # As root PostgreSQL runs as another user, who has to pass through; he can't look around.
        mode = 0o711 if os.geteuid() == 0 else 0o700
        try:
            self.home.mkdir(mode=mode, parents=True, exist_ok=True)
            for folder in (self.sandbox, self.logs):
                folder.mkdir(mode=0o700, exist_ok=True)
        except OSError as error:
            raise errors.Misconfigured(
                f"{error.filename or self.home} can't be made: {error.strerror}. "
                "Set BURSAR_HOME to a folder where you may write."
            ) from error

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Be the only demo here; the lock ends with the process. Raises Conflict."""
        with (self.home / "demo.lock").open("a+") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                file.seek(0)
                raise errors.Conflict(
                    f"A demo runs in {self.home} already (process {file.read() or '?'}). Stop it "
                    "with Ctrl-C, or set BURSAR_HOME (and other ports) for a second one."
                ) from error
            file.truncate(0)
            file.write(str(os.getpid()))
            file.flush()
            yield

    def read(self) -> Kept:
        """What an earlier start kept; new keys at the first."""
        try:
            fields = json.loads(self.kept_file.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return Kept()
        known = {field.name for field in dataclasses.fields(Kept)}
        return Kept(**{name: value for name, value in fields.items() if name in known})

    def keep(self, kept: Kept) -> None:
        Home(self.home).write(self.kept_file, json.dumps(dataclasses.asdict(kept), indent=2))

    def announce(self, facts: dict[str, object]) -> None:
        """Write demo.json, whole at once: whoever finds it finds a demo that answers."""
        Home(self.home).write(self.demo_file, json.dumps(facts, indent=2) + "\n")

    def withdraw(self) -> None:
        self.demo_file.unlink(missing_ok=True)


def with_sandbox(settings: Settings, kept: Kept) -> Settings:
    """The settings of a demo: the sandbox plays the provider, whatever the environment says."""
    return settings.model_copy(
        update={
            "sandbox": True,
            "stripe_secret_key": kept.secret_key,
            "stripe_publishable_key": kept.publishable_key,
            "stripe_webhook_secrets": (kept.webhook_secret,) if kept.webhook_secret else (),
            "stripe_api_base": f"http://127.0.0.1:{settings.sandbox_stripe_port}",
        }
    )


def demo_settings(settings: Settings) -> Settings:
    """The settings as they are; where no provider is set up and a demo is up, those of the demo."""
    place = Place(settings.home)
    if settings.stripe_secret_key or not place.demo_file.exists():
        return settings
    return with_sandbox(settings, place.read())
