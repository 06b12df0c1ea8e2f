"""The operating system's user under whom the embedded PostgreSQL runs, and what he may enter.

Owns the choice of that user and the starting of programs as him. It never creates a user and
never changes the permissions of a directory that it did not make.
"""

from __future__ import annotations

import os
import pwd
import stat
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from bursar import errors

LAUNCHER = Path(__file__).with_name("launch.py")


@dataclass(frozen=True, slots=True)
class Account:
    """A user and his group; `demoted` when he is another than the one we run as."""

    name: str
    uid: int
    gid: int
    demoted: bool

    def own(self, path: Path) -> None:
        """Give `path` to this user, where we are root and he is not."""
        if self.demoted:
            os.chown(path, self.uid, self.gid)

    def may(self, path: Path, *, read: bool = False) -> bool:
        """Tell whether the mode of `path` lets this user enter or run (and `read`) it."""
        status = path.stat()
        wanted = stat.S_IXOTH | (stat.S_IROTH if read else 0)
        if status.st_uid == self.uid:
            wanted <<= 6
        elif status.st_gid == self.gid:
            wanted <<= 3
        return status.st_mode & wanted == wanted

    def find_barrier(self, path: Path) -> Path | None:
        """Return the outermost directory on the way to `path` that he can't enter, or None."""
        if not self.demoted:
            return None
        path = path.resolve()
        for folder in (*reversed(path.parents), path):
            if folder.is_dir() and not self.may(folder):
                return folder
        return None

    def start(self, program: list[str], log: IO[bytes] | int) -> subprocess.Popen[bytes]:
        """Start `program` as this user, in a session of its own, with its output going to `log`.

        On Linux it receives SIGINT when the calling **thread** ends, however it ends, so call
        from one that lives as long as the program should.
        """
        return subprocess.Popen(  # noqa: S603 - a list, no shell
            [
                *(sys.executable, "-I", "-S", str(LAUNCHER)),
                *(str(os.getpid()), str(self.uid), str(self.gid)),
                *program,
            ],
            # A demoted user may not be able to stand in our working directory.
            cwd="/",
            env=_environment(),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )


def _environment() -> dict[str, str]:
    """Return our environment without what would steer PostgreSQL by accident."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
    return {**kept, "LC_ALL": "C"}


def server_account() -> Account:
    """Return the user for the server: ourselves, or `nobody` when we are root.

    PostgreSQL refuses to run as root. Raises errors.EmbeddedServerFailed without a `nobody`.
    """
    if os.getuid() != 0:
        return Account("the present user", os.getuid(), os.getgid(), demoted=False)
    try:
        entry = pwd.getpwnam("nobody")
    except KeyError:
        raise errors.EmbeddedServerFailed(
            "PostgreSQL can't run as root, and there is no user `nobody` to run it as. "
            "Start Bursar as an ordinary user, or set DATABASE_URL."
        ) from None
    return Account(entry.pw_name, entry.pw_uid, entry.pw_gid, demoted=True)
