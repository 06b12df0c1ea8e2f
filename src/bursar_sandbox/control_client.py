"""Steers a running sandbox by HTTP: its clock, its faults, a fresh start, events on demand.

Owns the calls that the command line makes. It never starts or stops a sandbox.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import httpx2

from bursar_sandbox import triggers
from bursar_sandbox.scenario import Caller

DEFAULT_KEY = "sk_test_bursar_sandbox"
_TIMEOUT_SECONDS = 30.0
_PATIENCE_SECONDS = 15.0
_LOOK_SECONDS = 0.1

EVENTS: tuple[str, ...] = tuple(sorted(triggers.SCENARIOS))
"""What `trigger` can make happen: types of events, and two names that Stripe's own tool has for
those of a subscription's invoice, `subscription.payment_failed` and `.payment_succeeded`."""


class SandboxError(Exception):
    """The sandbox did not do what it was asked; the text says why, for people."""


@dataclass(frozen=True, slots=True)
class Listener:
    """An endpoint of ours at the sandbox, with the secret that signs its webhooks."""

    endpoint_id: str
    secret: str


def now(base_url: str) -> int:
    """The sandbox's time, in seconds since 1970. Raises SandboxError."""
    return int(_call(base_url, "GET", "/_sandbox/clock")["now"])


def ahead(base_url: str) -> int:
    """How many seconds the sandbox's clock is ahead of real time. Raises SandboxError."""
    return int(_call(base_url, "GET", "/_sandbox/clock")["offset"])


def advance_clock(base_url: str, seconds: int) -> int:
    """Move the sandbox's clock forward; returns its new time. Raises SandboxError."""
    return int(_call(base_url, "POST", "/_sandbox/clock", {"advance": seconds})["now"])


def renew_card(base_url: str, method_id: str) -> dict[str, Any]:
    """Have the bank of a saved card send a new one; returns the payment method with its new date.

    Raises SandboxError for what is no card, or nobody's.
    """
    return _call(base_url, "POST", f"/_sandbox/payment_methods/{method_id}/renew")


def set_billing(base_url: str, **wanted: Any) -> dict[str, Any]:
    """Set when unpaid invoices of subscriptions are tried again, `retry_days`; what follows the
    last try, `after_last`; and how many days ahead an invoice is announced, `upcoming_days`.

    Returns the rules in force. Raises SandboxError for a rule that there is not.
    """
    return _call(base_url, "POST", "/_sandbox/billing", wanted)


def faults(base_url: str) -> dict[str, Any]:
    """The faults in force and how many calls and webhooks they have decided on."""
    return _call(base_url, "GET", "/_sandbox/faults")


def set_faults(base_url: str, **wanted: Any) -> dict[str, Any]:
    """Let things go wrong from now on; the names are the fields of `faults.Faults`.

    Raises SandboxError for a fault that there is not.
    """
    return _call(base_url, "POST", "/_sandbox/faults", wanted)


def clear_faults(base_url: str) -> None:
    """Let everything go as it should again. Raises SandboxError."""
    _call(base_url, "DELETE", "/_sandbox/faults")


def reset(base_url: str) -> None:
    """Forget every object, event and fault, and the clock's offset. Raises SandboxError."""
    _call(base_url, "POST", "/_sandbox/reset")


def deliveries(base_url: str, limit: int = 100) -> list[dict[str, Any]]:
    """The latest deliveries of webhooks, newest first. Raises SandboxError."""
    found: list[dict[str, Any]] = _call(base_url, "GET", f"/_sandbox/deliveries?limit={limit}")[
        "data"
    ]
    return found


def resend(base_url: str, delivery_id: int) -> None:
    """Have a webhook sent once more. Raises SandboxError when there is no such delivery."""
    _call(base_url, "POST", f"/_sandbox/deliveries/{delivery_id}/resend")


