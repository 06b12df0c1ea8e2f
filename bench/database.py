"""The database of a run: embedded, durable, throw-away, filled before anything is measured.

Owns its life and its first rows. The rows of the ledger come by the ledger's own function.
"""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from bench.events import EVENT_TYPE, EventMaker
from bursar.db.connections import PlainConnection, connect
from bursar.db.embedded import EmbeddedServer
from bursar.db.migrate import migrate

T = TypeVar("T")

MESSAGES = 10_000
CUSTOMERS = 10_000
UNIT = "credits"
GRANT = 1_000_000_000
INBOX = ("inbox_keys", "inbox_messages", "inbox_states", "inbox_queue")

SETTINGS = (
    *("server_version", "fsync", "synchronous_commit", "full_page_writes", "shared_buffers"),
    *("max_wal_size", "wal_compression", "max_connections", "autovacuum"),
)

# Filled in one statement; every body has an id of its own, so that none compresses to another's.
FILL_INBOX = """
with numbered as (
    select n, 'evt_' || lpad(to_hex(n), 24, '0') as event_key from generate_series(1, $1) n
), keys as (
    insert into inbox_keys (provider, account, mode, event_key, message_id)
    select 'stripe', '', 'test', event_key, nextval('inbox_messages_id_seq') from numbered
    returning message_id, event_key
), messages as (
    insert into inbox_messages (id, provider, event_key, type, payload, headers, received_at)
    select message_id, 'stripe', event_key, $2,
        convert_to(replace($3, $4, event_key), 'UTF8'), $5::jsonb, now()
    from keys
), states as (
    insert into inbox_states (message_id, state) select message_id, 'received' from keys
)
insert into inbox_queue (message_id, due_at) select message_id, now() from keys
"""

FILL_CUSTOMERS = """
with made as (
    insert into users (id) select 'bench-' || n from generate_series(1, $1) n returning id
), owned as (
    insert into customers (kind, user_id) select 'personal', id from made returning id, user_id
)
insert into members (customer_id, user_id, role) select id, user_id, 'owner' from owned
"""

FILL_LEDGER = """
with ids as (
    select array_agg(id order by id) as all_of_them, count(*)::int as size
    from customers where user_id like 'bench-%'
)
select count(*) from ids, ledger_post(
    now(), false, all_of_them, array_fill($1::text, array[size]),
    array_fill('bonus'::text, array[size]), array_fill($2::bigint, array[size]),
    array_fill('purchased'::text, array[size]), array_fill(''::text, array[size]),
    array_fill(null::timestamptz, array[size]), array_fill('bench'::text, array[size]),
    all_of_them::text[], array_fill('grant'::text, array[size]),
    array_fill(null::bytea, array[size]), array_fill(null::bigint, array[size]),
    array_fill(null::text, array[size])
) posted where posted.outcome = 'posted'
"""


@dataclass(frozen=True, slots=True)
class Bench:
    """A running database: its address, its folder, the process that heads it."""

    url: str
    home: Path
    pid: int

    def ask(self, query: str, *arguments: object) -> Any:
        """Return the one value of `query`."""
        return self._with(lambda conn: conn.fetchval(query, *arguments))

    def settings(self) -> dict[str, str]:
        """Return the settings that a reader of the figures wants to know."""
        return {name: str(self.ask("select current_setting($1)", name)) for name in SETTINGS}

    def settle(self) -> None:
        """Leave nothing of the last arm's to do to the next: vacuum, statistics, a checkpoint."""

        async def work(conn: PlainConnection) -> None:
            await conn.execute("vacuum analyze", timeout=300)
            await conn.execute("checkpoint", timeout=300)

        self._with(work)

    def refill_inbox(self) -> None:
        """Empty the inbox and store MESSAGES again, so that each arm meets the same tables."""
        maker = EventMaker(0, "filling")
        body = maker.body().decode()
        event_id = body.split('"', 4)[3]
        headers = f'{{"content-type": "application/json", "stripe-signature": "{"0" * 80}"}}'

        async def work(conn: PlainConnection) -> None:
            async with conn.transaction():
                await conn.execute(f"truncate {', '.join(INBOX)}")
                await conn.execute(FILL_INBOX, MESSAGES, EVENT_TYPE, body, event_id, headers)

        self._with(work)
        self.settle()

    def fill_ledger(self) -> tuple[int, int]:
        """Make CUSTOMERS customers with GRANT credits each; return the first and the last id."""

        async def work(conn: PlainConnection) -> tuple[int, int]:
            async with conn.transaction():
                await conn.execute(FILL_CUSTOMERS, CUSTOMERS)
                posted = await conn.fetchval(FILL_LEDGER, UNIT, GRANT)
                row = await conn.fetchrow(
                    "select min(id) as first, max(id) as last, count(*) as size from customers"
                    " where user_id like 'bench-%'"
                )
            if row is None or posted != CUSTOMERS or row["last"] - row["first"] + 1 != CUSTOMERS:
                raise RuntimeError(f"the ledger was filled with {posted} accounts only")
            return row["first"], row["last"]

        found = self._with(work)
        self.settle()
        return found

    def _with(self, work: Callable[[PlainConnection], Awaitable[T]]) -> T:
        async def call() -> T:
            conn = await connect(self.url)
            try:
                return await work(conn)
            finally:
                await conn.close()

        return asyncio.run(call())


@contextmanager
def opened(parent: Path | None = None) -> Iterator[Bench]:
    """Run a new durable cluster in a folder under `parent` (the system's place by default)."""
    folder = Path(tempfile.mkdtemp(prefix="bursar-bench-", dir=parent))
    # Started by root the server is another user, who must pass through.
    folder.chmod(0o711)
    home = folder / "home"
    try:
        with EmbeddedServer.open(home, durable=True) as server:
            asyncio.run(migrate(server.url))
            pid_file = next(home.glob("pg*/postmaster.pid"))
            yield Bench(server.url, home, int(pid_file.read_text().split("\n", 1)[0]))
    finally:
        shutil.rmtree(folder)
