"""For each type of event a scenario that makes it happen, by calls that any shop could make.

Owns the scenarios. It never sends anything itself: each gets a function that does.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from bursar_sandbox import saving_triggers, subscription_triggers
from bursar_sandbox.scenario import Caller, Scenario

_BACK = "https://shop.example/back"
_GOOD_ACCOUNT = "AT611904300234573201"
_BAD_ACCOUNT = "AT861904300235473202"
_LATE_REFUND = "4000000000007726"
_LOST_REFUND = "4000000000005126"


def _customer(call: Caller) -> Any:
    return call("POST", "customers", {"email": "ada@lovelace.example", "name": "Ada Lovelace"})


def _product(call: Caller) -> Any:
    return call("POST", "products", {"name": "Credits"})


def _price(call: Caller) -> Any:
    fields = {"currency": "usd", "unit_amount": "1500", "product_data[name]": "Credits"}
    return call("POST", "prices", fields)


def _change(make: Scenario, path: str, call: Caller) -> None:
    made: Any = make(call)
    call("POST", f"{path}/{made['id']}", {"metadata[changed]": "yes"})


def _remove(make: Scenario, path: str, call: Caller) -> None:
    made: Any = make(call)
    call("DELETE", f"{path}/{made['id']}")


def _attached(call: Caller) -> Any:
    fields = {"customer": _customer(call)["id"]}
    return call("POST", "payment_methods/pm_card_visa/attach", fields)


def _detached(call: Caller) -> None:
    call("POST", f"payment_methods/{_attached(call)['id']}/detach")


def _intent(method: str, call: Caller, **fields: str) -> Any:
    """A payment intent over 20.00 USD, confirmed with a payment method."""
    given = {"amount": "2000", "currency": "usd", "payment_method": method, "confirm": "true"}
    return call("POST", "payment_intents", {**given, "return_url": _BACK, **fields})


def _card(number: str, call: Caller) -> str:
    fields = {"type": "card", "card[number]": number, "card[cvc]": "123"}
    expiry = {"card[exp_month]": "12", "card[exp_year]": "2040"}
    return str(call("POST", "payment_methods", {**fields, **expiry})["id"])


def _open_intent(call: Caller) -> Any:
    return call("POST", "payment_intents", {"amount": "2000", "currency": "usd"})


def _canceled(call: Caller) -> None:
    call("POST", f"payment_intents/{_open_intent(call)['id']}/cancel")


def _held(call: Caller) -> Any:
    return _intent("pm_card_visa", call, capture_method="manual")


def _captured(call: Caller) -> None:
    call("POST", f"payment_intents/{_held(call)['id']}/capture")


def _disputed(call: Caller) -> Any:
    paid = _intent("pm_card_createDispute", call)
    return call("GET", f"disputes?payment_intent={paid['id']}")["data"][0]


def _dispute_closed(call: Caller) -> None:
    call("POST", f"disputes/{_disputed(call)['id']}/close")


def _dispute_won(call: Caller) -> None:
    fields = {"evidence[uncategorized_text]": "winning_evidence"}
    call("POST", f"disputes/{_disputed(call)['id']}", fields)


def _charge_changed(call: Caller) -> None:
    paid = _intent("pm_card_visa", call)
    call("POST", f"charges/{paid['latest_charge']}", {"metadata[changed]": "yes"})


def _refund(number: str, call: Caller) -> Any:
    paid = _intent(_card(number, call), call)
    return call("POST", "refunds", {"payment_intent": paid["id"]})


def _refund_changed(call: Caller) -> None:
    call("POST", f"refunds/{_refund('4242424242424242', call)['id']}", {"metadata[changed]": "yes"})


def _session(call: Caller, **fields: str) -> Any:
    """An open checkout session over two things for 15 each."""
    given = {
        "mode": "payment",
        "success_url": "https://shop.example/thanks",
        "line_items[0][price_data][currency]": "usd",
        "line_items[0][price_data][unit_amount]": "1500",
        "line_items[0][price_data][product_data][name]": "Credits",
        "line_items[0][quantity]": "2",
    }
    return call("POST", "checkout/sessions", {**given, **fields})


def _pay(session: dict[str, Any], method: dict[str, Any], call: Caller) -> None:
    fields = {"payment_method": method["id"]}
    call("POST", f"payment_pages/{session['id']}/confirm", fields)


_BUYER = {
    "billing_details[email]": "ada@lovelace.example",
    "billing_details[name]": "Ada Lovelace",
}


def _session_paid(call: Caller) -> None:
    session = _session(call)
    fields = {"type": "card", "card[token]": "tok_visa", **_BUYER}
    _pay(session, call("POST", "payment_methods", fields), call)


def _session_debited(account: str, call: Caller) -> None:
    in_euros = {"line_items[0][price_data][currency]": "eur"}
    session = _session(call, **in_euros, **{"payment_method_types[0]": "sepa_debit"})
    fields = {"type": "sepa_debit", "sepa_debit[iban]": account, **_BUYER}
    _pay(session, call("POST", "payment_methods", fields), call)


def _session_expired(call: Caller) -> None:
    call("POST", f"checkout/sessions/{_session(call)['id']}/expire")


def _coupon(call: Caller) -> Any:
    return call("POST", "coupons", {"percent_off": "20"})


def _code(call: Caller) -> Any:
    fields = {"promotion[type]": "coupon", "promotion[coupon]": _coupon(call)["id"]}
    return call("POST", "promotion_codes", fields)


def _tax_rate(call: Caller) -> Any:
    fields = {"display_name": "VAT", "percentage": "19", "inclusive": "false", "country": "DE"}
    return call("POST", "tax_rates", fields)


SCENARIOS: dict[str, Scenario] = {
    **saving_triggers.SCENARIOS,
    **subscription_triggers.SCENARIOS,
    "balance.available": partial(_intent, "pm_card_bypassPending"),
    "charge.captured": _captured,
    "charge.dispute.closed": _dispute_closed,
    "charge.dispute.created": _disputed,
    "charge.dispute.funds_reinstated": _dispute_won,
    "charge.dispute.funds_withdrawn": _disputed,
    "charge.dispute.updated": partial(_change, _disputed, "disputes"),
    "charge.failed": partial(_intent, "pm_card_chargeDeclined"),
    "charge.pending": partial(_session_debited, _GOOD_ACCOUNT),
    "charge.refund.updated": _refund_changed,
    "charge.refunded": partial(_refund, "4242424242424242"),
    "charge.succeeded": partial(_intent, "pm_card_visa"),
    "charge.updated": _charge_changed,
    "checkout.session.async_payment_failed": partial(_session_debited, _BAD_ACCOUNT),
    "checkout.session.async_payment_succeeded": partial(_session_debited, _GOOD_ACCOUNT),
    "checkout.session.completed": _session_paid,
    "checkout.session.expired": _session_expired,
    "coupon.created": _coupon,
    "coupon.deleted": partial(_remove, _coupon, "coupons"),
    "coupon.updated": partial(_change, _coupon, "coupons"),
    "customer.created": _customer,
    "customer.deleted": partial(_remove, _customer, "customers"),
    "customer.updated": partial(_change, _customer, "customers"),
    "payment_intent.amount_capturable_updated": _held,
    "payment_intent.canceled": _canceled,
    "payment_intent.created": _open_intent,
    "payment_intent.payment_failed": partial(_intent, "pm_card_chargeDeclined"),
    "payment_intent.processing": partial(_session_debited, _GOOD_ACCOUNT),
    "payment_intent.requires_action": partial(_intent, "pm_card_threeDSecure2Required"),
    "payment_intent.succeeded": partial(_intent, "pm_card_visa"),
    "payment_method.attached": _attached,
    "payment_method.detached": _detached,
    "price.created": _price,
    "price.updated": partial(_change, _price, "prices"),
    "product.created": _product,
    "product.deleted": partial(_remove, _product, "products"),
    "product.updated": partial(_change, _product, "products"),
    "promotion_code.created": _code,
    "promotion_code.updated": partial(_change, _code, "promotion_codes"),
    "radar.early_fraud_warning.created": partial(_intent, "pm_card_createIssuerFraudRecord"),
    "refund.created": partial(_refund, "4242424242424242"),
    "refund.failed": partial(_refund, _LOST_REFUND),
    "refund.updated": partial(_refund, _LATE_REFUND),
    "tax_rate.created": _tax_rate,
    "tax_rate.updated": partial(_change, _tax_rate, "tax_rates"),
}
_EVENTS = {
    "subscription.payment_failed": "invoice.payment_failed",
    "subscription.payment_succeeded": "invoice.payment_succeeded",
}


def event_of(name: str) -> str:
    """The type of the event that a scenario is about: its name, but for two old names."""
    return _EVENTS.get(name, name)
