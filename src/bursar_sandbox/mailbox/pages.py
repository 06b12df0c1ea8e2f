"""The mailbox's pages at /_sandbox/mail: the list, a letter in each form, its source.

The HTML of a letter comes from anybody: it stands in a frame of its own, where no script runs and
nothing is fetched.
"""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson
from jinja2 import ChoiceLoader, Environment, FileSystemLoader, StrictUndefined
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from bursar_sandbox.mailbox import kept
from bursar_sandbox.mailbox.kept import Kept
from bursar_sandbox.mailbox.tricks import TRICKS
from bursar_sandbox.stripe.pages import rendering

LATEST = 200
ID_DIGITS_MAX = 18
_HERE = Path(__file__).parent
_STYLE = (_HERE / "static" / "mailbox.css").read_bytes()
_MARK = hashlib.sha256(_STYLE).hexdigest()[:12]
_POLICY = (
    "default-src 'none'; style-src 'self'; img-src 'self' data:; frame-src 'self'; "
    "form-action 'none'; base-uri 'none'; frame-ancestors 'none'"
)
_LETTER_POLICY = (
    "sandbox allow-popups allow-popups-to-escape-sandbox; default-src 'none'; "
    "style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'self'"
)
_TEMPLATES = Environment(
    # The frame of all of the sandbox's pages is where the others have it.
    loader=ChoiceLoader(
        [
            FileSystemLoader(_HERE / "templates"),
            FileSystemLoader(Path(rendering.__file__).parent / "templates"),
        ]
    ),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
_TEMPLATES.globals.update(
    static_url=rendering.static_url, mailbox_css=f"/_sandbox/mail/mailbox.css?v={_MARK}"
)


async def show_list(request: Request) -> Response:
    """GET /_sandbox/mail: every letter, newest first; in JSON for whoever asks for it."""
    found = kept.listed(request.app.state.store, LATEST)
    if "application/json" in request.headers.get("accept", ""):
        return _json({"smtp": _address(request), "data": [_plain(letter) for letter in found]})
    values = {
        "letters": [_shown(letter) for letter in found],
        "address": _address(request),
        "tricks": TRICKS,
        "latest": LATEST,
    }
    return _page("mailbox.html", values)


async def show(request: Request) -> Response:
    """GET /_sandbox/mail/{id}: one letter, with the plain and the HTML form."""
    letter = _find(request)
    if letter is None:
        return _missing()
    values = {
        "letter": _shown(letter),
        "plain": letter.body("plain"),
        "html": bool(letter.body("html")),
        "headers": [
            (name, letter.header(name))
            for name in ("From", "To", "Date", "Message-ID", "Subject")
            if letter.header(name)
        ],
    }
    return _page("letter.html", values)


async def show_html(request: Request) -> Response:
    """GET /_sandbox/mail/{id}/html: what stands in the frame."""
    letter = _find(request)
    if letter is None:
        return _missing()
    headers = {
        "content-security-policy": _LETTER_POLICY,
        "x-content-type-options": "nosniff",
        "referrer-policy": "no-referrer",
        "cache-control": "no-store",
    }
    return Response(letter.body("html"), headers=headers, media_type="text/html")


async def show_source(request: Request) -> Response:
    """GET /_sandbox/mail/{id}/source: the bytes as they came."""
    letter = _find(request)
    if letter is None:
        return _missing()
    headers = {"x-content-type-options": "nosniff", "cache-control": "no-store"}
    return Response(letter.data, headers=headers, media_type="text/plain; charset=utf-8")


async def style(request: Request) -> Response:
    """GET /_sandbox/mail/mailbox.css."""
    headers = {"cache-control": "no-cache", "x-content-type-options": "nosniff"}
    return Response(_STYLE, headers=headers, media_type="text/css; charset=utf-8")


def _find(request: Request) -> Kept | None:
    text: str = request.path_params["letter_id"]
    if not (text.isascii() and text.isdigit() and len(text) <= ID_DIGITS_MAX):
        return None
    return kept.find(request.app.state.store, int(text))


def _address(request: Request) -> str:
    return f"smtp://127.0.0.1:{request.app.state.smtp_port}"


def _shown(letter: Kept) -> dict[str, Any]:
    at = datetime.fromtimestamp(letter.at, UTC)
    return {
        "id": letter.id,
        "subject": letter.header("Subject") or "(no subject)",
        "from": letter.header("From") or letter.sender,
        "to": letter.header("To") or letter.recipients,
        "at": {"words": f"{at:%-d %b %H:%M}", "datetime": at.isoformat()},
    }


def _plain(letter: Kept) -> dict[str, Any]:
    return {
        "id": letter.id,
        "created": letter.at,
        "sender": letter.sender,
        "recipients": letter.recipients.split(" "),
        "subject": letter.header("Subject"),
        "message_id": letter.header("Message-ID"),
        "text": letter.body("plain"),
        "html": letter.body("html"),
    }


def _json(body: Any) -> Response:
    return Response(orjson.dumps(body), media_type="application/json")


def _missing() -> Response:
    return Response("There is no such letter", status_code=404, media_type="text/plain")


def _page(template: str, values: dict[str, object]) -> Response:
    headers = {
        "content-security-policy": _POLICY,
        "cache-control": "no-store",
        "referrer-policy": "no-referrer",
        "x-content-type-options": "nosniff",
    }
    html = _TEMPLATES.get_template(template).render(values)
    return Response(html, headers=headers, media_type="text/html")


mailbox_routes = [
    Route("/_sandbox/mail", show_list, methods=["GET"]),
    Route("/_sandbox/mail/mailbox.css", style, methods=["GET"]),
    Route("/_sandbox/mail/{letter_id}", show, methods=["GET"]),
    Route("/_sandbox/mail/{letter_id}/html", show_html, methods=["GET"]),
    Route("/_sandbox/mail/{letter_id}/source", show_source, methods=["GET"]),
]
