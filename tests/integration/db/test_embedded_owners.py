"""Several processes on one home: one owns the server, others adopt it and take it over."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path

import pytest

from bursar import errors
from bursar.db import Database, open_pool
from bursar.db.embedded import EmbeddedServer
from servers import (
    ask,
    await_no_server,
    owner_process,
    read_owner,
    server_pids,
    start_owner,
)

linux_only = pytest.mark.skipif(
    sys.platform != "linux", reason="only Linux tells a process of its parent's death"
)


async def insist(db: Database, query: str) -> object:
    """Ask through the same pool until the database answers again."""
    while True:
        try:
            async with db.connection() as conn:
                return await conn.fetchval(query)
        except errors.DatabaseUnavailable:
            await asyncio.sleep(0.02)


def test_second_process_adopts_and_leaves_the_server_running(home: Path) -> None:
    with owner_process(home) as owner:
        assert owner.owned
        with EmbeddedServer.open(home) as adopter:
            assert not adopter.owned
            assert adopter.url == owner.url
            ask(adopter.url, "create table shared as select 7 as seven")
        assert ask(owner.url, "select seven from shared") == 7
        assert owner.finish() == 0
    await_no_server(home)


def test_of_many_processes_at_once_exactly_one_owns(fresh_home: Path) -> None:
    processes = [start_owner(fresh_home) for _ in range(4)]
    try:
        owners = [read_owner(process) for process in processes]
        assert sorted(owner.owned for owner in owners) == [False, False, False, True]
        assert len({owner.url for owner in owners}) == 1
    finally:
        for process in processes:
            process.communicate("")
    await_no_server(fresh_home)


@linux_only
def test_killed_owner_leaves_no_server_and_loses_no_commit(home: Path) -> None:
    with owner_process(home) as owner:
        ask(owner.url, "create table kept as select 42 as answer")
        assert server_pids(home)
        owner.kill()
        await_no_server(home)
    with EmbeddedServer.open(home) as server:
        assert server.owned
        assert ask(server.url, "select answer from kept") == 42


@linux_only
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_no_way_to_end_the_owner_leaves_a_server(home: Path, number: signal.Signals) -> None:
    with owner_process(home) as owner:
        owner.process.send_signal(number)
        assert owner.process.wait() != 0
        await_no_server(home)


@linux_only
async def test_adopter_takes_over_from_a_killed_owner_and_its_clients_go_on(home: Path) -> None:
    with owner_process(home) as owner:
        adopter = await asyncio.to_thread(EmbeddedServer.open, home)
        async with await open_pool(adopter.url, max_size=3) as db:
            assert await insist(db, "create table kept as select 42 as answer") is None
            owner.kill()
            # The old server may answer for an instant while it shuts down.
            while not adopter.owned:
                await asyncio.sleep(0.02)
            assert await insist(db, "select answer from kept") == 42
            assert await insist(db, "drop table kept") is None
        assert adopter.url == owner.url
        await asyncio.to_thread(adopter.close)
    await_no_server(home)


@linux_only
async def test_adopter_takes_over_from_an_owner_that_closed(home: Path) -> None:
    with owner_process(home) as owner:
        adopter = await asyncio.to_thread(EmbeddedServer.open, home)
        assert await asyncio.to_thread(owner.finish) == 0
        async with await open_pool_when_up(adopter) as db:
            assert await insist(db, "select 1") == 1
        while not adopter.owned:
            await asyncio.sleep(0.02)
        await asyncio.to_thread(adopter.close)
    await_no_server(home)


async def open_pool_when_up(server: EmbeddedServer) -> Database:
    while True:
        try:
            return await open_pool(server.url)
        except errors.DatabaseUnavailable:
            await asyncio.sleep(0.02)


@linux_only
async def test_crashed_server_is_started_again_by_its_owner(home: Path) -> None:
    server = await asyncio.to_thread(EmbeddedServer.open, home)
    async with await open_pool(server.url) as db:
        assert await insist(db, "create table kept as select 42 as answer") is None
        data = Path(str(await insist(db, "show data_directory")))
        crashed = int((data / "postmaster.pid").read_text().split()[0])
        os.kill(crashed, signal.SIGKILL)
        assert await insist(db, "select answer from kept") == 42
    await asyncio.to_thread(server.close)
    await_no_server(home)


@linux_only
def test_killed_owner_of_a_killed_server_is_survived(home: Path) -> None:
    with owner_process(home) as owner:
        ask(owner.url, "create table kept as select 42 as answer")
        os.kill(owner.process.pid, signal.SIGSTOP)
        for pid in server_pids(home):
            os.kill(pid, signal.SIGKILL)
        owner.kill()
        with EmbeddedServer.open(home) as server:
            assert ask(server.url, "select answer from kept") == 42
