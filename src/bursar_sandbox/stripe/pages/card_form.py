"""The payment form as it arrives: what was typed, whether it can be a card, and what is wrong.

Owns the field names, the reading of a posted body and the checks that need no bank. It never
charges and never looks at a session.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, fields
from urllib.parse import parse_qsl

from bursar_sandbox.stripe.checkout import CardDetails
from bursar_sandbox.stripe.pages.countries import COUNTRIES

MAX_BODY_BYTES = 64 * 1024
_MAX_VALUE_LENGTH = 500

_GAPS = re.compile(r"[\s\-\u2010-\u2015.]+")
_EXPIRY = re.compile(r"(\d{1,2})\s*[/\-. ]\s*(\d{4}|\d{2})|(\d{2})(\d{4}|\d{2})", re.ASCII)
_EMAIL = re.compile(r"[^\s@,;:<>()\"]+@[^\s@,;:<>()\"]+\.[^\s@.,;:<>()\"]+")


@dataclass(frozen=True, slots=True)
class Entered:
    """Every field as the buyer typed it, kept for the next try; the names are the form's.

    `seen_total` is what the page said that there is to pay, in minor units, and `act` what the
    buyer wants done instead of paying.
    """

    email: str = ""
    card_number: str = ""
    expiry: str = ""
    security_code: str = ""
    name: str = ""
    country: str = "US"
    postal_code: str = ""
    method: str = "card"
    iban: str = ""
    routing_number: str = ""
    account_number: str = ""
    code: str = ""
    save: str = ""
    promotions: str = ""
    terms: str = ""
    item: str = ""
    quantity: str = ""
    seen_total: str = ""
    act: str = ""


NO_CARD = CardDetails("", 0, 0, "")
"""What is handed over for an order that costs nothing: nobody looks at it."""

FIELD_NAMES = tuple(field.name for field in fields(Entered))


def read(body: bytes) -> Entered:
    """The fields of a form-encoded body; unknown ones are dropped, missing ones stay empty.

    Raises ValueError when the body holds more fields than any form of ours.
    """
    pairs = parse_qsl(
        body.decode("utf-8", "replace"),
        keep_blank_values=True,
        max_num_fields=50,
        errors="replace",
    )
    known = {name: _tidied(value) for name, value in pairs if name in FIELD_NAMES}
    return Entered(**{"country": "", **known})


def _tidied(value: str) -> str:
    """Trimmed, cut and without control characters, which no field of ours can mean."""
    return "".join(c for c in value if c.isprintable()).strip()[:_MAX_VALUE_LENGTH]


def digits_of(number: str) -> str:
    """The card number without the gaps people type or paste: spaces, dashes and dots."""
    return _GAPS.sub("", number)


def passes_luhn(digits: str) -> bool:
    """Whether the last digit is the check digit of those before it."""
    total = 0
    for place, digit in enumerate(reversed(digits)):
        value = int(digit) * (2 if place % 2 else 1)
        total += value - 9 if value > 9 else value
    return total % 10 == 0


def is_amex(digits: str) -> bool:
    """American Express: 15 digits, and a code of 4 on the front."""
    return digits[:2] in {"34", "37"}


def shortest_length(digits: str) -> int:
    """How many digits the shortest card with this beginning has, by its brand."""
    if is_amex(digits):
        return 15
    return 14 if digits[:2] in {"30", "36", "38", "39"} else 16


def problems(entered: Entered, *, year: int, month: int) -> dict[str, str]:
    """What is wrong, by field in the order of the form; empty when the bank can be asked.

    `year` (of four digits) and `month` are today's by the sandbox's clock.
    """
    found = {
        "email": _email_problem(entered.email),
        "card_number": _number_problem(digits_of(entered.card_number)),
        "expiry": _expiry_problem(entered.expiry, year, month),
        "security_code": _code_problem(entered.security_code, digits_of(entered.card_number)),
        "name": "" if entered.name else "Enter the name on the card",
        "country": "" if entered.country in COUNTRIES else "Choose the country of the card",
        "postal_code": _postal_problem(entered.postal_code),
    }
    return {field: message for field, message in found.items() if message}


def without_card(wrong: dict[str, str]) -> dict[str, str]:
    """The problems that remain when nothing has to be paid and no card is asked for."""
    card_fields = {"card_number", "expiry", "security_code"}
    return {field: message for field, message in wrong.items() if field not in card_fields}


def card_details(entered: Entered) -> CardDetails:
    """The card of a form without problems. Raises ValueError when the expiry can't be read."""
    expiry = _expiry(entered.expiry)
    if expiry is None:
        raise ValueError("the expiry date has to be checked first")
    month, year = expiry
    return CardDetails(digits_of(entered.card_number), month, year, entered.security_code)


def _email_problem(email: str) -> str:
    if not email:
        return "Enter your e-mail address"
    if not _EMAIL.fullmatch(email) or ".." in email:
        return "The e-mail address is not complete. Write it like name@example.com"
    return ""


def _number_problem(digits: str) -> str:
    if not digits:
        return "Enter the card number"
    if not (digits.isascii() and digits.isdigit()):
        return "A card number has digits only. Check it against your card"
    if len(digits) < shortest_length(digits):
        return f"Card number is incomplete. Enter all {shortest_length(digits)} digits"
    if len(digits) > 19:
        return "Card number is too long. Check it against your card"
    if not passes_luhn(digits):
        return "The card number is not right. Check it against your card"
    return ""


def _expiry(text: str) -> tuple[int, int] | None:
    """Month and year of four digits, or None when the text is no date on a card."""
    match = _EXPIRY.fullmatch(text)
    if match is None:
        return None
    month, year = (int(part) for part in match.groups() if part)
    return month, year if year > 99 else 2000 + year


def _expiry_problem(text: str, year: int, month: int) -> str:
    if not text:
        return "Enter the expiry date"
    expiry = _expiry(text)
    if expiry is None:
        return "Write the expiry date as MM / YY, as on the card"
    if not 1 <= expiry[0] <= 12:
        return "The month is 01 to 12. Check the card"
    if (expiry[1], expiry[0]) < (year, month):
        return "Expiry date is in the past. Check the card"
    if expiry[1] > year + 50:
        return "Expiry date is too far ahead. Check the card"
    return ""


def _code_problem(code: str, digits: str) -> str:
    amex = is_amex(digits)
    where = "4 digits on the front of the card" if amex else "3 digits on the back of the card"
    if not code:
        return f"Enter the {where}"
    if not (code.isascii() and code.isdigit()) or len(code) != (4 if amex else 3):
        return f"The security code is the {where}"
    return ""


def _postal_problem(postal_code: str) -> str:
    return "The postal code is too long" if len(postal_code) > 20 else ""
