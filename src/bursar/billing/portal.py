"""The provider's own page for a customer: cards, invoices, subscriptions.

Opened for customers whom the provider knows. It makes none: who has bought nothing has nothing to
look after there.
"""

from __future__ import annotations

from bursar import errors
from bursar.billing import provider_customers
from bursar.billing.subscriptions import rows
from bursar.db import Connection, Database
from bursar.providers.port import Provider

NOTHING_BOUGHT = (
    "Nothing was bought here yet, so there is nothing to look after. Buy something first."
)


async def open(db: Database, provider: Provider, customer_id: int, *, return_url: str) -> str:
    """The address of a customer's portal, good for one visit soon; it leads back to `return_url`.

    Raises NoCustomer, NotSupported, ProviderRejected, ProviderUnavailable and ProviderUnknown.
    """
    if not provider.capabilities.recurring.portal:
        raise errors.NotSupported(f"{provider.name} has no portal.")
    async with db.connection() as conn:
        name = await provider_customers.find_name(conn, provider.name, customer_id)
        group = await _group(conn, provider, customer_id)
    if name is None:
        raise errors.NoCustomer(NOTHING_BOUGHT)
    try:
        return await provider.open_portal(name, return_url, group)
    except errors.ProviderCustomerMissing as error:
        # Somebody deleted the customer at the provider; the next purchase makes one anew.
        await provider_customers.forget(db, provider, customer_id, name)
        raise errors.NoCustomer(NOTHING_BOUGHT) from error


async def _group(conn: Connection, provider: Provider, customer_id: int) -> str | None:
    """The group between whose plans a customer may choose there.

    A portal offers the same plans for everything that a customer subscribes to: with add-ons, or
    plans of several groups, one could be changed into a second plan of another group. So none is
    offered then; our own pages tell them apart.
    """
    live = await rows.list_live(conn, customer_id)
    here = [row for row in live if row.provider == provider.name]
    groups = {row.plan_group for row in here}
    if len(groups) != 1 or any(row.addon for row in here):
        return None
    return groups.pop()
