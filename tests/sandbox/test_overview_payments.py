"""The payments on the sandbox's own page: what its buttons do at the provider's dashboard."""

from __future__ import annotations

import html
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from playwright.sync_api import Page, sync_playwright

from bursar_sandbox.running import Sandbox
from stripe_shop import card, confirm_page, open_session, pay_intent

FLAGS = ["--no-sandbox", "--disable-gpu", "--no-first-run"]
pytestmark = pytest.mark.timeout(60)


@pytest.fixture
def sandbox(start: Callable[..., Sandbox]) -> Sandbox:
    return start()


@pytest.fixture
def client(sandbox: Sandbox, client_for: Callable[[Sandbox], Any]) -> Any:
    return client_for(sandbox)


@pytest.fixture
def v1(client: Any) -> Any:
    return client.v1


def page(sandbox: Sandbox) -> str:
    answer = httpx.get(f"{sandbox.base_url}/_sandbox/")
    assert answer.status_code == 200
    return html.unescape(answer.text)


def press(sandbox: Sandbox, charge_id: str, do: str, **fields: str) -> httpx.Response:
    url = f"{sandbox.base_url}/_sandbox/payments/{charge_id}"
    return httpx.post(url, data={"do": do, **fields})


def dispute_of(v1: Any, charge_id: str) -> Any:
    return v1.disputes.list({"charge": charge_id}).data[0]


def test_payment_is_disputed_and_decided(sandbox: Sandbox, v1: Any) -> None:
    charge = pay_intent(v1).latest_charge
    answer = press(sandbox, charge, "dispute", reason="product_not_received")
    assert (answer.status_code, answer.headers["location"]) == (303, "/_sandbox/#payments")
    dispute = dispute_of(v1, charge)
    assert (dispute.reason, dispute.status) == ("product_not_received", "needs_response")
    assert "Disputed" in page(sandbox)
    assert "$20.00, product not received" in page(sandbox)
    assert press(sandbox, charge, "won").status_code == 303
    assert dispute_of(v1, charge).status == "won"
    refused = press(sandbox, charge, "lost")
    assert refused.status_code == 400
    assert "already closed" in refused.text


def test_inquiry_is_opened_and_escalated(sandbox: Sandbox, v1: Any) -> None:
    charge = pay_intent(v1).latest_charge
    press(sandbox, charge, "dispute", reason="inquiry")
    assert dispute_of(v1, charge).status == "warning_needs_response"
    assert "Escalate" in page(sandbox)
    press(sandbox, charge, "escalated")
    assert dispute_of(v1, charge).status == "needs_response"
    press(sandbox, charge, "lost")
    assert dispute_of(v1, charge).status == "lost"
    assert f"Why {charge} is disputed" not in page(sandbox)


def test_held_order_is_captured_in_part(sandbox: Sandbox, client: Any) -> None:
    v1 = client.v1
    session = open_session(v1, payment_intent_data={"capture_method": "manual"})
    confirm_page(client, session, card(v1))
    intent_id = v1.checkout.sessions.retrieve(session.id).payment_intent
    charge = v1.payment_intents.retrieve(intent_id).latest_charge
    for wrong in ("", "x", "0", "-1", "1.005", "NaN", "1e999", "30.01"):
        assert press(sandbox, charge, "capture", amount=wrong).status_code == 400
    assert press(sandbox, charge, "capture", amount="12.50").status_code == 303
    intent = v1.payment_intents.retrieve(intent_id)
    assert (intent.status, intent.amount_received) == ("succeeded", 1250)
    assert v1.checkout.sessions.retrieve(session.id).payment_status == "paid"
    assert "$12.50 taken" in page(sandbox)
    assert press(sandbox, charge, "capture", amount="1.00").status_code == 400


def test_held_order_is_let_go(sandbox: Sandbox, v1: Any) -> None:
    intent = pay_intent(v1, capture_method="manual", currency="jpy", payment_method_types=["card"])
    assert 'value="2000"' in page(sandbox)
    assert press(sandbox, intent.latest_charge, "cancel").status_code == 303
    intent = v1.payment_intents.retrieve(intent.id)
    assert (intent.status, intent.cancellation_reason) == ("canceled", "requested_by_customer")
    assert "Let go" in page(sandbox)


def test_wrong_button_or_payment_does_nothing(sandbox: Sandbox, v1: Any) -> None:
    charge = pay_intent(v1).latest_charge
    assert press(sandbox, charge, "explode").status_code == 400
    assert press(sandbox, charge, "dispute", reason="mood").status_code == 400
    assert press(sandbox, charge, "won").status_code == 400
    assert press(sandbox, "ch_none", "dispute", reason="general").status_code == 400
    stranger = httpx.post(
        f"{sandbox.base_url}/_sandbox/payments/{charge}",
        data={"do": "dispute", "reason": "general"},
        headers={"Origin": "https://elsewhere.example"},
    )
    assert stranger.status_code == 403
    assert v1.disputes.list().data == []


def click(view: Page, name: str) -> None:
    view.get_by_role("button", name=name).first.click()
    view.wait_for_load_state()


@pytest.mark.browser
def test_buttons_work_in_a_browser_and_fit_the_screen(sandbox: Sandbox, v1: Any) -> None:
    paid, held = pay_intent(v1), pay_intent(v1, capture_method="manual")
    complaints: list[str] = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=FLAGS)
        view = browser.new_page(viewport={"width": 320, "height": 800})
        view.on("console", lambda line: complaints.append(line.text))
        view.goto(f"{sandbox.base_url}/_sandbox/")
        assert view.evaluate("document.documentElement.scrollWidth <= innerWidth")
        view.get_by_label("Amount to capture, in USD").fill("7.50")
        click(view, f"Capture of $20.00, {held.latest_charge}")
        view.get_by_label(f"Why {paid.latest_charge} is disputed").select_option("Duplicate")
        click(view, f"Dispute $20.00, {paid.latest_charge}")
        click(view, f"Decide: lost {paid.latest_charge}")
        assert view.get_by_text("Dispute lost").is_visible()
        browser.close()
    assert complaints == []
    assert v1.payment_intents.retrieve(held.id).amount_received == 750
    assert dispute_of(v1, paid.latest_charge).reason == "duplicate"
