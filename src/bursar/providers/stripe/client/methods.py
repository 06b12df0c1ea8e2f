"""Calls about the cards that a customer saved."""

from __future__ import annotations

import contextlib
from typing import Any, cast

from bursar import errors
from bursar.providers.after_sale import Card
from bursar.providers.stripe.client import calls
from bursar.providers.stripe.client.subscriptions import read_all
from bursar.providers.stripe.translate import fields

ENDED = ("canceled", "incomplete_expired")


class Methods(calls.Caller):
    async def list_cards(self, provider_customer_id: str) -> list[Card]:
        try:
            customer = await calls.call(
                self._client.v1.customers.retrieve_async(provider_customer_id)
            )
            listed = await calls.call(
                self._client.v1.customers.payment_methods.list_async(
                    provider_customer_id, {"type": "card", "limit": 100}
                )
            )
        except (calls.NoSuchObject, errors.ProviderCustomerMissing):
            # Somebody deleted the customer at Stripe, and the cards with it.
            return []
        settings = fields.part(customer.to_dict(), "invoice_settings")
        default = fields.find_id(settings.get("default_payment_method"))
        return [_card(method, default) for method in listed.to_dict()["data"]]

    async def remove_card(self, card_id: str) -> None:
        await calls.call(self._client.v1.payment_methods.detach_async(card_id))

    async def set_default_card(self, provider_customer_id: str, card_id: str) -> None:
        await calls.call(
            self._client.v1.customers.update_async(
                provider_customer_id, {"invoice_settings": {"default_payment_method": card_id}}
            )
        )
        await self._set_card_of_subscriptions(provider_customer_id, card_id)

    async def _set_card_of_subscriptions(self, provider_customer_id: str, card_id: str) -> None:
        """Have running subscriptions charge the card: a checkout left each a card of its own."""
        v1 = self._client.v1
        of = {"customer": provider_customer_id}
        rows = await read_all(
            lambda params: v1.subscriptions.list_async(cast("Any", {**of, **params}))
        )
        for row in rows:
            own = fields.find_id(row.get("default_payment_method"))
            if own != card_id and row.get("status") not in ENDED:
                with contextlib.suppress(calls.NoSuchObject):
                    await calls.call(
                        v1.subscriptions.update_async(
                            row["id"], {"default_payment_method": card_id}
                        )
                    )


def _card(method: dict[str, Any], default: str | None) -> Card:
    card = fields.part(method, "card")
    return Card(
        id=method["id"],
        brand=str(card.get("brand") or "card"),
        last4=str(card.get("last4") or ""),
        exp_month=int(card.get("exp_month") or 0),
        exp_year=int(card.get("exp_year") or 0),
        default=method["id"] == default,
    )
