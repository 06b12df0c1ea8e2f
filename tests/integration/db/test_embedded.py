"""The embedded server alone: start, settings, data, and what can be in its way."""

from __future__ import annotations

import socket
import threading
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from bursar import errors
from bursar.db.embedded import EmbeddedServer
from bursar.db.home import default_home
from servers import ask, await_no_server

SYSTEM_BINARIES = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"))


def test_fresh_home_gets_a_server_with_a_database_of_ours(fresh_home: Path) -> None:
    with EmbeddedServer.open(fresh_home) as server:
        assert server.owned
        assert ask(server.url, "select current_database()") == "bursar"
        assert ask(server.url, "show server_encoding") == "UTF8"
    await_no_server(fresh_home)


def test_data_and_address_are_kept_over_a_restart(home: Path) -> None:
    with EmbeddedServer.open(home) as server:
        address = server.url
        ask(address, "create table kept as select 42 as answer")
    with EmbeddedServer.open(home) as server:
        assert server.url == address
        assert ask(address, "select answer from kept") == 42


@pytest.mark.parametrize(("durable", "setting"), [(True, "on"), (False, "off")])
def test_commits_are_durable_unless_given_up(home: Path, durable: bool, setting: str) -> None:
    server = EmbeddedServer.open(home) if durable else EmbeddedServer.open(home, durable=False)
    with server:
        for name in ("fsync", "synchronous_commit", "full_page_writes"):
            assert ask(server.url, f"show {name}") == setting


def test_server_listens_on_loopback_only_and_wants_the_password(home: Path) -> None:
    with EmbeddedServer.open(home, durable=False) as server:
        assert ask(server.url, "show listen_addresses") == "127.0.0.1"
        assert ask(server.url, "show unix_socket_directories") == ""
        password = urlsplit(server.url).password or ""
        for wrong in (server.url.replace(password, "guess"), server.url.replace(password, "")):
            with pytest.raises(errors.Misconfigured):
                ask(wrong, "select 1")


def test_password_is_readable_by_its_owner_only(fresh_home: Path) -> None:
    with EmbeddedServer.open(fresh_home, durable=False) as server:
        password = urlsplit(server.url).password or ""
        assert len(password) >= 32
        holders = [
            file for file in fresh_home.iterdir() if file.is_file() and password in file.read_text()
        ]
        assert [file.name for file in holders] == ["password"]
        assert holders[0].stat().st_mode & 0o777 == 0o600


