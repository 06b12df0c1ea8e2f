"""The shape of catalog.toml: its tables, their fields and the bounds of each. Pure.

What no single field can tell (a unit that is not there, two words for one feature) is checked by
`catalog_file`.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from bursar.billing.rights import Per, Right
from bursar.money import AMOUNT_MAX
from bursar.providers.mirrored import Tax

RIGHTS_MAX = 50

Amount = Annotated[int, Field(strict=True, ge=1, le=AMOUNT_MAX)]
Count = Annotated[int, Field(strict=True, ge=0, le=AMOUNT_MAX)]
Key = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,63}$")]
UnitKey = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]{0,39}$")]
Feature = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,39}$")]
Rate = Annotated[Decimal, Field(gt=0, le=10**6, max_digits=18, decimal_places=9)]
Prices = Annotated[dict[str, Amount], Field(min_length=1)]
Months = Annotated[str, Field(pattern=r"^([1-9]|[1-5][0-9]|60)$")]


class Table(BaseModel):
    """A table of the file: it takes no field that it does not know."""

    model_config = ConfigDict(extra="forbid")


class UnitTable(Table):
    """`[units.…]`"""

    name: str = Field("", max_length=80)
    decimals: int = Field(0, ge=0, le=4, strict=True)
    per_minor: dict[str, Rate] = {}
    minimum: dict[str, Amount] = {}
    maximum: dict[str, Amount] = {}
    tax: Tax | None = None


class LimitTable(Table):
    """A limit that begins anew: so many in each day or month."""

    count: Count
    per: Per


class ItemTable(Table):
    """What packs and plans share."""

    name: str = Field(min_length=1, max_length=200)
    description: str | None = Field(None, max_length=500)
    unit: UnitKey
    features: list[Feature] = Field([], max_length=RIGHTS_MAX)
    limits: dict[Feature, Count | LimitTable] = Field({}, max_length=RIGHTS_MAX)
    tax: Tax | None = None

    def rights(self) -> tuple[Right, ...]:
        """What it entitles to, features first."""
        limits = [
            Right(name, said.count, said.per) if isinstance(said, LimitTable) else Right(name, said)
            for name, said in self.limits.items()
        ]
        return (*(Right(name) for name in self.features), *limits)


class PackTable(ItemTable):
    """`[packs.…]`"""

    credits: Amount
    capture: Literal["automatic", "manual"] = "automatic"
    prices: Prices


class PlanPrices(Table):
    """What a plan costs in each interval, by currency."""

    month: Prices | None = None
    year: Prices | None = None

    def by_interval(self) -> dict[Literal["month", "year"], dict[str, int]]:
        """The prices that there are."""
        said: dict[Literal["month", "year"], dict[str, int] | None] = {
            "month": self.month,
            "year": self.year,
        }
        return {interval: prices for interval, prices in said.items() if prices}


class PlanTable(ItemTable):
    """`[plans.…]`; `credits` is the allowance of each period.

    `durations` are what so many months cost, paid once: months, then the price by currency.
    `trial_end` is what follows a trial that asked for no card (`trial_card = false`) and got none;
    `rollover` how many credits at most go on into the next period; an `addon` runs beside others.
    """

    credits: Amount | None = None
    prices: PlanPrices = PlanPrices()
    durations: dict[Months, Prices] = {}
    trial_days: int | None = Field(None, ge=1, le=730, strict=True)
    trial_card: bool = True
    trial_end: Literal["cancel", "pause"] = "cancel"
    trial_credits: Amount | None = None
    rollover: Amount | None = None
    yearly_credits: Literal["monthly", "once"] = "monthly"
    group: Key = "main"
    addon: bool = False


class CatalogTables(Table):
    """The whole file. `tax` says of all prices whether they hold their tax; an item may differ."""

    tax: Tax | None = None

    units: dict[UnitKey, UnitTable] = Field(min_length=1)
    packs: dict[Key, PackTable] = {}
    plans: dict[Key, PlanTable] = {}
