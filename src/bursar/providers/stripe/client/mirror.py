"""Calls that read the catalogue as Stripe has it: everything, one thing, or what a code stands for.

Makes and changes nothing.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any, cast

from bursar import errors
from bursar.providers.mirrored import CatalogFact, Kind
from bursar.providers.port import Unusable
from bursar.providers.stripe.client import calls
from bursar.providers.stripe.translate import catalog

PAGE = 100
PAGES_MAX = 1000
LONG_AGO = datetime.fromtimestamp(0, UTC)
"""Since when a thing is gone that nobody can tell of: any event of it is newer."""
# What a coupon is for, and what it takes off in other currencies, is told only when asked for.
COUPON_PARTS = ("applies_to", "currency_options")


class Mirror(calls.Caller):
    async def list_catalog(self) -> list[CatalogFact]:
        v1 = self._client.v1
        listed: list[tuple[Kind, Callable[[Any], Awaitable[Any]], tuple[str, ...]]] = [
            ("product", v1.products.list_async, ()),
            ("price", v1.prices.list_async, ()),
            ("coupon", v1.coupons.list_async, COUPON_PARTS),
            ("promotion_code", v1.promotion_codes.list_async, ()),
        ]
        return [fact for kind, page, parts in listed for fact in await _read_all(kind, page, parts)]

    async def fetch_catalog(self, kind: Kind, thing_id: str) -> CatalogFact:
        v1 = self._client.v1
        try:
            if kind == "coupon":
                found: Any = await calls.call(
                    v1.coupons.retrieve_async(thing_id, {"expand": list(COUPON_PARTS)})
                )
            elif kind == "promotion_code":
                found = await calls.call(v1.promotion_codes.retrieve_async(thing_id))
            elif kind == "product":
                found = await calls.call(v1.products.retrieve_async(thing_id))
            else:
                found = await calls.call(v1.prices.retrieve_async(thing_id))
        except calls.NoSuchObject:
            return CatalogFact(provider="stripe", kind=kind, id=thing_id, at=LONG_AGO)
        return _fact(kind, found)

    async def find_discount(self, code: str) -> list[CatalogFact]:
        listed = await calls.call(
            self._client.v1.promotion_codes.list_async({"code": code, "limit": PAGE})
        )
        found = [_fact("promotion_code", promotion) for promotion in listed.data]
        ids = dict.fromkeys(str(fact.body["coupon"]) for fact in found)
        coupons = [await self.fetch_catalog("coupon", coupon_id) for coupon_id in ids or [code]]
        return [*found, *(coupon for coupon in coupons if not coupon.gone)]


async def _read_all(
    kind: Kind, page: Callable[[Any], Awaitable[Any]], parts: tuple[str, ...]
) -> list[CatalogFact]:
    params: dict[str, Any] = {"limit": PAGE}
    if parts:
        params["expand"] = [f"data.{part}" for part in parts]
    facts: list[CatalogFact] = []
    for _ in range(PAGES_MAX):
        listed = await calls.call(page(cast("Any", params)))
        facts += [_fact(kind, thing) for thing in listed.data]
        if not listed.has_more:
            return facts
        params["starting_after"] = facts[-1].id
    raise errors.ProviderUnknown("Stripe lists more than can be read.")


def _fact(kind: Kind, thing: Any) -> CatalogFact:
    body = thing.to_dict()
    if kind == "coupon":
        # Asked for and not there: it is for everything.
        body.setdefault("applies_to", None)
    try:
        return catalog.answer(kind, body)
    except Unusable as error:
        raise errors.ProviderUnknown(f"Stripe's answer can't be read: {error}") from error
