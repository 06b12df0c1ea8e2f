"""catalog.toml, read and checked. Pure but for opening the file.

[units.credit]
name = "Credits"
per_minor = { usd = "1" }         # a free top-up: so many credits for one cent
minimum = { usd = 500 }
maximum = { usd = 500000 }

[packs.starter]
name = "Starter"
unit = "page"
credits = 5
prices = { usd = 500 }            # minor units
tax = "exclusive"                 # or "inclusive"; at the top of the file for the whole shop
features = ["priority"]           # what it entitles to, beside its credits
limits = { exports = 100, api_calls = { count = 1000, per = "month" } }

[plans.pages-basic]
name = "Basic"
unit = "page"
credits = 20                      # the allowance of each period
prices = { month = { usd = 1500 }, year = { usd = 15000 } }
durations = { 3 = { usd = 4000 } } # or so many months at once, paid once
trial_days = 14
trial_card = false                # the trial asks for no card; by default it does
trial_end = "pause"               # if none came by its end; by default the subscription ends
trial_credits = 5                 # once for each person
rollover = 10                     # at most so many credits go on into the next period
yearly_credits = "once"           # a year's allowance at once; by default month by month
group = "pages"                   # of a group a customer has one plan at a time
addon = false                     # true: it may run beside others of its group
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import ValidationError

from bursar import errors
from bursar.billing import rights
from bursar.billing.catalog import Item, Unit
from bursar.billing.catalog_tables import CatalogTables, ItemTable, PackTable, PlanTable
from bursar.billing.rights import Per, Right
from bursar.money import AMOUNT_MAX, CURRENCIES, exponent
from bursar.providers.mirrored import Tax

TOPUP_MAX_MINOR = 100_000_00
METADATA_MAX = 500
"""How long a word to a provider may be; features and limits are told as one word each."""


@dataclass(frozen=True, slots=True)
class FilePrice:
    """A price that should be on sale; `recurring` is the interval of a plan's, `months` for how
    long one is paid at once."""

    kind: Literal["pack", "plan"]
    key: str
    currency: str
    amount_minor: int
    recurring: Literal["month", "year"] | None = None
    months: int | None = None
    tax: Tax | None = None
    """Whether it holds its tax; None leaves that to the provider's account."""

    @property
    def lookup_key(self) -> str:
        """The name under which the provider keeps the price, whatever its amount."""
        span = self.recurring or (f"{self.months}m" if self.months else None)
        interval = f"{span}_" if span else ""
        return f"bursar_{self.kind}_{self.key}_{interval}{self.currency}"


@dataclass(frozen=True, slots=True)
class Catalog:
    """What catalog.toml asks for. Every top-up unit is an item without a price of its own."""

    units: tuple[Unit, ...]
    items: tuple[Item, ...]
    prices: tuple[FilePrice, ...]


def product_id(kind: str, key: str) -> str:
    """The id of an item's product at the provider."""
    return f"bursar_{kind}_{key}"


def told_features(given: Iterable[Right]) -> dict[str, str]:
    """Features and limits in the words that a provider keeps with a product.

    An empty word takes away what stood there before.
    """
    listed = list(given)
    limits = [
        f"{right.feature}={right.amount}" + (f"/{right.per}" if right.per else "")
        for right in listed
        if right.amount is not None
    ]
    names = [right.feature for right in listed if right.amount is None]
    return {"bursar_features": ",".join(names), "bursar_limits": ",".join(limits)}


def read(path: Path) -> Catalog:
    """The catalogue in the file. Raises CatalogInvalid, naming the file, the place and the fault.

    In the file `credits` are whole credits; here they are the unit's smallest parts.
    """
    try:
        text = path.read_text(encoding="utf-8")
        tables = CatalogTables.model_validate(tomllib.loads(text))
    except FileNotFoundError as error:
        raise errors.CatalogInvalid(
            f"There is no catalogue at {path}. Write one (docs/quickstart.md shows how), or name "
            "it with BURSAR_CATALOG."
        ) from error
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise errors.CatalogInvalid(f"{path} can't be read: {error}") from error
    except ValidationError as error:
        faults = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
        raise errors.CatalogInvalid(f"{path}: {faults}") from error
    _check(tables, path)
    return _catalog(tables)


