"""Row-level security: which rows of a table each role sees.

Owns the policies. All rows are our own processes'; a customer's role sees its own, by
`current_user` and the table customer_roles, never by a variable that the session can set; a
gateway's user sees those of the customers that he is a member of, by the claim that the gateway
sets.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from bursar.db.connections import Connection
from bursar.db.rights import CUSTOMER, GATEWAY, OWNER, READER, SERVER, TABLES, WORKER

MAPPED = "(select r.customer_id from customer_roles r where r.role_name = current_user)"
CLAIMED = "(select m.customer_id from members m where m.user_id = (select gateway_user()))"
CLAIMED_MANAGED = f"{CLAIMED[:-1]} and m.role <> 'member')"

POLICIES = """
select c.relname::text as table, quote_ident(p.polname) as name,
    obj_description(p.oid, 'pg_policy') as fingerprint
from pg_policy p join pg_class c on c.oid = p.polrelid
where c.relnamespace = 'public'::regnamespace and c.relname = any ($1)
"""


@dataclass(frozen=True, slots=True)
class Policy:
    """The rows of a table that some roles see. What they may do with them, grants say."""

    table: str
    name: str
    roles: tuple[str, ...]
    rows: str
    command: str = "select"

    def fingerprint(self) -> str:
        """Kept as the policy's comment, for PostgreSQL keeps the words in another form."""
        return hashlib.sha256(repr(self).encode()).hexdigest()[:32]

    def statements(self) -> str:
        """Drop and create it; both lock its table for a moment."""
        return (
            f"drop policy if exists {self.name} on {self.table};\n"
            f"create policy {self.name} on {self.table} for {self.command}"
            f" to {', '.join(self.roles)} using ({self.rows});\n"
            f"comment on policy {self.name} on {self.table} is '{self.fingerprint()}';"
        )


def wanted(tables: Sequence[str]) -> list[Policy]:
    """Every policy of `tables`."""
    found = [
        Policy(table, "all_rows", (OWNER, SERVER, WORKER, READER), "true", "all")
        for table in tables
    ]
    for table, rights in TABLES.items():
        if rights.customer and table != "customer_roles":
            column = "id" if table == "customers" else "customer_id"
            found.append(Policy(table, "own_rows", (CUSTOMER,), f"{column} in {MAPPED}"))
            # Payments are for those who manage an account, as over HTTP.
            claimed = CLAIMED_MANAGED if table == "payments" else CLAIMED
            found.append(Policy(table, "claimed_rows", (GATEWAY,), f"{column} in {claimed}"))
    found.append(Policy("customer_roles", "own_rows", (CUSTOMER,), "role_name = current_user"))
    found.append(Policy("members", "claimed_rows", (GATEWAY,), "user_id = (select gateway_user())"))
    return [policy for policy in found if policy.table in tables]


async def draw(conn: Connection, tables: Sequence[str]) -> None:
    """Make the policies that are missing or were made of other words, and drop what was ours.

    Those without a fingerprint are the host's, and stay.
    """
    rows = await conn.fetch(POLICIES, list(tables))
    there = {(row["table"], row["name"]): row["fingerprint"] for row in rows}
    statements = [
        policy.statements()
        for policy in wanted(tables)
        if there.pop((policy.table, policy.name), None) != policy.fingerprint()
    ]
    statements += [
        f"drop policy {name} on {table};" for (table, name), mark in there.items() if mark
    ]
    if statements:
        await conn.execute("\n".join(statements))
