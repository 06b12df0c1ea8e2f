"""Invalid requests: they can never work as they stand."""

from __future__ import annotations

from bursar.errors.families import Invalid


class IdempotencyKeyReused(Invalid):
    """This Idempotency-Key was used before with another request."""

    code = "idempotency_key_reused"


class CurrencyNotSold(Invalid):
    """Nothing is sold in this currency."""

    code = "currency_not_sold"


class AmountOutOfBounds(Invalid):
    """The amount is below the minimum or above the maximum for this currency."""

    code = "amount_out_of_bounds"


class AmountTooSmall(AmountOutOfBounds):
    """The payment provider charges no amount as small as this in this currency."""

    code = "amount_too_small"


class AmountMismatch(Invalid):
    """The amount differs from the price of what is bought."""

    code = "amount_mismatch"


class AmountInMajorUnits(AmountMismatch):
    """The amount is the price in whole units of the currency; send it in minor units."""

    code = "amount_in_major_units"


class DurationNotOffered(Invalid):
    """The plan is not sold for so many months."""

    code = "duration_not_offered"


class IntervalNotOffered(Invalid):
    """The plan is not sold by the month, or not by the year."""

    code = "interval_not_offered"


class UnknownItem(Invalid):
    """The catalogue has no such package, plan or price on sale."""

    code = "unknown_item"


class CouponUnknown(Invalid):
    """There is no such coupon."""

    code = "coupon_unknown"


class CouponNotApplicable(Invalid):
    """This coupon is not for this order."""

    code = "coupon_not_applicable"


class RedirectNotAllowed(Invalid):
    """The redirect address is not on an allowed origin."""

    code = "redirect_not_allowed"


class UnknownUnit(Invalid):
    """The catalogue has no such unit of credits."""

    code = "unknown_unit"


class ReversalExceedsUse(Invalid):
    """More would be given back than is left of this use."""

    code = "reversal_exceeds_use"


class CaptureExceedsHold(Invalid):
    """More would be captured than the hold reserves."""

    code = "capture_exceeds_hold"


class CaptureExceedsAuthorized(Invalid):
    """More would be captured than the buyer's bank holds for this payment."""

    code = "capture_exceeds_authorized"


class CatalogInvalid(Invalid):
    """catalog.toml does not say what it must."""

    code = "catalog_invalid"


class RefundExceedsCaptured(Invalid):
    """The refund is more than what is left of the payment."""

    code = "refund_exceeds_captured"
