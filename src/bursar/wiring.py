"""The composition root: settings become a pool, a clock and the adapters. Imports every adapter."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta

from bursar import errors
from bursar.billing.rules import Rules
from bursar.clock import Clock, ShiftedClock, SystemClock
from bursar.config import Settings
from bursar.db import Database, open_pool
from bursar.db.connections import Connection
from bursar.db.deployment import check_mode, claim_mode, clock_ahead
from bursar.db.migrate import pending
from bursar.db.tags import TagCache
from bursar.providers.mirrored import CheckoutTerms
from bursar.providers.port import PROVIDER_NAMES, Provider
from bursar.providers.stripe import Stripe


@dataclass(frozen=True, slots=True)
class Wiring:
    """Everything that the entrypoints hand down."""

    settings: Settings
    db: Database
    clock: Clock
    providers: Mapping[str, Provider]
    tags: TagCache

    @property
    def rules(self) -> Rules:
        """The shop's rules about money that has come."""
        return rules_of(self.settings)

    def provider(self, name: str) -> Provider:
        """The adapter called `name`. Raises NotFound for no provider, NotSupported for one off."""
        if name not in PROVIDER_NAMES:
            raise errors.NotFound("There is no such payment provider.")
        try:
            return self.providers[name]
        except KeyError as error:
            on = ", ".join(sorted(self.providers)) or "none"
            raise errors.NotSupported(
                f"{name} is not set up in this deployment (set up: {on})."
            ) from error


def rules_of(settings: Settings) -> Rules:
    """The rules of settling that the settings ask for."""
    return Rules(
        of_spent=settings.refund_of_spent,
        grace=timedelta(hours=settings.grace_hours),
        failures_max=settings.dunning_attempts,
        of_duplicates=settings.duplicate_subscriptions,
    )


def make_providers(settings: Settings) -> dict[str, Provider]:
    """The adapters that the settings ask for."""
    providers: dict[str, Provider] = {}
    if settings.stripe_secret_key:
        providers["stripe"] = Stripe(
            secret_key=settings.stripe_secret_key,
            webhook_secrets=settings.stripe_webhook_secrets,
            base=settings.stripe_base,
            live=settings.mode == "live",
            terms=CheckoutTerms(
                promotion_codes=settings.promotion_codes,
                automatic_tax=settings.automatic_tax,
                payment_methods=settings.payment_methods,
            ),
            receipts=settings.receipts == "provider",
        )
    return providers


@asynccontextmanager
async def opened(
    settings: Settings, *, clock: Clock | None = None, claim: bool = True
) -> AsyncIterator[Wiring]:
    """The wiring on a database that is migrated and belongs to this mode.

    A database without a mode is given this one; without `claim` it stays as it is, for an act
    that may fail before anything is stored.
    Raises Misconfigured (no DATABASE_URL, ModeMismatch, MigrationFailed for a schema that is
    behind) and DatabaseUnavailable.
    """
    if settings.database_url is None:
        raise errors.Misconfigured("DATABASE_URL is not set.")
    db = await open_pool(settings.database_url)
    providers = make_providers(settings)
    tags = TagCache(settings.database_url)
    try:
        async with db.connection() as conn:
            if missing := await pending(conn):
                raise errors.MigrationFailed(
                    f"The schema is behind ({', '.join(missing)}). Run `bursar migrate`."
                )
            await (claim_mode if claim else check_mode)(conn, settings.mode)
            clock = clock or await _clock(conn, settings)
        yield Wiring(settings, db, clock, providers, tags)
    finally:
        await tags.close()
        for provider in providers.values():
            await provider.close()
        await db.close()


async def _clock(conn: Connection, settings: Settings) -> Clock:
    """The machine's clock; in a sandbox one that follows it, beginning where it was left."""
    if settings.mode != "sandbox":
        return SystemClock()
    return ShiftedClock(timedelta(seconds=await clock_ahead(conn)))
