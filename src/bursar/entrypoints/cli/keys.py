"""`bursar keys`: API keys. A secret is printed once, by `create`."""

from __future__ import annotations

from typing import Annotated

import typer

from bursar import config
from bursar.access import audit_log, keys
from bursar.access.actors import Kind
from bursar.billing import customers
from bursar.clock import SystemClock
from bursar.db import Database
from bursar.entrypoints.cli.opening import with_database
from bursar.entrypoints.cli.output import AsJson, print_json, print_rows

group = typer.Typer(no_args_is_help=True)

COLUMNS = ("id", "kind", "user_id", "prefix", "name", "created_at", "last_used_at", "revoked_at")


@group.command()
def create(
    user: Annotated[str | None, typer.Option(help="For this user; made if new.")] = None,
    service: Annotated[bool, typer.Option("--service", help="For your app's backend.")] = False,
    admin: Annotated[bool, typer.Option("--admin", help="For a person who runs the shop.")] = False,
    name: Annotated[str | None, typer.Option(help="A word to know it by.")] = None,
    as_json: AsJson = False,
) -> None:
    """Create a key of one kind and print its secret, which is never shown again."""
    if (user is not None) + service + admin != 1:
        raise typer.BadParameter("Say one of --user U, --service and --admin.")
    kind: Kind = "user" if user is not None else "service" if service else "admin"

    async def act(db: Database) -> tuple[int, str]:
        at = SystemClock().now()
        async with db.transaction() as conn:
            if user is not None:
                await customers.ensure_user(conn, user, at=at)
            key_id, secret = await keys.create(conn, kind, user_id=user, name=name, at=at)
            subject, told = f"key:{key_id}", {"kind": kind, "user_id": user}
            await audit_log.record(conn, "command", "key.created", subject=subject, detail=told)
            return key_id, secret

    key_id, secret = with_database(config.read(), act)
    if as_json:
        print_json({"id": key_id, "kind": kind, "user_id": user, "secret": secret})
    else:
        print(secret)


@group.command()
def revoke(key_id: Annotated[int, typer.Argument(metavar="ID")]) -> None:
    """End a key for good."""

    async def act(db: Database) -> None:
        async with db.transaction() as conn:
            if await keys.revoke(conn, key_id, at=SystemClock().now()):
                await audit_log.record(conn, "command", "key.revoked", subject=f"key:{key_id}")

    with_database(config.read(), act)
    print(f"Key {key_id} is revoked; within seconds no process takes it any more.")


@group.command("list")
def list_them(
    user: Annotated[str | None, typer.Option(help="Only this user's.")] = None,
    as_json: AsJson = False,
) -> None:
    """List keys, without their secrets."""

    async def act(db: Database) -> list[keys.KeyRow]:
        async with db.connection() as conn:
            return await keys.list_keys(conn, user_id=user)

    rows = with_database(config.read(), act)
    print_rows(rows, COLUMNS, as_json=as_json, none="There is no key yet.")
