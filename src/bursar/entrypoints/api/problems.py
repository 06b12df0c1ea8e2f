"""Problems (RFC 9457): every refusal of the API has this one shape.

Owns the table that turns a family of errors into a status, and the codes that only HTTP knows.
It never shows an unforeseen error's own words to a client.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import orjson
import structlog
from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Scope

from bursar import errors

log = structlog.get_logger("bursar.api")

MEDIA_TYPE = "application/problem+json"
DOCS = "/docs/errors"
SHOWN = ("subscription_id", "pricing_url")
"""What some refusals say besides: the thing in the way, or where to go instead."""
RETRY_SECONDS = 2
"""What `Retry-After` says where the end of a trouble is not known."""

STATUSES: Mapping[type[errors.Error], int] = {
    errors.NotFound: 404,
    errors.Conflict: 409,
    errors.Invalid: 422,
    errors.Denied: 403,
    errors.Unauthenticated: 401,
    errors.NotAuthentic: 400,
    errors.Throttled: 429,
    errors.InsufficientCredits: 402,
    errors.Unavailable: 503,
    errors.Misconfigured: 500,
    errors.ProviderUnavailable: 503,
    errors.ProviderRejected: 502,
    errors.ProviderCardDeclined: 402,
    errors.ProviderUnknown: 504,
}


@dataclass(frozen=True, slots=True)
class Rule:
    """A code of HTTP's own: its status and what it means."""

    status: int
    title: str


RULES: Mapping[str, Rule] = {
    "json_invalid": Rule(400, "The body is not valid JSON in UTF-8."),
    "idempotency_key_invalid": Rule(
        400, "An Idempotency-Key is 1 to 255 printable ASCII characters, sent once."
    ),
    "idempotency_key_required": Rule(
        400, "This request moves credits or money: send an Idempotency-Key."
    ),
    "host_invalid": Rule(400, "The Host header names no host of this server."),
    "https_required": Rule(403, "Use HTTPS; what was sent in the clear may have been read."),
    "method_not_allowed": Rule(405, "The address exists, but not with this method."),
    "payload_too_large": Rule(413, "The body is larger than this address takes."),
    "unsupported_media_type": Rule(415, "Send the body as application/json, uncompressed."),
    "internal_error": Rule(500, "Something went wrong on our side; it was logged."),
}


class Refusal(Exception):
    """A request that HTTP's own rules refuse; `code` is one of RULES."""

    def __init__(self, code: str, detail: str | None = None) -> None:
        self.code = code
        self.rule = RULES[code]
        self.detail = detail or self.rule.title
        super().__init__(self.detail)


def status_of(kind: type[errors.Error]) -> int:
    """The status of an error's family."""
    for family in kind.__mro__:
        if family in STATUSES:
            return STATUSES[family]
    return 500


def title_of(kind: type[errors.Error]) -> str:
    """The first line of the error's docstring, the same for every one of its kind."""
    return (kind.__doc__ or "").strip().splitlines()[0]


def request_id_of(scope: Scope) -> str:
    """The id that the middleware gave to this request."""
    return str(scope.get("bursar.request_id", ""))


def problem(
    scope: Scope,
    status: int,
    code: str,
    title: str,
    detail: str,
    *,
    by_field: Sequence[Mapping[str, str]] = (),
    more: Mapping[str, object] | None = None,
    headers: Mapping[str, str] | None = None,
) -> Response:
    """A refusal as the client gets it."""
    # For logs and counts; the request's own state is the one place that outlives the answer.
    scope["bursar.code"] = code
    body: dict[str, object] = {
        "type": f"{scope.get('bursar.base', '')}{DOCS}#{code}",
        "title": title,
        "status": status,
        "detail": detail,
        "code": code,
        "request_id": request_id_of(scope),
        **(more or {}),
    }
    if by_field:
        body["errors"] = [dict(entry) for entry in by_field]
    # Words may hold a lone surrogate that came in a header; an answer must hold none.
    content = orjson.dumps(_printable(body))
    return Response(content, status, headers, media_type=MEDIA_TYPE)


