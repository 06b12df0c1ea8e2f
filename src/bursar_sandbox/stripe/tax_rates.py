"""Tax rates: those a seller made, and those that automatic tax makes for itself.

Owns their object and routes. Never reckons a tax: `totals` does.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from bursar_sandbox.store import Transaction
from bursar_sandbox.stripe import events, lists, metadata, records
from bursar_sandbox.stripe.call import Call, route
from bursar_sandbox.stripe.errors import StripeError
from bursar_sandbox.stripe.ids import new_id
from bursar_sandbox.stripe.params import Params
from bursar_sandbox.stripe.tax_rules import Rule
from bursar_sandbox.stripe.totals import Rate

_SETTABLE = "active country description display_name jurisdiction metadata state tax_type"
_TYPES = (
    "admissions_tax", "amusement_tax", "attendance_tax", "communications_tax",
    "digital_excise_tax", "entertainment_tax", "get_fund", "gross_receipts_tax", "gst",
    "hospitality_tax", "hst", "igst", "jct", "lease_tax", "luxury_tax",
    "mass_transit_parking_tax", "nhil", "parking_tax", "pst", "qst", "resort_tax",
    "retail_delivery_fee", "rst", "sales_tax", "service_tax", "tourism_tax",
    "utility_users_tax", "vat",
)  # fmt: skip


def create(call: Call) -> dict[str, Any]:
    params = call.params
    params.require("display_name", "inclusive", "percentage")
    rate = _blank(call.tx)
    rate.update(
        inclusive=params.boolean("inclusive"),
        metadata=metadata.merged(params),
        percentage=_percentage(params),
    )
    _set(rate, params)
    records.insert(call.tx, rate)
    events.emit(call.tx, "tax_rate.created", rate)
    return rate


def _blank(tx: Transaction) -> dict[str, Any]:
    return {
        "id": new_id("txr"),
        "object": "tax_rate",
        "active": True,
        "country": None,
        "created": tx.now,
        "description": None,
        "display_name": "",
        "effective_percentage": None,
        "flat_amount": None,
        "inclusive": False,
        "jurisdiction": None,
        "jurisdiction_level": None,
        "livemode": False,
        "metadata": {},
        "percentage": 0,
        "rate_type": None,
        "state": None,
        "tax_type": None,
    }


def _percentage(params: Params) -> float:
    percent = params.decimal("percentage")
    if percent is None or not 0 <= percent <= 100:
        raise StripeError("This value must be between 0 and 100.", param="percentage")
    return plain_number(percent)


def plain_number(number: Decimal) -> float:
    """A decimal as JSON shows it: 19, or 25.5."""
    return int(number) if number == number.to_integral_value() else float(number)


def _set(rate: dict[str, Any], params: Params) -> None:
    if params.given("display_name"):
        rate["display_name"] = params.need_text("display_name", limit=50)
    if params.given("active"):
        rate["active"] = params.boolean("active")
    for name in ("description", "jurisdiction"):
        if name in params:
            rate[name] = params.text(name)
    for name in ("country", "state"):
        if name in params:
            rate[name] = params.text(name, limit=2)
    if "tax_type" in params:
        rate["tax_type"] = params.choice("tax_type", _TYPES)


def retrieve(call: Call) -> dict[str, Any]:
    return records.get(call.tx, "tax_rate", call.ids[0], param="tax_rate", in_path=True)


def update(call: Call) -> dict[str, Any]:
    before = retrieve(call)
    rate = {**before, "metadata": metadata.merged(call.params, before["metadata"])}
    _set(rate, call.params)
    records.replace(call.tx, rate)
    events.emit_update(call.tx, before, rate)
    return rate


def index(call: Call) -> dict[str, Any]:
    query = lists.Query("tax_rate")
    query.flag(call.params, "active", "inclusive")
    return lists.page(call, query)


def automatic(tx: Transaction, rule: Rule, country: str, *, inclusive: bool) -> dict[str, Any]:
    """The rate that automatic tax uses for the place; made on first use, and not for sellers."""
    name = f"tax_rate {country} {rule.state or ''} {rule.percent} {inclusive}"
    known = tx.meta(name)
    if known is not None:
        return records.get(tx, "tax_rate", known)
    percent = plain_number(rule.percent)
    rate = _blank(tx)
    rate.update(
        active=False,
        country=country,
        display_name=rule.name,
        effective_percentage=percent,
        inclusive=inclusive,
        jurisdiction=rule.state or country,
        jurisdiction_level="state" if rule.state else "country",
        percentage=percent,
        rate_type="percentage",
        state=rule.state,
        tax_type=rule.tax_type,
    )
    records.insert(tx, rate)
    tx.remember(name, rate["id"])
    return rate


def reckoned(rate: dict[str, Any], reason: str | None = None) -> Rate:
    """The rate as `totals` takes it."""
    return Rate(rate["id"], Decimal(str(rate["percentage"])), rate["inclusive"], reason)


routes = [
    route("POST", "/v1/tax_rates", create, f"{_SETTABLE} inclusive percentage"),
    route("GET", "/v1/tax_rates", index, f"{lists.PAGING} active inclusive"),
    route("GET", "/v1/tax_rates/*", retrieve),
    route("POST", "/v1/tax_rates/*", update, _SETTABLE),
]
