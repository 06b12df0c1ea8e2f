"""Letters: which of our events makes which letter, and to whom.

A letter is a message of the outbox to one of the destinations `mail:…`, written in the transaction
of its event, at most once for each cause. What it says is worded when it is sent. Without a mail
server there is no destination, so nothing is written.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from bursar.billing import cases
from bursar.db.connections import Connection
from bursar.messages import outbox
from bursar.messages.outbox import Event

PREFIX = "mail:"
CONFIRMATION = "mail:confirmation"
RECEIPT = "mail:receipt"
REFUND = "mail:refund"
CHARGE_FAILED = "mail:charge_failed"
CHARGE_RECOVERED = "mail:charge_recovered"
FINAL_NOTICE = "mail:final_notice"
TRIAL_ENDING = "mail:trial_ending"
DISPUTE = "mail:dispute"
LAPSE = "mail:lapse"
CASE = "mail:case"

# What the operator is told of needs no look at anybody: the outbox writes it by topic.
OPERATOR_TOPICS = {
    CASE: [cases.OPENED],
    DISPUTE: ["dispute.opened"],
    LAPSE: ["payment.authorization_expiring"],
}

# What a subscriber is told of.
OF_SUBSCRIPTIONS = {
    "subscription.payment_failed": CHARGE_FAILED,
    "subscription.payment_recovered": CHARGE_RECOVERED,
    "subscription.trial_ending": TRIAL_ENDING,
}

# A buyer without an address gets no letter.
REACHED = """
select d.destination, u.id as user_id from outbox_destinations d cross join users u
where d.destination = any ($1) and u.id = any ($2) and u.email is not null
"""


def destinations(*, receipts: bool, operator: bool) -> dict[str, list[str]]:
    """The destinations of a deployment that sends mail, with the topics of each."""
    buyers = [CONFIRMATION, REFUND, FINAL_NOTICE, *OF_SUBSCRIPTIONS.values()]
    buyers += [RECEIPT] if receipts else []
    return {**{name: [] for name in buyers}, **(OPERATOR_TOPICS if operator else {})}


async def arrange(conn: Connection, wanted: dict[str, list[str]], *, at: datetime) -> None:
    """Have letters written for these destinations from now on, and for no other of mail."""
    there = await outbox.list_destinations(conn, PREFIX)
    for destination in sorted(there.keys() - wanted.keys()):
        await outbox.unsubscribe(conn, destination)
    for destination, topics in sorted(wanted.items()):
        await outbox.subscribe(conn, destination, topics, at=at)


async def tell(conn: Connection, events: Sequence[Event], *, at: datetime) -> None:
    """Emit events, with the letters to buyers that they make."""
    await outbox.emit(conn, events, at=at)
    wanted = [(event, letter) for event in events if (letter := letter_of(event))]
    if not wanted:
        return
    users = sorted({str(event.data["user_id"]) for event, _ in wanted})
    rows = await conn.fetch(REACHED, sorted({letter for _, letter in wanted}), users)
    reached = {(row["destination"], row["user_id"]) for row in rows}
    owed = [pair for pair in wanted if (pair[1], pair[0].data["user_id"]) in reached]
    await outbox.owe(conn, owed, at=at)


def letter_of(event: Event) -> str | None:
    """The letter to the buyer that an event makes, if any."""
    if not event.data.get("user_id"):
        return None
    if event.topic == "payment.refunded":
        return REFUND
    if event.topic == "payment.completed":
        # Only an order that somebody reviewed was ever held at the bank.
        if "authorized" in event.data:
            return CONFIRMATION
        # Nobody needs a receipt for nothing, such as a trial's beginning.
        return RECEIPT if event.data["captured"] else None
    if event.topic == "subscription.ended":
        # Whoever ended it knows; what ended because nobody paid comes unasked.
        return FINAL_NOTICE if event.data["reason"] == "unpaid" else None
    return OF_SUBSCRIPTIONS.get(event.topic)
