"""The library in a host's process: the calls, the reactions, their beginning and end."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from collections import Counter
from datetime import datetime, timedelta
from typing import Any

import httpx2
import pytest
from fastapi import FastAPI

from bursar import Bursar, Event, config, errors
from bursar.access import keys
from bursar.billing import customers, entitlements, payments
from bursar.billing.entitlements import Grant, Source
from bursar.billing.payments import Payment
from bursar.billing.rights import Right
from bursar.ledger import entries
from bursar.ledger.entries import Cause, Posting
from bursar.messages import outbox
from library_host import make_library
from worlds import World, eventually


async def give(world: World, user_id: str, amount: int) -> None:
    user = await world.user(user_id)
    posting = Posting(
        customer_id=user.customer_id,
        unit="page",
        type="bonus",
        amount=amount,
        cause=Cause("test", user_id, "give"),
        pool="bonus",
    )
    async with world.wiring.db.transaction() as conn:
        await entries.post(conn, [posting], at=world.wiring.clock.now())


async def buy(world: World, library: Bursar, user_id: str = "ada") -> int:
    """A purchase whose webhooks were received; returns the payment's id."""
    opened = await library.checkouts.open(user_id, package="starter")
    payment = await find(world, opened.session_id)
    await world.pay(payment)
    await world.deliver(await world.events_about(payment))
    return opened.payment_id


async def find(world: World, session_id: str) -> Payment:
    async with world.wiring.db.connection() as conn:
        found = await payments.find_by_session(conn, "stripe", session_id)
    assert found is not None
    return found


async def test_credits_are_used_given_back_and_counted(world: World) -> None:
    library = make_library(world)
    async with library.lifespan():
        await give(world, "ada", 10)
        used = await library.credits.use("ada", 4, key="k1", unit="page", description="A summary")
        assert used.balance == 6
        again = await library.credits.use("ada", 4, key="k1", unit="page", description="A summary")
        assert (again.transaction_id, again.repeated) == (used.transaction_id, True)
        back = await library.credits.give_back("ada", used.transaction_id, key="k2", amount=1)
        assert back.balance == 7
        found = await library.credits.balance("ada", unit="page")
        assert (found.spendable, found.pools["bonus"]) == (7, 7)
        with pytest.raises(errors.InsufficientCredits):
            await library.credits.use("ada", 8, key="k3", unit="page")
        with pytest.raises(errors.IdempotencyKeyReused):
            await library.credits.use("ada", 5, key="k1", unit="page")
        assert (await library.credits.use("ada", 7, key="k3", unit="page")).balance == 0


async def test_fifty_uses_at_once_take_what_is_there_and_no_more(world: World) -> None:
    library = make_library(world)
    async with library.lifespan():
        await give(world, "ada", 10)
        ends = await asyncio.gather(
            *(library.credits.use("ada", 1, key=f"k{n}", unit="page") for n in range(50)),
            return_exceptions=True,
        )
        refused = [end for end in ends if isinstance(end, errors.InsufficientCredits)]
        assert len(refused) == 40
        assert (await library.credits.balance("ada", unit="page")).spendable == 0


@pytest.mark.parametrize(
    ("wrong", "refusal"),
    [
        ({"amount": 0}, errors.Invalid),
        ({"amount": 2.5}, errors.Invalid),
        ({"amount": True}, errors.Invalid),
        ({"amount": 10**18}, errors.Invalid),
        ({"key": ""}, errors.Invalid),
        ({"key": "é"}, errors.Invalid),
        ({"key": None}, errors.Invalid),
        ({"user_id": ""}, errors.Invalid),
        ({"user_id": "a\0b"}, errors.Invalid),
        ({"user_id": 7}, errors.Invalid),
        ({"customer_id": -1}, errors.Invalid),
        ({"customer_id": 2**70}, errors.Invalid),
        ({"unit": "nothing"}, errors.UnknownUnit),
        ({"unit": "No Unit"}, errors.Invalid),
        ({"description": "two\nlines"}, errors.Invalid),
        ({"description": "4242 4242 4242 4242"}, errors.Invalid),
        ({"customer_id": 10**9}, errors.NotFound),
    ],
)
async def test_what_can_not_be_asked_is_refused_in_our_words(
    world: World, wrong: dict[str, Any], refusal: type[errors.Error]
) -> None:
    library = make_library(world)
    given = {"user_id": "ada", "amount": 1, "key": "k", **wrong}
    async with library.lifespan():
        with pytest.raises(refusal):
            await library.credits.use(given.pop("user_id"), given.pop("amount"), **given)


