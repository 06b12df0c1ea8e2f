"""A state machine over all operations on credits: the ledger against the model, step by step.

It draws operations for two customers, alone, in batches, repeated, altered, and in pairs that run
at the same time; it moves the clock; and after each step the whole state and the audit must agree.
"""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from bursar.checks.audit import Finding, audit
from bursar.db import Connection, Database, open_pool
from people import make_customer
from postgres import Postgres
from simulation import credits_operations as ops
from simulation.credits_model import Books, Model, Result
from simulation.credits_operations import Ids, Operation, Post

BEGIN = datetime(2026, 11, 21, 12, tzinfo=UTC)
USERS = ("ada", "bob")


@dataclass(frozen=True)
class Wanted:
    """One drawn operation. It names nothing by id, so what is drawn depends on nothing that a race
    decides: the same draws make a sensible plan whatever came of those before."""

    kind: str
    who: int
    amount: int
    source: str
    days: int | None
    pick: int
    whole: bool
    stray: bool
    """Whether it names what is the other customer's."""


LATER = ("return", "capture", "release")
POSTS: dict[str, Callable[[dict[str, Any], Wanted], Post]] = {
    "buy": lambda fields, _: ops.Give(**fields),
    "correct": lambda fields, _: ops.Give(**fields, kind="adjustment"),
    "bonus": lambda fields, wanted: ops.Give(
        **fields, kind="bonus", pool="bonus", source=wanted.source, days=wanted.days
    ),
    "allow": lambda fields, wanted: ops.Give(
        **fields, kind="subscription", pool="plan", source=wanted.source, days=wanted.days
    ),
    "use": lambda fields, _: ops.Spend(**fields),
    "deduct": lambda fields, _: ops.Spend(**fields, kind="adjustment"),
    "reserve": lambda fields, _: ops.Reserve(**fields),
    "take back": lambda fields, _: ops.TakeBack(**fields),
    "set aside": lambda fields, _: ops.SetAside(**fields),
    "put back": lambda fields, _: ops.PutBack(**fields),
    "expire plan": lambda fields, wanted: ops.Expire(**fields, pool="plan", source=wanted.source),
    "expire bonus": lambda fields, wanted: ops.Expire(**fields, pool="bonus", source=wanted.source),
    "forgive": lambda fields, _: ops.TakeBack(**fields, forgiving=True),
}
# What happens most in life is drawn most.
OFTEN = ("use", "use", "reserve", "reserve", "take back", "take back", *LATER, *LATER)
KINDS = (*POSTS, *LATER, *OFTEN)
WANTED = st.builds(
    Wanted,
    kind=st.sampled_from(KINDS),
    who=st.integers(0, len(USERS) - 1),
    amount=st.integers(1, 30),
    source=st.sampled_from(["a", "b"]),
    days=st.sampled_from([None, 1, 5, 30]),
    pick=st.integers(0, 5),
    whole=st.booleans(),
    stray=st.integers(0, 9).map(lambda number: number == 9),
)
STATE = """
select a.pool, a.source, a.balance from ledger_accounts a
where a.customer_id = $1 and a.balance <> 0
"""
# Here purchases have no payment behind them; everything else of the audit holds.
APART = {"credits_have_evidence"}


