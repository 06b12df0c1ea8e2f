"""Failures of a payment provider, by what they mean to the caller."""

from __future__ import annotations

from bursar.errors.families import ProviderRejected, ProviderUnavailable


class ProviderKeyRefused(ProviderUnavailable):
    """The payment provider does not accept this deployment's key: its owner must mend that."""

    code = "provider_key_refused"


class ProviderCustomerMissing(ProviderRejected):
    """The payment provider does not know this customer any more."""

    code = "provider_customer_missing"


class ProviderCardDeclined(ProviderRejected):
    """The customer's card was declined, so nothing was changed."""

    code = "card_declined"


class ProviderCouponRefused(ProviderRejected):
    """The payment provider does not take this coupon for this order."""

    code = "provider_coupon_refused"
