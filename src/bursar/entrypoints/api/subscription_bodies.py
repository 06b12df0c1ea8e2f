"""What is said about subscriptions over HTTP: the requests, the queries, the answers. Pure."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from bursar.billing.subscriptions.rows import Subscription
from bursar.entrypoints.api.answers import Answer
from bursar.entrypoints.api.paging import Page
from bursar.entrypoints.api.requests import QUANTITY_MAX, Currency, PlanInterval, Sent
from bursar.entrypoints.api.times import Time
from bursar.providers.port import ProviderName
from bursar.providers.recurring import (
    Interval,
    InvoiceLine,
    Preview,
    Proration,
    SubscriptionStatus,
)

Plan = Annotated[str, Field(min_length=1, max_length=64)]
Quantity = Annotated[int, Field(ge=1, le=QUANTITY_MAX)]
When = Literal["period_end", "now"]
SubscriptionId = Annotated[
    int, Field(ge=1, le=2**63 - 1, description="Which one, where several run.")
]


class SubscribeRequest(Sent):
    """The plan to begin, and how it is paid."""

    plan: Plan
    provider: ProviderName | None = Field(
        None, description="By default the one that this deployment uses first."
    )
    quantity: Quantity = 1
    interval: PlanInterval | None = Field(None, description="How often it renews; by the month.")
    currency: Currency | None = None
    coupon: Annotated[str, Field(min_length=1, max_length=64)] | None = None
    success_url: Annotated[str, Field(max_length=2048)] | None = Field(
        None, description="On an allowed origin; `{CHECKOUT_SESSION_ID}` is filled in."
    )
    cancel_url: Annotated[str, Field(max_length=2048)] | None = None


class ChangeRequest(Sent):
    """What is to be different; what is not named stays."""

    plan: Plan | None = None
    quantity: Quantity | None = None
    interval: PlanInterval | None = None
    proration: Proration = Field(
        "create_prorations",
        description="The difference comes with the next invoice, never (`none`), or at once.",
    )
    proration_at: Time | None = Field(
        None, description="That of the preview, so that the change costs what was shown."
    )

    @model_validator(mode="after")
    def _something(self) -> Self:
        if self.plan is None and self.quantity is None and self.interval is None:
            raise PydanticCustomError("nothing_changed", "Send plan, quantity or interval")
        return self


class SubscriptionAsked(BaseModel):
    """The query that says which subscription is meant."""

    model_config = ConfigDict(extra="forbid")

    id: SubscriptionId | None = None


class PreviewAsked(SubscriptionAsked):
    """The query of a preview: what a change would name."""

    plan: Plan | None = None
    quantity: Quantity | None = None
    interval: PlanInterval | None = None
    proration: Proration = "create_prorations"


class CancelAsked(SubscriptionAsked):
    """The query of an end."""

    when: When = "period_end"


class AdminCancelAsked(BaseModel):
    """The query of an end that an admin makes."""

    model_config = ConfigDict(extra="forbid")

    when: When = "period_end"


class AdminAsked(Page):
    """The query of the list of all."""

    status: SubscriptionStatus | None = None


class SubscriptionAnswer(Answer):
    """A subscription as the provider told of it last."""

    id: int
    customer_id: int
    provider: str
    plan: str | None = Field(description="Null for a price that the catalogue does not know.")
    price_id: str
    quantity: int
    amount: int = Field(description="The price of one for an interval, in minor units.")
    currency: str
    interval: Interval
    status: SubscriptionStatus
    raw_status: str = Field(description="In the provider's own word.")
    current_period_end: datetime
    cancel_at_period_end: bool
    cancel_at: datetime | None = Field(description="When it will end, if that is settled.")
    canceled_at: datetime | None = Field(description="When its end was asked for.")
    trial_end: datetime | None
    ended_at: datetime | None
    created_at: datetime


class SubscriptionsAnswer(Answer):
    """Subscriptions, newest first."""

    data: list[SubscriptionAnswer]
    next_cursor: str | None


class PreviewLineAnswer(Answer):
    """One line of what a change costs; below zero is a credit."""

    description: str | None
    amount: int = Field(description="After discounts, before tax that is added.")
    proration: bool
    period_start: datetime
    period_end: datetime


class PreviewAnswer(Answer):
    """What a change costs, in minor units of `currency`, as the provider reckons it."""

    currency: str
    due_now: int = Field(description="What is charged with the change.")
    next_total: int = Field(description="What the next invoice comes to.")
    next_at: datetime
    proration_at: datetime = Field(
        description="Send it with the change within an hour: then it costs just this."
    )
    lines: list[PreviewLineAnswer]


def subscription_answer(row: Subscription) -> SubscriptionAnswer:
    """A subscription in the words of the API."""
    return SubscriptionAnswer(
        id=row.id,
        customer_id=row.customer_id,
        provider=row.provider,
        plan=row.plan,
        price_id=row.price_id,
        quantity=row.quantity,
        amount=row.amount_minor,
        currency=row.currency,
        interval=row.interval,
        status=row.status,
        raw_status=row.raw_status,
        current_period_end=row.period_end,
        cancel_at_period_end=row.cancel_at_period_end,
        cancel_at=row.cancel_at,
        canceled_at=row.canceled_at,
        trial_end=row.trial_end,
        ended_at=row.ended_at,
        created_at=row.created_at,
    )


def preview_answer(preview: Preview) -> PreviewAnswer:
    """A preview in the words of the API."""
    return PreviewAnswer(
        currency=preview.currency,
        due_now=preview.due_now_minor,
        next_total=preview.next_total_minor,
        next_at=preview.next_at,
        proration_at=preview.at,
        lines=[_line(line) for line in preview.lines],
    )


def _line(line: InvoiceLine) -> PreviewLineAnswer:
    return PreviewLineAnswer(
        description=line.description,
        amount=line.amount_minor - line.discount_minor,
        proration=line.proration,
        period_start=line.period_start,
        period_end=line.period_end,
    )
