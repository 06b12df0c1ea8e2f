"""The API's manners: keys, headers, errors, lists, expansion, idempotency, many callers at once."""

from __future__ import annotations

import socket
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
import stripe

from bursar_sandbox.running import Sandbox
from stripe_shop import open_session, pay_intent

KEY = {"Authorization": "Bearer sk_test_bursar_tests"}


@pytest.mark.parametrize("key", ["sk_test_1234", "rk_test_something"])
def test_any_test_key_is_the_one_account(shared_sandbox: Sandbox, client: Any, key: str) -> None:
    own = client.raw_request("get", "/v1/account")
    bearer = httpx.get(
        f"{shared_sandbox.base_url}/v1/account", headers={"Authorization": f"Bearer {key}"}
    )
    basic = httpx.get(f"{shared_sandbox.base_url}/v1/account", auth=(key, ""))
    assert bearer.json()["id"] == basic.json()["id"] == own.data["id"]


@pytest.mark.parametrize("key", ["sk_live_1234567890", "sk_test_", "pk_test_1234567890", "nothing"])
def test_other_keys_are_refused(shared_sandbox: Sandbox, key: str) -> None:
    client = stripe.StripeClient(key, base_addresses={"api": shared_sandbox.base_url})
    with pytest.raises(stripe.AuthenticationError) as caught:
        client.v1.customers.list()
    assert caught.value.http_status == 401


def test_no_key_is_refused_with_the_envelope(shared_sandbox: Sandbox) -> None:
    answer = httpx.get(f"{shared_sandbox.base_url}/v1/customers")
    assert answer.status_code == 401
    assert answer.json()["error"]["type"] == "invalid_request_error"
    assert answer.headers["request-id"].startswith("req_")


def test_every_answer_names_its_request_and_version(shared_sandbox: Sandbox) -> None:
    url = f"{shared_sandbox.base_url}/v1/customers"
    plain = httpx.get(url, headers=KEY)
    old = httpx.get(url, headers={**KEY, "Stripe-Version": "2024-11-20.acacia"})
    assert plain.headers["stripe-version"] == stripe.api_version
    assert old.headers["stripe-version"] == "2024-11-20.acacia"
    assert plain.headers["request-id"] != old.headers["request-id"]


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/v1/nothing"),
        ("GET", "/v1/customers/a/b/c"),
        ("PUT", "/v1/customers"),
        ("GET", "/"),
    ],
)
def test_unknown_route_is_a_404_in_json(shared_sandbox: Sandbox, method: str, path: str) -> None:
    answer = httpx.request(method, shared_sandbox.base_url + path, headers=KEY)
    assert answer.status_code == 404
    assert "Unrecognized request URL" in answer.json()["error"]["message"]


def test_missing_object_is_a_404_and_a_missing_reference_a_400(v1: Any) -> None:
    with pytest.raises(stripe.InvalidRequestError) as caught:
        v1.charges.retrieve("ch_none")
    error = caught.value.error
    assert (caught.value.http_status, error.code, error.param) == (404, "resource_missing", "id")
    assert error.doc_url.endswith("resource-missing")
    with pytest.raises(stripe.InvalidRequestError) as other:
        v1.payment_intents.create({"amount": 100, "currency": "usd", "customer": "cus_none"})
    assert (other.value.http_status, other.value.param) == (400, "customer")


def test_object_of_another_kind_is_missing(v1: Any) -> None:
    product = v1.products.create({"name": "Pro"})
    with pytest.raises(stripe.InvalidRequestError) as caught:
        v1.prices.retrieve(product.id)
    assert caught.value.http_status == 404


def test_unknown_parameter_is_refused_by_name(v1: Any) -> None:
    with pytest.raises(stripe.InvalidRequestError) as caught:
        v1.customers.create({"nonsense": "1"})
    assert (caught.value.code, caught.value.param) == ("parameter_unknown", "nonsense")


@pytest.mark.parametrize(
    "body",
    [
        b"email[a]=1",
        b"metadata=plain",
        b"address[=1",
        b"%ff%fe=1",
        b"metadata[a][b]=1",
        b"[]=1",
        b"balance=1e9",
        b"expand=customer",
        b"a" * 3000 + b"=1",
    ],
)
def test_broken_parameters_are_a_400_and_never_a_500(shared_sandbox: Sandbox, body: bytes) -> None:
    headers = {**KEY, "Content-Type": "application/x-www-form-urlencoded"}
    answer = httpx.post(f"{shared_sandbox.base_url}/v1/customers", content=body, headers=headers)
    assert answer.status_code == 400
    assert answer.json()["error"]["type"] == "invalid_request_error"


