"""The API's own reference: /openapi.json for machines, /docs for people, made of the same facts.

The pages are plain HTML without script, so they work offline and behind a strict policy.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator
from html import escape
from typing import Any

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response

from bursar import errors
from bursar.entrypoints.api import problems

router = APIRouter(include_in_schema=False)

STYLE = """
:root { color-scheme: light dark; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
code { font: 0.9em ui-monospace, monospace; overflow-wrap: anywhere; }
section { border-top: 1px solid #8886; padding: 0.5rem 0; }
h2 { font-size: 1.1rem; }
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
    headers = {
        "Content-Security-Policy": POLICY,
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "no-referrer",
    }
    return HTMLResponse(html, headers=headers)


@router.get("/openapi.json")
async def get_openapi(request: Request) -> Response:
    """The API's description."""
    return JSONResponse(request.app.openapi())


@router.get("/docs")
async def get_docs(request: Request) -> Response:
    """The API's description, to be read."""
    schema: dict[str, Any] = request.app.openapi()
    operations = [
        _operation(path, method, operation, schema)
        for path, methods in schema["paths"].items()
        for method, operation in methods.items()
    ]
    lead = (
        f"<p>{escape(schema['info']['description'])}</p>"
        '<p>For machines: <a href="openapi.json">openapi.json</a>. '
        f'Every code of a refusal: <a href="{problems.DOCS.removeprefix("/")}">errors</a>.</p>'
    )
    return _page("Bursar API", lead + "".join(operations))


def _operation(path: str, method: str, operation: dict[str, Any], schema: dict[str, Any]) -> str:
    parts = [
        f"<section><h2><code>{method.upper()} {escape(path)}</code></h2>",
        f"<p>{escape(operation.get('description') or operation.get('summary', ''))}</p>",
    ]
    if not operation.get("security"):
        parts.append("<p>Needs no key.</p>")
    named = [
        (f"{p['name']} ({p['in']})", p.get("description") or _kind(p["schema"]))
        for p in operation.get("parameters", [])
    ]
    body = operation.get("requestBody", {}).get("content", {}).get("application/json", {})
    fields = _resolve(body.get("schema", {}), schema).get("properties", {})
    named += [(name, field.get("description") or _kind(field)) for name, field in fields.items()]
    parts.append(_list(named))
    answers = [(status, r["description"]) for status, r in operation["responses"].items()]
    parts.append(f"<p>Answers:</p>{_list(answers)}</section>")
    return "".join(parts)


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


@router.get(problems.DOCS)
async def get_errors() -> Response:
    """Every code, to which `type` in a problem leads."""
    lines = [
        f'<section id="{escape(code)}"><h2><code>{escape(code)}</code> · {status}</h2>'
        f"<p>{escape(title)}</p></section>"
        for code, (status, title) in codes().items()
    ]
    return _page("Errors of the Bursar API", "".join(lines))
