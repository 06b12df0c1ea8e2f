"""The API's front door: one ASGI application for everything under `/v1/`.

Owns authentication, idempotency, the transaction around a call, and the shape of every answer.
Never knows a resource: those export routes.
"""

from __future__ import annotations

import asyncio
import traceback
from contextlib import suppress
from typing import Any

import orjson
from starlette.types import Message, Receive, Scope, Send

from bursar_sandbox import connections
from bursar_sandbox.recording import Recorder
from bursar_sandbox.store import Store, Transaction
from bursar_sandbox.stripe import auth, expand, forms, idempotency, test_clocks, timers
from bursar_sandbox.stripe.call import Call, Route
from bursar_sandbox.stripe.errors import StripeError
from bursar_sandbox.stripe.idempotency import Saved
from bursar_sandbox.stripe.ids import new_id
from bursar_sandbox.stripe.params import Params
from bursar_sandbox.stripe.version import API_VERSION

MAX_BODY = 1 << 20
# What validation refuses is not remembered: the caller may mend it and use the key again.
_NOT_SAVED = frozenset({400, 401, 404, 409, 429})


class Request:
    """What came in, before anybody knows whether it is good."""

    __slots__ = ("body", "by_browser", "fault", "headers", "id", "method", "path", "query")

    def __init__(self, scope: Scope) -> None:
        self.id = new_id("req", 14)
        self.method: str = scope["method"]
        self.path: str = scope["path"]
        self.query: bytes = scope["query_string"]
        self.headers: dict[bytes, str] = {
            name: value.decode("latin-1") for name, value in scope["headers"]
        }
        self.body = b""
        self.fault = ""
        self.by_browser = False

    @property
    def key(self) -> str | None:
        """The Idempotency-Key, which counts for POST alone."""
        return self.headers.get(b"idempotency-key") or None if self.method == "POST" else None

    @property
    def version(self) -> str | None:
        """The Stripe-Version that was asked for."""
        return self.headers.get(b"stripe-version")


class Answer:
    """What goes out."""

    __slots__ = ("body", "original", "status")

    def __init__(self, status: int, body: bytes, original: str | None = None) -> None:
        self.status = status
        self.body = body
        self.original = original


class Api:
    """Dispatches calls to the routes of the resources."""

    def __init__(
        self,
        store: Store,
        routes: list[Route],
        recorder: Recorder,
        public_url: str | None = None,
    ) -> None:
        self._public_url = public_url
        self._store = store
        self._recorder = recorder
        self._in_use: set[str] = set()
        self._tree: dict[str, Any] = {}
        for route in routes:
            node = self._tree
            for part in route.path.strip("/").split("/"):
                node = node.setdefault(part, {})
            node[_leaf(route.method, by_browser=route.by_browser)] = route

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope)
        if request.method == "OPTIONS":
            await _allow_browsers(send)
            return
        request.fault = self._store.faults.for_call(request.method, request.path)
        if request.fault == "api_timeout":
            await self._hang_up(scope, receive)
            return
        key = request.key
        if key is not None and key in self._in_use:
            await _read_body(receive)
            answer = _refusal(request, idempotency.in_use(key))
        else:
            if key is not None:
                self._in_use.add(key)
            try:
                answer = await self._answer(request, receive)
            finally:
                self._in_use.discard(key or "")
        if request.fault == "api_timeout_after":
            await self._hang_up(scope, receive)
            return
        if not request.by_browser:
            # Browsers get less than the schema of the whole objects asks for.
            self._recorder.response(request.method, request.path, answer.status, answer.body)
        await _send(send, request, answer)

    async def _answer(self, request: Request, receive: Receive) -> Answer:
        try:
            request.body = await _read_body(receive)
            if request.path.startswith("/v1/"):
                header = request.headers.get(b"authorization")
                request.by_browser = auth.check(header) == "publishable"
            if request.fault == "api_500":
                raise _OUT_OF_ORDER
            route, ids = self._find(request)
            if request.key is not None:
                idempotency.check_key(request.key)
            return self._run(request, route, ids)
        except StripeError as error:
            return _refusal(request, error)

    async def _hang_up(self, scope: Scope, receive: Receive) -> None:
        """Say nothing for a while, or until the caller has had enough, and close the connection."""
        faults = self._store.faults.faults
        with suppress(TimeoutError):
            async with asyncio.timeout(faults.timeout_seconds if faults else 0):
                while (await receive())["type"] != "http.disconnect":
                    pass
        await connections.hang_up(scope)

    def _find(self, request: Request) -> tuple[Route, tuple[str, ...]]:
        node = self._tree
        ids = []
        for part in request.path.strip("/").split("/"):
            if part in node:
                node = node[part]
            elif "*" in node and part:
                node = node["*"]
                ids.append(part)
            else:
                break
        else:
            route = node.get(_leaf(request.method, by_browser=request.by_browser))
            if route is not None:
                return route, tuple(ids)
            if request.by_browser and _leaf(request.method) in node:
                raise auth.secret_key_required()
        raise StripeError(
            f"Unrecognized request URL ({request.method}: {request.path}). Please see "
            "https://stripe.com/docs or we can help at https://support.stripe.com/.",
            status=404,
        )

    def _run(self, request: Request, route: Route, ids: tuple[str, ...]) -> Answer:
        timers.run_due(self._store)
        host = request.headers.get(b"host")
        base_url = self._public_url or (f"http://{host}" if host else None)
        try:
            with self._store.transaction(request.id, request.key, base_url) as tx:
                if request.key is not None:
                    saved = idempotency.find(tx, request.key, request.path, request.body)
                    if saved is not None:
                        return Answer(saved.status, saved.body, saved.request_id)
                answer = _perform(tx, request, route, ids)
                if request.fault == "api_500_after" and answer.status == 200:
                    answer = Answer(500, _body_of(request, _OUT_OF_ORDER))
                _save(tx, request, answer)
                return answer
        except StripeError:
            raise
        except Exception:
            # A mistake of ours is answered as Stripe answers one of its own, and saved likewise.
            traceback.print_exc()
            answer = Answer(500, _body_of(request, _OUR_FAULT))
            with self._store.transaction(request.id, request.key) as tx:
                _save(tx, request, answer)
            return answer


