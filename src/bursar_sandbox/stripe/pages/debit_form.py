"""The bank debit's part of the payment form: what was typed of an account, and what is wrong.

Owns the checks that need no bank. It never debits and never looks at a session.
"""

from __future__ import annotations

from bursar_sandbox.stripe import banks
from bursar_sandbox.stripe.checkout import AccountDetails
from bursar_sandbox.stripe.errors import StripeError
from bursar_sandbox.stripe.pages.card_form import Entered, digits_of

FIELDS = {"sepa_debit": ("iban",), "us_bank_account": ("routing_number", "account_number")}
"""The form's fields for each kind of account."""


def problems(entered: Entered) -> dict[str, str]:
    """What is wrong with the account, by field; empty when the bank can be asked."""
    if entered.method == "sepa_debit":
        found = {"iban": _iban_problem(entered.iban)}
    else:
        found = {
            "routing_number": _routing_problem(digits_of(entered.routing_number)),
            "account_number": _account_problem(digits_of(entered.account_number)),
        }
    return {field: message for field, message in found.items() if message}


def account_details(entered: Entered) -> AccountDetails:
    """The account of a form without problems."""
    if entered.method == "sepa_debit":
        return AccountDetails("sepa_debit", entered.iban)
    number, routing = digits_of(entered.account_number), digits_of(entered.routing_number)
    return AccountDetails("us_bank_account", number, routing)


def _iban_problem(iban: str) -> str:
    if not iban:
        return "Enter the IBAN"
    try:
        banks.check_iban(iban, "iban")
    except StripeError:
        return "The IBAN is not right. Check it against your bank statement"
    return ""


def _routing_problem(routing: str) -> str:
    if not routing:
        return "Enter the routing number"
    if not (routing.isascii() and routing.isdigit() and len(routing) == 9):
        return "A routing number has 9 digits"
    try:
        banks.us_account(routing, "0000")
    except StripeError:
        return "The sandbox has one bank only: 110000000"
    return ""


def _account_problem(number: str) -> str:
    if not number:
        return "Enter the account number"
    if not (number.isascii() and number.isdigit() and 4 <= len(number) <= 17):
        return "An account number has 4 to 17 digits"
    return ""
