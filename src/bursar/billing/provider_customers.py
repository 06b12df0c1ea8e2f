"""Customers' names at the payment providers: made there on first need, and kept.

Owns provider_customers, and writes the rows of provider_refs that name a customer. What the
provider is told of a customer is committed before it is told.
"""

from __future__ import annotations

from datetime import datetime
from uuid import uuid4

from bursar import errors
from bursar.billing.customers import User
from bursar.db import Database
from bursar.db.connections import Connection
from bursar.providers.port import CustomerOrder, Provider

INTEND = """
insert into provider_customers
    (customer_id, provider, reference, user_id, email, name, created_at)
values ($1, $2, $3, $4, $5, $6, $7)
on conflict (customer_id, provider) do nothing
"""

INTENDED = """
select reference, user_id, email, name, provider_customer_id from provider_customers
where customer_id = $1 and provider = $2
"""

# After a refusal, or when the provider has lost it, the next need tells it anew.
FORGET = """
delete from provider_customers
where customer_id = $1 and provider = $2 and provider_customer_id is not distinct from $3
"""

SETTLE = """
with settled as (
    update provider_customers set provider_customer_id = $3
    where customer_id = $1 and provider = $2 and provider_customer_id is null
    returning provider_customer_id
)
insert into provider_refs (provider, kind, ref, customer_id)
select $2, 'customer', provider_customer_id, $1 from settled
on conflict do nothing
"""


OWNER = """
select customer_id from provider_refs where provider = $1 and kind = 'customer' and ref = $2
"""

NAME = """
select provider_customer_id from provider_customers where customer_id = $1 and provider = $2
"""


async def find_owner(conn: Connection, provider: str, provider_customer_id: str) -> int | None:
    """The customer whom a provider knows under this id."""
    found: int | None = await conn.fetchval(OWNER, provider, provider_customer_id)
    return found


async def find_name(conn: Connection, provider: str, customer_id: int) -> str | None:
    """The customer's id at a provider; None for one who was never needed there."""
    found: str | None = await conn.fetchval(NAME, customer_id, provider)
    return found


async def name_at(
    db: Database, provider: Provider, customer_id: int, user: User, *, at: datetime
) -> str:
    """The customer's id at the provider, made there on first need and reused from then on.

    What the provider is told is committed first, so that a second caller, or a second try after
    a lost answer, says the same words under the same idempotency key.
    Raises ProviderUnavailable, ProviderRejected or ProviderUnknown.
    """
    async with db.connection() as conn:
        row = await conn.fetchrow(INTENDED, customer_id, provider.name)
        if row is None:
            await conn.execute(
                INTEND,
                customer_id,
                provider.name,
                uuid4(),
                user.id,
                user.email,
                user.name,
                at,
            )
            row = await conn.fetchrow(INTENDED, customer_id, provider.name)
        assert row is not None  # noqa: S101 - inserted above
    if row["provider_customer_id"] is not None:
        return str(row["provider_customer_id"])
    told = {"bursar_customer": str(customer_id), "bursar_user": row["user_id"]}
    order = CustomerOrder(str(row["reference"]), row["email"], row["name"], told)
    try:
        made = await provider.create_customer(order)
    except errors.ProviderRejected:
        await forget(db, provider, customer_id, None)
        raise
    except errors.ProviderUnknown:
        found = await provider.find_customer(order)
        if found is None:
            # A customer moves no money: the next try may make one under a new key, should the
            # provider go on replaying its failure under this one.
            await forget(db, provider, customer_id, None)
            raise
        made = found
    async with db.transaction() as conn:
        await conn.execute(SETTLE, customer_id, provider.name, made)
    return made


async def forget(
    db: Database, provider: Provider, customer_id: int, provider_customer_id: str | None
) -> None:
    """Drop the name of a customer that the provider refused (None) or does not know any more."""
    async with db.transaction() as conn:
        await conn.execute(FORGET, customer_id, provider.name, provider_customer_id)
