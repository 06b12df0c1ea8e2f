"""SEPA test accounts: what comes of debiting an IBAN, and when. All pure."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from typing import Any

from bursar_sandbox.stripe.errors import StripeError

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


@dataclass(frozen=True, slots=True)
class Debit:
    """What comes of debiting an account, `seconds` after it was asked for."""

    succeeds: bool
    seconds: int


def check_iban(value: str, param: str) -> str:
    """The IBAN without spaces. Raises StripeError when it can't be one."""
    iban = value.replace(" ", "").upper()
    rearranged = iban[4:] + iban[:4]
    if not _SHAPE.match(iban) or int("".join(str(int(c, 36)) for c in rearranged)) % 97 != 1:
        raise StripeError("The IBAN you provided is invalid.", param=param)
    return iban


def debit_of(iban: str) -> Debit:
    """What comes of debiting the account."""
    return Debit(iban not in _FAILS, LATER_SECONDS if iban in _LATER else SOON_SECONDS)


def shown(iban: str) -> dict[str, Any]:
    """What a payment method and a charge show of the account."""
    return {
        "bank_code": iban[4:12] if iban.startswith("DE") else iban[4:9],
        "branch_code": None,
        "country": iban[:2],
        "fingerprint": hashlib.sha256(iban.encode()).hexdigest()[:16],
        "last4": iban[-4:],
    }