def dispute(
    base_url: str,
    charge_id: str,
    *,
    reason: str = "fraudulent",
    inquiry: bool = False,
    amount_minor: int | None = None,
) -> dict[str, Any]:
    """Have a buyer's bank take a charge back, or only ask about it; returns the dispute.

    `amount_minor` is in minor units of the charge's currency; all that is left when None. Raises
    SandboxError when the charge can't be disputed.
    """
    wanted = {"charge": charge_id, "reason": reason, "inquiry": inquiry, "amount": amount_minor}
    return _call(base_url, "POST", "/_sandbox/disputes", wanted)


def decide_dispute(base_url: str, dispute_id: str, outcome: str) -> dict[str, Any]:
    """Have the bank decide: `won` or `lost` for the seller, or an inquiry `escalated`.

    Returns the dispute. Raises SandboxError for one that is over.
    """
    return _call(base_url, "POST", f"/_sandbox/disputes/{dispute_id}", {"outcome": outcome})


def trigger(base_url: str, event: str, *, key: str = DEFAULT_KEY) -> dict[str, Any]:
    """Make an event of that type happen through the public API; returns the event.

    What takes a bank some seconds is waited for. Raises SandboxError for a type not in EVENTS, and
    when the event doesn't come about.
    """
    scenario = triggers.SCENARIOS.get(event)
    if scenario is None:
        raise SandboxError(f"No scenario makes {event} happen. There are: {', '.join(EVENTS)}.")
    with _client(base_url, key) as client:
        mark = next((one["id"] for one in _events(client, {"limit": "1"})), None)
        try:
            scenario(_caller(client))
        except KeyError as missing:
            raise SandboxError(f"The sandbox's answer has no {missing}.") from missing
        deadline = time.monotonic() + _PATIENCE_SECONDS
        since = {"ending_before": mark} if mark else {}
        wanted = {"limit": "1", "type": triggers.event_of(event), **since}
        while not (found := _events(client, wanted)):
            if time.monotonic() > deadline:
                raise SandboxError(f"{event} did not come about in {_PATIENCE_SECONDS:.0f} s.")
            time.sleep(_LOOK_SECONDS)
        return found[0]


@contextmanager
def listen(
    base_url: str, forward_to: str, *, events: Sequence[str] = ("*",), key: str = DEFAULT_KEY
) -> Iterator[Listener]:
    """Have signed webhooks sent to `forward_to` while the block runs. Raises SandboxError."""
    fields = {"url": forward_to, **{f"enabled_events[{n}]": kind for n, kind in enumerate(events)}}
    with _client(base_url, key) as client:
        made = _read(_send(client, "POST", "/v1/webhook_endpoints", data=fields))
        try:
            yield Listener(made["id"], made["secret"])
        finally:
            _send(client, "DELETE", f"/v1/webhook_endpoints/{made['id']}")


def _client(base_url: str, key: str = DEFAULT_KEY) -> httpx2.Client:
    return httpx2.Client(base_url=base_url, auth=(key, ""), timeout=_TIMEOUT_SECONDS)


def _call(base_url: str, method: str, path: str, body: Any = None) -> dict[str, Any]:
    with _client(base_url) as client:
        return _read(_send(client, method, path, json=body))


def _send(client: httpx2.Client, method: str, path: str, **content: Any) -> httpx2.Response:
    try:
        return client.request(method, path, **content)
    except httpx2.HTTPError as error:
        raise SandboxError(
            f"No answer from the sandbox at {client.base_url}: {type(error).__name__}."
        ) from error


def _read(answer: httpx2.Response, allowed: tuple[int, ...] = (200,)) -> dict[str, Any]:
    try:
        body = answer.json()
    except ValueError as error:
        raise SandboxError(f"That is no sandbox: it answered {answer.status_code}.") from error
    if answer.status_code not in allowed:
        raise SandboxError(body.get("error", {}).get("message", f"status {answer.status_code}"))
    found: dict[str, Any] = body
    return found


def _caller(client: httpx2.Client) -> Caller:
    def call(method: str, path: str, fields: dict[str, str] | None = None) -> dict[str, Any]:
        # A declined card is an answer like any other: some scenarios are after just that.
        return _read(_send(client, method, f"/v1/{path}", data=fields), (200, 402))

    return call


def _events(client: httpx2.Client, params: dict[str, str]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = _read(_send(client, "GET", "/v1/events", params=params))["data"]
    return found
