"""`bursar listen`: an endpoint at the sandbox for as long as one watches.

Owns what is printed of each delivery. The sandbox signs and sends; nothing passes through here.
"""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from bursar.entrypoints.cli.calling import Url, absolute, sandbox_at
from bursar.entrypoints.cli.demo import signals
from bursar_sandbox import control_client
from bursar_sandbox.control_client import Listener

LOOK_SECONDS = 0.5
DELIVERIES_LOOKED_AT = 1000
SHOWN = ("id", "event_id", "type", "state", "attempts", "last_status", "last_error")


def run(
    forward_to: Annotated[
        str, typer.Option(parser=absolute, metavar="URL", help="Where your webhooks are taken.")
    ],
    events: Annotated[
        str, typer.Option(metavar="TYPES", help="Only these, separated by commas.")
    ] = "*",
    url: Url = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, one object a line.")] = False,
) -> None:
    """Forward the sandbox's signed webhooks to a URL."""
    wanted = [kind.strip() for kind in events.split(",") if kind.strip()]
    if not wanted:
        raise typer.BadParameter("--events names types of events, such as charge.succeeded.")
    # The signal must end the wait and nothing else: the endpoint is to be taken away behind it.
    with (
        sandbox_at(url) as base,
        signals.stopping(),
        control_client.listen(base, forward_to, events=wanted) as listener,
    ):
        _introduce(listener, forward_to, as_json=as_json)
        _watch(base, listener.endpoint_id, as_json=as_json)


def _introduce(listener: Listener, forward_to: str, *, as_json: bool) -> None:
    if as_json:
        fields = {"endpoint_id": listener.endpoint_id, "secret": listener.secret}
        print(json.dumps({**fields, "forward_to": forward_to}), flush=True)
        return
    print(f"Signing secret: {listener.secret}")
    print(f"Webhooks go to {forward_to} until Ctrl-C.", flush=True)


def _watch(base: str, endpoint_id: str, *, as_json: bool) -> None:
    """Print each attempt to deliver to the endpoint, for ever."""
    seen: dict[int, tuple[str, int]] = {}
    while True:
        found = control_client.deliveries(base, DELIVERIES_LOOKED_AT)
        ours = [one for one in reversed(found) if one["endpoint_id"] == endpoint_id]
        for one in ours:
            tried = one["attempts"] > 0 or one["state"] == "dropped"
            if tried and seen.get(one["id"]) != _standing(one):
                print(_line(one, as_json=as_json), flush=True)
        # What has left the list never comes back to it, so only what is on it is remembered.
        seen = {one["id"]: _standing(one) for one in ours}
        time.sleep(LOOK_SECONDS)


def _standing(delivery: dict[str, Any]) -> tuple[str, int]:
    return delivery["state"], delivery["attempts"]


def _line(delivery: dict[str, Any], *, as_json: bool) -> str:
    if as_json:
        return json.dumps({name: delivery[name] for name in SHOWN})
    result = delivery["last_status"] or delivery["last_error"] or ""
    if delivery["state"] == "dropped":
        result = "dropped by a fault"
    elif delivery["state"] == "failed":
        result = f"{result}, given up after {delivery['attempts']} attempts"
    elif delivery["state"] == "pending":
        at = datetime.fromtimestamp(delivery["next_at"], UTC)
        result = f"{result}, again at {at:%H:%M:%S}"
    return f"{datetime.now(UTC):%H:%M:%S}  {delivery['type']}  {delivery['event_id']}  {result}"
