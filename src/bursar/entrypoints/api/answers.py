"""What clients get: the models of every answer, and how a payment becomes one."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response

from bursar.billing.payments import Payment, Status
from bursar.billing.reversals import Reversal
from bursar.providers.port import ReversalState

SessionStatus = Literal["open", "complete", "expired"]


class Answer(BaseModel):
    """A body of ours."""

    model_config = ConfigDict(frozen=True)


class PackageAnswer(Answer):
    """A pack on sale in one currency."""

    id: str
    name: str
    unit: str
    credits: int = Field(description="In the unit's smallest part.")
    amount: int = Field(description="The price in minor units of `currency`.")
    currency: str
    price_formatted: str
    per_credit: str = Field(description="The price of one whole credit, for people.")


class PackagesAnswer(Answer):
    """Every pack on sale, in the order of the catalogue."""

    data: list[PackageAnswer]


class UserAnswer(Answer):
    """A user as the host app described them."""

    user_id: str
    customer_id: int = Field(description="The personal billing account.")
    email: str | None
    email_verified: bool
    name: str | None


class SessionAnswer(Answer):
    """A link that signs a browser in, once, within ten minutes."""

    url: str


class CheckoutAnswer(Answer):
    """A hosted checkout; send the buyer to `url`."""

    session_id: str
    url: str
    payment_id: int
    status: Status
    amount: int
    currency: str
    expires_at: datetime | None


RefundStatus = Literal["pending", "succeeded", "failed"]


class RefundAnswer(Answer):
    """Money that went back, or is about to."""

    refund_id: int
    amount: int
    status: RefundStatus
    reason: str | None
    created_at: datetime


class RefundMadeAnswer(Answer):
    """A refund that was asked for, and what it did to credits (in the unit's smallest parts)."""

    refund_id: int
    payment_id: int
    amount: int
    status: RefundStatus
    credits_reversed: int
    owed: int


class PaymentAnswer(Answer):
    """A payment as it stands; amounts in minor units of `currency`."""

    id: int
    user_id: str | None
    provider: str
    kind: str
    amount: int
    currency: str
    status: Status
    captured: int
    refunded: int
    credits: int
    unit: str | None
    session_id: str | None
    payment_intent_id: str | None
    description: str | None
    created_at: datetime
    completed_at: datetime | None
    refunds: list[RefundAnswer]
    receipt_url: str | None


class PaymentsAnswer(Answer):
    """Payments, newest first."""

    data: list[PaymentAnswer]
    next_cursor: str | None


class CheckoutStateAnswer(Answer):
    """Where a checkout stands, and the payment it is for."""

    session_id: str
    session_status: SessionStatus
    url: str | None = Field(description="The hosted page while the session is open.")
    payment: PaymentAnswer


class PoolsAnswer(Answer):
    """The balance by where it came from, in the order of use."""

    plan: int
    bonus: int
    purchased: int


class BalanceAnswer(Answer):
    """Credits in the smallest part of `unit`; `balance` is what can be spent now."""

    user_id: str
    customer_id: int
    unit: str
    balance: int
    held: int
    owed: int
    pools: PoolsAnswer


class TransactionAnswer(Answer):
    """A movement of credits; `amount` is signed."""

    id: int
    unit: str
    type: str
    amount: int
    balance_after: int
    description: str | None
    payment_id: int | None
    created_at: datetime


class TransactionsAnswer(Answer):
    """Movements, newest first."""

    data: list[TransactionAnswer]
    next_cursor: str | None


class UseAnswer(Answer):
    """Credits were used, or given back; `balance` is what can be spent after it."""

    transaction_id: int
    balance: int


class ReceivedAnswer(Answer):
    """The webhook is stored; what it means is worked off by us."""

    received: Literal[True]


class HealthAnswer(Answer):
    """The process answers, or is ready to serve."""

    status: Literal["ok", "ready"]


def answer(model: BaseModel, *, headers: dict[str, str] | None = None) -> Response:
    """A model as the response; it was checked when it was made, so not a second time."""
    content = model.model_dump_json().encode()
    return Response(content, 200, headers, media_type="application/json")


REFUND_STATUS: dict[ReversalState, RefundStatus] = {
    "pending": "pending",
    "settled": "succeeded",
    "released": "failed",
}


def payment_answer(payment: Payment, reversals: Sequence[Reversal]) -> PaymentAnswer:
    """A payment in the words of the API."""
    return PaymentAnswer(
        id=payment.id,
        user_id=payment.user_id,
        provider=payment.provider,
        kind=payment.kind,
        amount=payment.amount_minor,
        currency=payment.currency,
        status=payment.status,
        captured=payment.captured_minor,
        refunded=payment.refunded_minor,
        credits=payment.credits,
        unit=payment.unit,
        session_id=payment.session_id,
        payment_intent_id=payment.payment_intent_id,
        description=payment.description,
        created_at=payment.created_at,
        completed_at=payment.completed_at,
        refunds=[
            RefundAnswer(
                refund_id=reversal.id,
                amount=reversal.amount_minor,
                status=REFUND_STATUS[reversal.state],
                reason=reversal.reason,
                created_at=reversal.created_at,
            )
            for reversal in reversals
            if reversal.kind == "refund"
        ],
        receipt_url=payment.receipt_url,
    )


def session_status(payment: Payment) -> SessionStatus:
    """Open while the buyer may still pay (a failed card may be tried again)."""
    if payment.state in ("pending", "failed"):
        return "open"
    return "expired" if payment.state in ("expired", "canceled") else "complete"
