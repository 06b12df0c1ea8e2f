"""What the ledger should do, in plain Python: accounts as a list, arithmetic, no SQL.

Written from the rules of how credits move, not from the functions that it is held against.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime

FAR = datetime(9999, 1, 1, tzinfo=UTC)
POOLS = ("plan", "bonus", "purchased")


@dataclass(frozen=True)
class Result:
    """What the caller is told."""

    outcome: str
    balance: int | None


@dataclass
class Account:
    pool: str
    source: str
    end: datetime | None
    balance: int = 0

    def live(self, at: datetime) -> bool:
        return self.end is None or self.end > at


@dataclass
class Use:
    legs: list[tuple[Account, int]]
    returned: int = 0

    @property
    def left(self) -> int:
        return sum(amount for _, amount in self.legs) - self.returned


@dataclass
class Hold:
    amount: int
    legs: list[tuple[Account, int]]
    state: str = "held"
    release_balance: int = 0


@dataclass
class Books:
    """One customer's."""

    accounts: list[Account] = field(default_factory=list)
    debts: dict[str, int] = field(default_factory=dict)
    held: int = 0
    reserved: dict[str, int] = field(default_factory=dict)
    uses: dict[str, Use] = field(default_factory=dict)
    holds: dict[str, Hold] = field(default_factory=dict)

    def spendable(self, at: datetime) -> int:
        return sum(account.balance for account in self.accounts if account.live(at))

    def find(self, pool: str, source: str) -> Account | None:
        return next((a for a in self.accounts if (a.pool, a.source) == (pool, source)), None)

    def account(self, pool: str, source: str, end: datetime | None = None) -> Account:
        found = self.find(pool, source)
        if found is None:
            found = Account(pool, source, end)
            self.accounts.append(found)
        return found

    def take_by_order(self, amount: int, at: datetime) -> list[tuple[Account, int]]:
        """The legs of a taking that is covered."""
        usable = [a for a in self.accounts if a.live(at) and a.balance]
        # Sorting is stable, so of two alike the one made first goes first.
        usable.sort(key=lambda a: (POOLS.index(a.pool), a.end or FAR))
        legs: list[tuple[Account, int]] = []
        for account in usable:
            part = min(amount, account.balance)
            if part:
                account.balance -= part
                amount -= part
                legs.append((account, part))
        assert amount == 0
        return legs

    def pay_debt(self, amount: int) -> int:
        for source, owed in self.debts.items():
            part = min(amount, owed)
            self.debts[source] -= part
            amount -= part
        return amount

    def come_back(self, account: Account, amount: int, at: datetime) -> None:
        """Credits return to where they came from: bought ones pay debt, an ended account's end."""
        if account.pool == "purchased":
            amount = self.pay_debt(amount)
        if account.live(at):
            account.balance += amount

    def state(self) -> dict[tuple[str, str], int]:
        """All that is not nothing, as the ledger's accounts should show it."""
        found = {(a.pool, a.source): a.balance for a in self.accounts}
        found |= {("debt", f"test:{source}"): -owed for source, owed in self.debts.items()}
        found |= {("held", source): amount for source, amount in self.reserved.items()}
        found["held", ""] = self.held
        return {name: balance for name, balance in found.items() if balance}


@dataclass
class Model:
    books: list[Books]
    causes: dict[tuple[str, str], tuple[int, bool, int]] = field(default_factory=dict)
    """By cause: whose it is, whether the request was the altered one, the balance after it."""

    def known(self, who: int, cause: tuple[str, str], *, altered: bool) -> Result | None:
        if cause not in self.causes:
            return None
        owner, was_altered, balance = self.causes[cause]
        same = (owner, was_altered) == (who, altered)
        return Result("repeated" if same else "reused", balance)

    def done(self, who: int, cause: tuple[str, str], balance: int, *, altered: bool) -> Result:
        self.causes[cause] = (who, altered, balance)
        return Result("posted", balance)
