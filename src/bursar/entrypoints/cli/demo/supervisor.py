"""Starts the demo's parts in order, watches them, and stops them the other way round.

PostgreSQL, sandbox, server; stopping is server, sandbox, PostgreSQL, within ten seconds in all.
It serves no request itself.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import socket
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import httpx2

from bursar import errors
from bursar.config import Settings
from bursar.db.migrate import migrate
from bursar.entrypoints.cli import sandbox
from bursar.entrypoints.cli.demo import children, seeding, signals
from bursar.entrypoints.cli.demo.children import Child
from bursar.entrypoints.cli.demo.kept import Kept, Place, with_sandbox
from bursar.entrypoints.cli.opening import running_database

PORT_SECONDS = 5.0
START_SECONDS = 30.0
SERVER_STOP_SECONDS = 6.0
SANDBOX_STOP_SECONDS = 2.0
POLL_SECONDS = 0.05
WATCH_SECONDS = 0.2
# The limit keeps stolen cards from being tried; here there are none, and everybody tries things.
PAYMENT_INTENT_LIMIT = "1000/15m"

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Demo:
    """A demo that answers."""

    settings: Settings
    kept: Kept
    children: tuple[Child, ...]

    def watch(self) -> None:
        """Wait for ever. Raises Unavailable as soon as a part ends by itself."""
        while True:
            for child in self.children:
                child.check()
            time.sleep(WATCH_SECONDS)


def local_url(settings: Settings) -> str:
    """The server's address on this machine."""
    host = "127.0.0.1" if settings.host in ("0.0.0.0", "::") else settings.host  # noqa: S104
    return f"http://{f'[{host}]' if ':' in host else host}:{settings.port}"


@contextlib.contextmanager
def started(settings: Settings, say: Say, *, fresh: bool) -> Iterator[Demo]:
    """A demo, until the block ends; `say` is told what is being done.

    Raises Conflict (a demo runs here), Misconfigured (a port is taken, say) and Unavailable (a
    part ended or does not answer).
    """
    place = Place(settings.home.absolute())
    place.prepare()
    with contextlib.ExitStack() as parts:
        try:
            parts.enter_context(place.locked())
            yield _start(settings, place, parts, say, fresh=fresh)
        finally:
            signals.disarm()


def _start(
    settings: Settings, place: Place, parts: contextlib.ExitStack, say: Say, *, fresh: bool
) -> Demo:
    # A demo that was killed could not take its file away.
    place.withdraw()
    _wait_for_port("127.0.0.1", settings.sandbox_stripe_port, "BURSAR_SANDBOX_STRIPE_PORT")
    _wait_for_port(settings.host, settings.port, "BURSAR_PORT")
    say("starting PostgreSQL" if settings.database_url is None else "using DATABASE_URL")
    settings = parts.enter_context(running_database(settings))
    kept = _prepare_data(place, settings.database_url or "", fresh=fresh)
    settings = with_sandbox(settings, kept)
    say("starting the sandbox")
    player = parts.enter_context(_sandbox(settings, place))
    webhook_url = f"{local_url(settings)}/api/stripe/webhook"
    kept = seeding.put_endpoint(settings.stripe_base, webhook_url, kept)
    place.keep(kept)
    settings = with_sandbox(settings, kept)
    say("pushing the catalogue")
    kept = asyncio.run(seeding.seed(settings, kept))
    place.keep(kept)
    parts.callback(_drop_links, settings, kept)
    say("starting the server")
    server = parts.enter_context(_server(settings, place))
    parts.callback(place.withdraw)
    place.announce(_facts(settings, kept))
    return Demo(settings, kept, (server, player))


def _wait_for_port(host: str, port: int, variable: str) -> None:
    """Raise Misconfigured unless the port is free, or comes free: a killed demo lets go of it."""
    end = time.monotonic() + PORT_SECONDS
    while True:
        with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((host, port))
            except OSError as error:
                reason = error.strerror
            else:
                return
        if time.monotonic() > end:
            raise errors.Misconfigured(
                f"{host}:{port} can't be used: {reason}. Stop what listens there, or set "
                f"{variable} to another port."
            )
        time.sleep(POLL_SECONDS)


