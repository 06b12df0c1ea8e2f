"""Open connections by the address of their caller, so that one can be closed without an answer.

Owns that register. A server of another make leaves it empty; then nothing can be hung up.
"""

from __future__ import annotations

import asyncio

from starlette.types import Scope
from uvicorn.protocols.http.auto import AutoHTTPProtocol

_open: dict[tuple[str, int], asyncio.Transport] = {}


class Connection(AutoHTTPProtocol):  # type: ignore[misc, valid-type]
    """uvicorn's own connection, the fastest that is installed, and a line in the register."""

    def connection_made(self, transport: asyncio.Transport) -> None:
        super().connection_made(transport)
        _open[_address(transport)] = transport

    def connection_lost(self, exc: Exception | None) -> None:
        _open.pop(_address(self.transport), None)
        super().connection_lost(exc)


def _address(transport: asyncio.Transport) -> tuple[str, int]:
    host, port = transport.get_extra_info("peername")[:2]
    return str(host), int(port)


async def hang_up(scope: Scope) -> None:
    """Close the connection that the request came by, without a word."""
    transport = _open.get(scope["client"]) if scope["client"] else None
    if transport is not None:
        transport.abort()
        # The loss is noticed in the loop's next turn; only then may the request end unanswered.
        await asyncio.sleep(0.01)
