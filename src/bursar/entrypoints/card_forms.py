"""What API and pages share of card forms: the key for browsers, and the limit of attempts.

Thieves try stolen cards where forms take any number of them, so attempts are counted by the
client's address, whoever is signed in. Knows no route.
"""

from __future__ import annotations

from starlette.requests import Request

from bursar import errors
from bursar.access import limits
from bursar.entrypoints import addresses
from bursar.wiring import Wiring

LIMIT_SCOPE = "payment_intent"


def require_publishable_key(wiring: Wiring) -> str:
    """The key that browsers are given. Raises errors.PublishableKeyMissing."""
    key = wiring.settings.publishable_key
    if not key:
        raise errors.PublishableKeyMissing(
            "No card form can be shown: set STRIPE_PUBLISHABLE_KEY (pk_test_… or pk_live_…, of "
            "the same mode as STRIPE_SECRET_KEY)."
        )
    return key


def subject_of(wiring: Wiring, request: Request) -> str:
    """Whom the limit counts: the client's address, behind the proxies that we trust."""
    trusted = addresses.networks(wiring.settings.trusted_proxies)
    return addresses.subject(request.scope, trusted)


async def count(wiring: Wiring, subject: str) -> None:
    """Hold an address to the limit of payment intents; call it for new ones, not for replays.

    Raises errors.Throttled.
    """
    async with wiring.db.connection() as conn:
        await limits.take(conn, LIMIT_SCOPE, subject, wiring.settings.limit_payment_intent)
