"""What the operators' pages say of the time that is left for an order."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from bursar.billing.order_review import Order
from bursar.billing.payments import Payment
from bursar.entrypoints.web import order_lines

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)


def order(left: timedelta, **fields: Any) -> Order:
    """An order of $50 for 100 pages whose money is held for so long."""
    known: dict[str, Any] = dict.fromkeys(Payment.__dataclass_fields__)
    known |= {
        "id": 7, "customer_id": 1, "provider": "stripe", "state": "authorized", "currency": "usd",
        "amount_minor": 5000, "authorized_minor": 5000, "captured_minor": 0, "refunded_minor": 0,
        "disputed_minor": 0, "credits": 100, "snapshot": {"name": "Enterprise"},
        "created_at": NOW - timedelta(days=1), "authorized_until": NOW + left, **fields,
    }  # fmt: skip
    return Order(
        payment=Payment(**known),
        user_email=None,
        user_name=None,
        first_order=True,
        authorized_at=NOW - timedelta(days=1),
        disputes=0,
        decision=None,
    )


@pytest.mark.parametrize(
    ("left", "words", "soon"),
    [
        (timedelta(days=6, hours=23), "6 days left", False),
        (timedelta(days=2), "2 days left", False),
        (timedelta(days=1, hours=23), "47 hours left", False),
        (timedelta(hours=2), "2 hours left", True),
        (timedelta(minutes=119), "119 min left", True),
        (timedelta(seconds=59), "Time is up", True),
        (timedelta(days=-3), "Time is up", True),
    ],
)
def test_time_left_is_said_in_words_and_fits_the_meter(
    left: timedelta, words: str, soon: bool
) -> None:
    told = order_lines.time_left(order(left), NOW)
    assert (told.words, told.soon) == (words, soon)
    assert 0 <= told.seconds <= told.whole_seconds


def test_the_sentence_says_what_each_state_means_for_the_money() -> None:
    held = order(timedelta(days=3))
    assert order_lines.sentence(held, NOW) == (
        "$50.00 is held. Capture by 24 Nov 2026, 12:00 UTC, or it lapses and nothing is charged."
    )
    said = {
        state: order_lines.sentence(
            replace(held, payment=replace(held.payment, state=state, captured_minor=captured)), NOW
        )
        for state, captured in (("completed", 2000), ("expired", 0), ("canceled", 0))
    }
    assert said["completed"] == (
        "$20.00 of $50.00 was captured. $30.00 was let go, and not charged."
    )
    assert said["expired"].startswith("Lapsed, nothing charged.")
    assert said["canceled"].startswith("Canceled, nothing charged.")


def test_the_money_ends_in_what_is_to_be_captured_or_was() -> None:
    held = order(timedelta(days=3))
    assert [(s.words, s.amount) for s in order_lines.sums(held) if s.total] == [
        ("To capture", "$50.00")
    ]
    taken = replace(held, payment=replace(held.payment, state="completed", captured_minor=2000))
    assert [(s.words, s.amount, s.total) for s in order_lines.sums(taken)] == [
        ("Enterprise", "$50.00", False),
        ("Held at the bank", "$50.00", False),
        ("Let go", "$30.00", False),
        ("Captured", "$20.00", True),
    ]
