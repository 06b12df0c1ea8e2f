"""How facts merge into a payment, and whether what was paid is what was asked. Pure.

Merging is the greatest of what is known, never the last of what came: the same facts in any order,
any number of times, give the same row.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

import orjson

from bursar.providers.port import Line, PaymentFacts, PaymentState, Totals

# Pending, processing and failed share a rank, for a buyer may try another card on the same intent:
# there the latest word counts. Above them each rank beats the lower ones whatever the time.
RANK: dict[PaymentState, int] = {
    "pending": 0,
    "processing": 0,
    "failed": 0,
    "authorized": 1,
    "expired": 2,
    "canceled": 2,
    "completed": 3,
}
# Providers tell time in seconds; within one second the state further along counts.
WITHIN_A_SECOND: tuple[PaymentState, ...] = (
    "pending",
    "processing",
    "failed",
    "authorized",
    "expired",
    "canceled",
    "completed",
)
BEGINNING = datetime(1970, 1, 1, tzinfo=UTC)
HELD = timedelta(days=7)
"""How long a bank holds money at least, where the provider does not say until when."""


@dataclass(frozen=True, slots=True)
class Row:
    """The part of a payment that facts change, and what they are held against."""

    customer_id: int
    id: int
    reference: str
    provider: str
    kind: str
    state: PaymentState
    state_at: datetime | None
    amount_minor: int
    currency: str
    captured_minor: int
    refunded_minor: int
    refund_pending_minor: int
    unit: str | None
    credits: int
    snapshot: Mapping[str, Any]
    facts: Mapping[str, Any]
    mismatch: str | None
    session_id: str | None
    session_url: str | None
    payment_intent_id: str | None
    receipt_url: str | None
    description: str | None
    completed_at: datetime | None
    user_id: str | None = None
    disputed_minor: int = 0
    metadata: Mapping[str, Any] = field(default_factory=dict)
    authorized_minor: int | None = None
    authorized_until: datetime | None = None

    @property
    def totals(self) -> Totals | None:
        """What the checkout came to, once a fact has told."""
        known = self.facts.get("totals")
        if known is None:
            return None
        lines = tuple(Line(*line) for line in known["lines"])
        sums = {name: known[name] for name in known if name.endswith("_minor")}
        return Totals(lines, **sums, discounts=tuple(known.get("discounts", ())))


def public_status(state: str, *, captured: int, refunded: int, disputed: int) -> str:
    """How a payment is shown: disputed before refunded before partly refunded before its state."""
    if disputed:
        return "disputed"
    if refunded:
        return "refunded" if refunded >= captured else "partially_refunded"
    return state


@dataclass(frozen=True, slots=True, kw_only=True)
class DisputeNews:
    """Something that happened to a dispute, and how it stands then."""

    word: Literal["opened", "won", "lost"]
    id: int
    provider_ref: str
    amount_minor: int
    status: str
    inquiry: bool
    reason: str | None
    due_at: datetime | None


@dataclass(frozen=True, slots=True)
class Sums:
    """A payment's row with its reversals summed up in it.

    `version` counts how far they have come, and only grows; `excess_minor` is what the provider
    says went back beyond what was captured, which has no effect of its own.
    """

    row: Row
    version: int
    excess_minor: int
    waiting: tuple[str, ...]
    """The references of refunds that are pending."""
    settled_minor: int = 0
    """What went back for good, by refund or lost dispute; at most what was captured."""
    reserved_minor: int = 0
    """The same with what is pending."""
    contested: tuple[str, ...] = ()
    """The references of disputes that nobody has decided yet."""
    news: tuple[DisputeNews, ...] = ()


def row_of(fields: dict[str, Any]) -> Row:
    """A row from the columns of a locked payment."""
    picked = {name: fields[name] for name in Row.__slots__}
    picked["reference"] = str(picked["reference"])
    picked["snapshot"] = orjson.loads(picked["snapshot"])
    picked["facts"] = orjson.loads(picked["facts"])
    picked["metadata"] = orjson.loads(picked["metadata"])
    return Row(**picked)


def names(fact: PaymentFacts) -> list[tuple[str, str, str]]:
    """(provider, kind, id) of everything that a fact names, the surest first."""
    named = [
        ("bursar", "reference", fact.reference),
        (fact.provider, "session", fact.session_id),
        (fact.provider, "intent", fact.payment_intent_id),
        (fact.provider, "charge", fact.charge_id),
    ]
    return [(provider, kind, ref) for provider, kind, ref in named if ref]


def fits(row: Row, fact: PaymentFacts) -> bool:
    """Whether a fact that names this payment can be about it.

    Metadata can be copied by hand in a dashboard: a second session or intent that carries our
    reference is other money, and waits in a case.
    """
    if row.provider != fact.provider:
        return False
    if fact.session_id and row.session_id and fact.session_id != row.session_id:
        return False
    return not (
        fact.payment_intent_id
        and row.payment_intent_id
        and fact.payment_intent_id != row.payment_intent_id
        and not _pays_invoice(row, fact)
    )


def _pays_invoice(row: Row, fact: PaymentFacts) -> bool:
    """Whether an invoice that one intent could not pay was paid by another, as its own row says."""
    own = row.kind == "invoice" and fact.reference == row.reference
    return own and row.captured_minor == 0 and fact.state == "completed"


def binds(row: Row, fact: PaymentFacts) -> bool:
    """Whether a fact can be taken for this payment's without asking the provider.

    Until a hosted checkout's session has named its intent, an intent that carries our reference
    is only somebody's word: the session is asked first.
    """
    return (
        row.kind != "checkout"
        or fact.session_id is not None
        or row.payment_intent_id is not None
        or fact.payment_intent_id is None
    )


def in_currency_of(row: Row, fact: PaymentFacts) -> PaymentFacts:
    """A fact that tells of a dispute in the buyer's currency, in the payment's: it is of the whole.

    What share of the payment it is, such a message does not say.
    """
    if not fact.disputes or fact.currency in (None, row.currency):
        return fact
    whole = max(1, row.captured_minor or row.amount_minor)
    disputes = tuple(replace(dispute, amount_minor=whole) for dispute in fact.disputes)
    return replace(fact, currency=None, disputes=disputes)


def merged(row: Row, fact: PaymentFacts) -> Row:
    """The row with one more fact in it."""
    state, state_at = row.state, row.state_at
    if fact.state is not None and _order(fact.state, fact.at) > _order(state, state_at):
        state, state_at = fact.state, fact.at
    completed_at = row.completed_at
    if fact.state == "completed" and (completed_at is None or fact.at < completed_at):
        completed_at = fact.at
    facts = _merged_facts(row.facts, _with_totals(row, fact))
    return replace(
        row,
        state=state,
        state_at=state_at,
        captured_minor=max(row.captured_minor, fact.captured_minor or 0),
        session_id=row.session_id or fact.session_id,
        session_url=row.session_url or fact.session_url,
        payment_intent_id=(fact.payment_intent_id if _pays_invoice(row, fact) else None)
        or row.payment_intent_id
        or fact.payment_intent_id,
        receipt_url=row.receipt_url or fact.receipt_url,
        completed_at=completed_at,
        authorized_minor=_greatest(row.authorized_minor, fact.authorized_minor),
        authorized_until=_held_until(facts),
        facts=facts,
    )


def mismatch(row: Row) -> str | None:
    """What differs between what was asked and what was paid; None when all agrees.

    Prices, quantities, subtotal and currency must be the snapshot's, and the total
    must come out of them. A price of the buyer's own choice is compared by its amount.
    """
    totals = row.totals
    if totals is None:
        return "the provider does not say what was bought"
    asked = row.snapshot
    currency = row.facts.get("currency")
    if currency != asked["currency"]:
        return f"currency {currency}, asked was {asked['currency']}"
    if "subscribes" in asked:
        return _other_plan(row, totals)
    bought = sorted((line.price_id or "", line.quantity) for line in totals.lines)
    wanted = sorted((line["price_id"] or "", line["quantity"]) for line in asked["lines"])
    if any(line["price_id"] is None for line in asked["lines"]):
        bought = [("", quantity) for _, quantity in bought]
    if bought != wanted:
        return f"bought {bought}, asked was {wanted}"
    if totals.subtotal_minor != asked["subtotal_minor"]:
        return f"subtotal {totals.subtotal_minor}, asked was {asked['subtotal_minor']}"
    if not _knows_discount(asked, totals):
        return f"discount {totals.discount_minor}, known was {asked['discount_minor']}"
    due = totals.subtotal_minor - totals.discount_minor + totals.tax_added_minor
    if totals.total_minor != due:
        return f"total {totals.total_minor}, reckoned was {due}"
    if row.captured_minor < totals.total_minor and asked["capture_method"] != "manual":
        return f"captured {row.captured_minor} of {totals.total_minor}"
    return None


def _other_plan(row: Row, totals: Totals) -> str | None:
    """What differs in what a subscription began with; its amounts are its invoice's to say, which
    may have a trial, discounts and other things on it."""
    bought = [(line.price_id or "", line.quantity) for line in totals.lines]
    wanted = [(line["price_id"] or "", line["quantity"]) for line in row.snapshot.get("lines", ())]
    if any(line not in bought for line in wanted):
        return f"bought {sorted(bought)}, asked was {sorted(wanted)}"
    return None


def _knows_discount(asked: Mapping[str, Any], totals: Totals) -> bool:
    """Whether a discount is what was asked, or of a coupon that was, or of a code that the buyer
    could type. The provider names what it is of; a price that a person lowered has no name."""
    if totals.discount_minor == asked["discount_minor"]:
        return True
    if asked.get("coupon"):
        return asked["coupon"] in totals.discounts
    return bool(asked.get("promotion_codes") and totals.discounts)


def excess_minor(row: Row) -> int:
    """Money taken beyond what the checkout came to; it brings no credits, and needs a person."""
    totals = row.totals
    return max(0, row.captured_minor - totals.total_minor) if totals else 0


def lacks_facts(row: Row) -> bool:
    """Whether a completed payment can't be judged yet: what was bought, or taken, is not known."""
    if row.state != "completed":
        return False
    return row.totals is None or (row.captured_minor == 0 and row.totals.total_minor > 0)


