"""Stripe through its official library: the adapter that billing sees.

What it can, verifying and translating stand here, the calls in the modules beside it. Never
decides and never repeats a call under a new idempotency key.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from hashlib import sha256
from typing import Literal

import stripe

from bursar.providers.mirrored import PLAIN, CheckoutTerms
from bursar.providers.port import (
    Capabilities,
    CardForm,
    Facts,
    ProviderName,
    Received,
    Unusable,
)
from bursar.providers.recurring import Recurring
from bursar.providers.stripe import payload, signature, translate
from bursar.providers.stripe.client.captures import Captures
from bursar.providers.stripe.client.catalog import Catalog
from bursar.providers.stripe.client.changes import Changes
from bursar.providers.stripe.client.checkouts import Checkouts
from bursar.providers.stripe.client.customers import Customers
from bursar.providers.stripe.client.intents import Intents
from bursar.providers.stripe.client.links import Links
from bursar.providers.stripe.client.methods import Methods
from bursar.providers.stripe.client.mirror import Mirror
from bursar.providers.stripe.client.payments import Payments
from bursar.providers.stripe.client.portal import Portal

TIMEOUT_SECONDS = 10.0
RETRIES = 2
AMOUNT_MAX_MINOR = 99_999_999

API = "https://api.stripe.com"
HOSTED_ORIGINS = ("https://checkout.stripe.com", "https://billing.stripe.com")
LIBRARY_ORIGIN = "https://js.stripe.com"

# What a page needs that has Stripe's card form in it (docs.stripe.com/security/guide, "CSP").
CARD_FORM = CardForm(
    library_url=f"{LIBRARY_ORIGIN}/v3/",
    script_origins=(LIBRARY_ORIGIN, "https://*.js.stripe.com"),
    frame_origins=(LIBRARY_ORIGIN, "https://*.js.stripe.com", "https://hooks.stripe.com"),
    connect_origins=(API,),
)

# The least that Stripe charges, by settlement in the same currency (docs.stripe.com/currencies).
MINIMUM_MINOR: Mapping[str, int] = {
    "usd": 50, "aed": 200, "aud": 50, "bgn": 100, "brl": 50, "cad": 50, "chf": 50, "czk": 1500,
    "dkk": 250, "eur": 50, "gbp": 30, "hkd": 400, "huf": 17500, "inr": 50, "jpy": 50, "mxn": 1000,
    "myr": 200, "nok": 300, "nzd": 50, "pln": 200, "ron": 200, "sek": 300, "sgd": 50, "thb": 1000,
}  # fmt: skip


RECURRING = Recurring(
    subscriptions=True,
    previews=True,
    pause=True,
    portal=True,
    prorations=("create_prorations", "none", "always_invoice"),
)


def _card_form_at(base: str) -> CardForm:
    """The card form of whoever plays Stripe: all on one origin."""
    return CardForm(f"{base}/v3/", (base,), (base,), (base,))


class Stripe(
    Payments,
    Checkouts,
    Changes,
    Portal,
    Intents,
    Captures,
    Customers,
    Methods,
    Links,
    Catalog,
    Mirror,
):
    """The adapter for Stripe. `mode` says which events are ours: sandbox and test are not live."""

    name: ProviderName = "stripe"

    def __init__(
        self,
        *,
        secret_key: str,
        webhook_secrets: Sequence[str],
        base: str,
        live: bool,
        account: str = "",
        retries: int = RETRIES,
        receipts: bool = False,
        terms: CheckoutTerms = PLAIN,
    ) -> None:
        self._secrets = tuple(webhook_secrets)
        self._mode: Literal["test", "live"] = "live" if live else "test"
        self._account = account
        self._http = stripe.HTTPXClient(timeout=TIMEOUT_SECONDS)
        client = stripe.StripeClient(
            secret_key,
            base_addresses={"api": base},
            http_client=self._http,
            max_network_retries=retries,
        )
        super().__init__(client)
        self.capabilities = Capabilities(
            manual_capture=True,
            free_amount=True,
            hosted_origins=HOSTED_ORIGINS if base == API else (base,),
            minimum_minor=MINIMUM_MINOR,
            maximum_minor=AMOUNT_MAX_MINOR,
            card_form=CARD_FORM if base == API else _card_form_at(base),
            terms=terms,
            receipts=receipts,
            recurring=RECURRING,
        )

    def verify(self, body: bytes, headers: Mapping[str, str]) -> Received:
        """Check the signature. A body that is authentic but unreadable is received all the same.

        Raises errors.NotAuthentic or one of its leaves.
        """
        header = headers.get("stripe-signature")
        signature.verify(body, header, self._secrets, now=time.time())
        kept = {"content-type": headers.get("content-type", ""), "stripe-signature": header or ""}
        message = payload.read_leniently(body)
        event_id = message.get("id")
        return Received(
            provider="stripe",
            account=payload.word(message.get("account") or self._account),
            mode="live" if message.get("livemode") is True else "test",
            event_key=str(event_id) if payload.is_key(event_id) else sha256(body).hexdigest(),
            type=payload.word(message.get("type") or "unreadable"),
            payload=body,
            headers=kept,
        )

    def translate(self, body: bytes) -> Facts:
        """What an event says. Raises Unusable for what is not ours or can't be read."""
        message = payload.read(body)
        if not payload.is_key(message.get("id")):
            raise Unusable("event_id_invalid")
        if message.get("livemode") is not (self._mode == "live"):
            raise Unusable("livemode_mismatch", f"this deployment is in {self._mode} mode")
        if message.get("account") and message["account"] != self._account:
            raise Unusable("account_mismatch", payload.word(message["account"]))
        return translate.event(message)

    async def close(self) -> None:
        await self._http.close_async()  # type: ignore[no-untyped-call]
