"""The commands on a real database: what they print, and how they end."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from bursar.access import sessions
from bursar.billing import cases, catalog_file
from bursar.db.connections import connect
from bursar.messages import inbox
from bursar.providers.port import Received
from bursar_sandbox.running import Sandbox
from login_roles import logins
from worlds import ROOT, SECRET_KEY, WEBHOOK_SECRET

NOW = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)

Command = Callable[..., tuple[int, str, str]]


SHOP = """
[units.credit]
name = "Credits"
per_minor = { usd = "1" }
[packs.bulk]
name = "Bulk"
unit = "credit"
credits = 500
prices = { usd = 500, jpy = 777 }
capture = "manual"
[plans.solo]
name = "Solo"
unit = "credit"
features = ["history"]
durations = { 1 = { usd = 900 }, 3 = { usd = 2400, eur = 2200 } }
"""


def store_event(database_url: str) -> None:
    async def store() -> None:
        conn = await connect(database_url)
        try:
            event = Received(
                provider="stripe",
                account="acct_1",
                mode="test",
                event_key="evt_1",
                type="charge.succeeded",
                payload=b'{"id": "evt_1"}',
                headers={"stripe-signature": "t=1,v1=0"},
            )
            await inbox.receive(conn, [event], at=NOW)
        finally:
            await conn.close()

    asyncio.run(store())


def execute(database_url: str, sql: str) -> None:
    async def run() -> None:
        conn = await connect(database_url)
        try:
            await conn.execute(sql)
        finally:
            await conn.close()

    asyncio.run(run())


def test_created_key_is_printed_once_listed_without_secret_and_revoked(bursar: Command) -> None:
    code, secret, _ = bursar("keys", "create", "--user", "ada", "--name", "laptop")
    assert code == 0
    assert secret.startswith("bursar_user_")
    code, listed, _ = bursar("keys", "list", "--json")
    [key] = json.loads(listed)["data"]
    assert [key[name] for name in ("kind", "user_id", "name")] == ["user", "ada", "laptop"]
    assert key["revoked_at"] is None
    assert secret.strip() not in listed
    assert bursar("keys", "revoke", str(key["id"]))[0] == 0
    assert json.loads(bursar("keys", "list", "--json")[1])["data"][0]["revoked_at"]


def test_what_users_typed_is_printed_as_it_is(bursar: Command) -> None:
    for name in ("x [/z]", "[red]alarm[/red]", ":boom:", "bell\a and \x1b[31mred"):
        assert bursar("keys", "create", "--user", "ada", "--name", name)[0] == 0
    code, listed, err = bursar("keys", "list")
    assert (code, err) == (0, "")
    for shown in ("x [/z]", "[red]alarm[/red]", ":boom:", r"bell\x07 and \x1b[31mred"):
        assert shown in listed


def test_key_of_no_kind_or_two_kinds_is_wrong_usage(bursar: Command) -> None:
    for words in ((), ("--service", "--admin")):
        code, out, err = bursar("keys", "create", *words)
        assert code == 2
        assert out == ""
        assert "--user U, --service and --admin" in err


def test_refusal_is_one_line_with_its_code_and_exits_1(bursar: Command) -> None:
    code, out, err = bursar("keys", "revoke", "404")
    assert (code, out) == (1, "")
    assert err == "error: There is no key 404. (not_found)\n"


@pytest.mark.parametrize("words", [("explode",), ("keys", "explode"), ("serve", "--explode")])
def test_unknown_words_are_wrong_usage(bare: Command, words: tuple[str, ...]) -> None:
    assert bare(*words)[0] == 2


def test_version_and_help_need_no_database(bare: Command) -> None:
    assert bare("--version")[:2] == (0, "0.1.0\n")
    code, out, _ = bare("--help")
    assert code == 0
    for word in ("demo", "serve", "keys", "events", "audit"):
        assert word in out


def test_admin_link_signs_in_as_admin_once(bursar: Command, database_url: str) -> None:
    code, url, _ = bursar("admin", "create", "boss")
    assert code == 0
    token = url.strip().partition("?token=")[2]

    async def redeem() -> sessions.SignedIn:
        conn = await connect(database_url)
        try:
            return await sessions.redeem(conn, token)
        finally:
            await conn.close()

    signed_in = asyncio.run(redeem())
    assert (signed_in.user_id, signed_in.admin) == ("boss", True)


def test_event_is_listed_shown_as_it_came_and_queued_again(
    bursar: Command, database_url: str
) -> None:
    store_event(database_url)
    [event] = json.loads(bursar("events", "list", "--json")[1])["data"]
    assert (event["type"], event["state"]) == ("charge.succeeded", "received")
    shown = json.loads(bursar("events", "show", str(event["id"]), "--json")[1])
    assert shown["payload"] == '{"id": "evt_1"}'
    assert shown["headers"] == {"stripe-signature": "t=1,v1=0"}
    code, out, _ = bursar("events", "show", str(event["id"]))
    assert code == 0
    assert '"id": "evt_1"' in out
    execute(database_url, "update inbox_states set state = 'ignored'; delete from inbox_queue")
    assert json.loads(bursar("events", "list", "--state", "received", "--json")[1])["data"] == []
    code, out, _ = bursar("events", "replay", str(event["id"]))
    assert (code, out) == (0, "1 queued; the next worker takes them.\n")
    assert json.loads(bursar("events", "list", "--state", "received", "--json")[1])["data"]
    # An unknown one among them queues none of them.
    execute(database_url, "update inbox_states set state = 'ignored'; delete from inbox_queue")
    assert bursar("events", "replay", str(event["id"]), "404")[0] == 1
    assert json.loads(bursar("events", "list", "--state", "received", "--json")[1])["data"] == []


def test_case_is_listed_while_open_and_shown(bursar: Command, database_url: str) -> None:
    async def open_case() -> None:
        conn = await connect(database_url)
        try:
            opening = cases.Opening(kind="unmatched", reference="intent:pi_1", summary="Whose?")
            await cases.open_cases(conn, [opening], at=NOW)
        finally:
            await conn.close()

    asyncio.run(open_case())
    [case] = json.loads(bursar("cases", "list", "--json")[1])["data"]
    assert json.loads(bursar("cases", "show", str(case["id"]), "--json")[1])["summary"] == "Whose?"
    assert "Whose?" in bursar("cases", "list")[1]
    assert bursar("cases", "list", "--state", "resolved")[1] == "There is no such case.\n"
    assert bursar("cases", "show", "404")[0] == 1


def test_audit_exits_1_with_the_rows_that_are_wrong(bursar: Command, database_url: str) -> None:
    code, out, _ = bursar("audit")
    assert code == 0
    assert "invariants hold." in out
    execute(
        database_url,
        "insert into inbox_keys (provider, account, mode, event_key, message_id)"
        " values ('stripe', 'a', 'test', 'evt_lost', 99)",
    )
    code, out, _ = bursar("audit", "--json")
    assert code == 1
    assert json.loads(out)["findings"][0]["rows"][0]["event_key"] == "evt_lost"
    code, out, _ = bursar("audit")
    assert code == 1
    assert "evt_lost" in out


def test_command_on_an_old_schema_says_to_migrate_and_migrate_does(
    bare: Command, monkeypatch: pytest.MonkeyPatch, empty_database_url: str
) -> None:
    monkeypatch.setenv("DATABASE_URL", empty_database_url)
    code, _, err = bare("keys", "list")
    assert code == 1
    assert "Run `bursar migrate`. (migration_failed)" in err
    code, out, _ = bare("migrate")
    assert code == 0
    assert "applied 0001" in out
    assert bare("migrate")[1] == "The schema is up to date.\n"
    assert bare("keys", "list")[:2] == (0, "There is no key yet.\n")


def test_serve_without_a_key_names_the_variable_and_starts_nothing(
    bare: Command, tmp_path: Path
) -> None:
    for command in ("serve", "worker"):
        code, _, err = bare(command)
        assert code == 1
        assert "STRIPE_SECRET_KEY" in err
        assert err.endswith("(misconfigured)\n")
    assert not (tmp_path / "home").exists()


def test_serve_on_the_sandbox_without_a_secret_names_what_prints_one(
    bare: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STRIPE_SECRET_KEY", SECRET_KEY)
    monkeypatch.setenv("STRIPE_WEBHOOK_SECRET", "")
    monkeypatch.setenv("BURSAR_SANDBOX", "1")
    code, _, err = bare("serve")
    assert (code, "`bursar listen`" in err) == (1, True)
    monkeypatch.delenv("BURSAR_SANDBOX")
    assert "the provider's dashboard" in bare("serve")[2]


def test_catalogue_shows_each_currency_capture_durations_and_what_can_be_charged(
    bursar: Command, monkeypatch: pytest.MonkeyPatch, sandbox: Sandbox, tmp_path: Path
) -> None:
    for name, value in {
        "BURSAR_SANDBOX": "1",
        "STRIPE_API_BASE": sandbox.base_url,
        "STRIPE_SECRET_KEY": SECRET_KEY,
    }.items():
        monkeypatch.setenv(name, value)
    file = tmp_path / "shop.toml"
    file.write_text(SHOP, encoding="utf-8")
    assert bursar("catalog", "push", "--file", str(file))[0] == 0
    code, shown, err = bursar("catalog", "show")
    assert (code, err) == (0, "")
    for words in (
        "$5.00",
        "¥777",
        "manual: after review",
        "$9.00 for 1 month, €22.00 for 3 months",
    ):
        assert words in shown
    # The catalogue lets go as low as a cent; the provider does not.
    assert "Credits: any amount from $0.50 to" in shown
    packs = json.loads(bursar("catalog", "show", "--json")[1])["packs"]
    assert [(pack["key"], pack["currency"]) for pack in packs] == [
        ("bulk", "usd"),
        ("bulk", "jpy"),
    ]


def test_catalogue_is_pushed_once_and_shown(
    bursar: Command, monkeypatch: pytest.MonkeyPatch, sandbox: Sandbox, tmp_path: Path
) -> None:
    for name, value in {
        "BURSAR_SANDBOX": "1",
        "STRIPE_API_BASE": sandbox.base_url,
        "STRIPE_SECRET_KEY": SECRET_KEY,
        "STRIPE_WEBHOOK_SECRET": WEBHOOK_SECRET,
    }.items():
        monkeypatch.setenv(name, value)
    code, _, err = bursar("catalog", "push")
    assert code == 1
    assert "catalog.toml" in err
    assert err.endswith("(catalog_invalid)\n")
    file = str(ROOT / "catalog.toml")
    assert bursar("catalog", "push", "--file", file)[0] == 0
    again = json.loads(bursar("catalog", "push", "--file", file, "--json")[1])
    assert again["created"] == []
    assert len(again["unchanged"]) == len(catalog_file.read(ROOT / "catalog.toml").prices)
    code, shown, _ = bursar("catalog", "show")
    assert code == 0
    for words in ("12 Pages", "$10.00", "$0.83", "Credits: any amount from $5.00 to $5,000.00"):
        assert words in shown
    packs = json.loads(bursar("catalog", "show", "--json")[1])["packs"]
    assert [pack["key"] for pack in packs] == ["starter", "basic", "pro", "enterprise"]


def test_a_push_needs_no_webhook_secret_a_failed_one_leaves_no_mode_and_plans_are_shown(
    bursar: Command, monkeypatch: pytest.MonkeyPatch, sandbox: Sandbox, database_url: str
) -> None:
    monkeypatch.delenv("STRIPE_WEBHOOK_SECRET", raising=False)
    monkeypatch.setenv("STRIPE_SECRET_KEY", "sk_test_not_for_the_sandbox")
    monkeypatch.setenv("STRIPE_API_BASE", "http://127.0.0.1:9")
    push = ("catalog", "push", "--file", str(ROOT / "catalog.toml"))
    code, _, err = bursar(*push)
    assert (code, err.count("\n")) == (1, 1)
    execute(database_url, "do $$ begin assert not exists (select from deployment); end $$")
    monkeypatch.setenv("BURSAR_SANDBOX", "1")
    monkeypatch.setenv("STRIPE_API_BASE", sandbox.base_url)
    assert bursar(*push)[0] == 0
    code, shown, err = bursar("catalog", "show")
    assert (code, err) == (0, "")
    for words in ("email_support, 3 projects, 10000 api_calls a month", "$29.00 a month"):
        assert words in shown
    assert json.loads(bursar("catalog", "show", "--json")[1])["plans"]
    monkeypatch.delenv("BURSAR_SANDBOX")
    code, _, err = bursar(*push)
    assert code == 1
    assert "belongs to sandbox mode" in err
    assert "BURSAR_SANDBOX=1" in err


async def test_what_the_database_user_may_not_do_is_one_line_that_says_who(
    bursar: Command, monkeypatch: pytest.MonkeyPatch, database_url: str
) -> None:
    async with logins(database_url) as made:
        name, url = await made.make("bursar_reader")
        monkeypatch.setenv("DATABASE_URL", url)
        code, out, err = await asyncio.to_thread(bursar, "keys", "create", "--service")
    assert (code, out, err.count("\n")) == (1, "", 1)
    assert err.startswith(f"error: The database role {name} may not do this: permission denied for")
    assert "bursar_server" in err
    assert err.endswith("(misconfigured)\n")


def test_what_postgresql_refuses_is_one_line(bursar: Command, database_url: str) -> None:
    execute(database_url, "alter table api_keys rename to gone")
    code, _, err = bursar("keys", "list")
    assert (code, err.count("\n")) == (1, 1)
    assert 'relation "api_keys" does not exist' in err
