"""What a checkout session comes to: its lines, discount and taxes, from the first to the last.

Owns the session's amounts and the parts that show how they came about. The arithmetic is
`totals`'s; which discount is good, `discounts` says.
"""

from __future__ import annotations

from typing import Any

from bursar_sandbox.store import Transaction
from bursar_sandbox.stripe import (
    discounts,
    intents,
    line_items,
    records,
    session_intents,
    session_subscriptions,
    tax_rates,
    tax_rules,
    totals,
)
from bursar_sandbox.stripe.currencies import check_charge, step_of
from bursar_sandbox.stripe.errors import StripeError
from bursar_sandbox.stripe.params import Params
from bursar_sandbox.stripe.totals import Line, Sums


def begin(
    tx: Transaction, params: Params, session: dict[str, Any], private: dict[str, Any]
) -> None:
    """Set the amounts of a new session, not stored yet, from its `line_items` in `private`.

    Raises StripeError for a discount or tax that can't be, or an amount that can't be charged.
    """
    items = private["line_items"]
    by_default = session_subscriptions.default_rates(private)
    private["rates"] = {**by_default, **line_items.rates(tx, params, items)}
    if session["automatic_tax"]["enabled"] and private["rates"]:
        raise StripeError(
            "You cannot specify `tax_rates` or `dynamic_tax_rates` when automatic tax is enabled.",
            param="line_items",
        )
    if session["customer"] is not None:
        address = records.get(tx, "customer", session["customer"])["address"] or {}
        private["location"] = _location(address)
    private["discount"] = discounts.asked(tx, params, session, items)
    details = _retotal(tx, session, private)
    _check(session, "line_items")
    _keep_details(tx, items, details)


def _check(session: dict[str, Any], param: str) -> None:
    if session["amount_total"]:
        what = "The Checkout Session's total amount due"
        check_charge(session["amount_total"], session["currency"], what, param)


def _location(address: dict[str, Any]) -> dict[str, str] | None:
    if not address.get("country"):
        return None
    return {name: address.get(name) or "" for name in ("country", "postal_code", "state")}


def locate(tx: Transaction, session: dict[str, Any], address: dict[str, Any]) -> None:
    """Reckon the tax of the place where the buyer is, if the session takes any."""
    private = tx.private(session["id"])
    location = _location(address)
    if location is None or location == private.get("location"):
        return
    dynamic = any(rates["dynamic"] for rates in private.get("rates", {}).values())
    if session["automatic_tax"]["enabled"] or dynamic:
        private["location"] = location
        _change(tx, session, private)


def apply_code(tx: Transaction, session: dict[str, Any], code: str) -> None:
    """Take the code that the buyer has typed. Raises StripeError, and then nothing is changed."""
    if not session["allow_promotion_codes"]:
        raise StripeError(
            "This Checkout Session does not allow promotion codes.", param="promotion_code"
        )
    private = tx.private(session["id"])
    private["discount"] = discounts.typed(tx, code, session, private["line_items"])
    _change(tx, session, private, "promotion_code")


def remove_code(tx: Transaction, session: dict[str, Any]) -> None:
    """Let the buyer's code go again. What the seller gave stays."""
    private = tx.private(session["id"])
    if session["allow_promotion_codes"] and private.get("discount"):
        private["discount"] = None
        _change(tx, session, private)


def change_quantity(
    tx: Transaction, session: dict[str, Any], item_id: str, quantity: int | None
) -> None:
    """Sell as many of an item as the buyer wants; None is what could not be read.

    Raises StripeError, with words for a buyer, for what the seller doesn't allow.
    """
    private = tx.private(session["id"])
    item = next((one for one in private["line_items"] if one["id"] == item_id), None)
    allowed = item and item["adjustable_quantity"]
    if item is None or not allowed or not allowed["enabled"]:
        raise StripeError("The quantity of this item can't be changed.")
    low, high = allowed["minimum"] or 0, allowed["maximum"] or 99
    if quantity is None or not low <= quantity <= high:
        raise StripeError(f"Choose a quantity of {low} to {high}.")
    line_items.set_quantity(tx, item, quantity)
    session_subscriptions.free_at_first(private)
    if not any(one["quantity"] for one in private["line_items"]):
        raise StripeError("Keep at least one item in the order.")
    session["amount_subtotal"] = sum(one["amount_subtotal"] for one in private["line_items"])
    _change(tx, session, private, "line_items")


def discount_name(tx: Transaction, session_id: str) -> str:
    """What buyers call the session's discount: the code, or the coupon's name; empty for none."""
    terms = tx.private(session_id).get("discount")
    if terms is None:
        return ""
    if terms["discount"]["promotion_code"] is not None:
        return str(records.get(tx, "promotion_code", terms["discount"]["promotion_code"])["code"])
    return str(terms["name"])


def withdraw_worthless(tx: Transaction, session: dict[str, Any]) -> StripeError | None:
    """Take back a discount that somebody else has used up meanwhile; why, if there was one."""
    terms = tx.private(session["id"]).get("discount")
    if terms is None:
        return None
    try:
        discounts.check_redeemable(tx, session, terms)
    except StripeError as error:
        private = tx.private(session["id"])
        private["discount"] = None
        _change(tx, session, private)
        return error
    return None


