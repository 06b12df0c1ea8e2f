"""The sandbox at a glance: payments, objects, events, deliveries, the clock, faults in force.

Owns the page at /_sandbox/ and the forms on it. What a form does, the controls do as well, in JSON.
"""

from __future__ import annotations

import time
from dataclasses import asdict
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from bursar_sandbox import control, deliveries
from bursar_sandbox.faults import Faults
from bursar_sandbox.store import Store
from bursar_sandbox.stripe.pages import dashboard, forms, rendering

LATEST = 25
# Payments are tall: at first there are fewer of them.
FEW = 10
MOST = 500
UNITS = {"minutes": 60, "hours": 3600, "days": 24 * 3600}
# For each state: tone, icon, word. A delivery that failed before but not for good is "retrying".
_STATES = {
    "pending": ("idle", "clock", "Waiting"),
    "retrying": ("wait", "clock", "Retrying"),
    "delivered": ("good", "check", "Delivered"),
    "failed": ("bad", "cross", "Failed"),
    "dropped": ("bad", "dash", "Dropped"),
}


async def show(request: Request) -> Response:
    """GET /_sandbox/: everything on one page; `?latest=` says how many of each list."""
    store: Store = request.app.state.store
    asked = request.query_params.get("latest", "")
    latest = min(int(asked), MOST) if asked.isascii() and asked.isdigit() else LATEST
    offset = store.clock.offset
    values: dict[str, object] = {
        "now": _moment(store.clock.now()),
        "ahead": _duration(offset),
        "summary": _summary(store),
        "units": list(UNITS),
        "kinds": _kinds(store),
        "payments": dashboard.listed(store, latest if latest != LATEST else FEW),
        "reasons": dashboard.REASONS,
        "events": _events(store, latest),
        "deliveries": [_delivery(row) for row in deliveries.listed(store, latest)],
        "faults": _faults(store.faults.faults),
        "latest": latest,
        "most": MOST,
    }
    return rendering.page("overview.html", values)


async def advance(request: Request) -> Response:
    """POST /_sandbox/advance: move the clock by `amount` of `unit`."""
    fields = await forms.read(request)
    amount, unit = fields.get("amount", ""), UNITS.get(fields.get("unit", ""), 0)
    seconds = int(amount) * unit if amount.isascii() and amount.isdigit() and len(amount) < 9 else 0
    if not 0 < seconds <= control.FARTHEST_SECONDS:
        return forms.refused("Enter a whole number of minutes, hours or days, at most 100 years.")
    control.advance(request.app.state.store, seconds)
    return forms.back("clock")


async def resend(request: Request) -> Response:
    """POST /_sandbox/resend: owe a delivery once more."""
    fields = await forms.read(request)
    number = fields.get("delivery", "")
    known = number.isascii() and number.isdigit() and len(number) < 18
    if not known or not deliveries.resend(request.app.state.store, int(number)):
        return forms.refused("There is no such delivery any more. The sandbox may have been reset.")
    return forms.back("deliveries")


async def mend(request: Request) -> Response:
    """POST /_sandbox/mend: no more faults."""
    await forms.read(request)
    request.app.state.store.faults.set(None)
    return forms.back("faults")


def _kinds(store: Store) -> list[dict[str, Any]]:
    rows = store.read(
        "SELECT o.object, c.n, o.id, o.created FROM objects o JOIN"
        " (SELECT max(seq) AS seq, count(*) AS n FROM objects WHERE deleted = 0 GROUP BY object) c"
        " ON c.seq = o.seq ORDER BY o.object"
    ).fetchall()
    return [
        {"kind": kind, "count": f"{count:,}", "id": latest, "at": _moment(created)}
        for kind, count, latest, created in rows
    ]


def _summary(store: Store) -> str:
    """How many events there are and what became of their webhooks, in one sentence."""
    (events,) = store.read("SELECT count(*) FROM objects WHERE object = 'event'").fetchone()
    rows = store.read(
        "SELECT CASE WHEN state = 'pending' AND attempts > 0 THEN 'retrying' ELSE state END AS s,"
        " count(*) FROM deliveries GROUP BY s"
    ).fetchall()
    found = dict(rows)
    webhooks = [
        f"{found[state]:,} {word.lower()}"
        for state, (_, _, word) in _STATES.items()
        if state in found
    ]
    return f"{events:,} events. Webhooks: {', '.join(webhooks) or 'none'}."


def _events(store: Store, limit: int) -> list[dict[str, Any]]:
    rows = store.read(
        "SELECT id, label, body ->> '$.data.object.id', created FROM objects"
        " WHERE object = 'event' ORDER BY seq DESC LIMIT ?",
        (limit,),
    ).fetchall()
    return [
        {"id": event_id, "type": kind, "about": about or "the account", "at": _moment(created)}
        for event_id, kind, about, created in rows
    ]


def _delivery(row: dict[str, Any]) -> dict[str, Any]:
    state = row["state"]
    shown = "retrying" if state == "pending" and row["attempts"] else state
    tone, icon, word = _STATES[shown]
    wait = row["next_at"] - time.time()
    due = f"next in {_duration(int(wait) + 1)}" if state == "pending" and wait > 0 else ""
    return {**row, "tone": tone, "icon": icon, "word": word, "due": due}


def _faults(faults: Faults | None) -> list[tuple[str, str]]:
    """What differs from a sandbox that does as it should."""
    if faults is None:
        return []
    plain = asdict(Faults())
    found = {name: value for name, value in asdict(faults).items() if value != plain[name]}
    return [
        (name, ", ".join(value) if isinstance(value, tuple) else str(value).lower())
        for name, value in {"seed": faults.seed, **found}.items()
    ]


def _moment(at: int) -> dict[str, str]:
    moment = time.gmtime(at)
    return {
        "words": f"{moment.tm_mday} {time.strftime('%b %Y, %H:%M:%S', moment)}",
        "datetime": time.strftime("%Y-%m-%dT%H:%M:%SZ", moment),
    }


def _duration(seconds: int) -> str:
    """Seconds in words, by the two largest units: `31 days 2 hours`."""
    parts = []
    for name, size in (("day", 86_400), ("hour", 3600), ("minute", 60), ("second", 1)):
        count, seconds = divmod(seconds, size)
        if count:
            parts.append(f"{count:,} {name}{'s' if count != 1 else ''}")
    return " ".join(parts[:2])


routes = [
    Route("/_sandbox/", show, methods=["GET"]),
    Route("/_sandbox/advance", forms.guarded(advance), methods=["POST"]),
    Route("/_sandbox/resend", forms.guarded(resend), methods=["POST"]),
    Route("/_sandbox/mend", forms.guarded(mend), methods=["POST"]),
    *dashboard.routes,
]
