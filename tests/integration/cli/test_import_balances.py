"""`bursar import-balances`: each balance once, whatever the file holds and whoever kills it."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bursar.billing import catalog
from bursar.billing.catalog import Unit
from bursar.checks.audit import audit
from bursar.db import Connection
from bursar.db.connections import connect
from worlds import ROOT

Command = Callable[..., tuple[int, str, str]]
HEADER = "user_id,unit,amount,reference"


def on(database_url: str, act: Callable[[Connection], Any]) -> Any:
    """Run `act` on a connection of its own."""

    async def run() -> Any:
        conn = await connect(database_url)
        try:
            return await act(conn)
        finally:
            await conn.close()

    return asyncio.run(run())


def rows(database_url: str, sql: str) -> list[tuple[Any, ...]]:
    return [tuple(row) for row in on(database_url, lambda conn: conn.fetch(sql))]


def balances(database_url: str) -> dict[str, dict[str, int]]:
    """By user and unit, of the purchased credits."""
    found: dict[str, dict[str, int]] = {}
    sql = (
        "select c.user_id, a.unit, a.balance from ledger_accounts a"
        " join customers c on c.id = a.customer_id where a.pool = 'purchased'"
    )
    for user_id, unit, balance in rows(database_url, sql):
        found.setdefault(user_id, {})[unit] = balance
    return found


def assert_clean(database_url: str) -> None:
    assert on(database_url, audit) == []


@pytest.fixture
def shop(bursar: Command, database_url: str) -> Command:
    """A shop with credits, which are whole, and pages, which have two decimals."""
    units = [Unit("credit", "Credits", 0, {}, {}), Unit("page", "Pages", 2, {}, {})]
    on(database_url, lambda conn: catalog.put_units(conn, units))
    return bursar


def written(folder: Path, *lines: str, header: str = HEADER) -> str:
    path = folder / "balances.csv"
    path.write_text("\n".join([header, *lines, ""]))
    return str(path)


def test_balances_come_over_with_users_addresses_and_decimals(
    shop: Command, database_url: str, tmp_path: Path
) -> None:
    file = written(
        tmp_path,
        "ada,page,12.5,old-1,ada@example.com",
        "bob,credit,300,old-2,",
        "",
        '"smith, eve",page,0.01,old-3,',
        "ada,credit,7.00,old-4,",
        header=f"{HEADER},email",
    )
    code, out, err = shop("import-balances", file)
    assert (code, err) == (0, "")
    assert "4 balances posted, 0 were there already." in out
    assert "307 Credits" in out
    assert "12.51 Pages" in out
    assert balances(database_url) == {
        "ada": {"page": 1250, "credit": 7},
        "bob": {"credit": 300},
        "smith, eve": {"page": 1},
    }
    people = rows(database_url, "select id, email, email_verified from users order by id")
    assert people[0] == ("ada", "ada@example.com", False)
    kinds = rows(database_url, "select distinct type, description from ledger_postings")
    assert kinds == [("adjustment", "Opening balance")]
    assert_clean(database_url)


def test_a_repeat_posts_nothing_and_says_so(
    shop: Command, database_url: str, tmp_path: Path
) -> None:
    file = written(tmp_path, "ada,credit,10,a", "bob,credit,20,b")
    assert shop("import-balances", file)[0] == 0
    longer = written(tmp_path, "ada,credit,10,a", "bob,credit,20,b", "eve,credit,30,c")
    code, out, _ = shop("import-balances", longer, "--json")
    assert code == 0
    assert json.loads(out) == {
        "posted": 1,
        "already_there": 2,
        "amounts": {"credit": 30},
        "bad_lines": [],
        "dry_run": False,
    }
    assert balances(database_url) == {
        "ada": {"credit": 10},
        "bob": {"credit": 20},
        "eve": {"credit": 30},
    }
    logged = rows(database_url, "select actor, subject, detail from audit_log order by id")
    assert [line[:2] for line in logged] == [("command", "balances.csv")] * 2
    assert [json.loads(line[2])["balances"] for line in logged] == [2, 1]
    assert_clean(database_url)


def test_a_reference_with_other_figures_is_refused_by_its_line_alone(
    shop: Command, database_url: str, tmp_path: Path
) -> None:
    shop("import-balances", written(tmp_path, "ada,credit,10,a", "bob,credit,20,b"))
    file = written(
        tmp_path, "ada,credit,11,a", "eve,credit,20,b", "ada,credit,5,c", "zoe,page,10,d"
    )
    code, out, err = shop("import-balances", file)
    assert code == 1
    assert [line.split(":")[0] for line in err.splitlines()] == ["line 2", "line 3"]
    assert "'a' was imported before with another user, unit or amount" in err
    assert "2 balances posted" in out
    assert balances(database_url) == {
        "ada": {"credit": 15},
        "bob": {"credit": 20},
        "zoe": {"page": 1000},
    }
    code, out, _ = shop("import-balances", file, "--json")
    told = json.loads(out)
    assert (code, told["posted"], told["already_there"]) == (1, 0, 2)
    assert [bad["line"] for bad in told["bad_lines"]] == [2, 3]
    assert_clean(database_url)


BAD = {
    "ada,credit,10,ok": None,
    ",credit,10,r1": "user id",
    "u" * 129 + ",credit,10,r2": "user id",
    "eve,pagez,10,r3": "no unit 'pagez'",
    "eve,credit,,r4": "no amount",
    "eve,credit,ten,r5": "no amount",
    "eve,credit,-5,r6": "no amount",
    "eve,credit,1e3,r7": "no amount",
    "eve,credit,١٢,r8": "no amount",
    'eve,credit,"1,000",r9': "no amount",
    "eve,credit,0,r10": "out of bounds",
    "eve,credit,1000000000001,r11": "out of bounds",
    "eve,credit,1.5,r12": "no decimals",
    "eve,page,1.005,r13": "2 decimals",
    "eve,credit,10,": "a reference has",
    "eve,credit,10," + "r" * 201: "a reference has",
    "eve,credit,10,ok": "that of line 2",
    "eve,credit,10": "3 columns",
    "eve,credit,10,r14,more": "5 columns",
    'eve,credit,10,"r15': "not CSV",
    "eve,credit,10,tab\there": "a reference has",
}


def test_every_bad_line_is_named_and_nothing_is_posted(
    shop: Command, database_url: str, tmp_path: Path
) -> None:
    code, out, err = shop("import-balances", written(tmp_path, *BAD))
    assert code == 1
    said = dict(line.split(": ", 1) for line in err.splitlines())
    expected = {f"line {n}": word for n, word in enumerate(BAD.values(), 2) if word is not None}
    assert set(said) == set(expected)
    assert {line: said[line] for line, word in expected.items() if word not in said[line]} == {}
    assert f"Nothing was posted: {len(expected)} bad lines" in out
    assert rows(database_url, "select * from ledger_postings") == []
    assert rows(database_url, "select * from users") == []
    code, out, _ = shop("import-balances", written(tmp_path, *BAD), "--json")
    assert (code, json.loads(out)["posted"]) == (1, 0)
    assert len(json.loads(out)["bad_lines"]) == len(expected)


@pytest.mark.parametrize(
    ("content", "line", "word"),
    [
        (b"", 1, "header is missing"),
        (b"ada,credit,10,a\n", 1, "header lacks"),
        (b"user_id,unit,amount\nada,credit,10\n", 1, "lacks reference"),
        (b"user_id,unit,amount,reference,phone\n", 1, "'phone'"),
        (b"user_id,unit,amount,reference,unit\n", 1, "twice"),
        (b"user_id;unit;amount;reference\n", 1, "separated by ';'"),
        (b"user_id,unit,amount,reference\nada,credit,1,a\nad\xe9,credit,1,b\n", 3, "UTF-8"),
        ("user_id,unit,amount,reference\n".encode("utf-16"), 1, "UTF-8"),
        (b"user_id,unit,amount,reference,email\nada,credit,1,a,nobody\n", 2, "e-mail"),
    ],
)
def test_a_file_that_can_not_be_read_says_where(
    shop: Command, database_url: str, tmp_path: Path, *, content: bytes, line: int, word: str
) -> None:
    path = tmp_path / "balances.csv"
    path.write_bytes(content)
    code, out, err = shop("import-balances", str(path))
    assert code == 1
    [said] = err.splitlines()
    assert said.startswith(f"line {line}: ")
    assert word in said
    assert "1 bad line. Mend it" in out
    assert rows(database_url, "select * from ledger_postings") == []


def test_what_spreadsheets_write_is_read(shop: Command, database_url: str, tmp_path: Path) -> None:
    """A byte order mark, lines that end in CR LF, columns in another order, quotes."""
    path = tmp_path / "balances.csv"
    path.write_bytes(
        b'\xef\xbb\xbfreference,"amount",unit,user_id\r\n'
        + 'old-1,10,credit,ädä\r\n"old ""2""",5,credit,"bob"\r\n'.encode()
    )
    assert shop("import-balances", str(path))[0] == 0
    assert balances(database_url) == {"ädä": {"credit": 10}, "bob": {"credit": 5}}
    assert_clean(database_url)


