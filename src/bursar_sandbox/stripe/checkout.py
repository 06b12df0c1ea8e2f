"""What a hosted checkout page does to a session: reads it, and pays it with a card.

Owns the step from a buyer's card to a completed session. It never renders a page, never sends a
webhook (it only writes events into the store) and never sleeps.

A page works like this::

    with request.app.state.store.transaction() as tx:
        outcome = checkout.pay(tx, session_id, card, email=..., name=..., country=..., ...)
    if isinstance(outcome, checkout.Paid):
        await request.app.state.delivery.wait_until_answered(outcome.completed_event_id, 10.0)
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from bursar_sandbox.store import Transaction


@dataclass(frozen=True, slots=True)
class CardDetails:
    """What the buyer typed. `number` may hold spaces and dashes; `exp_year` is of four digits."""

    number: str
    exp_month: int
    exp_year: int
    cvc: str


@dataclass(frozen=True, slots=True)
class Paid:
    """The session is complete. `redirect_url` is the success URL with the session's id in it."""

    redirect_url: str
    completed_event_id: str


@dataclass(frozen=True, slots=True)
class Declined:
    """The card was refused and nothing was charged; the same session may be tried again."""

    code: str
    decline_code: str | None
    message: str
    param: str | None


class SessionNotOpen(Exception):
    """The session can't be paid any more. `status` is `expired`, or `missing` for no such id."""

    def __init__(self, status: str) -> None:
        super().__init__(f"the checkout session is {status}")
        self.status = status


def find_session(tx: Transaction, session_id: str) -> dict[str, Any] | None:
    """The session as the API shows it, with its `line_items` list in place; None if unknown."""
    raise NotImplementedError


def pay(
    tx: Transaction,
    session_id: str,
    card: CardDetails,
    *,
    email: str,
    name: str,
    country: str,
    postal_code: str,
) -> Paid | Declined:
    """Charge the card for the session; paying a complete session again returns Paid unchanged.

    Raises SessionNotOpen when the session has expired or doesn't exist.
    """
    raise NotImplementedError
