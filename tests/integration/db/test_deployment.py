"""The deployment's row: the first start decides what a database is for."""

from __future__ import annotations

import asyncio

import pytest

from bursar import errors
from bursar.db import Database
from bursar.db.deployment import claim_mode, find_mode


async def claim(db: Database, mode: str) -> None:
    async with db.transaction() as conn:
        await claim_mode(conn, mode)


async def test_first_start_records_the_mode_and_later_ones_keep_it(db: Database) -> None:
    async with db.connection() as conn:
        assert await find_mode(conn) is None
    await claim(db, "test")
    await claim(db, "test")
    async with db.connection() as conn:
        assert await find_mode(conn) == "test"


async def test_another_mode_is_refused(db: Database) -> None:
    await claim(db, "live")
    with pytest.raises(errors.ModeMismatch, match="belongs to live mode"):
        await claim(db, "test")
    async with db.connection() as conn:
        assert await find_mode(conn) == "live"


async def test_of_two_modes_claimed_at_once_one_wins(db: Database) -> None:
    outcomes = await asyncio.gather(claim(db, "sandbox"), claim(db, "live"), return_exceptions=True)
    assert sorted(type(outcome).__name__ for outcome in outcomes) == ["ModeMismatch", "NoneType"]


async def test_unknown_mode_is_refused(db: Database) -> None:
    with pytest.raises(errors.Misconfigured, match="production"):
        await claim(db, "production")