def _check(tables: CatalogTables, path: Path) -> None:
    for key, unit in tables.units.items():
        _check_currencies(path, f"units.{key}.per_minor", unit.per_minor)
        for bound in (unit.minimum, unit.maximum):
            if strange := set(bound) - set(unit.per_minor):
                raise errors.CatalogInvalid(
                    f"{path}: units.{key} bounds {sorted(strange)} but has no rate for it"
                )
        for currency in unit.per_minor:
            least, most = unit.minimum.get(currency, 1), unit.maximum.get(currency, TOPUP_MAX_MINOR)
            if least > most:
                raise errors.CatalogInvalid(
                    f"{path}: units.{key}: the minimum in {currency} is above the maximum"
                )
    periods: dict[str, tuple[Per | None, str]] = {}
    for place, item in _items(tables):
        _check_item(path, place, item, tables)
        for right in item.rights():
            _check_period(path, place, right, periods)
    _check_groups(tables, path)
    for key, pack in tables.packs.items():
        _check_prices(path, f"packs.{key}.prices", pack.prices)
    for key, plan in tables.plans.items():
        prices = plan.prices.by_interval()
        if not prices and not plan.durations:
            raise errors.CatalogInvalid(
                f"{path}: plans.{key}.prices: say what a month or a year costs, or name `durations`"
            )
        _check_durations(path, key, plan, tables)
        for interval, amounts in prices.items():
            _check_prices(path, f"plans.{key}.prices.{interval}", amounts)


def _check_groups(tables: CatalogTables, path: Path) -> None:
    """Of one group the plans bring one unit: who changes from one to another keeps counting."""
    units: dict[str, str] = {}
    for key, plan in tables.plans.items():
        if plan.credits and units.setdefault(plan.group, plan.unit) != plan.unit:
            raise errors.CatalogInvalid(
                f"{path}: plans.{key}.unit: the plans of the group {plan.group!r} bring "
                f"{units[plan.group]!r}; a change between them would lose credits"
            )


def _items(tables: CatalogTables) -> Iterable[tuple[str, PackTable | PlanTable]]:
    yield from ((f"packs.{key}", pack) for key, pack in tables.packs.items())
    yield from ((f"plans.{key}", plan) for key, plan in tables.plans.items())


def _check_item(path: Path, place: str, item: PackTable | PlanTable, tables: CatalogTables) -> None:
    if item.unit not in tables.units:
        raise errors.CatalogInvalid(f"{path}: {place}.unit: no unit {item.unit!r}")
    if (item.credits or 0) * 10 ** tables.units[item.unit].decimals > AMOUNT_MAX:
        raise errors.CatalogInvalid(f"{path}: {place}.credits: more than can be counted")
    names = [right.feature for right in item.rights()]
    if twice := {name for name in names if names.count(name) > 1}:
        raise errors.CatalogInvalid(f"{path}: {place}: {sorted(twice)} is said twice")
    for word, said in told_features(item.rights()).items():
        if len(said) > METADATA_MAX:
            raise errors.CatalogInvalid(
                f"{path}: {place}: the {word.removeprefix('bursar_')} take more than "
                f"{METADATA_MAX} characters, which is more than a provider keeps"
            )


def _check_durations(path: Path, key: str, plan: PlanTable, tables: CatalogTables) -> None:
    for months, amounts in plan.durations.items():
        _check_prices(path, f"plans.{key}.durations.{months}", amounts)
        bought = (plan.credits or 0) * 10 ** tables.units[plan.unit].decimals * int(months)
        if bought > AMOUNT_MAX:
            raise errors.CatalogInvalid(
                f"{path}: plans.{key}.durations.{months}: more credits than can be counted"
            )


