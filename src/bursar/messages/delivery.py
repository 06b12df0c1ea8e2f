"""Sends one signed webhook (Standard Webhooks) and judges the answer.

The signature is HMAC-SHA256 over `id.timestamp.body`; the id is the event's, the same for every
try. Redirects are failures, answers are cut short, and the connection goes to an address that was
checked, under the name that the certificate must have. It knows no table; leases and order are the
sender's.
"""

from __future__ import annotations

import asyncio
import base64
import hmac
import random
import ssl
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from hashlib import sha256

import httpx2

from bursar.messages import addresses
from bursar.messages.addresses import Policy, Resolve, Target
from bursar.messages.outbox import DeliveryFailed

RETRY_SECONDS = (5.0, 300.0, 1800.0, 7200.0, 18000.0, 36000.0, 36000.0)
"""The pauses between tries, before jitter; a message that fails once more is dead."""
RETRY_AFTER_SECONDS_MAX = 86400.0
ANSWER_SECONDS = 15.0
ANSWER_BYTES_MAX = 64 * 1024
REASON_BYTES = 200


class Gone(Exception):
    """The receiver answered 410: it wants nothing any more."""


@dataclass(frozen=True, slots=True)
class Webhook:
    """What is sent: `body` byte for byte as it is signed."""

    url: str
    event_id: str
    body: bytes
    secrets: Sequence[str]
    attempts: int


def sign(secret: str, event_id: str, timestamp: int, body: bytes) -> str:
    """One signature, `v1,…`. `secret` is `whsec_` and base64."""
    key = base64.b64decode(secret.removeprefix("whsec_"))
    signed = b"%s.%d.%s" % (event_id.encode(), timestamp, body)
    return "v1," + base64.b64encode(hmac.new(key, signed, sha256).digest()).decode()


class Courier:
    """Sends webhooks. `trust` is for certificates that the machine does not know."""

    def __init__(
        self,
        policy: Policy,
        *,
        ask: Resolve = addresses.resolve,
        trust: ssl.SSLContext | None = None,
    ) -> None:
        self._policy = policy
        self._ask = ask
        self._client = httpx2.AsyncClient(
            verify=trust or ssl.create_default_context(),
            trust_env=False,
            follow_redirects=False,
            timeout=ANSWER_SECONDS,
            # A connection that is kept would outlive the check of its address.
            limits=httpx2.Limits(max_keepalive_connections=0),
        )

    async def close(self) -> None:
        """End what is open."""
        await self._client.aclose()

    async def send(self, webhook: Webhook) -> None:
        """Deliver. Raises Gone, and DeliveryFailed with the pause before the next try."""
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                status, said, headers = await self._post(webhook)
        except TimeoutError as error:
            raise failed(webhook, f"no answer within {ANSWER_SECONDS:.0f} s") from error
        except addresses.Forbidden as error:
            raise failed(webhook, f"nothing is sent there: {error}") from error
        except (addresses.Unresolved, httpx2.HTTPError, httpx2.InvalidURL, OSError) as error:
            raise failed(webhook, f"{type(error).__name__}: {error}") from error
        if 200 <= status < 300:
            return
        if status == 410:
            raise Gone
        where = (
            f" to {headers['location'][:200]!r}"
            if 300 <= status < 400 and "location" in headers
            else ""
        )
        told = f"answered {status}{where}: {said!r}" if said else f"answered {status}{where}"
        raise failed(webhook, told, headers.get("retry-after"))

    async def _post(self, webhook: Webhook) -> tuple[int, str, httpx2.Headers]:
        target = addresses.read(webhook.url, self._policy)
        found = await addresses.checked(target, self._policy, ask=self._ask)
        last: Exception | None = None
        for address in found:
            try:
                return await self._post_to(address, target, webhook)
            except (httpx2.ConnectError, httpx2.ConnectTimeout) as error:
                # Nothing was sent: the host's next address is as good.
                last = error
        raise last or addresses.Unresolved(f"{target.host} has no address")

    async def _post_to(
        self, address: str, target: Target, webhook: Webhook
    ) -> tuple[int, str, httpx2.Headers]:
        host = f"[{address}]" if ":" in address else address
        async with self._client.stream(
            "POST",
            f"{target.scheme}://{host}:{target.port}{target.path}",
            content=webhook.body,
            headers={**_headers(webhook), "host": target.netloc},
            extensions={"sni_hostname": target.host},
        ) as answer:
            said = b""
            async for chunk in answer.aiter_raw():
                said += chunk
                if len(said) >= ANSWER_BYTES_MAX:
                    break
            shown = said[:REASON_BYTES].decode("utf-8", "replace").strip()
            return answer.status_code, shown, answer.headers


def _headers(webhook: Webhook) -> dict[str, str]:
    now = int(time.time())
    signatures = (sign(secret, webhook.event_id, now, webhook.body) for secret in webhook.secrets)
    return {
        "content-type": "application/json",
        "user-agent": "Bursar-Webhooks/1",
        "webhook-id": webhook.event_id,
        "webhook-timestamp": str(now),
        "webhook-signature": " ".join(signatures),
        "accept-encoding": "identity",
    }


def failed(webhook: Webhook, reason: str, retry_after: str | None = None) -> DeliveryFailed:
    """The failure of a try, with the pause that its number asks for, or the receiver."""
    if webhook.attempts > len(RETRY_SECONDS):
        return DeliveryFailed(reason, dead=True)
    pause = RETRY_SECONDS[webhook.attempts - 1] * random.uniform(0.9, 1.1)  # noqa: S311
    asked = min(_seconds(retry_after), RETRY_AFTER_SECONDS_MAX)
    return DeliveryFailed(reason, pause_seconds=max(pause, asked))


def _seconds(retry_after: str | None) -> float:
    """A Retry-After in seconds: a number, or a date; 0 for neither."""
    text = (retry_after or "").strip()
    if text.isascii() and text.isdigit() and len(text) <= 9:
        return float(text)
    try:
        at = parsedate_to_datetime(text)
    except ValueError:
        return 0.0
    at = at if at.tzinfo else at.replace(tzinfo=UTC)
    return max(0.0, (at - datetime.now(UTC)).total_seconds())
