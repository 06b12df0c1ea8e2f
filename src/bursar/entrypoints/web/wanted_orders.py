"""What the address of the card form asks for: a package, months of a plan, or an amount. Pure.

Reads and bounds what came in; whether it is sold, and for how much, the catalogue knows.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlencode

from bursar import errors
from bursar.billing.orders import Priced
from bursar.money import AMOUNT_MAX, Money

MONTHS_MAX = 60
_ITEM = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}", re.ASCII)
_NUMBER = re.compile(r"[0-9]{1,13}", re.ASCII)
_CURRENCY = re.compile(r"[a-z]{3}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Wanted:
    """What an address or a form asks for: a package, months of a plan, or an amount."""

    package: str | None
    plan: str | None
    months: int | None
    amount_minor: int | None
    currency: str | None

    @property
    def fields(self) -> dict[str, str]:
        """As an address says it, always in the same order."""
        said = {
            "package": self.package,
            "plan": self.plan,
            "months": self.months,
            "amount": self.amount_minor,
            "currency": self.currency,
        }
        return {name: str(value) for name, value in said.items() if value is not None}

    @property
    def words(self) -> str:
        """The same for the same order, so that it can stand in an idempotency key."""
        return urlencode(self.fields)


def read(said: Mapping[str, str]) -> Wanted:
    """What an address or a form asks for. Raises errors.Invalid and its leaves."""
    package, plan = said.get("package"), said.get("plan")
    for name in (package, plan):
        if name is not None and not _ITEM.fullmatch(name):
            raise errors.UnknownItem("There is no such thing on sale.")
    months = _number(said, "months", MONTHS_MAX)
    amount = _number(said, "amount", AMOUNT_MAX)
    currency = said.get("currency")
    if currency is not None and not _CURRENCY.fullmatch(currency):
        raise errors.CurrencyNotSold("Nothing is sold in this currency.")
    if sum(x is not None for x in (package, plan, amount)) != 1:
        raise errors.Invalid("The address names no order. Choose one from the price list.")
    return Wanted(package, plan, months if plan else None, amount, currency)


def hosted_fields(wanted: Wanted, priced: Priced) -> dict[str, str]:
    """The same order for the form that leads to the provider's hosted page; empty for what is not
    sold there."""
    if wanted.plan is not None:
        return {}
    if wanted.package is not None:
        return {"package": wanted.package, "currency": priced.currency}
    amount = Money(priced.amount_minor, priced.currency).major()
    return {"amount": str(amount), "currency": priced.currency}


def _number(said: Mapping[str, str], name: str, most: int) -> int | None:
    text = said.get(name)
    if text is None:
        return None
    if not _NUMBER.fullmatch(text) or not 1 <= int(text) <= most:
        raise errors.Invalid(f"The address is wrong: {name} is a number from 1 to {most}.")
    return int(text)
