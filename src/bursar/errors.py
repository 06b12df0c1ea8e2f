"""The one tree of errors. Codes are stable and part of the contract; HTTP is not known here.

    Error
    ├── NotFound               nothing with that id, or not yours to see
    ├── Conflict               it exists, but its state forbids the act
    ├── Invalid                the request can never work as it stands
    ├── Denied                 known who, not allowed
    ├── Unauthenticated        not known who
    ├── Throttled              too many, try again after `retry_after_seconds`
    ├── InsufficientCredits    the balance does not cover the use
    ├── Unavailable            a part that we need (the database) does not answer
    ├── Misconfigured          this deployment can't run as it is set up
    ├── ProviderUnavailable    the provider did not take the call: try again
    ├── ProviderRejected       the provider refused for good
    └── ProviderUnknown        the call was sent and its outcome is not known: ask, never repeat

Each leaf carries a `code`, a docstring that explains it (docs/reference/errors.md is checked
against it) and a sentence made where it is raised, which says what to do next. One table per
entrypoint turns a family into a status or an exit code.
"""

from __future__ import annotations


class Error(Exception):
    """Something that Bursar refuses or could not do."""

    code = "error"

    def __init__(self, detail: str | None = None, **fields: object) -> None:
        super().__init__(detail or (self.__doc__ or "").strip().splitlines()[0])
        self.detail = str(self.args[0])
        self.fields = fields


class NotFound(Error):
    """There is no such object, or it belongs to somebody else."""

    code = "not_found"


class Conflict(Error):
    """The object's present state does not allow this."""

    code = "conflict"


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


class Invalid(Error):
    """The request is not valid."""

    code = "validation_error"

    def __init__(
        self, detail: str | None = None, *, errors: list[dict[str, str]] | None = None, **f: object
    ) -> None:
        super().__init__(detail, **f)
        self.errors = errors or []


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


class Denied(Error):
    """You are known, but this is not allowed to you."""

    code = "forbidden"


class NotEntitled(Denied):
    """Nothing that this customer has bought or was given has this feature."""

    code = "not_entitled"


class Unauthenticated(Error):
    """Sign in, or send a valid API key as a Bearer token."""

    code = "unauthenticated"


class NotAuthentic(Error):
    """The message is not signed by the provider, or its signature is too old."""

    code = "signature_invalid"


class Throttled(Error):
    """Too many requests; wait before you try again."""

    code = "rate_limited"

    def __init__(self, detail: str | None = None, *, retry_after_seconds: int) -> None:
        super().__init__(detail, retry_after_seconds=retry_after_seconds)
        self.retry_after_seconds = retry_after_seconds


class InsufficientCredits(Error):
    """The balance does not cover this use."""

    code = "insufficient_credits"


class CreditsOwed(InsufficientCredits):
    """Credits are owed for a refund of spent ones, and nothing is used until that is paid."""

    code = "credits_owed"


class Unavailable(Error):
    """A part that Bursar needs does not answer; nothing was lost, try again."""

    code = "unavailable"


class DatabaseUnavailable(Unavailable):
    """PostgreSQL does not answer; nothing was lost, try again."""

    code = "database_unavailable"


class Misconfigured(Error):
    """This deployment can't run with its present settings."""

    code = "misconfigured"


class ModeMismatch(Misconfigured):
    """The database belongs to another mode (sandbox, test or live)."""

    code = "mode_mismatch"


class EmbeddedServerFailed(Misconfigured):
    """The embedded PostgreSQL could not be started."""

    code = "embedded_server_failed"


class MigrationFailed(Misconfigured):
    """The database's schema can't be brought up to date."""

    code = "migration_failed"


class ProviderUnavailable(Error):
    """The payment provider can't be reached; nothing was charged, try again."""

    code = "provider_unavailable"


class ProviderKeyRefused(ProviderUnavailable):
    """The payment provider does not accept this deployment's key: its owner must mend that."""

    code = "provider_key_refused"


class ProviderRejected(Error):
    """The payment provider refused the request."""

    code = "provider_rejected"


class ProviderCustomerMissing(ProviderRejected):
    """The payment provider does not know this customer any more."""

    code = "provider_customer_missing"


class ProviderCouponRefused(ProviderRejected):
    """The payment provider does not take this coupon for this order."""

    code = "provider_coupon_refused"


class ProviderUnknown(Error):
    """The payment provider's answer was lost; we are asking it what happened."""

    code = "provider_unknown"
