"""The account's balance: an entry for each movement, and their sum."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import stripe

from bursar_sandbox import control_client
from bursar_sandbox.running import Sandbox
from hosted_page_shop import advance
from stripe_schema import recorded, schema_or_skip
from stripe_shop import pay_intent

DAY = 24 * 3600
pytestmark = pytest.mark.timeout(60)


@pytest.fixture
def sandbox(start: Callable[..., Sandbox], tmp_path: Path) -> Iterator[Sandbox]:
    record = tmp_path / "record.jsonl"
    running = start(record=record)
    yield running
    running.stop()
    assert recorded.problems(record, schema_or_skip()) == []


@pytest.fixture
def v1(sandbox: Sandbox, client_for: Callable[[Sandbox], Any]) -> Any:
    return client_for(sandbox).v1


def sums(v1: Any, part: str) -> dict[str, int]:
    """The amounts by currency under `available` or `pending`."""
    return {one.currency: one.amount for one in getattr(v1.balance.retrieve(), part)}


def test_charge_enters_with_its_fee(v1: Any) -> None:
    intent = pay_intent(v1, amount=10_000, description="Ink", expand=["latest_charge"])
    entry = v1.balance_transactions.retrieve(
        intent.latest_charge.balance_transaction, {"expand": ["source"]}
    )
    assert (entry.type, entry.reporting_category, entry.currency) == ("charge", "charge", "usd")
    assert (entry.amount, entry.fee, entry.net) == (10_000, 320, 9_680)
    (fee,) = entry.fee_details
    assert (fee.amount, fee.type, fee.description) == (320, "stripe_fee", "Stripe processing fees")
    assert (entry.source.id, entry.description) == (intent.latest_charge.id, "Ink")
    charge = v1.charges.retrieve(intent.latest_charge.id, {"expand": ["balance_transaction"]})
    assert charge.balance_transaction.id == entry.id


def test_entries_are_listed_by_type_source_and_currency(v1: Any, sandbox: Sandbox) -> None:
    paid, other = pay_intent(v1), pay_intent(v1, currency="eur", payment_method_types=["card"])
    given = v1.refunds.create({"payment_intent": paid.id, "amount": 500})
    made = control_client.dispute(sandbox.base_url, other.latest_charge)

    def found(**params: Any) -> list[tuple[str, int]]:
        listed = v1.balance_transactions.list(params).data
        return [(entry.type, entry.amount) for entry in listed]

    assert found(type="adjustment") == [("adjustment", -2000)]
    assert found(source=paid.latest_charge) == [("charge", 2000)]
    assert found(source=given.id) == [("refund", -500)]
    assert found(currency="eur") == [("adjustment", -2000), ("charge", 2000)]
    assert found(type="charge", limit=1) == [("charge", 2000)]
    assert found(source=made["id"]) == []
    (entry,) = v1.disputes.retrieve(made["id"]).balance_transactions
    assert v1.balance_transactions.retrieve(entry.id).source == made["id"]
    with pytest.raises(stripe.InvalidRequestError) as missing:
        v1.balance_transactions.retrieve("txn_none")
    assert missing.value.http_status == 404


def test_balance_is_the_sum_of_its_entries(v1: Any, sandbox: Sandbox) -> None:
    assert (sums(v1, "available"), sums(v1, "pending")) == ({"usd": 0}, {"usd": 0})
    intent = pay_intent(v1)
    v1.refunds.create({"payment_intent": intent.id, "amount": 500})
    pay_intent(v1, currency="eur", payment_method_types=["card"])
    fee = 88
    assert sums(v1, "pending") == {"eur": 2000 - fee, "usd": 2000 - fee - 500}
    assert sums(v1, "available") == {"eur": 0, "usd": 0}
    advance(sandbox.base_url, 3 * DAY)
    assert sums(v1, "pending") == {"eur": 0, "usd": 0}
    assert sums(v1, "available") == {"eur": 2000 - fee, "usd": 2000 - fee - 500}
    whole = sum(entry.net for entry in v1.balance_transactions.list({"limit": 100}).data)
    assert whole == sum(sums(v1, "available").values())


def test_money_is_there_on_a_midnight_after_two_days(v1: Any, sandbox: Sandbox) -> None:
    intent = pay_intent(v1, expand=["latest_charge.balance_transaction"])
    entry = intent.latest_charge.balance_transaction
    assert (entry.status, entry.available_on % DAY) == ("pending", 0)
    assert 2 * DAY <= entry.available_on - entry.created < 3 * DAY
    advance(sandbox.base_url, 3 * DAY)
    assert v1.balance_transactions.retrieve(entry.id).status == "available"
    assert v1.balance_transactions.list().data[0].status == "available"


def test_card_that_bypasses_the_wait_makes_money_available_at_once(v1: Any) -> None:
    pay_intent(v1, "pm_card_bypassPending")
    assert sums(v1, "available") == {"usd": 2000 - 88}
    (event,) = v1.events.list({"type": "balance.available"}).data
    assert event.data.object["available"][0]["amount"] == 2000 - 88


def test_entry_of_a_part_capture_is_the_captured_part(v1: Any) -> None:
    intent = pay_intent(v1, capture_method="manual")
    assert v1.balance_transactions.list({"source": intent.latest_charge}).data == []
    v1.payment_intents.capture(intent.id, {"amount_to_capture": 1000})
    (entry,) = v1.balance_transactions.list({"source": intent.latest_charge}).data
    assert (entry.amount, entry.fee) == (1000, 59)


def test_refund_enters_under_the_name_of_its_charge(v1: Any) -> None:
    intent = pay_intent(v1, description="Ink")
    given = v1.refunds.create({"payment_intent": intent.id, "expand": ["balance_transaction"]})
    entry = given.balance_transaction
    assert (entry.amount, entry.fee, entry.description) == (-2000, 0, "REFUND FOR CHARGE (Ink)")


def test_dispute_that_is_won_brings_all_back_but_the_fee(v1: Any, sandbox: Sandbox) -> None:
    intent = pay_intent(v1)
    before = sums(v1, "pending")["usd"]
    made = control_client.dispute(sandbox.base_url, intent.latest_charge)
    assert sums(v1, "pending")["usd"] == before - 2000 - 1500
    control_client.decide_dispute(sandbox.base_url, made["id"], "won")
    assert sums(v1, "pending")["usd"] == before - 1500
