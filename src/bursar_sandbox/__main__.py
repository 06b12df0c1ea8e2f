"""`python -m bursar_sandbox`: serves the Stripe sandbox until it is told to stop."""

from __future__ import annotations

import argparse
import dataclasses
import signal
import socket
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import uvicorn

from bursar_sandbox.connections import Connection
from bursar_sandbox.settings import Settings, from_environment, parse_retry, parse_webhook
from bursar_sandbox.stripe.app import create_app


class Server(uvicorn.Server):
    """Says that it is ready, in one line on standard output, once it answers."""

    @contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        """Stop at SIGINT and SIGTERM; uvicorn's own raises them again, as if it had failed."""
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self.handle_exit)
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if not self.should_exit and sockets:
            host, port = sockets[0].getsockname()[:2]
            print(f"Stripe sandbox ready on http://{host}:{port}", flush=True)


def main(arguments: list[str] | None = None) -> int:
    """Serve; returns the exit code."""
    settings = _settings(arguments)
    # With its protocol named, what it accepts waits for no more to send (TCP_NODELAY).
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((settings.host, settings.port))
    except OSError as error:
        sys.stderr.write(f"can't listen on {settings.host}:{settings.port}: {error}\n")
        return 1
    settings = dataclasses.replace(settings, port=listener.getsockname()[1])
    config = uvicorn.Config(
        create_app(settings),
        log_level="warning",
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=3,
        # Bursar's own server measures itself against this one, so it takes the fastest parts.
        loop="auto",
        http=Connection,
        # A connection is found again by its address, which must be its own.
        proxy_headers=False,
    )
    Server(config).run(sockets=[listener])
    return 0


def _settings(arguments: list[str] | None) -> Settings:
    parser = argparse.ArgumentParser(prog="bursar_sandbox", description=__doc__)
    parser.add_argument("--port", type=int, help="0 takes a free one (default 12111)")
    parser.add_argument("--smtp-port", type=int, help="of the mail server (default 0: a free one)")
    parser.add_argument("--host", help="address to listen on (default 127.0.0.1)")
    parser.add_argument("--home", type=Path, help="directory of the state (default: none is kept)")
    parser.add_argument("--public-url", help="how browsers reach it (default: as callers did)")
    parser.add_argument("--record", type=Path, help="file for every answer and webhook, as JSON")
    parser.add_argument("--retry", type=parse_retry, help="waits after failed webhooks: 0.5,2,10")
    parser.add_argument("--stripe-webhook", type=parse_webhook, metavar="URL,SECRET",
                        dest="webhook", help="an endpoint for all events")  # fmt: skip
    given = vars(parser.parse_args(arguments))
    names = {"retry": "retry_seconds"}
    try:
        settings = from_environment()
    except ValueError as error:
        parser.error(str(error))
    found = {names.get(name, name): value for name, value in given.items() if value is not None}
    return dataclasses.replace(settings, **found)


if __name__ == "__main__":
    sys.exit(main())
