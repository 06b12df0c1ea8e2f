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

from bursar.errors.conflicts import (
    AlreadySubscribed,
    CaseNotAssignable,
    CaseResolved,
    CouponExhausted,
    CreditsSpent,
    DisputeBusy,
    DisputeClosed,
    HoldClosed,
    IdempotencyKeyInUse,
    LastOwner,
    LimitReached,
    NoCustomer,
    NotATeam,
    NotSupported,
    PaymentNotCapturable,
    PaymentNotRefundable,
    PublishableKeyMissing,
    SeatsTaken,
    SubscriptionNotChangeable,
    VoucherExists,
    VoucherNotValid,
    VoucherRedeemed,
    VoucherUsedUp,
)
from bursar.errors.deployment import (
    DatabaseUnavailable,
    EmbeddedServerFailed,
    MigrationFailed,
    ModeMismatch,
)
from bursar.errors.families import (
    Conflict,
    Denied,
    Error,
    InsufficientCredits,
    Invalid,
    Misconfigured,
    NotAuthentic,
    NotFound,
    ProviderRejected,
    ProviderUnavailable,
    ProviderUnknown,
    Throttled,
    Unauthenticated,
    Unavailable,
)
from bursar.errors.invalid import (
    AmountInMajorUnits,
    AmountMismatch,
    AmountOutOfBounds,
    AmountTooSmall,
    CaptureExceedsAuthorized,
    CaptureExceedsHold,
    CatalogInvalid,
    CouponNotApplicable,
    CouponUnknown,
    CurrencyNotSold,
    DurationNotOffered,
    IdempotencyKeyReused,
    IntervalNotOffered,
    RedirectNotAllowed,
    RefundExceedsCaptured,
    ReversalExceedsUse,
    UnknownItem,
    UnknownUnit,
)
from bursar.errors.providers import (
    ProviderCardDeclined,
    ProviderCouponRefused,
    ProviderCustomerMissing,
    ProviderKeyRefused,
)
from bursar.errors.refusals import (
    CreditsOwed,
    NotEntitled,
)

__all__ = [
    "AlreadySubscribed",
    "AmountInMajorUnits",
    "AmountMismatch",
    "AmountOutOfBounds",
    "AmountTooSmall",
    "CaptureExceedsAuthorized",
    "CaptureExceedsHold",
    "CaseNotAssignable",
    "CaseResolved",
    "CatalogInvalid",
    "Conflict",
    "CouponExhausted",
    "CouponNotApplicable",
    "CouponUnknown",
    "CreditsOwed",
    "CreditsSpent",
    "CurrencyNotSold",
    "DatabaseUnavailable",
    "Denied",
    "DisputeBusy",
    "DisputeClosed",
    "DurationNotOffered",
    "EmbeddedServerFailed",
    "Error",
    "HoldClosed",
    "IdempotencyKeyInUse",
    "IdempotencyKeyReused",
    "InsufficientCredits",
    "IntervalNotOffered",
    "Invalid",
    "LastOwner",
    "LimitReached",
    "MigrationFailed",
    "Misconfigured",
    "ModeMismatch",
    "NoCustomer",
    "NotATeam",
    "NotAuthentic",
    "NotEntitled",
    "NotFound",
    "NotSupported",
    "PaymentNotCapturable",
    "PaymentNotRefundable",
    "ProviderCardDeclined",
    "ProviderCouponRefused",
    "ProviderCustomerMissing",
    "ProviderKeyRefused",
    "ProviderRejected",
    "ProviderUnavailable",
    "ProviderUnknown",
    "PublishableKeyMissing",
    "RedirectNotAllowed",
    "RefundExceedsCaptured",
    "ReversalExceedsUse",
    "SeatsTaken",
    "SubscriptionNotChangeable",
    "Throttled",
    "Unauthenticated",
    "Unavailable",
    "UnknownItem",
    "UnknownUnit",
    "VoucherExists",
    "VoucherNotValid",
    "VoucherRedeemed",
    "VoucherUsedUp",
]
