"""The words about subscriptions: one badge for each state, prices by the interval, reasons."""

from __future__ import annotations

from typing import get_args

import pytest

from bursar.entrypoints.subscription_words import BANK_ASKS, UNSAID, price, why
from bursar.entrypoints.web.badges import INVOICE, SUBSCRIPTION, invoice_badge, subscription_badge
from bursar.providers.recurring import InvoiceStatus, SubscriptionStatus


def test_every_state_of_a_subscription_and_of_an_invoice_has_a_badge() -> None:
    assert set(SUBSCRIPTION) == set(get_args(SubscriptionStatus))
    assert set(INVOICE) == set(get_args(InvoiceStatus))


@pytest.mark.parametrize(
    ("status", "days", "word", "tone"),
    [
        ("trialing", {"trial_until": "4 Dec"}, "Trial until 4 Dec", "note"),
        ("trialing", {"trial_until": "4 Dec", "ends": "4 Dec"}, "Ends 4 Dec", "wait"),
        ("active", {"trial_until": "4 Dec"}, "Active", "good"),
        ("active", {"ends": "20 Dec"}, "Ends 20 Dec", "wait"),
        ("past_due", {"ends": "20 Dec"}, "Payment failed", "bad"),
        ("paused", {}, "Paused", "idle"),
        ("canceled", {"ends": "20 Dec"}, "Ended", "idle"),
    ],
)
def test_a_badge_says_the_day_that_counts(
    status: str, days: dict[str, str], word: str, tone: str
) -> None:
    badge = subscription_badge(status, **days)
    assert (badge.word, badge.tone) == (word, tone)


def test_an_invoice_that_was_tried_is_not_merely_due() -> None:
    assert invoice_badge("open", failed=False).word == "Due"
    assert invoice_badge("open", failed=True).word == "Payment failed"
    assert invoice_badge("paid", failed=True).word == "Paid"


def test_prices_name_their_interval() -> None:
    assert price(1500, "usd", "month").replace("\N{NO-BREAK SPACE}", " ") == "$15.00 a month"
    told = price(9000, "jpy", "month", 6, trim=True)
    assert told.replace("\N{NO-BREAK SPACE}", " ") == "¥9,000 every 6 months"


def test_a_reason_says_no_more_than_the_bank_does() -> None:
    assert why("insufficient_funds", needs_action=False) == "the card does not have enough money"
    assert why("lost_card", needs_action=False) == why("generic_decline", needs_action=False)
    assert why(None, needs_action=False) == UNSAID
    assert why("authentication_required", needs_action=False) == BANK_ASKS
    assert why("insufficient_funds", needs_action=True) == BANK_ASKS
