"""Calls that read subscriptions and their invoices as they are now.

A message about a subscription is only a knock: what stands is read here, whole.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, cast

from bursar import errors
from bursar.providers.recurring import InvoiceFact, SubscriptionFact
from bursar.providers.stripe.client import calls
from bursar.providers.stripe.translate import fields, invoices, subscriptions

INVOICES = 10
PAGE = 100
PAGES_MAX = 10
# Where an invoice says how it is paid and with which coupons, only when asked for.
PARTS = ("payments", "discounts")


class Subscriptions(calls.Caller):
    async def fetch_subscription(
        self, *, subscription_id: str | None = None, invoice_id: str | None = None
    ) -> SubscriptionFact | None:
        named: dict[str, Any] | None = None
        if invoice_id is not None:
            named = await self._find_invoice(invoice_id)
            owner = None if named is None else invoices.subscription_of(named)
            subscription_id = subscription_id or owner
            if owner != subscription_id:
                named = None
        body = None if subscription_id is None else await self._find_subscription(subscription_id)
        if subscription_id is None or body is None:
            return None
        told = await self._list_invoices(subscription_id, named)
        return calls.read(body, lambda answer: subscriptions.answer(answer, told))

    async def _find_subscription(self, subscription_id: str) -> dict[str, Any] | None:
        """A subscription with all its items, and with its customer."""
        try:
            found = await calls.call(
                self._client.v1.subscriptions.retrieve_async(
                    subscription_id, {"expand": ["customer"]}
                )
            )
        except calls.NoSuchObject:
            return None
        body = found.to_dict()
        await self._complete_items(body)
        return body

    async def _find_invoice(self, invoice_id: str) -> dict[str, Any] | None:
        try:
            found = await calls.call(
                self._client.v1.invoices.retrieve_async(invoice_id, {"expand": list(PARTS)})
            )
        except calls.NoSuchObject:
            return None
        return found.to_dict()

    async def _list_invoices(
        self, subscription_id: str, named: dict[str, Any] | None
    ) -> list[InvoiceFact]:
        """The newest invoices, the newest first, and the one that was named."""
        listed = await calls.call(
            self._client.v1.invoices.list_async(
                {
                    "subscription": subscription_id,
                    "limit": INVOICES,
                    "expand": [f"data.{part}" for part in PARTS],
                }
            )
        )
        bodies: list[dict[str, Any]] = listed.to_dict()["data"]
        if named is not None and named["id"] not in [body["id"] for body in bodies]:
            bodies.append(named)
        asked = {body["id"] for body in (*bodies[:1], *([named] if named else []))}
        return [await self._invoice(body, whole=body["id"] in asked) for body in bodies]

    async def _invoice(self, body: dict[str, Any], *, whole: bool) -> InvoiceFact:
        """One invoice with all its lines; with its payment, where that tells what is owed.

        A list can't be asked for payments that deep, so each is a call of its own.
        """
        await self._complete_lines(body)
        intent: dict[str, Any] | None = None
        intent_id, _ = calls.read(body, invoices.payment_of)
        if intent_id is not None and (whole or body.get("status") in invoices.OWED):
            found = await calls.call(self._client.v1.payment_intents.retrieve_async(intent_id))
            intent = found.to_dict()
        return calls.read(body, lambda answer: invoices.answer(answer, intent))

    async def _complete_lines(self, invoice: dict[str, Any]) -> None:
        """Put all lines on an invoice that shows the first ones only."""
        if fields.has_more(invoice.get("lines")):
            page = self._client.v1.invoices.line_items.list_async
            rows = await read_all(lambda params: page(str(invoice["id"]), cast("Any", params)))
            invoice["lines"] = {"data": rows}

    async def _complete_items(self, subscription: dict[str, Any]) -> None:
        if fields.has_more(subscription.get("items")):
            page = self._client.v1.subscription_items.list_async
            of = {"subscription": subscription["id"]}
            rows = await read_all(lambda params: page(cast("Any", {**of, **params})))
            subscription["items"] = {"data": rows}


async def read_all(page: Callable[[dict[str, Any]], Awaitable[Any]]) -> list[dict[str, Any]]:
    """A whole list. Raises ProviderUnknown for one that is too long to be read."""
    params: dict[str, Any] = {"limit": PAGE}
    rows: list[dict[str, Any]] = []
    for _ in range(PAGES_MAX):
        listed = await calls.call(page(params))
        rows += listed.to_dict()["data"]
        if not listed.has_more:
            return rows
        params["starting_after"] = rows[-1]["id"]
    raise errors.ProviderUnknown("Stripe lists more than can be read.")
