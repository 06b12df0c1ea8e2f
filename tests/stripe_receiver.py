"""A tiny webhook receiver: verifies with the official library and answers as it is told."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any

import stripe

SECRET = "whsec_the_receivers_own_secret"


class Receiver:
    """Collects the events that arrive; `answers` are the statuses of the next ones."""

    def __init__(self) -> None:
        self.events: list[Any] = []
        self.headers: list[dict[str, str]] = []
        self.raw: list[bytes] = []
        self.refused: list[str] = []
        self.answers: list[int] = []
        self.hold = threading.Event()
        self.hold.set()
        self._arrived = threading.Condition()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self.secret = SECRET
        self.url = f"http://127.0.0.1:{self._server.server_port}/hook"

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                raw = self.rfile.read(int(self.headers["Content-Length"]))
                receiver.hold.wait(20)
                status = receiver.take(raw, dict(self.headers))
                self.send_response(status)
                if 300 <= status < 400:
                    self.send_header("Location", receiver.url)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, format: str, *args: object) -> None:
                pass

        return Handler

    def take(self, raw: bytes, headers: dict[str, str]) -> int:
        """Note one webhook and say how to answer it."""
        with self._arrived:
            try:
                event = stripe.Webhook.construct_event(
                    raw, headers["Stripe-Signature"], self.secret
                )
            except stripe.SignatureVerificationError as error:
                self.refused.append(str(error))
                status = 400
            else:
                self.events.append(event)
                self.headers.append(headers)
                self.raw.append(raw)
                status = self.answers.pop(0) if self.answers else 200
            self._arrived.notify_all()
            return status

    @property
    def types(self) -> list[str]:
        """The types of the events so far, in their order."""
        return [event.type for event in self.events]

    def wait_for(self, condition: Callable[[Receiver], bool], seconds: float = 15) -> None:
        """Wait until the condition holds; raises AssertionError when it never does."""
        deadline = time.monotonic() + seconds
        with self._arrived:
            while not condition(self):
                left = deadline - time.monotonic()
                if left <= 0 or not self._arrived.wait(left):
                    if condition(self):
                        return
                    raise AssertionError(f"not in {seconds} s; arrived: {self.types}")

    def wait_for_type(self, kind: str) -> Any:
        """The first event of that type."""
        self.wait_for(lambda receiver: kind in receiver.types)
        return self.events[self.types.index(kind)]

    def __enter__(self) -> Receiver:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.hold.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
