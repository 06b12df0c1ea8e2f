"""`bursar catalog`: brings catalog.toml to database and provider, and shows what is sold."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from bursar import config, errors
from bursar.billing import catalog, catalog_file, catalog_plans, catalog_push, mirror
from bursar.billing.catalog import Pack, Unit
from bursar.billing.catalog_plans import Plan
from bursar.billing.rights import Right
from bursar.config import Settings
from bursar.db import Connection, Database
from bursar.entrypoints.cli.demo.kept import demo_settings
from bursar.entrypoints.cli.opening import with_database, with_wiring
from bursar.entrypoints.cli.output import AsJson, as_record, print_json, print_rows
from bursar.money import format_credits, format_money, price_per_credit
from bursar.wiring import Wiring, make_providers

group = typer.Typer(no_args_is_help=True)

Provider = Annotated[str, typer.Option(help="The payment provider.")]
COLUMNS = (
    "key",
    "name",
    "contents",
    "price",
    "per_credit",
    "capture",
    "features",
    "provider_price_id",
)
PLAN_COLUMNS = ("plan", "name", "contents", "prices", "durations", "features")


@dataclass(frozen=True, slots=True)
class Sold:
    """What is on sale; `minimum` is the least that the provider charges, by currency."""

    packs: list[Pack]
    plans: list[Plan]
    units: list[Unit]
    minimum: Mapping[str, int]


@group.command()
def push(
    file: Annotated[Path | None, typer.Option(help="Default: BURSAR_CATALOG.")] = None,
    provider: Provider = "stripe",
    as_json: AsJson = False,
) -> None:
    """Bring catalog.toml to the database and to the provider; safe to repeat."""
    settings = demo_settings(config.read())
    wanted = catalog_file.read(file or settings.catalog)

    async def act(wiring: Wiring) -> catalog_push.Pushed:
        report = (lambda _: None) if as_json else print
        adapter = wiring.provider(provider)
        pushed = await catalog_push.push(
            wiring.db, adapter, wanted, clock=wiring.clock, report=report, mode=settings.mode
        )
        await mirror.fill(wiring.db, adapter)
        return pushed

    # The mode is claimed with what is stored: a push that fails binds the database to nothing.
    pushed = with_wiring(settings, act, claim=False)
    if as_json:
        print_json(pushed)


@group.command()
def show(provider: Provider = "stripe", as_json: AsJson = False) -> None:
    """Show what is on sale: packs, plans, and what can be bought in any amount."""

    settings = demo_settings(config.read())

    async def act(db: Database) -> Sold:
        async with db.connection() as conn:
            return Sold(
                await _packs(conn, provider),
                await catalog_plans.list_plans(conn, provider),
                await catalog.list_units(conn),
                await _minimum(settings, provider),
            )

    sold = with_database(settings, act)
    packs, plans, units = sold.packs, sold.plans, sold.units
    if as_json:
        print_json({"units": units, "packs": packs, "plans": plans})
        return
    rows = [as_record(pack) | _in_words(pack) for pack in packs]
    print_rows(rows, COLUMNS, as_json=False, none="No pack is on sale; run `bursar catalog push`.")
    if plans:
        print()
        labels = {unit.name: unit for unit in units}
        described = [_plan_in_words(plan, labels[plan.unit]) for plan in plans]
        print_rows(described, PLAN_COLUMNS, as_json=False, none="")
        print()
    for unit in units:
        for currency, rate in unit.per_minor.items():
            least, most = unit.bounds[currency]
            # Less than that can't be charged, whatever the catalogue says.
            least = max(least, sold.minimum.get(currency, 1))
            bounds = f"from {format_money(least, currency)} to {format_money(most, currency)}"
            print(f"{unit.label}: any amount {bounds}, {rate} for each minor unit")


async def _packs(conn: Connection, provider: str) -> list[Pack]:
    """The packs on sale, each as often as there are currencies in which it has a price."""
    found: list[Pack] = []
    for currency in await catalog.list_currencies(conn, provider):
        # A currency may be one of durations alone.
        with contextlib.suppress(errors.CurrencyNotSold):
            found += await catalog.list_packs(conn, provider, currency=currency)
    return sorted(found, key=lambda pack: (pack.position, pack.key))


async def _minimum(settings: Settings, provider: str) -> Mapping[str, int]:
    """The least that the provider charges, by currency; empty where it is not set up."""
    providers = make_providers(settings)
    least = providers[provider].capabilities.minimum_minor if provider in providers else {}
    for each in providers.values():
        await each.close()
    return least


def _in_words(pack: Pack) -> dict[str, str]:
    return {
        "contents": f"{format_credits(pack.credits, pack.unit_decimals)} {pack.unit_label}",
        "price": format_money(pack.amount_minor, pack.currency),
        "per_credit": price_per_credit(
            pack.amount_minor, pack.currency, pack.credits, pack.unit_decimals
        ),
        "capture": "manual: after review" if pack.capture_method == "manual" else "automatic",
        "features": _rights_in_words(pack.rights),
    }


def _plan_in_words(plan: Plan, unit: Unit) -> dict[str, str]:
    credits = plan.credits
    return {
        "plan": plan.key,
        "name": plan.name,
        "contents": f"{format_credits(credits, unit.decimals)} {unit.label}" if credits else "",
        "prices": ", ".join(
            f"{format_money(price.amount_minor, price.currency)} a {price.interval}"
            for price in plan.prices
        ),
        "durations": ", ".join(
            f"{format_money(each.amount_minor, each.currency)} for "
            + ("1 month" if each.months == 1 else f"{each.months} months")
            for each in plan.durations
        ),
        "features": _rights_in_words(plan.rights),
    }


def _rights_in_words(rights: Sequence[Right]) -> str:
    """Such as `history, 25 projects, 10000 api_calls a month`."""
    return ", ".join(
        right.feature
        if right.amount is None
        else f"{right.amount} {right.feature}" + (f" a {right.per}" if right.per else "")
        for right in rights
    )
