"""What the success page says of a subscription that was begun: the plan or the trial, and what
comes next. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from bursar.billing.catalog_plans import Terms
from bursar.billing.subscriptions.rows import Subscription
from bursar.entrypoints import right_words
from bursar.entrypoints.subscription_words import day, short_day
from bursar.entrypoints.web.badges import Badge, subscription_badge
from bursar.entrypoints.web.subscription_lines import plan_name, price_of


@dataclass(frozen=True, slots=True)
class Begun:
    """A subscription as it began; `next` is what is charged next, and when."""

    heading: str
    sentence: str
    name: str
    features: str
    badge: Badge
    next: tuple[str, str]
    trial: bool = False


def begun(row: Subscription, terms: Terms | None) -> Begun | None:
    """What to say of a subscription; None for one that never came to life."""
    name, each = plan_name(row, terms), price_of(row)
    features = right_words.said(terms.rights) if terms else ""
    if row.status == "trialing" and row.trial_end is not None:
        end = day(row.trial_end)
        then = f"After that it costs {each}, charged first on {end}."
        if terms is not None and not terms.trial_card:
            ends = "ends" if terms.trial_end == "cancel" else "pauses"
            then = f"After that it costs {each}. Without a card it {ends} then."
        return Begun(
            heading=f"Your trial of {name} runs until {end}",
            sentence=f"Nothing was charged. {then} You can cancel at any time before.",
            name=f"{name}, {each}",
            features=features,
            badge=subscription_badge(row.status, trial_until=short_day(row.trial_end)),
            next=("First charge", end),
            trial=True,
        )
    if not row.live:
        return None
    return Begun(
        heading=f"You have {name}",
        sentence=f"{name} costs {each} and renews on {day(row.period_end)}, until you cancel.",
        name=f"{name}, {each}",
        features=features,
        badge=subscription_badge(row.status),
        next=("Next charge", day(row.period_end)),
    )
