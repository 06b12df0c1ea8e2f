"""The blocking calls: from many threads, inside a lifespan and without one."""

from __future__ import annotations

import asyncio
import os
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from bursar import Bursar, Event, errors
from bursar.billing import payments
from library_host import make_library
from worlds import World


async def fill(world: World) -> None:
    """A paid pack: five pages for ada."""
    payment = await world.open_checkout()
    await world.pay(payment)
    await world.deliver(await world.events_about(payment))
    await world.work()


def use_from_threads(library: Bursar, count: int) -> tuple[int, int]:
    """Use a page from so many threads at once; returns how many got one, and were refused."""
    gate = threading.Barrier(count)

    def use(number: int) -> bool:
        gate.wait(20)
        try:
            library.sync.credits.use("ada", 1, key=f"k{number}", unit="page")
        except errors.InsufficientCredits:
            return False
        return True

    with ThreadPoolExecutor(count) as pool:
        got = list(pool.map(use, range(count)))
    return got.count(True), got.count(False)


async def test_threads_share_it_without_a_lifespan(world: World) -> None:
    await fill(world)
    library = make_library(world)

    def work() -> tuple[int, int]:
        with library.sync:
            ends = use_from_threads(library, 12)
            assert library.sync.credits.balance("ada", unit="page").spendable == 0
        return ends

    assert await asyncio.to_thread(work) == (5, 7)


async def test_threads_of_a_host_use_its_lifespan(world: World) -> None:
    await fill(world)
    library = make_library(world)
    async with library.lifespan():
        assert await asyncio.to_thread(use_from_threads, library, 8) == (5, 3)
        with pytest.raises(errors.Misconfigured, match="await"):
            library.sync.credits.balance("ada")


async def test_a_purchase_and_its_reaction_without_any_loop_of_the_hosts(world: World) -> None:
    library = make_library(world)
    told = threading.Event()

    @library.on("payment.completed", name="flask.greet")
    def greet(event: Event) -> None:
        # A reaction may call back: it runs in a thread, not on the loop that it waits for.
        library.sync.credits.use("ada", 2, key=f"event:{event.id}", unit="page")
        told.set()

    library.sync.start()
    library.sync.start()
    try:
        opened = await asyncio.to_thread(
            library.sync.checkouts.open, "ada", package="starter", key="cart"
        )
        async with world.wiring.db.connection() as conn:
            payment = await payments.find_by_session(conn, "stripe", opened.session_id)
        assert payment is not None
        await world.pay(payment)
        await world.deliver(await world.events_about(payment))
        assert await asyncio.to_thread(told.wait, 20)
        found = await asyncio.to_thread(library.sync.credits.balance, "ada", unit="page")
        assert found.spendable == 3
    finally:
        await asyncio.to_thread(library.sync.close)
    with pytest.raises(errors.Misconfigured, match="not started"):
        await asyncio.to_thread(library.sync.credits.balance, "ada")


async def test_awaiting_on_another_loop_is_refused_in_words(world: World) -> None:
    library = make_library(world)
    await asyncio.to_thread(library.sync.start)
    try:
        with pytest.raises(errors.Misconfigured, match=r"bursar\.sync"):
            await library.credits.balance("ada")
    finally:
        await asyncio.to_thread(library.sync.close)


async def test_it_can_be_started_again_after_its_end(world: World) -> None:
    library = make_library(world)

    def twice() -> None:
        for _ in range(2):
            with library.sync:
                assert library.sync.credits.balance("ada").spendable == 0
        library.sync.close()

    await asyncio.to_thread(twice)


async def test_a_start_that_fails_says_why_and_leaves_nothing(world: World) -> None:
    library = make_library(world)
    broken = Bursar(
        library.settings.model_copy(update={"database_url": "postgresql://x@127.0.0.1:1/x"})
    )
    with pytest.raises(errors.DatabaseUnavailable):
        await asyncio.to_thread(broken.sync.start)
    with pytest.raises(errors.Misconfigured):
        await asyncio.to_thread(broken.sync.credits.balance, "ada")
    assert "bursar" not in {thread.name for thread in threading.enumerate()}


async def test_a_forked_child_is_told_to_start_its_own(world: World) -> None:
    library = make_library(world)
    await asyncio.to_thread(library.sync.start)
    try:
        live = library._live
        assert live is not None
        # What a child has after a fork: the parent's object, and another process id.
        library._live = type(live)(live.wiring, live.app, live.loop, os.getpid() + 1)
        with pytest.raises(errors.Misconfigured, match="not started"):
            await asyncio.to_thread(library.sync.credits.balance, "ada")
        library._live = live
    finally:
        await asyncio.to_thread(library.sync.close)
