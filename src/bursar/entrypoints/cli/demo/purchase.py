"""`bursar demo --once`: buys a pack with the test card, by HTTP alone, and shows what happened.

It is a host app and a buyer's browser seen from outside: API key, hosted page, form. It reads no
database.
"""

from __future__ import annotations

import re
import time
import uuid
from collections.abc import Callable
from html import unescape
from typing import Any
from urllib.parse import urljoin

import httpx2

from bursar import errors
from bursar.entrypoints.cli.demo.seeding import USER_EMAIL, USER_NAME
from bursar.entrypoints.cli.output import print_styled
from bursar.money import format_money

PACKAGE, UNIT = "starter", "page"
CARD = {
    "email": USER_EMAIL,
    "card_number": "4242 4242 4242 4242",
    "expiry": "12/40",
    "security_code": "123",
    "name": USER_NAME,
    "country": "US",
    "postal_code": "94107",
}
FORM = re.compile(r'<form method="post" action="([^"]+)" id="pay"')
ARRIVES_SECONDS = 30.0
POLL_SECONDS = 0.1
UNDER_WAY = ("(received)", "(processing)")


def buy(server: str, user_key: str, list_events: Callable[[], list[str]]) -> None:
    """Buy one pack and print each step; `list_events` names the received events, oldest first.

    Raises Unavailable when an answer is not what it must be, or the webhook does not arrive.
    """
    headers = {"Authorization": f"Bearer {user_key}"}
    with httpx2.Client(base_url=server, headers=headers, timeout=30) as api:
        before = _get(api, f"/user/balance?unit={UNIT}")["balance"]
        earlier = len(list_events())
        opened = _open_checkout(api)
        _pay(opened["url"])
        _step("paid on the hosted page", f"card {CARD['card_number']}, no real money")
        payment = _wait_for_payment(api, opened["payment_id"])
        for event in _worked_off(list_events, earlier):
            _step("webhook", event)
        _step(f"payment {payment['id']}", f"{payment['status']}, {payment['credits']} {UNIT}s")
        after = _get(api, f"/user/balance?unit={UNIT}")["balance"]
        _step("balance", f"{before} → {after} {UNIT}s")
        rows = _get(api, f"/user/transactions?unit={UNIT}&limit=5")["data"]
        for row in rows:
            _step("ledger", f"{row['amount']:+} {row['type']}, payment {row['payment_id']}")
    if after - before != payment["credits"]:
        raise errors.Unavailable(f"The balance went from {before} to {after}: that is not right.")


def _open_checkout(api: httpx2.Client) -> dict[str, Any]:
    answer = api.post(
        "/api/stripe/checkout-session",
        json={"package": PACKAGE},
        headers={"Idempotency-Key": str(uuid.uuid4())},
    )
    opened = _checked(answer)
    price = format_money(opened["amount"], opened["currency"])
    _step("checkout opened", f"pack {PACKAGE!r}, {price}")
    return opened


def _pay(url: str) -> None:
    """Fill the hosted page's form and send it; the page answers with the way back to the shop."""
    with httpx2.Client(timeout=30) as browser:
        page = browser.get(url)
        form = FORM.search(page.text)
        if page.status_code != 200 or form is None:
            raise errors.Unavailable(f"The hosted page answered {page.status_code} without a form.")
        answer = browser.post(urljoin(url, unescape(form[1])), data=CARD)
    if answer.status_code != 303:
        raise errors.Unavailable(f"The hosted page refused the card ({answer.status_code}).")


def _wait_for_payment(api: httpx2.Client, payment_id: int) -> dict[str, Any]:
    """The payment once a webhook has completed it."""
    end = time.monotonic() + ARRIVES_SECONDS
    while time.monotonic() < end:
        payment = _get(api, f"/api/payments/{payment_id}")
        if payment["status"] == "completed":
            return payment
        time.sleep(POLL_SECONDS)
    raise errors.Unavailable(
        f"Payment {payment_id} is not completed {ARRIVES_SECONDS:.0f} s after it was paid: did the "
        "webhook arrive? `bursar events list` shows what did."
    )


def _worked_off(list_events: Callable[[], list[str]], earlier: int) -> list[str]:
    """The events since the first `earlier`, once none of them is at work; the first one that comes
    may complete the payment before the others are done."""
    end = time.monotonic() + ARRIVES_SECONDS
    while True:
        events = list_events()[earlier:]
        if time.monotonic() > end or not any(e.endswith(UNDER_WAY) for e in events):
            return events
        time.sleep(POLL_SECONDS)


def _get(api: httpx2.Client, path: str) -> dict[str, Any]:
    return _checked(api.get(path))


def _checked(answer: httpx2.Response) -> dict[str, Any]:
    """The JSON of a good answer. Raises Unavailable with what the server said."""
    if answer.status_code != 200:
        raise errors.Unavailable(
            f"{answer.request.method} {answer.request.url} answered {answer.status_code}: "
            f"{answer.text[:500]}"
        )
    body: dict[str, Any] = answer.json()
    return body


def _step(what: str, detail: str) -> None:
    print_styled("  ", ("✓", "green"), f" {what}: ", (detail, "bold"))
