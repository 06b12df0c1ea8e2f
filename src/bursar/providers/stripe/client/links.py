"""Calls about payment links: an address that sells one price to anybody."""

from __future__ import annotations

import contextlib
from typing import Any, cast

from bursar.providers.after_sale import LinkOrder, OpenedLink
from bursar.providers.stripe.client import calls

REFERENCE = "bursar_link"
"""The metadata key of our reference. It is not a payment's: every purchase by the link has it."""


class Links(calls.Caller):
    async def create_link(self, order: LinkOrder) -> OpenedLink:
        metadata = {REFERENCE: order.reference}
        params: dict[str, Any] = {
            "line_items": [{"price": order.price_id, "quantity": 1}],
            "metadata": metadata,
            "payment_intent_data": {"metadata": metadata},
        }
        link = await calls.call(
            self._client.v1.payment_links.create_async(
                cast("Any", params), calls.once(order.reference)
            )
        )
        return OpenedLink(link.id, link.url)

    async def find_link(self, reference: str) -> OpenedLink | None:
        listed = await calls.call(
            self._client.v1.payment_links.list_async({"active": True, "limit": 100})
        )
        for link in listed.data:
            if (link.to_dict().get("metadata") or {}).get(REFERENCE) == reference:
                return OpenedLink(link.id, link.url)
        return None

    async def close_link(self, link_id: str) -> None:
        # One that is not there sells nothing already (a sandbox was reset, say).
        with contextlib.suppress(calls.NoSuchObject):
            await calls.call(self._client.v1.payment_links.update_async(link_id, {"active": False}))
