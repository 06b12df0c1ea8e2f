"""Stripe's test cards: what each number looks like and what comes of charging it. All pure."""

from __future__ import annotations

import datetime
import hashlib
from dataclasses import dataclass, field

from bursar_sandbox.stripe.errors import StripeError


@dataclass(frozen=True, slots=True)
class Decline:
    """Why a card is refused, in the words of Stripe's error."""

    code: str
    decline_code: str | None
    message: str
    param: str | None = None


@dataclass(frozen=True, slots=True)
class Claim:
    """What the buyer tells the bank once the money was taken: a dispute's reason, in Stripe's word.

    `inquiry` says that the bank only asks the seller and takes nothing back.
    """

    reason: str
    inquiry: bool = False


@dataclass(frozen=True, slots=True)
class Outcome:
    """What comes of a card.

    `authenticates` says when the bank wants to see the buyer: `never`, `always`, `until_set_up` for
    payments without the buyer, `when_present` alone, or `when_asked` by the seller. `attaches` says
    whether a customer can keep it though it declines; `refund` whether money given back arrives at
    once, `later`, or at first and then `fails`. `claim` is what the buyer tells the bank
    afterwards, `warned` that the bank itself has doubts; `at_once` lets the money be there without
    a wait.
    """

    decline: Decline | None = None
    authenticates: str = "never"
    attaches: bool = True
    cvc_check: str = "pass"
    refund: str = "arrives"
    claim: Claim | None = None
    warned: bool = False
    at_once: bool = False


def _declined(reason: str, message: str = "Your card was declined.") -> Decline:
    return Decline("card_declined", reason, message)


PAYS = Outcome()
GENERIC = _declined("generic_decline")
NEEDS_AUTHENTICATION = Decline(
    "authentication_required",
    "authentication_required",
    "Your card was declined. This transaction requires authentication.",
)
NOT_CONFIRMED = Decline(
    "payment_intent_authentication_failure",
    None,
    "We are unable to authenticate your payment method. Please choose a different payment method "
    "and try again.",
)
NOT_A_TEST_CARD = Outcome(
    _declined(
        "test_mode_live_card",
        "Your card was declined. Your request was in test mode, but used a non test (live) card. "
        "For a list of valid test cards, visit: https://stripe.com/docs/testing.",
    ),
    attaches=False,
)


def _refused(decline: Decline) -> Outcome:
    return Outcome(decline, attaches=False)


OUTCOMES: dict[str, Outcome] = {
    **dict.fromkeys(
        "4242424242424242 4000056655665556 5555555555554444 2223003122003222 5200828282828210 "
        "5105105105105100 378282246310005 371449635398431 6011111111111117 6011000990139424 "
        "3056930009020004 36227206271667 3566002020360505 6200000000000005".split(),
        PAYS,
    ),
    "4000000000000077": Outcome(at_once=True),
    "4000000000000259": Outcome(claim=Claim("fraudulent")),
    "4000000000002685": Outcome(claim=Claim("product_not_received")),
    "4000000000001976": Outcome(claim=Claim("fraudulent", inquiry=True)),
    "4000000000005423": Outcome(warned=True),
    "4000000000000101": Outcome(cvc_check="fail"),
    "4000000000007726": Outcome(refund="later"),
    "4000000000005126": Outcome(refund="fails"),
    "4000000000000341": Outcome(GENERIC),
    "4000000000000002": _refused(GENERIC),
    "4000000000009995": _refused(
        _declined("insufficient_funds", "Your card has insufficient funds.")
    ),
    "4000000000009987": _refused(_declined("lost_card")),
    "4000000000009979": _refused(_declined("stolen_card")),
    "4100000000000019": _refused(_declined("fraudulent")),
    "4000000000006975": _refused(
        _declined(
            "card_velocity_exceeded",
            "Your card was declined for making repeated attempts too frequently or exceeding its "
            "amount limit.",
        )
    ),
    "4000000000000069": _refused(
        Decline("expired_card", "expired_card", "Your card has expired.", "exp_month")
    ),
    "4000000000000127": _refused(
        Decline("incorrect_cvc", "incorrect_cvc", "Your card's security code is incorrect.", "cvc")
    ),
    "4000000000000119": _refused(
        Decline(
            "processing_error",
            "processing_error",
            "An error occurred while processing your card. Try again in a little bit.",
        )
    ),
    **dict.fromkeys(
        "4000002760003184 4000000000003220 4000000000003063".split(),
        Outcome(authenticates="always"),
    ),
    "4000002500003155": Outcome(authenticates="until_set_up"),
    "4000003800000446": Outcome(authenticates="when_present"),
    "4000000000003055": Outcome(authenticates="when_asked"),
    "4000008400001629": Outcome(GENERIC, authenticates="always"),
    "4000008260003178": Outcome(
        _declined("insufficient_funds", "Your card has insufficient funds."), authenticates="always"
    ),
}

