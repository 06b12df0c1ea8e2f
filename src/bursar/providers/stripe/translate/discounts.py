"""Which coupons and promotion codes a discount is of. Pure."""

from __future__ import annotations

from bursar.providers.stripe.translate import fields
from bursar.providers.stripe.translate.fields import Object

KINDS = ("coupon", "promotion_code")


def names_in(listed: object) -> tuple[str, ...]:
    """`coupon:…` and `promotion_code:…`, sorted; what a person took off by hand has none."""
    named: set[str] = set()
    for entry in listed if isinstance(listed, list) else ():
        if isinstance(entry, dict):
            named.update(_names(entry))
    return tuple(sorted(named))


def _names(discount: Object) -> set[str]:
    # A discount of its own names its coupon in `source`; that of a session still in `coupon`.
    held = {"coupon": fields.part(discount, "source").get("coupon") or discount.get("coupon")}
    held["promotion_code"] = discount.get("promotion_code")
    found = {kind: fields.find_id(held[kind]) for kind in KINDS}
    return {f"{kind}:{name}" for kind, name in found.items() if name is not None}
