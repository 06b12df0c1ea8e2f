"""Users of the host app, the customers (billing accounts) they belong to, and in which role.

Owns users, customers and members. A user has a personal customer from the first request on; a
team is a customer with several members. It decides nothing about teams: who may change what, and
how many there may be, is decided in `teams`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from bursar import errors
from bursar.db.connections import Connection

Role = Literal["owner", "admin", "member"]
Kind = Literal["house", "personal", "team"]

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

# The same for many, with the e-mail address of those whose address is not known. In the order of
# their ids, so that two who make the same users don't wait for each other in a ring.
MAKE_USERS = """
with wanted as (
    select * from unnest($1::text[], $2::text[]) as w (id, email)
), made as (
    insert into users (id, email, created_at, updated_at)
    select id, email, $3, $3 from wanted order by id
    on conflict (id) do nothing returning id
), known as (
    update users u set email = w.email, updated_at = $3 from wanted w
    where u.id = w.id and u.email is null and w.email is not null
), customer as (
    insert into customers (kind, user_id, created_at)
    select 'personal', id, $3 from made order by id returning id, user_id
)
insert into members (customer_id, user_id, role, created_at)
select id, user_id, 'owner', $3 from customer
"""

PERSONAL = "select user_id, id from customers where user_id = any ($1)"

FIND_USER = """
select u.id, u.email, u.email_verified, u.name, c.id as customer_id
from users u join customers c on c.user_id = u.id
where u.id = $1
"""

# Two are asked for, to know whether there is one.
BY_EMAIL = """
select u.id, u.email, u.email_verified, u.name, c.id as customer_id
from users u join customers c on c.user_id = u.id
where lower(u.email) = lower($1) and u.email_verified limit 2
"""

PERSON_OF = "select user_id from customers where id = $1"

PUT_USER = """
update users set email = $2, email_verified = $3, name = $4, updated_at = $5 where id = $1
"""

LOCK = "select id, kind, name from customers where id = $1 for no key update"

FIND_CUSTOMER = "select id, kind, name from customers where id = $1"

ROLE = "select role from members where customer_id = $1 and user_id = $2"

MAKE_TEAM = """
with made as (
    insert into customers (kind, name, created_at) values ('team', $2, $3) returning id
), owner as (
    insert into members (customer_id, user_id, role, created_at)
    select id, $1, 'owner', $3 from made
)
select id from made
"""

RENAME = "update customers set name = $2 where id = $1"

PUT_MEMBER = """
insert into members (customer_id, user_id, role, created_at) values ($1, $2, $3, $4)
on conflict (customer_id, user_id) do update set role = excluded.role
"""

REMOVE_MEMBER = "delete from members where customer_id = $1 and user_id = $2"

LIST_MEMBERS = """
select m.user_id, u.email, u.name, m.role, m.created_at as joined_at
from members m join users u on u.id = m.user_id
where m.customer_id = $1
order by m.created_at, m.user_id
"""

COUNT_MEMBERS = """
select count(*) as members, count(*) filter (where role = 'owner') as owners
from members where customer_id = $1
"""

LIST_MEMBERSHIPS = """
select c.id as customer_id, c.kind, c.name, m.role
from members m join customers c on c.id = m.customer_id
where m.user_id = $1 and ($2::bigint is null or c.id < $2) and ($3 or c.kind = 'team')
order by c.id desc
limit $4
"""


@dataclass(frozen=True, slots=True)
class User:
    """A user of the host app. `customer_id` is the personal billing account."""

    id: str
    email: str | None
    email_verified: bool
    name: str | None
    customer_id: int


@dataclass(frozen=True, slots=True)
class Customer:
    """A billing account. A team has a name; a personal one goes by its user."""

    id: int
    kind: Kind
    name: str | None


@dataclass(frozen=True, slots=True)
class Membership:
    """A customer that a user belongs to, and as what."""

    customer_id: int
    kind: Kind
    name: str | None
    role: Role

    @property
    def id(self) -> int:
        """The customer's id, by which lists of these are sorted."""
        return self.customer_id


@dataclass(frozen=True, slots=True)
class Member:
    """A user who belongs to a customer, as the others see them."""

    user_id: str
    email: str | None
    name: str | None
    role: Role
    joined_at: datetime


def check_user_id(user_id: str) -> None:
    """Raise Invalid unless `user_id` is 1 to 128 printable characters."""
    if not 1 <= len(user_id) <= USER_ID_MAX or not user_id.isprintable():
        raise errors.Invalid(f"A user id has 1 to {USER_ID_MAX} printable characters.")


async def find_user(conn: Connection, user_id: str) -> User | None:
    row = await conn.fetchrow(FIND_USER, user_id)
    return User(**dict(row)) if row else None


