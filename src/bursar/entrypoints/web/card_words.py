"""What the card form says of itself: faults of fields, declines, and what became of a try. Pure.

The form's script gets these words with the form, so that a decline reads alike there and on the
success page.
"""

from __future__ import annotations

from bursar.entrypoints.web.outcomes import DECLINED, DECLINES, NOT_CHARGED

# By the codes with which a provider's library says what is wrong in its card field.
FAULTS = {
    "incomplete_number": "Card number is incomplete. Enter all digits",
    "invalid_number": "The card number is not right. Check it against your card",
    "incomplete_expiry": "Write the expiry date as MM / YY, as on the card",
    "invalid_expiry_month": "The month is 01 to 12. Check the card",
    "invalid_expiry_month_past": "Expiry date is in the past. Check the card",
    "invalid_expiry_year": "The expiry date is not right. Check the card",
    "invalid_expiry_year_past": "Expiry date is in the past. Check the card",
    "incomplete_cvc": "Security code is incomplete. Check the digits on the card",
    "invalid_cvc": "The security code is not right. Check the digits on the card",
    "incomplete_zip": "Enter the postal code of the card",
    "email": "Enter your e-mail address, like name@example.com",
    "name": "Enter the name on the card",
}
CARD_FAULT = "Check the card number, the expiry date and the security code"

OUTCOMES = {
    "declined": DECLINED,
    "unreachable": (
        f"We could not reach the payment provider. {NOT_CHARGED} Try again in a moment."
    ),
    "unknown": (
        "We do not know yet whether you were charged. Do not pay again: your account shows the "
        "payment as soon as we know."
    ),
    "over": f"This order has expired. {NOT_CHARGED} Open the price list and start again.",
    "library": (
        "The payment form could not be loaded, so nothing can be charged. Load the page again, or "
        "allow scripts of the payment provider in your browser."
    ),
    "failed": f"Something went wrong on our side. {NOT_CHARGED} Try again in a moment.",
}


def words() -> dict[str, object]:
    """All of them, as the form's script reads them."""
    return {"faults": FAULTS, "card": CARD_FAULT, "declines": DECLINES, **OUTCOMES}
