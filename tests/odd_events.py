"""Events that are signed and odd: every field of a provider's objects with every odd value in it.

Made as text, since half of what is odd (NaN, lone surrogates, numbers without end) no JSON writer
writes. Pure: who sends them, and what must come of it, is the tests' to say.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

CREATED = 1_772_366_400

# Each stands in the JSON as it is written here.
ODD_VALUES = {
    "null": "null",
    "true": "true",
    "false": "false",
    "zero": "0",
    "minus": "-1",
    "fraction": "10.5",
    "just too much": str(10**12 + 1),
    "2^63": str(2**63),
    "2^70": str(2**70),
    "digits": "9" * 5000,
    "no number": "NaN",
    "infinite": "-Infinity",
    "1e400": "1e400",
    "empty": '""',
    "number as text": '"1000"',
    "NUL": '"us\\u0000"',
    "NUL alone": '"\\u0000"',
    "lone surrogate": '"a\\ud83d"',
    "line break": '"a\\r\\nb"',
    "right to left": '"\\u202egpj.exe"',
    "long": '"' + "x" * 3000 + '"',
    "long and wide": '"' + "\U0001f4b8" * 3000 + '"',
    "path": '"../../v1/customers?limit=1#"',
    "list": "[]",
    "list of odds": '[null, 7, "x", [{}], {"id": 7}]',
    "object": "{}",
    "object with odd id": '{"id": {"id": "\\u0000"}}',
    "deep": "[" * 900 + "]" * 900,
    "too deep": "[" * 5000 + "]" * 5000,
}


@dataclass(frozen=True, slots=True)
class Ids:
    """What the objects are called, and whose they say they are."""

    session: str = "cs_test_odd"
    intent: str = "pi_odd"
    charge: str = "ch_odd"
    refund: str = "re_odd"
    dispute: str = "du_odd"
    reference: str = "01890000-0000-7000-8000-000000000000"


def objects(ids: Ids) -> dict[str, dict[str, Any]]:
    """An object of each kind, as the provider's events carry them, for one paid checkout."""
    metadata = {"bursar_reference": ids.reference}
    common = {"metadata": metadata, "currency": "usd", "customer": "cus_odd", "livemode": False}
    item = {
        "quantity": 1,
        "amount_subtotal": 500,
        "amount_tax": 0,
        "price": {"id": "price_odd", "tax_behavior": "unspecified"},
    }
    session = {
        **common,
        "id": ids.session,
        "object": "checkout.session",
        "mode": "payment",
        "status": "complete",
        "payment_status": "paid",
        "payment_intent": ids.intent,
        "amount_subtotal": 500,
        "amount_total": 500,
        "created": CREATED,
        "customer_details": {"email": "ada@example.com"},
        "total_details": {"amount_discount": 0},
        "line_items": {"data": [item], "has_more": False},
        "url": None,
    }
    charge = {
        **common,
        "id": ids.charge,
        "object": "charge",
        "payment_intent": ids.intent,
        "amount": 500,
        "amount_captured": 500,
        "amount_refunded": 0,
        "captured": True,
        "created": CREATED,
        "receipt_url": "https://pay.example/receipt",
    }
    intent = {
        **common,
        "id": ids.intent,
        "object": "payment_intent",
        "status": "succeeded",
        "amount": 500,
        "amount_received": 500,
        "created": CREATED,
        "latest_charge": ids.charge,
        "last_payment_error": {"code": "card_declined", "decline_code": "generic_decline"},
    }
    refund = {
        **common,
        "metadata": {"bursar_refund": ids.reference},
        "id": ids.refund,
        "object": "refund",
        "status": "succeeded",
        "amount": 100,
        "charge": ids.charge,
        "payment_intent": ids.intent,
        "created": CREATED,
        "reason": "requested_by_customer",
    }
    things = {"session": session, "intent": intent, "charge": charge, "refund": refund}
    return {**things, "dispute": dispute(ids), **catalog(), **renewed(ids)}