async def test_work_of_unknown_cost_is_reserved_settled_and_released(world: World) -> None:
    library = make_library(world)
    async with library.lifespan():
        await give(world, "ada", 10)
        held = await library.credits.hold("ada", 6, key="job-1", unit="page")
        assert (held.amount, held.balance) == (6, 4)
        with pytest.raises(errors.CaptureExceedsHold):
            await library.credits.capture("ada", held.hold_id, key="job-1:done", amount=7)
        done = await library.credits.capture("ada", held.hold_id, key="job-1:done", amount=2)
        assert (done.captured, done.returned, done.balance) == (2, 4, 8)
        again = await library.credits.capture("ada", held.hold_id, key="job-1:done", amount=2)
        assert (again.transaction_id, again.repeated) == (done.transaction_id, True)
        with pytest.raises(errors.HoldClosed):
            await library.credits.release("ada", held.hold_id)
        other = await library.credits.hold("ada", 8, key="job-2", unit="page")
        for _ in range(2):
            assert (await library.credits.release("ada", other.hold_id)).balance == 8
        with pytest.raises(errors.Invalid):
            await library.credits.hold("ada", 1, key="job-3", expires_in_seconds=5)


async def test_credits_given_by_the_host_are_given_once_and_logged(world: World) -> None:
    library = make_library(world)
    async with library.lifespan():
        ends = world.wiring.clock.now() + timedelta(days=3)
        for _ in range(2):
            given = await library.credits.grant(
                "ada", 5, key="welcome", reason="Welcome", unit="page", expires_at=ends
            )
            assert given.balance == 5
        found = await library.credits.balance("ada", unit="page")
        assert found.pools == {"plan": 0, "bonus": 5, "purchased": 0}
        with pytest.raises(errors.Invalid):
            await library.credits.grant("ada", 5, key="naive", reason="x", expires_at=datetime.max)
    async with world.wiring.db.connection() as conn:
        logged = await conn.fetch(
            "select action, actor, reason from audit_log where action like 'credits%'"
        )
    assert [tuple(row) for row in logged] == [("credits.granted", "service", "Welcome")]


async def test_what_a_customer_may_do_is_checked_and_used_up(world: World) -> None:
    library = make_library(world)
    async with library.lifespan():
        ada = await world.user("ada")
        assert not (await library.entitlements.check("ada", "exports")).allowed
        with pytest.raises(errors.NotEntitled):
            await library.entitlements.consume("ada", "exports")
        source = Source(ada.customer_id, "pack", "a-pack")
        at = world.wiring.clock.now()
        async with world.wiring.db.transaction() as conn:
            await entitlements.grant(conn, [Grant(source, Right("exports", 3), at)], at=at)

        async def allowed() -> bool:
            return (await library.entitlements.check("ada", "exports")).allowed

        await eventually(allowed)
        assert (await library.entitlements.consume("ada", "exports", 2)).left == 1
        with pytest.raises(errors.LimitReached):
            await library.entitlements.consume("ada", "exports", 2)
        assert (await library.entitlements.check("ada", "exports")).left == 1
        for wrong in ("", "No Feature", None):
            with pytest.raises(errors.Invalid):
                await library.entitlements.check("ada", wrong)  # type: ignore[arg-type]


async def test_a_key_means_one_request_over_the_library_and_over_http(world: World) -> None:
    await give(world, "ada", 10)
    async with world.wiring.db.transaction() as conn:
        _, secret = await keys.create(conn, "service", user_id=None, at=world.wiring.clock.now())
    headers = {"authorization": f"Bearer {secret}", "bursar-user": "ada"}
    library = make_library(world)
    app = FastAPI(lifespan=library.lifespan)
    app.mount("/", library.app)
    async with library.lifespan():
        used = await library.credits.use("ada", 4, key="k1", unit="page")
        transport = httpx2.ASGITransport(app=app)
        async with httpx2.AsyncClient(transport=transport, base_url="http://host") as http:
            answer = await http.post(
                "/api/credits/use",
                json={"amount": 4, "unit": "page"},
                headers={**headers, "idempotency-key": "k1"},
            )
        assert answer.json() == {"transaction_id": used.transaction_id, "balance": 6}
        assert answer.headers["idempotent-replayed"] == "true"


async def test_a_checkout_under_a_key_is_opened_once(world: World) -> None:
    library = make_library(world)
    async with library.lifespan():
        first = await library.checkouts.open("ada", package="starter", key="cart-7")
        again = await library.checkouts.open("ada", package="starter", key="cart-7")
        assert first == again
        assert (first.amount, first.currency, first.status) == (500, "usd", "pending")
        assert first.url.startswith(world.sandbox.base_url)
        free = await library.checkouts.open("ada", amount=700, currency="usd")
        assert (free.amount, free.payment_id != first.payment_id) == (700, True)
        with pytest.raises(errors.IdempotencyKeyReused):
            await library.checkouts.open("ada", package="basic", key="cart-7")
        with pytest.raises(errors.UnknownItem):
            await library.checkouts.open("ada", package="nothing")
        with pytest.raises(errors.RedirectNotAllowed):
            await library.checkouts.open("ada", package="basic", success_url="https://evil.example")
        with pytest.raises(errors.Invalid):
            await library.checkouts.open("ada", package="basic", amount=500, currency="usd")