def _prepare_data(place: Place, url: str, *, fresh: bool) -> Kept:
    """Bring the schema up to date, on an emptied database where `fresh`."""
    asyncio.run(seeding.check_sandbox(url))
    if fresh:
        asyncio.run(seeding.drop_data(url))
        shutil.rmtree(place.sandbox)
        place.keep(Kept())
        place.prepare()
    asyncio.run(migrate(url))
    return place.read()


@contextlib.contextmanager
def _sandbox(settings: Settings, place: Place) -> Iterator[Child]:
    with children.running(
        "sandbox",
        sandbox.program(settings),
        os.environ,
        place.logs / "sandbox.log",
        seconds=SANDBOX_STOP_SECONDS,
    ) as child:
        _wait_for_answer(f"{settings.stripe_base}/_sandbox/health", child)
        yield child


@contextlib.contextmanager
def _server(settings: Settings, place: Place) -> Iterator[Child]:
    environment = {
        **os.environ,
        "DATABASE_URL": settings.database_url or "",
        "BURSAR_HOME": str(place.home),
        "BURSAR_SANDBOX": "1",
        "BURSAR_CATALOG": str(settings.catalog),
        "BURSAR_SHOP_NAME": settings.shop_name,
        "STRIPE_SECRET_KEY": settings.stripe_secret_key,
        "STRIPE_PUBLISHABLE_KEY": settings.stripe_publishable_key,
        "STRIPE_WEBHOOK_SECRET": ",".join(settings.stripe_webhook_secrets),
        "STRIPE_API_BASE": settings.stripe_base,
    }
    environment |= _mail(settings)
    if "limit_payment_intent" not in settings.model_fields_set:
        environment["BURSAR_LIMIT_PAYMENT_INTENT"] = PAYMENT_INTENT_LIMIT
    with children.running(
        "server",
        [sys.executable, "-m", "bursar.entrypoints.cli", "serve"],
        environment,
        place.logs / "server.log",
        seconds=SERVER_STOP_SECONDS,
    ) as child:
        _wait_for_answer(f"{local_url(settings)}/readyz", child)
        yield child


def _mail(settings: Settings) -> dict[str, str]:
    """The server's settings of mail: letters go to the sandbox's mailbox, whatever the environment
    says."""
    url = f"{settings.stripe_base}/_sandbox/mail"
    with httpx2.Client(timeout=10) as client:
        found = client.get(url, headers={"accept": "application/json"}).json()
    return {
        "BURSAR_SMTP_URL": found["smtp"],
        "BURSAR_MAIL_FROM": "shop@demo.invalid",
        "BURSAR_OPERATOR_EMAIL": "operator@demo.invalid",
        "BURSAR_RECEIPTS": "bursar",
    }


def _wait_for_answer(url: str, child: Child) -> None:
    """Wait until `url` answers 200. Raises Unavailable when the child ends or time is up."""
    end = time.monotonic() + START_SECONDS
    with httpx2.Client(timeout=5) as client:
        while True:
            with contextlib.suppress(httpx2.TransportError):
                if client.get(url).status_code == 200:
                    return
            child.check()
            if time.monotonic() > end:
                raise errors.Unavailable(
                    f"The {child.name} does not answer at {url} after {START_SECONDS:.0f} s; "
                    f"its log is {child.log}."
                )
            time.sleep(POLL_SECONDS)


def _drop_links(settings: Settings, kept: Kept) -> None:
    # A database that is gone takes the links with it: nothing to do, and the rest must be stopped.
    with contextlib.suppress(errors.Error):
        asyncio.run(seeding.drop_links(settings.database_url or "", kept))


def _facts(settings: Settings, kept: Kept) -> dict[str, object]:
    """What demo.json says; its keys are part of the contract."""
    return {
        "pid": os.getpid(),
        "server": local_url(settings),
        "stripe": settings.stripe_base,
        "lemonsqueezy": None,
        "paddle": None,
        "user_id": seeding.USER_ID,
        "user_key": kept.user_key,
        "service_key": kept.service_key,
        "admin_key": kept.admin_key,
        "account_url": f"{settings.own_url}/sign-in?token={kept.link_token}",
        "admin_url": f"{settings.own_url}/sign-in?token={kept.admin_link_token}",
        "database_url": settings.database_url,
        "webhook_secrets": {"stripe": kept.webhook_secret},
    }
