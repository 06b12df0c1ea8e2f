"""The command itself: starts the demo, tells what there is, buys once if asked, waits."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated

import typer

import bursar
from bursar import config
from bursar.config import Settings
from bursar.db.connections import connect
from bursar.entrypoints.cli.demo import purchase, seeding, signals
from bursar.entrypoints.cli.demo.supervisor import Demo, local_url, started
from bursar.entrypoints.cli.output import print_styled
from bursar.messages import inbox

SHOP_NAME = "Acme Tools"
EVENTS_SHOWN = 100


def run(
    once: Annotated[
        bool, typer.Option("--once", help="Buy a pack with the test card, show it, and end.")
    ] = False,
    fresh: Annotated[bool, typer.Option("--fresh", help="Drop the demo's data first.")] = False,
) -> None:
    """Run everything on this machine, with play money, until Ctrl-C."""
    settings = _demo_defaults(config.read())
    with signals.stopping(), started(settings, _say, fresh=fresh) as demo:
        if once:
            url = demo.settings.database_url or ""
            print_styled("\n", ("Buying a pack, by HTTP alone", "bold"))
            purchase.buy(local_url(settings), demo.kept.user_key, lambda: _events(url))
            return
        _tell(demo)
        demo.watch()
    _say("stopped; the data stays for the next start")


def _demo_defaults(settings: Settings) -> Settings:
    """A name for the shop, and the catalogue of the source tree where none is named."""
    changes: dict[str, object] = {"catalog": settings.catalog.absolute()}
    if "shop_name" not in settings.model_fields_set:
        changes["shop_name"] = SHOP_NAME
    if "catalog" not in settings.model_fields_set and not settings.catalog.exists():
        changes["catalog"] = Path(bursar.__file__).parents[2] / "catalog.toml"
    return settings.model_copy(update=changes)


def _say(text: str) -> None:
    print_styled((text, "dim"))


def _events(url: str) -> list[str]:
    """The received events with what became of them, oldest first."""

    async def read() -> list[inbox.Message]:
        conn = await connect(url)
        try:
            return await inbox.list_messages(conn, state=None, before=None, limit=EVENTS_SHOWN)
        finally:
            await conn.close()

    return [f"{message.type} ({message.state})" for message in reversed(asyncio.run(read()))]


def _tell(demo: Demo) -> None:
    settings, kept = demo.settings, demo.kept
    lines = (
        ("Shop", f"{settings.own_url}/pricing"),
        ("Your account", f"{settings.own_url}/sign-in?token={kept.link_token}"),
        ("Orders to review", f"{settings.own_url}/sign-in?token={kept.admin_link_token}"),
        ("API", f"{settings.own_url}/docs"),
        ("Stripe, played", settings.stripe_base),
        ("Mail that went out", f"{settings.stripe_base}/_sandbox/mail"),
        ("Key of the user", f"{kept.user_key}   ({seeding.USER_ID})"),
        ("Key of your app", kept.service_key),
        ("Key of an admin", kept.admin_key),
        ("Test card", f"{purchase.CARD['card_number']}, any future date, any code"),
    )
    print_styled("\n", ("Bursar is up, with play money.", "bold"), " Ctrl-C stops it.\n")
    for name, value in lines:
        print_styled("  ", (f"{name:<20}", "bold"), value)
    print_styled(f"\nAll of this stands in {settings.home / 'demo.json'} while it is up.")