def test_a_dry_run_tells_all_and_keeps_nothing(
    shop: Command, database_url: str, tmp_path: Path
) -> None:
    shop("import-balances", written(tmp_path, "ada,credit,10,a", "bob,credit,20,b"))
    file = written(tmp_path, "ada,credit,10,a", "bob,credit,21,b", "eve,credit,30,c")
    before = rows(database_url, "select * from ledger_postings")
    code, out, err = shop("import-balances", file, "--dry-run")
    assert code == 1
    assert "nothing was kept" in out
    assert "1 balance posted, 1 were there already." in out
    assert err.startswith("line 3: ")
    assert rows(database_url, "select * from ledger_postings") == before
    assert rows(database_url, "select id from users order by id") == [("ada",), ("bob",)]
    assert len(rows(database_url, "select * from audit_log")) == 1


def test_an_address_that_is_known_is_kept(shop: Command, database_url: str, tmp_path: Path) -> None:
    first = written(tmp_path, "ada,credit,1,a,a@x.example", header=f"{HEADER},email")
    shop("import-balances", first)
    lines = ("ada,credit,1,b,other@x.example", "bob,credit,1,c,", "bob,page,1,d,bob@x.example")
    shop("import-balances", written(tmp_path, *lines, header=f"{HEADER},email"))
    people = rows(database_url, "select id, email from users order by id")
    assert people == [("ada", "a@x.example"), ("bob", "bob@x.example")]
    # One who was brought over without an address gets it when a later file has it.
    shop("import-balances", written(tmp_path, "eve,credit,1,e,", header=f"{HEADER},email"))
    line = "eve,credit,1,f,eve@x.example"
    shop("import-balances", written(tmp_path, line, header=f"{HEADER},email"))
    found = rows(database_url, "select email from users where id = 'eve'")
    assert found == [("eve@x.example",)]
    assert_clean(database_url)


