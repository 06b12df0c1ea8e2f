"""Mail on a real mail server: each letter ends delivered once, or dead and visible."""

from __future__ import annotations

import asyncio
import base64
from collections import Counter
from collections.abc import AsyncIterator

import pytest

from bursar import config, errors
from bursar.billing import cases
from bursar.billing.letters import CASE, REFUND
from bursar.db import Database
from bursar.entrypoints import sending, sending_mail
from bursar.messages import outbox, smtp
from bursar.messages.mail import address_of
from bursar.messages.outbox import DeliveryFailed
from bursar.messages.smtp import Envelope, Relay
from bursar.wiring import opened
from letter_box import NOW, Box, Post, contexts, letter_box, mail_settings, posting, refunded
from worlds import SECRET_KEY, WEBHOOK_SECRET, eventually, free_port, serving

pytestmark = pytest.mark.timeout(120)

ENVELOPE = Envelope("shop@acme.example", "ada@example.com", b"Subject: Hi\r\n\r\n.one\r\n..\r\n")


@pytest.fixture
async def post(database_url: str) -> AsyncIterator[Post]:
    async with letter_box(slow_seconds=0.05) as box, posting(database_url, box) as post:
        yield post


async def always() -> bool:
    return True


async def ends(post: Post, tries: int = 3) -> list[str]:
    """The states of all refund letters after so many tries."""
    for _ in range(tries):
        await post.make_due()
        await post.send()
    return [one.state for one in reversed(await post.messages()) if one.destination == REFUND]


async def test_a_letter_arrives_once_as_plain_text_and_html(post: Post) -> None:
    await post.owe("ada@example.com", "Ada Lovelace")
    assert await ends(post) == ["sent"]
    [letter], [message] = post.box.letters, post.box.messages
    assert letter.sender == "billing@acme.example"
    assert letter.recipients == ("ada@example.com",)
    assert message["From"] == "Acme Tools <billing@acme.example>"
    assert message["To"] == "Ada Lovelace <ada@example.com>"
    assert message["Subject"] == "[Test] Your refund from Acme Tools: $2.50"
    assert message["Auto-Submitted"] == "auto-generated"
    plain, html = message.get_body(("plain",)), message.get_body(("html",))
    assert plain is not None
    assert html is not None
    for part, mark in ((plain.get_content(), "TEST MODE"), (html.get_content(), "Test mode")):
        assert "$2.50 of the $10.00" in " ".join(part.split())
        assert "Hello Ada Lovelace," in part
        assert mark in part


async def test_an_event_told_twice_makes_one_letter(post: Post) -> None:
    await post.user("ada", "ada@example.com")
    event = refunded("ada")
    await asyncio.gather(*(post.tell(event) for _ in range(10)))
    assert len(await post.messages()) == 1


async def test_without_an_address_there_is_no_letter(post: Post) -> None:
    await post.owe(None)
    await post.tell(refunded("nobody-we-know", 99))
    assert await post.messages() == []


async def test_an_address_that_went_away_leaves_the_letter_dead(post: Post) -> None:
    await post.owe("ada@example.com")
    await post.user("user-1", None)
    assert await ends(post) == ["dead"]
    assert sent_to_buyers(post.box) == []


async def test_without_a_mail_server_no_letter_is_written(post: Post, database_url: str) -> None:
    async with opened(mail_settings("", database_url)) as wiring:
        await sending_mail.arrange(wiring)
        assert sending_mail.way(wiring) is None
        await Post(wiring, post.box).owe("ada@example.com")
    assert await post.messages() == []


@pytest.mark.parametrize("receipts", ["bursar", "provider"])
async def test_a_receipt_is_written_only_where_it_is_ours(database_url: str, receipts: str) -> None:
    paid = refunded("ada", refunded=0, status="completed")
    paid = outbox.Event("payment.completed", "ref:1000", 7, paid.data)
    async with letter_box() as box, posting(database_url, box, receipts=receipts) as post:
        await post.user("ada", "ada@example.com")
        await post.tell(paid)
        assert await post.send() == (1 if receipts == "bursar" else 0)
        subjects = [str(one["Subject"]) for one in box.messages]
        assert subjects == ["[Test] Your receipt from Acme Tools: $10.00"] * len(box.letters)


async def test_a_greylisted_letter_is_tried_again_and_arrives_once(post: Post) -> None:
    await post.owe("greylisted@example.com")
    await post.send()
    [waiting] = await post.messages()
    assert waiting.state == "failed"
    assert "451" in str(waiting.last_error)
    assert await ends(post) == ["sent"]
    assert len(post.box.letters) == 1


