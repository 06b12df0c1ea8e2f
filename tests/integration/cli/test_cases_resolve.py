"""`bursar cases resolve`: money given and cases noted, from the command line."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from bursar.billing import cases, catalog_file, catalog_push, customers
from bursar.billing.cases import Opening
from bursar.db import open_pool
from bursar.entrypoints.cli.demo.kept import Kept, Place
from bursar.wiring import opened
from bursar_sandbox.running import Sandbox
from guests import link_of, pay_as_guest, tell
from worlds import ROOT, SECRET_KEY, WEBHOOK_SECRET, World, settings_for, stripe_client

Command = Callable[..., tuple[int, str, str]]


@pytest.fixture
def guest(
    bare: Command, sandbox: Sandbox, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A guest's money in a case, and somebody to whom it can be given."""

    async def prepare() -> None:
        async with opened(settings_for(sandbox, database_url)) as wiring:
            wanted = catalog_file.read(ROOT / "catalog.toml")
            await catalog_push.push(
                wiring.db, wiring.provider("stripe"), wanted, clock=wiring.clock
            )
            world = World(wiring, sandbox, stripe_client(sandbox))
            async with wiring.db.transaction() as conn:
                await customers.ensure_user(conn, "ada", at=wiring.clock.now())
            await tell(world, await pay_as_guest(world, await link_of(world), "gus@example.com"))

    asyncio.run(prepare())
    monkeypatch.setenv("BURSAR_SANDBOX", "1")
    monkeypatch.setenv("STRIPE_API_BASE", sandbox.base_url)
    monkeypatch.setenv("STRIPE_SECRET_KEY", SECRET_KEY)
    monkeypatch.setenv("STRIPE_WEBHOOK_SECRET", WEBHOOK_SECRET)


@pytest.mark.usefixtures("guest")
def test_a_case_is_given_to_a_user_once(bursar: Command) -> None:
    code, out, err = bursar("cases", "resolve", "1", "--user", "ada", "--note", "asked", "--json")
    assert code == 0, err
    done = json.loads(out)
    assert (done["state"], done["resolution"]) == ("resolved", "Given to user ada. asked")
    assert done["payment_id"]
    code, _, err = bursar("cases", "resolve", "1", "--user", "ada")
    assert code == 1
    assert "case_resolved" in err


@pytest.mark.usefixtures("guest")
def test_beside_a_demo_its_provider_is_used(
    bursar: Command, sandbox: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("STRIPE_SECRET_KEY", "STRIPE_WEBHOOK_SECRET", "STRIPE_API_BASE", "BURSAR_SANDBOX"):
        monkeypatch.delenv(name, raising=False)
    port = sandbox.base_url.rpartition(":")[2]
    monkeypatch.setenv("BURSAR_SANDBOX_STRIPE_PORT", port)
    give = ("cases", "resolve", "1", "--user", "ada")
    assert "No payment provider is set up" in bursar(*give)[2]
    place = Place(tmp_path / "home")
    place.prepare()
    place.keep(Kept(secret_key=SECRET_KEY, webhook_secret=WEBHOOK_SECRET))
    place.announce({})
    code, _, err = bursar(*give)
    assert (code, err) == (0, "")


def test_a_note_needs_no_provider(bursar: Command, database_url: str) -> None:
    async def plant() -> None:
        async with await open_pool(database_url) as db, db.transaction() as conn:
            opening = Opening(kind="dead", reference="message:1", summary="Gone.")
            await cases.open_cases(conn, [opening], at=datetime.now(UTC))

    asyncio.run(plant())
    code, _, err = bursar("cases", "resolve", "1", "--note", "Looked at.")
    assert code == 0, err
    assert json.loads(bursar("cases", "list", "--json")[1])["data"] == []


@pytest.mark.parametrize("words", [(), ("--user", "ada", "--customer", "1")])
def test_a_resolution_that_says_nothing_or_two_things_is_wrong_usage(
    bursar: Command, words: tuple[str, ...]
) -> None:
    code, _, err = bursar("cases", "resolve", "1", *words)
    assert code == 2
    assert "--user U and --customer C" in err
