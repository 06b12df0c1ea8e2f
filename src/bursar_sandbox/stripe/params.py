"""Reads typed values out of decoded parameters, and refuses in Stripe's words.

Owns types and limits of single values; never knows a resource.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from decimal import Decimal, InvalidOperation
from typing import Any

from bursar_sandbox.stripe.errors import StripeError, missing_parameter, unknown_parameter

_INTEGER = re.compile(r"-?\d{1,18}\Z")
_BOOLEANS = {"true": True, "false": False, "1": True, "0": False}


class Params:
    """One level of parameters; `path` is how error answers call it."""

    __slots__ = ("fields", "path")

    def __init__(self, fields: dict[str, Any], path: str = "") -> None:
        self.fields = fields
        self.path = path

    def __contains__(self, key: str) -> bool:
        return key in self.fields

    def name(self, key: str) -> str:
        """The full name of a parameter, such as `line_items[0][price]`."""
        return f"{self.path}[{key}]" if self.path else key

    def given(self, key: str) -> bool:
        """Whether it was sent with a value (an empty one means: unset it)."""
        return bool(self.fields.get(key, "") != "")

    def allow(self, keys: Iterable[str]) -> None:
        """Raise StripeError for a parameter outside `keys`."""
        for key in self.fields:
            if key not in keys:
                raise unknown_parameter(self.name(key))

    def require(self, *keys: str) -> None:
        """Raise StripeError for the first of `keys` that was not sent."""
        for key in keys:
            if key not in self.fields:
                raise missing_parameter(self.name(key))

    def text(self, key: str, *, limit: int = 5000) -> str | None:
        """A text; None when absent or unset."""
        value = self.fields.get(key)
        if value is None or value == "":
            return None
        if not isinstance(value, str):
            raise StripeError("Invalid string: {...}", param=self.name(key))
        if len(value) > limit:
            raise StripeError(
                f"Invalid string: {value[:20]}...; must be at most {limit} characters",
                param=self.name(key),
            )
        return value

    def need_text(self, key: str, *, limit: int = 5000) -> str:
        """A text that must be there and not empty."""
        self.require(key)
        value = self.text(key, limit=limit)
        if value is None:
            raise StripeError(
                f"You passed an empty string for '{self.name(key)}'. We assume empty values are an "
                f"attempt to unset a parameter; however '{self.name(key)}' cannot be unset. You "
                f"should remove '{self.name(key)}' from your request or supply a non-empty value.",
                code="parameter_invalid_empty",
                param=self.name(key),
            )
        return value

    def integer(self, key: str, *, low: int | None = None, high: int | None = None) -> int | None:
        """A whole number within its bounds; None when absent or unset."""
        value = self.fields.get(key)
        if value is None or value == "":
            return None
        if not isinstance(value, str) or not _INTEGER.match(value):
            shown = value if isinstance(value, str) else "{...}"
            raise self._bad_integer(key, f"Invalid integer: {shown[:40]}")
        number = int(value)
        if low is not None and number < low:
            raise self._bad_integer(key, f"This value must be greater than or equal to {low}.")
        if high is not None and number > high:
            raise self._bad_integer(key, f"This value must be less than or equal to {high}.")
        return number

    def _bad_integer(self, key: str, message: str) -> StripeError:
        return StripeError(message, code="parameter_invalid_integer", param=self.name(key))

    def need_integer(self, key: str, *, low: int | None = None, high: int | None = None) -> int:
        """A whole number that must be there."""
        self.require(key)
        value = self.integer(key, low=low, high=high)
        if value is None:
            raise self._bad_integer(key, "Invalid integer: ")
        return value

    def decimal(self, key: str) -> Decimal | None:
        """A decimal number of at most twelve places; None when absent or unset."""
        value = self.text(key, limit=40)
        if value is None:
            return None
        try:
            number = Decimal(value)
        except InvalidOperation:
            number = Decimal("NaN")
        if not number.is_finite() or abs(number) >= 10**12 or -_exponent(number) > 12:
            raise StripeError(f"Invalid decimal: {value}", param=self.name(key))
        return number

    def boolean(self, key: str, default: bool = False) -> bool:
        """True or false; `default` when absent or unset."""
        value = self.fields.get(key)
        if value is None or value == "":
            return default
        if not isinstance(value, str) or value.lower() not in _BOOLEANS:
            shown = value if isinstance(value, str) else "{...}"
            raise StripeError(f"Invalid boolean: {shown[:40]}", param=self.name(key))
        return _BOOLEANS[value.lower()]

    def choice(self, key: str, options: tuple[str, ...], default: str | None = None) -> str | None:
        """One of `options`; `default` when absent or unset."""
        value = self.text(key)
        if value is None:
            return default
        if value not in options:
            allowed = ", ".join(options[:-1]) + f", or {options[-1]}" if options[1:] else options[0]
            raise StripeError(
                f"Invalid {self.name(key)}: must be one of {allowed}", param=self.name(key)
            )
        return value

    def table(self, key: str) -> Params | None:
        """A nested level; None when absent or unset."""
        value = self.fields.get(key)
        if value is None or value == "":
            return None
        if not isinstance(value, dict):
            raise StripeError("Invalid object", param=self.name(key))
        return Params(value, self.name(key))

    def strings(self, key: str) -> list[str]:
        """A list of texts, empty when absent."""
        values = self._list(key)
        if not all(isinstance(value, str) for _, value in values):
            raise StripeError("Invalid array", param=self.name(key))
        return [value for _, value in values if value != ""]

    def rows(self, key: str) -> list[Params]:
        """A list of nested levels, empty when absent."""
        rows = []
        for index, value in self._list(key):
            if not isinstance(value, dict):
                raise StripeError("Invalid object", param=f"{self.name(key)}[{index}]")
            rows.append(Params(value, f"{self.name(key)}[{index}]"))
        return rows

    def _list(self, key: str) -> list[tuple[str, Any]]:
        value = self.fields.get(key)
        if value is None or value == "":
            return []
        if not isinstance(value, dict) or not all(index.isdecimal() for index in value):
            raise StripeError("Invalid array", param=self.name(key))
        return sorted(value.items(), key=lambda pair: int(pair[0]))


def _exponent(number: Decimal) -> int:
    exponent = number.normalize().as_tuple().exponent
    return exponent if isinstance(exponent, int) else 0
