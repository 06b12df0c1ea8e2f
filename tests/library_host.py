"""A host for the library's tests: its app on a real socket, and the library inside it."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import uvicorn
from fastapi import FastAPI

from bursar import Bursar
from bursar.config import Settings
from worlds import World, settings_for


def library_settings(world: World, **fields: Any) -> Settings:
    """Settings of the library on the world's database and sandbox."""
    url = str(world.settings.database_url)
    return settings_for(world.sandbox, url, limit_checkout="off", **fields)


def make_library(world: World, **fields: Any) -> Bursar:
    """A library that is not started."""
    return Bursar(library_settings(world, **fields))


@asynccontextmanager
async def host_at(world: World, path: str = "/billing", **fields: Any) -> AsyncIterator[str]:
    """A host app with the library mounted at `path`; yields the library's public address."""
    listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listening.bind(("127.0.0.1", 0))
    url = f"http://127.0.0.1:{listening.getsockname()[1]}{path}"
    library = make_library(world, **{"public_url": url, **fields})
    app = FastAPI(lifespan=library.lifespan)
    app.mount(path, library.app)
    config = uvicorn.Config(app, log_level="warning", access_log=False)
    server = uvicorn.Server(config)
    server.install_signal_handlers = lambda: None  # type: ignore[attr-defined]
    serving = asyncio.create_task(server.serve(sockets=[listening]))
    try:
        while not server.started:
            assert not serving.done(), "the host ended"
            await asyncio.sleep(0.01)
        yield url
    finally:
        server.should_exit = True
        await serving
        listening.close()
