"""Bugs planted into a copy of the source, each of which the named tests must find.

The kinds are those by which payment code loses money: what is unique is not, the order of check and
effect is turned round, a fact is not looked at. A test that stays green here proves nothing.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from postgres import OVERRIDE, Postgres
from worlds import ROOT

RANDOM = "__import__('uuid').uuid4()"


@dataclass(frozen=True)
class Bug:
    """`edits` are (old, new) in `file`, each of which stands there once."""

    name: str
    file: str
    edits: tuple[tuple[str, str], ...]
    tests: tuple[str, ...]


PURCHASE = "tests/integration/billing/test_purchase.py"
REFUNDS = "tests/integration/billing/test_refunds.py"
BUGS = (
    Bug(
        "events are not unique",
        "messages/inbox.py",
        (
            (
                "[m.event_key for m in messages]",
                f"[m.event_key + str({RANDOM}) for m in messages]",
            ),
        ),
        ("tests/integration/messages/test_inbox.py::test_a_repeat_is_stored_once",),
    ),
    Bug(
        "effects are not unique",
        "billing/credits.py",
        (
            ("> posted.get(row.id, 0)", "> 0"),
            ("amount=due[row.id] - posted.get(row.id, 0)", "amount=due[row.id]"),
            (
                'f"{row.reference}:{row.captured_minor}", "grant"',
                f'f"{{row.reference}}:{{{RANDOM}}}", "grant"',
            ),
        ),
        (f"{PURCHASE}::test_a_paid_session_becomes_credits_once",),
    ),
    Bug(
        "an event is done although its effect failed",
        "entrypoints/worker.py",
        (
            (
                "if await inbox.fail(conn, message, reason, at=at, ",
                "await inbox.finish(conn, message, 'done', at=at)\n        if dict(",
            ),
        ),
        (
            "tests/integration/billing/test_open_ends.py"
            "::test_an_event_whose_effect_failed_is_worked_again",
        ),
    ),
    Bug(
        "the payment is not locked before it is checked",
        "billing/payments.py",
        (("refunded_minor + refund_pending_minor + $3 <= captured_minor", "$3 <= captured_minor"),),
        (f"{REFUNDS}::test_twenty_parallel_refunds_of_600_on_1000_give_one",),
    ),
    Bug(
        "what is unpaid counts as paid",
        "providers/stripe/translate/sessions.py",
        (
            ('if status == "unpaid":', "if False:"),
            ('("paid", "no_payment_required")', '("paid", "no_payment_required", "unpaid")'),
        ),
        (f"{PURCHASE}::test_a_completed_session_that_is_not_paid_yet_grants_nothing",),
    ),
    Bug(
        "another mode's events count",
        "providers/stripe/client/__init__.py",
        (('if message.get("livemode") is not (self._mode == "live"):', "if False:"),),
        (f"{PURCHASE}::test_an_event_of_another_mode_or_account_is_quarantined",),
    ),
    Bug(
        "any currency will do",
        "billing/payment_facts.py",
        (('if currency != asked["currency"]:', "if False:"),),
        (f"{PURCHASE}::test_another_price_quantity_or_currency_grants_nothing_and_opens_a_case",),
    ),
    Bug(
        "any quantity will do",
        "billing/payment_facts.py",
        (("if bought != wanted:", "if False:"),),
        (f"{PURCHASE}::test_another_price_quantity_or_currency_grants_nothing_and_opens_a_case",),
    ),
    Bug(
        "each refund takes back the sum of all",
        "billing/credits.py",
        (("change = -taken.get(row.id, 0) - target", "change = -target"),),
        (f"{REFUNDS}::test_a_part_takes_its_share_rounded_up",),
    ),
    Bug(
        "a webhook is acknowledged before it is stored",
        "entrypoints/api/intake.py",
        (
            (
                "await self._collector.submit(message)",
                "__import__('asyncio').ensure_future(self._collector.submit(message))",
            ),
        ),
        ("tests/integration/api/test_api_webhooks.py::test_database_gone_is_503_and_back_is_200",),
    ),
    Bug(
        "a retry goes under a new key",
        "billing/refunds.py",
        (
            (
                "        reference=reference,\n        payment_intent_id",
                f"        reference=str({RANDOM}),\n        payment_intent_id",
            ),
        ),
        (f"{REFUNDS}::test_a_lost_answer_is_asked_for_under_its_key_and_refunds_once",),
    ),
    Bug(
        "what can not be taken back is forgotten",
        "ledger/functions/post.sql",
        (("p_cause_kind[i] || ':' || p_cause_id[i], null), -rest);", "'x', null), -1);"),),
        (f"{REFUNDS}::test_spent_credits_are_owed_and_the_next_purchase_pays",),
    ),
)


def plant(bug: Bug, folder: Path) -> Path:
    """A copy of the source with the bug in it."""
    source = folder / "src"
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "src", source, ignore=ignored)
    path = source / "bursar" / bug.file
    text = path.read_text(encoding="utf-8")
    for old, new in bug.edits:
        assert text.count(old) == 1, f"{bug.name}: {old!r} is gone; plant the bug anew"
        text = text.replace(old, new)
    path.write_text(text, encoding="utf-8")
    return source


def run(
    source: Path, tests: tuple[str, ...], postgres: Postgres
) -> subprocess.CompletedProcess[str]:
    """Run tests on a copy of the source, on this session's server."""
    environment = {**os.environ, "PYTHONPATH": str(source), OVERRIDE: postgres.url}
    where = "import bursar; print(bursar.__path__[0])"
    found = subprocess.run(
        [sys.executable, "-c", where], env=environment, capture_output=True, text=True, check=True
    )
    assert found.stdout.strip() == str(source / "bursar")
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-x", "--timeout=120", *tests],
        env=environment,
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.timeout(300)
def test_the_named_tests_are_green_without_a_bug(tmp_path: Path, postgres: Postgres) -> None:
    source = plant(Bug("none", "money.py", (), ()), tmp_path)
    done = run(source, tuple(sorted({test for bug in BUGS for test in bug.tests})), postgres)
    assert done.returncode == 0, done.stdout[-3000:]


@pytest.mark.timeout(200)
@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.name.replace(" ", "-"))
def test_a_planted_bug_turns_a_test_red(bug: Bug, tmp_path: Path, postgres: Postgres) -> None:
    done = run(plant(bug, tmp_path), bug.tests, postgres)
    # 1: tests ran and failed; anything else is a plan that broke, not a bug that was found.
    assert done.returncode == 1, done.stdout[-3000:]
    assert "FAILED" in done.stdout
