"""The voucher code typed on the account page, and what redeeming one gave, in words. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from bursar.billing.catalog import Unit
from bursar.billing.vouchers import Use
from bursar.entrypoints.web.figures import Moment, amount_of, moment

CODE_LENGTH_MAX = 60
"""Longer than any code, with room for what people put between its groups."""


@dataclass(frozen=True, slots=True)
class TypedCode:
    """The code that was typed, and why it gave nothing, if it did not."""

    code: str = ""
    fault: str = ""


@dataclass(frozen=True, slots=True)
class Gain:
    """What a voucher gave: "20 pages", and when they end, if they do."""

    amount: str
    ends: Moment | None


def gain(use: Use, units: Mapping[str, Unit], now: datetime) -> Gain:
    """A use of a voucher in words. A unit that left the catalogue counts without decimals."""
    unit = units.get(use.unit) or Unit(use.unit, use.unit, 0, {}, {})
    ends = moment(use.expires_at, now) if use.expires_at else None
    return Gain(amount_of(use.credits, unit), ends)
