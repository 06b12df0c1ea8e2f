"""What the pages show to be copied works with the catalogue that is shipped."""

from __future__ import annotations

import re

from bursar.billing import catalog_file
from tidy.sources import ROOT, text

PAGE = ROOT / "docs" / "howto" / "card-form.md"


def durations() -> dict[tuple[str, int], int]:
    """The price in cents of so many months of a plan, in the catalogue that is shipped."""
    wanted = catalog_file.read(ROOT / "catalog.toml")
    return {
        (price.key, price.months): price.amount_minor
        for price in wanted.prices
        if price.kind == "plan" and price.months is not None and price.currency == "usd"
    }


def test_the_card_forms_example_buys_a_plan_that_is_sold_at_its_price() -> None:
    asked = re.search(r'plan_id: "([\w-]+)", months: (\d+), amount: (\d+)', text(PAGE))
    assert asked is not None
    assert durations()[asked[1], int(asked[2])] == int(asked[3])


def test_the_addresses_of_plans_name_what_is_sold() -> None:
    named = re.findall(r"/checkout\?plan=([\w-]+)&months=(\d+)", text(PAGE))
    assert named
    assert [one for one in named if (one[0], int(one[1])) not in durations()] == []