_OUT_OF_ORDER = StripeError(
    "Sorry! Something went wrong on our end, on purpose: the sandbox has been told to fail.",
    status=500,
    kind="api_error",
)
_OUR_FAULT = StripeError(
    "The sandbox made a mistake of its own. Its standard error output has the trace.",
    status=500,
    kind="api_error",
)


def _perform(tx: Transaction, request: Request, route: Route, ids: tuple[str, ...]) -> Answer:
    raw = request.body if request.method == "POST" else request.query or request.body
    params = Params(forms.decode(raw))
    params.allow(route.params)
    try:
        with test_clocks.time_of_call(tx, params, ids):
            body = route.handler(Call(tx, params, ids, request.path, request.version))
            if "expand" in params:
                expand.apply(tx, body, params.strings("expand"))
    except StripeError as error:
        if not error.keeps:
            raise
        return Answer(error.status, _body_of(request, error))
    return Answer(200, orjson.dumps(body))


def _save(tx: Transaction, request: Request, answer: Answer) -> None:
    if request.key is not None and answer.status not in _NOT_SAVED:
        saved = Saved(answer.status, answer.body, request.id)
        idempotency.save(tx, request.key, request.path, request.body, saved)


def _body_of(request: Request, error: StripeError) -> bytes:
    body: bytes = orjson.dumps(error.envelope(request.id))
    return body


def _refusal(request: Request, error: StripeError) -> Answer:
    return Answer(error.status, _body_of(request, error))


async def _read_body(receive: Receive) -> bytes:
    chunks: list[bytes] = []
    size = 0
    while True:
        message: Message = await receive()
        if message["type"] == "http.disconnect":
            raise StripeError("The request ended before its body was complete.")
        chunk = message.get("body", b"")
        size += len(chunk)
        if size > MAX_BODY:
            raise StripeError("The request's body is too large.", status=413)
        chunks.append(chunk)
        if not message.get("more_body"):
            return b"".join(chunks)


_CORS = (
    (b"access-control-allow-origin", b"*"),
    (b"access-control-allow-methods", b"GET, HEAD, PUT, PATCH, POST, DELETE"),
    (b"access-control-expose-headers", b"Request-Id, Stripe-Manage-Version"),
    (b"access-control-max-age", b"300"),
)


def _leaf(method: str, *, by_browser: bool = False) -> str:
    """The name under which the tree keeps a route; what browsers may call stands apart."""
    return f" browser {method}" if by_browser else f" {method}"


async def _allow_browsers(send: Send) -> None:
    """The answer to a browser that asks whether it may call from another origin's page."""
    allowed = (b"access-control-allow-headers", b"authorization, content-type, stripe-version")
    headers = [*_CORS, allowed, (b"content-length", b"0")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": b""})


async def _send(send: Send, request: Request, answer: Answer) -> None:
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(answer.body)).encode()),
        (b"cache-control", b"no-cache, no-store"),
        (b"request-id", request.id.encode()),
        (b"stripe-version", _version(request)),
    ]
    if request.key is not None:
        headers.append((b"idempotency-key", request.key.encode("latin-1")))
    if answer.original is not None:
        headers.append((b"idempotent-replayed", b"true"))
        headers.append((b"original-request", answer.original.encode()))
    if b"origin" in request.headers:
        headers += _CORS
    if answer.status == 401:
        headers.append((b"www-authenticate", b'Bearer realm="Stripe"'))
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    await send({"type": "http.response.body", "body": answer.body})


def _version(request: Request) -> bytes:
    return (request.version or API_VERSION).encode("latin-1")
