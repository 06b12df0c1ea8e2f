"""Discounts of checkout sessions: which coupon or code a session takes, and when it refuses.

Owns the discount's object and the rules of redeeming. It never reckons: `totals` does.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from bursar_sandbox.store import Transaction
from bursar_sandbox.stripe import coupons, promotion_codes, records
from bursar_sandbox.stripe.currencies import shown
from bursar_sandbox.stripe.errors import StripeError, missing_parameter, not_played
from bursar_sandbox.stripe.ids import new_id
from bursar_sandbox.stripe.params import Params
from bursar_sandbox.stripe.totals import Off

Terms = dict[str, Any]
"""What a session keeps of its discount: the `discount` object and the coupon's terms as they were,
so that they outlive a coupon that is deleted: `name`, `percent`, `amounts` by currency, `products`.
"""


def asked(
    tx: Transaction, params: Params, session: dict[str, Any], items: list[dict[str, Any]]
) -> Terms | None:
    """The discount that the call wants; None when it wants none. Raises StripeError."""
    rows = params.rows("discounts")
    if not rows:
        return None
    if params.given("allow_promotion_codes"):
        raise StripeError(
            "You may only specify one of these parameters: allow_promotion_codes, discounts.",
            code="parameters_exclusive",
            param="allow_promotion_codes",
        )
    if len(rows) > 1:
        raise StripeError("You can only apply one discount to a session.", param="discounts")
    row = rows[0]
    row.allow(("coupon", "coupon_data", "promotion_code"))
    if row.given("coupon_data"):
        raise not_played("coupons made for one session", row.name("coupon_data"))
    if row.given("coupon") and row.given("promotion_code"):
        raise StripeError(
            "You may only specify one of these parameters: coupon, promotion_code.",
            code="parameters_exclusive",
            param=row.name("coupon"),
        )
    if row.given("promotion_code"):
        param = row.name("promotion_code")
        promotion = records.get(
            tx, "promotion_code", row.need_text("promotion_code"), param=param,
            word="promotion code",
        )  # fmt: skip
        return _of_promotion(tx, session, items, promotion, param)
    if not row.given("coupon"):
        raise missing_parameter(row.name("coupon"))
    param = row.name("coupon")
    coupon = records.get(tx, "coupon", row.need_text("coupon"), param=param)
    _check_valid(tx, coupon, param)
    return _agreed(tx, session, items, _discount(tx, session, coupon["id"], None), param=param)


def typed(
    tx: Transaction, code: str, session: dict[str, Any], items: list[dict[str, Any]]
) -> Terms:
    """The discount of a code that the buyer has typed. Raises StripeError for a worthless one."""
    promotion = promotion_codes.find_by_code(tx, code, session["customer"])
    if promotion is None:
        raise StripeError(
            f"No such promotion code: '{code}'", code="resource_missing", param="promotion_code"
        )
    return _of_promotion(tx, session, items, promotion, "promotion_code")


def of_customer(tx: Transaction, params: Params, customer_id: str) -> Terms | None:
    """The discount that the call wants a customer to have on whatever is bought; None for none.

    Raises StripeError for a worthless one.
    """
    coupon_id, promotion_id = params.text("coupon"), params.text("promotion_code")
    buyer = {"id": None, "amount_subtotal": 0, "currency": "", "customer": customer_id}
    if promotion_id is not None:
        promotion = records.get(
            tx, "promotion_code", promotion_id, param="promotion_code", word="promotion code"
        )
        _check_promotion(tx, promotion, buyer, "promotion_code")
        coupon_id = promotion["promotion"]["coupon"]
    if coupon_id is None:
        return None
    coupon = records.get(tx, "coupon", coupon_id, param="coupon")
    _check_valid(tx, coupon, "coupon")
    return _terms(tx, _discount(tx, buyer, coupon_id, promotion_id), "coupon")


def _of_promotion(
    tx: Transaction,
    session: dict[str, Any],
    items: list[dict[str, Any]],
    promotion: dict[str, Any],
    param: str,
) -> Terms:
    _check_promotion(tx, promotion, session, param)
    coupon_id = promotion["promotion"]["coupon"]
    discount = _discount(tx, session, coupon_id, promotion["id"])
    return _agreed(tx, session, items, discount, param=param)


def _agreed(
    tx: Transaction,
    session: dict[str, Any],
    items: list[dict[str, Any]],
    discount: dict[str, Any],
    *,
    param: str,
) -> Terms:
    terms = _terms(tx, discount, param)
    _check_fits(terms, session["currency"], items, param)
    return terms


def _terms(tx: Transaction, discount: dict[str, Any], param: str) -> Terms:
    coupon = records.get(tx, "coupon", discount["source"]["coupon"], param=param)
    private = tx.private(coupon["id"])
    products = private.get("applies_to", {}).get("products")
    options = private.get("currency_options", {})
    return {
        "discount": discount,
        "name": coupon["name"] or coupon["id"],
        "percent": coupon["percent_off"],
        "amounts": {currency: option["amount_off"] for currency, option in options.items()},
        "products": products,
    }


def _discount(
    tx: Transaction,
    session: dict[str, Any],
    coupon_id: str,
    promotion_id: str | None,
) -> dict[str, Any]:
    return {
        "id": new_id("di"),
        "object": "discount",
        "checkout_session": session["id"],
        "customer": session["customer"],
        "customer_account": None,
        "end": None,
        "invoice": None,
        "invoice_item": None,
        "promotion_code": promotion_id,
        "source": {"coupon": coupon_id, "type": "coupon"},
        "start": tx.now,
        "subscription": None,
        "subscription_item": None,
    }


def _check_valid(tx: Transaction, coupon: dict[str, Any], param: str) -> None:
    if coupon.get("deleted"):
        raise StripeError(f"No such coupon: '{coupon['id']}'", code="resource_missing", param=param)
    if coupons.is_used_up(coupon):
        raise StripeError(
            f"Coupon {coupon['id']} is used up and cannot be applied.",
            code="coupon_expired",
            param=param,
        )
    if not coupon["valid"] or (coupon["redeem_by"] or tx.now + 1) <= tx.now:
        raise StripeError(f"Coupon expired: {coupon['id']}", code="coupon_expired", param=param)


def _check_promotion(
    tx: Transaction, promotion: dict[str, Any], session: dict[str, Any], param: str
) -> None:
    if coupons.is_used_up(promotion):
        raise _not_redeemed("it has been redeemed the maximum number of times", param)
    if promotion["expires_at"] is not None and promotion["expires_at"] <= tx.now:
        raise StripeError(
            f"Promotion code expired: {promotion['code']}", code="coupon_expired", param=param
        )
    coupon = tx.find(promotion["promotion"]["coupon"])
    if coupon is not None:
        _check_valid(tx, coupon, param)
    if not promotion["active"]:
        raise StripeError("This promotion code is inactive.", param=param)
    if promotion["customer"] not in (None, session["customer"]):
        raise _not_redeemed("it belongs to another customer", param)
    if promotion["restrictions"]["first_time_transaction"] and _bought_before(tx, session):
        raise _not_redeemed("the associated customer has prior transactions", param)
    _check_minimum(tx, promotion, session, param)


def _check_minimum(
    tx: Transaction, promotion: dict[str, Any], session: dict[str, Any], param: str
) -> None:
    least = tx.private(promotion["id"]).get("minimum_amounts")
    if least is None:
        return
    option = least.get(session["currency"])
    if option is None:
        raise _not_redeemed("the purchase is in another currency than its minimum amount", param)
    if session["amount_subtotal"] < option["minimum_amount"]:
        amount = shown(option["minimum_amount"], session["currency"])
        raise _not_redeemed(
            "the associated purchase does not meet the minimum amount requirement of "
            f"{amount}", param,
        )  # fmt: skip


def _not_redeemed(reason: str, param: str) -> StripeError:
    return StripeError(f"This promotion code cannot be redeemed because {reason}.", param=param)


def _bought_before(tx: Transaction, session: dict[str, Any]) -> bool:
    if session["customer"] is None:
        return False
    row = tx.execute(
        "SELECT 1 FROM objects WHERE object = 'charge' AND customer = ?"
        " AND body ->> '$.paid' = 1 LIMIT 1",
        (session["customer"],),
    ).fetchone()
    return row is not None


def _check_fits(terms: Terms, currency: str, items: list[dict[str, Any]], param: str) -> None:
    coupon_id = terms["discount"]["source"]["coupon"]
    if terms["percent"] is None and currency not in terms["amounts"]:
        raise StripeError(
            f"The coupon {coupon_id} cannot be applied to a purchase in {currency}: it takes "
            f"off an amount in {', '.join(terms['amounts'])}.",
            param=param,
        )
    products = terms["products"]
    if products is not None and not {item["price"]["product"] for item in items} & set(products):
        raise StripeError(
            f"The coupon {coupon_id} cannot be applied: it is for none of the products of this "
            "purchase.",
            param=param,
        )


def off_of(terms: Terms, currency: str) -> Off:
    """What the discount takes off, for `totals`."""
    products = terms["products"]
    percent = terms["percent"]
    return Off(
        percent=None if percent is None else Decimal(str(percent)),
        amount=terms["amounts"].get(currency, 0),
        products=None if products is None else frozenset(products),
    )


def listed(terms: Terms | None) -> list[dict[str, Any]]:
    """What a session shows under `discounts`."""
    if terms is None:
        return []
    discount = terms["discount"]
    promotion_id = discount["promotion_code"]
    coupon_id = None if promotion_id else discount["source"]["coupon"]
    return [{"coupon": coupon_id, "promotion_code": promotion_id}]


def check_redeemable(tx: Transaction, session: dict[str, Any], terms: Terms) -> None:
    """Raise StripeError when the last use was taken, or the last moment has passed, meanwhile."""
    promotion_id = terms["discount"]["promotion_code"]
    if promotion_id is not None:
        promotion = records.get(tx, "promotion_code", promotion_id)
        _check_promotion(tx, promotion, session, "promotion_code")
    coupon = tx.find(terms["discount"]["source"]["coupon"])
    if coupon is not None:
        _check_valid(tx, coupon, "discounts")


def redeem(tx: Transaction, terms: Terms) -> None:
    """Count the use of a discount whose session is complete."""
    coupons.redeem(tx, terms["discount"]["source"]["coupon"])
    promotion_id = terms["discount"]["promotion_code"]
    if promotion_id is not None:
        promotion_codes.redeem(tx, promotion_id)
