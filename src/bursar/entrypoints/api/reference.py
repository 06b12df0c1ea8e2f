"""The API's own reference: /openapi.json for machines, /docs for people, made of the same facts.

The pages are plain HTML without script, so they work offline and behind a strict policy.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterator, Sequence
from html import escape
from typing import Any

from fastapi import APIRouter
from fastapi.routing import APIRoute
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import BaseRoute

from bursar import errors
from bursar.entrypoints.api import callers, problems

router = APIRouter(include_in_schema=False)

READ = ["GET", "HEAD"]

_kinds: dict[tuple[str, str], tuple[str, ...]] = {}

STYLE = """
:root { color-scheme: light dark; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
code { font: 0.9em ui-monospace, monospace; overflow-wrap: anywhere; }
section { border-top: 1px solid #8886; padding: 0.5rem 0; }
h2 { font-size: 1.3rem; margin-top: 2rem; } h3 { font-size: 1.05rem; }
dt { font-weight: 600; } dd { margin: 0 0 0.5rem 1.5rem; }
"""
STYLE_HASH = base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()
POLICY = (
    f"default-src 'none'; style-src 'sha256-{STYLE_HASH}'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'"
)


def _page(title: str, content: str) -> Response:
    html = (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width">'
        f"<title>{escape(title)}</title><style>{STYLE}</style></head>"
        f"<body><main><h1>{escape(title)}</h1>{content}</main></body></html>"
    )
    return HTMLResponse(html, headers={"Content-Security-Policy": POLICY})


@router.api_route("/openapi.json", methods=READ)
async def get_openapi(request: Request) -> Response:
    """The API's description."""
    return JSONResponse(request.app.openapi())


@router.api_route("/docs", methods=READ)
async def get_docs(request: Request) -> Response:
    """The API's description, to be read."""
    schema: dict[str, Any] = request.app.openapi()
    groups: dict[str, list[tuple[str, str, dict[str, Any]]]] = {}
    for path, methods in schema["paths"].items():
        for method, operation in methods.items():
            group = groups.setdefault((operation.get("tags") or ["other"])[0], [])
            group.append((path, method, operation))
    contents, operations = [], []
    for name, group in groups.items():
        group.sort(key=lambda call: call[:2])
        links = [
            f'<li><a href="#{_anchor(method, path)}">'
            f"<code>{method.upper()} {escape(path)}</code></a>"
            f" {escape(operation.get('summary', ''))}</li>"
            for path, method, operation in group
        ]
        contents.append(f"<h3>{escape(name.capitalize())}</h3><ul>{''.join(links)}</ul>")
        operations.append(f"<h2>{escape(name.capitalize())}</h2>")
        operations += [
            _operation(path, method, operation, schema, _kinds.get((method, path), ()))
            for path, method, operation in group
        ]
    lead = (
        f"<p>{escape(schema['info']['description'])}</p>"
        '<p>For machines: <a href="openapi.json">openapi.json</a>. '
        f'Every code of a refusal: <a href="{problems.DOCS.removeprefix("/")}">errors</a>.</p>'
    )
    nav = f'<nav aria-label="Contents">{"".join(contents)}</nav>'
    return _page("Bursar API", lead + nav + "".join(operations))


def note(routes: Sequence[BaseRoute]) -> None:
    """Keep which kinds of key each method of each path lets in, read from what admits them."""
    for route in routes:
        if not isinstance(route, APIRoute):
            continue
        for dependency in route.dependant.dependencies:
            if dependency.call is not None and dependency.call in callers.KINDS:
                for method in route.methods or ():
                    _kinds[method.lower(), route.path_format] = callers.KINDS[dependency.call]


def _anchor(method: str, path: str) -> str:
    return re.sub(r"[^a-z0-9_]+", "-", f"{method} {path}".lower()).strip("-")


def _operation(
    path: str, method: str, operation: dict[str, Any], schema: dict[str, Any], kinds: Sequence[str]
) -> str:
    parameters = operation.get("parameters", [])
    if not kinds and any(p["name"] == "Bursar-User" for p in parameters):
        kinds = ("user", "service")
    key = f"Key: {' or '.join(kinds)}." if kinds else "Needs a key."
    parts = [
        f'<section id="{_anchor(method, path)}">',
        f"<h3><code>{method.upper()} {escape(path)}</code></h3>",
        f"<p>{escape(operation.get('description') or operation.get('summary', ''))}</p>",
        f"<p>{key if operation.get('security') else 'Needs no key.'}</p>",
    ]
    named = [
        (
            f"{p['name']} ({p['in']})",
            _said(p.get("description") or _kind(p["schema"]), required=bool(p.get("required"))),
        )
        for p in parameters
    ]
    named += _fields(operation.get("requestBody", {}), schema, sent=True)
    parts.append(_list(named))
    for status, response in operation["responses"].items():
        if status.startswith("2"):
            parts.append(f"<p>Answer {status}: {escape(response['description'])}</p>")
            parts.append(_list(_fields(response, schema, sent=False)))
    refusals = [
        (status, r["description"])
        for status, r in operation["responses"].items()
        if not status.startswith("2")
    ]
    parts.append(f"<p>Refusals:</p>{_list(refusals)}</section>")
    return "".join(parts)


def _fields(part: dict[str, Any], schema: dict[str, Any], *, sent: bool) -> list[tuple[str, str]]:
    """The fields of a body, those of a list's entries with them; `sent` says which must be."""
    content = part.get("content", {}).get("application/json", {})
    body = _resolve(content.get("schema", {}), schema)
    needed = body.get("required", ())
    named = []
    for name, field in body.get("properties", {}).items():
        words = field.get("description") or _kind(field)
        named.append((name, _said(words, required=name in needed) if sent else words))
        entry = _resolve(field.get("items", {}), schema)
        named += [
            (f"{name}[].{inner}", detail.get("description") or _kind(detail))
            for inner, detail in entry.get("properties", {}).items()
        ]
    return named


def _said(words: str, *, required: bool) -> str:
    return f"{'Required' if required else 'Optional'}. {words}"


def _resolve(part: dict[str, Any], schema: dict[str, Any]) -> dict[str, Any]:
    name = part.get("$ref", "").rpartition("/")[2]
    found: dict[str, Any] = schema["components"]["schemas"].get(name, part)
    return found


def _kind(field: dict[str, Any]) -> str:
    kinds = [str(part.get("type", "")) for part in field.get("anyOf", [field])]
    return " or ".join(kind for kind in kinds if kind not in ("null", ""))


def _list(entries: list[tuple[str, str]]) -> str:
    lines = [
        f"<dt><code>{escape(name)}</code></dt><dd>{escape(text)}</dd>" for name, text in entries
    ]
    return f"<dl>{''.join(lines)}</dl>" if lines else ""


def _leaves(family: type[errors.Error]) -> Iterator[type[errors.Error]]:
    for error in family.__subclasses__():
        yield error
        yield from _leaves(error)


def codes() -> dict[str, tuple[int, str]]:
    """Every code that an answer can carry, with its status and its meaning."""
    found = {code: (rule.status, rule.title) for code, rule in problems.RULES.items()}
    for error in _leaves(errors.Error):
        found[error.code] = (problems.status_of(error), problems.title_of(error))
    return dict(sorted(found.items()))


@router.api_route(problems.DOCS, methods=READ)
async def get_errors() -> Response:
    """Every code, to which `type` in a problem leads."""
    lines = [
        f'<section id="{escape(code)}"><h2><code>{escape(code)}</code> · {status}</h2>'
        f"<p>{escape(title)}</p></section>"
        for code, (status, title) in codes().items()
    ]
    return _page("Errors of the Bursar API", "".join(lines))
