"""The mailbox: a mail server to Python's own client, and pages on which no letter can do harm."""

from __future__ import annotations

import json
import signal
import smtplib
import socket
import tempfile
from collections.abc import Iterator
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import httpx2
import pytest
from playwright.sync_api import Page, expect, sync_playwright

from bursar.entrypoints.letters import buyers, rendering
from bursar.entrypoints.letters.letter import Matter
from bursar.entrypoints.letters.rendering import Letterhead
from bursar_sandbox.running import Sandbox
from e2e.test_demo import Demo, wait_for
from e2e.test_pages_look import ARGUMENTS, FAINT
from letter_box import NOW

pytestmark = [pytest.mark.timeout(120)]

WIDTHS = (320, 375, 1280)
EVIL = """<h1>Hi</h1><script>parent.document.title = "taken"; document.title = "run"</script>
<img src="http://127.0.0.1:PORT/pixel" onerror="top.location = 'http://127.0.0.1:PORT/'">
<form action="http://127.0.0.1:PORT/"><button>Send</button></form>"""


@pytest.fixture(scope="module")
def box() -> Iterator[Sandbox]:
    """A sandbox of its own, that keeps letters."""
    with Sandbox() as running:
        yield running


def smtp_of(box: Sandbox) -> tuple[str, int]:
    host, _, port = shown(box)["smtp"].removeprefix("smtp://").partition(":")
    return host, int(port)


def shown(box: Sandbox) -> dict[str, Any]:
    answer = httpx2.get(f"{box.base_url}/_sandbox/mail", headers={"accept": "application/json"})
    found: dict[str, Any] = json.loads(answer.text)
    return found


def letter(
    subject: str, html: str, text: str = "Plain words.", to: str = "ada@x.example"
) -> EmailMessage:
    message = EmailMessage()
    message["From"], message["To"], message["Subject"] = "shop@x.example", to, subject
    message.set_content(text)
    message.add_alternative(html, subtype="html")
    return message


def receipt() -> rendering.Rendered:
    """A real letter of ours."""
    matter = Matter(
        topic="payment.completed",
        data={"id": 42, "captured": 1234500, "currency": "usd"},
        created_at=NOW,
        shop="Acme Tools",
        own_url="http://127.0.0.1:8000",
        name="Ada Lovelace",
        item="Enterprise",
        credits="33,000 Pages",
    )
    head = Letterhead("Acme Tools", "#0b6477", "#ffffff", test=True)
    return rendering.render(buyers.receipt(matter), head)


@pytest.fixture(scope="module")
def page(box: Sandbox) -> Iterator[Page]:
    ours = receipt()
    with smtplib.SMTP(*smtp_of(box)) as client:
        client.send_message(letter(ours.subject, ours.html, ours.text))
    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path="/usr/bin/chromium", args=ARGUMENTS)
        yield browser.new_page()
        browser.close()


def test_pythons_own_client_is_served(box: Sandbox) -> None:
    dotted = "A line.\n.A dot.\n..Two.\n.\nThe end."
    with smtplib.SMTP(*smtp_of(box)) as client:
        assert client.ehlo()[0] == 250
        assert client.has_extn("smtputf8")
        assert client.has_extn("8bitmime")
        message = letter("Dots", "<p>x</p>", dotted)
        client.send_message(message)
        with pytest.raises(smtplib.SMTPRecipientsRefused):
            client.sendmail("a@x.example", ["refused@x.example"], "Subject: no\n\nno")
        assert client.rset()[0] == 250
        with pytest.raises(smtplib.SMTPResponseException):
            client.sendmail("a@x.example", ["full@x.example"], "Subject: no\n\nno")
    newest = shown(box)["data"][0]
    assert newest["subject"] == "Dots"
    assert newest["recipients"] == ["ada@x.example"]
    assert newest["text"].rstrip("\n") == dotted
    source = httpx2.get(f"{box.base_url}/_sandbox/mail/{newest['id']}/source")
    assert "Subject: Dots" in source.text


