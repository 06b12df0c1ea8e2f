"""Coupons. Owns their object, their validity and their routes; `discounts` applies them."""

from __future__ import annotations

from typing import Any

from bursar_sandbox.store import Transaction
from bursar_sandbox.stripe import events, lists, metadata, records, tax_rates
from bursar_sandbox.stripe.call import Call, route
from bursar_sandbox.stripe.currencies import check_currency
from bursar_sandbox.stripe.errors import StripeError, missing_parameter
from bursar_sandbox.stripe.ids import random_text
from bursar_sandbox.stripe.params import Params

_DURATIONS = ("forever", "once", "repeating")
_FAR_SECONDS = 5 * 366 * 24 * 3600


def create(call: Call) -> dict[str, Any]:
    tx, params = call.tx, call.params
    coupon_id = params.text("id", limit=500) or random_text(8)
    if tx.execute("SELECT 1 FROM objects WHERE id = ? AND deleted = 0", (coupon_id,)).fetchone():
        raise StripeError("Coupon already exists.", code="resource_already_exists", param="id")
    private = _private(tx, params)
    coupon = {
        "id": coupon_id,
        "object": "coupon",
        **_taken_off(params),
        "created": tx.now,
        **_duration(params),
        "livemode": False,
        "max_redemptions": params.integer("max_redemptions", low=1),
        "metadata": metadata.merged(params),
        "name": params.text("name", limit=40),
        "redeem_by": later(tx, params, "redeem_by"),
        "times_redeemed": 0,
        "valid": True,
    }
    _add_options(coupon, private, params)
    # A deleted coupon's name is free again; its tombstone gives way.
    tx.execute("DELETE FROM objects WHERE id = ? AND object = 'coupon'", (coupon_id,))
    records.insert(tx, coupon, private)
    if coupon["redeem_by"] is not None:
        tx.store.schedule(tx, coupon["redeem_by"], "coupon.expire", coupon_id)
    events.emit(tx, "coupon.created", coupon)
    return coupon


def _taken_off(params: Params) -> dict[str, Any]:
    amount = params.integer("amount_off", low=1, high=10**12)
    percent = params.decimal("percent_off")
    if amount is not None and percent is not None:
        raise StripeError(
            "You may only specify one of these parameters: amount_off, percent_off.",
            code="parameters_exclusive",
            param="amount_off",
        )
    if amount is None and percent is None:
        raise StripeError(
            "You must specify either `percent_off` or `amount_off`.",
            code="parameter_missing",
            param="percent_off",
        )
    if percent is not None and not 0 < percent <= 100:
        raise StripeError(
            "Invalid percent_off: must be greater than 0 and at most 100.", param="percent_off"
        )
    if amount is not None and not params.given("currency"):
        raise missing_parameter("currency")
    currency = check_currency(params.need_text("currency")) if amount is not None else None
    return {
        "amount_off": amount,
        "currency": currency,
        "percent_off": None if percent is None else tax_rates.plain_number(percent),
    }


def _duration(params: Params) -> dict[str, Any]:
    duration = params.choice("duration", _DURATIONS, "once")
    months = params.integer("duration_in_months", low=1)
    if duration == "repeating" and months is None:
        raise missing_parameter("duration_in_months")
    if duration != "repeating" and months is not None:
        raise StripeError(
            "`duration_in_months` can only be passed when `duration` is `repeating`.",
            param="duration_in_months",
        )
    return {"duration": duration, "duration_in_months": months}


def later(tx: Transaction, params: Params, name: str) -> int | None:
    """A time to come, in seconds; None when not given. Raises StripeError for one that is past."""
    at = params.integer(name)
    if at is not None and not tx.now < at <= tx.now + _FAR_SECONDS:
        raise StripeError(
            f"Invalid {name}: must be a timestamp in the future, at most five years from now.",
            param=params.name(name),
        )
    return at


