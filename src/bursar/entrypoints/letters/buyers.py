"""What buyers are told: an order confirmed, a receipt, money sent back."""

from __future__ import annotations

from bursar.entrypoints.letters.letter import Letter, Matter, day, greeting


def confirmation(matter: Matter) -> Letter:
    """An order that was held for review is accepted, and its money was taken."""
    taken, data = matter.money("captured"), matter.data
    told = [f"We accepted your order and charged {taken}."]
    if data["captured"] < data["authorized"]:
        told.append(
            f"Your bank held {matter.money('authorized')}. The rest is let go and will not be "
            "charged."
        )
    return Letter(
        subject=f"Your order at {matter.shop} is confirmed: {taken}",
        heading="Your order is confirmed",
        paragraphs=(greeting(matter), *told),
        rows=_rows(matter),
        link=_account(matter),
        tone="good",
    )


def receipt(matter: Matter) -> Letter:
    """A payment went through."""
    return Letter(
        subject=f"Your receipt from {matter.shop}: {matter.money('captured')}",
        heading="Thank you for your payment",
        paragraphs=(greeting(matter), f"We received {matter.money('captured')}."),
        rows=_rows(matter),
        link=_account(matter),
        tone="good",
    )


def refund(matter: Matter) -> Letter:
    """Money of a payment went back, the whole or a part."""
    back, taken = matter.money("refunded"), matter.money("captured")
    whole = matter.data["refunded"] >= matter.data["captured"]
    told = (
        f"We sent back all of the {taken} that you paid."
        if whole
        else f"We sent money back: {back} of the {taken} that you paid so far."
    )
    return Letter(
        subject=f"Your refund from {matter.shop}: {back}",
        heading="Your money is on its way back",
        paragraphs=(
            greeting(matter),
            told,
            "It goes to the card or account that you paid with. Banks take 5 to 10 days to show "
            "it.",
        ),
        rows=(
            *_item(matter),
            ("Paid", taken),
            ("Sent back", back),
            ("Date", day(matter.created_at)),
            ("Payment", str(matter.data["id"])),
        ),
        link=_account(matter),
        tone="note",
    )


def _item(matter: Matter) -> tuple[tuple[str, str], ...]:
    return (("What you bought", matter.item),) if matter.item else ()


def _rows(matter: Matter) -> tuple[tuple[str, str], ...]:
    credits = (("You get", matter.credits),) if matter.credits else ()
    return (
        *_item(matter),
        *credits,
        *((("Runs", matter.runs),) if matter.runs else ()),
        *((("Includes", matter.includes),) if matter.includes else ()),
        ("Charged", matter.money("captured")),
        ("Date", day(matter.created_at)),
        ("Payment", str(matter.data["id"])),
    )


def _account(matter: Matter) -> tuple[str, str]:
    if matter.receipt_url:
        return "View the receipt", matter.receipt_url
    return "View your account", f"{matter.own_url}/account"