def test_lists_are_newest_first_and_page_both_ways(v1: Any) -> None:
    email = "page@example.com"
    made = [v1.customers.create({"email": email}).id for _ in range(5)][::-1]
    first = v1.customers.list({"email": email, "limit": 2})
    assert ([one.id for one in first.data], first.has_more) == (made[:2], True)
    last = v1.customers.list({"email": email, "limit": 4, "starting_after": made[1]})
    assert ([one.id for one in last.data], last.has_more) == (made[2:], False)
    back = v1.customers.list({"email": email, "limit": 2, "ending_before": made[3]})
    assert ([one.id for one in back.data], back.has_more) == (made[1:3], True)
    every = [one.id for one in first.auto_paging_iter()]
    assert every == made


@pytest.mark.parametrize(
    ("params", "param"),
    [
        ({"limit": 0}, "limit"),
        ({"limit": 101}, "limit"),
        ({"limit": "many"}, "limit"),
        ({"starting_after": "cus_none"}, "starting_after"),
    ],
)
def test_wrong_paging_is_refused(v1: Any, params: dict[str, Any], param: str) -> None:
    with pytest.raises(stripe.InvalidRequestError) as caught:
        v1.customers.list(params)
    assert caught.value.param == param


def test_lists_are_filtered_by_creation(
    start: Callable[..., Sandbox], client_for: Callable[[Sandbox], Any]
) -> None:
    sandbox = start()
    v1 = client_for(sandbox).v1
    old = v1.customers.create({})
    httpx.post(f"{sandbox.base_url}/_sandbox/clock", json={"advance": 1000})
    new = v1.customers.create({})

    def listed(created: Any) -> list[str]:
        return [one.id for one in v1.customers.list({"created": created}).data]

    assert listed({"gt": old.created}) == [new.id]
    assert listed({"gte": old.created, "lt": new.created}) == [old.id]
    assert listed({"lte": new.created}) == [new.id, old.id]
    assert listed(new.created) == [new.id]


def test_expansion_goes_through_lists_and_levels(v1: Any) -> None:
    customer = v1.customers.create({"name": "Ada"}).id
    pay_intent(v1, customer=customer)
    listed = v1.payment_intents.list(
        {
            "customer": customer,
            "expand": ["data.latest_charge.balance_transaction", "data.customer"],
        }
    )
    (intent,) = listed.data
    assert intent.latest_charge.balance_transaction.fee == 88
    assert intent.customer.name == "Ada"
    sessions = [open_session(v1, customer=customer).id]
    found = v1.checkout.sessions.list(
        {"customer": customer, "expand": ["data.line_items", "data.payment_intent"]}
    )
    assert [one.id for one in found.data] == sessions
    assert found.data[0].line_items.data[0].quantity == 2
    assert found.data[0].payment_intent is None


@pytest.mark.parametrize("path", ["nonsense", "customer.nonsense", "status", "amount.x", "data"])
def test_what_can_not_be_expanded_is_refused(v1: Any, path: str) -> None:
    customer = v1.customers.create({}).id
    intent = pay_intent(v1, customer=customer).id
    with pytest.raises(stripe.InvalidRequestError, match="cannot be expanded") as caught:
        v1.payment_intents.retrieve(intent, {"expand": [path]})
    assert caught.value.http_status == 400


def post(sandbox: Sandbox, path: str, key: str, **fields: Any) -> httpx.Response:
    """One POST with an idempotency key."""
    headers = {**KEY, "Idempotency-Key": key}
    return httpx.post(sandbox.base_url + path, data=fields, headers=headers)


def test_same_key_and_parameters_answer_the_same(shared_sandbox: Sandbox, v1: Any) -> None:
    first = post(shared_sandbox, "/v1/customers", "same-1", email="idem@example.com", name="Ada")
    again = post(shared_sandbox, "/v1/customers", "same-1", name="Ada", email="idem@example.com")
    assert again.content == first.content
    assert "idempotent-replayed" not in first.headers
    assert again.headers["idempotent-replayed"] == "true"
    assert again.headers["original-request"] == first.headers["request-id"]
    assert len(v1.customers.list({"email": "idem@example.com"}).data) == 1


