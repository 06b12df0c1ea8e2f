"""Each table has one module that writes it; everybody else asks that module."""

from __future__ import annotations

import re
from collections import defaultdict

from tidy.sources import ROOT, text

SOURCE = ROOT / "src" / "bursar"
OWNERS: dict[str, tuple[str, ...]] = {
    "access/audit_log.py": ("audit_log",),
    "access/idempotency.py": ("idempotency_keys",),
    "access/keys.py": ("api_keys",),
    "access/limits.py": ("rate_limits",),
    "access/sessions.py": ("sessions", "sign_in_links"),
    "billing/cases.py": ("cases",),
    "billing/catalog.py": ("catalog_items", "catalog_units"),
    "billing/catalog_push.py": ("catalog_prices",),
    "billing/disputes.py": ("dispute_answers",),
    "billing/invitations.py": ("invitations",),
    "billing/entitlements.py": ("entitlement_counts", "entitlements"),
    "billing/order_decisions.py": ("order_decisions",),
    "billing/links.py": ("payment_links",),
    "billing/mirror.py": ("catalog_mirror",),
    "billing/payments.py": ("payments",),
    "billing/plan_terms.py": ("plan_terms",),
    "db/deployment.py": ("business_clock", "deployment"),
    "db/migrate.py": ("schema_functions", "schema_migrations", "schema_lock"),
    "billing/provider_customers.py": ("provider_customers",),
    "billing/reversals.py": ("reversals",),
    "billing/subscription_changes.py": ("subscription_changes",),
    "billing/subscriptions/rows.py": ("invoices", "subscriptions", "trials"),
    "billing/vouchers.py": ("voucher_uses", "vouchers"),
    "messages/endpoints.py": ("webhook_endpoints",),
    "messages/inbox.py": ("inbox_keys", "inbox_messages", "inbox_queue", "inbox_states"),
    "messages/outbox.py": ("outbox_destinations", "outbox_messages"),
    "messages/timers.py": ("timers",),
}
# Names at the providers, one row for each kind of thing: each module writes the kinds it makes.
# The ledger's tables are written by its SQL functions alone.
LEDGER = {"ledger/functions/accounts.sql", "ledger/functions/post_uses.sql"}
# A user is made by the API, and by the function that hosts call by SQL.
PEOPLE = {"billing/customers.py", "billing/functions/add_credits.sql"}
SHARED = {
    "customers": PEOPLE,
    "members": PEOPLE,
    "users": PEOPLE,
    "holds": {"ledger/functions/post.sql", "ledger/functions/close_holds.sql"},
    "provider_refs": {"billing/payments.py", "billing/provider_customers.py"},
    "ledger_accounts": LEDGER | {"ledger/functions/move_end.sql"},
    "ledger_causes": LEDGER,
    "ledger_entries": LEDGER,
    "ledger_postings": LEDGER,
}
# In the schema, and written by no code yet.
UNUSED = {
    "customer_roles",
}

# Tables that a later migration took away again.
DROPPED = {"hold_legs"}

CREATE = re.compile(r"\bcreate\s+(?:unlogged\s+)?table\s+(?:if\s+not\s+exists\s+)?(\w+)", re.I)
WRITE = re.compile(
    r"\b(?:insert\s+into|update(?:\s+only)?|delete\s+from|truncate(?:\s+table)?|merge\s+into)"
    r"\s+(?:public\.)?(\w+)",
    re.I,
)


def tables() -> set[str]:
    """Every table that a migration, or the runner of migrations, makes."""
    files = [*SOURCE.glob("db/migrations/*.sql"), SOURCE / "db" / "migrate.py"]
    return {table for path in files for table in CREATE.findall(text(path))} - DROPPED


def writers() -> dict[str, set[str]]:
    """The files that write each table; migrations are exempt."""
    known, found = tables(), defaultdict(set)
    for path in (*SOURCE.rglob("*.py"), *SOURCE.rglob("functions/*.sql")):
        for table in WRITE.findall(text(path)):
            if table in known:
                found[table].add(path.relative_to(SOURCE).as_posix())
    return found


def test_every_table_has_one_owner_on_the_list() -> None:
    listed = [table for owned in OWNERS.values() for table in owned]
    assert sorted([*listed, *SHARED, *UNUSED]) == sorted(tables())


def test_only_the_owner_writes_a_table() -> None:
    allowed = {table: {owner} for owner, owned in OWNERS.items() for table in owned} | SHARED
    strangers = {
        table: by - allowed.get(table, set())
        for table, by in writers().items()
        if by - allowed.get(table, set())
    }
    assert strangers == {}


def test_the_search_sees_a_write_in_every_form() -> None:
    for statement in (
        "insert into payments (id) values (1)",
        "UPDATE payments SET state = 'x'",
        "delete\n  from payments where true",
        "truncate table payments",
        "with x as (update only payments set id = 1)",
    ):
        assert WRITE.findall(statement) == ["payments"]
