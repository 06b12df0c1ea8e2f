"""`bursar outbox` on a real database."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from datetime import UTC, datetime

from bursar.db.connections import connect
from bursar.messages import outbox
from bursar.messages.outbox import Event

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)

Command = Callable[..., tuple[int, str, str]]


def store_dead_message(database_url: str) -> None:
    async def store() -> None:
        conn = await connect(database_url)
        try:
            await outbox.subscribe(conn, "host:shop.greet", ["*"], at=NOW)
            await outbox.emit(conn, [Event("payment.completed", "r:500", 7, {})], at=NOW)
            await conn.execute(
                "update outbox_messages set state = 'dead', attempts = 40, last_error = 'no mail'"
            )
        finally:
            await conn.close()

    asyncio.run(store())


def listed(bursar: Command, *options: str) -> list[dict[str, object]]:
    code, out, _ = bursar("outbox", "list", "--json", *options)
    assert code == 0
    rows: list[dict[str, object]] = json.loads(out)["data"]
    return rows


def test_a_dead_message_is_listed_and_queued_again(bursar: Command, database_url: str) -> None:
    store_dead_message(database_url)
    [dead] = listed(bursar, "--state", "dead", "--destination", "host:shop.greet")
    assert (dead["topic"], dead["last_error"]) == ("payment.completed", "no mail")
    code, out, _ = bursar("outbox", "retry", str(dead["id"]))
    assert (code, out.split()[0]) == (0, "1")
    assert listed(bursar, "--state", "dead") == []
    [queued] = listed(bursar)
    assert (queued["state"], queued["attempts"]) == ("queued", 0)


def test_one_that_is_not_there_refuses_them_all(bursar: Command, database_url: str) -> None:
    store_dead_message(database_url)
    [dead] = listed(bursar)
    code, _, said = bursar("outbox", "retry", str(dead["id"]), "999999")
    assert code == 1
    assert "none was queued" in said
    assert [row["state"] for row in listed(bursar)] == ["dead"]
