"""Every operation on credits, twice: as the model does it, and as the ledger is asked for it."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Literal

from bursar.db import Connection
from bursar.ledger import entries, holds
from bursar.ledger.entries import ALL_THERE_IS, Cause, GiveBack, Pool, Posting, PostingType
from bursar.ledger.holds import Closing
from simulation.credits_model import Hold, Missing, Model, Result, Use

UNIT = "credit"


@dataclass
class Ids:
    """What the ledger calls what the model calls by a token."""

    customers: list[int]
    postings: dict[str, int]


@dataclass(frozen=True)
class Operation:
    """A request by customer `who` under the cause `token`; `altered`: the same key, other words."""

    who: int
    token: str
    altered: bool = False

    @property
    def hash(self) -> bytes:
        return hashlib.sha256(f"{self.token}:{self.altered}".encode()).digest()

    def expect(self, model: Model, at: datetime) -> Result:
        """Do it to the model."""
        raise NotImplementedError

    async def ask(self, conn: Connection, ids: Ids, at: datetime) -> Result:
        """Ask the ledger for it."""
        raise NotImplementedError


@dataclass(frozen=True)
class Post(Operation):
    """What goes through `entries.post`, alone or with others."""

    amount: int = 1
    purpose = "post"

    def posting(self, ids: Ids, at: datetime) -> Posting:
        raise NotImplementedError

    def make(
        self,
        ids: Ids,
        kind: PostingType,
        amount: int,
        *,
        pool: Pool = "purchased",
        source: str = "",
        expires_at: datetime | None = None,
    ) -> Posting:
        return Posting(
            customer_id=ids.customers[self.who],
            unit=UNIT,
            type=kind,
            amount=amount,
            cause=Cause("test", self.token, self.purpose),
            pool=pool,
            source=source,
            expires_at=expires_at,
            request_hash=self.hash,
        )

    def expect(self, model: Model, at: datetime) -> Result:
        cause = (self.token, self.purpose)
        if known := model.known(self.who, cause, altered=self.altered):
            return known
        if not self.change(model, at):
            return Result("refused", model.books[self.who].spendable(at))
        balance = model.books[self.who].spendable(at)
        return model.done(self.who, cause, balance, altered=self.altered)

    def change(self, model: Model, at: datetime) -> bool:
        """Whether it could be done."""
        raise NotImplementedError

    async def ask(self, conn: Connection, ids: Ids, at: datetime) -> Result:
        [told] = await ask_all(conn, [self], ids, at)
        return told


async def ask_all(conn: Connection, posts: Sequence[Post], ids: Ids, at: datetime) -> list[Result]:
    """Ask for several in one call."""
    posted = await entries.post(conn, [one.posting(ids, at) for one in posts], at=at)
    for one, answer in zip(posts, posted, strict=True):
        if answer.outcome == "posted" and answer.posting_id is not None:
            ids.postings[one.token] = answer.posting_id
    return [Result(answer.outcome, answer.balance) for answer in posted]


@dataclass(frozen=True)
class Give(Post):
    kind: Literal["purchase", "bonus", "subscription", "adjustment"] = "purchase"
    pool: Pool = "purchased"
    source: str = ""
    days: int | None = None

    def _end(self, at: datetime) -> datetime | None:
        return None if self.days is None else at + timedelta(days=self.days)

    def posting(self, ids: Ids, at: datetime) -> Posting:
        return self.make(
            ids,
            self.kind,
            self.amount,
            pool=self.pool,
            source=self.source,
            expires_at=self._end(at),
        )

    def change(self, model: Model, at: datetime) -> bool:
        books = model.books[self.who]
        rest = books.pay_debt(self.amount) if self.pool == "purchased" else self.amount
        if rest:
            books.account(self.pool, self.source, self._end(at)).balance += rest
        return True


@dataclass(frozen=True)
class Spend(Post):
    kind: Literal["usage", "adjustment"] = "usage"

    def posting(self, ids: Ids, at: datetime) -> Posting:
        return self.make(ids, self.kind, -self.amount)

    def change(self, model: Model, at: datetime) -> bool:
        books = model.books[self.who]
        if books.spendable(at) < self.amount:
            return False
        legs = books.take_by_order(self.amount, at)
        if self.kind == "usage":
            books.uses[self.token] = Use(legs, books.next())
        return True


@dataclass(frozen=True)
class Reserve(Post):
    def posting(self, ids: Ids, at: datetime) -> Posting:
        return self.make(ids, "hold", -self.amount, expires_at=at + timedelta(hours=1))

    def change(self, model: Model, at: datetime) -> bool:
        books = model.books[self.who]
        if books.spendable(at) < self.amount:
            return False
        legs = books.take_by_order(self.amount, at)
        books.holds[self.token] = Hold(self.amount, legs, books.next())
        books.held += self.amount
        return True


@dataclass(frozen=True)
class TakeBack(Post):
    """A refund that succeeded: from what was bought, the rest is owed or forgiven."""

    forgiving: bool = False

    def posting(self, ids: Ids, at: datetime) -> Posting:
        pool: Pool = "forgiven" if self.forgiving else "purchased"
        return self.make(ids, "refund", -self.amount, pool=pool)

    def change(self, model: Model, at: datetime) -> bool:
        books = model.books[self.who]
        bought = books.find("purchased", "")
        part = min(self.amount, bought.balance) if bought else 0
        if bought:
            bought.balance -= part
        if rest := self.amount - part:
            books.missing.append(Missing(self.token, rest, books.next(), self.forgiving))
        return True


@dataclass(frozen=True)
class SetAside(Post):
    """A refund on its way: what it would take, as far as it is there."""

    source: str = "payment:1"

    def posting(self, ids: Ids, at: datetime) -> Posting:
        return self.make(ids, "hold", -self.amount, source=self.source)

    def change(self, model: Model, at: datetime) -> bool:
        books = model.books[self.who]
        bought = books.find("purchased", "")
        part = min(self.amount, bought.balance) if bought else 0
        if bought is None or part == 0:
            return False
        bought.balance -= part
        books.reserved[self.source] = books.reserved.get(self.source, 0) + part
        books.reserved_at[self.source] = books.next()
        return True


@dataclass(frozen=True)
class PutBack(Post):
    """A refund that failed: what was set aside comes back, and pays debt."""

    source: str = "payment:1"

    def posting(self, ids: Ids, at: datetime) -> Posting:
        return self.make(ids, "release", self.amount, source=self.source)

    def change(self, model: Model, at: datetime) -> bool:
        books = model.books[self.who]
        part = min(self.amount, books.reserved.get(self.source, 0))
        if part == 0:
            return False
        books.reserved[self.source] -= part
        if rest := books.pay_back(part, books.reserved_at[self.source]):
            books.account("purchased", "").balance += rest
        return True


@dataclass(frozen=True)
class Expire(Post):
    pool: Pool = "bonus"
    source: str = ""

    def posting(self, ids: Ids, at: datetime) -> Posting:
        return self.make(ids, "expiry", -ALL_THERE_IS, pool=self.pool, source=self.source)

    def change(self, model: Model, at: datetime) -> bool:
        account = model.books[self.who].find(self.pool, self.source)
        if account is None or account.live(at) or account.balance == 0:
            return False
        account.balance = 0
        return True


@dataclass(frozen=True)
class ReturnUse(Operation):
    """A use given back, whole (None) or in part; the last leg taken comes back first."""

    use: str = ""
    amount: int | None = None
    purpose = "return"

    def expect(self, model: Model, at: datetime) -> Result:
        cause = (self.token, self.purpose)
        if known := model.known(self.who, cause, altered=self.altered):
            return known
        books = model.books[self.who]
        use = books.uses.get(self.use)
        if use is None:
            return Result("unknown", None)
        amount = use.left if self.amount is None else self.amount
        if amount == 0 or amount > use.left:
            return Result("refused", books.spendable(at))
        skip, rest = use.returned, amount
        for account, taken in reversed(use.legs):
            part = min(rest, max(taken - skip, 0))
            skip = max(skip - taken, 0)
            books.come_back(account, part, at, since=use.number)
            rest -= part
        use.returned += amount
        return model.done(self.who, cause, books.spendable(at), altered=self.altered)

    async def ask(self, conn: Connection, ids: Ids, at: datetime) -> Result:
        wanted = GiveBack(
            customer_id=ids.customers[self.who],
            posting_id=ids.postings.get(self.use, 0),
            amount=self.amount,
            cause=Cause("test", self.token, self.purpose),
            request_hash=self.hash,
        )
        [given] = await entries.give_back(conn, [wanted], at=at)
        return Result(given.outcome, given.balance)


@dataclass(frozen=True)
class Close(Operation):
    """A hold settled for `captured`, or, with 0, given back or lapsed."""

    hold: str = ""
    captured: int = 0
    state: Literal["released", "lapsed"] = "released"
    purpose = "capture"

    def expect(self, model: Model, at: datetime) -> Result:
        books = model.books[self.who]
        hold = books.holds.get(self.hold)
        if self.captured:
            cause = (self.token, self.purpose)
            if known := model.known(self.who, cause, altered=self.altered):
                return known
        if hold is None:
            return Result("unknown", None)
        if hold.state != "held":
            # Giving back what is closed is told how it stood when it was closed.
            return (
                Result("closed", None)
                if self.captured
                else Result("repeated", hold.release_balance)
            )
        if self.captured > hold.amount:
            return Result("refused", None)
        return self._close(model, hold, at)

    def _close(self, model: Model, hold: Hold, at: datetime) -> Result:
        books = model.books[self.who]
        hold.state = "settled" if self.captured else self.state
        books.held -= hold.amount
        rest, legs, live = self.captured, [], 0
        for account, reserved in hold.legs:
            settled = min(rest, reserved)
            rest -= settled
            if settled:
                legs.append((account, settled))
                live += settled if account.live(at) else 0
            books.come_back(account, reserved - settled, at, since=hold.number)
        balance = books.spendable(at)
        # The movements tell of everything coming back before the use is taken.
        hold.release_balance = balance + live
        if not self.captured:
            return Result("posted", balance)
        books.uses[self.token] = Use(legs, books.next())
        return model.done(self.who, (self.token, self.purpose), balance, altered=self.altered)

    async def ask(self, conn: Connection, ids: Ids, at: datetime) -> Result:
        closing = Closing(
            customer_id=ids.customers[self.who],
            hold_id=ids.postings.get(self.hold, 0),
            captured=self.captured,
            state=self.state,
        )
        if self.captured:
            cause = Cause("test", self.token, self.purpose)
            closing = replace(closing, cause=cause, request_hash=self.hash)
        [closed] = await holds.close(conn, [closing], at=at)
        if closed.outcome == "posted" and self.captured and closed.posting_id is not None:
            ids.postings[self.token] = closed.posting_id
        return Result(closed.outcome, closed.balance)
