"""Disputes over HTTP: listed by deadline, answered with evidence, given up, for admins alone."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from api_server import Person, Server, assert_problem, make_key
from bursar.access import audit_log
from bursar.billing.payments import Payment
from disputed import FRAUDULENT, INQUIRY, at_provider, bought, tell
from worlds import World

DISPUTES = "/api/admin/disputes"


@pytest.fixture
async def admin(world: World) -> Person:
    return Person("", await make_key(world.wiring.db, "admin"))


@pytest.fixture
async def client(world: World, admin: Person) -> AsyncIterator[httpx.AsyncClient]:
    """An admin's client of a server in the same world, without a worker."""
    server = Server(world.settings)
    try:
        async with httpx.AsyncClient(
            base_url=server.url, timeout=30, headers=admin.headers
        ) as client:
            yield client
    finally:
        server.stop()


async def disputed(world: World, number: str = FRAUDULENT) -> Payment:
    return await tell(world, await bought(world, number))


async def only(client: httpx.AsyncClient) -> dict[str, Any]:
    [found] = (await client.get(DISPUTES)).json()["data"]
    assert isinstance(found, dict)
    return found


async def send(client: httpx.AsyncClient, dispute_id: int, **body: Any) -> httpx.Response:
    return await client.post(f"{DISPUTES}/{dispute_id}/evidence", json=body)


async def test_a_dispute_is_listed_and_shown(world: World, client: httpx.AsyncClient) -> None:
    payment = await disputed(world)
    found = await only(client)
    assert {name: found[name] for name in ("payment_id", "amount", "currency", "user_id")} == {
        "payment_id": payment.id,
        "amount": 1000,
        "currency": "usd",
        "user_id": "ada",
    }
    assert (found["status"], found["inquiry"], found["evidence"]) == ("needs_response", False, {})
    assert found["due_at"].endswith("Z")
    shown = await client.get(f"{DISPUTES}/{found['id']}")
    assert shown.json() == found
    for unknown in ("0", "999", "x"):
        assert_problem(await client.get(f"{DISPUTES}/{unknown}"), 404, "not_found")


async def test_evidence_is_kept_as_a_draft_and_submitted_once(
    world: World, client: httpx.AsyncClient
) -> None:
    payment = await disputed(world)
    dispute_id = (await only(client))["id"]
    kept = await send(client, dispute_id, customer_name="Ada", product_description="Credits")
    assert kept.status_code == 200, kept.text
    assert kept.json()["evidence"] == {"customer_name": "Ada", "product_description": "Credits"}
    assert (kept.json()["status"], kept.json()["submitted_at"]) == ("needs_response", None)
    there = await at_provider(world, payment)
    assert (there.evidence.customer_name, there.evidence_details.submission_count) == ("Ada", 0)
    taken = await send(client, dispute_id, customer_name="", receipt="1000 credits, $10.00")
    assert taken.json()["evidence"] == {
        "product_description": "Credits",
        "receipt": "1000 credits, $10.00",
    }
    there = await at_provider(world, payment)
    assert there.evidence.customer_name is None
    assert "1000 credits, $10.00" in there.evidence.uncategorized_text
    sent = await send(client, dispute_id, uncategorized_text="They used it.", submit=True)
    assert sent.status_code == 200, sent.text
    assert (sent.json()["status"], bool(sent.json()["submitted_at"])) == ("under_review", True)
    there = await at_provider(world, payment)
    assert there.evidence_details.submission_count == 1
    for late in ({"customer_name": "Ada"}, {"submit": True}):
        assert_problem(await send(client, dispute_id, **late), 409, "dispute_closed")
    async with world.wiring.db.connection() as conn:
        logged = await audit_log.list_entries(conn, limit=10)
    assert [entry.action for entry in logged if entry.actor == "admin"] == [
        "dispute.evidence_submitted",
        "dispute.evidence_kept",
        "dispute.evidence_kept",
    ]


async def test_a_dispute_that_is_given_up_is_lost(world: World, client: httpx.AsyncClient) -> None:
    payment = await disputed(world)
    dispute_id = (await only(client))["id"]
    lost = await client.post(f"{DISPUTES}/{dispute_id}/accept")
    assert lost.status_code == 200, lost.text
    assert lost.json()["status"] == "lost"
    assert await world.balance(payment.customer_id, "credit") == 0
    again = await client.post(f"{DISPUTES}/{dispute_id}/accept")
    assert_problem(again, 409, "dispute_closed")
    assert (await client.get(DISPUTES, params={"open": "true"})).json()["data"] == []
    assert len((await client.get(DISPUTES, params={"open": "false"})).json()["data"]) == 1


async def test_the_same_key_answers_the_same_and_sends_once(
    world: World, client: httpx.AsyncClient
) -> None:
    payment = await disputed(world)
    dispute_id = (await only(client))["id"]
    headers = {"Idempotency-Key": "evidence-1"}
    path, body = f"{DISPUTES}/{dispute_id}/evidence", {"customer_name": "Ada", "submit": True}
    first = await client.post(path, json=body, headers=headers)
    second = await client.post(path, json=body, headers=headers)
    assert (first.status_code, second.json()) == (200, first.json())
    assert second.headers["idempotent-replayed"] == "true"
    there = await at_provider(world, payment)
    assert there.evidence_details.submission_count == 1