# The last words of `pm_card_…` and `tok_…`, for the numbers that they stand for.
TOKENS: dict[str, str] = {
    "visa": "4242424242424242",
    "visa_debit": "4000056655665556",
    "mastercard": "5555555555554444",
    "mastercard_debit": "5200828282828210",
    "mastercard_prepaid": "5105105105105100",
    "amex": "378282246310005",
    "discover": "6011111111111117",
    "diners": "3056930009020004",
    "jcb": "3566002020360505",
    "unionpay": "6200000000000005",
    "us": "4242424242424242",
    "bypassPending": "4000000000000077",
    "cvcCheckFail": "4000000000000101",
    "pendingRefund": "4000000000007726",
    "refundFail": "4000000000005126",
    "createDispute": "4000000000000259",
    "createDisputeInquiry": "4000000000001976",
    "createDisputeProductNotReceived": "4000000000002685",
    "createIssuerFraudRecord": "4000000000005423",
    "visa_createDispute": "4000000000000259",
    "visa_createDisputeInquiry": "4000000000001976",
    "visa_createDisputeProductNotReceived": "4000000000002685",
    "threeDSecureOptional": "4000000000003055",
    "threeDSecureRequired": "4000000000003063",
    "threeDSecure2Required": "4000000000003220",
    "threeDSecureRequiredChargeDeclined": "4000008400001629",
    "authenticationRequired": "4000002760003184",
    "authenticationRequiredOnSetup": "4000002500003155",
    "authenticationRequiredSetupForOffSession": "4000003800000446",
}
_REFUSED_TOKENS: dict[str, str] = {
    "chargeCustomerFail": "4000000000000341",
    "chargeDeclined": "4000000000000002",
    "chargeDeclinedInsufficientFunds": "4000000000009995",
    "chargeDeclinedLostCard": "4000000000009987",
    "chargeDeclinedStolenCard": "4000000000009979",
    "chargeDeclinedFraudulent": "4100000000000019",
    "chargeDeclinedExpiredCard": "4000000000000069",
    "chargeDeclinedIncorrectCvc": "4000000000000127",
    "chargeDeclinedProcessingError": "4000000000000119",
    "chargeDeclinedVelocityLimitExceeded": "4000000000006975",
}
for _name, _number in _REFUSED_TOKENS.items():
    TOKENS[_name] = TOKENS[f"visa_{_name}"] = _number

# By the first digits: brand, and how many digits the security code has.
_BRANDS: tuple[tuple[tuple[str, ...], str, int], ...] = (
    (("34", "37"), "amex", 4),
    (("6011", "65", "644", "645", "646", "647", "648", "649"), "discover", 3),
    (("30", "36", "38", "39"), "diners", 3),
    (("35",), "jcb", 3),
    (("62", "81"), "unionpay", 3),
    (("4",), "visa", 3),
    (("51", "52", "53", "54", "55", "22", "23", "24", "25", "26", "270", "271", "2720"),
     "mastercard", 3),
)  # fmt: skip
_FUNDING = {
    "4000056655665556": "debit",
    "5200828282828210": "debit",
    "5105105105105100": "prepaid",
}


