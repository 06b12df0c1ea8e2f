"""The schema checker itself: it finds each kind of planted fault and accepts faithful documents."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from stripe_schema import (
    Schema,
    SchemaUnavailableError,
    build,
    check,
    load,
    recorded,
    samples,
    schema_or_skip,
)
from stripe_schema.schema import read

Document = dict[str, object]
pytestmark = pytest.mark.npm


@pytest.fixture(scope="module")
def schema() -> Schema:
    return schema_or_skip()


def within(document: object, *steps: str | int) -> Document:
    """Return the object found by following keys and indexes."""
    for step in steps:
        assert isinstance(document, dict | list)
        document = document[step]  # type: ignore[index]
    assert isinstance(document, dict)
    return document


GOOD: dict[str, Callable[[], Document]] = {
    "customer": samples.customer,
    "price": samples.price,
    "session": samples.session,
    "line items": samples.line_items,
    "event": lambda: samples.event("customer.created", samples.customer()),
    "refusal": samples.refusal,
    "deleted customer": lambda: {"id": "cus_1", "object": "customer", "deleted": True},
    "expanded customer": lambda: samples.session() | {"customer": samples.customer()},
    "expanded deleted customer": lambda: (
        samples.session() | {"customer": {"id": "cus_1", "object": "customer", "deleted": True}}
    ),
    "empty list": lambda: {"object": "list", "data": [], "has_more": False, "url": "/v1/customers"},
    "search": lambda: {
        "object": "search_result",
        "data": [samples.customer()],
        "has_more": False,
        "next_page": None,
        "url": "/v1/customers/search",
    },
}


@pytest.mark.parametrize("name", GOOD)
def test_faithful_document_has_no_fault(schema: Schema, name: str) -> None:
    assert check(GOOD[name](), schema) == []


@pytest.mark.parametrize("field", sorted(samples.price()))
def test_each_missing_field_of_a_nested_price_is_named(schema: Schema, field: str) -> None:
    session = samples.session()
    del within(session, "line_items", "data", 0, "price")[field]
    found = check(session, schema)
    place = "checkout.session.line_items.data[0].price"
    if field == "object":
        assert found == [f"{place}: expected object 'price', got null"]
    else:
        assert found == [f"{place}: missing required '{field}'"]


@pytest.mark.parametrize(
    ("steps", "field", "value", "fault"),
    [
        ((), "status", "paid", "status: 'paid' is none of: 'expired', 'complete', 'open'"),
        ((), "mode", None, "mode: null, but not nullable"),
        ((), "mode", 1, "mode: 1 is none of: 'subscription', 'payment', 'setup'"),
        ((), "created", "1792000000", "created: expected number, got '1792000000'"),
        ((), "created", True, "created: expected number, got True"),
        ((), "livemode", 0, "livemode: expected boolean, got 0"),
        ((), "expires_at", None, "expires_at: null, but not nullable"),
        ((), "paid", True, "paid: unknown field"),
        ((), "shipping_options", {}, "shipping_options: expected array, got an object"),
        (
            (),
            "payment_method_types",
            ["card", 3],
            "payment_method_types[1]: expected string, got 3",
        ),
        (("metadata",), "n", 3, "metadata.n: expected string, got 3"),
        (("automatic_tax",), "rate", 3, "automatic_tax.rate: unknown field"),
        (("line_items",), "object", "array", "line_items: expected object 'list', got 'array'"),
        (("line_items",), "total_count", 1, "line_items.total_count: unknown field"),
    ],
)
def test_planted_fault_is_the_only_one_found(
    schema: Schema, steps: tuple[str, ...], field: str, value: object, fault: str
) -> None:
    session = samples.session()
    within(session, *steps)[field] = value
    found = check(session, schema)
    assert len(found) == 1
    assert found[0].startswith(f"checkout.session.{fault}"), found


def test_wrong_type_in_place_of_an_enum_is_found(schema: Schema) -> None:
    found = check(samples.price() | {"tax_behavior": 3}, schema)
    assert found == ["price.tax_behavior: expected null or one of its values, got 3"]


def test_wrong_nested_object_is_one_fault(schema: Schema) -> None:
    session = samples.session() | {"customer": samples.price()}
    assert check(session, schema) == [
        "checkout.session.customer: an object 'price' is none of: customer, deleted customer"
    ]


def test_faults_inside_an_expanded_object_are_found(schema: Schema) -> None:
    session = samples.session() | {"customer": samples.customer() | {"livemode": None}}
    assert check(session, schema) == ["checkout.session.customer.livemode: null, but not nullable"]


def test_deleted_object_keeps_nothing_of_the_living(schema: Schema) -> None:
    found = check({"id": "cus_1", "object": "customer", "deleted": True, "email": None}, schema)
    assert found == ["customer.email: unknown field"]


@pytest.mark.parametrize("deleted", [1, "true", False])
def test_expanded_twin_that_is_not_quite_deleted_is_found(schema: Schema, deleted: object) -> None:
    twin = {"id": "cus_1", "object": "customer", "deleted": deleted}
    found = check(samples.session() | {"customer": twin}, schema)
    assert "checkout.session.customer: missing required 'email'" in found


def test_living_object_marked_deleted_is_found(schema: Schema) -> None:
    session = samples.session() | {"customer": samples.customer() | {"deleted": True}}
    found = check(session, schema)
    assert found == ["checkout.session.customer.deleted: expected False, got True"]


@pytest.mark.parametrize("name", ["wallet", "subscription_plan", "list.item"])
def test_unknown_object_name_is_found(schema: Schema, name: str) -> None:
    assert check({"id": "x_1", "object": name}, schema) == [f"{name}: unknown object name '{name}'"]


def test_list_is_judged_item_by_item(schema: Schema) -> None:
    body = samples.line_items() | {"data": [samples.customer(), {"object": "wallet"}, "cus_1"]}
    within(body, "data", 0)["balance"] = "0"
    assert check(body, schema) == [
        "list.data[0].balance: expected number, got '0'",
        "list.data[1]: unknown object name 'wallet'",
        "list.data[2]: not an object",
    ]


@pytest.mark.parametrize("field", ["data", "has_more", "url"])
def test_list_without_its_frame_is_found(schema: Schema, field: str) -> None:
    body = samples.line_items()
    del body[field]
    assert check(body, schema) == [f"list: missing required '{field}'"]


@pytest.mark.parametrize("field", sorted(samples.event("x", {}).keys() - {"object"}))
def test_event_without_one_of_its_fields_is_found(schema: Schema, field: str) -> None:
    body = samples.event("customer.created", samples.customer())
    del body[field]
    assert len(check(body, schema)) == 1
    assert f"'{'object' if field == 'data' else field}'" in check(body, schema)[0]


def test_event_is_judged_with_its_object(schema: Schema) -> None:
    body = samples.event("customer.born", samples.customer())
    del within(body, "data", "object")["email"]
    within(body, "data")["previous_attributes"] = {"balance": 3, "mood": "good"}
    within(body, "data")["reason"] = "none"
    kind, missing, previous, reason = check(body, schema)
    assert kind.startswith("event.type: 'customer.born' is none of: ")
    assert missing == "event.data.object: missing required 'email'"
    assert previous == "event.data.previous_attributes.mood: unknown field"
    assert reason == "event.data.reason: unknown field"


def test_error_envelope_is_judged(schema: Schema) -> None:
    body = samples.refusal()
    error = within(body, "error")
    del error["message"]
    error |= {"type": "not_found", "status": 404, "param": None}
    body["detail"] = "x"
    found = check(body, schema)
    assert [line.split(" ")[0] for line in found] == [
        "error.param:",
        "error.type:",
        "error.status:",
        "error:",
        "detail:",
    ]


@pytest.mark.parametrize("body", [None, [], "ok", 3])
def test_answer_that_is_no_object_is_found(schema: Schema, body: object) -> None:
    assert check(body, schema) == ["answer: not a JSON object"]


def write(path: Path, *entries: object) -> Path:
    path.write_text("".join(json.dumps(e, ensure_ascii=False) + "\n" for e in entries), "utf-8")
    return path


def answer(path: str, body: object, status: int = 200) -> Document:
    return {"kind": "response", "method": "GET", "path": path, "status": status, "body": body}


def webhook(body: object) -> Document:
    url = "http://127.0.0.1:9/hook"
    return {"kind": "webhook", "method": "POST", "path": url, "status": 200, "body": body}


def test_faithful_recording_has_no_problem(schema: Schema, tmp_path: Path) -> None:
    file = write(
        tmp_path / "record.jsonl",
        answer("/v1/customers/cus_1", samples.customer() | {"description": "a\u2028b"}),
        answer("/v1/customers/cus_none", samples.refusal(), 404),
        answer("/v1/payment_pages/cs_test_a1", {"made": "up"}),
        answer("/_sandbox/clock", {"object": "clock"}),
        answer("/c/pay/cs_test_a1", "a page"),
        webhook(samples.event("customer.created", samples.customer())),
    )
    assert recorded.problems(file, schema) == []
    assert recorded.problems(file) == []


@pytest.mark.parametrize(
    ("entry", "problem"),
    [
        (answer("/v1/prices/p", samples.price() | {"type": "x"}), "price.type: 'x' is none of"),
        (answer("/v1/prices/p", samples.refusal()), "status and body disagree"),
        (answer("/v1/prices/p", samples.price(), 404), "status and body disagree"),
        (answer("/v1/prices/p", {}), "answer: missing required 'object'"),
        (answer("/v1/prices/p", "a page"), "the body is not a JSON object"),
        (answer("/v1/payment_pages/cs_1", "a page"), "the body is not a JSON object"),
        (answer("/c/pay/cs_1", {"object": "wallet"}), "unknown object name 'wallet'"),
        (webhook(samples.customer()), "the body is not an event"),
        (webhook(samples.event("charge.succeeded", {"object": "wallet"})), "unknown object name"),
        ({"kind": "mail"}, "is neither a response nor a webhook"),
    ],
)
def test_problem_in_a_recording_is_found_with_its_line(
    schema: Schema, tmp_path: Path, entry: Document, problem: str
) -> None:
    good = answer("/v1/customers/cus_1", samples.customer())
    found = recorded.problems(write(tmp_path / "record.jsonl", good, entry), schema)
    assert len(found) == 1
    assert found[0].startswith("line 2 ")
    assert problem in found[0]


def test_webhook_of_an_old_version_is_held_against_the_types_of_that_time(
    schema: Schema, tmp_path: Path
) -> None:
    told = samples.event("customer.created", samples.customer()) | {"api_version": "2024-11-20"}
    assert recorded.problems(write(tmp_path / "good.jsonl", webhook(told)), schema) == []
    told["data"] = {"object": samples.customer() | {"livemode": "no"}}
    [found] = recorded.problems(write(tmp_path / "bad.jsonl", webhook(told)), schema)
    assert found.endswith("customer.livemode is no boolean")


def test_torn_line_and_empty_recording_are_problems(schema: Schema, tmp_path: Path) -> None:
    torn, empty = tmp_path / "torn.jsonl", tmp_path / "empty.jsonl"
    torn.write_text('{"kind": "resp')
    empty.write_text("\n")
    assert recorded.problems(torn, schema) == ["line 1 is not JSON"]
    assert recorded.problems(empty, schema) == ["empty.jsonl: nothing recorded"]


def test_schema_is_the_one_of_the_version_we_pin(schema: Schema) -> None:
    import stripe

    assert schema.api_version == stripe.api_version


def test_without_node_there_is_no_schema_and_under_ci_an_error(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("BURSAR_TEST_STRIPE_SCHEMA", str(tmp_path / "cache"))
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CI", raising=False)
    assert load() is None
    with pytest.raises(pytest.skip.Exception, match="npm"):
        schema_or_skip()
    monkeypatch.setenv("CI", "true")
    with pytest.raises(SchemaUnavailableError):
        load()


@pytest.mark.slow
def test_two_processes_at_once_make_one_whole_schema(schema: Schema, tmp_path: Path) -> None:
    env = os.environ | {
        "BURSAR_TEST_STRIPE_SCHEMA": str(tmp_path),
        "PYTHONPATH": str(build.GENERATOR.parent.parent),
    }
    script = "from stripe_schema import build; print(build.schema_file())"
    command = [sys.executable, "-c", script]
    makers = [subprocess.Popen(command, env=env, stdout=subprocess.PIPE) for _ in range(2)]
    told = {maker.communicate(timeout=100)[0].decode().strip() for maker in makers}
    made = [str(file) for file in tmp_path.glob("schema-*.json")]
    assert [maker.returncode for maker in makers] == [0, 0]
    assert told == set(made)
    assert len(made) == 1
    assert read(Path(made[0]).read_text(encoding="utf-8")) == schema
    assert list(tmp_path.glob("*.part")) == []
