"""Subscriptions over HTTP, against the sandbox: begun, shown, changed as previewed, ended."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from typing import Any

import httpx
import pytest

from api_server import assert_problem
from subscribers import Subscribers
from subscription_api import Desk, open_desk
from worlds import World, free_port, sandbox, serving

# The world's own sandbox: what it says is held to the provider's schema.
__all__ = ["sandbox"]

FIELDS = {
    *("id", "customer_id", "provider", "plan", "price_id", "quantity", "amount", "currency"),
    *("interval", "status", "raw_status", "current_period_end", "cancel_at_period_end"),
    *("cancel_at", "canceled_at", "trial_end", "ended_at", "created_at"),
}


@pytest.fixture
async def desk(world: World) -> AsyncIterator[Desk]:
    async with open_desk(Subscribers(world)) as desk:
        yield desk


@pytest.fixture
async def ada(desk: Desk) -> dict[str, str]:
    return await desk.key("user", "ada")


def at(text: str) -> datetime:
    return datetime.fromisoformat(text)


async def test_a_plan_is_subscribed_to_paid_and_shown(desk: Desk, ada: dict[str, str]) -> None:
    wanted = {"plan": "pages-basic"}
    opened = (await desk.http.post("/api/subscribe", json=wanted, headers=ada)).json()
    assert set(opened) == {
        *("session_id", "url", "payment_id", "status", "amount", "currency", "expires_at")
    }
    assert (opened["status"], opened["amount"], opened["currency"]) == ("pending", 1500, "usd")
    missing = await desk.http.get("/api/subscription", headers=ada)
    assert_problem(missing, 404, "not_found")
    await desk.pay(opened["session_id"])
    found = await desk.shown(ada)
    assert set(found) == FIELDS
    assert (found["plan"], found["status"], found["raw_status"]) == (
        *("pages-basic", "active", "active"),
    )
    assert (found["quantity"], found["amount"], found["currency"]) == (1, 1500, "usd")
    assert (found["interval"], found["provider"], found["trial_end"]) == ("month", "stripe", None)
    assert found["cancel_at_period_end"] is False
    assert at(found["current_period_end"]) - at(found["created_at"]) > timedelta(days=27)
    assert found == await desk.shown(ada, id=found["id"])


async def test_checkout_of_a_plan_and_of_its_price_are_the_same(
    desk: Desk, ada: dict[str, str]
) -> None:
    path = "/api/stripe/checkout-session"
    by_plan = await desk.http.post(path, json={"plan": "pages-basic"}, headers=ada)
    assert by_plan.status_code == 200, by_plan.text
    async with desk.shop.world.wiring.db.connection() as conn:
        price_id = await conn.fetchval(
            "select provider_price_id from catalog_prices where kind = 'plan' "
            "and key = 'pages-basic' and recurring = 'month' and active"
        )
    by_price = await desk.http.post(path, json={"price_id": price_id}, headers=ada)
    assert by_price.json() == by_plan.json()
    wrong = {"price_id": price_id, "currency": "eur"}
    refused = await desk.http.post(path, json=wrong, headers=ada)
    assert_problem(refused, 422, "currency_not_sold")


async def test_two_tabs_get_one_session_and_another_plan_closes_it(
    desk: Desk, ada: dict[str, str]
) -> None:
    wanted = {"plan": "pages-basic"}
    tabs = await asyncio.gather(
        *(desk.http.post("/api/subscribe", json=wanted, headers=ada) for _ in range(2))
    )
    assert len({tab.json()["session_id"] for tab in tabs}) == 1
    other = await desk.http.post("/api/subscribe", json={"plan": "pages-pro"}, headers=ada)
    assert other.json()["amount"] == 3000
    assert other.json()["session_id"] != tabs[0].json()["session_id"]
    path = f"/api/stripe/checkout-session/{tabs[0].json()['session_id']}"
    assert (await desk.http.get(path, headers=ada)).json()["session_status"] == "expired"


async def test_who_has_a_plan_is_refused_a_second_and_told_which(
    desk: Desk, ada: dict[str, str]
) -> None:
    found = await desk.subscribe(ada, "pages-basic")
    for path, wanted in (
        ("/api/subscribe", {"plan": "pages-pro"}),
        ("/api/subscribe", {"plan": "pages-basic"}),
        ("/api/stripe/checkout-session", {"plan": "pages-pro"}),
    ):
        refused = await desk.http.post(path, json=wanted, headers={**ada, "Idempotency-Key": "k"})
        problem = assert_problem(refused, 409, "already_subscribed")
        assert problem["subscription_id"] == found["id"]


async def test_a_key_opens_one_checkout_and_one_provider_is_part_of_it(
    desk: Desk, ada: dict[str, str]
) -> None:
    headers = {**ada, "Idempotency-Key": "tab"}
    wanted = {"plan": "pages-basic", "quantity": 3}
    first = await desk.http.post("/api/subscribe", json=wanted, headers=headers)
    again = await desk.http.post("/api/subscribe", json=wanted, headers=headers)
    assert first.json()["amount"] == 4500
    assert again.json() == first.json()
    assert again.headers["idempotent-replayed"] == "true"
    other = {**wanted, "provider": "stripe"}
    reused = await desk.http.post("/api/subscribe", json=other, headers=headers)
    assert_problem(reused, 422, "idempotency_key_reused")


async def test_a_change_costs_what_its_preview_said(desk: Desk, ada: dict[str, str]) -> None:
    before = await desk.subscribe(ada, "pages-basic")
    await desk.shop.advance(days=10)
    query = {"plan": "pages-pro", "proration": "always_invoice"}
    asked = await desk.http.get("/api/subscription/preview", params=query, headers=ada)
    assert asked.status_code == 200, asked.text
    preview = asked.json()
    assert set(preview) == {
        *("currency", "due_now", "next_total", "next_at", "proration_at", "lines")
    }
    assert (preview["currency"], preview["next_total"]) == ("usd", 3000)
    assert preview["next_at"] == before["current_period_end"]
    assert sum(line["amount"] for line in preview["lines"]) == preview["due_now"]
    assert 0 < preview["due_now"] < 1500
    assert (await desk.shown(ada)) == before
    wanted = {**query, "proration_at": preview["proration_at"]}
    headers = {**ada, "Idempotency-Key": "upgrade"}
    changed = await desk.http.patch("/api/subscription", json=wanted, headers=headers)
    assert changed.status_code == 200, changed.text
    assert (changed.json()["plan"], changed.json()["amount"]) == ("pages-pro", 3000)
    invoices = await desk.shop.invoices(before["customer_id"])
    assert [(one.reason, one.status) for one in invoices] == [
        ("create", "paid"),
        ("update", "paid"),
    ]
    assert invoices[-1].paid_minor == preview["due_now"]
    again = await desk.http.patch("/api/subscription", json=wanted, headers=headers)
    assert again.headers["idempotent-replayed"] == "true"
    assert again.json() == changed.json()
    await desk.shop.hear()
    assert len(await desk.shop.invoices(before["customer_id"])) == 2


async def test_a_moment_that_makes_a_change_cheap_is_refused(
    desk: Desk, ada: dict[str, str]
) -> None:
    before = await desk.subscribe(ada, "pages-basic")
    await desk.shop.advance(days=10)
    end = at(before["current_period_end"])
    for moment in (end - timedelta(minutes=1), at(before["created_at"])):
        wanted = {"plan": "pages-pro", "proration_at": moment.isoformat()}
        refused = await desk.http.patch("/api/subscription", json=wanted, headers=ada)
        assert_problem(refused, 422, "validation_error")
    assert (await desk.shown(ada))["plan"] == "pages-basic"


async def test_one_that_ends_has_no_next_invoice_to_preview(
    desk: Desk, ada: dict[str, str]
) -> None:
    found = await desk.subscribe(ada, "pages-basic")
    await desk.http.delete("/api/subscription", headers=ada)
    query = {"quantity": 2, "proration": "none"}
    refused = await desk.http.get("/api/subscription/preview", params=query, headers=ada)
    # What costs nothing until the next period is the shop's to give.
    assert_problem(refused, 403, "forbidden")
    shop = {**await desk.key("service"), "Bursar-User": "ada"}
    asked = await desk.http.get("/api/subscription/preview", params=query, headers=shop)
    assert asked.status_code == 200, asked.text
    preview = asked.json()
    assert (preview["due_now"], preview["next_total"], preview["lines"]) == (0, 0, [])
    assert (preview["currency"], preview["next_at"]) == ("usd", found["current_period_end"])


async def test_a_quantity_is_changed_alone(desk: Desk, ada: dict[str, str]) -> None:
    before = await desk.subscribe(ada, "pages-basic")
    changed = await desk.http.patch("/api/subscription", json={"quantity": 4}, headers=ada)
    assert (changed.json()["plan"], changed.json()["quantity"]) == ("pages-basic", 4)
    same = await desk.http.patch("/api/subscription", json={"quantity": 4}, headers=ada)
    assert same.json() == changed.json()
    assert len(await desk.shop.invoices(before["customer_id"])) == 1


async def test_an_end_with_the_period_is_taken_back_and_one_now_is_not(
    desk: Desk, ada: dict[str, str]
) -> None:
    before = await desk.subscribe(ada, "pages-basic")
    ending = (await desk.http.delete("/api/subscription", headers=ada)).json()
    assert (ending["status"], ending["cancel_at_period_end"]) == ("active", True)
    assert ending["cancel_at"] == before["current_period_end"]
    assert ending["canceled_at"] is not None
    assert (await desk.http.delete("/api/subscription", headers=ada)).json() == ending
    kept = (await desk.http.post("/api/subscription/resume", headers=ada)).json()
    assert (kept["cancel_at_period_end"], kept["cancel_at"]) == (False, None)
    headers = {**ada, "Idempotency-Key": "the end"}
    ended = await desk.http.delete("/api/subscription", params={"when": "now"}, headers=headers)
    assert (ended.json()["status"], ended.json()["ended_at"] is None) == ("canceled", False)
    again = await desk.http.delete("/api/subscription", params={"when": "now"}, headers=headers)
    assert again.json() == ended.json()
    assert_problem(await desk.http.get("/api/subscription", headers=ada), 404, "not_found")
    assert (await desk.shown(ada, id=before["id"]))["status"] == "canceled"
    query = {"id": before["id"]}
    late = await desk.http.post("/api/subscription/resume", params=query, headers=ada)
    assert_problem(late, 409, "subscription_not_changeable")
    change = {"plan": "pages-pro"}
    late = await desk.http.patch("/api/subscription", json=change, params=query, headers=ada)
    assert_problem(late, 409, "subscription_not_changeable")


async def test_a_pause_is_ended_by_resume_with_an_end_that_was_to_come(
    desk: Desk, ada: dict[str, str]
) -> None:
    await desk.subscribe(ada, "pages-basic")
    paused = (await desk.http.post("/api/subscription/pause", headers=ada)).json()
    assert (paused["status"], paused["raw_status"]) == ("paused", "active")
    await desk.http.delete("/api/subscription", headers=ada)
    headers = {**ada, "Idempotency-Key": "on"}
    going_on = (await desk.http.post("/api/subscription/resume", headers=headers)).json()
    assert (going_on["status"], going_on["cancel_at"]) == ("active", None)
    again = await desk.http.post("/api/subscription/resume", headers=headers)
    assert again.json() == going_on


async def test_a_try_that_broke_off_is_gone_on_with_under_its_key(
    desk: Desk, ada: dict[str, str]
) -> None:
    """The process ends after the provider did it: the next try tells of the same subscription."""
    before = await desk.subscribe(ada, "pages-basic")
    headers, query = {**ada, "Idempotency-Key": "now"}, {"when": "now"}
    world = desk.shop.world
    settings = world.settings.model_copy(update={"port": free_port()})
    with serving(settings, with_worker=False, crash_at="subscription.after_call") as process:
        with pytest.raises(httpx.TransportError):
            async with httpx.AsyncClient(base_url=settings.own_url, timeout=30) as http:
                await http.delete("/api/subscription", params=query, headers=headers)
        assert process.wait(20) != 0
    await desk.shop.hear()
    assert (await desk.shown(ada, id=before["id"]))["status"] == "canceled"
    async with world.wiring.db.transaction() as conn:
        await conn.execute("update idempotency_keys set lease_until = now() where status is null")
    done = await desk.http.delete("/api/subscription", params=query, headers=headers)
    assert done.status_code == 200, done.text
    assert (done.json()["id"], done.json()["status"]) == (before["id"], "canceled")


async def test_who_has_several_names_the_one_that_changes(desk: Desk, ada: dict[str, str]) -> None:
    one = await desk.subscribe(ada, "pages-basic")
    two = await desk.shop.subscribe("ada", "starter")
    ids = [row.id for row in await desk.shop.subscriptions(two.customer_id)]
    assert (await desk.shown(ada))["id"] == one["id"] == ids[0]
    refused = await desk.http.delete("/api/subscription", headers=ada)
    assert refused.json()["errors"][0]["field"] == "id"
    assert_problem(refused, 422, "validation_error")
    ended = await desk.http.delete("/api/subscription", params={"id": ids[1]}, headers=ada)
    assert (ended.json()["plan"], ended.json()["cancel_at_period_end"]) == ("starter", True)


async def test_a_subscription_is_its_customers_alone(desk: Desk, ada: dict[str, str]) -> None:
    found = await desk.subscribe(ada, "pages-basic")
    bob = await desk.key("user", "bob")
    query = {"id": found["id"]}
    answers = [
        await desk.http.get("/api/subscription", params=query, headers=bob),
        await desk.http.delete("/api/subscription", params=query, headers=bob),
        await desk.http.post("/api/subscription/pause", params=query, headers=bob),
        await desk.http.get("/api/subscription/preview", params=query, headers=bob),
        await desk.http.patch("/api/subscription", json={"quantity": 2}, params=query, headers=bob),
    ]
    nothing = await desk.http.get("/api/subscription", params={"id": 987654}, headers=bob)
    for answer in answers:
        problem = assert_problem(answer, 404, "not_found")
        assert problem["detail"] == nothing.json()["detail"]
    service = {**await desk.key("service"), "Bursar-User": "ada"}
    assert (await desk.shown(service)) == found


@pytest.mark.parametrize(
    ("wanted", "code"),
    [
        ({}, "validation_error"),
        ({"plan": "gone"}, "unknown_item"),
        ({"plan": "pages-basic", "interval": "year"}, "interval_not_offered"),
        ({"plan": "pages-basic", "currency": "jpy"}, "currency_not_sold"),
        ({"plan": "pages-basic", "quantity": 0}, "validation_error"),
        ({"plan": "pages-basic", "interval": "week"}, "validation_error"),
        ({"plan": "pages-basic", "months": 3}, "validation_error"),
        ({"plan": "pages-basic", "provider": "square"}, "validation_error"),
        ({"plan": "pages-basic", "coupon": "NOTHING"}, "coupon_unknown"),
        ({"plan": "pages-basic", "success_url": "https://evil.example/"}, "redirect_not_allowed"),
    ],
)
async def test_what_can_not_be_subscribed_to_is_refused(
    desk: Desk, ada: dict[str, str], wanted: dict[str, Any], code: str
) -> None:
    refused = await desk.http.post("/api/subscribe", json=wanted, headers=ada)
    assert_problem(refused, 422, code)


async def test_what_can_not_be_changed_so_is_refused(desk: Desk, ada: dict[str, str]) -> None:
    nobody = await desk.http.patch("/api/subscription", json={"quantity": 2}, headers=ada)
    assert_problem(nobody, 404, "not_found")
    await desk.subscribe(ada, "pages-basic")
    for body, code in (
        ({}, "validation_error"),
        ({"plan": "gone"}, "unknown_item"),
        ({"plan": "starter"}, "validation_error"),
        ({"interval": "year"}, "interval_not_offered"),
        ({"plan": "pages-pro", "proration": "later"}, "validation_error"),
        ({"plan": "pages-pro", "proration_at": 12}, "validation_error"),
    ):
        refused = await desk.http.patch("/api/subscription", json=body, headers=ada)
        assert_problem(refused, 422, code)
    for query in ({"id": 0}, {"id": "x"}, {"when": "later"}, {"plan": "x"}):
        refused = await desk.http.delete("/api/subscription", params=query, headers=ada)
        assert_problem(refused, 422, "validation_error")
    other = {"plan": "pages-basic", "provider": "paddle"}
    refused = await desk.http.post("/api/subscribe", json=other, headers=ada)
    assert_problem(refused, 409, "not_supported")


async def test_an_admin_sees_all_and_ends_one(desk: Desk, ada: dict[str, str]) -> None:
    bob, admin = await desk.key("user", "bob"), await desk.key("admin")
    first, second = (
        await desk.subscribe(ada, "pages-basic"),
        await desk.subscribe(bob, "pages-pro"),
    )
    path = "/api/admin/subscriptions"
    page = (await desk.http.get(path, params={"limit": 1}, headers=admin)).json()
    assert page["data"] == [second]
    query = {"limit": 1, "cursor": page["next_cursor"]}
    page = (await desk.http.get(path, params=query, headers=admin)).json()
    assert (page["data"], page["next_cursor"]) == ([first], None)
    one = f"{path}/{first['id']}"
    assert (await desk.http.get(one, headers=admin)).json() == first
    ended = await desk.http.delete(one, params={"when": "now"}, headers=admin)
    assert ended.json()["status"] == "canceled"
    page = (await desk.http.get(path, params={"status": "canceled"}, headers=admin)).json()
    assert page["data"] == [ended.json()]
    logged = (await desk.http.get("/api/admin/audit-log", headers=admin)).json()["data"]
    assert "subscription.cancel_now" in [entry["action"] for entry in logged]
    for wrong in ("0", "987654", "x"):
        gone = await desk.http.get(f"{path}/{wrong}", headers=admin)
        assert_problem(gone, 404, "not_found")
    assert_problem(await desk.http.get(path, headers=ada), 403, "forbidden")
