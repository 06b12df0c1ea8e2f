"""Scenarios of subscriptions, plans, discounts, the portal and test clocks, by what each causes.

Owns these scenarios; `triggers` has the others and the whole table.
"""

from __future__ import annotations

from typing import Any

from bursar_sandbox.scenario import Caller, Scenario

_BACK = "https://shop.example/account"
_CHANGED = {"metadata[changed]": "yes"}
_DAY = 86_400
_WELL, _BADLY = "pm_card_visa", "pm_card_chargeCustomerFail"
_FROZEN = 1_800_000_000
_TRIAL = {
    "trial_period_days": "7",
    "trial_settings[end_behavior][missing_payment_method]": "pause",
}


def _customer(call: Caller, card: str | None = None, **fields: str) -> str:
    known = {"email": "ada@lovelace.example", "name": "Ada Lovelace", **fields}
    if card is not None:
        known |= {"payment_method": card, "invoice_settings[default_payment_method]": card}
    return str(call("POST", "customers", known)["id"])


def _price(call: Caller) -> str:
    fields = {"currency": "usd", "unit_amount": "2900", "recurring[interval]": "month"}
    return str(call("POST", "prices", {**fields, "product_data[name]": "Pro"})["id"])


def _coupon(call: Caller) -> str:
    return str(call("POST", "coupons", {"percent_off": "20"})["id"])


def _subscribe(call: Caller, customer_id: str, **fields: str) -> Any:
    wanted = {"customer": customer_id, "items[0][price]": _price(call)}
    return call("POST", "subscriptions", {**wanted, **fields})


def _subscribed(call: Caller) -> Any:
    return _subscribe(call, _customer(call, _WELL))


def _refused(call: Caller) -> None:
    _subscribe(call, _customer(call, _BADLY))


def _changed(call: Caller) -> None:
    call("POST", f"subscriptions/{_subscribed(call)['id']}", _CHANGED)


def _canceled(call: Caller) -> None:
    call("DELETE", f"subscriptions/{_subscribed(call)['id']}")


def _trial_ends(call: Caller) -> None:
    _subscribe(call, _customer(call, _WELL), trial_period_days="1")


def _paused(call: Caller) -> Any:
    tried = _subscribe(call, _customer(call), **_TRIAL)
    return call("POST", f"subscriptions/{tried['id']}", {"trial_end": "now"})


def _resumed(call: Caller) -> None:
    paused = _paused(call)
    card = call("POST", f"payment_methods/{_WELL}/attach", {"customer": paused["customer"]})
    payer = {"default_payment_method": card["id"]}
    call("POST", f"subscriptions/{paused['id']}", payer)
    call("POST", f"subscriptions/{paused['id']}/resume", {"billing_cycle_anchor": "now"})


def _discounted(call: Caller) -> Any:
    fields = {"discounts[0][coupon]": _coupon(call)}
    return _subscribe(call, _customer(call), trial_period_days="7", **fields)


def _discount_removed(call: Caller) -> None:
    call("DELETE", f"subscriptions/{_discounted(call)['id']}/discount")


def _discount_changed(call: Caller) -> None:
    """Only a customer's discount gives way to another; calls that name no version can do that."""
    customer_id = _customer(call, coupon=_coupon(call))
    call("POST", f"customers/{customer_id}", {"coupon": _coupon(call)})


def _plan(call: Caller) -> Any:
    fields = {"currency": "usd", "amount": "2900", "interval": "month", "product[name]": "Pro"}
    return call("POST", "plans", fields)


def _plan_changed(call: Caller) -> None:
    call("POST", f"plans/{_plan(call)['id']}", _CHANGED)


def _plan_deleted(call: Caller) -> None:
    call("DELETE", f"plans/{_plan(call)['id']}")


def _configuration(call: Caller) -> Any:
    fields = {"features[invoice_history][enabled]": "true"}
    return call("POST", "billing_portal/configurations", fields)


def _configuration_changed(call: Caller) -> None:
    call("POST", f"billing_portal/configurations/{_configuration(call)['id']}", _CHANGED)


def _portal(call: Caller) -> None:
    call("POST", "billing_portal/sessions", {"customer": _customer(call), "return_url": _BACK})


def _clock(call: Caller) -> Any:
    return call("POST", "test_helpers/test_clocks", {"frozen_time": str(_FROZEN)})


def _advance(call: Caller, clock: Any, days: int) -> None:
    until = {"frozen_time": str(_FROZEN + days * _DAY)}
    call("POST", f"test_helpers/test_clocks/{clock['id']}/advance", until)


def _clock_advanced(call: Caller) -> None:
    _advance(call, _clock(call), 1)


def _clock_deleted(call: Caller) -> None:
    call("DELETE", f"test_helpers/test_clocks/{_clock(call)['id']}")


def _nearly_renewed(call: Caller) -> None:
    """A day before its period ends, on a clock of its own."""
    clock = _clock(call)
    _subscribe(call, _customer(call, _WELL, test_clock=clock["id"]))
    _advance(call, clock, 27)


SCENARIOS: dict[str, Scenario] = {
    "billing_portal.configuration.created": _configuration,
    "billing_portal.configuration.updated": _configuration_changed,
    "billing_portal.session.created": _portal,
    "customer.discount.created": _discounted,
    "customer.discount.deleted": _discount_removed,
    "customer.discount.updated": _discount_changed,
    "customer.subscription.created": _subscribed,
    "customer.subscription.deleted": _canceled,
    "customer.subscription.paused": _paused,
    "customer.subscription.resumed": _resumed,
    "customer.subscription.trial_will_end": _trial_ends,
    "customer.subscription.updated": _changed,
    "invoice.upcoming": _nearly_renewed,
    "plan.created": _plan,
    "plan.deleted": _plan_deleted,
    "plan.updated": _plan_changed,
    "subscription.payment_failed": _refused,
    "subscription.payment_succeeded": _subscribed,
    "test_helpers.test_clock.advancing": _clock_advanced,
    "test_helpers.test_clock.created": _clock,
    "test_helpers.test_clock.deleted": _clock_deleted,
    "test_helpers.test_clock.ready": _clock_advanced,
}
