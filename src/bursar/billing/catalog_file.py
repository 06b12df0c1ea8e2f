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
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from bursar import errors
from bursar.billing.catalog import Item, Unit
from bursar.money import AMOUNT_MAX, CURRENCIES

Amount = Annotated[int, Field(strict=True, ge=1, le=AMOUNT_MAX)]
Key = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,63}$")]
UnitKey = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]{0,39}$")]
Rate = Annotated[Decimal, Field(gt=0, le=10**6, max_digits=18, decimal_places=9)]
TOPUP_MAX_MINOR = 100_000_00


class UnitTable(BaseModel):
    model_config = ConfigDict(extra="forbid")

    name: str = Field("", max_length=80)
    decimals: int = Field(0, ge=0, le=4, strict=True)
    per_minor: dict[str, Rate] = {}
    minimum: dict[str, Amount] = {}
    maximum: dict[str, Amount] = {}


class PackTable(BaseModel):
    model_config = ConfigDict(extra="forbid")

    name: str = Field(min_length=1, max_length=200)
    description: str | None = Field(None, max_length=500)
    unit: UnitKey
    credits: Amount
    capture: Literal["automatic", "manual"] = "automatic"
    prices: dict[str, Amount] = Field(min_length=1)


class CatalogTables(BaseModel):
    model_config = ConfigDict(extra="forbid")

    units: dict[UnitKey, UnitTable] = Field(min_length=1)
    packs: dict[Key, PackTable] = {}


@dataclass(frozen=True, slots=True)
class FilePrice:
    """A price that should be on sale."""

    kind: Literal["pack"]
    key: str
    currency: str
    amount_minor: int

    @property
    def lookup_key(self) -> str:
        """The name under which the provider keeps the price, whatever its amount."""
        return f"bursar_{self.kind}_{self.key}_{self.currency}"


@dataclass(frozen=True, slots=True)
class Catalog:
    """What catalog.toml asks for. Every top-up unit is an item without a price of its own."""

    units: tuple[Unit, ...]
    items: tuple[Item, ...]
    prices: tuple[FilePrice, ...]


def product_id(kind: str, key: str) -> str:
    """The id of an item's product at the provider."""
    return f"bursar_{kind}_{key}"


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
    for key, pack in tables.packs.items():
        _check_currencies(path, f"packs.{key}.prices", pack.prices)
        if pack.unit not in tables.units:
            raise errors.CatalogInvalid(f"{path}: packs.{key}.unit: no unit {pack.unit!r}")
        if pack.credits * 10 ** tables.units[pack.unit].decimals > AMOUNT_MAX:
            raise errors.CatalogInvalid(f"{path}: packs.{key}.credits: more than can be counted")


def _check_currencies(path: Path, place: str, amounts: dict[str, Amount] | dict[str, Rate]) -> None:
    for currency in amounts:
        if currency not in CURRENCIES:
            raise errors.CatalogInvalid(
                f"{path}: {place}: {currency!r} is no currency (write it like usd)"
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
            items.append(Item("topup", key, label, None, key, None, "automatic", position))
    for position, (key, pack) in enumerate(tables.packs.items()):
        parts = pack.credits * 10 ** tables.units[pack.unit].decimals
        items.append(
            Item("pack", key, pack.name, pack.description, pack.unit, parts, pack.capture, position)
        )
        prices.extend(
            FilePrice("pack", key, currency, amount) for currency, amount in pack.prices.items()
        )
    return Catalog(tuple(units), tuple(items), tuple(prices))
