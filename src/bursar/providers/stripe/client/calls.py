"""One call to Stripe, and the naming of its failures: not taken, refused, or outcome unknown."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import httpx
import stripe

from bursar import errors
from bursar.providers.port import Unusable

A = TypeVar("A")
T = TypeVar("T")


class Caller:
    """What every part of the adapter calls with."""

    def __init__(self, client: stripe.StripeClient) -> None:
        self._client = client


REFUSED_COUPON: dict[str, type[errors.Error]] = {
    "resource_missing": errors.CouponUnknown,
    "coupon_expired": errors.CouponExhausted,
}
"""Why a coupon is refused, by Stripe's code."""


class NoSuchObject(errors.ProviderRejected):
    """The payment provider has no such object."""

    code = "provider_object_missing"


def read(answer: A, translated: Callable[[A], T]) -> T:
    """What an answer says. One that can't be read leaves the outcome unknown, not the event bad."""
    try:
        return translated(answer)
    except Unusable as error:
        raise errors.ProviderUnknown(f"Stripe's answer can't be read: {error}") from error


def once(reference: str) -> Any:
    """The option that makes a call happen once: its idempotency key is ours, for ever."""
    return {"idempotency_key": f"bursar-{reference}"}


async def call(calling: Awaitable[T]) -> T:
    """Run one call and give its failure our name."""
    try:
        return await calling
    except stripe.StripeError as error:
        raise _name_failure(error) from error


def _name_failure(error: stripe.StripeError) -> errors.Error:
    if isinstance(error, stripe.AuthenticationError | stripe.PermissionError):
        return errors.ProviderKeyRefused()
    if isinstance(error, stripe.RateLimitError) or error.http_status == 409:
        return errors.ProviderUnavailable("Stripe is busy; nothing was charged, try again.")
    unsent = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)
    if isinstance(error, stripe.APIConnectionError) and isinstance(error.__cause__, unsent):
        return errors.ProviderUnavailable(
            "Stripe can't be reached; nothing was charged, try again."
        )
    # A refusal of the key's second use proves that there was a first one: its outcome is open.
    refused = isinstance(error, stripe.InvalidRequestError | stripe.CardError)
    if not refused or isinstance(error, stripe.IdempotencyError):
        return errors.ProviderUnknown()
    reason = error.user_message or str(error)
    param = str(getattr(error, "param", None) or "")
    if param.startswith("discounts"):
        why = REFUSED_COUPON.get(error.code or "", errors.CouponNotApplicable)
        return errors.ProviderCouponRefused(f"Stripe: {reason}", why=why)
    if error.code == "resource_missing":
        if param == "customer":
            return errors.ProviderCustomerMissing()
        return NoSuchObject(f"Stripe: {reason}")
    if isinstance(error, stripe.CardError):
        return errors.ProviderCardDeclined(f"Stripe: {reason}")
    return errors.ProviderRejected(f"Stripe refused the request: {reason}")
