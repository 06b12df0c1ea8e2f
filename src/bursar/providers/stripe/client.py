"""Calls to Stripe through its official library, and the adapter that billing sees.

Owns the naming of Stripe's failures: not taken, refused, or outcome unknown. Never decides and
never repeats a call under a new idempotency key.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any, Literal, TypeVar, cast

import httpx
import stripe

from bursar import errors
from bursar.providers.port import (
    Capabilities,
    CheckoutOrder,
    CustomerOrder,
    Facts,
    FoundPrice,
    Ignored,
    OpenedCheckout,
    OrderLine,
    PaymentFacts,
    PriceOrder,
    ProductOrder,
    ProviderName,
    Received,
    RefundOrder,
    Unusable,
)
from bursar.providers.stripe import payload, signature, translate

TIMEOUT_SECONDS = 10.0
RETRIES = 2
AMOUNT_MAX_MINOR = 99_999_999
T = TypeVar("T")

HOSTED_ORIGIN = "https://checkout.stripe.com"

# The least that Stripe charges, by settlement in the same currency (docs.stripe.com/currencies).
MINIMUM_MINOR: Mapping[str, int] = {
    "usd": 50, "aed": 200, "aud": 50, "bgn": 100, "brl": 50, "cad": 50, "chf": 50, "czk": 1500,
    "dkk": 250, "eur": 50, "gbp": 30, "hkd": 400, "huf": 17500, "inr": 50, "jpy": 50, "mxn": 1000,
    "myr": 200, "nok": 300, "nzd": 50, "pln": 200, "ron": 200, "sek": 300, "sgd": 50, "thb": 1000,
}  # fmt: skip


class Stripe:
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
    ) -> None:
        self._secrets = tuple(webhook_secrets)
        self._mode: Literal["test", "live"] = "live" if live else "test"
        self._account = account
        self._http = stripe.HTTPXClient(timeout=TIMEOUT_SECONDS)
        self._client = stripe.StripeClient(
            secret_key,
            base_addresses={"api": base},
            http_client=self._http,
            max_network_retries=retries,
        )
        hosted = HOSTED_ORIGIN if base == "https://api.stripe.com" else base
        self.capabilities = Capabilities(
            manual_capture=True,
            free_amount=True,
            hosted_origins=(hosted,),
            minimum_minor=MINIMUM_MINOR,
            maximum_minor=AMOUNT_MAX_MINOR,
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

    async def fetch_payment(
        self, *, session_id: str | None, payment_intent_id: str | None, reference: str | None
    ) -> list[PaymentFacts]:
        """The session with its lines, and the intent with its charge, as they are now."""
        facts: list[Facts] = []
        if session_id is None and payment_intent_id is not None:
            listed = await _call(
                self._client.v1.checkout.sessions.list_async(
                    {"payment_intent": payment_intent_id, "limit": 1}
                )
            )
            session_id = listed.data[0].id if listed.data else None
        if session_id is not None:
            session = await _call(
                self._client.v1.checkout.sessions.retrieve_async(
                    session_id, {"expand": ["line_items", "payment_intent.latest_charge"]}
                )
            )
            facts += _read(session.to_dict(), _session_and_intent)
        elif payment_intent_id is not None:
            try:
                intent = await _call(
                    self._client.v1.payment_intents.retrieve_async(
                        payment_intent_id, {"expand": ["latest_charge"]}
                    )
                )
            except NoSuchObject:
                # A message may name what never was; a session of ours that is missing is no such.
                return []
            facts += _read(intent.to_dict(), lambda found: [translate.intent_answer(found)])
        intent_id = payment_intent_id or next(
            (f.payment_intent_id for f in facts if isinstance(f, PaymentFacts)), None
        )
        if intent_id is not None and any(
            isinstance(fact, PaymentFacts) and fact.incomplete for fact in facts
        ):
            with contextlib.suppress(NoSuchObject):
                facts += await self.list_refunds(intent_id)
        return [fact for fact in facts if not isinstance(fact, Ignored)]

    async def list_refunds(self, payment_intent_id: str) -> list[PaymentFacts]:
        listed = await _call(
            self._client.v1.refunds.list_async({"payment_intent": payment_intent_id, "limit": 100})
        )
        if listed.has_more:
            # A list that is not whole proves nothing of what is not in it.
            raise errors.ProviderUnknown("Stripe lists more refunds than can be read at once.")
        facts = _read(listed.to_dict(), lambda found: translate.refunds_answer(found["data"]))
        return [fact for fact in facts if isinstance(fact, PaymentFacts)]

    async def find_checkout(
        self, reference: str, provider_customer_id: str
    ) -> OpenedCheckout | None:
        listed = await _call(
            self._client.v1.checkout.sessions.list_async(
                {"customer": provider_customer_id, "limit": 100}
            )
        )
        for session in listed.data:
            if session.client_reference_id == reference and session.url:
                return _opened(session)
        if listed.has_more:
            raise errors.ProviderUnknown("Stripe lists more sessions than can be read at once.")
        return None

    async def create_customer(self, order: CustomerOrder) -> str:
        params: dict[str, Any] = {
            "metadata": {**order.metadata, translate.REFERENCE: order.reference}
        }
        if order.email:
            params["email"] = order.email
        if order.name:
            params["name"] = order.name
        customer = await _call(
            self._client.v1.customers.create_async(cast("Any", params), _once(order.reference))
        )
        return customer.id

    async def find_customer(self, order: CustomerOrder) -> str | None:
        params: dict[str, Any] = {"limit": 100}
        if order.email:
            params["email"] = order.email
        listed = await _call(self._client.v1.customers.list_async(cast("Any", params)))
        for customer in listed.data:
            if (customer.to_dict().get("metadata") or {}).get(
                translate.REFERENCE
            ) == order.reference:
                return customer.id
        return None

    async def create_checkout(self, order: CheckoutOrder) -> OpenedCheckout:
        metadata = {**order.metadata, translate.REFERENCE: order.reference}
        intent_data: dict[str, Any] = {"metadata": metadata}
        if order.description:
            intent_data["description"] = order.description
        if order.capture_method == "manual":
            intent_data["capture_method"] = "manual"
        params: dict[str, Any] = {
            "mode": "payment",
            "customer": order.provider_customer_id,
            "client_reference_id": order.reference,
            "line_items": [_line(line, order.currency) for line in order.lines],
            "success_url": order.success_url,
            "cancel_url": order.cancel_url,
            "metadata": metadata,
            "payment_intent_data": intent_data,
        }
        session = await _call(
            self._client.v1.checkout.sessions.create_async(
                cast("Any", params), _once(order.reference)
            )
        )
        if not session.url:
            raise errors.ProviderRejected("Stripe opened the session without an address to pay at.")
        return _opened(session)

    async def create_refund(self, order: RefundOrder) -> PaymentFacts:
        params: dict[str, Any] = {
            "payment_intent": order.payment_intent_id,
            "amount": order.amount_minor,
            "metadata": {translate.REFUND_REFERENCE: order.reference},
        }
        if order.reason:
            params["reason"] = order.reason
        refund = await _call(
            self._client.v1.refunds.create_async(cast("Any", params), _once(order.reference))
        )
        answer = refund.to_dict()
        at = datetime.fromtimestamp(answer["created"], UTC)
        [facts] = _read(answer, lambda found: [translate.refund_changed(found, at)])
        if not isinstance(facts, PaymentFacts):
            raise errors.ProviderUnknown()
        return facts

    async def put_product(self, order: ProductOrder) -> None:
        fields: dict[str, Any] = {
            "name": order.name,
            "metadata": dict(order.metadata),
            "active": True,
            "description": order.description or "",
        }
        try:
            await _call(
                self._client.v1.products.update_async(order.product_id, cast("Any", fields))
            )
        except NoSuchObject:
            if not order.description:
                del fields["description"]
            fields["id"] = order.product_id
            await _call(self._client.v1.products.create_async(cast("Any", fields)))

    async def find_price(self, lookup_key: str) -> FoundPrice | None:
        listed = await _call(
            self._client.v1.prices.list_async(
                {"lookup_keys": [lookup_key], "active": True, "limit": 1}
            )
        )
        if not listed.data:
            return None
        price = listed.data[0].to_dict()
        recurring = price.get("recurring") or {}
        return FoundPrice(
            price_id=price["id"],
            product_id=price["product"],
            currency=price["currency"],
            amount_minor=price.get("unit_amount"),
            recurring=recurring.get("interval"),
        )

    async def create_price(self, order: PriceOrder) -> str:
        params: dict[str, Any] = {
            "product": order.product_id,
            "currency": order.currency,
            "unit_amount": order.amount_minor,
            "lookup_key": order.lookup_key,
            "transfer_lookup_key": True,
            "metadata": dict(order.metadata),
        }
        if order.recurring:
            params["recurring"] = {"interval": order.recurring}
        price = await _call(
            self._client.v1.prices.create_async(cast("Any", params), _once(order.reference))
        )
        return price.id

    async def archive_price(self, price_id: str) -> None:
        # One that is not there is off sale already (a sandbox was reset, say).
        with contextlib.suppress(NoSuchObject):
            await _call(self._client.v1.prices.update_async(price_id, {"active": False}))

    async def close(self) -> None:
        await self._http.close_async()  # type: ignore[no-untyped-call]


class NoSuchObject(errors.ProviderRejected):
    """The payment provider has no such object."""

    code = "provider_object_missing"


def _session_and_intent(session: dict[str, Any]) -> list[Facts]:
    facts = [translate.session_answer(session)]
    if isinstance(session.get("payment_intent"), dict):
        facts.append(translate.intent_answer(session["payment_intent"]))
    return facts


def _read(
    answer: dict[str, Any], translated: Callable[[dict[str, Any]], list[Facts]]
) -> list[Facts]:
    """What an answer says. One that can't be read leaves the outcome unknown, not the event bad."""
    try:
        return translated(answer)
    except Unusable as error:
        raise errors.ProviderUnknown(f"Stripe's answer can't be read: {error}") from error


def _opened(session: stripe.checkout.Session) -> OpenedCheckout:
    return OpenedCheckout(
        session_id=session.id,
        url=session.url or "",
        expires_at=datetime.fromtimestamp(session.expires_at, UTC),
        payment_intent_id=session.to_dict().get("payment_intent"),
    )


def _once(reference: str) -> Any:
    return {"idempotency_key": f"bursar-{reference}"}


def _line(line: OrderLine, currency: str) -> dict[str, Any]:
    if line.price_id is not None:
        return {"price": line.price_id, "quantity": line.quantity}
    data = {"currency": currency, "unit_amount": line.amount_minor, "product": line.product_id}
    return {"price_data": data, "quantity": line.quantity}


async def _call(call: Awaitable[T]) -> T:
    """Run one call and give its failure our name."""
    try:
        return await call
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
    if error.code == "resource_missing":
        if getattr(error, "param", None) == "customer":
            return errors.ProviderCustomerMissing()
        return NoSuchObject(f"Stripe: {reason}")
    return errors.ProviderRejected(f"Stripe refused the request: {reason}")
