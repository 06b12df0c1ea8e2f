"""What the provider's portal offers: the plans on sale, group by group.

Called by a push, once prices are on sale. Reads the catalogue and writes nothing here. A portal
that can't be brought up to date is told of; the push stands.
"""

from __future__ import annotations

from collections.abc import Iterable

from bursar import errors
from bursar.billing import catalog_plans
from bursar.billing.catalog import DEFAULT_CURRENCY
from bursar.billing.catalog_file import product_id
from bursar.billing.catalog_plans import Plan, PlanPrice
from bursar.db import Database
from bursar.providers.port import Provider
from bursar.providers.recurring import PortalOffer, PortalProduct

COUNTED = "seats"
"""The limit of plans of which people buy as many as they need."""

FAILURES = (errors.ProviderUnavailable, errors.ProviderRejected, errors.ProviderUnknown)


async def put(db: Database, provider: Provider) -> str | None:
    """Have a provider's portal offer the plans on sale; why it could not, in words, or None.

    A provider without a portal is left alone.
    """
    if not provider.capabilities.recurring.portal:
        return None
    async with db.connection() as conn:
        plans = await catalog_plans.list_plans(conn, provider.name)
    try:
        await provider.put_portal(offers_of(plans))
    except FAILURES as error:
        return f"The portal of {provider.name} does not offer these plans yet: {error.detail}"
    return None


def offers_of(plans: Iterable[Plan]) -> list[PortalOffer]:
    """What a portal offers for these plans: one offer for each group, and one for nobody's.

    Add-ons are not chosen instead of a plan. A group in which there is nothing to choose has an
    offer without plans.
    """
    groups: dict[str, list[PortalProduct]] = {}
    for plan in plans:
        offered = groups.setdefault(plan.group, [])
        if plan.prices and not plan.terms.addon:
            offered.append(_product(plan))
    offers = [PortalOffer(None)]
    for group, products in groups.items():
        prices = sum(len(product.price_ids) for product in products)
        choice = prices > 1 or any(product.counted for product in products)
        offers.append(PortalOffer(group, tuple(products) if choice else ()))
    return offers


def _product(plan: Plan) -> PortalProduct:
    """One price for each interval, as a portal takes no more: in the default currency, if any."""
    chosen: dict[str, PlanPrice] = {}
    for price in plan.prices:
        if price.interval not in chosen or price.currency == DEFAULT_CURRENCY:
            chosen[price.interval] = price
    return PortalProduct(
        product_id("plan", plan.key),
        tuple(price.provider_price_id for price in chosen.values()),
        any(right.feature == COUNTED and right.amount is not None for right in plan.rights),
    )