def credits_due(row: Row) -> int:
    """Credits that the merged facts entitle to: all on full payment, in proportion on a part."""
    totals = row.totals
    if row.state != "completed" or totals is None or row.mismatch:
        return 0
    if totals.total_minor == 0 or row.captured_minor >= totals.total_minor:
        return row.credits
    return row.credits * row.captured_minor // totals.total_minor


def paid_in_full(row: Row) -> bool:
    """Whether a payment is done, was as asked, and all that it came to was taken."""
    totals = row.totals
    return paid_as_asked(row) and totals is not None and row.captured_minor >= totals.total_minor


def paid_as_asked(row: Row) -> bool:
    """Whether a payment is done, and what was paid is what was asked."""
    return row.state == "completed" and row.totals is not None and row.mismatch is None


def passed_unreviewed(row: Row) -> bool:
    """Whether an order that was to be reviewed had nothing to hold, by a code that the buyer typed,
    and so is done without anybody having looked at it."""
    totals = row.totals
    reviewed = row.kind == "checkout" and row.snapshot.get("capture_method") == "manual"
    return reviewed and paid_as_asked(row) and totals is not None and totals.total_minor == 0


def _with_totals(row: Row, fact: PaymentFacts) -> PaymentFacts:
    """A payment intent has no lines: what is bought is its amount, which nobody else says."""
    if row.kind != "intent" or fact.totals is not None or fact.state != "completed":
        return fact
    asked = fact.amount_minor
    if asked is None or fact.payment_intent_id is None:
        return fact
    return replace(fact, totals=Totals((Line(None, 1, asked),), asked, 0, 0, asked))


