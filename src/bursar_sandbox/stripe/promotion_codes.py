"""Promotion codes: the words that buyers type for a coupon.

Owns their object and routes. What a code is good for in a session, `discounts` decides.
"""

from __future__ import annotations

import re
from typing import Any

from bursar_sandbox.store import Transaction
from bursar_sandbox.stripe import coupons, events, lists, metadata, records
from bursar_sandbox.stripe.call import Call, route
from bursar_sandbox.stripe.currencies import check_currency
from bursar_sandbox.stripe.errors import StripeError, missing_parameter, unknown_parameter
from bursar_sandbox.stripe.ids import new_id, random_text
from bursar_sandbox.stripe.params import Params

_CODE = re.compile(r"[A-Za-z0-9-]{1,500}\Z", re.ASCII)


def create(call: Call) -> dict[str, Any]:
    tx, params = call.tx, call.params
    coupon = _coupon(call)
    code = params.text("code", limit=500) or random_text(8).upper()
    if not _CODE.match(code):
        raise StripeError(
            "Invalid promotion code: only letters (a-z, A-Z), digits (0-9) and dashes (-) may be "
            "used.",
            param="code",
        )
    promotion: dict[str, Any] = {
        "id": new_id("promo"),
        "object": "promotion_code",
        "active": params.boolean("active", True),
        "code": code,
        "created": tx.now,
        "customer": _customer(tx, params),
        "customer_account": None,
        "expires_at": _expiry(tx, params, coupon),
        "livemode": False,
        "max_redemptions": _most(params, coupon),
        "metadata": metadata.merged(params),
        "promotion": {"coupon": coupon["id"], "type": "coupon"},
        "restrictions": None,
        "times_redeemed": 0,
    }
    promotion["restrictions"], private = _restrictions(params.table("restrictions"))
    if promotion["active"]:
        _check_free(tx, promotion)
    records.insert(tx, promotion, private)
    if promotion["expires_at"] is not None:
        tx.store.schedule(tx, promotion["expires_at"], "promotion_code.expire", promotion["id"])
    events.emit(tx, "promotion_code.created", promotion)
    return promotion


def _coupon(call: Call) -> dict[str, Any]:
    params = call.params
    table, name = params.table("promotion"), "promotion[coupon]"
    if table is not None:
        table.require("type")
        table.choice("type", ("coupon",))
        coupon_id = table.need_text("coupon")
    elif params.given("coupon"):
        # Stripe's own command-line tool names no version, and speaks as older ones did.
        if call.version is not None:
            raise unknown_parameter("coupon")
        coupon_id, name = params.need_text("coupon"), "coupon"
    else:
        raise missing_parameter("promotion")
    coupon = records.get(call.tx, "coupon", coupon_id, param=name)
    if not coupon["valid"]:
        raise StripeError(f"Coupon expired: {coupon_id}", code="coupon_expired", param=name)
    return coupon


def _customer(tx: Transaction, params: Params) -> str | None:
    customer_id = params.text("customer")
    if customer_id is not None:
        records.get(tx, "customer", customer_id, param="customer")
    return customer_id


def _expiry(tx: Transaction, params: Params, coupon: dict[str, Any]) -> int | None:
    at = coupons.later(tx, params, "expires_at")
    if at is not None and coupon["redeem_by"] is not None and at > coupon["redeem_by"]:
        raise StripeError(
            "`expires_at` must not be after the coupon's `redeem_by`.", param="expires_at"
        )
    return at


def _most(params: Params, coupon: dict[str, Any]) -> int | None:
    most = params.integer("max_redemptions", low=1)
    limit = coupon["max_redemptions"]
    if most is not None and limit is not None and most > limit:
        raise StripeError(
            "`max_redemptions` must not be greater than the coupon's.", param="max_redemptions"
        )
    return most


def _restrictions(table: Params | None) -> tuple[dict[str, Any], dict[str, Any]]:
    """The restrictions as they are shown, and those in other currencies, which are not."""
    given = table or Params({})
    given.allow(
        ("currency_options", "first_time_transaction", "minimum_amount", "minimum_amount_currency")
    )
    least = given.integer("minimum_amount", low=1)
    currency = given.text("minimum_amount_currency")
    if (least is None) != (currency is None):
        missing = "minimum_amount" if least is None else "minimum_amount_currency"
        raise missing_parameter(given.name(missing))
    shown = {
        "first_time_transaction": given.boolean("first_time_transaction"),
        "minimum_amount": least,
        "minimum_amount_currency": currency
        and check_currency(currency, given.name("minimum_amount_currency")),
    }
    options = _options(given)
    if least is not None:
        options[str(shown["minimum_amount_currency"])] = {"minimum_amount": least}
    return shown, {"minimum_amounts": options} if options else {}


