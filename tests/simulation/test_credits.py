"""The ledger against its model, and bugs planted into it that the comparison must find."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import asyncpg
import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from bursar.db.connections import connect
from postgres import Postgres
from simulation.credits_machine import Credits
from worlds import ROOT

FUNCTIONS = ROOT / "src" / "bursar" / "ledger" / "functions"
QUIET = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much]
FINDINGS = (AssertionError, asyncpg.IntegrityConstraintViolationError)


@dataclass(frozen=True)
class Bug:
    """A slip that somebody could make: wherever `old` stands in `file`, it becomes `new`."""

    name: str
    file: str
    old: str
    new: str

    def statement(self) -> str:
        text = (FUNCTIONS / self.file).read_text(encoding="utf-8")
        assert self.old in text, f"{self.name}: the line is gone; plant the bug anew"
        return text.replace(self.old, self.new)


BUGS = (
    Bug("a cause counts for nothing", "accounts.sql", "where c.kind = p_cause_kind", "where false"
        " and c.kind = p_cause_kind"),
    Bug("another request under a key is taken for the same", "accounts.sql",
        "and c.request_hash is not distinct from p_hash", ""),
    Bug("the customer is not locked", "post.sql", "order by c.id for no key update", ""),
    Bug("a debt is clipped", "post.sql",
        "if rest > 0 then\n                perform ledger_move(p_customer[i], posting, "
        "ledger_account(p_at, p_customer[i],\n                    p_unit[i], case",
        "if false then\n                perform ledger_move(p_customer[i], posting, "
        "ledger_account(p_at, p_customer[i],\n                    p_unit[i], case"),
    Bug("what is expired is spent", "post.sql",
        "and (b.expires_at is null or b.expires_at > p_at)", ""),
    Bug("bought credits go before the plan's", "post.sql",
        "case b.pool when 'plan' then 0 when 'bonus' then 1 else 2 end",
        "case b.pool when 'plan' then 2 when 'bonus' then 1 else 0 end"),
    Bug("what was forgiven takes from later uses", "accounts.sql",
        "or a.pool = 'forgiven' and made.later", "or a.pool = 'forgiven'"),
    Bug("what was forgiven comes back", "accounts.sql",
        "or a.pool = 'forgiven' and made.later", ""),
    Bug("a bonus pays debt", "post.sql", "if p_pool[i] = 'purchased' or",
        "if p_pool[i] in ('purchased', 'bonus') or"),
    Bug("a use is given back twice", "give_back.sql",
        "select coalesce(sum(p.amount), 0) into returned",
        "select coalesce(sum(p.amount), 0) * 0 into returned"),
    Bug("what returns to an ended account lives on", "give_back.sql",
        "if leg.expires_at <= moment then", "if false then"),
    Bug("a hold is closed twice", "close_holds.sql", "or hold.state <> 'held'", ""),
    Bug("a hold settles its last leg first", "close_holds.sql", "order by e.id\n",
        "order by e.id desc\n"),
    Bug("a hold that is given back pays no debt", "close_holds.sql",
        "part := ledger_pay_debt(p_customer[i], released, hold.unit, part, p_hold[i]);", ""),
    Bug("what was captured is not taken", "close_holds.sql",
        "balance := balance - (p_captured[i] - from_ended);", ""),
    Bug("more is captured than is held", "close_holds.sql", "or p_captured[i] > hold.amount", ""),
)  # fmt: skip


def run(postgres: Postgres, template: str, *, examples: int, shrink: bool) -> None:
    phases = [Phase.generate, Phase.shrink] if shrink else [Phase.generate]
    run_state_machine_as_test(
        lambda: Credits(postgres, template),  # type: ignore[arg-type]
        settings=settings(
            max_examples=examples,
            stateful_step_count=30,
            deadline=None,
            phases=phases,
            suppress_health_check=QUIET,
            derandomize=True,
            print_blob=False,
            database=None,
        ),
    )


@pytest.mark.timeout(300)
def test_the_ledger_does_what_the_model_says(postgres: Postgres, schema_template: str) -> None:
    run(postgres, schema_template, examples=60, shrink=True)


@pytest.mark.timeout(120)
@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.name.replace(" ", "-"))
def test_a_planted_bug_is_found(postgres: Postgres, schema_template: str, bug: Bug) -> None:
    with postgres.database(schema_template) as url:
        asyncio.run(_plant(url, bug.statement()))
        name = urlsplit(url).path.removeprefix("/")
        with pytest.raises(Exception) as found:  # noqa: PT011 - judged below
            run(postgres, name, examples=500, shrink=False)
    # The database's own constraint, or the comparison; a race comes out as a group of them.
    assert any(isinstance(e, FINDINGS) for e in _leaves(found.value)), found.value


def _leaves(error: BaseException) -> list[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        return [leaf for one in error.exceptions for leaf in _leaves(one)]
    return [error]


async def _plant(url: str, statement: str) -> None:
    conn = await connect(url)
    await conn.execute(statement)
    await conn.close()


def test_there_are_twelve_bugs_or_more() -> None:
    assert len({(bug.file, bug.old, bug.new) for bug in BUGS}) >= 12
    assert Path(FUNCTIONS).is_dir()