class Credits(RuleBasedStateMachine):
    """One example is one database of its own."""

    def __init__(self, postgres: Postgres, template: str) -> None:
        super().__init__()
        self._runner = asyncio.Runner()
        self._open = postgres.database(template)
        url = self._open.__enter__()
        self.db: Database = self._runner.run(self._connect(url))
        self.ids = Ids([self._runner.run(make_customer(self.db, user)) for user in USERS], {})
        self.model = Model([Books() for _ in USERS])
        self.at = BEGIN
        self.count = 0
        self.past: list[Operation] = []

    async def _connect(self, url: str) -> Database:
        return await open_pool(url, max_size=3)

    def teardown(self) -> None:
        self._runner.run(self.db.close())
        self._runner.close()
        self._open.__exit__(None, None, None)

    @initialize(amount=st.integers(20, 60))
    def begin(self, amount: int) -> None:
        """Nobody begins with nothing: most of what is drawn would be refused."""
        for who in range(len(USERS)):
            bought = ops.Give(who, self._token(), amount=amount)
            bonus = replace(bought, token=self._token(), kind="bonus", pool="bonus", source="a")
            for gift in (bought, replace(bonus, days=5)):
                self.past.append(gift)
                self._alone(gift)

    @rule(wanted=WANTED)
    def one(self, wanted: Wanted) -> None:
        self._alone(self._make(wanted))

    @rule(several=st.lists(WANTED, min_size=2, max_size=4))
    def batch(self, several: list[Wanted]) -> None:
        """Several postings in one call, of one customer or both."""
        posts = [self._make_post(wanted) for wanted in several]
        expected = [one.expect(self.model, self.at) for one in posts]

        async def ask(conn: Connection) -> list[Result]:
            return await ops.ask_all(conn, posts, self.ids, self.at)

        assert self._runner.run(self.db.run(ask)) == expected
        self._check()

    @rule(one=WANTED, other=WANTED)
    def together(self, one: Wanted, other: Wanted) -> None:
        """Two at the same time end as one after the other, in one of the two orders."""
        pair = [self._make(one), self._make(other)]

        async def both() -> list[Result]:
            return list(await asyncio.gather(*(self._ask(each) for each in pair)))

        told, state = self._runner.run(both()), self._state()
        for order in ((0, 1), (1, 0)):
            model = copy.deepcopy(self.model)
            expected = {index: pair[index].expect(model, self.at) for index in order}
            if [expected[0], expected[1]] == told and [b.state() for b in model.books] == state:
                self.model = model
                break
        else:
            raise AssertionError(f"{pair} together: {told}, {state}, as in no order")
        self._check()

    @rule(pick=st.integers(0, 200), altered=st.booleans())
    def again(self, pick: int, altered: bool) -> None:
        """A request comes a second time, the same or with other words under its key."""
        self._alone(replace(self.past[pick % len(self.past)], altered=altered))

    @rule(hours=st.sampled_from([1, 24, 24 * 6, 24 * 40]))
    def wait(self, hours: int) -> None:
        self.at += timedelta(hours=hours)
        self._check()

    def _alone(self, operation: Operation) -> None:
        expected = operation.expect(self.model, self.at)
        assert self._runner.run(self._ask(operation)) == expected, operation
        self._check()

    async def _ask(self, operation: Operation) -> Result:
        async def ask(conn: Connection) -> Result:
            return await operation.ask(conn, self.ids, self.at)

        return await self.db.run(ask)

    def _token(self) -> str:
        self.count += 1
        return f"t{self.count}"

    def _make(self, wanted: Wanted) -> Operation:
        """What was drawn, as an operation on what there is now."""
        if wanted.kind not in LATER:
            return self._make_post(wanted)
        books = self.model.books[1 - wanted.who if wanted.stray else wanted.who]
        known = sorted(books.uses if wanted.kind == "return" else books.holds)
        if not known:
            return self._make_post(replace(wanted, kind="reserve"))
        token, chosen = self._token(), known[wanted.pick % len(known)]
        made: Operation
        if wanted.kind == "return":
            amount = None if wanted.whole else wanted.amount
            made = ops.ReturnUse(wanted.who, token, use=chosen, amount=amount)
        elif wanted.kind == "capture":
            made = ops.Close(wanted.who, token, hold=chosen, captured=wanted.amount)
        else:
            state: Literal["released", "lapsed"] = "lapsed" if wanted.whole else "released"
            made = ops.Close(wanted.who, token, hold=chosen, state=state)
        self.past.append(made)
        return made

    def _make_post(self, wanted: Wanted) -> Post:
        kind = wanted.kind if wanted.kind in POSTS else "use"
        fields = {"who": wanted.who, "token": self._token(), "amount": wanted.amount}
        made = POSTS[kind](fields, wanted)
        self.past.append(made)
        return made

    def _state(self) -> list[dict[tuple[str, str], int]]:
        async def read() -> list[dict[tuple[str, str], int]]:
            async with self.db.connection() as conn:
                rows = [await conn.fetch(STATE, customer_id) for customer_id in self.ids.customers]
            return [{(r["pool"], r["source"]): r["balance"] for r in found} for found in rows]

        return self._runner.run(read())

    def _check(self) -> None:
        assert self._state() == [books.state() for books in self.model.books]
        assert [f for f in self._runner.run(self._audit()) if f.check not in APART] == []

    async def _audit(self) -> list[Finding]:
        async with self.db.connection() as conn:
            return await audit(conn)
