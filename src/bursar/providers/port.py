"""The port: what billing knows of a payment provider, in Bursar's words alone.

An adapter verifies raw bytes, translates messages and answers into facts, and makes calls. It
decides nothing and never sees the database. Its failures are ProviderUnavailable (not taken: try
again), ProviderRejected (refused for good) and ProviderUnknown (outcome not known: ask).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal, Protocol

from bursar.money import AMOUNT_MAX
from bursar.providers.after_sale import DisputeAnswer, DisputeFact, LinksAndCards
from bursar.providers.mirrored import PLAIN, CatalogCalls, CatalogFact, CheckoutTerms, Discount, Tax
from bursar.providers.recurring import (
    NOT_RECURRING,
    Recurring,
    SubscribeTerms,
    SubscriptionCalls,
    SubscriptionFact,
    SubscriptionNews,
)

ProviderName = Literal["stripe", "lemonsqueezy", "paddle"]
PROVIDER_NAMES: tuple[ProviderName, ...] = ("stripe", "lemonsqueezy", "paddle")

PaymentState = Literal[
    "pending", "processing", "authorized", "completed", "failed", "expired", "canceled"
]


ReversalState = Literal["pending", "settled", "released"]
CancelReason = Literal["duplicate", "fraudulent", "requested_by_customer", "abandoned"]
RefundReason = Literal["duplicate", "fraudulent", "requested_by_customer"]


class Unusable(Exception):
    """An authentic message that can't be read, or is another account's or mode's: quarantine."""

    def __init__(self, code: str, detail: str = "") -> None:
        super().__init__(f"{code}: {detail}" if detail else code)
        self.code = code


@dataclass(frozen=True, slots=True)
class Received:
    """An authentic message, as the inbox stores it. `event_key` is unique at the provider."""

    provider: ProviderName
    account: str
    mode: Literal["test", "live"]
    event_key: str
    type: str
    payload: bytes
    headers: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Line:
    """What was bought, as the provider has it; `price_id` is None for an amount of one's own."""

    price_id: str | None
    quantity: int
    subtotal_minor: int


@dataclass(frozen=True, slots=True)
class Totals:
    """What a checkout came to. Tax counts here only where it is not included in the prices."""

    lines: tuple[Line, ...]
    subtotal_minor: int
    discount_minor: int
    tax_added_minor: int
    total_minor: int
    discounts: tuple[str, ...] = ()
    """The coupons and codes that the discount is of, such as `coupon:LAUNCH`."""


@dataclass(frozen=True, slots=True)
class RefundFact:
    """One refund as the provider has it. `reference` is ours, if we asked for it."""

    provider_ref: str
    reference: str | None
    amount_minor: int
    state: ReversalState
    at: datetime
    reason: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PaymentFacts:
    """What one message or answer says of one payment. None means: it says nothing of that."""

    provider: ProviderName
    at: datetime
    """The provider's time of what is said."""
    reference: str | None = None
    """Our own reference, as it stands in the provider's metadata."""
    session_id: str | None = None
    payment_intent_id: str | None = None
    charge_id: str | None = None
    provider_customer_id: str | None = None
    email: str | None = None
    state: PaymentState | None = None
    currency: str | None = None
    amount_minor: int | None = None
    captured_minor: int | None = None
    """Money taken so far, cumulative."""
    authorized_minor: int | None = None
    """Money that the buyer's bank holds, or held, for a capture by hand."""
    authorized_until: datetime | None = None
    """When the bank lets go of it, if the provider says so."""
    released_minor: int | None = None
    """What a capture of a part let go, where the provider calls that a refund."""
    totals: Totals | None = None
    failure: str | None = None
    receipt_url: str | None = None
    session_url: str | None = None
    refunds: tuple[RefundFact, ...] = ()
    disputes: tuple[DisputeFact, ...] = ()
    link_id: str | None = None
    """The provider's payment link by which somebody came, who may be a guest."""
    incomplete: bool = False
    """Whether the message says that something happened, but not what: the provider is asked."""


@dataclass(frozen=True, slots=True)
class Ignored:
    """A message that says nothing which Bursar acts on."""

    reason: str


Facts = PaymentFacts | CatalogFact | SubscriptionNews | Ignored
Told = PaymentFacts | SubscriptionFact
"""What the provider answers when it is asked about money."""


@dataclass(frozen=True, slots=True)
class CustomerOrder:
    """A customer to be made at the provider. `reference` is also the idempotency key."""

    reference: str
    email: str | None
    name: str | None
    metadata: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class OrderLine:
    """A line to sell: a price by the provider's id, or an amount of one's own for a product."""

    quantity: int
    price_id: str | None = None
    amount_minor: int | None = None
    product_id: str | None = None
    tax: Tax | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckoutOrder:
    """A hosted checkout to be opened. `reference` is also the idempotency key, for ever."""

    reference: str
    provider_customer_id: str
    currency: str
    lines: Sequence[OrderLine]
    success_url: str
    cancel_url: str
    capture_method: Literal["automatic", "manual"]
    description: str | None
    metadata: Mapping[str, str]
    discount: Discount | None = None
    terms: CheckoutTerms = PLAIN
    receipt_email: str | None = None
    """Where the provider is to send its receipt, if it is to send one."""
    subscribe: SubscribeTerms | None = None
    """Given for a price that recurs: the checkout begins a subscription."""


