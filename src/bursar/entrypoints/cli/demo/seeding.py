"""What a demo has from the start: a webhook endpoint at the sandbox, a catalogue, a user, keys.

Safe to repeat: a second start finds what the first one made.
"""

from __future__ import annotations

import contextlib
from dataclasses import replace
from datetime import datetime

import asyncpg
import httpx2
import stripe

from bursar import errors
from bursar.access import keys, sessions
from bursar.access.actors import Kind
from bursar.billing import catalog_file, catalog_push, customers
from bursar.config import Settings
from bursar.db import Connection
from bursar.db.connections import connect
from bursar.db.deployment import find_mode
from bursar.entrypoints.cli.demo.kept import Kept
from bursar.providers.stripe.translate import HANDLED
from bursar.wiring import opened

USER_ID, USER_EMAIL, USER_NAME = "demo-user", "ada@example.com", "Ada Lovelace"
ADMIN_ID, ADMIN_NAME = "demo-admin", "Grace Hopper"
LINK_SECONDS = 30 * 24 * 3600

TABLES = """
select count(*) from pg_class c join pg_namespace n on n.oid = c.relnamespace
where n.nspname = 'public' and c.relkind in ('r', 'p')
"""


async def check_sandbox(url: str) -> None:
    """Raise ModeMismatch when the database belongs to test or live mode."""
    conn = await connect(url)
    try:
        with contextlib.suppress(asyncpg.UndefinedTableError):
            mode = await find_mode(conn)
            if mode not in ("sandbox", None):
                raise errors.ModeMismatch(
                    f"The database at DATABASE_URL belongs to {mode} mode; the demo works on a "
                    "sandbox's. Point DATABASE_URL at an empty database, or leave it unset."
                )
    finally:
        await conn.close()


async def drop_data(url: str) -> None:
    """Empty a sandbox's database. Raises Conflict when its tables are somebody else's."""
    conn = await connect(url)
    try:
        if await conn.fetchval(TABLES) and not await conn.fetchval(
            "select to_regclass('public.deployment') is not null"
        ):
            raise errors.Conflict(
                "--fresh drops everything in the database, and this one has tables that are not "
                "Bursar's. Point DATABASE_URL elsewhere, or leave it unset."
            )
        await conn.execute(
            "drop schema public cascade; create schema public;"
            " grant usage on schema public to public"
        )
    finally:
        await conn.close()


def put_endpoint(base: str, url: str, kept: Kept) -> Kept:
    """Have the sandbox send the events that we handle to `url`, by its public API.

    An endpoint's secret is told when it is made and never again, so it is kept with the id.
    Raises ProviderRejected.
    """
    wanted: dict[str, str | list[str]] = {"url": url, "enabled_events[]": list(HANDLED)}
    with httpx2.Client(base_url=base, auth=(kept.secret_key, ""), timeout=10) as client:
        if kept.endpoint_id and kept.webhook_secret:
            answer = client.post(f"/v1/webhook_endpoints/{kept.endpoint_id}", data=wanted)
            if answer.status_code == 200:
                return kept
        wanted["api_version"] = stripe.api_version
        answer = client.post("/v1/webhook_endpoints", data=wanted)
        if answer.status_code != 200:
            raise errors.ProviderRejected(f"The sandbox refused a webhook endpoint: {answer.text}")
        made = answer.json()
    return replace(kept, endpoint_id=made["id"], webhook_secret=made["secret"])


async def seed(settings: Settings, kept: Kept) -> Kept:
    """Push the catalogue, make the demo's user and its keys, and a sign-in link that stays good.

    Raises CatalogInvalid, and whatever the sandbox or the database refuse.
    """
    wanted = catalog_file.read(settings.catalog)
    async with opened(settings) as wiring:
        provider = wiring.provider("stripe")
        await catalog_push.push(wiring.db, provider, wanted, clock=wiring.clock)
        at = wiring.clock.now()
        async with wiring.db.transaction() as conn:
            await customers.put_user(
                conn, USER_ID, email=USER_EMAIL, email_verified=True, name=USER_NAME, at=at
            )
            await customers.put_user(
                conn, ADMIN_ID, email=None, email_verified=False, name=ADMIN_NAME, at=at
            )
            await sessions.drop_link(conn, kept.link_token)
            await sessions.drop_link(conn, kept.admin_link_token)
            return replace(
                kept,
                user_key=await _key(conn, "user", kept.user_key, at),
                service_key=await _key(conn, "service", kept.service_key, at),
                admin_key=await _key(conn, "admin", kept.admin_key, at),
                link_token=await sessions.create_link(
                    conn, USER_ID, reusable=True, seconds=LINK_SECONDS
                ),
                admin_link_token=await sessions.create_link(
                    conn, ADMIN_ID, admin=True, reusable=True, seconds=LINK_SECONDS
                ),
            )


async def _key(conn: Connection, kind: Kind, secret: str, at: datetime) -> str:
    """The key that was kept while it is good, else a new one."""
    if await keys.find_actor(conn, secret):
        return secret
    user_id = USER_ID if kind == "user" else None
    return (await keys.create(conn, kind, user_id=user_id, name="demo", at=at))[1]


async def drop_links(url: str, kept: Kept) -> None:
    """End the sign-in links of a demo that stops."""
    conn = await connect(url)
    try:
        await sessions.drop_link(conn, kept.link_token)
        await sessions.drop_link(conn, kept.admin_link_token)
    finally:
        await conn.close()
