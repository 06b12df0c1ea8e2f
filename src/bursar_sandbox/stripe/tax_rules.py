"""The tax that the sandbox reckons where a seller asks for automatic tax. All pure.

A rule of the sandbox's own, simple enough to know by heart: the standard rate of the buyer's
country, and in the United States 8 % where the postal code begins with 1, as in New York. Nothing
is collected anywhere else. It advises nobody about taxes.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

_VAT = {
    "AT": "20", "BE": "21", "BG": "20", "CH": "8.1", "CY": "19", "CZ": "21", "DE": "19",
    "DK": "25", "EE": "24", "ES": "21", "FI": "25.5", "FR": "20", "GB": "20", "GR": "24",
    "HR": "25", "HU": "27", "IE": "23", "IT": "22", "LT": "21", "LU": "17", "LV": "21",
    "MT": "18", "NL": "21", "NO": "25", "PL": "23", "PT": "23", "RO": "21", "SE": "25",
    "SI": "22", "SK": "23",
}  # fmt: skip
_GST = {"AU": "10", "NZ": "15"}
_JCT = {"JP": "10"}


@dataclass(frozen=True, slots=True)
class Rule:
    """A place's tax: what it is called, `percent` of 100, and Stripe's words for type and why."""

    name: str
    percent: Decimal
    tax_type: str | None
    reason: str
    state: str | None = None


def rule_of(country: str, postal_code: str = "") -> Rule:
    """The tax of a place; `country` is its two-letter code."""
    if country == "US":
        if postal_code.strip().startswith("1"):
            return Rule("Sales Tax", Decimal(8), "sales_tax", "standard_rated", "NY")
        return Rule("Sales Tax", Decimal(0), "sales_tax", "not_collecting")
    for table, name, kind in ((_VAT, "VAT", "vat"), (_GST, "GST", "gst"), (_JCT, "JCT", "jct")):
        if country in table:
            return Rule(name, Decimal(table[country]), kind, "standard_rated")
    return Rule("Tax", Decimal(0), None, "not_collecting")


def is_inclusive(behavior: str | None, currency: str) -> bool:
    """Whether a price holds its tax already; one that doesn't say goes by its currency."""
    if behavior in ("inclusive", "exclusive"):
        return behavior == "inclusive"
    return currency not in ("usd", "cad")
