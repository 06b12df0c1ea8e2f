"""Outbound webhooks on real sockets: signed, in order for each endpoint, never to a neighbour."""

from __future__ import annotations

import asyncio
import ipaddress
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

import pytest

from bursar import config
from bursar.db import Database
from bursar.entrypoints import sending, sending_webhooks
from bursar.messages import addresses, delivery, endpoints, outbox
from bursar.messages.addresses import Forbidden, Policy
from bursar.messages.delivery import RETRY_SECONDS, Courier, Webhook
from bursar.messages.outbox import DeliveryFailed, Event, Message
from bursar.wiring import Wiring, opened
from hook_receiver import Receiver, answer, receiving
from letter_box import contexts
from worlds import SECRET_KEY, WEBHOOK_SECRET, eventually, free_port, serving

pytestmark = pytest.mark.timeout(120)

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
HERE = Policy(loopback=True, http=True)
ABROAD = Policy()


class Shop:
    """A shop in a sandbox with endpoints."""

    def __init__(self, wiring: Wiring) -> None:
        self.wiring = wiring
        self.numbers = 0

    async def endpoint(self, url: str, *topics: str) -> tuple[int, str]:
        async with self.wiring.db.transaction() as conn:
            made, secret = await endpoints.create(conn, url, topics or ["*"], at=NOW)
        return made.id, secret

    async def emit(self, count: int = 1) -> None:
        for _ in range(count):
            self.numbers += 1
            told = Event("payment.completed", f"ref-{self.numbers}", 7, {"number": self.numbers})
            async with self.wiring.db.transaction() as conn:
                await outbox.emit(conn, [told], at=NOW)

    async def send(self, courier: Courier | None = None) -> int:
        async with sending_webhooks.opened(self.wiring, courier) as way:
            return await sending.send_once(self.wiring, way)

    async def send_all(self) -> None:
        while await self.send():
            pass

    async def make_due(self) -> None:
        async with self.wiring.db.connection() as conn:
            await conn.execute("update outbox_messages set due_at = now(), lease_until = null")

    async def messages(self) -> list[Message]:
        """The oldest first, without what cases tell."""
        async with self.wiring.db.connection() as conn:
            found = await outbox.list_messages(conn, limit=1000)
        return [one for one in reversed(found) if one.topic != "case.opened"]

    async def states(self) -> list[str]:
        return [one.state for one in await self.messages()]

    async def cases(self) -> list[str]:
        async with self.wiring.db.connection() as conn:
            rows = await conn.fetch("select summary from cases order by id")
        return [row["summary"] for row in rows]


@asynccontextmanager
async def open_shop(db: Database, **fields: object) -> AsyncIterator[Shop]:
    settings = config.read(
        None, **{"database_url": db.url, "sandbox": True, "worker_poll_seconds": 0.05, **fields}
    )
    async with opened(settings) as wiring:
        yield Shop(wiring)


@pytest.fixture
async def shop(db: Database) -> AsyncIterator[Shop]:
    async with open_shop(db) as shop:
        yield shop


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with receiving() as receiver:
        yield receiver


async def test_an_event_arrives_signed_as_the_specification_says(
    shop: Shop, receiver: Receiver
) -> None:
    _, secret = await shop.endpoint(receiver.url)
    await shop.emit()
    await shop.send_all()
    [got] = receiver.got
    assert got.verified(secret)
    assert not got.verified(endpoints.make_secret())
    assert got.path == "/hooks?a=1"
    assert got.headers["host"] == f"127.0.0.1:{receiver.port}"
    assert got.headers["content-type"] == "application/json"
    assert got.event["type"] == "payment.completed"
    assert got.headers["webhook-id"] == got.event["id"]
    assert abs(int(got.headers["webhook-timestamp"]) - datetime.now(UTC).timestamp()) < 60
    assert await shop.states() == ["sent"]


def test_the_signature_is_that_of_the_specification_s_example() -> None:
    # Secret, id, time and body as the public specification's libraries test themselves with.
    signed = delivery.sign(
        "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        "msg_p5jXN8AQM9LWM0D4loKWxJek",
        1614265330,
        b'{"test": 2432232314}',
    )
    assert signed == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


async def test_while_a_secret_is_replaced_both_sign(shop: Shop, receiver: Receiver) -> None:
    number, former = await shop.endpoint(receiver.url)
    async with shop.wiring.db.transaction() as conn:
        secret = await endpoints.rotate(conn, number)
    await shop.emit()
    await shop.send_all()
    async with shop.wiring.db.connection() as conn:
        await conn.execute("update webhook_endpoints set former_until = now()")
    await shop.emit()
    await shop.send_all()
    both, one = receiver.got
    assert both.verified(secret)
    assert both.verified(former)
    assert one.verified(secret)
    assert not one.verified(former)


