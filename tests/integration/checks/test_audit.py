"""The audit: clean on sound books, and each query shown to find the fault that it is for."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import uuid4

import orjson
import pytest

from bursar.billing import payments
from bursar.billing.payments import Intent
from bursar.billing.settle import settle
from bursar.billing.strangers import Owner
from bursar.checks.audit import INVARIANTS, audit
from bursar.db import Database
from bursar.db.connections import Connection
from bursar.ledger import entries
from bursar.ledger.entries import Cause, GiveBack, Posting
from bursar.messages import inbox
from bursar.providers.port import Line, PaymentFacts, Received, Totals
from bursar.providers.recurring import InvoiceFact, InvoiceLine, SubscribedItem, SubscriptionFact
from people import make_user

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)

# What each fault does to sound books. Constraints and triggers are off while it is planted: the
# audit is the second wall, for the day on which the first one fell.
FAULTS = {
    "postings_balance": "update ledger_entries set amount = amount + 1 where balance_after is null",
    "postings_have_entries": "delete from ledger_entries where balance_after is null",
    "balances_are_sums": "update ledger_accounts set balance = balance + 1 where balance > 0",
    "balances_run_on": "update ledger_entries set balance_after = balance_after + 1"
    " where balance_after is not null",
    "entries_stay_home": "update ledger_accounts set unit = 'page' where customer_id <> 0",
    "amounts_are_entries": "update ledger_postings set amount = amount + 1",
    "postings_have_one_cause": "delete from ledger_causes",
    "give_backs_fit": "update ledger_postings set amount = 21 where reverses is not null",
    "credits_have_evidence": "update payments set state = 'failed'",
    "paid_is_credited": "update ledger_postings set type = 'bonus' where type = 'purchase'",
    "parts_are_taken_by_hand": "update payments set captured_minor = 499",
    "payments_are_what_was_asked": "update payments set credits = credits * 2",
    "payments_are_found": "delete from provider_refs where kind = 'intent'",
    "mismatches_are_cases": "update payments set mismatch = 'another price'",
    "reversals_fit": "update payments set refunded_minor = 1",
    "refunds_take_credits_back": "update payments set refunded_minor = 500",
    "held_for_refunds": "insert into ledger_accounts (customer_id, unit, pool, source, balance,"
    " created_at) select customer_id, 'credit', 'held', 'payment:' || id, 5, now() from payments",
    "captures_fit": "update payments set authorized_until = now(), authorized_minor = 499,"
    """ snapshot = jsonb_set(snapshot, '{capture_method}', '"manual"')""",
    "decisions_are_what_happened": "insert into order_decisions (customer_id, payment_id, kind,"
    " reference, amount_minor, state, requested_by, created_at, closed_at) select customer_id, id,"
    " 'capture', gen_random_uuid(), 499, 'done', 'admin', now(), now() from payments",
    "held_money_has_an_end": "update payments set state = 'authorized'",
    "events_are_stored": "delete from inbox_states",
    "open_events_are_queued": "delete from inbox_queue",
    "dead_events_are_cases": "update inbox_states set state = 'dead'",
    "customers_have_owners": "insert into customers (kind, name) values ('team', 'Nobody')",
    "limits_are_counted_by_what_was_granted": "insert into entitlement_counts (customer_id,"
    " feature, per, period_start, used) select id, 'exports', 'ever', '-infinity', 1"
    " from customers where kind = 'personal'",
    "users_have_customers": "delete from members",
    "holds_fit": "insert into ledger_accounts (customer_id, unit, pool, source, balance,"
    " created_at) select id, 'credit', 'held', '', 5, now() from customers where id <> 0",
    "holds_close_once": "insert into holds (customer_id, id, unit, amount, state, expires_at,"
    " created_at, closed_at) select customer_id, id, unit, 5, 'released', now(), now(), now()"
    " from ledger_postings where type = 'usage' and amount < 0",
    "allowances_come_once": "update ledger_postings set amount = amount + 1"
    " where type = 'subscription'",
    "allowances_were_paid_for": "update invoices set status = 'open'",
    "paid_invoices_are_payments": "update invoices set paid_minor = 1",
    "one_subscription_of_a_group": "insert into subscriptions select (s).* from (select"
    ' jsonb_populate_record(s, \'{"id": 77, "subscription_id": "sub_2"}\') as s'
    " from subscriptions s) x",
    "features_end_with_the_subscription": "update subscriptions set status = 'canceled',"
    " ended_at = now()",
    "what_lives_is_asked_about": "delete from timers",
    "changes_are_followed": "insert into subscription_changes (customer_id, subscription_id, kind,"
    " reference, requested_by, created_at) select customer_id, id, 'cancel', gen_random_uuid(),"
    " 'ada', now() from subscriptions",
    "vouchers_fit": "insert into vouchers (code, unit, credits, uses, created_at)"
    " values ('SPRING', 'credit', 5, 1, now())",
}


def subscription() -> SubscriptionFact:
    """A month of it, paid for."""
    ends = NOW + timedelta(days=30)
    item = SubscribedItem(
        item_id="si_1",
        price_id="price_basic",
        quantity=1,
        amount_minor=1500,
        currency="usd",
        interval="month",
        interval_count=1,
        period_start=NOW,
        period_end=ends,
    )
    line = InvoiceLine(
        price_id="price_basic",
        quantity=1,
        amount_minor=1500,
        discount_minor=0,
        period_start=NOW,
        period_end=ends,
        proration=False,
    )
    invoice = InvoiceFact(
        invoice_id="in_1",
        number="1",
        reason="create",
        status="paid",
        currency="usd",
        subtotal_minor=1500,
        discount_minor=0,
        tax_added_minor=0,
        total_minor=1500,
        due_minor=1500,
        paid_minor=1500,
        lines=(line,),
        attempts=1,
        next_attempt_at=None,
        created_at=NOW,
        finalized_at=NOW,
        paid_at=NOW,
        ended_at=None,
        payment_intent_id="pi_sub",
        charge_id="ch_sub",
        failure=None,
    )
    return SubscriptionFact(
        provider="stripe",
        subscription_id="sub_1",
        reference=None,
        provider_customer_id=None,
        email=None,
        status="active",
        raw_status="active",
        items=(item,),
        currency="usd",
        created_at=NOW,
        trial_start=None,
        trial_end=None,
        cancel_at=None,
        cancel_at_period_end=False,
        canceled_at=None,
        ended_at=None,
        resumes_at=None,
        invoices=(invoice,),
        read=1,
    )


async def subscribe(conn: Connection, customer_id: int) -> None:
    """A plan with an allowance and a feature, paid for a month."""
    unit = (
        "insert into catalog_units (unit, name) values ('credit', 'Credits') on conflict do nothing"
    )
    await conn.execute(unit)
    details = {"rights": [{"feature": "history", "amount": None, "per": None}], "group": "main"}
    await conn.execute(
        "insert into catalog_items (kind, key, name, unit, credits, details)"
        " values ('plan', 'basic', 'Basic', 'credit', 20, $1::jsonb)",
        orjson.dumps(details).decode(),
    )
    await conn.execute(
        "insert into catalog_prices (reference, provider, kind, key, currency, amount_minor,"
        " recurring, lookup_key, provider_product_id, provider_price_id, active, created_at)"
        " values (gen_random_uuid(), 'stripe', 'plan', 'basic', 'usd', 1500, 'month', 'basic',"
        " 'prod_1', 'price_basic', true, now())"
    )
    await settle(conn, [subscription()], at=NOW, fetched=True, owner=Owner(customer_id, "ada"))


async def keep_sound_books(db: Database) -> None:
    """A paid and credited payment, a use of some, part of which is returned, and a queued event."""
    user = await make_user(db, "ada")
    reference = uuid4()
    lines = [{"price_id": "price_1", "quantity": 1}]
    asked = {
        "name": "Starter",
        "unit": "credit",
        "credits": 500,
        "currency": "usd",
        "subtotal_minor": 500,
        "discount_minor": 0,
        "capture_method": "automatic",
        "lines": lines,
    }
    intent = Intent(
        customer_id=user.customer_id,
        reference=reference,
        user_id=user.id,
        provider="stripe",
        kind="checkout",
        amount_minor=500,
        currency="usd",
        unit="credit",
        credits=500,
        snapshot=asked,
        request={},
        description=None,
        metadata={},
    )
    facts = PaymentFacts(
        provider="stripe",
        at=NOW,
        reference=str(reference),
        session_id="cs_1",
        payment_intent_id="pi_1",
        state="completed",
        currency="usd",
        captured_minor=500,
        totals=Totals((Line("price_1", 1, 500),), 500, 0, 0, 500),
    )
    event = Received("stripe", "", "test", "evt_1", "ping", orjson.dumps({}), {})
    use = Posting(
        customer_id=user.customer_id,
        unit="credit",
        type="usage",
        amount=-20,
        cause=Cause("test", "use", "use"),
    )
    async with db.transaction() as conn:
        await payments.begin(conn, intent, at=NOW)
        await settle(conn, [facts], at=NOW)
        [used] = await entries.post(conn, [use], at=NOW)
        assert used.posting_id is not None
        returned = GiveBack(
            customer_id=user.customer_id,
            posting_id=used.posting_id,
            amount=5,
            cause=Cause("test", "use", "give_back"),
        )
        await entries.give_back(conn, [returned], at=NOW)
        await subscribe(conn, user.customer_id)
        await inbox.receive(conn, [event], at=NOW)


async def test_sound_books_have_no_findings(db: Database) -> None:
    await keep_sound_books(db)
    async with db.connection() as conn:
        assert await audit(conn) == []


@pytest.mark.parametrize("check", [invariant.name for invariant in INVARIANTS])
async def test_each_query_finds_the_fault_it_is_for(db: Database, check: str) -> None:
    await keep_sound_books(db)
    async with db.transaction() as conn:
        await conn.execute("set local session_replication_role = replica")
        await conn.execute(FAULTS[check])
    async with db.connection() as conn:
        findings = {finding.check: finding for finding in await audit(conn)}
    assert check in findings
    assert findings[check].rows


def test_every_invariant_has_a_fault_and_every_fault_an_invariant() -> None:
    assert set(FAULTS) == {invariant.name for invariant in INVARIANTS}
