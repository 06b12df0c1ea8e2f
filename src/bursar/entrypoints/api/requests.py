"""What clients send: models that take nothing they don't know and turn no type into another."""

from __future__ import annotations

import re
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from bursar.money import AMOUNT_MAX

QUANTITY_MAX = 1000
METADATA_KEYS_MAX = 20

EMAIL = re.compile(r"[^@\s]{1,64}@[^@\s]{1,255}")
METADATA_KEY = re.compile(r"[A-Za-z0-9_.-]{1,40}", re.ASCII)


def _one_line(text: str) -> str:
    """Text for names and mail headers: no line break or other control character fits there."""
    if not text.isprintable():
        raise PydanticCustomError("not_printable", "Use printable characters on one line")
    return text


def _email(text: str) -> str:
    if not EMAIL.fullmatch(text):
        raise PydanticCustomError("email_invalid", "This is no e-mail address")
    return text


def _metadata(metadata: dict[str, str]) -> dict[str, str]:
    for key in metadata:
        if not METADATA_KEY.fullmatch(key):
            raise PydanticCustomError(
                "metadata_key_invalid", "Keys are 1 to 40 letters, digits, dots, - or _"
            )
        if key.lower().startswith("bursar"):
            raise PydanticCustomError(
                "metadata_key_reserved", "Keys that begin with bursar are ours"
            )
    return metadata


Line = Annotated[str, AfterValidator(_one_line)]
Email = Annotated[Line, Field(min_length=3, max_length=320), AfterValidator(_email)]
UserId = Annotated[Line, Field(min_length=1, max_length=128)]
Currency = Annotated[
    str, Field(pattern="^[a-z]{3}$", description="Lower-case ISO code, such as usd.")
]
PlanInterval = Literal["month", "year"]
UnitName = Annotated[
    str,
    Field(pattern="^[a-z][a-z0-9_-]{0,39}$", description="By default the unit that has a rate."),
]
Credits = Annotated[
    int, Field(ge=1, le=AMOUNT_MAX, description="Credits in the unit's smallest part.")
]
Description = Annotated[Line, Field(min_length=1, max_length=500)]
MetadataValue = Annotated[str, Field(max_length=500)]
Metadata = Annotated[
    dict[str, MetadataValue], Field(max_length=METADATA_KEYS_MAX), AfterValidator(_metadata)
]


class Sent(BaseModel):
    """A body: strict, frozen, closed."""

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid")


class UserRequest(Sent):
    """What the host app says of a user. What is left out is forgotten."""

    email: Email | None = None
    email_verified: bool = False
    name: Annotated[Line, Field(min_length=1, max_length=200)] | None = None


class SessionRequest(Sent):
    """The user whose browser is to be signed in."""

    user_id: UserId


class RefundRequest(Sent):
    """A refund: of all that is left, or of a part. `force` refunds also what was spent."""

    payment_id: Annotated[int, Field(ge=1, le=2**63 - 1)]
    amount: Annotated[int, Field(ge=1, le=AMOUNT_MAX)] | None = Field(
        None, description="In minor units; all that is left without it."
    )
    reason: Literal["duplicate", "fraudulent", "requested_by_customer"] | None = None
    force: bool = False


class CheckoutRequest(Sent):
    """What to buy: exactly one of `package`, `plan`, `price_id` and `amount`."""

    package: Annotated[str, Field(min_length=1, max_length=64)] | None = None
    plan: Annotated[str, Field(min_length=1, max_length=64)] | None = Field(
        None, description="A plan to subscribe to."
    )
    interval: PlanInterval | None = Field(
        None, description="How often the plan renews; by the month."
    )
    price_id: Annotated[str, Field(min_length=1, max_length=255)] | None = Field(
        None, description="A provider's price id; it must be in the catalogue."
    )
    amount: Annotated[int, Field(ge=1, le=AMOUNT_MAX)] | None = Field(
        None, description="A free top-up in minor units; needs `currency`."
    )
    quantity: int = Field(1, ge=1, le=QUANTITY_MAX)
    currency: Currency | None = None
    description: Description | None = None
    coupon: Annotated[str, Field(min_length=1, max_length=64)] | None = None
    capture_method: Literal["manual"] | None = None
    success_url: Annotated[str, Field(max_length=2048)] | None = Field(
        None, description="On an allowed origin; `{CHECKOUT_SESSION_ID}` is filled in."
    )
    cancel_url: Annotated[str, Field(max_length=2048)] | None = None
    metadata: Metadata = Field(default_factory=dict)

    @model_validator(mode="after")
    def _one_thing(self) -> Self:
        named = [x for x in (self.package, self.plan, self.price_id, self.amount) if x is not None]
        if len(named) != 1:
            raise PydanticCustomError(
                "one_of", "Send exactly one of package, plan, price_id and amount"
            )
        if self.amount is not None and self.currency is None:
            raise PydanticCustomError("currency_missing", "An amount needs its currency")
        if self.amount is not None and self.quantity != 1:
            raise PydanticCustomError("quantity_invalid", "An amount is bought once")
        if self.interval is not None and self.plan is None:
            raise PydanticCustomError("plan_missing", "An interval is of a plan")
        if self.capture_method is not None and self.plan is not None:
            raise PydanticCustomError("capture_invalid", "A plan is not captured by hand")
        return self


class UseRequest(Sent):
    """What is used up."""

    amount: Credits
    description: Description | None = None
    unit: UnitName | None = None


class ReverseRequest(Sent):
    """What of a use is given back; all that is left of it, unless `amount` says less."""

    amount: Credits | None = None
    description: Description | None = None