async def test_a_member_uses_a_teams_credits_and_does_not_buy_them(world: World) -> None:
    library = make_library(world)
    async with library.lifespan():
        owner, member = await world.user("olga"), await world.user("max")
        team = await make_team(world, owner.id, member.id)
        with pytest.raises(errors.InsufficientCredits):
            await library.credits.use("max", 1, key="k", unit="page", customer_id=team)
        with pytest.raises(errors.Denied):
            await library.checkouts.open("max", package="starter", customer_id=team)
        opened = await library.checkouts.open("olga", package="starter", customer_id=team)
        assert (await find(world, opened.session_id)).customer_id == team


async def make_team(world: World, owner: str, member: str) -> int:
    at = world.wiring.clock.now()
    async with world.wiring.db.transaction() as conn:
        team = await customers.make_team(conn, owner, "Team", at=at)
        await customers.put_member(conn, team, member, "member", at=at)
    return team


async def test_async_and_plain_functions_are_told_of_a_purchase(world: World) -> None:
    library = make_library(world)
    told: list[tuple[str, Event, bool]] = []

    @library.on("payment.completed", name="shop.greet")
    async def greet(event: Event) -> None:
        told.append(("greet", event, threading.current_thread() is threading.main_thread()))

    @library.on("payment.*", name="shop.count")
    def count(event: Event) -> None:
        told.append(("count", event, threading.current_thread() is threading.main_thread()))

    @library.on("payment.refunded", name="shop.other")
    def other(event: Event) -> None:
        raise AssertionError("nobody asked for this")

    async with library.lifespan():
        payment_id = await buy(world, library)

        async def both() -> bool:
            return len(told) == 2

        await eventually(both)
        assert (await library.credits.balance("ada", unit="page")).spendable == 5
    assert {(name, in_loop) for name, _, in_loop in told} == {("greet", True), ("count", False)}
    assert {event.id for _, event, _ in told} == {told[0][1].id}
    assert {event.data["id"] for _, event, _ in told} == {payment_id}
    assert told[0][1].created_at.tzinfo is not None


async def test_a_reaction_that_fails_is_called_again_and_the_others_are_not(world: World) -> None:
    library = make_library(world)
    calls: Counter[str] = Counter()

    @library.on("payment.completed", name="shop.fails")
    def fails_first(event: Event) -> None:
        calls["fails"] += 1
        if calls["fails"] == 1:
            raise RuntimeError("the mail server is away")

    @library.on("payment.completed", name="shop.works")
    def works(event: Event) -> None:
        calls["works"] += 1

    async with library.lifespan():
        await buy(world, library)

        async def done() -> bool:
            async with world.wiring.db.connection() as conn:
                found = await outbox.list_messages(conn)
            return len(found) == 2 and all(m.state == "sent" for m in found)

        await eventually(done)
    assert calls == {"fails": 2, "works": 1}


async def test_a_worker_apart_leaves_a_hosts_reactions_to_the_host(world: World) -> None:
    library = make_library(world)
    told: list[Event] = []

    @library.on("*", name="shop.greet")
    def greet(event: Event) -> None:
        told.append(event)

    async with library.lifespan():
        pass
    idle = make_library(world)
    async with idle.lifespan():
        await buy(world, idle)
        await world.work()
        await asyncio.sleep(0.3)
        assert told == []
    async with library.lifespan():

        async def one() -> bool:
            return len(told) == 1

        await eventually(one)


async def test_nothing_works_before_the_start_or_after_the_end(world: World) -> None:
    library = make_library(world)
    with pytest.raises(errors.Misconfigured, match="not started"):
        await library.credits.balance("ada")
    with pytest.raises(errors.Misconfigured, match="not started"):
        library.sync.credits.balance("ada")
    async with library.lifespan():
        with pytest.raises(errors.Misconfigured, match="already"):
            async with library.lifespan():
                pass
        with pytest.raises(errors.Misconfigured, match="before"):
            library.on("*", name="late")(print)
        await library.credits.balance("ada")
    with pytest.raises(errors.Misconfigured, match="not started"):
        await library.credits.balance("ada")
    async with library.lifespan():
        await library.credits.balance("ada")


def test_a_reaction_needs_an_event_that_there_is_and_a_name_that_lasts() -> None:
    library = Bursar(config.read(None, database_url="postgresql://nobody@127.0.0.1:1/none"))
    with pytest.raises(errors.Misconfigured, match=r"payment\.completed"):
        library.on("payment.complete")(print)
    with pytest.raises(errors.Misconfigured, match="name"):
        library.on("*")(lambda event: None)
    library.on("payment.failed", name="one")(print)
    library.on("payment.completed", name="one")(print)
    with pytest.raises(errors.Misconfigured, match="Two functions"):
        library.on("payment.completed", name="one")(len)  # type: ignore[type-var]


async def test_no_provider_and_no_start(world: World) -> None:
    settings = make_library(world).settings.model_copy(update={"stripe_secret_key": ""})
    library = Bursar(settings)
    with pytest.raises(errors.Misconfigured, match="STRIPE_SECRET_KEY"):
        async with library.lifespan():
            pass


def test_importing_a_room_does_not_import_the_library() -> None:
    code = "import sys, bursar.errors; print('bursar.entrypoints.library' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.strip() == "False"
