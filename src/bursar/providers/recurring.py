"""Subscriptions and their invoices in Bursar's words: what is told of them, and the calls.

A part of the port. Messages about a subscription come late, twice and out of order, and none says
all: a message is `News`, a knock at the door, and the provider is asked how things stand. Plain
values; nothing is decided here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal, Protocol

SubscriptionStatus = Literal[
    "incomplete", "trialing", "active", "past_due", "unpaid", "paused", "canceled"
]
InvoiceStatus = Literal["draft", "open", "paid", "void", "uncollectible"]
InvoiceReason = Literal["create", "cycle", "update", "other"]
"""Why an invoice was made: a subscription began, a period did, or something was changed in one."""
Interval = Literal["day", "week", "month", "year"]
Proration = Literal["create_prorations", "none", "always_invoice"]
"""What a change in mid-period costs: the difference with the next invoice, nothing, or at once."""
TrialEnd = Literal["cancel", "pause"]
"""What becomes of a trial that ends without a card."""


@dataclass(frozen=True, slots=True)
class SubscriptionNews:
    """That something happened to a subscription or to an invoice; how it stands must be asked."""

    provider: str
    subscription_id: str | None = None
    invoice_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SubscribedItem:
    """One of the things subscribed to. `amount_minor` is the price of one, for an interval."""

    item_id: str
    price_id: str
    quantity: int
    amount_minor: int
    currency: str
    interval: Interval
    interval_count: int
    period_start: datetime
    period_end: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class InvoiceLine:
    """One line: `amount_minor` before discounts and added tax, below zero for a credit.

    `discount_minor` is what discounts take off. `proration` is of a change in mid-period.
    """

    price_id: str | None
    quantity: int
    amount_minor: int
    discount_minor: int
    period_start: datetime
    period_end: datetime
    proration: bool
    description: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class InvoiceFact:
    """An invoice as the provider has it."""

    invoice_id: str
    number: str | None
    reason: InvoiceReason
    status: InvoiceStatus
    currency: str
    subtotal_minor: int
    """Before discounts and added tax. May be below zero, as all sums of a credit are."""
    discount_minor: int
    tax_added_minor: int
    total_minor: int
    due_minor: int
    """What was to be paid, after balances of old; never below zero."""
    paid_minor: int
    lines: tuple[InvoiceLine, ...]
    attempts: int
    """How often the provider tried to take it."""
    next_attempt_at: datetime | None
    created_at: datetime
    finalized_at: datetime | None
    paid_at: datetime | None
    ended_at: datetime | None
    """When it was made void or given up."""
    payment_intent_id: str | None
    charge_id: str | None
    failure: str | None
    """Why the last attempt failed, in the words of payments (`insufficient_funds`)."""
    needs_action: bool = False
    """Whether the buyer's bank wants to hear from the buyer first."""
    url: str | None = None
    """Where the buyer reads and pays it."""
    discounts: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class SubscriptionFact:
    """A subscription as the provider has it, with the invoices that were asked for."""

    provider: str
    subscription_id: str
    reference: str | None
    """Our own reference, of the checkout that began it."""
    provider_customer_id: str | None
    email: str | None
    status: SubscriptionStatus
    raw_status: str
    items: tuple[SubscribedItem, ...]
    currency: str
    created_at: datetime
    trial_start: datetime | None
    trial_end: datetime | None
    cancel_at: datetime | None
    """When it will end, if that is settled: at its period's end, or at a time of its own."""
    cancel_at_period_end: bool
    canceled_at: datetime | None
    """When somebody asked for its end."""
    ended_at: datetime | None
    resumes_at: datetime | None
    invoices: tuple[InvoiceFact, ...] = ()
    read: int = 0
    """The number of the question that this answers; a higher number was asked later."""


@dataclass(frozen=True, slots=True)
class SubscribeTerms:
    """How a checkout that begins a subscription differs: its trial, if it has one.

    `trial_card` is whether the trial asks for a card, `trial_end` what follows when there is none.
    """

    trial_days: int | None = None
    trial_card: bool = True
    trial_end: TrialEnd = "cancel"


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangeOrder:
    """Another price or quantity for one thing subscribed to.

    `at` is the moment for which a change in mid-period is reckoned; a preview and a change with
    the same moment cost the same.
    """

    subscription_id: str
    item_id: str
    price_id: str
    quantity: int
    proration: Proration
    at: datetime | None = None


SteerKind = Literal["cancel", "cancel_now", "resume", "pause", "unpause"]
"""To end with the period; now; not to end after all; to stop charging; to go on."""


@dataclass(frozen=True, slots=True)
class Preview:
    """What a change costs. Amounts in minor units; below zero is a credit."""

    currency: str
    due_now_minor: int
    next_total_minor: int
    next_at: datetime
    lines: tuple[InvoiceLine, ...]
    """What the change itself comes to: a credit for the rest of the old, the rest of the new."""
    at: datetime


@dataclass(frozen=True, slots=True)
class PortalProduct:
    """A plan to which a portal lets people change: its product and one price for each interval.

    `counted` is whether they may choose how many they pay for.
    """

    product_id: str
    price_ids: tuple[str, ...]
    counted: bool = False


@dataclass(frozen=True, slots=True)
class PortalOffer:
    """Between which plans people of one group may choose in the portal.

    Without a group it is for everybody else: no plans, but cards, invoices and an end.
    """

    group: str | None
    products: tuple[PortalProduct, ...] = ()


@dataclass(frozen=True, slots=True)
class Recurring:
    """What a provider can do about subscriptions."""

    subscriptions: bool = False
    previews: bool = False
    pause: bool = False
    portal: bool = False
    prorations: Sequence[Proration] = field(default=())


NOT_RECURRING = Recurring()


class SubscriptionCalls(Protocol):
    """The calls about subscriptions. Those with a `reference` happen once for it, for ever."""

    async def fetch_subscription(
        self, *, subscription_id: str | None = None, invoice_id: str | None = None
    ) -> SubscriptionFact | None:
        """A subscription with its latest invoices, and with this one; None for one that is not
        there, and for an invoice that belongs to none."""

    async def expire_checkout(self, session_id: str) -> None:
        """Close an open hosted checkout. Raises ProviderRejected for one that is not open."""

    async def preview_change(self, order: ChangeOrder) -> Preview:
        """What a change costs, as its invoice will say."""

    async def change_subscription(self, reference: str, order: ChangeOrder) -> SubscriptionFact:
        """Change price or quantity."""

    async def steer_subscription(
        self, reference: str, subscription_id: str, kind: SteerKind
    ) -> SubscriptionFact:
        """Cancel, resume, pause. Raises ProviderRejected for what it is past."""

    async def put_portal(self, offers: Sequence[PortalOffer]) -> None:
        """Have the portal offer this, and no plans in groups that are not named. Safe to repeat."""

    async def open_portal(
        self, provider_customer_id: str, return_url: str, group: str | None = None
    ) -> str:
        """An address at which a customer looks after cards, invoices and subscriptions, and
        chooses between the plans of a group."""