def _printable(value: object) -> object:
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()
    if isinstance(value, dict):
        return {name: _printable(part) for name, part in value.items()}
    if isinstance(value, list):
        return [_printable(part) for part in value]
    return value


def refused(scope: Scope, refusal: Refusal) -> Response:
    """The answer to a request that HTTP's rules refuse."""
    headers = {}
    if refusal.rule.status == 413:
        # The rest of the body is not read, so the connection can't carry another request.
        headers["Connection"] = "close"
    rule = refusal.rule
    return problem(scope, rule.status, refusal.code, rule.title, refusal.detail, headers=headers)


def failed(scope: Scope, error: errors.Error) -> Response:
    """The answer to an error of ours."""
    status = status_of(type(error))
    headers: dict[str, str] = {}
    detail = error.detail
    if isinstance(error, errors.Unauthenticated):
        headers["WWW-Authenticate"] = "Bearer"
    if isinstance(error, errors.Throttled):
        headers["Retry-After"] = str(error.retry_after_seconds)
    elif status == 503:
        headers["Retry-After"] = str(RETRY_SECONDS)
    if status >= 500:
        log.warning("failed", code=error.code, detail=detail, request_id=request_id_of(scope))
    if isinstance(error, errors.Unavailable | errors.Misconfigured):
        # Their details name hosts and settings: for the operator's log, not for a client.
        detail = title_of(type(error))
    by_field = error.errors if isinstance(error, errors.Invalid) else ()
    return problem(
        scope,
        status,
        error.code,
        title_of(type(error)),
        detail,
        by_field=by_field,
        more={name: error.fields[name] for name in SHOWN if name in error.fields},
        headers=headers,
    )


def crashed(scope: Scope) -> Response:
    """The answer to an error that nobody foresaw."""
    return refused(scope, Refusal("internal_error"))


def by_field(entries: Sequence[Mapping[str, object]]) -> list[dict[str, str]]:
    """Pydantic's findings as field, code and message; never with the input itself."""
    found = []
    for entry in entries:
        place = entry.get("loc", ())
        parts = [str(part) for part in place] if isinstance(place, tuple) else [str(place)]
        code = "unknown_field" if entry["type"] == "extra_forbidden" else str(entry["type"])
        found.append({"field": ".".join(parts), "code": code, "message": str(entry["msg"])})
    return found


def invalid(entries: Sequence[Mapping[str, object]]) -> errors.Invalid:
    """Pydantic's findings as our error."""
    named = by_field(entries)
    first = named[0]
    place = f"{first['field']}: " if first["field"] else ""
    return errors.Invalid(f"{place}{first['message']}.", errors=named)


async def _on_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, errors.Error)  # noqa: S101 - it is registered for these
    return failed(request.scope, error)


async def _on_refusal(request: Request, error: Exception) -> Response:
    assert isinstance(error, Refusal)  # noqa: S101 - likewise
    return refused(request.scope, error)


async def _on_parameters(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)  # noqa: S101 - likewise
    entries = [{**entry, "loc": tuple(entry["loc"])[1:]} for entry in error.errors()]
    return failed(request.scope, invalid(entries))


async def _on_http(request: Request, error: Exception) -> Response:
    """What the router itself refuses: no such address, or not with this method."""
    assert isinstance(error, HTTPException)  # noqa: S101 - likewise
    if error.status_code == 404:
        return failed(request.scope, errors.NotFound("There is nothing at this address."))
    if error.status_code == 405:
        rule = RULES["method_not_allowed"]
        return problem(
            request.scope, 405, "method_not_allowed", rule.title, rule.title, headers=error.headers
        )
    # Nothing of ours raises others; one that does come is told under the code of its status.
    known = (code for code, rule in RULES.items() if rule.status == error.status_code)
    return refused(request.scope, Refusal(next(known, "internal_error")))


def install(app: FastAPI) -> None:
    """Answer every error of `app` as a problem."""
    app.add_exception_handler(errors.Error, _on_error)
    app.add_exception_handler(Refusal, _on_refusal)
    app.add_exception_handler(RequestValidationError, _on_parameters)
    app.add_exception_handler(HTTPException, _on_http)