async def test_the_next_event_waits_for_the_one_before(shop: Shop, receiver: Receiver) -> None:
    await shop.endpoint(receiver.url)
    receiver.says = [answer(500), answer(503)]
    await shop.emit(3)
    for _ in range(6):
        await shop.send()
        await shop.make_due()
    assert receiver.order == [1, 1, 1, 2, 3]
    assert await shop.states() == ["sent"] * 3


async def test_what_is_dead_holds_up_nothing_more(shop: Shop, receiver: Receiver) -> None:
    await shop.endpoint(receiver.url, "payment.*")
    tries = len(RETRY_SECONDS) + 1
    receiver.says = [answer(500)] * tries
    await shop.emit(2)
    for _ in range(tries + 1):
        await shop.make_due()
        await shop.send()
    assert receiver.order == [1] * tries + [2]
    assert await shop.states() == ["dead", "sent"]
    [summary] = await shop.cases()
    assert "answered 500" in summary


async def test_the_pauses_are_those_that_the_docs_name(shop: Shop, receiver: Receiver) -> None:
    await shop.endpoint(receiver.url)
    receiver.says = [answer(500)] * 7
    await shop.emit()
    pauses = []
    for _ in RETRY_SECONDS:
        await shop.make_due()
        await shop.send()
        [message] = await shop.messages()
        pauses.append((message.due_at - datetime.now(UTC)).total_seconds())
    assert list(RETRY_SECONDS) == [5, 300, 1800, 7200, 18000, 36000, 36000]
    for pause, wanted in zip(pauses, RETRY_SECONDS, strict=True):
        assert 0.85 * wanted - 5 < pause < 1.11 * wanted + 1


@pytest.mark.parametrize(
    ("retry_after", "seconds"),
    [
        ("1000", 1000),
        ("999999999", 86400),
        ("nonsense", 5),
        ("-1", 5),
        ((datetime.now(UTC) + timedelta(hours=2)).strftime("%a, %d %b %Y %H:%M:%S GMT"), 7200),
    ],
    ids=["seconds", "for-ever", "nonsense", "the-past", "a-date"],
)
async def test_a_receiver_says_how_long_to_wait(
    shop: Shop, receiver: Receiver, retry_after: str, seconds: int
) -> None:
    await shop.endpoint(receiver.url)
    receiver.says = [answer(429, f"retry-after: {retry_after}")]
    await shop.emit()
    await shop.send()
    [message] = await shop.messages()
    waits = (message.due_at - datetime.now(UTC)).total_seconds()
    assert 0.85 * seconds - 60 < waits < 1.11 * seconds + 1


async def test_a_receiver_that_is_gone_is_asked_no_more(shop: Shop, receiver: Receiver) -> None:
    number, _ = await shop.endpoint(receiver.url, "payment.*")
    receiver.says = [answer(410)]
    await shop.emit(3)
    await shop.send_all()
    await shop.emit()
    await shop.send_all()
    assert len(receiver.got) == 1
    assert await shop.states() == ["dead"] * 3
    async with shop.wiring.db.connection() as conn:
        found = await endpoints.get_endpoint(conn, number)
    assert found.disabled_at is not None
    [summary] = await shop.cases()
    assert "410" in summary


async def test_a_deleted_endpoint_gets_nothing_more(shop: Shop, receiver: Receiver) -> None:
    number, _ = await shop.endpoint(receiver.url)
    await shop.emit(2)
    async with shop.wiring.db.transaction() as conn:
        await endpoints.delete(conn, number, at=NOW)
        # As one that was written while the endpoint was being deleted.
        await conn.execute("update outbox_messages set state = 'queued' where id = 2")
    await shop.emit()
    await shop.send_all()
    assert receiver.got == []
    assert await shop.states() == ["dead", "dead"]
    assert await shop.cases() == []


async def test_a_redirect_is_a_failure_and_is_not_followed(shop: Shop, receiver: Receiver) -> None:
    async with receiving() as other:
        await shop.endpoint(receiver.url)
        receiver.says = [answer(307, f"location: {other.url}")]
        await shop.emit()
        await shop.send()
        assert other.got == []
    [message] = await shop.messages()
    assert message.state == "failed"
    assert "307" in str(message.last_error)


