"""What the success page says of a payment: the state, the money, the credits, the next act. Pure.

Only a completed payment is called paid, and every other one says whether the card was charged.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from bursar.billing.catalog import Unit
from bursar.billing.payments import Payment
from bursar.entrypoints.web.badges import Badge, payment_badge
from bursar.entrypoints.web.beginnings import Begun
from bursar.entrypoints.web.figures import amount_of
from bursar.entrypoints.web.plan_lines import PlanLine
from bursar.ledger.balances import PostingRow
from bursar.money import format_credits, format_money

# Up to the first a wait needs no explanation, from the second on it needs a way out.
SHORT_SECONDS = 3
LONG_SECONDS = 15
NOT_CHARGED = "You were not charged."

# What a decline means for the buyer. What a bank keeps to itself is never said more closely.
DECLINES = {
    "insufficient_funds": (
        f"Your card does not have enough money for this payment. {NOT_CHARGED} Use another card."
    ),
    "expired_card": f"This card has expired. {NOT_CHARGED} Use another card.",
    "incorrect_cvc": (
        f"The security code is not right. {NOT_CHARGED} Check the 3 digits on the back."
    ),
    "incorrect_number": (
        f"The card number is not right. {NOT_CHARGED} Check it against your card."
    ),
    "authentication_required": (
        f"Your bank did not confirm the payment. {NOT_CHARGED} Try again or use another card."
    ),
}
DECLINES["invalid_cvc"] = DECLINES["incorrect_cvc"]
DECLINES["invalid_number"] = DECLINES["incorrect_number"]
DECLINES["payment_intent_authentication_failure"] = DECLINES["authentication_required"]
DECLINED = (
    f"Your bank declined the payment and gave no reason. {NOT_CHARGED} "
    "Use another card, or ask your bank."
)

# The states in which money was taken, so that there is something to have a receipt of.
RECEIPTS = ("completed", "partially_refunded", "refunded", "disputed")
# What a payment brings: what was bought, or a plan's allowance.
BRINGS = ("purchase", "subscription")
TOTAL_WORDS = {
    "completed": "Paid",
    "partially_refunded": "Paid",
    "refunded": "Paid",
    "disputed": "Paid",
    "authorized": "On hold",
    "pending": "Order",
    "processing": "Order",
}


@dataclass(frozen=True, slots=True)
class Credited:
    """Credits that a payment brought, and the balance before (empty if unclear) and after it."""

    brought: str
    before: str
    after: str
    label: str


@dataclass(frozen=True, slots=True)
class Act:
    """Where to go next: a link that reads as a button."""

    words: str
    url: str


@dataclass(frozen=True, slots=True)
class Outcome:
    """A payment's state in words. `waiting` says that it will change by itself."""

    heading: str
    sentence: str
    badge: Badge
    amount: str
    total_word: str
    name: str
    act: Act
    payment_id: int
    waiting: bool = False
    credited: Credited | None = None
    plan: PlanLine | None = None
    begun: Begun | None = None
    receipt_url: str | None = None


def credited(
    postings: Sequence[PostingRow], payment: Payment, unit: Unit | None
) -> Credited | None:
    """What `payment` brought, from its own posting and the one before it.

    `postings` are the newest of the payment's unit; None when the purchase is not among them.
    """
    for index, posting in enumerate(postings):
        if posting.payment_id == payment.id and posting.type in BRINGS and unit is not None:
            older = postings[index + 1] if index + 1 < len(postings) else None
            before = older.balance_after if older else 0
            # Where part of it paid a debt the balance rose by less: then only what is now is said.
            plain = before + posting.amount == posting.balance_after
            return Credited(
                brought=amount_of(posting.amount, unit),
                before=format_credits(before, unit.decimals) if plain else "",
                after=format_credits(posting.balance_after, unit.decimals),
                label=unit.label,
            )
    return None


def outcome(
    payment: Payment,
    *,
    waited_seconds: int = 0,
    brought: Credited | None,
    plan: PlanLine | None = None,
    begun: Begun | None = None,
) -> Outcome:
    """What to tell the buyer of `payment`, who has been waiting for `waited_seconds`."""
    status = payment.status
    heading, sentence = _words(payment, status, waited_seconds, brought)
    if begun is not None:
        heading, sentence = begun.heading, begun.sentence
        if payment.captured_minor:
            paid = format_money(payment.captured_minor, payment.currency)
            sentence = f"You paid {paid}. {sentence}"
    # While the session is open the order is kept there: another card pays the same one.
    again = payment.session_url or payment.request.get("page")
    retry = status == "failed" and again
    done = status in ("completed", "authorized", "partially_refunded", "refunded", "disputed")
    act = (
        Act("Try another card", again or "")
        if retry
        else Act(
            "See your plan" if begun or (plan and not brought) else "See your balance", "/account"
        )
        if done or status == "processing"
        else Act("Back to the payment", again)
        if status == "pending" and again and waited_seconds >= LONG_SECONDS
        else Act("See your account", "/account")
        if status == "pending"
        else Act("See prices", "/pricing")
    )
    ordered = str(payment.snapshot.get("name") or payment.description or "Your order")
    return Outcome(
        heading=heading,
        sentence=sentence,
        badge=begun.badge if begun else payment_badge(status, mismatch=bool(payment.mismatch)),
        amount=format_money(_paid_minor(payment), payment.currency),
        total_word="Charged" if begun and begun.trial else TOTAL_WORDS.get(status, "Not charged"),
        name=begun.name if begun else ordered,
        act=act,
        payment_id=payment.id,
        waiting=status in ("pending", "processing"),
        credited=brought if status == "completed" else None,
        plan=plan if status == "completed" else None,
        begun=begun,
        # A provider has a page for what is only held, too; it is no receipt.
        receipt_url=payment.receipt_url if status in RECEIPTS else None,
    )


