"""Database roles that log in, for tests: members of ours, with names and passwords of their own.

Roles belong to the whole server, where other tests run too: each has its own, dropped in the end.
"""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit, urlunsplit

import asyncpg

from bursar.db.connections import PlainConnection, connect
from bursar.db.migrate import migrate


class Logins:
    """Makes roles on the server of a database that is at `url`, a superuser's address."""

    def __init__(self, url: str, conn: PlainConnection) -> None:
        self.url = url
        self._conn = conn
        self._made: list[str] = []

    async def make(self, *groups: str, attributes: str = "") -> tuple[str, str]:
        """The name of a new role that is a member of `groups`, and the address to log in with."""
        name, password = f"test_{secrets.token_hex(6)}", secrets.token_hex(8)
        await self._conn.execute(f"create role {name} login password '{password}' {attributes}")
        self._made.append(name)
        for group in groups:
            await self._conn.execute(f"grant {group} to {name}")
        parts = urlsplit(self.url)
        netloc = f"{name}:{password}@{parts.netloc.rpartition('@')[2]}"
        return name, urlunsplit(parts._replace(netloc=netloc))

    async def url_for(self, *groups: str) -> str:
        """The address of a new role that is a member of `groups`."""
        return (await self.make(*groups))[1]

    async def drop(self) -> None:
        for name in reversed(self._made):
            await self._conn.execute(f"drop owned by {name} cascade")
            await self._conn.execute(f"drop role {name}")


@asynccontextmanager
async def logins(url: str) -> AsyncIterator[Logins]:
    """Roles on the server at `url`, a superuser's address, where our own are set up first."""
    await migrate(url, with_roles=True)
    async with session(url) as conn:
        made = Logins(url, conn)
        yield made
        await made.drop()


@asynccontextmanager
async def session(url: str) -> AsyncIterator[PlainConnection]:
    """A connection, closed in the end."""
    conn = await connect(url)
    try:
        yield conn
    finally:
        await conn.close()


async def refused(conn: PlainConnection, statement: str) -> str:
    """Run a statement that must be refused for want of a right; returns the SQLSTATE.

    An answer, or an error of another kind, fails the test.
    """
    try:
        async with conn.transaction():
            await conn.execute(statement)
    except asyncpg.InsufficientPrivilegeError as error:
        return str(error.sqlstate)
    raise AssertionError(f"this was not refused: {statement}")