@pytest.mark.parametrize(("address", "code"), [("refused@a.example", 550), ("full@a.example", 552)])
async def test_a_letter_refused_for_good_is_dead_and_a_case(
    post: Post, address: str, code: int
) -> None:
    await post.owe(address)
    assert await post.send() == 1
    [dead] = [one for one in await post.messages() if one.destination == REFUND]
    assert dead.state == "dead"
    assert str(code) in str(dead.last_error)
    assert [str(code) in summary for summary in await post.cases()] == [True]
    assert await ends(post) == ["dead"]


async def test_the_operator_is_told_of_a_dead_letter(post: Post) -> None:
    await post.owe("refused@example.com")
    assert await ends(post) == ["dead"]
    [message] = post.box.messages
    assert message["To"] == "operator@acme.example"
    assert "Something could not be worked off" in message["Subject"]


async def test_a_letter_about_a_case_that_dies_makes_no_further_letter(database_url: str) -> None:
    async with (
        letter_box() as box,
        posting(database_url, box, operator_email="refused@acme.example") as post,
    ):
        await post.owe("refused@example.com")
        assert await ends(post, tries=5) == ["dead"]
        assert Counter(one.destination for one in await post.messages()) == {REFUND: 1, CASE: 1}
        assert len(await post.cases()) == 2


@pytest.mark.parametrize("trick", ["hangs-up-before", "hangs-up-inside"])
async def test_a_line_cut_before_the_end_of_a_letter_loses_and_doubles_nothing(
    post: Post, trick: str
) -> None:
    await post.owe(f"{trick}@example.com")
    [state] = await ends(post)
    assert (state, len(sent_to_buyers(post.box))) == ("sent", 1)


async def test_a_line_cut_after_the_letter_is_never_tried_again(post: Post) -> None:
    await post.owe("hangs-up-after@example.com")
    assert await ends(post) == ["dead"]
    assert len(sent_to_buyers(post.box)) == 1
    [summary] = await post.cases()
    assert smtp.UNKNOWN in summary


def sent_to_buyers(box: Box) -> list[str]:
    return [one.recipients[0] for one in box.letters if "operator" not in one.recipients[0]]


async def test_a_person_may_send_a_dead_letter_again(post: Post) -> None:
    await post.owe("hangs-up-after@example.com")
    assert await ends(post) == ["dead"]
    first = (await post.messages())[-1]
    async with post.db.transaction() as conn:
        assert await outbox.retry(conn, [first.id]) == 1
    assert await ends(post) == ["sent"]
    keys = [message["Message-ID"] for message in post.box.messages]
    assert len([key for key in keys if f".{first.id}@" in key]) == 2
    assert len(set(keys)) == len(keys) - 1


async def test_a_slow_server_gets_its_letter(post: Post) -> None:
    await post.owe("slow@example.com")
    assert await ends(post, 1) == ["sent"]