@dataclass(frozen=True, slots=True)
class OpenedCheckout:
    """A hosted checkout as the provider opened it."""

    session_id: str
    url: str
    expires_at: datetime
    payment_intent_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class IntentOrder:
    """A payment to be confirmed in a form of ours. `reference` is also the idempotency key."""

    reference: str
    provider_customer_id: str
    currency: str
    amount_minor: int
    capture_method: Literal["automatic", "manual"]
    description: str | None
    metadata: Mapping[str, str]
    receipt_email: str | None = None


@dataclass(frozen=True, slots=True)
class OpenedIntent:
    """A payment intent as the provider opened it.

    Who holds `client_secret` may confirm the payment: it is passed on and never stored.
    """

    payment_intent_id: str
    client_secret: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class CaptureOrder:
    """Held money to take; the rest is let go. `reference` is also the idempotency key."""

    reference: str
    payment_intent_id: str
    amount_minor: int


@dataclass(frozen=True, slots=True)
class CancelOrder:
    """Held money to let go. `reference` is also the idempotency key."""

    reference: str
    payment_intent_id: str
    reason: CancelReason | None


@dataclass(frozen=True, slots=True)
class RefundOrder:
    """Money to give back. `reference` is also the idempotency key, for ever."""

    reference: str
    payment_intent_id: str
    amount_minor: int
    reason: RefundReason | None


@dataclass(frozen=True, slots=True)
class CardForm:
    """The provider's browser library, and the origins that a page with its card form talks to."""

    library_url: str
    script_origins: tuple[str, ...]
    frame_origins: tuple[str, ...]
    connect_origins: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What a provider can do. What it can't is refused with `not_supported`, never half done."""

    manual_capture: bool
    free_amount: bool
    hosted_origins: tuple[str, ...] = field(default=())
    """Origins of its hosted pages, to which our forms may lead."""
    minimum_minor: Mapping[str, int] = field(default_factory=dict)
    """The least that can be charged, by currency."""
    maximum_minor: int = AMOUNT_MAX
    """The most that can be charged at once."""
    card_form: CardForm | None = None
    """How cards are entered on a page of ours; None if that can't be done."""
    terms: CheckoutTerms = PLAIN
    receipts: bool = False
    """Whether the provider is to mail its receipts."""
    recurring: Recurring = NOT_RECURRING

    def card_form_origins(self) -> dict[str, tuple[str, ...]]:
        """Origins by directive of a content security policy, for pages with the card form."""
        if self.card_form is None:
            return {}
        return {
            "script-src": self.card_form.script_origins,
            "frame-src": self.card_form.frame_origins,
            "connect-src": self.card_form.connect_origins,
        }


class Provider(CatalogCalls, LinksAndCards, SubscriptionCalls, Protocol):
    """A payment provider. Async methods call it over the network, the others never do."""

    name: ProviderName
    capabilities: Capabilities

    def verify(self, body: bytes, headers: Mapping[str, str]) -> Received:
        """Check the signature on the raw bytes. Raises errors.NotAuthentic."""

    def translate(self, body: bytes) -> Facts:
        """What an authentic message says. Raises Unusable."""

    async def fetch_payment(
        self, *, session_id: str | None, payment_intent_id: str | None, reference: str | None
    ) -> list[Told]:
        """All that the provider knows of a payment, totals included; empty if it has none.

        Of one that belongs to a subscription, that as well.
        """

    async def create_customer(self, order: CustomerOrder) -> str:
        """Make a customer, once for each reference; returns the provider's id."""

    async def find_customer(self, order: CustomerOrder) -> str | None:
        """The id of the customer that was made for an order, if there is one."""

    async def create_checkout(self, order: CheckoutOrder) -> OpenedCheckout:
        """Open a hosted checkout, once for each reference."""

    async def find_checkout(
        self, reference: str, provider_customer_id: str
    ) -> OpenedCheckout | None:
        """The hosted checkout that was opened under our reference, if there is one."""

    async def create_intent(self, order: IntentOrder) -> OpenedIntent:
        """Open a payment intent, once for each reference."""

    async def find_intent(self, reference: str, provider_customer_id: str) -> OpenedIntent | None:
        """The payment intent that was opened under our reference, if there is one."""

    async def fetch_client_secret(self, payment_intent_id: str) -> str:
        """The secret with which a browser confirms an intent."""

    async def cancel_intent(self, payment_intent_id: str) -> None:
        """Give up an intent that nobody paid. Raises ProviderRejected for one that is too far."""

    async def capture_payment(self, order: CaptureOrder) -> list[PaymentFacts]:
        """Take money that is held, once for each reference; returns the facts of its payment."""

    async def cancel_payment(self, order: CancelOrder) -> list[PaymentFacts]:
        """Let go of money that is held, once for each reference; returns the facts."""

    async def label_payment(
        self, *, session_id: str | None, payment_intent_id: str | None, word: str
    ) -> None:
        """Write what became of an order into the provider's metadata, for people who look there."""

    async def list_refunds(self, payment_intent_id: str) -> list[PaymentFacts]:
        """All refunds of a payment, whoever asked for them."""

    async def create_refund(self, order: RefundOrder) -> PaymentFacts:
        """Give money back, once for each reference; returns the facts of its payment."""

    async def list_disputes(self, payment_intent_id: str) -> list[PaymentFacts]:
        """All disputes of a payment."""

    async def answer_dispute(self, order: DisputeAnswer) -> list[PaymentFacts]:
        """Send evidence, or give in, once for each reference; returns the facts."""

    async def close(self) -> None:
        """Let go of connections."""
