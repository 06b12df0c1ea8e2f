"""Conflicts: it exists, and its state forbids the act."""

from __future__ import annotations

from bursar.errors.families import Conflict


class AlreadySubscribed(Conflict):
    """The customer has a subscription of this group of plans: change it instead."""

    code = "already_subscribed"


class SubscriptionNotChangeable(Conflict):
    """The subscription's present state does not allow this."""

    code = "subscription_not_changeable"


class NoCustomer(Conflict):
    """The user has bought nothing yet, so there is nothing to look after at the provider."""

    code = "no_customer"


class IdempotencyKeyInUse(Conflict):
    """A request with this Idempotency-Key is still running."""

    code = "idempotency_key_in_use"


class PaymentNotRefundable(Conflict):
    """The payment is not paid, is disputed, or has gone back already."""

    code = "payment_not_refundable"


class PaymentNotCapturable(Conflict):
    """No money is held for this payment that could be captured or let go now."""

    code = "payment_not_capturable"


class DisputeClosed(Conflict):
    """This dispute is with the bank or decided: nothing can be added to it any more."""

    code = "dispute_closed"


class DisputeBusy(Conflict):
    """Another answer to this dispute is being sent just now."""

    code = "dispute_busy"


class CaseResolved(Conflict):
    """This case is resolved already."""

    code = "case_resolved"


class CaseNotAssignable(Conflict):
    """Only unmatched money can be given to somebody; resolve this case with a note."""

    code = "case_not_assignable"


class CreditsSpent(Conflict):
    """The credits of this payment are spent; send `force` to refund it all the same."""

    code = "credits_spent"


class NotATeam(Conflict):
    """This is a personal account, and only a team has members: name one in Bursar-Customer."""

    code = "not_a_team"


class LastOwner(Conflict):
    """A team keeps an owner: make another member an owner first."""

    code = "last_owner"


class SeatsTaken(Conflict):
    """No seat of the team is free."""

    code = "seats_taken"


class HoldClosed(Conflict):
    """This hold is settled, released or lapsed: nothing is reserved by it any more."""

    code = "hold_closed"


class NotSupported(Conflict):
    """The payment provider can't do this."""

    code = "not_supported"


class PublishableKeyMissing(NotSupported):
    """This deployment has no publishable key, so no card form can be shown."""

    code = "publishable_key_missing"


class VoucherNotValid(Conflict):
    """This voucher is not valid yet, or not any more."""

    code = "voucher_not_valid"


class VoucherUsedUp(Conflict):
    """This voucher was redeemed as often as it can be."""

    code = "voucher_used_up"


class VoucherRedeemed(Conflict):
    """You have redeemed this voucher before."""

    code = "voucher_redeemed"


class VoucherExists(Conflict):
    """Another voucher has this code."""

    code = "voucher_exists"


class CouponExhausted(Conflict):
    """This coupon was used as often as it can be, or is over."""

    code = "coupon_exhausted"


class LimitReached(Conflict):
    """What is left of this feature's limit does not cover this."""

    code = "limit_reached"
