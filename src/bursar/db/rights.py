"""Who may do what with each table, as data: `roles` makes grants and policies of it.

Owns the table of rights. A table or function that has no line here is the owner's alone. It never
speaks to a database.
"""

from __future__ import annotations

from dataclasses import dataclass

OWNER = "bursar_owner"
SERVER = "bursar_server"
WORKER = "bursar_worker"
READER = "bursar_reader"
CUSTOMER = "bursar_customer"
GATEWAY = "bursar_gateway"

# Of these a person or a process logs in by the first three, or by roles that are members of them.
LOGIN = (SERVER, WORKER, READER)
ROLES = (OWNER, *LOGIN, CUSTOMER, GATEWAY)

# Supabase gives these, which the public reaches, every right on whatever is new in the schema.
WEB_ROLES = ("anon", "authenticated")

READ = "select"
ADD = "select, insert"
CHANGE = "select, insert, update"
ALL = "select, insert, update, delete"


@dataclass(frozen=True, slots=True)
class Rights:
    """What each role may do with a table, in the words of GRANT; "" is nothing.

    `customer` is what a customer's own role may, and a gateway for its user, in their own rows.
    """

    server: str = ""
    worker: str = ""
    reader: str = ""
    customer: str = ""

    def by_role(self) -> dict[str, str]:
        """The rights of each role that has some."""
        given = {
            SERVER: self.server,
            WORKER: self.worker,
            READER: self.reader,
            CUSTOMER: self.customer,
            GATEWAY: self.customer,
        }
        return {role: words for role, words in given.items() if words}


PAYMENT_COLUMNS = (
    "select (customer_id, id, provider, kind, state, amount_minor, currency, captured_minor, "
    "refunded_minor, refund_pending_minor, disputed_minor, unit, credits, session_id, "
    "payment_intent_id, receipt_url, description, created_at, completed_at)"
)
ENDPOINT_COLUMNS = "select (id, url, disabled_at, disabled_reason, deleted_at, created_at)"
KEY_COLUMNS = (
    "select (id, kind, user_id, prefix, name, created_at, last_used_at, expires_at, revoked_at)"
)
INVITATION_COLUMNS = (
    "select (id, customer_id, role, email, invited_by, expires_at, accepted_by, closed_at, "
    "created_at)"
)
MESSAGE_COLUMNS = "select (id, provider, event_key, type, received_at)"
OWED_COLUMNS = (
    "select (id, topic, cause, customer_id, destination, state, due_at, attempts, sent_at, "
    "created_at)"
)