@dataclass(frozen=True, slots=True)
class Brief:
    """A payment's state for whoever is not signed in: no amount, no name, no number."""

    heading: str
    sentence: str
    badge: Badge
    act: Act
    waiting: bool = False


BRIEF_WORDS = {
    "pending": ("Thank you", "Your payment is being confirmed. Do not pay again."),
    "processing": (
        "Thank you",
        "Your bank is processing the payment. With some banks this takes a few days. Do not pay "
        "again.",
    ),
    "authorized": ("Thank you", "Your order is placed. You are charged when it is accepted."),
    "completed": ("Thank you", "Your payment went through."),
    "failed": ("The payment did not go through", f"{NOT_CHARGED} Go back and try again."),
    "expired": ("This order has expired", f"{NOT_CHARGED} Go back and start again."),
    "canceled": ("This order was canceled", NOT_CHARGED),
    "partially_refunded": ("Thank you", "Your payment went through, and a part of it went back."),
    "refunded": ("Your payment was given back", "It goes the way that you paid."),
    "disputed": ("Thank you", "Your payment went through. Your bank is looking into it."),
}


def brief(payment: Payment, act: Act) -> Brief:
    """What may be said of `payment` to whoever has its unguessable address and is not signed in."""
    status = payment.status
    heading, sentence = BRIEF_WORDS[status]
    if payment.mismatch and status == "completed":
        heading = "Thank you"
        sentence = "A person checks your payment before anything is added. Do not pay again."
    return Brief(
        heading=heading,
        sentence=sentence,
        badge=payment_badge(status, mismatch=bool(payment.mismatch)),
        act=act,
        waiting=status in ("pending", "processing"),
    )


def _paid_minor(payment: Payment) -> int:
    """What was paid; what is to be paid until that is known. A coupon may leave nothing of it."""
    if payment.state == "completed":
        return payment.captured_minor
    return payment.captured_minor or payment.amount_minor


def _words(
    payment: Payment, status: str, waited_seconds: int, brought: Credited | None
) -> tuple[str, str]:
    paid = format_money(_paid_minor(payment), payment.currency)
    if payment.mismatch and status == "completed":
        return "We are checking your payment", (
            f"You paid {paid}, but it is not what the order was for. Nothing was added yet. "
            "A person looks at it now; do not pay again."
        )
    match status:
        case "completed":
            added = f" {brought.brought} were added." if brought else ""
            if payment.captured_minor == 0:
                return "Your order is complete", f"There was nothing to pay.{added}"
            return f"You paid {paid}", f"Thank you.{added}"
        case "pending":
            return _pending(waited_seconds)
        case "processing":
            return "Your bank is processing the payment", (
                f"The order for {paid} is placed. With some banks this takes a few days. You can "
                "close this page: the credits are added when the money arrives. Do not pay again."
            )
        case "authorized":
            until = payment.authorized_until
            latest = f", by {until.day} {until:%b %Y} at the latest" if until else ""
            return "Your order is placed", (
                f"Your card shows a hold of {paid}. You are charged when we accept the order"
                f"{latest}; until then no money moves and nothing is added."
            )
        case "failed":
            return "The payment did not go through", DECLINES.get(payment.failure or "", DECLINED)
        case "expired":
            return "This order has expired", (
                f"{NOT_CHARGED} Start again from the price list; prices are today's."
            )
        case "canceled":
            return "This order was canceled", (
                f"{NOT_CHARGED} If your card showed a hold, it goes away by itself."
            )
    return _returned(payment, status, paid)


def _pending(waited_seconds: int) -> tuple[str, str]:
    if waited_seconds < SHORT_SECONDS:
        return "Confirming your payment", "This takes a few seconds. Do not pay again."
    if waited_seconds < LONG_SECONDS:
        return "Confirming your payment", (
            "We are waiting for the payment provider to say that it went through. Do not pay again."
        )
    return "This takes longer than usual", (
        "You can close this page; your account shows the payment as soon as it is confirmed. "
        "If you left before paying, go back to the payment: you will not be charged twice."
    )


def _returned(payment: Payment, status: str, paid: str) -> tuple[str, str]:
    back = format_money(payment.refunded_minor, payment.currency)
    if status == "refunded":
        return f"You paid {paid}, and got it back", f"{back} were refunded to your card."
    if status == "partially_refunded":
        return f"You paid {paid}", f"{back} of it were refunded to your card."
    return (
        f"You paid {paid}",
        "Your bank is looking into this payment. There is nothing for you to do here.",
    )
