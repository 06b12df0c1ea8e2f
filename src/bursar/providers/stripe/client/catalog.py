"""Calls about what is sold: products and prices."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from typing import Any, cast

from bursar.providers.mirrored import FoundPrice, PriceOrder, ProductOrder
from bursar.providers.stripe.client import calls


class Catalog(calls.Caller):
    async def put_product(self, order: ProductOrder) -> None:
        fields: dict[str, Any] = {
            "name": order.name,
            "metadata": dict(order.metadata),
            "active": True,
            "description": order.description or "",
        }
        try:
            theirs = await calls.call(self._client.v1.products.retrieve_async(order.product_id))
            # An update that changes nothing would be an event all the same, for everybody.
            if _says(theirs.to_dict(), fields):
                return
            await calls.call(
                self._client.v1.products.update_async(order.product_id, cast("Any", fields))
            )
        except calls.NoSuchObject:
            if not order.description:
                del fields["description"]
            fields["id"] = order.product_id
            await calls.call(self._client.v1.products.create_async(cast("Any", fields)))

    async def find_price(self, lookup_key: str) -> FoundPrice | None:
        listed = await calls.call(
            self._client.v1.prices.list_async(
                {"lookup_keys": [lookup_key], "active": True, "limit": 1}
            )
        )
        if not listed.data:
            return None
        price = listed.data[0].to_dict()
        recurring = price.get("recurring") or {}
        return FoundPrice(
            price_id=price["id"],
            product_id=price["product"],
            currency=price["currency"],
            amount_minor=price.get("unit_amount"),
            recurring=recurring.get("interval"),
            tax=price.get("tax_behavior"),
        )

    async def create_price(self, order: PriceOrder) -> str:
        params: dict[str, Any] = {
            "product": order.product_id,
            "currency": order.currency,
            "unit_amount": order.amount_minor,
            "lookup_key": order.lookup_key,
            "transfer_lookup_key": True,
            "metadata": dict(order.metadata),
        }
        if order.tax:
            params["tax_behavior"] = order.tax
        if order.recurring:
            params["recurring"] = {"interval": order.recurring}
        price = await calls.call(
            self._client.v1.prices.create_async(cast("Any", params), calls.once(order.reference))
        )
        return price.id

    async def archive_price(self, price_id: str) -> None:
        # One that is not there is off sale already (a sandbox was reset, say).
        with contextlib.suppress(calls.NoSuchObject):
            await calls.call(self._client.v1.prices.update_async(price_id, {"active": False}))


def _says(theirs: Mapping[str, Any], fields: Mapping[str, Any]) -> bool:
    """Whether a product says all of `fields` already; words of others in its metadata stay."""
    kept = theirs.get("metadata") or {}
    plain = {name: theirs.get(name) for name in ("name", "active")}
    return (
        plain == {name: fields[name] for name in plain}
        and (theirs.get("description") or "") == fields["description"]
        and all((kept.get(name) or "") == value for name, value in fields["metadata"].items())
    )
