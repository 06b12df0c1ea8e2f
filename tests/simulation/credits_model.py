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
class Missing:
    """What a refund could not take, owed or forgiven; `number` is when it came about."""

    source: str
    left: int
    number: int
    forgiven: bool

    @property
    def name(self) -> tuple[str, str]:
        return ("forgiven" if self.forgiven else "debt", f"test:{self.source}")


@dataclass
class Use:
    legs: list[tuple[Account, int]]
    number: int
    returned: int = 0

    @property
    def left(self) -> int:
        return sum(amount for _, amount in self.legs) - self.returned


@dataclass
class Hold:
    amount: int
    legs: list[tuple[Account, int]]
    number: int
    state: str = "held"
    release_balance: int = 0


@dataclass
class Books:
    """One customer's."""

    accounts: list[Account] = field(default_factory=list)
    missing: list[Missing] = field(default_factory=list)
    held: int = 0
    reserved: dict[str, int] = field(default_factory=dict)
    reserved_at: dict[str, int] = field(default_factory=dict)
    count: int = 0
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

    def next(self) -> int:
        self.count += 1
        return self.count

    def pay_debt(self, amount: int) -> int:
        return _pay(amount, [one for one in self.missing if not one.forgiven])

    def pay_back(self, amount: int, since: int) -> int:
        """Give first to what would have taken these credits, had they not been taken then."""
        later = [one for one in self.missing if one.number > since]
        older = [one for one in self.missing if one.number <= since and not one.forgiven]
        return _pay(amount, [*later, *older])

    def come_back(self, account: Account, amount: int, at: datetime, *, since: int) -> None:
        """Credits return to where they came from: bought ones pay first, an ended account's end."""
        if account.pool == "purchased":
            amount = self.pay_back(amount, since)
        if account.live(at):
            account.balance += amount

    def state(self) -> dict[tuple[str, str], int]:
        """All that is not nothing, as the ledger's accounts should show it."""
        found = {(a.pool, a.source): a.balance for a in self.accounts}
        found |= {one.name: -one.left for one in self.missing}
        found |= {("held", source): amount for source, amount in self.reserved.items()}
        found["held", ""] = self.held
        return {name: balance for name, balance in found.items() if balance}


def _pay(amount: int, missing: list[Missing]) -> int:
    for one in missing:
        part = min(amount, one.left)
        one.left -= part
        amount -= part
    return amount


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
