"""What subscribers are told: a charge that failed, or came after all, an end, a trial's end."""

from __future__ import annotations

from bursar.entrypoints.letters.letter import Letter, Matter, day, greeting, read_time
from bursar.entrypoints.subscription_words import price, why


def charge_failed(matter: Matter) -> Letter:
    """A renewal was not paid: why, when it is tried next, and what to do."""
    data, due, plan = matter.data, matter.money("amount"), _plan(matter)
    again = None if matter.last_try else data.get("next_attempt_at")
    asks = bool(data["needs_action"])
    said = why(data["failure"], needs_action=asks)
    steps = "Confirm the payment with your bank." if asks else "Pay now, or update your card."
    return Letter(
        subject=f"Your payment of {due} for {plan} at {matter.shop} failed",
        heading=f"{due} for {plan} was not paid",
        paragraphs=(
            greeting(matter),
            f"We could not take {due} for {plan}, because {said}. You were not charged.",
            f"We try again on {day(read_time(again))}. {steps}"
            if again
            else f"This was the last try, so {plan} ends now."
            if matter.last_try
            else f"It is not tried again by itself. {steps}",
        ),
        rows=(("Plan", plan), ("Owed", due), ("Attempt", str(data["attempts"]))),
        link=("Pay now", data["url"])
        if data.get("url") and not matter.last_try
        else _account(matter),
        after=(f"Your card and your invoices are at {matter.own_url}/account",),
        tone="bad",
    )


def charge_recovered(matter: Matter) -> Letter:
    """What had failed was paid after all."""
    paid, plan = matter.money("amount"), _plan(matter)
    return Letter(
        subject=f"Your payment of {paid} for {plan} at {matter.shop} went through",
        heading="Your payment went through",
        paragraphs=(
            greeting(matter),
            f"We received {paid} for {plan}, which had failed before. Your plan goes on; there is "
            "nothing left to do.",
        ),
        rows=(("Plan", plan), ("Paid", paid)),
        link=_account(matter),
        tone="good",
    )


def final_notice(matter: Matter) -> Letter:
    """A subscription ended because nobody paid for it."""
    plan = _plan(matter)
    ended = matter.data.get("ended_at")
    return Letter(
        subject=f"{plan} at {matter.shop} has ended, because it was not paid",
        heading=f"{plan} has ended",
        paragraphs=(
            greeting(matter),
            f"We could not take the payment for {plan}, so it has ended and what came with it is "
            "switched off. We do not try your card again.",
            "Credits that you bought are still yours. You can subscribe again at any time.",
        ),
        rows=(
            ("Plan", plan),
            *((("Ended", day(read_time(ended))),) if ended else ()),
        ),
        link=("See plans", f"{matter.own_url}/pricing"),
        after=(f"Your invoices are at {matter.own_url}/account",),
        tone="bad",
    )


def trial_ending(matter: Matter) -> Letter:
    """A trial ends in some days: what is charged then, or that it ends without a card."""
    data, plan = matter.data, _plan(matter)
    end = day(read_time(data["trial_end"]))
    each = price(int(data["amount"]) * int(data["quantity"]), data["currency"], data["interval"])
    if data.get("cancel_at"):
        told = f"You canceled it, so it ends on {end} and nothing is charged."
    elif matter.without_card:
        then = "ends" if matter.without_card == "cancel" else "pauses"
        told = (
            f"If you have added a card, it goes on at {each}, charged first on {end}. Without a "
            f"card it {then} on {end} and nothing is charged."
        )
    else:
        told = (
            f"It goes on at {each}, charged first on {end} to the card that you gave. Cancel "
            "before that day and nothing is charged."
        )
    return Letter(
        subject=f"Your trial of {plan} at {matter.shop} ends on {end}",
        heading=f"Your trial of {plan} ends on {end}",
        paragraphs=(greeting(matter), told),
        rows=(("Plan", plan), ("Price", each), ("Trial until", end)),
        link=("Look after your plan", f"{matter.own_url}/account"),
        tone="note",
    )


def _plan(matter: Matter) -> str:
    name = matter.item or str(matter.data["plan"] or "your subscription")
    quantity = int(matter.data["quantity"])
    return f"{name} × {quantity}" if quantity > 1 else name


def _account(matter: Matter) -> tuple[str, str]:
    return "View your account", f"{matter.own_url}/account"
