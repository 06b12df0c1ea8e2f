"""Plans that renew, as the pricing page shows them: a rate card of each group. Pure.

Turns the catalogue and what the visitor has into words and figures; it decides no price and lets
nobody subscribe: that is asked again when the order is placed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Literal
from urllib.parse import urlencode

from bursar.billing.catalog import DEFAULT_CURRENCY, Unit
from bursar.billing.catalog_plans import Plan, PlanPrice
from bursar.billing.rights import Right
from bursar.billing.subscriptions.rows import Subscription
from bursar.entrypoints import right_words
from bursar.entrypoints.subscription_words import day, price, rhythm
from bursar.entrypoints.web.figures import amount_of, per_unit
from bursar.money import format_money

Interval = Literal["month", "year"]
COLUMNS_MAX = 4


@dataclass(frozen=True, slots=True)
class Card:
    """A plan. `way` is what the button does: subscribe here, switch to it, or look after it."""

    key: str
    name: str
    description: str
    price: str
    rhythm: str
    brings: str
    each: str
    features: tuple[str, ...]
    mark: str
    way: Literal["subscribe", "switch", "manage"]
    button: str
    url: str
    """Where a link leads; empty for a form."""
    interval: Interval
    currency: str
    terms: str
    """When it is charged, and that it renews."""
    leads: bool = False
    """Whether its button is the strongest of the page."""


@dataclass(frozen=True, slots=True)
class Group:
    """Plans of which a customer has one at a time; `name` tells it from the others on the page."""

    name: str
    heading: str
    cards: tuple[Card, ...]

    @property
    def wide(self) -> bool:
        """Whether columns do not suit: there are too many, or only one."""
        return not 1 < len(self.cards) <= COLUMNS_MAX


@dataclass(frozen=True, slots=True)
class Switch:
    """A period to choose: its address, and whether it is the one that is shown."""

    word: str
    url: str
    chosen: bool
    saving: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """What the page was asked to show, and who looks: `had` are the groups whose trial is used."""

    interval: Interval
    currency: str
    kept: str | None
    signed_in: bool
    live: Sequence[Subscription]
    had: frozenset[str]
    now: datetime


def groups(plans: Sequence[Plan], units: Mapping[str, Unit], shown: Shown) -> list[Group]:
    """The plans that renew, by group, in the order of the catalogue; add-ons stand apart."""
    found: dict[str, list[Plan]] = {}
    for plan in plans:
        if plan.prices:
            name = f"{plan.group}-extras" if plan.terms.addon else plan.group
            found.setdefault(name, []).append(plan)
    made = [_group(name, of_group, units, shown) for name, of_group in found.items()]
    first = _first(made)
    return [
        replace(group, cards=tuple(replace(card, leads=card is first) for card in group.cards))
        for group in made
    ]


def _first(made: Sequence[Group]) -> Card | None:
    """The card whose button is the strongest: of an order that was left, else one in the middle."""
    cards = [card for group in made for card in group.cards if card.way == "subscribe"]
    kept = next((card for card in cards if card.mark), None)
    row = [card for card in made[0].cards if card.way == "subscribe"] if made else []
    return kept or (row[min(1, len(row) - 1)] if row else None)


def switches(plans: Sequence[Plan], shown: Shown) -> list[Switch]:
    """Monthly and yearly, where both are sold."""
    if {price.interval for plan in plans for price in plan.prices} != {"month", "year"}:
        return []
    asked = {"currency": shown.currency} if shown.currency != DEFAULT_CURRENCY else {}
    words: tuple[tuple[Interval, str], ...] = (("month", "Monthly"), ("year", "Yearly"))
    return [
        Switch(
            word=word,
            url=f"/pricing?{urlencode({'period': interval, **asked})}",
            chosen=interval == shown.interval,
            saving=_saving(plans, shown.currency) if interval == "year" else "",
        )
        for interval, word in words
    ]


def price_of(plan: Plan, interval: str, currency: str) -> PlanPrice:
    """What to show of a plan that renews: by this interval and in this currency, if it is sold so;
    else in the US dollar, else in its own; else by its other interval."""
    by_interval = [one for one in plan.prices if one.interval == interval] or list(plan.prices)
    offered = {one.currency: one for one in by_interval}
    wanted = next((c for c in (currency, DEFAULT_CURRENCY) if c in offered), min(offered))
    return offered[wanted]


def current(live: Sequence[Subscription], group: str) -> Subscription | None:
    """The subscription that counts as the one of a group: one that goes on before one that ends."""
    of_group = [row for row in live if row.plan_group == group and not row.addon]
    going_on = [row for row in of_group if row.cancel_at is None]
    return next(iter([*going_on, *of_group]), None)


def features(rights: Sequence[Right]) -> tuple[str, ...]:
    """Each on its own, its first letter large."""
    said = [right_words.said([right]) for right in rights]
    plain = [words for words, right in zip(said, rights, strict=True) if right.amount is None]
    limits = [words for words, right in zip(said, rights, strict=True) if right.amount is not None]
    return tuple(words[:1].upper() + words[1:] for words in (*plain, *limits))


def _group(name: str, plans: Sequence[Plan], units: Mapping[str, Unit], shown: Shown) -> Group:
    brought = {plan.unit for plan in plans if plan.credits}
    unit = units.get(next(iter(brought))) if len(brought) == 1 else None
    heading = f"{unit.label} every month" if unit else "Plans"
    if plans[0].terms.addon:
        heading = "Beside a plan"
    return Group(name, heading, tuple(_card(plan, units, shown) for plan in plans))


def _card(plan: Plan, units: Mapping[str, Unit], shown: Shown) -> Card:
    sold = price_of(plan, shown.interval, shown.currency)
    if plan.terms.addon:
        have = next((row for row in shown.live if row.plan == plan.key), None)
    else:
        have = current(shown.live, plan.group)
    mine = have is not None and have.plan == plan.key
    same = mine and have is not None and have.interval == sold.interval
    trial = plan.trial_days if plan.group not in shown.had and have is None else None
    way, button, url = _way(plan, sold, have if not same else None, same=same, trial=trial)
    if way == "subscribe" and not shown.signed_in:
        query = {"plan": plan.key, "period": sold.interval, "currency": sold.currency}
        url = f"/sign-in?{urlencode({'next': f'/pricing?{urlencode(query)}'})}"
    unit = units.get(plan.unit)
    brings = plan.credits and unit and f"{amount_of(plan.credits, unit)} a month"
    months = 12 if sold.interval == "year" else 1
    each = ""
    if plan.credits and unit and sold.amount_minor:
        each = per_unit(sold.amount_minor, sold.currency, plan.credits * months, unit)
    return Card(
        key=plan.key,
        name=plan.name,
        description=plan.description or "",
        price=format_money(sold.amount_minor, sold.currency, trim=True),
        rhythm=rhythm(sold.interval),
        brings=brings or "",
        each=f"{each} per {unit.name}" if each and unit else "",
        features=features(plan.rights),
        mark="Your plan" if mine else "Your order" if plan.key == shown.kept else "",
        way=way,
        button=button,
        url=url,
        interval=sold.interval,
        currency=sold.currency,
        terms=_terms(plan, sold, trial, shown.now) if way == "subscribe" else "",
    )


def _way(
    plan: Plan, sold: PlanPrice, have: Subscription | None, *, same: bool, trial: int | None
) -> tuple[Literal["subscribe", "switch", "manage"], str, str]:
    if same:
        return "manage", "Manage", "/account#plan"
    if have is not None:
        to = f"{plan.key}:{sold.interval}"
        words = (
            f"Switch to {sold.interval}ly" if have.plan == plan.key else f"Switch to {plan.name}"
        )
        return "switch", words, f"/account/plan/{have.id}/change?{urlencode({'to': to})}"
    if trial:
        return "subscribe", f"Start {trial}-day trial", ""
    return "subscribe", f"Subscribe to {plan.name}", ""


def _terms(plan: Plan, sold: PlanPrice, trial: int | None, now: datetime) -> str:
    each = price(sold.amount_minor, sold.currency, sold.interval)
    if not trial:
        return f"Charged today, then every {sold.interval} until you cancel."
    first = day(now + timedelta(days=trial))
    if plan.terms.trial_card:
        return f"Free for {trial} days. First charge on {first}, then {each} until you cancel."
    then = "it ends" if plan.terms.trial_end == "cancel" else "it pauses"
    return (
        f"Free for {trial} days, no card needed. Then {each} from {first}; without a card {then}."
    )


def _saving(plans: Sequence[Plan], currency: str) -> str:
    """How many months a year saves, if it is the same whole number for all plans sold both ways."""
    saved: set[float] = set()
    for plan in plans:
        offered = {
            one.interval: one.amount_minor for one in plan.prices if one.currency == currency
        }
        if offered.get("month") and "year" in offered:
            saved.add((12 * offered["month"] - offered["year"]) / offered["month"])
    months = saved.pop() if len(saved) == 1 else 0
    if months < 1 or months != int(months):
        return ""
    return "1 month free" if months == 1 else f"{int(months)} months free"