def start(database_url: str, file: str, **environ: str) -> subprocess.Popen[bytes]:
    """The real command as a process of its own."""
    words = [sys.executable, "-m", "bursar.entrypoints.cli", "import-balances", file, "--json"]
    environment = {
        **{k: v for k, v in os.environ.items() if not k.startswith(("BURSAR_", "STRIPE_"))},
        "DATABASE_URL": database_url,
        **environ,
    }
    return subprocess.Popen(
        words, env=environment, cwd=ROOT / "tests", stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )


@pytest.mark.timeout(120)
@pytest.mark.parametrize("batch", [1, 2])
def test_killed_in_the_middle_and_run_again_each_balance_is_there_once(
    shop: Command, database_url: str, tmp_path: Path, batch: int
) -> None:
    file = written(tmp_path, *(f"user-{n % 700},credit,{n + 1},ref-{n}" for n in range(1234)))
    dying = start(database_url, file, BURSAR_CRASH_AT=f"import.after_batch:{batch}")
    dying.communicate(timeout=60)
    assert dying.returncode == -signal.SIGKILL
    assert rows(database_url, "select count(*) from ledger_postings") == [(500 * batch,)]
    code, out, _ = shop("import-balances", file, "--json")
    told = json.loads(out)
    assert (code, told["posted"], told["already_there"]) == (0, 1234 - 500 * batch, 500 * batch)
    assert sum(each["credit"] for each in balances(database_url).values()) == 1234 * 1235 // 2
    assert len(rows(database_url, "select * from audit_log")) == 3
    assert_clean(database_url)


@pytest.mark.timeout(120)
def test_two_imports_of_one_file_at_once_post_each_balance_once(
    shop: Command, database_url: str, tmp_path: Path
) -> None:
    lines = [f"user-{n},credit,{n + 1},ref-{n}" for n in range(700)]
    file = written(tmp_path, *lines)
    turned = tmp_path / "turned.csv"
    turned.write_text("\n".join([HEADER, *reversed(lines), ""]))
    both = [start(database_url, file), start(database_url, str(turned))]
    told = []
    for each in both:
        out, err = each.communicate(timeout=90)
        assert each.returncode == 0, err
        told.append(json.loads(out))
    assert sum(one["posted"] for one in told) == 700
    assert sum(one["already_there"] for one in told) == 700
    assert sum(each["credit"] for each in balances(database_url).values()) == 700 * 701 // 2
    assert_clean(database_url)


def test_a_file_that_is_not_there_is_wrong_usage(shop: Command, tmp_path: Path) -> None:
    assert shop("import-balances", str(tmp_path / "none.csv"))[0] == 2
    assert shop("import-balances", str(tmp_path))[0] == 2
