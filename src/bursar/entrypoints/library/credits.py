"""Credits, as a host uses them in its own process: spent, reserved, given and given back.

Amounts are integers in the unit's smallest part. A `key` makes a repeat harmless: it is the cause
in the ledger, the same one that a service's Idempotency-Key would be over HTTP.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from typing import Annotated, TypeVar

import orjson
from pydantic import AwareDatetime, Field

from bursar import errors
from bursar.access import idempotency
from bursar.billing import catalog, grants, holds, uses
from bursar.billing.holds import Capture, Captured, Opened, Release, Reserve, Standing
from bursar.billing.uses import Done, Return, Use
from bursar.db import Connection
from bursar.entrypoints.api.holds import DEFAULT_SECONDS, CaptureRequest, HoldRequest
from bursar.entrypoints.api.requests import (
    Credits as Amount,
)
from bursar.entrypoints.api.requests import (
    Description,
    ReverseRequest,
    Sent,
    UnitName,
    UseRequest,
)
from bursar.entrypoints.api.uses import ledger_request
from bursar.entrypoints.library.accounts import (
    SERVICE,
    GetWiring,
    asked,
    check_id,
    check_key,
    find_account,
)
from bursar.ledger import balances
from bursar.ledger.balances import Balance
from bursar.wiring import Wiring

T = TypeVar("T")


class GrantAsked(Sent):
    """Credits to give: bonus credits, with an end or without one."""

    amount: Amount
    reason: Description
    unit: UnitName | None = None
    expires_at: Annotated[AwareDatetime, Field()] | None = None


async def _run(
    wiring: Wiring, work: Callable[[Connection], Awaitable[list[T | errors.Error]]]
) -> T:
    """Do one thing in a transaction; a refusal is raised."""
    [outcome] = await wiring.db.run(work)
    if isinstance(outcome, errors.Error):
        raise outcome
    return outcome


class Credits:
    """Credits of a user, or of the team named by `customer_id`."""

    def __init__(self, wiring: GetWiring) -> None:
        self._wiring = wiring

    async def use(
        self,
        user_id: str,
        amount: int,
        *,
        key: str,
        unit: str | None = None,
        description: str | None = None,
        customer_id: int | None = None,
    ) -> Done:
        """Take `amount` credits, once for each `key`.

        Raises errors.InsufficientCredits, which takes nothing and leaves the key free,
        errors.IdempotencyKeyReused, errors.UnknownUnit, errors.Invalid.
        """
        wiring = self._wiring()
        body = asked(UseRequest, amount=amount, unit=unit, description=description)
        check_key(key)
        account = await find_account(wiring, user_id, customer_id)
        request = ledger_request(SERVICE, account.customer_id, key, body, description)

        async def work(conn: Connection) -> list[Done | errors.Error]:
            name = (await catalog.get_unit(conn, unit)).name
            return await uses.use(
                conn,
                [Use(request, name, amount)],
                at=wiring.clock.now(),
                refuse_owing=wiring.settings.block_use_while_owing,
            )

        return await _run(wiring, work)

    async def give_back(
        self,
        user_id: str,
        transaction_id: int,
        *,
        key: str,
        amount: int | None = None,
        description: str | None = None,
        customer_id: int | None = None,
    ) -> Done:
        """Give a use back to where it came from: all that is left of it, or `amount`.

        Raises errors.NotFound, errors.ReversalExceedsUse, errors.IdempotencyKeyReused.
        """
        wiring = self._wiring()
        body = asked(ReverseRequest, amount=amount, description=description)
        used = check_id("transaction_id", transaction_id)
        check_key(key)
        account = await find_account(wiring, user_id, customer_id)
        about = str(used).encode()
        request = ledger_request(SERVICE, account.customer_id, key, body, description, about)

        async def work(conn: Connection) -> list[Done | errors.Error]:
            wanted = [Return(request, used, amount)]
            return await uses.give_back(conn, wanted, by=SERVICE, at=wiring.clock.now())

        return await _run(wiring, work)

    async def hold(
        self,
        user_id: str,
        amount: int,
        *,
        key: str,
        unit: str | None = None,
        description: str | None = None,
        expires_in_seconds: int = DEFAULT_SECONDS,
        customer_id: int | None = None,
    ) -> Opened:
        """Reserve credits for work whose cost is known only afterwards; they come back by
        themselves after `expires_in_seconds` (a minute to seven days).

        Raises errors.InsufficientCredits, errors.IdempotencyKeyReused, errors.UnknownUnit.
        """
        wiring = self._wiring()
        body = asked(
            HoldRequest,
            amount=amount,
            unit=unit,
            description=description,
            expires_in_seconds=expires_in_seconds,
        )
        check_key(key)
        account = await find_account(wiring, user_id, customer_id)
        request = ledger_request(SERVICE, account.customer_id, key, body, description)
        lasting = timedelta(seconds=expires_in_seconds)

        async def work(conn: Connection) -> list[Opened | errors.Error]:
            name = (await catalog.get_unit(conn, unit)).name
            return await holds.open(
                conn,
                [Reserve(request, name, amount, lasting)],
                at=wiring.clock.now(),
                refuse_owing=wiring.settings.block_use_while_owing,
            )

        return await _run(wiring, work)

    async def capture(
        self,
        user_id: str,
        hold_id: int,
        *,
        key: str,
        amount: int | None = None,
        description: str | None = None,
        customer_id: int | None = None,
    ) -> Captured:
        """Settle a hold: use `amount` of it, or all, and give the rest back.

        Raises errors.NotFound, errors.CaptureExceedsHold, errors.HoldClosed,
        errors.IdempotencyKeyReused.
        """
        wiring = self._wiring()
        body = asked(CaptureRequest, amount=amount, description=description)
        number = check_id("hold_id", hold_id)
        check_key(key)
        account = await find_account(wiring, user_id, customer_id)
        about = str(number).encode()
        request = ledger_request(SERVICE, account.customer_id, key, body, description, about)

        async def work(conn: Connection) -> list[Captured | errors.Error]:
            wanted = [Capture(request, number, amount)]
            return await holds.capture(conn, wanted, at=wiring.clock.now())

        return await _run(wiring, work)

    async def release(
        self, user_id: str, hold_id: int, *, customer_id: int | None = None
    ) -> Standing:
        """Give a hold back; a repeat does no harm. Raises errors.NotFound, errors.HoldClosed."""
        wiring = self._wiring()
        number = check_id("hold_id", hold_id)
        account = await find_account(wiring, user_id, customer_id)
        wanted = Release(account.customer_id, SERVICE.principal, number)

        async def work(conn: Connection) -> list[Standing | errors.Error]:
            return await holds.release(conn, [wanted], at=wiring.clock.now())

        return await _run(wiring, work)

    async def grant(
        self,
        user_id: str,
        amount: int,
        *,
        key: str,
        reason: str,
        unit: str | None = None,
        expires_at: datetime | None = None,
        customer_id: int | None = None,
    ) -> grants.Done:
        """Give bonus credits, until `expires_at` if there is an end; the audit log keeps why.

        Raises errors.IdempotencyKeyReused, errors.UnknownUnit, errors.Invalid.
        """
        wiring = self._wiring()
        body = asked(GrantAsked, amount=amount, reason=reason, unit=unit, expires_at=expires_at)
        check_key(key)
        account = await find_account(wiring, user_id, customer_id)
        said = orjson.dumps(body.model_dump(), option=orjson.OPT_SORT_KEYS | orjson.OPT_UTC_Z)
        wanted = grants.Wanted(
            customer_id=account.customer_id,
            unit=unit,
            amount=amount,
            reason=reason,
            actor=SERVICE,
            key=key,
            request_hash=idempotency.hash_request(said),
            expires_at=expires_at,
        )

        async def work(conn: Connection) -> grants.Done:
            return await grants.grant(conn, wanted, at=wiring.clock.now())

        return await wiring.db.run(work)

    async def balance(
        self, user_id: str, *, unit: str | None = None, customer_id: int | None = None
    ) -> Balance:
        """What can be spent, is held and is owed, in one unit. Raises errors.UnknownUnit."""
        wiring = self._wiring()
        account = await find_account(wiring, user_id, customer_id)
        async with wiring.db.connection() as conn:
            name = (await catalog.get_unit(conn, unit)).name
            return await balances.balance(conn, account.customer_id, name, at=wiring.clock.now())
