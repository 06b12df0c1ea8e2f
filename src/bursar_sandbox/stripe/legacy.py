"""Events as older API versions told them, for endpoints that are pinned to one.

Owns the moves of fields between versions, as Stripe's changelog dates them; `legacy_billing` has
those of subscriptions and invoices. Objects are kept and answered in the one version of `version`;
what an old version lacked and nobody misses stays in.
Never reckons anew: an old field says what today's objects say elsewhere.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from bursar_sandbox.store import Store
from bursar_sandbox.stripe import events, legacy_billing
from bursar_sandbox.stripe.version import API_VERSION

Object = dict[str, Any]

BASIL, CLOVER, DAHLIA = "2025-03-31", "2025-09-30", "2026-03-25"
_UI_MODES = {"hosted_page": "hosted", "embedded_page": "embedded", "elements": "custom"}


def told(store: Store, event: Object, version: str | None) -> Object:
    """The event as an endpoint of this version gets it; None is the account's own, today's."""
    if version is None or version >= API_VERSION:
        return event
    after = event["data"]["object"]
    data = {**event["data"], "object": _object(store, after, version)}
    if "previous_attributes" in data:
        # What has changed may have stood elsewhere: both states are told, and compared anew.
        before = _object(store, _merged(after, data["previous_attributes"]), version)
        data["previous_attributes"] = events.changes(before, data["object"])
    return {**event, "api_version": version, "data": data}


def _merged(after: Object, former: Object) -> Object:
    """The object as it was, from how it is and the former values of what changed."""
    before = dict(after)
    for name, value in former.items():
        now = after.get(name)
        if isinstance(value, dict) and isinstance(now, dict):
            before[name] = _merged(now, value)
        else:
            before[name] = value
    return before


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


def _ui_mode(store: Store, session: Object) -> None:
    session["ui_mode"] = _UI_MODES.get(session.get("ui_mode", ""), session.get("ui_mode"))


def _shipping(store: Store, session: Object) -> None:
    collected = session.get("collected_information") or {}
    session["shipping_details"] = collected.get("shipping_details")


def _intent(store: Store, intent: Object) -> None:
    intent["invoice"] = legacy_billing.invoice_of(store, intent["id"])
    if intent.get("cancellation_reason") == "expired":
        intent["cancellation_reason"] = "automatic"


def _charge(store: Store, charge: Object) -> None:
    """What a capture in part let go of counted as refunded."""
    charge["invoice"] = legacy_billing.invoice_of(store, charge.get("payment_intent"))
    if charge.get("captured"):
        charge["amount_refunded"] += charge["amount"] - charge["amount_captured"]


_MOVES: dict[str, tuple[tuple[str, Callable[[Store, Object], None]], ...]] = {
    "checkout.session": ((DAHLIA, _ui_mode), (BASIL, _shipping)),
    "payment_intent": ((BASIL, _intent),),
    "charge": ((BASIL, _charge),),
    "subscription": ((BASIL, legacy_billing.subscription),),
    "invoice": ((BASIL, legacy_billing.invoice),),
    "line_item": ((BASIL, legacy_billing.line),),
    "invoiceitem": ((BASIL, legacy_billing.invoice_item),),
    "promotion_code": ((CLOVER, legacy_billing.promotion_code),),
    "discount": ((CLOVER, legacy_billing.discount),),
}
"""By kind of object: which moves a version from before that day has not seen."""
