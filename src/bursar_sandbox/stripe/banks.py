"""Test accounts at banks: what comes of debiting one, and when. All pure.

There are two kinds: SEPA accounts, named by an IBAN, and accounts in the United States.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from typing import Any

from bursar_sandbox.stripe.errors import StripeError, missing_parameter
from bursar_sandbox.stripe.params import Params

CURRENCIES = {"sepa_debit": "eur", "us_bank_account": "usd"}
"""For each kind of account the one currency that it can be debited in."""

SOON_SECONDS = 2
LATER_SECONDS = 180

_SHAPE = re.compile(r"[A-Z]{2}\d{2}[A-Z0-9]{11,30}\Z")
_FAILS_LATER = frozenset({"AT051904300235473205", "DE78370400440532013004"})
_FAILS = _FAILS_LATER | {
    "AT861904300235473202",
    "BE68539007547034",
    "DE62370400440532013001",
    "ES9121000418450200051332",
    "FR8420041010050500013M02607",
    "IT60X0542811101000000123456",
    "NL91ABNA0417164300",
}
_LATER = _FAILS_LATER | {"AT321904300235473204", "DE08370400440532013003"}
# The numbers of Stripe's test accounts in the United States that refuse.
_FAILS_IN_US = frozenset(
    {"000111111113", "000111111116", "000222222227", "000333333335", "000444444440"}
)
_TEST_ROUTING = "110000000"


@dataclass(frozen=True, slots=True)
class Debit:
    """What comes of debiting an account, `seconds` after it was asked for."""

    succeeds: bool
    seconds: int


@dataclass(frozen=True, slots=True)
class Account:
    """An account that can be debited: its kind, its number, and what a payment method shows."""

    kind: str
    number: str
    shown: dict[str, Any]


def from_params(params: Params, kind: str) -> Account:
    """The account of that kind that the parameters describe. Raises StripeError."""
    table = params.table(kind)
    if table is None:
        raise missing_parameter(params.name(kind))
    if kind == "sepa_debit":
        return sepa_account(table.need_text("iban"), table.name("iban"))
    account = us_account(
        table.need_text("routing_number"), table.need_text("account_number"), table.path
    )
    holder = table.choice("account_holder_type", ("company", "individual"), "individual")
    sort = table.choice("account_type", ("checking", "savings"), "checking")
    account.shown.update(account_holder_type=holder, account_type=sort)
    return account


def sepa_account(iban: str, param: str) -> Account:
    """The account with that IBAN. Raises StripeError when it can't be one."""
    iban = check_iban(iban, param)
    made_from = {"charge": None, "setup_attempt": None}
    return Account("sepa_debit", iban, {**shown(iban), "generated_from": made_from})


def us_account(routing: str, number: str, path: str = "us_bank_account") -> Account:
    """The account with those numbers. Raises StripeError when they can't be an account's."""
    for name, value, sizes in (("routing", routing, (9, 9)), ("account", number, (4, 17))):
        if not (value.isascii() and value.isdigit() and sizes[0] <= len(value) <= sizes[1]):
            raise StripeError(
                f"The {name} number you provided is invalid.",
                code=f"{name}_number_invalid",
                param=f"{path}[{name}_number]",
            )
    if routing != _TEST_ROUTING:
        raise StripeError(
            "You must use a test bank account number in test mode. Try 110000000 or see more "
            "options at https://stripe.com/docs/testing.",
            code="testmode_charges_only",
            param=f"{path}[routing_number]",
        )
    return Account(
        "us_bank_account",
        number,
        {
            "account_holder_type": "individual",
            "account_type": "checking",
            "bank_name": "STRIPE TEST BANK",
            "financial_connections_account": None,
            "fingerprint": hashlib.sha256(f"{routing} {number}".encode()).hexdigest()[:16],
            "last4": number[-4:],
            "networks": {"preferred": "ach", "supported": ["ach"]},
            "routing_number": routing,
            "status_details": {},
        },
    )


def check_iban(value: str, param: str) -> str:
    """The IBAN without spaces. Raises StripeError when it can't be one."""
    iban = value.replace(" ", "").upper()
    rearranged = iban[4:] + iban[:4]
    if not _SHAPE.match(iban) or int("".join(str(int(c, 36)) for c in rearranged)) % 97 != 1:
        raise StripeError("The IBAN you provided is invalid.", param=param)
    return iban


def debit_of(number: str) -> Debit:
    """What comes of debiting the account with that IBAN or number."""
    succeeds = number not in _FAILS and number not in _FAILS_IN_US
    return Debit(succeeds, LATER_SECONDS if number in _LATER else SOON_SECONDS)


def shown(iban: str) -> dict[str, Any]:
    """What a payment method and a charge show of the account."""
    return {
        "bank_code": iban[4:12] if iban.startswith("DE") else iban[4:9],
        "branch_code": None,
        "country": iban[:2],
        "fingerprint": hashlib.sha256(iban.encode()).hexdigest()[:16],
        "last4": iban[-4:],
    }
