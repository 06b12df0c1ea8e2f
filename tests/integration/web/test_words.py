"""Badges, problems and outcomes: every status and every error has its words."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import get_args

import pytest

from bursar import errors
from bursar.billing import payments
from bursar.billing.catalog import Unit
from bursar.billing.payments import Payment
from bursar.billing.reversals import Reversal
from bursar.entrypoints.web import badges, outcomes, problems, statements
from bursar.entrypoints.web.figures import moment
from bursar.ledger.balances import Balance, PostingRow
from bursar.providers.port import ReversalState

NOW = datetime(2026, 11, 21, 10, 3, tzinfo=UTC)
PAGE = Unit("page", "Pages", 0, {}, {})

PAYMENT = Payment(
    id=7,
    customer_id=1,
    user_id="ada",
    provider="stripe",
    kind="checkout",
    reference="r",
    opening="open",
    state="completed",
    amount_minor=1000,
    currency="usd",
    captured_minor=1000,
    refunded_minor=0,
    refund_pending_minor=0,
    disputed_minor=0,
    unit="page",
    credits=12,
    session_id="cs_1",
    session_url="https://pay.example/cs_1",
    payment_intent_id=None,
    description=None,
    receipt_url=None,
    failure=None,
    mismatch=None,
    metadata={},
    snapshot={"name": "Basic"},
    request={},
    expires_at=NOW + timedelta(hours=1),
    created_at=NOW,
    completed_at=None,
)


def posting(id: int, amount: int, after: int, payment_id: int | None) -> PostingRow:
    return PostingRow(id, "page", "purchase", amount, after, payment_id, None, NOW)


def all_errors(family: type[errors.Error] = errors.Error) -> Iterator[type[errors.Error]]:
    for leaf in family.__subclasses__():
        yield leaf
        yield from all_errors(leaf)


def test_every_public_status_has_a_badge() -> None:
    for status in get_args(payments.Status):
        badge = badges.payment_badge(status)
        assert badge == badges.PAYMENT[status]
        assert len(badge.word.split()) <= 3


@pytest.mark.parametrize("kind", ["refund", "dispute"])
@pytest.mark.parametrize("state", get_args(ReversalState))
def test_every_state_of_a_reversal_has_a_badge_and_a_sentence(kind: str, state: str) -> None:
    reversal = Reversal(3, 7, kind, "r", None, 250, state, 1, None, NOW)  # type: ignore[arg-type]
    line = statements.return_line(reversal, "usd", NOW)
    assert line.hint
    assert line.badge.word != state
    # Only money that goes back, or did, is written as such.
    assert line.amount == ("$2.50" if state == "released" else "\N{MINUS SIGN}$2.50")


def test_an_unknown_status_shows_as_it_is() -> None:
    assert badges.payment_badge("odd") == badges.Badge("odd", "idle", "dot")
    assert badges.reversal_badge("refund", "odd") == badges.Badge("odd", "idle", "dot")


def test_a_payment_that_does_not_match_is_never_called_paid() -> None:
    assert badges.payment_badge("completed", mismatch=True).word == "Checking"
    told = outcomes.outcome(replace(PAYMENT, mismatch="currency eur, asked was usd"), brought=None)
    assert "eur" not in told.sentence
    assert "do not pay again" in told.sentence


def test_every_family_of_errors_has_a_page() -> None:
    families = {family for family in all_errors() if family.__bases__ == (errors.Error,)}
    assert families <= set(problems.FAMILIES)
    assert all(400 <= problem.status < 600 for problem in problems.FAMILIES.values())


@pytest.mark.parametrize("state", get_args(payments.Status)[:7])
def test_only_a_completed_payment_reads_as_paid(state: str) -> None:
    captured = PAYMENT.amount_minor if state == "completed" else 0
    told = outcomes.outcome(replace(PAYMENT, state=state, captured_minor=captured), brought=None)
    assert ("You paid" in told.heading) == (state == "completed")
    assert told.waiting == (state in ("pending", "processing"))


@pytest.mark.parametrize("state", ["failed", "expired", "canceled"])
def test_whoever_did_not_pay_reads_that_nothing_was_charged(state: str) -> None:
    told = outcomes.outcome(replace(PAYMENT, state=state, captured_minor=0), brought=None)
    assert "You were not charged." in told.sentence
    assert told.total_word == "Not charged"


@pytest.mark.parametrize("code", ["stolen_card", "lost_card", "fraudulent", "do_not_honor", None])
def test_a_bank_that_keeps_its_reason_is_not_told_on(code: str | None) -> None:
    told = outcomes.outcome(replace(PAYMENT, state="failed", failure=code), brought=None)
    assert told.sentence == outcomes.DECLINED


def test_a_declined_order_is_retried_where_it_is_kept() -> None:
    told = outcomes.outcome(
        replace(PAYMENT, state="failed", failure="insufficient_funds"), brought=None
    )
    assert "not have enough money" in told.sentence
    assert told.act.url == PAYMENT.session_url


def test_a_long_wait_offers_the_way_back_and_a_short_one_does_not() -> None:
    pending = replace(PAYMENT, state="pending", captured_minor=0)
    assert outcomes.outcome(pending, waited_seconds=4, brought=None).act.url == "/account"
    told = outcomes.outcome(pending, waited_seconds=20, brought=None)
    assert told.act.url == PAYMENT.session_url
    assert "not be charged twice" in told.sentence


def test_credits_are_told_before_and_after() -> None:
    rows = [posting(9, 5, 20, 8), posting(8, 12, 15, 7), posting(5, 3, 3, 6)]
    told = outcomes.credited(rows, PAYMENT, PAGE)
    assert told is not None
    assert (told.before, told.after) == ("3", "15")
    assert outcomes.credited(rows[:1], PAYMENT, PAGE) is None


def test_a_purchase_that_paid_a_debt_tells_only_what_is_now() -> None:
    told = outcomes.credited([posting(8, 12, 10, 7)], PAYMENT, PAGE)
    assert told is not None
    assert (told.before, told.after) == ("", "10")


def test_pools_stand_in_the_order_of_use() -> None:
    view = statements.balance_view(PAGE, Balance(17, 2, 1, {"plan": 3, "bonus": 5, "purchased": 9}))
    assert [(line.name, line.amount) for line in view.lines] == [
        ("Plan", "3"), ("Bonus", "5"), ("Bought", "9"),
    ]  # fmt: skip
    assert [line.hint.split(".")[0] for line in view.lines] == [
        "Used first", "Used next", "Used last",
    ]  # fmt: skip
    assert (view.total, view.held, view.owed) == ("17", "2", "1")


def test_an_order_can_be_paid_from_the_list_only_while_it_is_open() -> None:
    pending = replace(PAYMENT, state="pending", captured_minor=0)
    link = statements.payment_line(pending, NOW).link
    assert link is not None
    assert link.url == PAYMENT.session_url
    assert statements.payment_line(pending, NOW + timedelta(hours=2)).link is None
    assert statements.payment_line(PAYMENT, NOW).link is None


@pytest.mark.parametrize(
    ("ago", "text"),
    [
        (timedelta(seconds=30), "just now"),
        (timedelta(minutes=12), "12\N{NO-BREAK SPACE}min ago"),
        (timedelta(hours=23), "23\N{NO-BREAK SPACE}h ago"),
        (timedelta(days=1), "20 Nov 2026, 10:03"),
        (timedelta(hours=-1), "21 Nov 2026, 11:03"),
    ],
)
def test_times_are_near_in_words_and_far_by_date(ago: timedelta, text: str) -> None:
    assert moment(NOW - ago, NOW).text == text
