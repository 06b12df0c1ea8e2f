"""The test-card drawer: one button per outcome, and what each one types into the form.

Owns the offered cards and accounts. It never decides an outcome: the sandbox's bank does, by the
number.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from bursar_sandbox.stripe.pages.card_form import Entered


@dataclass(frozen=True, slots=True)
class TestCard:
    """A card of the drawer. `key` is its name in the address, `outcome` the button's words."""

    __test__ = False  # pytest would otherwise try to collect a class of this name.

    key: str
    outcome: str
    number: str
    code: str = "123"


TEST_CARDS = (
    TestCard("paid", "Paid", "4242 4242 4242 4242"),
    TestCard("declined", "Declined", "4000 0000 0000 0002"),
    TestCard("insufficient-funds", "Insufficient funds", "4000 0000 0000 9995"),
    TestCard("bank-asks", "Asks for 3-D Secure", "4000 0027 6000 3184"),
    TestCard("bank-refuses", "3-D Secure, then refused", "4000 0084 0000 1629"),
    TestCard("expired", "Expired card", "4000 0000 0000 0069"),
    TestCard("incorrect-code", "Incorrect code", "4000 0000 0000 0127"),
)


@dataclass(frozen=True, slots=True)
class TestAccount:
    """A bank account of the drawer: what it is called, and the fields that it fills."""

    __test__ = False

    key: str
    outcome: str
    method: str
    fields: tuple[tuple[str, str], ...]

    @property
    def number(self) -> str:
        """What the button shows: the account's own number."""
        return self.fields[-1][1]


def _sepa(key: str, outcome: str, iban: str) -> TestAccount:
    return TestAccount(key, outcome, "sepa_debit", (("iban", iban),))


def _in_us(key: str, outcome: str, number: str) -> TestAccount:
    fields = (("routing_number", "110000000"), ("account_number", number))
    return TestAccount(key, outcome, "us_bank_account", fields)


TEST_ACCOUNTS = (
    _sepa("debit-arrives", "Debit arrives", "AT61 1904 3002 3457 3201"),
    _sepa("debit-fails", "Debit fails later", "AT86 1904 3002 3547 3202"),
    _in_us("us-debit-arrives", "Debit arrives", "000123456789"),
    _in_us("us-debit-fails", "Debit fails later", "000222222227"),
)

BUYER = Entered(
    email="ada@lovelace.example", name="Ada Lovelace", country="US", postal_code="94107"
)
"""What a button writes into the fields that are still empty."""


def expiry_from(year: int) -> str:
    """A date that every card in the drawer accepts: December, three years after `year`."""
    return f"12 / {(year + 3) % 100:02d}"


def filled(entered: Entered, card: TestCard, year: int) -> Entered:
    """The form after pressing the card's button: card replaced, empty fields filled."""
    return replace(
        entered,
        email=entered.email or BUYER.email,
        name=entered.name or BUYER.name,
        country=entered.country or BUYER.country,
        postal_code=entered.postal_code or BUYER.postal_code,
        card_number=card.number,
        expiry=expiry_from(year),
        security_code=card.code,
        method="card",
    )


def filled_account(entered: Entered, account: TestAccount) -> Entered:
    """The form after pressing the account's button: account replaced, empty fields filled."""
    return replace(
        entered,
        email=entered.email or BUYER.email,
        name=entered.name or BUYER.name,
        country=entered.country or BUYER.country,
        method=account.method,
        **dict(account.fields),
    )


def find_account(key: str) -> TestAccount | None:
    """The account behind a button, or None for a name that no button has."""
    return next((account for account in TEST_ACCOUNTS if account.key == key), None)


def find_card(key: str) -> TestCard | None:
    """The card behind a button, or None for a name that no button has."""
    return next((card for card in TEST_CARDS if card.key == key), None)
