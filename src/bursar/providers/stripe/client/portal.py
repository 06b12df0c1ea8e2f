"""Calls about the customer portal: what it offers to each group of plans, and its visits.

One configuration of Stripe's for each group, found again by its metadata. What a seller sets on it
by hand stays; only the plans to choose from are kept up.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

from bursar import errors
from bursar.providers.recurring import PortalOffer, PortalProduct
from bursar.providers.stripe.client import calls
from bursar.providers.stripe.client.subscriptions import read_all

PRODUCTS_MAX = 10
"""How many products a configuration takes."""
GROUP = "bursar_group"
NO_GROUP = "-"
"""In place of a group's key, which begins with a letter or a digit."""

FEATURES: dict[str, Any] = {
    "payment_method_update": {"enabled": True},
    "invoice_history": {"enabled": True},
    "customer_update": {"enabled": True, "allowed_updates": ["email", "address", "tax_id"]},
    "subscription_cancel": {"enabled": True, "mode": "at_period_end"},
}
"""What everybody may do there."""


class Portal(calls.Caller):
    async def put_portal(self, offers: Sequence[PortalOffer]) -> None:
        theirs = await self._configurations()
        wanted = {_word(offer.group): offer for offer in offers}
        for word in theirs.keys() - wanted.keys():
            wanted[word] = PortalOffer(word)
        refused: errors.ProviderRejected | None = None
        for word, offer in wanted.items():
            try:
                if word in theirs:
                    await self._update_offer(theirs[word], offer)
                else:
                    await self._create_offer(word, offer)
            except errors.ProviderRejected as error:
                # What is refused to one group leaves the others theirs.
                refused = refused or error
        if refused is not None:
            raise refused

    async def open_portal(
        self, provider_customer_id: str, return_url: str, group: str | None = None
    ) -> str:
        theirs = await self._configurations()
        params = {"customer": provider_customer_id, "return_url": return_url}
        # Where none was put yet, Stripe takes what the seller has set as the account's default.
        found = theirs.get(_word(group)) or theirs.get(NO_GROUP)
        if found:
            params["configuration"] = found
        session = await calls.call(
            self._client.v1.billing_portal.sessions.create_async(cast("Any", params))
        )
        return str(session.url)

    async def _configurations(self) -> dict[str, str]:
        """The ids of our configurations by group. Of two the older one counts, for everybody."""
        page = self._client.v1.billing_portal.configurations.list_async
        rows = await read_all(lambda params: page(cast("Any", {"active": True, **params})))
        rows.sort(key=lambda row: (row["created"], row["id"]), reverse=True)
        return {row["metadata"][GROUP]: row["id"] for row in rows if row["metadata"].get(GROUP)}

    async def _create_offer(self, word: str, offer: PortalOffer) -> None:
        features = {**FEATURES}
        if offer.products:
            features["subscription_update"] = {
                **_choice(offer),
                "proration_behavior": "always_invoice",
                # Else who changes plans in a trial would pay at once.
                "trial_update_behavior": "continue_trial",
            }
        params = {
            "name": "Bursar" if offer.group is None else f"Bursar: {offer.group}",
            "metadata": {GROUP: word},
            "features": features,
        }
        await calls.call(
            self._client.v1.billing_portal.configurations.create_async(cast("Any", params))
        )

    async def _update_offer(self, configuration_id: str, offer: PortalOffer) -> None:
        configurations = self._client.v1.billing_portal.configurations
        found = await calls.call(
            configurations.retrieve_async(
                configuration_id, {"expand": ["features.subscription_update.products"]}
            )
        )
        wanted = _choice(offer)
        if _says(found.to_dict()["features"]["subscription_update"], wanted):
            return
        params = {"features": {"subscription_update": wanted}}
        await calls.call(configurations.update_async(configuration_id, cast("Any", params)))


def _word(group: str | None) -> str:
    return group or NO_GROUP


def _choice(offer: PortalOffer) -> dict[str, Any]:
    """Between which plans people choose, as parameters."""
    if not offer.products:
        return {"enabled": False}
    products = offer.products[:PRODUCTS_MAX]
    counted = any(product.counted for product in products)
    return {
        "enabled": True,
        "default_allowed_updates": ["price", "quantity"] if counted else ["price"],
        "products": [_product(product) for product in products],
    }


def _product(product: PortalProduct) -> dict[str, Any]:
    adjustable = {"enabled": True, "minimum": 1} if product.counted else {"enabled": False}
    return {
        "product": product.product_id,
        "prices": list(product.price_ids),
        "adjustable_quantity": adjustable,
    }


def _says(theirs: dict[str, Any], wanted: dict[str, Any]) -> bool:
    """Whether a configuration offers this already."""
    if not wanted["enabled"]:
        return theirs["enabled"] is False
    offered = [
        (row["product"], sorted(row["prices"]), bool(row["adjustable_quantity"]["enabled"]))
        for row in theirs.get("products") or ()
    ]
    asked = [
        (row["product"], sorted(row["prices"]), row["adjustable_quantity"]["enabled"])
        for row in wanted["products"]
    ]
    return (
        theirs["enabled"] is True
        and sorted(theirs["default_allowed_updates"]) == wanted["default_allowed_updates"]
        and offered == asked
    )
