"""Entitlements, as a host asks for them in its own process: may this customer, and how much."""

from __future__ import annotations

from bursar import errors
from bursar.billing import entitlements
from bursar.billing.rights import Entitled
from bursar.db import Connection
from bursar.entrypoints.api.entitlement_bodies import ConsumeRequest
from bursar.entrypoints.api.entitlements import FEATURE
from bursar.entrypoints.library.accounts import GetWiring, asked, find_account


class Entitlements:
    """Features and limits of a user, or of the team named by `customer_id`."""

    def __init__(self, wiring: GetWiring) -> None:
        self._wiring = wiring

    async def check(
        self, user_id: str, feature: str, *, customer_id: int | None = None
    ) -> Entitled:
        """Whether a feature may be used now, and how much of it is left; a few milliseconds.

        What a customer has is kept in memory for a moment, and dropped when it changes.
        """
        wiring = self._wiring()
        _check_feature(feature)
        account = await find_account(wiring, user_id, customer_id)
        return await entitlements.check_known(
            wiring.db, wiring.tags, account.customer_id, feature, at=wiring.clock.now()
        )

    async def consume(
        self, user_id: str, feature: str, amount: int = 1, *, customer_id: int | None = None
    ) -> Entitled:
        """Use up `amount` of a limit, whole or not at all; what has no limit is not counted.

        Each call counts: there is no key. Raises errors.NotEntitled and errors.LimitReached.
        """
        wiring = self._wiring()
        _check_feature(feature)
        asked(ConsumeRequest, amount=amount)
        account = await find_account(wiring, user_id, customer_id)

        async def work(conn: Connection) -> Entitled:
            return await entitlements.consume(
                conn, account.customer_id, feature, amount, at=wiring.clock.now()
            )

        return await wiring.db.run(work)


def _check_feature(feature: str) -> None:
    if not isinstance(feature, str) or not FEATURE.fullmatch(feature):
        raise errors.Invalid("A feature is called by small letters, digits and _.")
