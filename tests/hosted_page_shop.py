"""A shop for the tests of the hosted page: sells through the sandbox, hears webhooks, greets.

Owns a tiny HTTP server and the calls a shop makes. It never looks into the sandbox's store.
"""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urljoin

import httpx
from stripe import StripeClient

FORM = {
    "email": "ada@lovelace.example",
    "card_number": "4242 4242 4242 4242",
    "expiry": "12 / 34",
    "security_code": "123",
    "name": "Ada Lovelace",
    "country": "GB",
    "postal_code": "SW1A 1AA",
}


class Shop:
    """What the shop has seen: `arrivals` in order, as `event <type>` or `buyer <path>`."""

    def __init__(self, sandbox_url: str, server: ThreadingHTTPServer) -> None:
        self.sandbox_url = sandbox_url
        self.url = f"http://127.0.0.1:{server.server_address[1]}"
        self.arrivals: list[str] = []
        self.webhook_delay_seconds = 0.0
        self.client = StripeClient("sk_test_hosted_page", base_addresses={"api": sandbox_url})

    @contextmanager
    def hearing_webhooks(self) -> Iterator[None]:
        """The shop's endpoint is registered for every event while the block runs."""
        params: Any = {"url": f"{self.url}/webhooks", "enabled_events": ["*"]}
        endpoint = self.client.v1.webhook_endpoints.create(params)
        yield
        self.client.v1.webhook_endpoints.delete(endpoint.id)

    def sell(self, **changes: Any) -> Any:
        """A session over two things for 45.00 dollars, changed as told."""
        price = {"currency": "usd", "unit_amount": 1500, "product_data": {"name": "Ink, black"}}
        other = {"currency": "usd", "unit_amount": 1500, "product_data": {"name": "Paper"}}
        params: Any = {
            "mode": "payment",
            "line_items": [
                {"price_data": price, "quantity": 2},
                {"price_data": other, "quantity": 1},
            ],
            "success_url": f"{self.url}/thanks?session={{CHECKOUT_SESSION_ID}}",
            "cancel_url": f"{self.url}/basket",
            **changes,
        }
        return self.client.v1.checkout.sessions.create(params)

    def session(self, session_id: str) -> Any:
        """The session as the API shows it now."""
        return self.client.v1.checkout.sessions.retrieve(session_id)

    def charges(self, session_id: str) -> list[Any]:
        """All charges, failed ones too, of the session's payment intent."""
        intent = self.session(session_id).payment_intent
        params: Any = {"payment_intent": intent}
        return list(self.client.v1.charges.list(params).data) if intent else []

    def latest_event_id(self) -> str:
        """The id of the newest event."""
        return self.client.v1.events.list({"limit": 1}).data[0].id

    def events_of(self, act: Callable[[], object]) -> list[str]:
        """The types of the events that `act` brings about, oldest first."""
        before = self.latest_event_id()
        act()
        return self.event_types_since(before)

    def event_types_since(self, event_id: str) -> list[str]:
        """The types of the events after that one, oldest first."""
        later = self.client.v1.events.list({"limit": 100, "ending_before": event_id}).data
        return [str(event.type) for event in later][::-1]


def post(url: str, **changes: str) -> httpx.Response:
    """Send the form without following the redirect, the fields changed as told."""
    return httpx.post(url, data={**FORM, **changes}, timeout=30)


BANK_ASKS = "4000 0027 6000 3184"


def at_bank(sold: Any, answer: str, number: str = BANK_ASKS) -> httpx.Response:
    """Pay with a card whose bank asks the buyer, and answer it; the bank's own answer."""
    sent = post(sold.url, card_number=number)
    assert sent.status_code == 303
    return answer_bank(urljoin(sold.url, sent.headers["location"]), answer)


def answer_bank(url: str, answer: str) -> httpx.Response:
    """Press a button of the bank's page."""
    page = httpx.get(url)
    method = re.search(r'name="method" value="(\w+)"', page.text)
    assert method is not None, page.text
    return httpx.post(url, data={"method": method[1], "answer": answer}, timeout=30)


def advance(sandbox_url: str, seconds: int) -> None:
    """Move the sandbox's clock."""
    answer = httpx.post(f"{sandbox_url}/_sandbox/clock", json={"advance": seconds})
    answer.raise_for_status()


@contextmanager
def open_shop(sandbox_url: str) -> Iterator[Shop]:
    """A shop that is open while the block runs."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            time.sleep(shop.webhook_delay_seconds)
            shop.arrivals.append(f"event {json.loads(body)['type']}")
            self._answer(200, "application/json", "{}")

        def do_GET(self) -> None:
            if self.path == "/favicon.ico":
                self._answer(200, "image/x-icon", "")
                return
            shop.arrivals.append(f"buyer {self.path}")
            self._answer(200, "text/html", "<!doctype html><title>Shop</title><h1>Thanks</h1>")

        def _answer(self, status: int, media_type: str, text: str) -> None:
            self.send_response(status)
            self.send_header("content-type", media_type)
            self.send_header("content-length", str(len(text)))
            self.end_headers()
            with suppress(ConnectionError):  # A browser may have left before it was answered.
                self.wfile.write(text.encode())

        def log_message(self, *_: object) -> None:
            """Stay silent: what arrived is in `arrivals`."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    shop = Shop(sandbox_url, server)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield shop
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