def _check_period(
    path: Path, place: str, right: Right, periods: dict[str, tuple[Per | None, str]]
) -> None:
    """A limit counts in one period wherever it is said: of two, neither would be the greater."""
    if right.amount is None:
        return
    per, first = periods.setdefault(right.feature, (right.per, place))
    if per != right.per:
        raise errors.CatalogInvalid(
            f"{path}: {place}.limits.{right.feature} counts in another period than {first} does"
        )


def _check_currencies(path: Path, place: str, amounts: Iterable[str]) -> None:
    for currency in amounts:
        if currency not in CURRENCIES:
            raise errors.CatalogInvalid(
                f"{path}: {place}: {currency!r} is no currency (write it like usd)"
            )


def _check_prices(path: Path, place: str, amounts: Mapping[str, int]) -> None:
    """Cards can't be charged the third decimal: prices in such currencies end in 0."""
    _check_currencies(path, place, amounts)
    for currency, amount in amounts.items():
        if exponent(currency) == 3 and amount % 10:
            raise errors.CatalogInvalid(
                f"{path}: {place}: {amount} {currency} can't be charged: the last of "
                f"{currency.upper()}'s three decimals must be 0 (write {amount - amount % 10} "
                f"or {amount - amount % 10 + 10})"
            )


def _catalog(tables: CatalogTables) -> Catalog:
    units: list[Unit] = []
    items: list[Item] = []
    prices: list[FilePrice] = []
    for position, (key, unit) in enumerate(tables.units.items()):
        bounds = {
            currency: (
                unit.minimum.get(currency, 1),
                unit.maximum.get(currency, TOPUP_MAX_MINOR),
            )
            for currency in unit.per_minor
        }
        label = unit.name or key.capitalize()
        units.append(Unit(key, label, unit.decimals, dict(unit.per_minor), bounds))
        if unit.per_minor:
            tax = {"tax": unit.tax or tables.tax}
            items.append(Item("topup", key, label, None, key, None, "automatic", position, tax))
    for position, (key, pack) in enumerate(tables.packs.items()):
        items.append(_item(key, pack, tables, position, _details(pack)))
        prices.extend(
            FilePrice("pack", key, currency, amount, tax=pack.tax or tables.tax)
            for currency, amount in pack.prices.items()
        )
    for position, (key, plan) in enumerate(tables.plans.items()):
        terms = {**_details(plan), **_plan_terms(plan, tables)}
        items.append(_item(key, plan, tables, position, terms))
        prices.extend(
            FilePrice("plan", key, currency, amount, interval, tax=plan.tax or tables.tax)
            for interval, amounts in plan.prices.by_interval().items()
            for currency, amount in amounts.items()
        )
        prices.extend(
            FilePrice("plan", key, currency, amount, months=int(months), tax=plan.tax or tables.tax)
            for months, amounts in plan.durations.items()
            for currency, amount in amounts.items()
        )
    return Catalog(tuple(units), tuple(items), tuple(prices))


def _details(item: ItemTable) -> dict[str, Any]:
    return {"rights": rights.as_json(item.rights())}


def _plan_terms(plan: PlanTable, tables: CatalogTables) -> dict[str, Any]:
    parts = 10 ** tables.units[plan.unit].decimals
    return {
        "group": plan.group,
        "addon": plan.addon,
        "trial_days": plan.trial_days,
        "trial_card": plan.trial_card,
        "trial_end": plan.trial_end,
        "trial_credits": (plan.trial_credits or 0) * parts,
        "rollover": (plan.rollover or 0) * parts,
        "yearly_credits": plan.yearly_credits,
    }


def _item(
    key: str,
    table: PackTable | PlanTable,
    tables: CatalogTables,
    position: int,
    details: Mapping[str, Any],
) -> Item:
    return Item(
        kind="pack" if isinstance(table, PackTable) else "plan",
        key=key,
        name=table.name,
        description=table.description,
        unit=table.unit,
        credits=table.credits and table.credits * 10 ** tables.units[table.unit].decimals,
        capture_method=table.capture if isinstance(table, PackTable) else "automatic",
        position=position,
        details=details,
    )