async def find_by_email(conn: Connection, email: str) -> User | None:
    """The user whose verified address this is; None when there is none, or more than one."""
    rows = await conn.fetch(BY_EMAIL, email)
    return User(**dict(rows[0])) if len(rows) == 1 else None


async def find_person(conn: Connection, customer_id: int) -> str | None:
    """The user of a personal customer; None for a team, or for none there."""
    found: str | None = await conn.fetchval(PERSON_OF, customer_id)
    return found


async def ensure_user(conn: Connection, user_id: str, *, at: datetime) -> User:
    """The user, made on first sight with a personal customer. Raises Invalid for a bad id."""
    user = await find_user(conn, user_id)
    if user is None:
        check_user_id(user_id)
        await conn.execute(MAKE_USER, user_id, at)
        user = await find_user(conn, user_id)
        assert user is not None  # noqa: S101 - made above, or by the one we waited for
    return user


async def ensure_users(
    conn: Connection, emails: Mapping[str, str | None], *, at: datetime
) -> dict[str, int]:
    """Many users by their ids, made on first sight; returns their personal customers.

    An address is kept where none is known, as one that nobody has verified. Raises Invalid for a
    bad id.
    """
    for user_id in emails:
        check_user_id(user_id)
    await conn.execute(MAKE_USERS, list(emails), list(emails.values()), at)
    return await find_personal(conn, list(emails))


async def find_personal(conn: Connection, user_ids: Sequence[str]) -> dict[str, int]:
    """The personal customers of those of the users who are known."""
    rows = await conn.fetch(PERSONAL, list(user_ids))
    return {row["user_id"]: row["id"] for row in rows}


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


async def lock(conn: Connection, customer_id: int) -> Customer:
    """Keep a customer's balance and members still until the transaction ends.

    Raises errors.NotFound.
    """
    row = await conn.fetchrow(LOCK, customer_id)
    if row is None:
        raise errors.NotFound("There is no such customer.")
    return Customer(**dict(row))


async def find_customer(conn: Connection, customer_id: int) -> Customer | None:
    row = await conn.fetchrow(FIND_CUSTOMER, customer_id)
    return Customer(**dict(row)) if row else None


async def find_role(conn: Connection, customer_id: int, user_id: str) -> Role | None:
    """What a user is in a customer; None for a stranger."""
    role: Role | None = await conn.fetchval(ROLE, customer_id, user_id)
    return role


async def customer_for(conn: Connection, user: User, customer_id: int | None) -> tuple[int, Role]:
    """The customer that a request is for, the one named or else the personal one, and the role.

    Raises NotFound when the user is no member of it, which looks the same as none there.
    """
    if customer_id is None or customer_id == user.customer_id:
        return user.customer_id, "owner"
    role = await find_role(conn, customer_id, user.id)
    if role is None:
        raise errors.NotFound("There is no such customer.")
    return customer_id, role


async def make_team(conn: Connection, user_id: str, name: str, *, at: datetime) -> int:
    """Make a team with its first owner, a user who exists. Returns the customer's id."""
    return int(await conn.fetchval(MAKE_TEAM, user_id, name, at))


async def rename(conn: Connection, customer_id: int, name: str) -> None:
    await conn.execute(RENAME, customer_id, name)


async def put_member(
    conn: Connection, customer_id: int, user_id: str, role: Role, *, at: datetime
) -> None:
    """Make a user who exists a member, or give a member another role."""
    await conn.execute(PUT_MEMBER, customer_id, user_id, role, at)


async def remove_member(conn: Connection, customer_id: int, user_id: str) -> None:
    await conn.execute(REMOVE_MEMBER, customer_id, user_id)


async def list_members(conn: Connection, customer_id: int) -> list[Member]:
    """Everybody who belongs to a customer, who joined first standing first."""
    return [Member(**dict(row)) for row in await conn.fetch(LIST_MEMBERS, customer_id)]


async def count_members(conn: Connection, customer_id: int) -> tuple[int, int]:
    """How many belong to a customer, and how many of them are owners."""
    row = await conn.fetchrow(COUNT_MEMBERS, customer_id)
    assert row is not None  # noqa: S101 - an aggregate without GROUP BY has one row
    return row["members"], row["owners"]


async def list_memberships(
    conn: Connection,
    user_id: str,
    *,
    personal: bool = True,
    before: int | None = None,
    limit: int,
) -> list[Membership]:
    """The customers that a user belongs to, newest first, from the one below id `before` on."""
    rows = await conn.fetch(LIST_MEMBERSHIPS, user_id, before, personal, limit)
    return [Membership(**dict(row)) for row in rows]
