"""Fixtures of every test: a real PostgreSQL, and a database of its own for each who asks."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest

from bursar.db import Database, open_pool
from postgres import Postgres, server_url
from worlds import sandbox, sandbox_process, world

__all__ = ["sandbox", "sandbox_process", "world"]


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """The session's server."""
    with server_url() as url:
        server = Postgres(url)
        yield server
        server.close()


@pytest.fixture(scope="session")
def schema_template(postgres: Postgres) -> str:
    """The name of a database with all migrations and functions; nobody connects to it."""
    return postgres.template()


@pytest.fixture
def database_url(postgres: Postgres, schema_template: str) -> Iterator[str]:
    """The address of a fresh database with the whole schema."""
    with postgres.database(schema_template) as url:
        yield url


@pytest.fixture
def empty_database_url(postgres: Postgres) -> Iterator[str]:
    """The address of a fresh database without any table of ours."""
    with postgres.database("template0") as url:
        yield url


@pytest.fixture
async def db(database_url: str) -> AsyncIterator[Database]:
    """An open pool on a fresh database with the whole schema."""
    async with await open_pool(database_url) as database:
        yield database