async def test_one_slow_receiver_holds_up_no_other(shop: Shop, receiver: Receiver) -> None:
    hold = asyncio.Event()

    async def slowly(writer: asyncio.StreamWriter) -> None:
        await hold.wait()
        writer.write(answer(200))

    async with receiving() as slow:
        slow.says = [slowly]
        await shop.endpoint(slow.url)
        await shop.endpoint(receiver.url)
        await shop.emit(12)
        stop = asyncio.Event()
        async with sending_webhooks.opened(shop.wiring) as way:
            sender = asyncio.create_task(sending.run(shop.wiring, way, stop=stop))

            async def all_there() -> bool:
                return len(receiver.got) == 12

            await eventually(all_there)
            assert len(slow.got) == 1
            hold.set()

            async def slow_there() -> bool:
                return len(slow.got) == 12

            await eventually(slow_there)
            stop.set()
            await sender
        assert slow.order == receiver.order == list(range(1, 13))


async def test_a_receiver_that_never_answers_is_left(
    shop: Shop, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(delivery, "ANSWER_SECONDS", 0.3)

    async def drip(writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 1000000\r\n\r\n")
        while True:
            writer.write(b".")
            await writer.drain()
            await asyncio.sleep(0.05)

    receiver.says = [drip]
    await shop.endpoint(receiver.url)
    await shop.emit()
    await shop.send()
    [message] = await shop.messages()
    assert message.state == "failed"
    assert "no answer" in str(message.last_error)


async def test_of_an_endless_answer_only_the_beginning_is_read(
    shop: Shop, receiver: Receiver
) -> None:
    async def pour(writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 1000000000\r\n\r\n")
        while True:
            writer.write(b"x" * 65536)
            await writer.drain()

    receiver.says = [pour]
    await shop.endpoint(receiver.url)
    await shop.emit()
    await shop.send()
    assert await shop.states() == ["sent"]


async def test_a_connection_that_is_cut_is_tried_again(shop: Shop, receiver: Receiver) -> None:
    await shop.endpoint(receiver.url)
    receiver.says = [b""]
    await shop.emit()
    await shop.send()
    assert await shop.states() == ["failed"]
    await shop.make_due()
    await shop.send()
    assert await shop.states() == ["sent"]


async def test_two_senders_never_send_one_message_at_once(shop: Shop, receiver: Receiver) -> None:
    await shop.endpoint(receiver.url)
    await shop.emit(30)
    stop = asyncio.Event()
    async with sending_webhooks.opened(shop.wiring) as way:
        senders = [asyncio.create_task(sending.run(shop.wiring, way, stop=stop)) for _ in range(3)]

        async def all_sent() -> bool:
            return set(await shop.states()) == {"sent"}

        await eventually(all_sent)
        stop.set()
        await asyncio.gather(*senders)
    assert receiver.order == list(range(1, 31))
    assert receiver.most_at_once == 1


async def test_a_sender_killed_after_sending_sends_the_same_event_again(
    db: Database, receiver: Receiver
) -> None:
    settings = config.read(
        None,
        database_url=db.url,
        port=free_port(),
        stripe_api_base="http://127.0.0.1:9",
        stripe_secret_key=SECRET_KEY,
        stripe_webhook_secrets=(WEBHOOK_SECRET,),
    )
    async with open_shop(db) as shop:
        _, secret = await shop.endpoint(receiver.url)
        await shop.emit(2)

        def run(crash_at: str) -> None:
            with serving(settings, crash_at=crash_at) as process:
                process.wait(30)

        try:
            await asyncio.to_thread(run, "send.after_delivery")
        except AssertionError as ended:
            # It may die before it answers that it is ready.
            assert "-9" in str(ended)  # noqa: PT017
        assert receiver.order == [1]
        for _ in range(2):
            await shop.make_due()
            await shop.send()
    assert receiver.order == [1, 1, 2]
    assert len(Counter(got.headers["webhook-id"] for got in receiver.got)) == 2
    assert all(got.verified(secret) for got in receiver.got)


@pytest.mark.parametrize(
    "text",
    [
        *("10.0.0.1", "172.16.5.4", "192.168.1.1", "127.0.0.1", "127.8.8.8", "0.1.2.3"),
        *("169.254.169.254", "100.64.0.1", "198.18.0.1", "192.0.0.8", "192.0.2.1", "224.0.0.1"),
        *("255.255.255.255", "240.0.0.1", "192.88.99.1", "::1", "::", "fe80::1", "fc00::1"),
        *("fd12::1", "ff02::1", "::ffff:10.0.0.1", "::ffff:8.8.8.8", "::8.8.8.8", "fec0::1"),
        *("64:ff9b::a00:1", "64:ff9b:1::1", "2002:a00:1::1", "2001:0:1::1", "2001:db8::1"),
        *("100::1", "fe80::1%eth0", "3fff::1", "5f00::1"),
    ],
)
def test_an_address_that_is_not_the_public_internet_s_is_refused(text: str) -> None:
    assert not addresses.is_public(ipaddress.ip_address(text))


@pytest.mark.parametrize("text", ["8.8.8.8", "1.1.1.1", "2606:4700::1111", "2a00:1450:4001::1"])
def test_an_address_of_the_public_internet_is_good(text: str) -> None:
    assert addresses.is_public(ipaddress.ip_address(text))


@pytest.mark.parametrize(
    "url",
    [
        *("http://hooks.example/", "ftp://hooks.example/", "https:///x", "hooks.example"),
        *("https://user:word@hooks.example/", "https://hooks.example:22/", "https://[::1"),
        *("https://hooks.example/#part", "https://hooks.example\\@10.0.0.1/", "https://a b/"),
        *("https://hooks.example:99999/", "https://bücher.example/", "https://x.example/\n"),
    ],
)
def test_what_is_no_address_for_webhooks_is_refused(url: str) -> None:
    with pytest.raises(Forbidden):
        addresses.read(url, ABROAD)


@pytest.mark.parametrize(
    "url",
    [
        *("https://127.0.0.1/", "https://2130706433/", "https://0x7f.1/", "https://[::1]/"),
        *("https://localhost/", "https://[::ffff:127.0.0.1]/", "https://10.1.1.1:8443/"),
        *("https://0/", "https://169.254.169.254/latest/meta-data", "https://[64:ff9b::a00:1]/"),
    ],
)
async def test_every_spelling_of_a_neighbour_is_refused(url: str) -> None:
    target = addresses.read(url, ABROAD)
    with pytest.raises((Forbidden, addresses.Unresolved)):
        await addresses.checked(target, ABROAD)


async def test_a_name_that_has_one_private_address_is_refused() -> None:
    async def ask(host: str, port: int) -> list[str]:
        return ["8.8.8.8", "10.0.0.1"]

    with pytest.raises(Forbidden):
        await addresses.checked(addresses.read("https://x.example/", ABROAD), ABROAD, ask=ask)


def resolver(*turns: Sequence[str]) -> addresses.Resolve:
    """Names that mean something else each time."""
    left = list(turns)

    async def ask(host: str, port: int) -> list[str]:
        return list(left.pop(0) if len(left) > 1 else left[0])

    return ask


async def test_a_name_that_turns_private_after_its_creation_gets_nothing(
    db: Database, receiver: Receiver
) -> None:
    ask = resolver(["8.8.8.8"], ["127.0.0.1"])
    policy = Policy(http=True)
    url = "http://hooks.example/"
    assert await addresses.checked(addresses.read(url, policy), policy, ask=ask) == ["8.8.8.8"]
    async with open_shop(db) as shop:
        await shop.endpoint(f"http://hooks.example:{8080}/")
        await shop.emit()
        await shop.send(Courier(policy, ask=ask))
        [message] = await shop.messages()
        assert message.state == "failed"
        assert "not of the public internet" in str(message.last_error)
    assert receiver.got == []


async def test_the_connection_goes_to_the_checked_address_under_the_name() -> None:
    ours, trust = contexts()
    async with receiving(tls=ours) as receiver:
        courier = Courier(HERE, ask=resolver(["127.0.0.1"]), trust=trust)
        for host, match in (("hooks.example", None), ("other.example", "hostname|Hostname")):
            webhook = Webhook(
                f"https://{host}:{receiver.port}/x", "id", b"{}", [endpoints.make_secret()], 1
            )
            if match is None:
                await courier.send(webhook)
            else:
                with pytest.raises(DeliveryFailed, match=match):
                    await courier.send(webhook)
        await courier.close()
        assert [got.headers["host"] for got in receiver.got] == [f"hooks.example:{receiver.port}"]


async def test_proxies_of_the_environment_are_not_asked(
    shop: Shop, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with receiving() as proxy:
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.port}")
        await shop.endpoint(receiver.url)
        await shop.emit()
        await shop.send()
        assert proxy.got == []
    assert len(receiver.got) == 1
