"""Events as older API versions told them, for endpoints that are pinned to one.

Owns the moves of fields between versions, as Stripe's changelog dates them. Objects are kept and
answered in the one version of `version`; what an old version lacked and nobody misses stays in.
Never reckons anew: an old field says what today's objects say elsewhere.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import orjson

from bursar_sandbox.store import Store
from bursar_sandbox.stripe.version import API_VERSION

Object = dict[str, Any]

BASIL, CLOVER, DAHLIA = "2025-03-31", "2025-09-30", "2026-03-25"
_UI_MODES = {"hosted_page": "hosted", "embedded_page": "embedded", "elements": "custom"}


def told(store: Store, event: Object, version: str | None) -> Object:
    """The event as an endpoint of this version gets it; None is the account's own, today's."""
    if version is None or version >= API_VERSION:
        return event
    data = {**event["data"], "object": _object(store, event["data"]["object"], version)}
    return {**event, "api_version": version, "data": data}


def _object(store: Store, thing: Object, version: str) -> Object:
    """An object and those inside of it, in an older shape."""
    old = {name: _value(store, value, version) for name, value in thing.items()}
    for since, move in _MOVES.get(str(thing.get("object")), ()):
        if version < since:
            move(store, old)
    return old


def _value(store: Store, value: Any, version: str) -> Any:
    if isinstance(value, dict):
        return _object(store, value, version)
    if isinstance(value, list):
        return [_value(store, part, version) for part in value]
    return value


def _promotion_code(store: Store, code: Object) -> None:
    code["coupon"] = _coupon(store, code.pop("promotion")["coupon"])


def _discount(store: Store, discount: Object) -> None:
    discount["coupon"] = _coupon(store, discount.pop("source")["coupon"])


def _coupon(store: Store, coupon_id: str) -> Object:
    """The coupon stood there whole; deleted ones are kept."""
    row = store.read("SELECT body FROM objects WHERE id = ?", (coupon_id,)).fetchone()
    coupon: Object = orjson.loads(row[0])
    return coupon


def _ui_mode(store: Store, session: Object) -> None:
    session["ui_mode"] = _UI_MODES.get(session.get("ui_mode", ""), session.get("ui_mode"))


def _shipping(store: Store, session: Object) -> None:
    collected = session.get("collected_information") or {}
    session["shipping_details"] = collected.get("shipping_details")


def _intent(store: Store, intent: Object) -> None:
    intent["invoice"] = _invoice_of(store, intent["id"])
    if intent.get("cancellation_reason") == "expired":
        intent["cancellation_reason"] = "automatic"


def _charge(store: Store, charge: Object) -> None:
    """What a capture in part let go of counted as refunded."""
    charge["invoice"] = _invoice_of(store, charge.get("payment_intent"))
    if charge.get("captured"):
        charge["amount_refunded"] += charge["amount"] - charge["amount_captured"]


def _invoice(store: Store, invoice: Object) -> None:
    parent = invoice.get("parent") or {}
    paid = invoice.get("status") == "paid"
    rows = store.read(
        "SELECT body ->> '$.payment.payment_intent' FROM objects"
        " WHERE object = 'invoice_payment' AND body ->> '$.invoice' = ?",
        (invoice["id"],),
    ).fetchall()
    taxes = [tax["amount"] for tax in invoice.get("total_taxes") or ()]
    invoice.update(
        paid=paid,
        payment_intent=rows[-1][0] if rows else None,
        subscription=(parent.get("subscription_details") or {}).get("subscription"),
        tax=sum(taxes) if taxes else None,
    )


def _invoice_of(store: Store, intent_id: str | None) -> str | None:
    rows = store.read(
        "SELECT body ->> '$.invoice' FROM objects"
        " WHERE object = 'invoice_payment' AND body ->> '$.payment.payment_intent' = ?",
        (intent_id,),
    ).fetchall()
    return str(rows[-1][0]) if rows else None


_MOVES: dict[str, tuple[tuple[str, Callable[[Store, Object], None]], ...]] = {
    "checkout.session": ((DAHLIA, _ui_mode), (BASIL, _shipping)),
    "payment_intent": ((BASIL, _intent),),
    "charge": ((BASIL, _charge),),
    "invoice": ((BASIL, _invoice),),
    "promotion_code": ((CLOVER, _promotion_code),),
    "discount": ((CLOVER, _discount),),
}
"""By kind of object: which moves a version from before that day has not seen."""