def test_the_box_forgets_with_the_sandbox(box: Sandbox) -> None:
    with Sandbox() as other:
        with smtplib.SMTP(*smtp_of(other)) as client:
            client.sendmail("a@x.example", ["b@x.example"], "Subject: x\n\nx")
        assert len(shown(other)["data"]) == 1
        httpx2.post(f"{other.base_url}/_sandbox/reset")
        assert shown(other)["data"] == []


@pytest.mark.parametrize("path", ["999999", "x", "1" * 40, "999999/html", "x/source"])
def test_a_letter_that_is_not_there_is_a_404(box: Sandbox, path: str) -> None:
    assert httpx2.get(f"{box.base_url}/_sandbox/mail/{path}").status_code == 404


@pytest.mark.browser
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", WIDTHS)
def test_letters_can_be_read_at_any_width(
    box: Sandbox, page: Page, width: int, scheme: str
) -> None:
    page.set_viewport_size({"width": width, "height": 900})
    page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
    page.goto(f"{box.base_url}/_sandbox/mail")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.evaluate(FAINT) == []
    page.get_by_role("link", name="Your receipt from Acme Tools: $12,345.00").click()
    expect(page.get_by_role("heading", name="As plain text")).to_be_visible()
    page.wait_for_load_state("load")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.evaluate(FAINT) == []
    frame = page.frame_locator("iframe")
    expect(frame.get_by_role("heading", name="Thank you for your payment")).to_be_visible()
    expect(frame.get_by_text("33,000 Pages")).to_be_visible()
    # The letter alone, where a mail program would show it.
    page.goto(page.url + "/html")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.evaluate(FAINT) == []


@pytest.mark.browser
def test_a_letter_of_anybody_can_run_and_fetch_nothing(box: Sandbox, page: Page) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        html = EVIL.replace("PORT", str(listening.getsockname()[1]))
        with smtplib.SMTP(*smtp_of(box)) as client:
            client.send_message(letter("Evil", html))
        page.goto(f"{box.base_url}/_sandbox/mail")
        page.get_by_role("link", name="Evil").click()
        expect(page.frame_locator("iframe").get_by_role("heading", name="Hi")).to_be_visible()
        assert page.title() == "[Test] Evil"
        page.goto(page.url + "/html")
        assert page.title() == ""
        page.get_by_role("button", name="Send").click()
        expect(page.get_by_role("heading", name="Hi")).to_be_visible()
        listening.setblocking(False)
        with pytest.raises(BlockingIOError):
            listening.accept()


@pytest.fixture
def demo() -> Iterator[Demo]:
    # Not pytest's own folder, which other users can't enter: as root PostgreSQL runs as one.
    with tempfile.TemporaryDirectory(prefix="bursar-mail-") as folder:
        Path(folder).chmod(0o711)
        made = Demo(Path(folder) / "home")
        yield made
        if made.process is not None and made.process.poll() is None:
            made.end(signal.SIGTERM)


def test_the_demo_sends_its_letters_to_its_mailbox(demo: Demo) -> None:
    facts = demo.start()
    kept = json.loads((demo.home / "demo-kept.json").read_text())
    opened = httpx2.post(
        f"{facts['server']}/api/stripe/checkout-session",
        json={"package": "starter"},
        headers={"Authorization": f"Bearer {facts['user_key']}", "Idempotency-Key": "one"},
        timeout=30,
    )
    session = opened.json()["session_id"]
    with httpx2.Client(
        base_url=facts["stripe"], headers={"Authorization": f"Bearer {kept['secret_key']}"}
    ) as provider:
        method = provider.post(
            "/v1/payment_methods", data={"type": "card", "card[token]": "tok_visa"}
        ).json()["id"]
        page = f"/v1/payment_pages/{session}/confirm"
        assert provider.post(page, data={"payment_method": method}).status_code == 200

        def letters() -> list[dict[str, Any]]:
            box = provider.get("/_sandbox/mail", headers={"accept": "application/json"})
            found: list[dict[str, Any]] = box.json()["data"]
            return found

        wait_for(lambda: bool(letters()), 30)
        [letter] = letters()
    assert letter["recipients"] == ["ada@example.com"]
    assert letter["subject"] == "[Test] Your receipt from Acme Tools: $5.00"
