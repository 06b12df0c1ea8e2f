"""What the operator is told: a dispute, held money about to lapse, a case that was opened."""

from __future__ import annotations

from bursar.entrypoints.letters.letter import Letter, Matter, minute, read_time
from bursar.money import format_money

CASES = {
    "unmatched": "Money came in that belongs to no order we know",
    "mismatch": "A payment is not what was asked for",
    "excess": "More money moved than an order came to",
    "duplicate": "Something was paid twice",
    "dead": "Something could not be worked off",
    "unknown": "The outcome of a call to the provider is not known",
    "drift": "Our books and the provider's differ",
    "review": "An order is complete and was not reviewed",
}


def dispute(matter: Matter) -> Letter:
    """A buyer's bank takes money back, or asks about it."""
    data, amount = matter.data, matter.money("amount")
    due_at = minute(read_time(data["due_at"])) if data.get("due_at") else None
    by = f" by {due_at}" if due_at else ""
    if data["inquiry"]:
        heading = f"A bank asks about {amount}"
        told = f"No money has moved. Answer{by}, or it may become a dispute."
    else:
        heading = f"A buyer disputes {amount}"
        told = f"The bank took the money back. Send evidence{by}, or it is lost."
    return Letter(
        subject=f"{heading}{f', answer{by}' if by else ''}",
        heading=heading,
        paragraphs=(told,),
        rows=tuple(
            (label, str(value))
            for label, value in (
                ("Dispute", data["id"]),
                ("Payment", data["payment_id"]),
                ("User", data["user_id"]),
                ("Reason", data["reason"]),
                ("Answer until", due_at),
            )
            if value is not None
        ),
        after=(f"The API has it at /api/admin/disputes/{data['id']}.",),
        tone="bad",
    )


def lapse(matter: Matter) -> Letter:
    """Held money is let go of soon."""
    data = matter.data
    held, until = matter.money("authorized"), minute(read_time(data["authorized_until"]))
    return Letter(
        subject=f"Decide about order {data['id']}: {held} is held until {until}",
        heading=f"{held} is held until {until}",
        paragraphs=("Capture the order or cancel it. If nobody does, the bank lets the money go.",),
        rows=tuple(
            (label, str(value))
            for label, value in (
                ("Order", data["id"]),
                ("What was ordered", matter.item),
                ("User", data["user_id"]),
            )
            if value is not None
        ),
        link=("Look at the order", f"{matter.own_url}/admin/orders/{data['id']}"),
        tone="wait",
    )


def case(matter: Matter) -> Letter:
    """Something waits for a person."""
    data = matter.data
    amount = data["amount"]
    money = (
        format_money(amount, data["currency"]) if amount is not None and data["currency"] else ""
    )
    heading = CASES.get(str(data["kind"]), "Something waits for a person")
    return Letter(
        subject=f"Case {data['id']}: {heading}",
        heading=heading,
        paragraphs=(str(data["summary"]),),
        rows=tuple(
            (label, str(value))
            for label, value in (
                ("Case", data["id"]),
                ("About", data["reference"]),
                ("Amount", money or None),
                ("Payment", data["payment_id"]),
                ("Opened", minute(matter.created_at)),
            )
            if value is not None
        ),
        after=_next_steps(int(data["id"]), str(data["kind"])),
        tone="bad",
    )


def _next_steps(case_id: int, kind: str) -> tuple[str, ...]:
    """The commands as they are typed, whole."""
    steps = [f"bursar cases show {case_id} tells all of it."]
    if kind == "unmatched":
        steps.append(f"bursar cases resolve {case_id} --user ID gives the money to that user.")
    steps.append(f'bursar cases resolve {case_id} --note "what was done" closes it.')
    return tuple(steps)
