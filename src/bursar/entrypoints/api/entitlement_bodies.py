"""What clients send about entitlements and what they get; plans, too."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, AwareDatetime, BeforeValidator, Field, model_validator
from pydantic_core import PydanticCustomError

from bursar.billing.entitlements import SourceKind
from bursar.billing.rights import Per
from bursar.entrypoints.api.answers import Answer
from bursar.entrypoints.api.requests import Line, Sent, UserId
from bursar.money import AMOUNT_MAX

LATEST_YEAR = 2200


def _text(value: object) -> object:
    if not isinstance(value, str):
        raise PydanticCustomError("time_invalid", "Write a time like 2026-03-01T12:00:00Z")
    return value


def _bounded(at: datetime) -> datetime:
    """In UTC and within reason: PostgreSQL's times and Python's end at different years."""
    if not 1970 < at.year <= LATEST_YEAR:
        raise PydanticCustomError("time_invalid", "This time is out of bounds")
    return at.astimezone(UTC)


Time = Annotated[
    AwareDatetime, Field(strict=False), BeforeValidator(_text), AfterValidator(_bounded)
]
FeatureName = Annotated[str, Field(pattern="^[a-z][a-z0-9_]{0,39}$")]


class ConsumeRequest(Sent):
    """How much is used up."""

    amount: int = Field(1, ge=1, le=AMOUNT_MAX)


class EntitlementRequest(Sent):
    """A feature given by hand, to a customer or to a user's own account."""

    customer_id: Annotated[int, Field(ge=1, le=2**63 - 1)] | None = None
    user_id: UserId | None = None
    feature: FeatureName
    amount: Annotated[int, Field(ge=0, le=AMOUNT_MAX)] | None = Field(
        None, description="How many; without it there is no limit."
    )
    per: Per | None = Field(None, description="In what the amount begins anew; in UTC.")
    ends_at: Time | None = Field(None, description="Without it, until it is taken back.")
    reason: Annotated[Line, Field(min_length=1, max_length=500)]

    @model_validator(mode="after")
    def _agrees(self) -> Self:
        if (self.customer_id is None) == (self.user_id is None):
            raise PydanticCustomError("one_of", "Send exactly one of customer_id and user_id")
        if self.per is not None and self.amount is None:
            raise PydanticCustomError("amount_missing", "`per` needs an amount")
        return self


class EntitlementAnswer(Answer):
    """What a customer has of a feature."""

    feature: str
    limit: int | None = Field(description="Null: there is no limit.")
    used: int = Field(description="How much of the limit is used up in the present period.")
    left: int | None = Field(description="Null: there is no limit.")
    resets_at: datetime | None = Field(description="When counting begins anew, if it does.")


class CheckAnswer(EntitlementAnswer):
    """Whether a feature may be used now. Who does not have it has a limit of 0."""

    entitled: bool


class HeldAnswer(EntitlementAnswer):
    """What a customer has of a feature, and until when."""

    ends_at: datetime | None = Field(
        description="When at least so much of it ends, over all that gives it; null: it does not."
    )


class EntitlementsAnswer(Answer):
    """All that a customer has now."""

    data: list[HeldAnswer]
    next_cursor: None = Field(None, description="They are answered whole.")


class GivenAnswer(Answer):
    """What one source gives a customer, or gave."""

    id: int
    customer_id: int
    source_kind: SourceKind
    source: str = Field(description="The payment's reference, for a pack.")
    feature: str
    amount: int | None
    per: Per | None
    starts_at: datetime
    ends_at: datetime | None


class GivenListAnswer(Answer):
    """By source, newest first."""

    data: list[GivenAnswer]
    next_cursor: str | None


class LimitAnswer(Answer):
    """So many; in each `per`, or once and for all."""

    count: int
    per: Per | None


class PlanPriceAnswer(Answer):
    """What an interval costs in one currency."""

    interval: Literal["month", "year"]
    amount: int = Field(description="In minor units of `currency`.")
    currency: str
    price_formatted: str


class PlanDurationAnswer(Answer):
    """What so many months cost in one currency, paid once."""

    months: int
    amount: int = Field(description="In minor units of `currency`.")
    currency: str
    price_formatted: str
    per_month: str = Field(description="The price of one month, for people.")


class PlanAnswer(Answer):
    """A plan on sale."""

    id: str
    name: str
    description: str | None
    unit: str
    credits: int | None = Field(
        description="The allowance of each period in the unit's smallest part; null for none."
    )
    features: list[str]
    limits: dict[str, LimitAnswer]
    trial_days: int | None
    group: str = Field(description="Of the plans of a group a customer has one at a time.")
    prices: list[PlanPriceAnswer]
    durations: list[PlanDurationAnswer]


class PlansAnswer(Answer):
    """Every plan on sale, in the order of the catalogue."""

    data: list[PlanAnswer]
