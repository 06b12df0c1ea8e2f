"""Addresses and the small parts built on them: billing details, shipping. Pure shapes."""

from __future__ import annotations

from typing import Any

from bursar_sandbox.stripe.params import Params

_SHIPPING = ("address", "carrier", "name", "phone", "tracking_number")
_BILLING = ("address", "email", "name", "phone", "tax_id")
_LINES = ("city", "country", "line1", "line2", "postal_code", "state")


def address(params: Params | None) -> dict[str, Any] | None:
    """An address with all six lines; None when none was given."""
    if params is None:
        return None
    params.allow(_LINES)
    return {line: params.text(line) for line in _LINES}


def merged_address(params: Params | None, before: dict[str, Any] | None) -> dict[str, Any] | None:
    """`before` with the lines that `params` names."""
    if params is None:
        return None
    params.allow(_LINES)
    lines = dict(before) if before else dict.fromkeys(_LINES)
    lines.update({line: params.text(line) for line in _LINES if line in params})
    return lines


def shipping(params: Params | None) -> dict[str, Any] | None:
    """Where goods go; None when not given."""
    if params is None:
        return None
    params.allow(_SHIPPING)
    return {
        "address": address(params.table("address")),
        "carrier": params.text("carrier"),
        "name": params.text("name"),
        "phone": params.text("phone"),
        "tracking_number": params.text("tracking_number"),
    }


def billing_details(params: Params | None, before: dict[str, Any] | None = None) -> dict[str, Any]:
    """Who pays: `before`, or nothing, with what `params` names."""
    details: dict[str, Any] = dict(before) if before else {
        "address": dict.fromkeys(_LINES), "email": None, "name": None, "phone": None,
        "tax_id": None,
    }  # fmt: skip
    if params is None:
        return details
    params.allow(_BILLING)
    if "address" in params:
        details["address"] = merged_address(params.table("address"), details["address"])
    for key in ("email", "name", "phone", "tax_id"):
        if key in params:
            details[key] = params.text(key)
    return details
