"""One connection to PostgreSQL: how it is opened, checked, and how its failures are named.

Owns the translation of the driver's failures into our errors and the demands on a server. It
never pools, and never swallows an error that a statement earned by its own fault.
"""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeAlias
from urllib.parse import urlsplit

import asyncpg

from bursar import errors

if TYPE_CHECKING:
    from asyncpg.pool import PoolConnectionProxy

    # What a function named with `conn` takes: a connection of its own or one lent by a pool.
    Connection: TypeAlias = asyncpg.Connection[asyncpg.Record] | PoolConnectionProxy[asyncpg.Record]
    PlainConnection: TypeAlias = asyncpg.Connection[asyncpg.Record]
else:
    Connection = asyncpg.Connection
    PlainConnection = asyncpg.Connection

OLDEST_VERSION = 15
APPLICATION_NAME = "bursar"
CONNECT_TIMEOUT_SECONDS = 10.0

# The server went away, is not up yet, or has no room for one more: a later attempt may succeed.
LOST = (
    asyncpg.PostgresConnectionError,
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
    asyncpg.CannotConnectNowError,
    asyncpg.TooManyConnectionsError,
    ConnectionError,
)
# These come from the settings; trying again changes nothing.
REFUSED = (
    asyncpg.InvalidPasswordError,
    asyncpg.InvalidAuthorizationSpecificationError,
    asyncpg.InvalidCatalogNameError,
    asyncpg.InsufficientPrivilegeError,
    asyncpg.ClientConfigurationError,
    asyncpg.UnsupportedServerFeatureError,
    ssl.SSLError,
    ValueError,
)


def describe(url: str) -> str:
    """Return host, port and database without user, password and options, fit for logs."""
    parts = urlsplit(url)
    hosts = parts.netloc.rpartition("@")[2]
    if not parts.netloc or ("@" in url and "@" not in parts.netloc):
        # An address that we can't take apart may hold its password anywhere.
        return "the address in DATABASE_URL"
    return f"{hosts}{parts.path}"


@contextmanager
def connecting(url: str) -> Iterator[None]:
    """Name the failures of opening a connection.

    Raises errors.Misconfigured when the settings are at fault, errors.DatabaseUnavailable when
    the server does not answer.
    """
    try:
        yield
    except REFUSED as error:
        raise errors.Misconfigured(
            f"PostgreSQL at {describe(url)} refuses the connection: {error}. "
            "Check user, password and database name in DATABASE_URL."
        ) from error
    except (*LOST, OSError, TimeoutError, asyncpg.InterfaceError) as error:
        reason = str(error) or "no answer in time"
        raise errors.DatabaseUnavailable(
            f"PostgreSQL at {describe(url)} does not answer: {reason}. Is the server running?"
        ) from error


@contextmanager
def using(conn: Connection) -> Iterator[None]:
    """Name the loss of a connection in use; every other error passes as it is.

    Raises errors.DatabaseUnavailable. When the loss fell on COMMIT, nobody here knows whether
    the transaction stands: the caller repeats the request under its idempotency key.
    """
    try:
        yield
    except LOST as error:
        raise errors.DatabaseUnavailable(f"The connection to PostgreSQL broke: {error}") from error
    except asyncpg.InternalClientError as error:
        # The driver lost its place on the wire, as when the server dies between two messages.
        conn.terminate()
        raise errors.DatabaseUnavailable(f"The connection to PostgreSQL broke: {error}") from error
    except asyncpg.InterfaceError as error:
        # The driver says "connection is closed" by the same class as a misuse of its own API.
        if not _is_gone(conn):
            raise
        raise errors.DatabaseUnavailable(f"The connection to PostgreSQL broke: {error}") from error


def _is_gone(conn: Connection) -> bool:
    try:
        return conn.is_closed()
    except asyncpg.InterfaceError:
        # The pool takes a broken connection back at once, and its loan then refuses to answer.
        return True


async def connect(url: str, *, statement_cache: int = 0) -> PlainConnection:
    """Open one connection that the caller closes.

    `statement_cache` is a number of statements; 0 suits PgBouncer in transaction mode.
    Raises errors.Misconfigured and errors.DatabaseUnavailable.
    """
    with connecting(url):
        conn: PlainConnection = await asyncpg.connect(
            url,
            timeout=CONNECT_TIMEOUT_SECONDS,
            statement_cache_size=statement_cache,
            server_settings={"application_name": APPLICATION_NAME},
        )
    return conn


async def check_server(conn: Connection) -> None:
    """Raise errors.Misconfigured unless the server is new enough, writable and speaks UTF-8."""
    row = await conn.fetchrow(
        "select current_setting('server_version_num')::int / 10000 as version,"
        " current_setting('transaction_read_only') as read_only,"
        " current_setting('server_encoding') as encoding"
    )
    assert row is not None  # noqa: S101 - a select without FROM has one row
    if row["version"] < OLDEST_VERSION:
        raise errors.Misconfigured(
            f"Bursar needs PostgreSQL {OLDEST_VERSION} or newer; this is {row['version']}. "
            "Upgrade the server, or point DATABASE_URL at a newer one."
        )
    if row["read_only"] != "off":
        raise errors.Misconfigured(
            "The database only accepts reads. Point DATABASE_URL at the primary server "
            "(or add ?target_session_attrs=read-write to a list of hosts)."
        )
    if row["encoding"] != "UTF8":
        raise errors.Misconfigured(
            f"The database's encoding is {row['encoding']}; create it with ENCODING 'UTF8'."
        )
