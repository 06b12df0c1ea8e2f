"""The arithmetic of prorations, against figures reckoned by hand and one that Stripe has billed."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from bursar_sandbox.stripe import proration
from bursar_sandbox.stripe.proration import Part

APRIL, MAY = 1_775_001_600, 1_777_593_600  # thirty days apart
MIDDLE = (APRIL + MAY) // 2


def part(amount: int, **fields: Any) -> Part:
    known: dict[str, Any] = {"item": "si_1", "name": "Basic", "quantity": 1, "pricing": {}}
    return Part(**{**known, "amount": amount, "start": APRIL, "end": MAY, **fields})


def amounts(paid: list[Part], wanted: list[Part], at: int = MIDDLE, step: int = 1) -> list[int]:
    return [line.net for line in proration.prorate(paid, wanted, at, step=step)]


def test_upgrade_in_the_middle_credits_half_and_charges_half() -> None:
    assert amounts([part(1000)], [part(2000)]) == [-500, 1000]


def test_figures_are_those_that_stripe_has_billed() -> None:
    # A month of 30 days; changed 18,442 seconds in, from 20.00 to 25.00.
    start, end, at = 1718643234, 1721235234, 1718661676
    paid, wanted = part(2000, start=start, end=end), part(2500, start=start, end=end)
    credit, charge = proration.prorate([paid], [wanted], at)
    assert (credit.amount, charge.amount) == (-1986, 2482)
    assert credit.description == "Unused time on Basic after 17 Jun 2024"
    assert charge.description == "Remaining time on Basic after 17 Jun 2024"
    assert {(line.start, line.end) for line in (credit, charge)} == {(at, end)}


def test_credit_after_a_charge_of_the_same_share_comes_to_nothing() -> None:
    # Half of an odd amount is rounded the same way on both sides.
    assert amounts([part(999)], [part(999)]) == [-500, 500]


def test_discounts_are_prorated_with_their_line() -> None:
    paid = part(1000, discounts=(("di_1", 200),))
    wanted = part(2000, discounts=(("di_1", 400),))
    credit, charge = proration.prorate([paid], [wanted], MIDDLE)
    assert (credit.amount, credit.discounts, credit.net) == (-500, (("di_1", -100),), -400)
    assert (charge.amount, charge.discounts, charge.net) == (1000, (("di_1", 200),), 800)


def test_charge_of_a_part_of_the_period_is_credited_by_its_own_length() -> None:
    # 10.00 were charged for the second half; after three quarters, half of that is left.
    half = part(1000, start=MIDDLE)
    assert amounts([half], [], (MIDDLE + MAY) // 2) == [-500]


def test_charge_for_a_time_to_come_is_credited_whole() -> None:
    assert amounts([part(1000)], [], APRIL - 500) == [-1000]


def test_what_is_used_up_and_what_cost_nothing_gives_no_credit() -> None:
    assert amounts([part(1000, end=MIDDLE), part(0)], []) == []


def test_quantity_stands_before_the_name() -> None:
    (line,) = proration.prorate([], [part(5000, quantity=5)], MIDDLE)
    assert line.description == "Remaining time on 5 × Basic after 16 Apr 2026"


def test_currencies_with_coarser_steps_are_rounded_to_them() -> None:
    assert amounts([part(1300)], [part(2500)], step=100) == [-700, 1300]


@given(
    prices=st.lists(st.integers(0, 100_000), min_size=1, max_size=8),
    moments=st.lists(st.integers(APRIL, MAY - 1), min_size=7, max_size=7),
)
def test_changes_in_a_row_cost_what_each_price_costs_for_its_time(
    prices: list[int], moments: list[int]
) -> None:
    paid, charges = prices[0], [part(prices[0])]
    begins = [APRIL, *sorted(moments)[: len(prices) - 1], MAY]
    for price, at in zip(prices[1:], begins[1:], strict=False):
        lines = proration.prorate(charges, [part(price)], at)
        paid += sum(line.net for line in lines)
        charges = [part(line.net, start=line.start) for line in lines if line.credited is None]
        charges = charges[-1:] if lines[-1].amount >= 0 else []
    exact = sum(
        price * (end - begin) / (MAY - APRIL)
        for price, begin, end in zip(prices, begins, begins[1:], strict=False)
    )
    assert abs(paid - exact) <= len(prices)


def item(item_id: str, price: str, interval: str = "month", unit: str = "1000") -> dict[str, Any]:
    recurring = {"interval": interval, "interval_count": 1}
    sold = {"id": price, "recurring": recurring, "unit_amount_decimal": unit}
    return {"id": item_id, "price": sold, "quantity": 1}


def test_items_that_change_come_or_go_are_prorated_and_no_others() -> None:
    before = [item("a", "basic"), item("b", "extra"), item("c", "gone")]
    after = [item("a", "pro"), item("b", "extra"), item("d", "new")]
    assert proration.changed(before, after) == {"a", "c", "d"}
    assert proration.changed(before, [{**one, "quantity": 2} for one in before]) == {"a", "b", "c"}


def test_period_begins_anew_with_another_interval_or_between_free_and_paid() -> None:
    monthly = [item("a", "basic")]
    assert proration.resets_cycle(monthly, [item("a", "yearly", "year")])
    assert proration.resets_cycle(monthly, [item("a", "free", unit="0")])
    assert proration.resets_cycle([item("a", "free", unit="0")], monthly)
    assert not proration.resets_cycle(monthly, [item("a", "pro", unit="2000")])
    assert not proration.resets_cycle(monthly, [*monthly, item("b", "yearly", "year")])
