"""A subscription in the words of the hosted payment page: what renews, when, and its button.

Owns these sentences. The figures are `session_renewals`'s.
"""

from __future__ import annotations

from dataclasses import dataclass

from bursar_sandbox.stripe.pages.amounts import format_amount
from bursar_sandbox.stripe.pages.rhythms import count_of, day_of, each
from bursar_sandbox.stripe.session_renewals import Renewal


@dataclass(frozen=True, slots=True)
class Plan:
    """`then` stands below the total, `consent` right above the button; `trial` is empty without
    a trial and says otherwise how long it is.
    """

    then: str
    consent: str
    trial: str
    button: str


def plan_of(renewal: Renewal, currency: str, *, pays_now: bool, with_card: bool) -> Plan:
    """The words for what renews. `with_card` says whether the page asks for one."""
    price = _price(renewal, currency)
    if renewal.trial_end is None or renewal.trial_days is None:
        return Plan(
            then=f"then {price}",
            consent=f"You pay now, then {price}, until you cancel."
            if pays_now
            else f"Nothing is charged today, then {price}, until you cancel.",
            trial="",
            button="Subscribe",
        )
    day = day_of(renewal.trial_end)
    trial = f"{count_of(renewal.trial_days, 'day')} free"
    first = format_amount(
        renewal.amount if renewal.reduced is None else renewal.reduced, currency
    )  # fmt: skip
    consent = f"Your card is charged {first} on {day}, then {price}, unless you cancel before."
    if not with_card:
        consent = f"On {day} the plan goes on for {price}, if you have added a card by then."
    return Plan(
        then=f"{trial}, then {price} from {day}",
        consent=consent,
        trial=trial,
        button="Start trial",
    )


def _price(renewal: Renewal, currency: str) -> str:
    rhythm = each(renewal.interval, renewal.count)
    full = f"{format_amount(renewal.amount, currency)} {rhythm}"
    if renewal.reduced is None:
        return full
    reduced = f"{format_amount(renewal.reduced, currency)} {rhythm}"
    if renewal.reduced_months is None:
        return reduced
    months = count_of(renewal.reduced_months, "month")
    return f"{reduced} in the first {months} and {full} after that"
