"""Stripe's own Node library: a client of the sandbox, and a second judge of signatures."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bursar import errors
from bursar.providers.stripe import signature
from bursar_sandbox import control_client
from bursar_sandbox.running import Sandbox
from stripe_receiver import Receiver
from stripe_schema import build, recorded, schema_or_skip

pytestmark = pytest.mark.npm

SCRIPTS = Path(__file__).with_name("node")
SECRET = "whsec_judged_by_node"


@pytest.fixture(scope="module")
def library() -> Path:
    """The folder in which node finds the library: where the schema was made from it."""
    schema_or_skip()
    folder = build.folder() / "node_modules"
    assert (folder / "stripe").is_dir(), f"{build.folder()} has lost its packages: delete it"
    return folder


def run(library: Path, script: str, *words: str, given: object = None) -> Any:
    """What a script of ours prints, read from JSON."""
    done = subprocess.run(
        ["node", str(SCRIPTS / script), *words],
        env={"PATH": os.environ["PATH"], "NODE_PATH": str(library)},
        input=json.dumps(given),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def record(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("node") / "record.jsonl"


@pytest.fixture(scope="module")
def hook() -> Iterator[Receiver]:
    with Receiver() as receiver:
        yield receiver


@pytest.fixture(scope="module")
def sandbox(record: Path, hook: Receiver) -> Iterator[Sandbox]:
    with Sandbox(record=record, webhook=(hook.url, hook.secret)) as running:
        yield running


@pytest.fixture(scope="module")
def seen(sandbox: Sandbox, library: Path) -> Any:
    """What the shop saw."""
    return run(library, "shop.js", sandbox.base_url)


def test_shop_sells_by_checkout_as_it_would_at_stripe(seen: Any) -> None:
    assert seen["endpoint"]["secret"].startswith("whsec_")
    assert seen["price"]["product"] == seen["product"]["id"]
    assert seen["price"]["lookup_key"] == "starter"
    session = seen["session"]
    assert session["customer"] == seen["customer"]["id"]
    assert (session["amount_total"], session["currency"]) == (1500, "usd")
    assert (session["status"], session["metadata"]) == ("open", {"order": "7"})
    [line] = seen["lines"]
    assert (line["quantity"], line["price"]["id"]) == (3, seen["price"]["id"])


def test_intent_is_paid_and_refunded_in_part(seen: Any) -> None:
    intent, refund, charge = seen["intent"], seen["refund"], seen["charge"]
    assert (intent["status"], intent["amount_received"]) == ("succeeded", 2000)
    assert charge["id"] == intent["latest_charge"]["id"] == refund["charge"]
    assert (refund["status"], refund["amount"]) == ("succeeded", 700)
    assert (charge["amount_refunded"], charge["refunded"]) == (700, False)


def test_lists_go_on_by_themselves_through_all_pages(seen: Any) -> None:
    assert len(seen["pages"]["made"]) == 5
    assert seen["pages"]["listed"] == seen["pages"]["made"]


def test_declined_card_is_a_card_error_with_the_banks_reason(seen: Any) -> None:
    declined = seen["refusals"]["declined"]
    assert (declined["type"], declined["card"]) == ("StripeCardError", True)
    assert (declined["code"], declined["decline_code"]) == ("card_declined", "insufficient_funds")
    assert (declined["status"], declined["intent_status"]) == (402, "requires_payment_method")
    assert declined["request_id"].startswith("req_")


def test_key_that_comes_again_gets_the_answer_or_an_idempotency_error(seen: Any) -> None:
    assert seen["refusals"]["same_key_same_answer"] is True
    other = seen["refusals"]["other_body"]
    assert (other["type"], other["status"]) == ("StripeIdempotencyError", 400)


def test_wrong_requests_are_told_what_is_wrong(seen: Any) -> None:
    unknown, missing = seen["refusals"]["unknown"], seen["refusals"]["no_parameter"]
    assert (unknown["type"], unknown["status"]) == ("StripeInvalidRequestError", 404)
    assert unknown["code"] == "resource_missing"
    assert (missing["type"], missing["status"]) == ("StripeInvalidRequestError", 400)


@pytest.fixture(scope="module")
def subscriber(sandbox: Sandbox, library: Path) -> Any:
    """What a shop saw that sold a plan on a test clock."""
    return run(library, "subscriber.js", sandbox.base_url)


def item_of(subscription: Any) -> Any:
    [item] = subscription["items"]["data"]
    return item


def test_plan_is_sold_and_its_first_month_paid(subscriber: Any) -> None:
    begun = subscriber["subscription"]
    assert (begun["status"], begun["test_clock"]) == ("active", subscriber["clock"]["id"])
    item = item_of(begun)
    assert item["current_period_end"] - item["current_period_start"] == 31 * 24 * 3600
    invoice = begun["latest_invoice"]
    assert (invoice["status"], invoice["amount_paid"]) == ("paid", 1000)
    assert invoice["billing_reason"] == "subscription_create"
    [payment] = invoice["payments"]["data"]
    assert (payment["status"], payment["amount_paid"]) == ("paid", 1000)


def test_preview_of_an_upgrade_is_the_invoice_that_comes_of_it(subscriber: Any) -> None:
    preview, invoice = subscriber["preview"], subscriber["upgraded"]["latest_invoice"]
    # 16 of 31 days were left: 30.00 are charged for them, and 10.00 come back.
    assert [line["amount"] for line in preview["lines"]["data"]] == [-516, 1548]
    assert preview["total"] == invoice["total"] == invoice["amount_paid"] == 1032
    told = [(line["amount"], line["description"]) for line in preview["lines"]["data"]]
    assert told == [(line["amount"], line["description"]) for line in invoice["lines"]["data"]]
    assert item_of(subscriber["upgraded"])["price"]["id"] == subscriber["large"]["id"]


def test_plan_renews_and_ends_with_the_period_that_was_paid(subscriber: Any) -> None:
    renewed, leaving, ended = (subscriber[name] for name in ("renewed", "leaving", "ended"))
    assert renewed["latest_invoice"]["billing_reason"] == "subscription_cycle"
    assert renewed["latest_invoice"]["amount_paid"] == 3000
    assert (leaving["status"], leaving["cancel_at_period_end"]) == ("active", True)
    assert leaving["cancel_at"] == item_of(leaving)["current_period_end"]
    assert (ended["status"], ended["ended_at"]) == ("canceled", leaving["cancel_at"])
    assert [invoice["total"] for invoice in subscriber["invoices"]] == [3000, 1032, 1000]
    assert subscriber["gone"]["deleted"] is True


def test_everything_that_the_library_was_told_fits_its_own_types(
    seen: Any, subscriber: Any, record: Path
) -> None:
    assert recorded.problems(record, schema_or_skip()) == []


def judged(library: Path, secret: str, received: list[tuple[bytes, str]], payload: bytes) -> Any:
    """The library's verdict on each body with its header, and its own header for a payload."""

    def packed(body: bytes) -> str:
        return base64.b64encode(body).decode()

    pairs = [{"body": packed(body), "header": header} for body, header in received]
    given = {"secret": secret, "received": pairs, "payload": packed(payload)}
    return run(library, "signatures.js", given=given)


