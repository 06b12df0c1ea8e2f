"""Merging facts, and holding what was paid against what was asked. Pure."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bursar.billing.payment_facts import (
    Row,
    binds,
    credits_due,
    excess_minor,
    fits,
    lacks_facts,
    merged,
    mismatch,
)
from bursar.providers.port import Line, PaymentFacts, PaymentState, Totals

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
TOTALS = Totals((Line("price_1", 2, 1000),), 1000, 0, 0, 1000)
ROW = Row(
    customer_id=1,
    id=7,
    reference="r",
    provider="stripe",
    kind="checkout",
    state="pending",
    state_at=None,
    amount_minor=1000,
    currency="usd",
    captured_minor=0,
    refunded_minor=0,
    refund_pending_minor=0,
    unit="credit",
    credits=300,
    snapshot={
        "currency": "usd",
        "subtotal_minor": 1000,
        "discount_minor": 0,
        "capture_method": "automatic",
        "lines": [{"price_id": "price_1", "quantity": 2}],
    },
    facts={},
    mismatch=None,
    session_id=None,
    session_url=None,
    payment_intent_id=None,
    receipt_url=None,
    description=None,
    completed_at=None,
)


def fact(state: PaymentState | None, seconds: int = 0, **fields: object) -> PaymentFacts:
    at = NOW + timedelta(seconds=seconds)
    return PaymentFacts(provider="stripe", at=at, state=state, **fields)  # type: ignore[arg-type]


def settle(*facts: PaymentFacts, row: Row = ROW) -> Row:
    for one in facts:
        row = merged(row, one)
    return row


STATES: list[PaymentState] = [
    "pending",
    "processing",
    "authorized",
    "completed",
    "failed",
    "expired",
    "canceled",
]


@given(
    st.lists(
        st.builds(
            fact,
            st.sampled_from([*STATES, None]),
            st.integers(0, 2),
            captured_minor=st.sampled_from([None, 0, 700, 1000]),
            session_id=st.sampled_from([None, "cs_1"]),
            payment_intent_id=st.sampled_from([None, "pi_1"]),
            currency=st.sampled_from([None, "usd", "eur"]),
            failure=st.sampled_from([None, "a", "b"]),
            totals=st.sampled_from([None, TOTALS]),
        ),
        min_size=1,
        max_size=5,
    ),
    st.randoms(use_true_random=False),
)
def test_any_order_with_any_repeats_gives_one_row(
    facts: list[PaymentFacts], random: object
) -> None:
    shuffled = [*facts, *facts]
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert settle(*shuffled) == settle(*facts)


def test_a_second_card_after_a_decline_completes() -> None:
    row = settle(fact("failed", 0, failure="insufficient_funds"), fact("completed", 9))
    assert row.state == "completed"


def test_a_decline_that_arrives_late_does_not_undo_a_payment() -> None:
    assert settle(fact("completed", 9), fact("failed", 0)).state == "completed"
    assert settle(fact("completed", 0), fact("failed", 9)).state == "completed"


@pytest.mark.parametrize("ended", ["expired", "canceled"])
def test_money_taken_beats_an_ended_session(ended: PaymentState) -> None:
    assert settle(fact(ended, 9), fact("completed", 0)).state == "completed"


def test_a_failed_intent_may_still_expire_or_be_tried_again() -> None:
    assert settle(fact("failed", 0), fact("processing", 5)).state == "processing"
    assert settle(fact("failed", 5), fact("processing", 0)).state == "failed"
    assert settle(fact("failed", 5), fact("expired", 0)).state == "expired"


def test_captures_are_cumulative_and_never_fall() -> None:
    row = settle(fact("completed", captured_minor=1000), fact("completed", captured_minor=700))
    assert row.captured_minor == 1000


def test_another_intent_or_provider_under_our_reference_does_not_fit() -> None:
    known = replace(ROW, payment_intent_id="pi_1", session_id="cs_1")
    assert fits(known, fact("completed", payment_intent_id="pi_1"))
    assert not fits(known, fact("completed", payment_intent_id="pi_2"))
    assert not fits(known, fact("completed", session_id="cs_2"))
    assert not fits(known, replace(fact("completed"), provider="paddle"))


def paid(totals: Totals = TOTALS, captured: int = 1000, currency: str = "usd") -> Row:
    return settle(fact("completed", captured_minor=captured, currency=currency, totals=totals))


def test_what_was_asked_agrees() -> None:
    assert mismatch(paid()) is None


@pytest.mark.parametrize(
    ("row", "word"),
    [
        (paid(replace(TOTALS, lines=(Line("price_2", 2, 1000),))), "bought"),
        (paid(replace(TOTALS, lines=(Line("price_1", 3, 1000),))), "bought"),
        (paid(replace(TOTALS, lines=())), "bought"),
        (paid(replace(TOTALS, lines=(*TOTALS.lines, Line("price_3", 1, 0)))), "bought"),
        (paid(replace(TOTALS, subtotal_minor=999, total_minor=999)), "subtotal"),
        (paid(replace(TOTALS, total_minor=900)), "total"),
        (paid(currency="eur"), "currency"),
        (paid(captured=999), "captured"),
        (paid(replace(TOTALS, discount_minor=999, total_minor=1), captured=1), "discount"),
        (settle(fact("completed", captured_minor=1000, currency="usd")), "does not say"),
        (settle(fact(None, currency="eur"), row=paid()), "currency"),
    ],
)
def test_every_difference_is_named(row: Row, word: str) -> None:
    assert word in (mismatch(row) or "")


def test_discount_and_added_tax_come_out() -> None:
    totals = replace(TOTALS, discount_minor=150, tax_added_minor=85, total_minor=935)
    known = {**ROW.snapshot, "discount_minor": 150}
    assert mismatch(replace(paid(totals, captured=935), snapshot=known)) is None
    assert mismatch(paid(totals, captured=935)) is not None
    wrong = paid(replace(totals, tax_added_minor=84), captured=935)
    assert mismatch(replace(wrong, snapshot=known)) is not None


def test_a_part_is_fine_only_where_capture_by_hand_was_asked() -> None:
    by_hand = {**ROW.snapshot, "capture_method": "manual"}
    assert mismatch(replace(paid(captured=700), snapshot=by_hand)) is None
    assert mismatch(paid(captured=700)) is not None


def test_more_than_the_order_is_excess_and_brings_no_more() -> None:
    assert mismatch(paid(captured=1001)) is None
    assert excess_minor(paid(captured=1001)) == 1
    assert credits_due(paid(captured=5000)) == 300
    assert excess_minor(paid()) == 0


def test_a_completed_payment_can_be_judged_once_lines_and_money_are_known() -> None:
    assert lacks_facts(settle(fact("completed", captured_minor=1000)))
    assert lacks_facts(settle(fact("completed", totals=TOTALS)))
    assert not lacks_facts(paid())
    assert not lacks_facts(settle(fact("processing")))
    free = replace(TOTALS, discount_minor=1000, total_minor=0)
    assert not lacks_facts(settle(fact("completed", totals=free)))


def test_an_intent_is_a_checkouts_only_once_the_session_named_it() -> None:
    stray = fact("completed", payment_intent_id="pi_1", captured_minor=1)
    assert not binds(ROW, stray)
    assert binds(replace(ROW, payment_intent_id="pi_1"), stray)
    assert binds(ROW, replace(stray, session_id="cs_1"))
    assert binds(replace(ROW, kind="intent"), stray)


def test_a_finished_sessions_totals_beat_an_open_ones() -> None:
    old = replace(TOTALS, subtotal_minor=1)
    first, last = fact(None, 9, totals=old), fact("completed", 0, totals=TOTALS)
    assert settle(first, last).totals == settle(last, first).totals == TOTALS


def test_a_price_of_ones_own_is_compared_by_its_amount() -> None:
    asked = {**ROW.snapshot, "lines": [{"price_id": None, "quantity": 2}]}
    assert mismatch(replace(paid(), snapshot=asked)) is None
    assert mismatch(replace(paid(), snapshot={**asked, "subtotal_minor": 1})) is not None


def test_credits_follow_what_was_captured() -> None:
    assert credits_due(paid()) == 300
    assert credits_due(paid(captured=700)) == 210
    assert credits_due(paid(captured=999)) == 299
    assert credits_due(replace(paid(), mismatch="another price")) == 0
    assert credits_due(settle(fact("processing", totals=TOTALS))) == 0
    free = replace(TOTALS, discount_minor=1000, total_minor=0)
    assert credits_due(paid(free, captured=0)) == 300
