"""Users of the host app, the customers (billing accounts) they belong to, and their names at
providers.

Owns users, customers, members and provider_customers. A user has a personal customer from the
first request on; a team is a customer with several members.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from uuid import uuid4

from bursar import errors
from bursar.db import Database
from bursar.db.connections import Connection
from bursar.providers.port import CustomerOrder, Provider

USER_ID_MAX = 128

# The three rows of a new user. A second maker waits at the user's key, and then finds them all.
MAKE_USER = """
with made as (
    insert into users (id, created_at, updated_at) values ($1, $2, $2)
    on conflict (id) do nothing returning id
), customer as (
    insert into customers (kind, user_id, created_at)
    select 'personal', id, $2 from made returning id
)
insert into members (customer_id, user_id, role, created_at)
select id, $1, 'owner', $2 from customer
"""

FIND_USER = """
select u.id, u.email, u.email_verified, u.name, c.id as customer_id
from users u join customers c on c.user_id = u.id
where u.id = $1
"""

PUT_USER = """
update users set email = $2, email_verified = $3, name = $4, updated_at = $5 where id = $1
"""

LOCK = "select id from customers where id = $1 for no key update"

IS_MEMBER = "select true from members where customer_id = $1 and user_id = $2"

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


@dataclass(frozen=True, slots=True)
class User:
    """A user of the host app. `customer_id` is the personal billing account."""

    id: str
    email: str | None
    email_verified: bool
    name: str | None
    customer_id: int


def check_user_id(user_id: str) -> None:
    """Raise Invalid unless `user_id` is 1 to 128 printable characters."""
    if not 1 <= len(user_id) <= USER_ID_MAX or not user_id.isprintable():
        raise errors.Invalid(f"A user id has 1 to {USER_ID_MAX} printable characters.")


async def find_user(conn: Connection, user_id: str) -> User | None:
    row = await conn.fetchrow(FIND_USER, user_id)
    return User(**dict(row)) if row else None


async def ensure_user(conn: Connection, user_id: str, *, at: datetime) -> User:
    """The user, made on first sight with a personal customer. Raises Invalid for a bad id."""
    user = await find_user(conn, user_id)
    if user is None:
        check_user_id(user_id)
        await conn.execute(MAKE_USER, user_id, at)
        user = await find_user(conn, user_id)
        assert user is not None  # noqa: S101 - made above, or by the one we waited for
    return user


async def put_user(
    conn: Connection,
    user_id: str,
    *,
    email: str | None,
    email_verified: bool,
    name: str | None,
    at: datetime,
) -> User:
    """Make a user or bring one up to date with what the host app says."""
    await ensure_user(conn, user_id, at=at)
    await conn.execute(PUT_USER, user_id, email, email_verified, name, at)
    user = await find_user(conn, user_id)
    assert user is not None  # noqa: S101 - ensured above
    return user


async def lock(conn: Connection, customer_id: int) -> None:
    """Keep a customer's balance still until the transaction ends."""
    await conn.fetchval(LOCK, customer_id)


async def customer_for(conn: Connection, user: User, customer_id: int | None) -> int:
    """The customer that a request is for: the one named, else the personal one.

    Raises NotFound when the user is no member of it, which looks the same as none there.
    """
    if customer_id is None or customer_id == user.customer_id:
        return user.customer_id
    if not await conn.fetchval(IS_MEMBER, customer_id, user.id):
        raise errors.NotFound("There is no such customer.")
    return customer_id


async def provider_customer(
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
        await forget_provider_customer(db, provider, customer_id, None)
        raise
    except errors.ProviderUnknown:
        found = await provider.find_customer(order)
        if found is None:
            # A customer moves no money: the next try may make one under a new key, should the
            # provider go on replaying its failure under this one.
            await forget_provider_customer(db, provider, customer_id, None)
            raise
        made = found
    async with db.transaction() as conn:
        await conn.execute(SETTLE, customer_id, provider.name, made)
    return made


async def forget_provider_customer(
    db: Database, provider: Provider, customer_id: int, provider_customer_id: str | None
) -> None:
    """Drop the name of a customer that the provider refused (None) or does not know any more."""
    async with db.transaction() as conn:
        await conn.execute(FORGET, customer_id, provider.name, provider_customer_id)