def _options(given: Params) -> dict[str, dict[str, int]]:
    table = given.table("currency_options")
    options: dict[str, dict[str, int]] = {}
    for name in table.fields if table is not None else ():
        option = table.table(name) if table is not None else None
        if option is None:
            raise StripeError("Invalid object", param=f"restrictions[currency_options][{name}]")
        least = option.need_integer("minimum_amount", low=1)
        options[check_currency(name, given.name("currency_options"))] = {"minimum_amount": least}
    return options


def _check_free(tx: Transaction, promotion: dict[str, Any]) -> None:
    row = tx.execute(
        "SELECT 1 FROM objects WHERE object = 'promotion_code' AND lower(label) = lower(?)"
        " AND id != ? AND body ->> '$.active' = 1 AND (customer IS NULL OR customer IS ?)",
        (promotion["code"], promotion["id"], promotion["customer"]),
    ).fetchone()
    if row is not None:
        raise StripeError(
            f"An active promotion code with `code: {promotion['code']}` already exists.",
            param="code",
        )


def retrieve(call: Call) -> dict[str, Any]:
    return records.get(call.tx, "promotion_code", call.ids[0], param="promotion_code", in_path=True)


def update(call: Call) -> dict[str, Any]:
    tx, params = call.tx, call.params
    before = retrieve(call)
    promotion = {**before, "metadata": metadata.merged(params, before["metadata"])}
    if params.given("active"):
        promotion["active"] = params.boolean("active")
        if promotion["active"] and not before["active"]:
            _check_revives(tx, promotion)
    table = params.table("restrictions")
    if table is not None:
        table.allow(("currency_options",))
        private = tx.private(promotion["id"])
        private.setdefault("minimum_amounts", {}).update(_options(table))
        records.replace_private(tx, promotion["id"], private)
    records.replace(tx, promotion)
    events.emit_update(tx, before, promotion)
    return promotion


def _check_revives(tx: Transaction, promotion: dict[str, Any]) -> None:
    coupon = tx.find(promotion["promotion"]["coupon"])
    gone = coupon is None or not coupon.get("valid")
    past = promotion["expires_at"] is not None and promotion["expires_at"] <= tx.now
    if gone or past or coupons.is_used_up(promotion):
        raise StripeError(
            "This promotion code can't be activated: it has expired or is used up, or its coupon "
            "is not valid.",
            param="active",
        )
    _check_free(tx, promotion)


def index(call: Call) -> dict[str, Any]:
    params = call.params
    query = lists.Query("promotion_code")
    query.flag(params, "active")
    query.equal(params, "customer", "customer_account")
    if params.given("code"):
        query.add("lower(label) = lower(?)", params.text("code"))
    if params.given("coupon"):
        query.add("body ->> '$.promotion.coupon' = ?", params.text("coupon"))
    return lists.page(call, query)


def find_by_code(tx: Transaction, code: str, customer_id: str | None) -> dict[str, Any] | None:
    """The code that a buyer means, however it is spelled; an active one before others."""
    row = tx.execute(
        "SELECT id FROM objects WHERE object = 'promotion_code' AND lower(label) = lower(?)"
        " AND (customer IS NULL OR customer IS ?)"
        " ORDER BY body ->> '$.active' DESC, customer IS NULL, seq DESC LIMIT 1",
        (code, customer_id),
    ).fetchone()
    return tx.find(row[0]) if row else None


def redeem(tx: Transaction, promotion_id: str) -> None:
    """Count one more use; the last one ends the code."""
    promotion = records.get(tx, "promotion_code", promotion_id)
    promotion["times_redeemed"] += 1
    if coupons.is_used_up(promotion):
        promotion["active"] = False
    records.replace(tx, promotion)


def expire(tx: Transaction, promotion_id: str) -> None:
    """The code's time is over."""
    promotion = records.get(tx, "promotion_code", promotion_id)
    promotion["active"] = False
    records.replace(tx, promotion)


routes = [
    route(
        "POST",
        "/v1/promotion_codes",
        create,
        "active code coupon customer customer_account expires_at max_redemptions metadata "
        "promotion restrictions",
    ),
    route(
        "GET",
        "/v1/promotion_codes",
        index,
        f"{lists.PAGING} active code coupon customer customer_account",
    ),
    route("GET", "/v1/promotion_codes/*", retrieve),
    route("POST", "/v1/promotion_codes/*", update, "active metadata restrictions"),
]