def renewed(ids: Ids) -> dict[str, dict[str, Any]]:
    """A subscription and its newest invoice, as the calls answer that ask for all of them."""
    period = {"start": CREATED, "end": CREATED + 2_592_000}
    price = {**catalog()["price"], "id": "price_plan", "unit_amount": 1500}
    item = {
        "id": "si_odd",
        "object": "subscription_item",
        "price": {**price, "recurring": {"interval": "month", "interval_count": 1}},
        "quantity": 1,
        "current_period_start": period["start"],
        "current_period_end": period["end"],
    }
    line = {
        "id": "il_odd",
        "object": "line_item",
        "amount": 1500,
        "quantity": 1,
        "description": "Odd",
        "period": period,
        "pricing": {"price_details": {"price": "price_plan"}},
        "parent": {"subscription_item_details": {"proration": False}},
        "discount_amounts": [{"amount": 300, "discount": "di_odd"}],
    }
    payment = {"payment": {"type": "payment_intent", "payment_intent": ids.intent}}
    invoice = {
        "id": "in_odd",
        "object": "invoice",
        "status": "paid",
        "billing_reason": "subscription_cycle",
        "currency": "usd",
        "number": "ODD-1",
        "created": CREATED,
        "status_transitions": {"finalized_at": CREATED, "paid_at": CREATED},
        "total": 1320,
        "amount_due": 1320,
        "amount_paid": 1320,
        "attempt_count": 1,
        "lines": {"data": [line], "has_more": False},
        "payments": {"data": [{**payment, "status": "paid", "is_default": True}]},
        "discounts": [{"id": "di_odd", "source": {"coupon": "ODD"}, "promotion_code": None}],
        "total_discount_amounts": [{"amount": 300, "discount": "di_odd"}],
        "total_taxes": [{"amount": 120, "tax_behavior": "exclusive"}],
        "parent": {"subscription_details": {"subscription": "sub_odd"}},
        "hosted_invoice_url": "https://pay.example/invoice",
        "next_payment_attempt": None,
    }
    subscription = {
        "id": "sub_odd",
        "object": "subscription",
        "status": "active",
        "currency": "usd",
        "customer": {"id": "cus_odd", "email": "ada@example.com"},
        "metadata": {"bursar_reference": ids.reference},
        "created": CREATED,
        "items": {"data": [item], "has_more": False},
        "cancel_at": None,
        "cancel_at_period_end": False,
        "canceled_at": None,
        "ended_at": None,
        "trial_start": None,
        "trial_end": None,
        "pause_collection": None,
    }
    return {"subscription": subscription, "invoice": invoice}


def catalog() -> dict[str, dict[str, Any]]:
    """What the provider tells of its catalogue, in objects of each kind."""
    made = {"created": CREATED, "livemode": False, "metadata": {"team": "odd"}}
    uses = {"max_redemptions": 50, "times_redeemed": 12}
    coupon = {
        **made,
        **uses,
        "id": "ODD",
        "object": "coupon",
        "name": "Odd",
        "percent_off": 12.5,
        "amount_off": None,
        "currency": None,
        "currency_options": {"eur": {"amount_off": 100}},
        "applies_to": {"products": ["prod_odd"]},
        "redeem_by": CREATED + 1000,
        "valid": True,
    }
    code = {
        **made,
        **uses,
        "id": "promo_odd",
        "object": "promotion_code",
        "active": True,
        "code": "ODD15",
        "customer": None,
        "expires_at": CREATED + 1000,
        "promotion": {"type": "coupon", "coupon": "ODD"},
        "restrictions": {"first_time_transaction": False, "minimum_amount": None},
    }
    product = {**made, "id": "prod_odd", "object": "product", "name": "Odd", "active": True}
    price = {
        **made,
        "id": "price_odd",
        "object": "price",
        "product": "prod_odd",
        "currency": "usd",
        "unit_amount": 500,
        "recurring": {"interval": "month"},
        "active": True,
    }
    return {"coupon": coupon, "promotion_code": code, "product": product, "price": price}


def dispute(ids: Ids) -> dict[str, Any]:
    """A dispute that was lost, of the whole payment."""
    return {
        "metadata": {},
        "id": ids.dispute,
        "object": "dispute",
        "status": "lost",
        "amount": 500,
        "currency": "usd",
        "charge": ids.charge,
        "payment_intent": ids.intent,
        "created": CREATED,
        "reason": "fraudulent",
        "evidence_details": {"due_by": CREATED + 86400},
        "balance_transactions": [],
    }


def kind_of(event_type: str) -> str:
    """Which of `objects` an event of this type carries."""
    for kind in ("refund", "dispute"):
        if f"{kind}." in event_type:
            return kind
    if event_type.startswith("customer.subscription."):
        return "subscription"
    family = event_type.partition(".")[0]
    if family in {*catalog(), "invoice"}:
        return family
    return {"checkout": "session", "payment_intent": "intent"}.get(family, "charge")


def event(event_id: str, event_type: str, thing: object) -> dict[str, Any]:
    """The envelope."""
    return {
        "id": event_id,
        "object": "event",
        "type": event_type,
        "livemode": False,
        "created": CREATED,
        "data": {"object": thing},
    }


def places(thing: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The way to every field inside of a JSON value."""
    inside = thing.items() if isinstance(thing, dict) else enumerate(thing)
    for name, part in inside:
        yield (*at, name)
        if isinstance(part, dict | list):
            yield from places(part, (*at, name))


def with_odd(message: dict[str, Any], place: tuple[Any, ...], odd: str) -> bytes:
    """The message with raw JSON text standing at one place."""
    changed = copy.deepcopy(message)
    inside: Any = changed
    for name in place[:-1]:
        inside = inside[name]
    inside[place[-1]] = "@@odd@@"
    return json.dumps(changed).replace('"@@odd@@"', odd, 1).encode("utf-8")
