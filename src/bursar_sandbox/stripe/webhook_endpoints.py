"""Webhook endpoints. Owns their object, their secrets and their routes."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import urlsplit

from bursar_sandbox.store import Transaction
from bursar_sandbox.stripe import lists, metadata, records
from bursar_sandbox.stripe.call import Call, route
from bursar_sandbox.stripe.errors import StripeError
from bursar_sandbox.stripe.ids import new_id, random_text
from bursar_sandbox.stripe.params import Params

_EVENT = re.compile(r"[a-z0-9_]+(\.[a-z0-9_]+)+\Z")
_VERSION = re.compile(r"\d{4}-\d{2}-\d{2}(\.[a-z]+)?\Z")


def create(call: Call) -> dict[str, Any]:
    params = call.params
    params.require("enabled_events", "url")
    version = params.text("api_version")
    if version is not None and not _VERSION.match(version):
        raise StripeError(f"Invalid API version: {version}", param="api_version")
    endpoint = _endpoint(call.tx, _url(params), _events(params))
    endpoint.update(
        api_version=version,
        description=params.text("description"),
        metadata=metadata.merged(params),
    )
    secret = f"whsec_{random_text(32)}"
    records.insert(call.tx, endpoint, {"secret": secret})
    return {**endpoint, "secret": secret}


def register(tx: Transaction, url: str, secret: str) -> dict[str, Any]:
    """The endpoint at that address with that secret, for all events; made when there is none."""
    rows = tx.execute(
        "SELECT id FROM objects WHERE object = 'webhook_endpoint' AND deleted = 0"
        " AND body ->> '$.url' = ?",
        (url,),
    ).fetchall()
    if rows:
        endpoint = records.get(tx, "webhook_endpoint", rows[0][0])
        endpoint.update(status="enabled", enabled_events=["*"])
        records.replace(tx, endpoint)
        records.replace_private(tx, endpoint["id"], {"secret": secret})
        return endpoint
    endpoint = _endpoint(tx, url, ["*"])
    records.insert(tx, endpoint, {"secret": secret})
    return endpoint


def _endpoint(tx: Transaction, url: str, kinds: list[str]) -> dict[str, Any]:
    return {
        "id": new_id("we"),
        "object": "webhook_endpoint",
        "api_version": None,
        "application": None,
        "created": tx.now,
        "description": None,
        "enabled_events": kinds,
        "livemode": False,
        "metadata": {},
        "status": "enabled",
        "url": url,
    }


def _url(params: Params) -> str:
    url = params.need_text("url", limit=2048)
    try:
        parts = urlsplit(url)
        good = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        good = False
    if not good:
        raise StripeError(
            "Invalid URL: An explicit scheme (such as https) must be provided.",
            code="url_invalid",
            param="url",
        )
    return url


def _events(params: Params) -> list[str]:
    kinds = params.strings("enabled_events")
    for kind in kinds:
        if kind != "*" and not _EVENT.match(kind):
            raise StripeError(
                f"Invalid enabled_events: {kind} is not an event type.", param="enabled_events"
            )
    if not kinds:
        raise StripeError("Invalid array", param="enabled_events")
    return kinds


def retrieve(call: Call) -> dict[str, Any]:
    return records.get(
        call.tx, "webhook_endpoint", call.ids[0], in_path=True, word="webhook endpoint"
    )


def update(call: Call) -> dict[str, Any]:
    params = call.params
    endpoint = retrieve(call)
    endpoint["metadata"] = metadata.merged(params, endpoint["metadata"])
    if "url" in params:
        endpoint["url"] = _url(params)
    if "enabled_events" in params:
        endpoint["enabled_events"] = _events(params)
    if "description" in params:
        endpoint["description"] = params.text("description")
    if params.given("disabled"):
        endpoint["status"] = "disabled" if params.boolean("disabled") else "enabled"
    records.replace(call.tx, endpoint)
    if endpoint["status"] == "disabled":
        _drop_owed(call.tx, endpoint["id"])
    return endpoint


def delete(call: Call) -> dict[str, Any]:
    endpoint = retrieve(call)
    _drop_owed(call.tx, endpoint["id"])
    return records.delete(call.tx, endpoint)


def _drop_owed(tx: Transaction, endpoint_id: str) -> None:
    tx.execute(
        "UPDATE deliveries SET state = 'dropped' WHERE endpoint_id = ? AND state = 'pending'",
        (endpoint_id,),
    )


def index(call: Call) -> dict[str, Any]:
    return lists.page(call, lists.Query("webhook_endpoint"))


routes = [
    route(
        "POST",
        "/v1/webhook_endpoints",
        create,
        "api_version connect description enabled_events metadata url",
    ),
    route("GET", "/v1/webhook_endpoints", index, lists.PAGING),
    route("GET", "/v1/webhook_endpoints/*", retrieve),
    route(
        "POST",
        "/v1/webhook_endpoints/*",
        update,
        "description disabled enabled_events metadata url",
    ),
    route("DELETE", "/v1/webhook_endpoints/*", delete),
]
