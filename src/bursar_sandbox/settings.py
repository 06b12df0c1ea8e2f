"""How a sandbox is set up: where it keeps its state, where it listens, how it retries."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

DEFAULT_PORT = 12111
# Stripe tries three times more over a few hours in test mode; here it is seconds, so that a test or
# a person at a desk sees it happen.
DEFAULT_RETRY = (1.0, 5.0, 30.0, 120.0)


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything a sandbox needs to know.

    `home` is the directory of its state, None for a sandbox that forgets; `public_url` is how
    browsers reach it, None for however each caller did; `webhook` is an endpoint, as (URL, secret),
    that exists from the start; `retry_seconds` are the waits after each failed delivery, in real
    time; `answer_seconds` is how long a receiver may take; `smtp_port` is the mail server's, 0 for
    a free one.
    """

    home: Path | None = None
    host: str = "127.0.0.1"
    port: int = DEFAULT_PORT
    public_url: str | None = None
    record: Path | None = None
    webhook: tuple[str, str] | None = None
    retry_seconds: tuple[float, ...] = DEFAULT_RETRY
    answer_seconds: float = 10.0
    smtp_port: int = 0


def parse_retry(text: str) -> tuple[float, ...]:
    """Waits in seconds, such as `0.5,2,10`; raises ValueError for anything else."""
    waits = tuple(float(part) for part in text.split(",") if part.strip())
    if any(wait < 0 for wait in waits):
        raise ValueError("a wait can't be negative")
    return waits


def parse_webhook(text: str) -> tuple[str, str]:
    """`URL,SECRET`; raises ValueError when one is missing."""
    url, _, secret = text.rpartition(",")
    if not url.startswith(("http://", "https://")) or not secret:
        raise ValueError("expected URL,SECRET")
    return url, secret


def from_environment(environment: Mapping[str, str] = os.environ) -> Settings:
    """What the environment says: BURSAR_SANDBOX_STRIPE_PORT, _SMTP_PORT, _RECORD, _RETRY and
    _STRIPE_WEBHOOK.

    Raises ValueError for what can't be read.
    """
    record = environment.get("BURSAR_SANDBOX_RECORD")
    retry = environment.get("BURSAR_SANDBOX_RETRY")
    webhook = environment.get("BURSAR_SANDBOX_STRIPE_WEBHOOK")
    return Settings(
        port=int(environment.get("BURSAR_SANDBOX_STRIPE_PORT") or DEFAULT_PORT),
        smtp_port=int(environment.get("BURSAR_SANDBOX_SMTP_PORT") or 0),
        record=Path(record) if record else None,
        retry_seconds=parse_retry(retry) if retry else DEFAULT_RETRY,
        webhook=parse_webhook(webhook) if webhook else None,
    )
