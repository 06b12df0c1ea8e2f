"""The arithmetic of totals, on whatever lines, coupons and rates there may be."""

from __future__ import annotations

from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from bursar_sandbox.stripe.totals import Line, Off, Rate, reckon, spread

STEPS = st.sampled_from([1, 10, 100])
PERCENTS = st.decimals(0, 100, places=2)
RATES = st.builds(Rate, id=st.just("txr"), percent=PERCENTS, inclusive=st.booleans())
LINES = st.lists(
    st.builds(
        Line,
        amount=st.integers(0, 10**7),
        product=st.sampled_from(["ink", "paper"]),
        rates=st.lists(RATES, max_size=3).map(tuple),
    ),
    min_size=1,
    max_size=8,
)
PRODUCTS = st.none() | st.just(frozenset({"ink"}))
OFFS = st.builds(Off, percent=PERCENTS, products=PRODUCTS) | st.builds(
    Off, amount=st.integers(1, 10**8), products=PRODUCTS
)


@given(LINES, st.none() | OFFS, STEPS)
def test_every_line_adds_up_and_stays_what_can_be_charged(
    lines: list[Line], off: Off | None, step: int
) -> None:
    lines = [Line(line.amount * step, line.product, line.rates) for line in lines]
    for line, sums in zip(lines, reckon(lines, off, step), strict=True):
        assert 0 <= sums.discount <= line.amount
        assert sums.tax == sum(tax.amount for tax in sums.taxes)
        on_top = sum(tax.amount for tax in sums.taxes if not tax.rate.inclusive)
        assert sums.total == line.amount - sums.discount + on_top
        assert all(tax.amount % step == 0 for tax in sums.taxes)
        if off is None or not off.takes_from(line.product):
            assert sums.discount == 0


@given(LINES, st.integers(1, 10**8), STEPS)
def test_amount_off_is_given_whole_and_never_more_than_there_is(
    lines: list[Line], amount: int, step: int
) -> None:
    shares = reckon(lines, Off(amount=amount), step)
    assert sum(one.discount for one in shares) == min(amount, sum(line.amount for line in lines))


@given(st.integers(0, 10**6), st.lists(st.integers(0, 10**6), min_size=1), STEPS)
def test_shares_differ_from_their_parts_by_less_than_two_steps(
    amount: int, bases: list[int], step: int
) -> None:
    whole = sum(bases)
    if amount <= whole and whole:
        for share, base in zip(spread(amount, bases, step), bases, strict=True):
            assert abs(share - Decimal(amount) * base / whole) < 2 * step


@given(LINES)
def test_everything_off_leaves_nothing_to_pay_or_tax(lines: list[Line]) -> None:
    assert all(sums.total == sums.tax == 0 for sums in reckon(lines, Off(percent=Decimal(100))))
