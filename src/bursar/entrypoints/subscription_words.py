"""How pages and letters write subscriptions: prices by the interval, reasons, days. Pure."""

from __future__ import annotations

from datetime import UTC, datetime

from bursar.money import format_money

NBSP = "\N{NO-BREAK SPACE}"

# Why a renewal's money did not come, to stand after "because". What a bank keeps to itself is
# never said more closely.
REASONS = {
    "insufficient_funds": "the card does not have enough money",
    "expired_card": "the card has expired",
    "incorrect_cvc": "the card's security code is not right",
    "invalid_cvc": "the card's security code is not right",
    "incorrect_number": "the card number is not right",
    "invalid_number": "the card number is not right",
}
BANK_ASKS = "your bank wants you to confirm it"
UNSAID = "the bank declined it and gave no reason"


def price(
    amount_minor: int, currency: str, interval: str, count: int = 1, *, trim: bool = False
) -> str:
    """What one interval costs: "$15.00 a month", "$90.00 every 6 months"."""
    return f"{format_money(amount_minor, currency, trim=trim)} {rhythm(interval, count)}"


def rhythm(interval: str, count: int = 1) -> str:
    """How often: "a month", "every 6 months"."""
    return f"a{NBSP}{interval}" if count == 1 else f"every{NBSP}{count}{NBSP}{interval}s"


def why(failure: str | None, *, needs_action: bool) -> str:
    """Why money did not come, as the end of a sentence with "because"."""
    if needs_action or failure in (
        "authentication_required",
        "payment_intent_authentication_failure",
    ):
        return BANK_ASKS
    return REASONS.get(failure or "", UNSAID)


def day(at: datetime) -> str:
    """`20 Dec 2026`, in UTC, never broken over two lines."""
    at = at.astimezone(UTC)
    return f"{at.day}{NBSP}{at:%b}{NBSP}{at.year}"


def short_day(at: datetime) -> str:
    """`20 Dec`, in UTC."""
    at = at.astimezone(UTC)
    return f"{at.day}{NBSP}{at:%b}"