def _private(tx: Transaction, params: Params) -> dict[str, Any]:
    table = params.table("applies_to")
    if table is None:
        return {}
    products = table.strings("products")
    for place, product_id in enumerate(products):
        records.get(tx, "product", product_id, param=f"applies_to[products][{place}]")
    return {"applies_to": {"products": products}} if products else {}


def _add_options(coupon: dict[str, Any], private: dict[str, Any], params: Params) -> None:
    options = params.table("currency_options")
    if coupon["amount_off"] is None:
        if options is not None:
            raise StripeError(
                "`currency_options` can only be passed with `amount_off`.",
                param="currency_options",
            )
        return
    known = private.setdefault("currency_options", {})
    known[coupon["currency"]] = {"amount_off": coupon["amount_off"]}
    for name in options.fields if options is not None else ():
        option = options.table(name) if options is not None else None
        if option is None:
            raise StripeError("Invalid object", param=f"currency_options[{name}]")
        currency = check_currency(name, "currency_options")
        known[currency] = {"amount_off": option.need_integer("amount_off", low=1)}


def retrieve(call: Call) -> dict[str, Any]:
    return records.get(call.tx, "coupon", call.ids[0], param="coupon", in_path=True)


def update(call: Call) -> dict[str, Any]:
    tx, params = call.tx, call.params
    before = retrieve(call)
    coupon = {**before, "metadata": metadata.merged(params, before["metadata"])}
    if "name" in params:
        coupon["name"] = params.text("name", limit=40)
    private = tx.private(coupon["id"])
    if params.given("currency_options"):
        _add_options(coupon, private, params)
        records.replace_private(tx, coupon["id"], private)
    records.replace(tx, coupon)
    events.emit_update(tx, before, coupon)
    return coupon


def delete(call: Call) -> dict[str, Any]:
    coupon = retrieve(call)
    events.emit(call.tx, "coupon.deleted", coupon)
    _end_codes(call.tx, coupon["id"])
    return records.delete(call.tx, coupon)


def index(call: Call) -> dict[str, Any]:
    return lists.page(call, lists.Query("coupon"))


def redeem(tx: Transaction, coupon_id: str) -> None:
    """Count one more use; with the last one the coupon is worth nothing any more."""
    coupon = tx.find(coupon_id)
    if coupon is None or coupon.get("deleted"):
        return
    coupon["times_redeemed"] += 1
    if is_used_up(coupon):
        coupon["valid"] = False
        _end_codes(tx, coupon_id)
    records.replace(tx, coupon)


def is_used_up(body: dict[str, Any]) -> bool:
    """Whether a coupon, or a promotion code, was redeemed as often as it may be."""
    limit = body["max_redemptions"]
    return limit is not None and body["times_redeemed"] >= limit


def expire(tx: Transaction, coupon_id: str) -> None:
    """The coupon's last moment has come."""
    coupon = tx.find(coupon_id)
    if coupon is None or coupon.get("deleted") or (coupon["redeem_by"] or tx.now + 1) > tx.now:
        return
    coupon["valid"] = False
    _end_codes(tx, coupon_id)
    records.replace(tx, coupon)


def _end_codes(tx: Transaction, coupon_id: str) -> None:
    """A promotion code is active only as long as its coupon is valid."""
    rows = tx.execute(
        "SELECT id FROM objects WHERE object = 'promotion_code'"
        " AND body ->> '$.promotion.coupon' = ? AND body ->> '$.active' = 1",
        (coupon_id,),
    ).fetchall()
    for (promotion_id,) in rows:
        promotion = records.get(tx, "promotion_code", promotion_id)
        records.replace(tx, {**promotion, "active": False})


routes = [
    route(
        "POST",
        "/v1/coupons",
        create,
        "amount_off applies_to currency currency_options duration duration_in_months id "
        "max_redemptions metadata name percent_off redeem_by",
    ),
    route("GET", "/v1/coupons", index, lists.PAGING),
    route("GET", "/v1/coupons/*", retrieve),
    route("POST", "/v1/coupons/*", update, "currency_options metadata name"),
    route("DELETE", "/v1/coupons/*", delete),
]