async def test_a_lost_answer_is_sent_again_by_the_timer_under_its_key(
    world: World, client: httpx.AsyncClient
) -> None:
    payment = await disputed(world)
    dispute_id = (await only(client))["id"]
    await send(client, dispute_id, customer_name="Ada", submit=True)
    async with world.wiring.db.transaction() as conn:
        # As if the provider's answer had never come.
        await conn.execute("update dispute_answers set state = 'pending', closed_at = null")
        await conn.execute(
            "insert into timers (kind, reference, due_at, created_at)"
            " select 'dispute.answer', reference::text, now(), now() from dispute_answers"
        )
        await conn.execute(
            "update reversals set evidence = '{}', submitted_at = null, status = 'needs_response'"
        )
    busy = await send(client, dispute_id, customer_name="Bob")
    assert_problem(busy, 409, "dispute_busy")
    await world.work()
    found = await only(client)
    assert (found["status"], found["evidence"]) == ("under_review", {"customer_name": "Ada"})
    there = await at_provider(world, payment)
    assert there.evidence_details.submission_count == 1


async def test_disputes_come_by_their_deadline_in_pages(
    world: World, client: httpx.AsyncClient
) -> None:
    for number in (FRAUDULENT, INQUIRY, FRAUDULENT):
        await disputed(world, number)
    async with world.wiring.db.transaction() as conn:
        await conn.execute("update reversals set due_at = now() - make_interval(days => id::int)")
        await conn.execute("update reversals set status = 'won', state = 'released' where id = 3")
        await conn.execute("update payments set disputed_minor = 0 where id = 3")
        await conn.execute("update reversals set state_at = now() + interval '1 day'")
    seen, cursor = [], None
    while True:
        params = {"limit": 1, **({"cursor": cursor} if cursor else {})}
        page = (await client.get(DISPUTES, params=params)).json()
        seen += [found["id"] for found in page["data"]]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert seen == [2, 1, 3]
    async with world.wiring.db.transaction() as conn:
        await conn.execute(
            "update reversals set status = 'needs_response', state = 'pending' where id = 3"
        )
        await conn.execute("update payments set disputed_minor = 1000 where id = 3")


async def test_only_admins_see_disputes(world: World, client: httpx.AsyncClient) -> None:
    await disputed(world)
    service = Person("", await make_key(world.wiring.db, "service"))
    user = Person("ada", await make_key(world.wiring.db, "user", "ada"))
    for path in (DISPUTES, f"{DISPUTES}/1"):
        for person in (service, user):
            answer = await client.get(path, headers=person.headers)
            assert_problem(answer, 403, "forbidden")
    refused = await client.post(f"{DISPUTES}/1/accept", headers=user.headers)
    assert_problem(refused, 403, "forbidden")


async def test_evidence_that_no_bank_reads_is_refused(
    world: World, client: httpx.AsyncClient
) -> None:
    await disputed(world)
    dispute_id = (await only(client))["id"]
    for body in ({"poem": "x"}, {"customer_name": 7}, {"customer_name": "x" * 501}):
        refused = await client.post(f"{DISPUTES}/{dispute_id}/evidence", json=body)
        assert_problem(refused, 422, "validation_error")


async def test_an_answer_that_the_provider_took_and_denied_is_found(
    world: World, client: httpx.AsyncClient
) -> None:
    payment = await disputed(world)
    dispute_id = (await only(client))["id"]
    faults = {"seed": 1, "api_500_after": 1, "routes": ["/v1/disputes"]}
    async with world.http() as http:
        try:
            assert (await http.post("/_sandbox/faults", json=faults)).status_code == 200
            sent = await send(client, dispute_id, customer_name="Ada", submit=True)
        finally:
            await http.delete("/_sandbox/faults")
    assert sent.status_code == 200, sent.text
    assert (sent.json()["status"], sent.json()["evidence"]) == (
        "under_review",
        {"customer_name": "Ada"},
    )
    there = await at_provider(world, payment)
    assert there.evidence_details.submission_count == 1


async def test_an_answer_that_never_got_there_is_sent_again(
    world: World, client: httpx.AsyncClient
) -> None:
    payment = await disputed(world)
    dispute_id = (await only(client))["id"]
    faults = {"seed": 1, "api_timeout": 1, "timeout_seconds": 0.2, "routes": ["/v1/disputes"]}
    async with world.http() as http:
        try:
            assert (await http.post("/_sandbox/faults", json=faults)).status_code == 200
            lost = await send(client, dispute_id, customer_name="Ada", submit=True)
        finally:
            await http.delete("/_sandbox/faults")
    assert_problem(lost, 504, "provider_unknown")
    async with world.wiring.db.transaction() as conn:
        due = await conn.execute("update timers set due_at = now() where kind = 'dispute.answer'")
    assert due == "UPDATE 1"
    await world.work()
    assert (await only(client))["status"] == "under_review"
    there = await at_provider(world, payment)
    assert (there.evidence.customer_name, there.evidence_details.submission_count) == ("Ada", 1)