async def test_a_server_that_is_too_slow_is_left_and_asked_again(
    post: Post, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(smtp, "LETTER_SECONDS", 0.3)
    post.box.server.slow_seconds = 30
    await post.owe("slow@example.com")
    assert await ends(post, 1) == ["failed"]
    monkeypatch.undo()
    post.box.server.slow_seconds = 0
    assert await ends(post, 1) == ["sent"]
    assert len(post.box.letters) == 1


async def test_a_server_that_never_answers_a_letter_leaves_it_dead(
    post: Post, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(smtp, "END_SECONDS", 0.5)
    async with silent_after_letter() as port:
        settings = mail_settings(
            f"smtp://127.0.0.1:{port}", post.wiring.settings.database_url or ""
        )
        async with opened(settings) as wiring:
            other = Post(wiring, post.box)
            await other.owe("ada@example.com")
            assert await ends(other, 2) == ["dead"]
    assert "TimeoutError" in str((await post.messages())[-1].last_error)


class silent_after_letter:  # noqa: N801 - used as a function
    """A server that takes a letter and then says nothing."""

    async def __aenter__(self) -> int:
        self._server = await asyncio.start_server(self._talk, "127.0.0.1", 0)
        return int(self._server.sockets[0].getsockname()[1])

    async def __aexit__(self, *error: object) -> None:
        self._server.close()

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 hi\r\n")
        while line := await reader.readline():
            if line.startswith(b"DATA"):
                writer.write(b"354 go\r\n")
                break
            writer.write(b"250 fine\r\n")
        await reader.read()
        writer.close()


async def test_nobody_answers_and_the_letter_waits(post: Post) -> None:
    await post.box.server.close()
    await post.owe("ada@example.com")
    assert await ends(post, 2) == ["failed"]


async def test_two_senders_never_send_one_letter_twice(post: Post) -> None:
    for number in range(24):
        await post.owe(f"buyer{number}@example.com")
    way, stop = sending_mail.way(post.wiring), asyncio.Event()
    assert way is not None
    senders = [asyncio.create_task(sending.run(post.wiring, way, stop=stop)) for _ in range(3)]

    async def all_sent() -> bool:
        return {one.state for one in await post.messages()} == {"sent"}

    await eventually(all_sent)
    stop.set()
    await asyncio.gather(*senders)
    assert Counter(sent_to_buyers(post.box)) == {f"buyer{n}@example.com": 1 for n in range(24)}


@pytest.mark.parametrize(
    ("crash_at", "state", "arrived"),
    [
        ("send.before_delivery", "sent", 1),
        ("mail.handed_over", "dead", 0),
        ("send.after_delivery", "dead", 1),
    ],
)
async def test_a_sender_killed_at_any_point_doubles_no_letter(
    database_url: str, crash_at: str, state: str, arrived: int
) -> None:
    async with letter_box() as box, posting(database_url, box) as post:
        await post.owe("ada@example.com")
        settings = config.read(
            None,
            database_url=database_url,
            port=free_port(),
            stripe_api_base="http://127.0.0.1:9",
            stripe_secret_key=SECRET_KEY,
            stripe_webhook_secrets=(WEBHOOK_SECRET,),
        )
        mail = {
            "BURSAR_SMTP_URL": box.url,
            "BURSAR_MAIL_FROM": "billing@acme.example",
            "BURSAR_SANDBOX": "",
        }

        def run(crash: str) -> int | None:
            with serving(settings, crash_at=crash, **mail) as process:
                return process.wait(30) if crash else None

        try:
            code = await asyncio.to_thread(run, crash_at)
        except AssertionError as ended:
            # It may die before it answers that it is ready.
            assert "-9" in str(ended)  # noqa: PT017
        else:
            assert code == -9

        assert await ends(post) == [state]
        assert len(sent_to_buyers(box)) == arrived


@pytest.mark.parametrize(
    "name",
    [
        "Ada\r\nBcc: eve@example.com",
        "Łukasz Żółć 🦊",
        '"; DROP',
        "<b>Ada</b>",
        "Smith, John (Sales)",
        "ä" * 200,
        "A" * 200,
        "\N{RIGHT-TO-LEFT OVERRIDE}Ada",
    ],
)
async def test_no_name_adds_a_header_or_loses_the_letter(post: Post, name: str) -> None:
    async with post.db.transaction() as conn:
        await post.user("ada", "ada@example.com")
        await conn.execute("update users set name = $1 where id = 'ada'", name)
    await post.tell(refunded("ada"))
    assert await ends(post, 1) == ["sent"]
    [letter], [message] = post.box.letters, post.box.messages
    assert letter.recipients == ("ada@example.com",)
    assert "Bcc" not in message
    addresses = message["To"].addresses
    assert [one.addr_spec for one in addresses] == ["ada@example.com"]
    # Python's own reader of addresses puts a space where a long name was folded.
    told, meant = addresses[0].display_name, name[:200]
    assert "".join(told.split()) == "".join(meant.split())
    html = message.get_body(("html",))
    assert html is not None
    assert "<b>Ada" not in html.get_content()


async def test_a_domain_of_other_letters_goes_by_its_ascii_name(post: Post) -> None:
    await post.owe("ada@bücher.example")
    assert await ends(post, 1) == ["sent"]
    assert post.box.letters[0].recipients == ("ada@xn--bcher-kva.example",)


async def test_a_local_part_of_other_letters_goes_as_utf8(post: Post) -> None:
    await post.owe("żółć@example.com")
    assert await ends(post, 1) == ["sent"]
    assert post.box.letters[0].recipients == ("żółć@example.com",)


@pytest.mark.parametrize("email", ["ada@exa mple", "@x", "a\r\nRCPT@x.example", "a@-"])
async def test_what_is_no_address_is_refused(email: str) -> None:
    with pytest.raises(ValueError, match=r"address|domain|parts"):
        address_of(email, "Ada")


async def test_dots_in_a_letter_stay_as_they_were() -> None:
    async with letter_box() as box:
        relay = Relay("127.0.0.1", box.port, "off")
        await smtp.hand_over(relay, ENVELOPE, ready=always)
    assert box.letters[0].data == ENVELOPE.data


@pytest.mark.parametrize("password", ["pass:w/ord", "wrong"])
async def test_a_password_goes_only_under_tls(password: str) -> None:
    ours, trust = contexts()
    async with letter_box(tls=ours, password=("shop", "pass:w/ord")) as box:
        relay = Relay("localhost", box.port, "starttls", "shop", password)
        if password == "wrong":
            with pytest.raises(DeliveryFailed, match="535") as refused:
                await smtp.hand_over(relay, ENVELOPE, ready=always, trust=trust)
            assert not refused.value.dead
        else:
            await smtp.hand_over(relay, ENVELOPE, ready=always, trust=trust)
        assert len(box.letters) == (0 if password == "wrong" else 1)


async def test_no_letter_goes_to_a_server_that_offers_no_tls_or_that_nobody_vouches_for() -> None:
    ours, _ = contexts()
    async with letter_box() as plain, letter_box(tls=ours) as unknown:
        for box, match in ((plain, "STARTTLS"), (unknown, "CERTIFICATE_VERIFY_FAILED")):
            relay = Relay("localhost", box.port, "starttls")
            with pytest.raises(DeliveryFailed, match=match):
                await smtp.hand_over(relay, ENVELOPE, ready=always)
            assert box.letters == []


@pytest.mark.parametrize("words", [b"250 injected\r\n", b"220 go\r\n250-x\r\n250 AUTH PLAIN\r\n"])
async def test_words_put_in_before_tls_count_for_nothing(words: bytes) -> None:
    said: list[bytes] = []

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 hi\r\n")
        said.append(await reader.readline())
        writer.write(b"250-x\r\n250 STARTTLS\r\n")
        said.append(await reader.readline())
        writer.write(b"220 go\r\n" + words)
        said.append(await reader.read(200))
        writer.close()

    server = await asyncio.start_server(talk, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        relay = Relay("localhost", port, "starttls", "shop", "secret")
        with pytest.raises(DeliveryFailed, match="before encryption"):
            await smtp.hand_over(relay, ENVELOPE, ready=always)
    assert base64.b64encode(b"\0shop\0secret") not in b"".join(said)


@pytest.mark.parametrize(
    ("url", "relay"),
    [
        ("smtp://127.0.0.1:25", Relay("127.0.0.1", 25, "off")),
        ("smtp://u%40x:p%2Fw@mail.example", Relay("mail.example", 587, "starttls", "u@x", "p/w")),
        ("smtps://mail.example", Relay("mail.example", 465, "implicit")),
        ("smtp://relay:25?tls=off", Relay("relay", 25, "off")),
    ],
)
def test_an_address_of_a_mail_server_is_read(url: str, relay: Relay) -> None:
    assert smtp.read_url(url) == relay


@pytest.mark.parametrize(
    "fields",
    [
        {"smtp_url": "http://mail.example"},
        {"smtp_url": "smtps://mail.example?tls=off"},
        {"smtp_url": "smtp://mail.example", "mail_from": ""},
        {"smtp_url": "smtp://mail.example", "mail_from": "no address"},
        {"smtp_url": "smtp://mail.example", "operator_email": "nobody"},
    ],
)
def test_wrong_settings_of_mail_are_told_by_name(fields: dict[str, str]) -> None:
    given = mail_settings("smtp://127.0.0.1", "postgresql://x/y").model_copy(update=fields)
    with pytest.raises(errors.Misconfigured, match=r"BURSAR_(SMTP_URL|MAIL_FROM|OPERATOR_EMAIL)"):
        sending_mail.read_post(given)


async def test_a_case_opened_again_is_told_again(db: Database, post: Post) -> None:
    opening = cases.Opening(kind="dead", reference="timer:x", summary="It <b>failed</b>.")
    for number in range(2):
        async with post.db.transaction() as conn:
            for _ in range(2):
                await cases.open_cases(conn, [opening], at=NOW.replace(hour=number))
            await conn.execute("update cases set state = 'resolved'")
    await post.send()
    assert len(post.box.letters) == 2
    html = post.box.messages[0].get_body(("html",))
    assert html is not None
    assert "It &lt;b&gt;failed&lt;/b&gt;." in html.get_content()