def test_decline_is_replayed_without_a_second_charge(shared_sandbox: Sandbox, v1: Any) -> None:
    fields = {
        "amount": "900",
        "currency": "usd",
        "confirm": "true",
        "payment_method": "pm_card_chargeDeclined",
        "payment_method_types[]": "card",
    }
    first = post(shared_sandbox, "/v1/payment_intents", "decline-1", **fields)
    again = post(shared_sandbox, "/v1/payment_intents", "decline-1", **fields)
    assert first.status_code == again.status_code == 402
    assert again.headers["idempotent-replayed"] == "true"
    intent = first.json()["error"]["payment_intent"]["id"]
    assert len(v1.charges.list({"payment_intent": intent}).data) == 1


def test_key_used_for_something_else_is_an_idempotency_error(v1: Any) -> None:
    options = {"idempotency_key": "other-1"}
    v1.customers.create({"name": "Ada"}, options)
    with pytest.raises(stripe.IdempotencyError) as caught:
        v1.customers.create({"name": "Bob"}, options)
    assert caught.value.http_status == 400
    with pytest.raises(stripe.IdempotencyError):
        v1.products.create({"name": "Ada"}, options)


def test_refused_request_leaves_its_key_free(v1: Any) -> None:
    options = {"idempotency_key": "free-1"}
    with pytest.raises(stripe.InvalidRequestError):
        v1.customers.create({"email": "nobody"}, options)
    assert v1.customers.create({"email": "somebody@example.com"}, options).id


def test_key_is_at_most_255_characters(shared_sandbox: Sandbox) -> None:
    assert post(shared_sandbox, "/v1/customers", "k" * 255).status_code == 200
    assert post(shared_sandbox, "/v1/customers", "k" * 256).status_code == 400


def test_key_is_forgotten_after_a_day(start: Callable[..., Sandbox]) -> None:
    sandbox = start()
    first = post(sandbox, "/v1/customers", "day-1").json()["id"]
    httpx.post(f"{sandbox.base_url}/_sandbox/clock", json={"advance": 24 * 3600 + 1})
    assert post(sandbox, "/v1/customers", "day-1").json()["id"] != first


def test_key_of_a_request_still_arriving_is_in_use(shared_sandbox: Sandbox) -> None:
    address = urlsplit(shared_sandbox.base_url)
    body = b"name=Slow"
    head = (
        f"POST /v1/customers HTTP/1.1\r\nHost: {address.netloc}\r\nConnection: close\r\n"
        f"Authorization: {KEY['Authorization']}\r\nIdempotency-Key: slow-1\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    with socket.create_connection((address.hostname, address.port), timeout=10) as slow:
        slow.sendall(head.encode())
        while (other := post(shared_sandbox, "/v1/customers", "slow-1", name="Slow")).is_success:
            pytest.fail("the second request was carried out while the first was arriving")
        assert other.status_code == 409
        assert other.json()["error"]["code"] == "idempotency_key_in_use"
        slow.sendall(body)
        answer = slow.makefile("rb").read()
    assert answer.startswith(b"HTTP/1.1 200")
    replay = post(shared_sandbox, "/v1/customers", "slow-1", name="Slow")
    assert replay.headers["idempotent-replayed"] == "true"


def test_twenty_at_once_all_succeed_and_are_all_kept(client: Any) -> None:
    email = "parallel@example.com"
    with ThreadPoolExecutor(20) as pool:
        made = list(pool.map(lambda n: client.v1.customers.create({"email": email}).id, range(20)))
    assert len(set(made)) == 20
    listed = client.v1.customers.list({"email": email, "limit": 100}).data
    assert {one.id for one in listed} == set(made)


def test_one_key_at_once_makes_one_object(shared_sandbox: Sandbox, v1: Any) -> None:
    fields = {"email": "one.key@example.com"}
    with ThreadPoolExecutor(10) as pool:
        answers = list(
            pool.map(lambda _: post(shared_sandbox, "/v1/customers", "one-1", **fields), range(10))
        )
    assert {answer.status_code for answer in answers} <= {200, 409}
    assert len(v1.customers.list(fields).data) == 1


async def test_async_client_works_as_well(shared_sandbox: Sandbox) -> None:
    http = stripe.HTTPXClient()
    client = stripe.StripeClient(
        "sk_test_bursar_tests",
        base_addresses={"api": shared_sandbox.base_url},
        http_client=http,
    )
    customer = await client.v1.customers.create_async({"name": "Ada"})
    assert (await client.v1.customers.retrieve_async(customer.id)).to_dict()["name"] == "Ada"
    await http.close_async()
