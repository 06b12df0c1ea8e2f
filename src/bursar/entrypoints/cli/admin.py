"""`bursar admin`: the way in for the first admin."""

from __future__ import annotations

import typer

from bursar import config
from bursar.access import audit_log, sessions
from bursar.billing import customers
from bursar.clock import SystemClock
from bursar.db import Database
from bursar.entrypoints.cli.opening import with_database
from bursar.entrypoints.cli.output import AsJson, print_json

group = typer.Typer(no_args_is_help=True)


@group.callback()
def _admin() -> None:
    """Keep `create` a command of its own: a group of one would be taken for the command."""


@group.command()
def create(user_id: str, as_json: AsJson = False) -> None:
    """Print a link that signs USER_ID in as admin: good once, for ten minutes."""

    async def act(db: Database) -> str:
        async with db.transaction() as conn:
            user = await customers.ensure_user(conn, user_id, at=SystemClock().now())
            await audit_log.record(
                conn,
                "command",
                "sign_in_link.created",
                subject=f"user:{user.id}",
                customer_id=user.customer_id,
                detail={"admin": True},
            )
            return await sessions.create_link(conn, user_id, admin=True)

    settings = config.read()
    url = f"{settings.own_url}/sign-in?token={with_database(settings, act)}"
    if as_json:
        print_json({"user_id": user_id, "url": url})
    else:
        print(url)
