"""The folder of the embedded PostgreSQL: its files, its lock, and the secrets in it.

Owns names and permissions under the home. It never starts a server and reads no data.
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO

if sys.platform != "win32":
    import fcntl

from bursar import errors
from bursar.db.accounts import Account

USER = "bursar"
DATABASE = "bursar"
HOST = "127.0.0.1"


def default_home(environment: Mapping[str, str]) -> Path:
    """Return where the data lie unless told otherwise: the user's data folder.

    For root it is /var/lib/bursar: PostgreSQL runs as another user then, who can't enter /root.
    """
    if os.getuid() == 0:
        return Path("/var/lib/bursar")
    folder = environment.get("XDG_DATA_HOME", "")
    # The XDG rules say that a relative path is to be ignored.
    if not Path(folder).is_absolute():
        return Path.home() / ".local" / "share" / "bursar"
    return Path(folder) / "bursar"


@dataclass(frozen=True, slots=True)
class Home:
    """The paths under one home."""

    path: Path

    @property
    def programs(self) -> Path:
        return self.path / "programs"

    @property
    def port_file(self) -> Path:
        return self.path / "port"

    @property
    def password_file(self) -> Path:
        return self.path / "password"

    def data(self, major: int) -> Path:
        return self.path / f"pg{major}"

    def log(self, major: int) -> Path:
        return self.path / f"pg{major}.log"

    def prepare(self, account: Account) -> None:
        """Make the folder; make sure that `account` can reach it.

        Raises errors.EmbeddedServerFailed and names the directory that is in the way.
        """
        made = [folder for folder in (self.path, *self.path.parents) if not folder.exists()]
        try:
            for folder in reversed(made):
                folder.mkdir()
                # A demoted server has to pass through, whatever the umask; nobody else looks in.
                folder.chmod(0o711 if account.demoted else 0o700)
            if not self.path.is_dir():
                raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
        except OSError as error:
            raise errors.EmbeddedServerFailed(
                f"The folder {self.path} can't be made: {error.strerror}. "
                "Set BURSAR_HOME to a place where you may write, or set DATABASE_URL."
            ) from error
        if barrier := account.find_barrier(self.path):
            raise errors.EmbeddedServerFailed(
                f"PostgreSQL runs as the user {account.name} when started by root, and "
                f"{account.name} can't enter {barrier}. Set BURSAR_HOME to a folder outside of it "
                f"(the default is {default_home({})}), or open it: chmod o+x {barrier}"
            )

    def write(self, path: Path, text: str) -> None:
        """Write a file that only we can read, whole or not at all."""
        draft = path.with_name(f"{path.name}.new")
        with contextlib.suppress(FileNotFoundError):
            draft.unlink()
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        draft.rename(path)

    def password(self) -> str:
        """Return the server's password, made at the first call."""
        if not self.password_file.exists():
            self.write(self.password_file, secrets.token_urlsafe(24))
        return self.password_file.read_text()

    def url(self, database: str = DATABASE) -> str | None:
        """Return the address with the password in it, or None before the first start."""
        if not (self.port_file.exists() and self.password_file.exists()):
            return None
        # The server has no TLS; said here, no setting of the environment can demand it.
        return (
            f"postgresql://{USER}:{self.password()}@{HOST}:{self.port_file.read_text()}"
            f"/{database}?sslmode=disable"
        )


class HomeLock:
    """The lock that makes one process the owner of the server; it ends with that process."""

    def __init__(self, home: Home) -> None:
        self._path = home.path / "lock"
        self._file: IO[str] | None = None

    def acquire(self) -> bool:
        """Take the lock if it is free; tell whether it is ours."""
        if self._file is None:
            file = self._path.open("a")
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                file.close()
            else:
                self._file = file
        return self._file is not None

    def release(self) -> None:
        """Give the lock back; without it nothing happens."""
        if self._file is not None:
            self._file.close()
            self._file = None