def _order(state: PaymentState, at: datetime | None) -> tuple[int, datetime, int]:
    return (RANK[state], at or BEGINNING, WITHIN_A_SECOND.index(state))


def _greatest(known: int | None, told: int | None) -> int | None:
    return told if known is None else max(known, told or 0)


def _held_until(facts: Mapping[str, Any]) -> datetime | None:
    """Until when money is held: as the provider said, else the usual time from the first word."""
    if "authorized_at" not in facts:
        return None
    if "authorized_until" in facts:
        return datetime.fromisoformat(facts["authorized_until"])
    return datetime.fromisoformat(facts["authorized_at"]) + HELD


def _text(at: datetime) -> str:
    """A time that sorts as text."""
    return at.astimezone(UTC).isoformat(timespec="seconds")


def _merged_facts(known: Mapping[str, Any], fact: PaymentFacts) -> dict[str, Any]:
    facts = dict(known)
    # A session may still change while it is open: what a finished one says counts, else the latest.
    rank = [int(fact.state == "completed"), fact.at.isoformat()]
    if fact.totals is not None and rank >= known.get("totals", {}).get("rank", []):
        facts["totals"] = {
            "rank": rank,
            "lines": [
                [line.price_id, line.quantity, line.subtotal_minor] for line in fact.totals.lines
            ],
            "subtotal_minor": fact.totals.subtotal_minor,
            "discount_minor": fact.totals.discount_minor,
            "tax_added_minor": fact.totals.tax_added_minor,
            "total_minor": fact.totals.total_minor,
            "discounts": list(fact.totals.discounts),
        }
    if fact.currency is not None:
        # Two currencies for one payment are kept side by side, which nothing asked for matches.
        seen = {fact.currency, *str(known.get("currency", fact.currency)).split("+")}
        facts["currency"] = "+".join(sorted(seen))
    if fact.charge_id is not None and fact.captured_minor:
        facts["charge_id"] = fact.charge_id
    if fact.authorized_minor is not None:
        at = _text(fact.at)
        facts["authorized_at"] = min(at, known.get("authorized_at", at))
    if fact.authorized_until is not None:
        until = _text(fact.authorized_until)
        facts["authorized_until"] = max(until, known.get("authorized_until", until))
    if fact.released_minor:
        facts["released_minor"] = max(fact.released_minor, known.get("released_minor", 0))
    if fact.failure is not None:
        at = fact.at.isoformat()
        if (at, fact.failure) >= (known.get("failure_at", ""), known.get("failure", "")):
            facts["failure"], facts["failure_at"] = fact.failure, at
    return facts