# Ledger, holds, audit log and event bytes: nobody but the owner changes or deletes, and the ledger
# grows only by its functions. Secrets, and what was received, are no reader's.
TABLES: dict[str, Rights] = {
    "api_keys": Rights(server=CHANGE, reader=KEY_COLUMNS),
    "audit_log": Rights(server=ADD, worker=ADD, reader=READ),
    "business_clock": Rights(server=CHANGE, worker=CHANGE, reader=READ),
    "cases": Rights(server=CHANGE, worker=CHANGE, reader=READ),
    "catalog_items": Rights(server=CHANGE, worker=READ, reader=READ),
    "catalog_mirror": Rights(server=CHANGE, worker=CHANGE, reader=READ),
    "catalog_prices": Rights(server=CHANGE, worker=READ, reader=READ),
    "catalog_units": Rights(server=CHANGE, worker=READ, reader=READ),
    "customer_roles": Rights(customer=READ),
    # Who locks a customer must be allowed to change something of it.
    "customers": Rights(server=CHANGE, worker="select, update (name)", reader=READ, customer=READ),
    "deployment": Rights(server=ADD, worker=ADD, reader=READ),
    "dispute_answers": Rights(server=CHANGE, worker=CHANGE, reader=READ),
    "entitlement_counts": Rights(server=ALL, worker=ALL, reader=READ),
    "entitlements": Rights(server=ALL, worker=ALL, reader=READ),
    "holds": Rights(server=READ, worker=READ, reader=READ, customer=READ),
    "idempotency_keys": Rights(server=ALL, worker="select (created_at), delete"),
    "inbox_keys": Rights(server=ADD, worker=READ, reader=READ),
    "inbox_messages": Rights(server=ADD, worker=READ, reader=MESSAGE_COLUMNS),
    "inbox_queue": Rights(server=ALL, worker="select, update, delete", reader=READ),
    "inbox_states": Rights(server=CHANGE, worker="select, update", reader=READ),
    "invitations": Rights(server=CHANGE, reader=INVITATION_COLUMNS),
    "invoices": Rights(server=CHANGE, worker=CHANGE, reader=READ, customer=READ),
    "ledger_accounts": Rights(server=READ, worker=READ, reader=READ, customer=READ),
    "ledger_causes": Rights(server=READ, worker=READ, reader=READ),
    "ledger_entries": Rights(server=READ, worker=READ, reader=READ, customer=READ),
    "ledger_postings": Rights(server=READ, worker=READ, reader=READ, customer=READ),
    "members": Rights(server=ALL, worker=READ, reader=READ),
    "order_decisions": Rights(server=CHANGE, worker=CHANGE, reader=READ),
    # A receiver that says it is gone is asked for no more, by whoever was told so.
    "outbox_destinations": Rights(server=ALL, worker="select, delete", reader=READ),
    "outbox_messages": Rights(server=CHANGE, worker=CHANGE, reader=OWED_COLUMNS),
    "payments": Rights(server=CHANGE, worker=CHANGE, reader=READ, customer=PAYMENT_COLUMNS),
    "payment_links": Rights(server=CHANGE, worker=READ, reader=READ),
    "plan_terms": Rights(server=CHANGE, worker=CHANGE, reader=READ),
    "provider_customers": Rights(server=ALL, worker=ALL, reader=READ),
    "provider_refs": Rights(server=ADD, worker=ADD, reader=READ),
    "rate_limits": Rights(server=ALL, worker="select (window_start), delete"),
    "reversals": Rights(server=CHANGE, worker=CHANGE, reader=READ),
    "schema_functions": Rights(server=READ, worker=READ, reader=READ),
    "schema_migrations": Rights(server=READ, worker=READ, reader=READ),
    "sessions": Rights(server=ALL, worker="select (expires_at), delete"),
    "sign_in_links": Rights(server=ALL, worker="select (expires_at), delete"),
    "subscription_changes": Rights(server=CHANGE, worker=CHANGE, reader=READ),
    "subscriptions": Rights(server=CHANGE, worker=CHANGE, reader=READ, customer=READ),
    "timers": Rights(server=ALL, worker=ALL, reader=READ),
    "trials": Rights(server=ADD, worker=ADD, reader=READ),
    "users": Rights(server=CHANGE, worker=READ, reader=READ),
    "voucher_uses": Rights(server=ADD, reader=READ),
    "vouchers": Rights(server=CHANGE, reader=READ),
    "webhook_endpoints": Rights(server=CHANGE, worker=CHANGE, reader=ENDPOINT_COLUMNS),
}

# Without rows, and held by whoever migrates: to change it would be to wait for oneself, so it keeps
# its owner.
HELD = "schema_lock"

# A gateway's user is known to us by memberships, a customer's role by its mapping.
GATEWAY_TABLES = {"members": READ}

# Numbers that a statement of ours takes by name; those of identity columns need no right.
# Messages and questions to a provider are numbered by one: see 0006_subscriptions.sql.
SEQUENCES = {"inbox_messages_id_seq": (SERVER, WORKER)}

# Functions that others than the owner may call, by signature, or by name for every form of it.
FUNCTIONS: dict[str, tuple[str, ...]] = {
    "add_credits(text,bigint,text,text)": (SERVER,),
    "business_now": (SERVER, WORKER, READER, CUSTOMER, GATEWAY),
    "gateway_user": (GATEWAY,),
    "ledger_close_holds": (SERVER, WORKER),
    "ledger_give_back": (SERVER, WORKER),
    "ledger_move_end": (SERVER, WORKER),
    "ledger_post": (SERVER, WORKER),
    "use_credits(text,bigint,text)": (SERVER,),
}

# The host may grant these to roles of its own; a form with other parameters is the host's function.
HOST_MAY_GRANT = ("add_credits(text,bigint,text,text)", "use_credits(text,bigint,text)")

VIEWS = {
    "credit_balances": """
select a.customer_id, c.user_id, a.unit,
    coalesce(sum(a.balance) filter (where a.pool in ('plan', 'bonus', 'purchased')
        and (a.expires_at is null or a.expires_at > business_now())), 0)::bigint as balance,
    coalesce(sum(a.balance) filter (where a.pool = 'held'), 0)::bigint as held,
    coalesce(-sum(a.balance) filter (where a.pool = 'debt'), 0)::bigint as owed
from ledger_accounts a join customers c on c.id = a.customer_id
where a.pool <> 'house'
group by a.customer_id, c.user_id, a.unit
""",
    "credit_transactions": """
select p.id, p.customer_id, c.user_id, p.unit, p.amount, p.type, p.description, p.payment_id,
    p.balance_after, p.created_at
from ledger_postings p join customers c on c.id = p.customer_id
""",
}
VIEW_RIGHTS = Rights(server=READ, worker=READ, reader=READ, customer=READ)
