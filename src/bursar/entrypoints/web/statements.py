"""The account page's figures: balances by pool, payments with what went back, ledger lines. Pure.

Turns rows of the inner rooms into what a page shows; it adds up nothing that the ledger has not
added up itself.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from bursar.billing.catalog import Unit
from bursar.billing.payments import Payment
from bursar.billing.reversals import Reversal
from bursar.entrypoints.web.badges import Badge, payment_badge, reversal_badge
from bursar.entrypoints.web.figures import Moment, moment, signed
from bursar.entrypoints.web.outcomes import RECEIPTS
from bursar.ledger.balances import POOLS, Balance, Ending, PostingRow
from bursar.money import MINUS, format_credits, format_money

POOL_WORDS = {
    "plan": ("Plan", "From your subscription"),
    "bonus": ("Bonus", "Given to you"),
    "purchased": ("Bought", "Does not expire"),
}
TYPE_WORDS = {
    "purchase": "Bought",
    "usage": "Used",
    "refund": "Taken back for a refund",
    "subscription": "From your plan",
    "bonus": "Bonus",
    "adjustment": "Corrected",
    "expiry": "Expired",
    "hold": "Reserved",
    "release": "Released",
}
# What a refund or a dispute is called, and what its state means for the money.
RETURN_WORDS = {"refund": "Refund", "dispute": "Dispute"}
RETURN_HINTS = {
    ("refund", "pending"): "On its way back to you",
    ("refund", "settled"): "Sent back the way you paid",
    ("refund", "released"): "It did not go through: no money went back",
    ("dispute", "pending"): "Your bank is looking into it",
    ("dispute", "settled"): "Your bank took the money back",
    ("dispute", "released"): "Your bank left the payment as it was",
}
# Attempts that brought no money stand apart from what was paid.
UNPAID = ("failed", "expired", "canceled", "pending")


@dataclass(frozen=True, slots=True)
class PoolLine:
    """A pool in its order of use."""

    name: str
    hint: str
    amount: str


@dataclass(frozen=True, slots=True)
class BalanceView:
    """A unit's balance. `held` and `owed` are empty when there is nothing of the kind."""

    label: str
    lines: tuple[PoolLine, ...]
    total: str
    held: str
    owed: str
    ending: EndingLine | None


@dataclass(frozen=True, slots=True)
class EndingLine:
    """What of a balance ends next, and when."""

    amount: str
    at: Moment


@dataclass(frozen=True, slots=True)
class Link:
    """Where a payment leads: its receipt, or the order that can still be paid."""

    words: str
    url: str


@dataclass(frozen=True, slots=True)
class ReturnLine:
    """A refund or a dispute under its payment; `amount` is negative unless nothing went back."""

    id: int
    what: str
    hint: str
    amount: str
    badge: Badge
    at: Moment


@dataclass(frozen=True, slots=True)
class PaymentLine:
    """A payment in the list; `returns` are its refunds and disputes, the oldest first."""

    id: int
    name: str
    amount: str
    code: str
    refunded: str
    badge: Badge
    at: Moment
    link: Link | None
    returns: tuple[ReturnLine, ...]


@dataclass(frozen=True, slots=True)
class LedgerLine:
    """A posting in the list, with its sign."""

    id: int
    what: str
    detail: str
    amount: str
    gain: bool
    balance_after: str
    unit: str
    at: Moment


def ending_line(unit: Unit, endings: Sequence[Ending], now: datetime) -> EndingLine | None:
    """What of a unit ends next, if anything does; `endings` come the soonest first."""
    for ending in endings:
        if ending.unit == unit.name:
            amount = format_credits(ending.amount, unit.decimals)
            return EndingLine(amount, moment(ending.ends_at, now))
    return None


