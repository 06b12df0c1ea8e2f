"""The sandbox's own page: what it shows, and that its forms do what they say."""

from __future__ import annotations

import html
import re
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
from playwright.sync_api import expect, sync_playwright

from bursar_sandbox import control_client
from bursar_sandbox.running import Sandbox
from stripe_receiver import Receiver

FLAGS = ["--no-sandbox", "--disable-gpu", "--no-first-run"]


@pytest.fixture
def sandbox(start: Callable[..., Sandbox], receiver: Receiver) -> Iterator[Sandbox]:
    options: dict[str, Any] = {"webhook": (receiver.url, receiver.secret), "retry_seconds": [600]}
    return start(**options)


def page(sandbox: Sandbox) -> str:
    answer = httpx.get(f"{sandbox.base_url}/_sandbox/")
    assert answer.status_code == 200
    # Long types may be broken at places that the text itself does not have.
    return html.unescape(answer.text).replace("<wbr>", "")


def submit(sandbox: Sandbox, path: str, **fields: str) -> httpx.Response:
    return httpx.post(f"{sandbox.base_url}/_sandbox/{path}", data=fields)


def test_empty_sandbox_says_how_to_fill_it(start: Callable[..., Sandbox]) -> None:
    told = page(start())
    for words in ("No deliveries.", "No events.", "No objects.", "Everything goes as it should"):
        assert words in told


def test_page_shows_objects_events_and_deliveries(sandbox: Sandbox, receiver: Receiver) -> None:
    receiver.answers = [500]
    event = control_client.trigger(sandbox.base_url, "charge.refunded")
    receiver.wait_for(lambda one: len(one.events) >= 5)
    told = page(sandbox)
    for words in ("charge.refunded", "Delivered", "Retrying", "answered 500", receiver.url):
        assert words in told
    assert f'href="/_sandbox/objects/{event["id"]}"' in told
    for kind in ("charge", "event", "payment_intent", "refund", "webhook_endpoint"):
        assert f'<th scope="row">{kind}<' in told
    shown = httpx.get(f"{sandbox.base_url}/_sandbox/objects/{event['id']}").json()
    assert shown["type"] == "charge.refunded"
    assert httpx.get(f"{sandbox.base_url}/_sandbox/objects/evt_none").status_code == 404


def test_names_are_text_and_never_markup(sandbox: Sandbox) -> None:
    fields = {"url": "http://127.0.0.1:1/<script>alert(1)</script>", "enabled_events[0]": "*"}
    httpx.post(
        f"{sandbox.base_url}/v1/webhook_endpoints", data=fields, auth=("sk_test_overview", "")
    )
    control_client.trigger(sandbox.base_url, "customer.created")
    raw = httpx.get(f"{sandbox.base_url}/_sandbox/").text
    assert "<script>alert" not in raw


def test_resend_button_sends_again(sandbox: Sandbox, receiver: Receiver) -> None:
    control_client.set_faults(sandbox.base_url, drop=1)
    control_client.trigger(sandbox.base_url, "customer.created")
    told = page(sandbox)
    assert "Dropped" in told
    (number,) = re.findall(r'name="delivery" value="(\d+)"', told)
    answer = submit(sandbox, "resend", delivery=number)
    assert (answer.status_code, answer.headers["location"]) == (303, "/_sandbox/#deliveries")
    receiver.wait_for(lambda one: len(one.events) == 1)
    for wrong in ("999999", "", "x"):
        assert submit(sandbox, "resend", delivery=wrong).status_code == 400


def test_clock_form_moves_the_clock(sandbox: Sandbox) -> None:
    before = control_client.now(sandbox.base_url)
    assert submit(sandbox, "advance", amount="31", unit="days").status_code == 303
    assert control_client.now(sandbox.base_url) >= before + 31 * 86_400
    assert "31 days" in page(sandbox)
    for amount, unit in (("-1", "days"), ("1", "years"), ("", "days"), ("9" * 8, "days")):
        refused = submit(sandbox, "advance", amount=amount, unit=unit)
        assert refused.status_code == 400
        assert "whole number" in refused.text


def test_faults_are_shown_and_stopped(sandbox: Sandbox) -> None:
    control_client.set_faults(sandbox.base_url, seed=7, api_500=0.25, routes=["/v1/refunds"])
    told = page(sandbox)
    for name, value in (("seed", "7"), ("api_500", "0.25"), ("routes", "/v1/refunds")):
        assert f'<code>{name}</code></dt><dd class="figure">{value}</dd>' in told
    assert submit(sandbox, "mend").status_code == 303
    assert control_client.faults(sandbox.base_url)["faults"] is None


def test_form_of_another_site_does_nothing(sandbox: Sandbox) -> None:
    before = control_client.now(sandbox.base_url)
    answer = httpx.post(
        f"{sandbox.base_url}/_sandbox/advance",
        data={"amount": "31", "unit": "days"},
        headers={"Origin": "https://elsewhere.example"},
    )
    assert answer.status_code == 403
    assert control_client.now(sandbox.base_url) < before + 86_400


@pytest.mark.browser
def test_page_fits_the_screen_and_works(sandbox: Sandbox, receiver: Receiver) -> None:
    control_client.trigger(sandbox.base_url, "checkout.session.completed")
    receiver.wait_for_type("checkout.session.completed")
    arrived = len(receiver.events)
    complaints: list[str] = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=FLAGS)
        for width in (320, 375, 1280):
            view = browser.new_page(viewport={"width": width, "height": 800})
            view.on("console", lambda line: complaints.append(line.text))
            view.goto(f"{sandbox.base_url}/_sandbox/")
            assert view.evaluate("document.documentElement.scrollWidth <= innerWidth")
        view.get_by_role("button", name="Resend checkout.session.completed").first.click()
        receiver.wait_for(lambda one: len(one.events) == arrived + 1)
        view.get_by_label("Advance by").fill("2")
        view.get_by_role("button", name="Advance").click()
        expect(view.get_by_text("2 days ahead of real time")).to_be_visible()
        browser.close()
    assert complaints == []