def test_settings_of_other_servers_in_the_environment_are_ignored(
    fresh_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {
        "PGDATA": "/nowhere",
        "PGPORT": "1",
        "PGUSER": "somebody",
        "PGSSLMODE": "require",
        "PGOPTIONS": "-c fsync=off",
        "LC_ALL": "xx_XX.UTF-8",
    }.items():
        monkeypatch.setenv(name, value)
    with EmbeddedServer.open(fresh_home) as server:
        assert ask(server.url, "show fsync") == "on"
        assert ask(server.url, "select datcollate from pg_database where datname='bursar'") == "C"


def test_taken_port_is_replaced(home: Path) -> None:
    with EmbeddedServer.open(home, durable=False) as server:
        port = urlsplit(server.url).port
    with socket.socket() as squatter:
        squatter.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        squatter.bind(("127.0.0.1", port))
        squatter.listen()
        with EmbeddedServer.open(home, durable=False) as server:
            assert urlsplit(server.url).port != port
            assert ask(server.url, "select 1") == 1


def test_server_outlives_the_thread_that_opened_it(home: Path) -> None:
    opened: list[EmbeddedServer] = []
    thread = threading.Thread(
        target=lambda: opened.append(EmbeddedServer.open(home, durable=False))
    )
    thread.start()
    thread.join()
    with opened[0] as server:
        started = ask(server.url, "select pg_postmaster_start_time()")
        threading.Event().wait(0.5)
        assert ask(server.url, "select pg_postmaster_start_time()") == started


def test_interrupted_creation_is_begun_anew(fresh_home: Path) -> None:
    draft = fresh_home / "pg18.new"
    draft.mkdir(parents=True)
    fresh_home.chmod(0o711)
    (draft / "PG_VERSION").write_text("18\n")
    with EmbeddedServer.open(fresh_home, durable=False) as server:
        assert ask(server.url, "select 1") == 1
    assert not draft.exists()


def test_status_file_of_a_crash_with_a_reused_process_number_is_no_hindrance(
    home: Path,
) -> None:
    with EmbeddedServer.open(home, durable=False) as server:
        data = Path(str(ask(server.url, "show data_directory")))
    (data / "postmaster.pid").write_text(f"1\n{data}\n0\n1\n\n127.0.0.1\n0\nready\n")
    with EmbeddedServer.open(home, durable=False) as server:
        assert ask(server.url, "select 1") == 1


def test_data_of_another_major_version_are_named_with_the_way_over(fresh_home: Path) -> None:
    (fresh_home / "pg12").mkdir(parents=True)
    fresh_home.chmod(0o711)
    (fresh_home / "pg12" / "PG_VERSION").write_text("12\n")
    with pytest.raises(errors.EmbeddedServerFailed) as caught:
        EmbeddedServer.open(fresh_home)
    for part in (str(fresh_home / "pg12"), "pg_dump", "pg_restore", "BURSAR_PG_BIN"):
        assert part in caught.value.detail


def test_lost_password_file_is_named(home: Path) -> None:
    (home / "password").unlink()
    with pytest.raises(errors.EmbeddedServerFailed, match=str(home / "password")):
        EmbeddedServer.open(home, durable=False)


def test_replaced_password_file_is_named(home: Path) -> None:
    (home / "password").write_text("another")
    with pytest.raises(errors.EmbeddedServerFailed, match=str(home / "password")):
        EmbeddedServer.open(home, durable=False)
    await_no_server(home)


def test_refusal_to_start_shows_the_end_of_the_log(home: Path) -> None:
    with EmbeddedServer.open(home, durable=False) as server:
        data = Path(str(ask(server.url, "show data_directory")))
    with (data / "postgresql.conf").open("a") as file:
        file.write("\nno_such_setting = 7\n")
    with pytest.raises(errors.EmbeddedServerFailed, match="no_such_setting"):
        EmbeddedServer.open(home, durable=False)


def test_folder_without_programs_is_named(fresh_home: Path, tmp_path: Path) -> None:
    with pytest.raises(errors.EmbeddedServerFailed, match="BURSAR_PG_BIN") as caught:
        EmbeddedServer.open(fresh_home, binaries=tmp_path)
    assert str(tmp_path) in caught.value.detail


def test_a_file_in_the_place_of_the_home_is_named(fresh_home: Path) -> None:
    fresh_home.write_text("")
    with pytest.raises(errors.EmbeddedServerFailed, match="BURSAR_HOME"):
        EmbeddedServer.open(fresh_home)


@pytest.mark.skipif(not SYSTEM_BINARIES, reason="no PostgreSQL is installed on this system")
def test_programs_of_the_system_serve_as_well(fresh_home: Path) -> None:
    folder = SYSTEM_BINARIES[0].parent
    with EmbeddedServer.open(fresh_home, binaries=folder) as server:
        version = ask(server.url, "show server_version_num")
        assert str(version).startswith(folder.parent.name)
        assert (fresh_home / f"pg{folder.parent.name}").is_dir()


def test_default_home_is_in_the_users_data_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.getuid", lambda: 1000)
    monkeypatch.setenv("HOME", "/home/ada")
    assert default_home({"XDG_DATA_HOME": "/srv/data"}) == Path("/srv/data/bursar")
    assert default_home({"XDG_DATA_HOME": "data"}) == Path("/home/ada/.local/share/bursar")
    assert default_home({}) == Path("/home/ada/.local/share/bursar")
    monkeypatch.setattr("os.getuid", lambda: 0)
    assert default_home({"XDG_DATA_HOME": "/srv/data"}) == Path("/var/lib/bursar")
