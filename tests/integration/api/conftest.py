"""Fixtures of the API's tests: the app on a real socket, keys, the Stripe sandbox."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path

import httpx
import pytest

from api_server import Person, Server, make_key, make_settings
from bursar.access.actors import Kind
from bursar.billing import catalog_file, catalog_push
from bursar.db import Database
from bursar_sandbox.running import Sandbox

MakeServer = Callable[..., Server]

CATALOG = Path(__file__).with_name("catalog.toml")


@pytest.fixture
def make_server(database_url: str) -> Iterator[MakeServer]:
    """Start a server with other settings; all are stopped in the end."""
    running: list[Server] = []

    def start(**settings: object) -> Server:
        server = Server(make_settings(database_url, **settings))
        running.append(server)
        return server

    yield start
    for server in running:
        server.stop()


@pytest.fixture
def server(make_server: MakeServer) -> Server:
    """A server without a provider to call."""
    return make_server()


@pytest.fixture
async def client(server: Server) -> AsyncIterator[httpx.AsyncClient]:
    """A client that sends no key by itself."""
    async with httpx.AsyncClient(base_url=server.url) as client:
        yield client


@pytest.fixture
async def ada(db: Database) -> Person:
    """A user with a key."""
    return Person("ada", await make_key(db, "user", "ada"))


@pytest.fixture
async def bob(db: Database) -> Person:
    """Another user with a key."""
    return Person("bob", await make_key(db, "user", "bob"))


@pytest.fixture
async def service(db: Database) -> Person:
    """The host app's key."""
    return Person("", await make_key(db, "service"))


@pytest.fixture
async def admin(db: Database) -> Person:
    """An admin's key."""
    return Person("", await make_key(db, "admin"))


@pytest.fixture
def people(ada: Person, service: Person, admin: Person) -> dict[Kind, Person]:
    """One of each kind."""
    return {"user": ada, "service": service, "admin": admin}


@pytest.fixture(scope="session")
def sandbox() -> Iterator[Sandbox]:
    """A Stripe sandbox for the whole session; each test has its own keys and customers."""
    with Sandbox() as running:
        yield running


@pytest.fixture
def push_catalog() -> Callable[[Server], Awaitable[None]]:
    """Puts the test catalogue on sale in a server's database and at the sandbox."""

    async def push(server: Server) -> None:
        async with server.own_wiring() as wiring:
            wanted = catalog_file.read(CATALOG)
            provider = wiring.provider("stripe")
            await catalog_push.push(wiring.db, provider, wanted, clock=wiring.clock)

    return push


@pytest.fixture
async def shop(
    make_server: MakeServer,
    push_catalog: Callable[[Server], Awaitable[None]],
    sandbox: Sandbox,
) -> AsyncIterator[httpx.AsyncClient]:
    """A client of a server that sells the test catalogue through the sandbox."""
    server = make_server(stripe_api_base=sandbox.base_url, limit_checkout="off")
    await push_catalog(server)
    async with httpx.AsyncClient(base_url=server.url, timeout=30) as client:
        yield client