@dataclass(frozen=True, slots=True)
class Card:
    """A card that passed its checks. The number itself is not kept, only what it looks like."""

    brand: str
    funding: str
    last4: str
    exp_month: int
    exp_year: int
    fingerprint: str
    test_number: str | None = field(repr=False)
    has_cvc: bool = True


def outcome_of(test_number: str | None) -> Outcome:
    """What comes of a card, by the test number that it has; None is no test card."""
    return OUTCOMES.get(test_number or "", NOT_A_TEST_CARD)


def from_token(token: str, today: datetime.date) -> Card | None:
    """The card that `pm_card_…` or `tok_…` stands for; None for an unknown one."""
    word = token.removeprefix("pm_card_") if token.startswith("pm_card_") else token[4:]
    number = TOKENS.get(word)
    if number is None or not token.startswith(("pm_card_", "tok_")):
        return None
    return _card(number, today.month, today.year + 1, has_cvc=True)


def check(
    number: str, exp_month: int, exp_year: int, cvc: str | None, today: datetime.date
) -> Card:
    """The card behind what was typed. Raises StripeError (402) for what no bank need be asked."""
    digits = number.replace(" ", "").replace("-", "")
    if not _is_number(digits):
        raise refusal(Decline("incorrect_number", None, "Your card number is incorrect.", "number"))
    if not 1 <= exp_month <= 12:
        raise refusal(
            Decline("invalid_expiry_month", None, "Your card's expiration month is invalid.",
                    "exp_month")
        )  # fmt: skip
    year = exp_year + 2000 if 0 <= exp_year < 100 else exp_year
    if not today.year <= year <= today.year + 50:
        raise refusal(
            Decline("invalid_expiry_year", None, "Your card's expiration year is invalid.",
                    "exp_year")
        )  # fmt: skip
    if (year, exp_month) < (today.year, today.month):
        raise refusal(
            Decline("invalid_expiry_month", None, "Your card's expiration month is invalid.",
                    "exp_month")
        )  # fmt: skip
    if cvc is not None and not (cvc.isascii() and cvc.isdigit() and len(cvc) == _cvc_size(digits)):
        raise refusal(Decline("invalid_cvc", None, "Your card's security code is invalid.", "cvc"))
    return _card(digits, exp_month, year, has_cvc=cvc is not None)


def refusal(decline: Decline, *, keeps: bool = False, **fields: object) -> StripeError:
    """The 402 that says so."""
    return StripeError(
        decline.message,
        status=402,
        kind="card_error",
        code=decline.code,
        param=decline.param,
        keeps=keeps,
        decline_code=decline.decline_code,
        **fields,
    )


def _card(number: str, exp_month: int, exp_year: int, *, has_cvc: bool) -> Card:
    return Card(
        brand=_brand(number)[0],
        funding=_FUNDING.get(number, "credit"),
        last4=number[-4:],
        exp_month=exp_month,
        exp_year=exp_year,
        fingerprint=hashlib.sha256(number.encode()).hexdigest()[:16],
        test_number=number if number in OUTCOMES else None,
        has_cvc=has_cvc,
    )


def _brand(number: str) -> tuple[str, int]:
    for prefixes, brand, cvc_size in _BRANDS:
        if number.startswith(prefixes):
            return brand, cvc_size
    return "unknown", 3


def _cvc_size(number: str) -> int:
    return _brand(number)[1]


def _is_number(digits: str) -> bool:
    if not (digits.isascii() and digits.isdigit() and 12 <= len(digits) <= 19):
        return False
    total = 0
    for place, digit in enumerate(reversed(digits)):
        value = int(digit) * (1 + place % 2)
        total += value - 9 if value > 9 else value
    return total % 10 == 0
