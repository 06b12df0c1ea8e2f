"""What is on sale in the simulated year: once for the shop, once in figures for the model."""

from __future__ import annotations

from dataclasses import dataclass

DEAR_MINOR = 1900
"""What the plan `saver` costs once its price has gone up."""


@dataclass(frozen=True)
class Plan:
    """A plan's figures: credits of a period (of a month), prices in cents."""

    key: str
    credits: int
    month_minor: int
    year_minor: int = 0
    features: frozenset[str] = frozenset()
    rollover: int = 0
    trial_credits: int = 0
    at_once: bool = False
    """Whether a year's allowance comes at once."""


PLANS = {
    plan.key: plan
    for plan in (
        Plan("basic", 20, 1500, 15000, frozenset({"history"})),
        Plan("pro", 50, 3100, 0, frozenset({"history", "priority"})),
        Plan("whole", 600, 0, 30000, frozenset({"history"}), at_once=True),
        Plan("trial", 30, 2000, features=frozenset({"history"}), trial_credits=5),
        Plan("try", 30, 2000, trial_credits=5),
        Plan("saver", 20, 1700, rollover=15),
        Plan("team", 40, 1000, features=frozenset({"seats"})),
    )
}

CATALOG = """
[units.page]
name = "Pages"

[plans.basic]
name = "Basic"
unit = "page"
credits = 20
features = ["history"]
prices = { month = { usd = 1500 }, year = { usd = 15000 } }
group = "pages"

[plans.pro]
name = "Pro"
unit = "page"
credits = 50
features = ["history", "priority"]
prices = { month = { usd = 3100 } }
group = "pages"

[plans.whole]
name = "Whole year"
unit = "page"
credits = 600
features = ["history"]
prices = { year = { usd = 30000 } }
yearly_credits = "once"
group = "pages"

[plans.trial]
name = "Trial"
unit = "page"
credits = 30
features = ["history"]
prices = { month = { usd = 2000 } }
trial_days = 14
trial_credits = 5
group = "trials"

[plans.try]
name = "Trial without a card"
unit = "page"
credits = 30
prices = { month = { usd = 2000 } }
trial_days = 14
trial_card = false
trial_credits = 5
group = "trials"

[plans.saver]
name = "Saver"
unit = "page"
credits = 20
rollover = 15
prices = { month = { usd = 1700 } }
group = "saver"

[plans.team]
name = "Team"
unit = "page"
credits = 40
limits = { seats = 1 }
prices = { month = { usd = 1000 } }
group = "team"
"""
DEARER = CATALOG.replace("usd = 1700", f"usd = {DEAR_MINOR}")