def balance_view(unit: Unit, balance: Balance, ending: EndingLine | None = None) -> BalanceView:
    """A unit's balance by pool; a pool that is empty shows only when nothing else would."""
    shown = [pool for pool in POOLS if balance.pools[pool]] or ["purchased"]
    turns = ["Used first. ", *["Used next. "] * (len(shown) - 2), "Used last. "]
    return BalanceView(
        label=unit.label,
        lines=tuple(
            PoolLine(
                name=POOL_WORDS[pool][0],
                hint=(turn if len(shown) > 1 else "") + POOL_WORDS[pool][1],
                amount=format_credits(balance.pools[pool], unit.decimals),
            )
            for pool, turn in zip(shown, turns, strict=False)
        ),
        total=format_credits(balance.spendable, unit.decimals),
        held=format_credits(balance.held, unit.decimals) if balance.held else "",
        owed=format_credits(balance.owed, unit.decimals) if balance.owed else "",
        ending=ending,
    )


def payment_line(
    payment: Payment, now: datetime, reversals: Sequence[Reversal] = ()
) -> PaymentLine:
    """A payment as the list shows it: what was taken, else what was asked."""
    back = payment.refunded_minor
    return PaymentLine(
        id=payment.id,
        name=str(payment.snapshot.get("name") or payment.description or "Order"),
        amount=format_money(
            payment.captured_minor
            if payment.state == "completed"
            else payment.captured_minor or payment.amount_minor,
            payment.currency,
        ),
        code=payment.currency.upper(),
        refunded=f"{MINUS}{format_money(back, payment.currency)} refunded" if back else "",
        badge=payment_badge(payment.status, mismatch=bool(payment.mismatch)),
        at=moment(payment.completed_at or payment.created_at, now),
        link=_link(payment, now),
        returns=tuple(return_line(reversal, payment.currency, now) for reversal in reversals),
    )


def return_line(reversal: Reversal, currency: str, now: datetime) -> ReturnLine:
    """Money that went back, is about to, or did not after all."""
    kind, state = reversal.kind, reversal.state
    amount = format_money(reversal.amount_minor, currency)
    return ReturnLine(
        id=reversal.id,
        what=RETURN_WORDS.get(kind, kind),
        hint=RETURN_HINTS.get((kind, state), ""),
        amount=amount if state == "released" else f"{MINUS}{amount}",
        badge=reversal_badge(kind, state),
        at=moment(reversal.created_at, now),
    )


def _link(payment: Payment, now: datetime) -> Link | None:
    open_until = payment.expires_at
    if payment.status in ("pending", "failed"):
        # A hosted page, or ours with the card form.
        page = payment.session_url or payment.request.get("page")
        return Link("Pay", page) if page and open_until and open_until > now else None
    if payment.status not in RECEIPTS or not payment.receipt_url:
        return None
    return Link("Receipt", payment.receipt_url)


def split_payments(
    payments: Sequence[Payment], reversals: Mapping[int, Sequence[Reversal]], now: datetime
) -> tuple[list[PaymentLine], list[PaymentLine]]:
    """Payments that moved money or will, and attempts of which no payment is known (yet)."""
    paid = [p for p in payments if p.status not in UNPAID]
    unpaid = [p for p in payments if p.status in UNPAID]
    return (
        [payment_line(p, now, reversals.get(p.id, ())) for p in paid],
        [payment_line(p, now) for p in unpaid],
    )


def ledger_line(posting: PostingRow, units: Mapping[str, Unit], now: datetime) -> LedgerLine:
    """A posting as the list shows it. A unit that left the catalogue counts without decimals."""
    unit = units.get(posting.unit) or Unit(posting.unit, posting.unit, 0, {}, {})
    return LedgerLine(
        id=posting.id,
        what=_word(posting),
        detail=posting.description or "",
        amount=signed(posting.amount, unit),
        gain=posting.amount > 0,
        balance_after=format_credits(posting.balance_after, unit.decimals),
        unit=unit.label,
        at=moment(posting.created_at, now),
    )


def _word(posting: PostingRow) -> str:
    """What a movement is called; a use that was given back, and a refund that failed, go up."""
    if posting.amount > 0 and posting.type in ("usage", "refund"):
        return "Given back"
    return TYPE_WORDS.get(posting.type, posting.type)