def _change(
    tx: Transaction, session: dict[str, Any], private: dict[str, Any], param: str | None = None
) -> None:
    """Reckon and store the session anew.

    With `param`, an amount that can't be charged is refused, before anything is written: a caller
    that goes on after a refusal reads the session again.
    """
    details = _retotal(tx, session, private)
    if param is not None:
        _check(session, param)
    _keep_details(tx, private["line_items"], details)
    _follow(tx, session)
    records.replace(tx, session)
    records.replace_private(tx, session["id"], private)


def _follow(tx: Transaction, session: dict[str, Any]) -> None:
    """Have an intent of an earlier try ask for the new amount; none is left for nothing to pay."""
    intent = session_intents.of(tx, session)
    if intent is None or intent["object"] != "payment_intent":
        return
    if intent["amount"] == session["amount_total"] or intent["status"] not in intents.CONFIRMABLE:
        return
    if session["amount_total"]:
        intent["amount"] = session["amount_total"]
        records.replace(tx, intent)
    else:
        session_intents.let_go(tx, session)
        session["payment_intent"] = None


def _retotal(
    tx: Transaction, session: dict[str, Any], private: dict[str, Any]
) -> list[dict[str, Any]]:
    """Set the amounts of the session and its items, and nothing in the store.

    Returns what each item shows of its discount and taxes.
    """
    items, terms = private["line_items"], private.get("discount")
    used: dict[str, dict[str, Any]] = {}
    lines = [line_of(tx, session, private, item, used) for item in items]
    off = discounts.off_of(terms, session["currency"]) if terms else None
    sums = totals.reckon(lines, off, step_of(session["currency"]))
    for item, one in zip(items, sums, strict=True):
        item.update(amount_discount=one.discount, amount_tax=one.tax, amount_total=one.total)
    total = sum(one.total for one in sums)
    session.update(
        amount_total=total,
        discounts=discounts.listed(terms),
        payment_status="unpaid" if total else "no_payment_required",
        total_details={
            "amount_discount": sum(one.discount for one in sums),
            "amount_shipping": 0,
            "amount_tax": sum(one.tax for one in sums),
        },
    )
    if session["automatic_tax"]["enabled"]:
        known = private.get("location") is not None
        session["automatic_tax"]["status"] = "complete" if known else "requires_location_inputs"
    private["breakdown"] = _breakdown(sums, terms, used)
    return [_details(one, terms, used) for one in sums]


def line_of(
    tx: Transaction,
    session: dict[str, Any],
    private: dict[str, Any],
    item: dict[str, Any],
    used: dict[str, dict[str, Any]],
) -> Line:
    """The item as `totals` takes it; the rates it needs are put into `used`, by their ids."""
    location = private.get("location")
    found: list[tuple[dict[str, Any], str | None]] = []
    if session["automatic_tax"]["enabled"] and location is not None:
        rule = tax_rules.rule_of(location["country"], location["postal_code"])
        behavior = line_items.tax_behavior(tx, item)
        inclusive = tax_rules.is_inclusive(behavior, item["currency"])
        rate = tax_rates.automatic(tx, rule, location["country"], inclusive=inclusive)
        found.append((rate, rule.reason))
    else:
        rates = private.get("rates", {}).get(item["id"], {"fixed": [], "dynamic": []})
        known = [records.get(tx, "tax_rate", rate_id) for rate_id in rates["dynamic"]]
        found += [(records.get(tx, "tax_rate", rate_id), None) for rate_id in rates["fixed"]]
        found += [(rate, None) for rate in known if location and _is_there(rate, location)]
    used.update({rate["id"]: rate for rate, _ in found})
    return Line(
        item["amount_subtotal"],
        item["price"]["product"],
        tuple(tax_rates.reckoned(rate, reason) for rate, reason in found),
    )


def _is_there(rate: dict[str, Any], location: dict[str, str]) -> bool:
    """Whether a dynamic rate is for the place; a rate without a state is for the whole country."""
    if rate["country"] != location["country"]:
        return False
    return rate["state"] is None or rate["state"] == location["state"]


def _details(
    sums: Sums, terms: discounts.Terms | None, used: dict[str, dict[str, Any]]
) -> dict[str, Any]:
    taken = terms is not None and sums.discount
    return {
        "discounts": [{"amount": sums.discount, "discount": terms["discount"]}]
        if taken and terms
        else [],
        "taxes": [
            {
                "amount": tax.amount,
                "rate": used[tax.rate.id],
                "taxability_reason": tax.rate.reason,
                "taxable_amount": tax.taxable,
            }
            for tax in sums.taxes
        ],
    }


def _breakdown(
    sums: list[Sums], terms: discounts.Terms | None, used: dict[str, dict[str, Any]]
) -> dict[str, Any]:
    taxes: dict[str, dict[str, Any]] = {}
    for one in sums:
        for part in _details(one, terms, used)["taxes"]:
            known = taxes.setdefault(part["rate"]["id"], {**part, "amount": 0, "taxable_amount": 0})
            known["amount"] += part["amount"]
            known["taxable_amount"] += part["taxable_amount"]
    discount = sum(one.discount for one in sums)
    return {
        "discounts": [{"amount": discount, "discount": terms["discount"]}] if terms else [],
        "taxes": list(taxes.values()),
    }


def _keep_details(
    tx: Transaction, items: list[dict[str, Any]], details: list[dict[str, Any]]
) -> None:
    """Keep what items show only when it is asked for; most have nothing to keep."""
    for item, shown in zip(items, details, strict=True):
        if tx.find(item["id"]) is not None:
            records.replace(tx, item)
            records.replace_private(tx, item["id"], shown)
        elif shown["discounts"] or shown["taxes"]:
            records.insert(tx, item, shown)