def test_webhooks_of_the_sandbox_pass_as_they_came_and_fail_when_changed(
    seen: Any, sandbox: Sandbox, hook: Receiver, library: Path
) -> None:
    made = control_client.trigger(sandbox.base_url, "checkout.session.completed")
    hook.wait_for(lambda one: made["id"] in [event.id for event in one.events], 30)
    assert hook.refused == []
    came = [
        (raw, headers["Stripe-Signature"])
        for raw, headers in zip(hook.raw, hook.headers, strict=True)
    ]
    assert len(came) > 15
    changed = [(body.replace(b'"usd"', b'"eur"', 1), header) for body, header in came]
    changed = [pair for pair in changed if pair not in came]
    swapped = [(came[0][0], came[1][1])]
    verdicts = judged(library, hook.secret, [*came, *changed, *swapped], b"{}")["verdicts"]
    assert verdicts[: len(came)] == [{"accepted": event.id} for event in hook.events]
    refused = {"refused": "StripeSignatureVerificationError"}
    assert changed
    assert verdicts[len(came) :] == [refused] * (len(changed) + 1)
    others = judged(library, SECRET, came, b"{}")["verdicts"]
    assert others == [refused] * len(came)


def test_what_the_library_signs_is_accepted_here_and_nothing_else(library: Path) -> None:
    payload = '{"id": "evt_1", "name": "Zoë — 12 €"}'.encode()
    header = judged(library, SECRET, [], payload)["header"]
    signature.verify(payload, header, [SECRET], now=time.time())
    with pytest.raises(errors.NotAuthentic):
        signature.verify(payload + b" ", header, [SECRET], now=time.time())
    with pytest.raises(errors.NotAuthentic):
        signature.verify(payload, header, ["whsec_other"], now=time.time())
    with pytest.raises(signature.TimestampOutOfTolerance):
        signature.verify(payload, header, [SECRET], now=time.time() + 301)
