"""The rules of teams: whom each role manages, how many seats there are, what is written down.

It refuses; it changes nothing but the audit log.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from bursar import errors
from bursar.access import audit_log
from bursar.access.actors import Actor
from bursar.billing import customers, entitlements, invitations
from bursar.billing.customers import Customer, Role
from bursar.db import Connection

SEATS_MAX = 1000
"""The greatest team, whatever its plan says: its list of members is answered whole."""

MANAGES: Mapping[Role, Sequence[Role]] = {
    "owner": ("owner", "admin", "member"),
    "admin": ("member",),
    "member": (),
}
"""Whom each role may bring in, and let go."""

FEATURE = "seats"


@dataclass(frozen=True, slots=True)
class By:
    """Who acts: the holder of a key or session, and the user whose role in the team counts."""

    actor: Actor
    user_id: str


async def seats_limit(
    conn: Connection, customer_id: int, default: int | None, *, at: datetime
) -> int | None:
    """The seats that a team's plan gives, else `default`; None when nothing limits them."""
    right = await entitlements.find(conn, customer_id, FEATURE, at=at)
    return default if right is None else right.amount


async def locked(conn: Connection, by: By, customer_id: int) -> tuple[Customer, Role]:
    """The team, locked, and what the acting user is in it now. Raises NotATeam and NotFound."""
    team = await customers.lock(conn, customer_id)
    role = await customers.find_role(conn, customer_id, by.user_id)
    if role is None:
        raise errors.NotFound("There is no such customer.")
    require_team(team)
    return team, role


async def take_seat(
    conn: Connection, customer_id: int, default: int | None, *, at: datetime
) -> None:
    """Raise SeatsTaken unless one more member or invitation fits."""
    members, _ = await customers.count_members(conn, customer_id)
    used = members + await invitations.count_open(conn, customer_id, at=at)
    require_seat(await seats_limit(conn, customer_id, default, at=at), used)


def require_seat(limit: int | None, used: int) -> None:
    most = SEATS_MAX if limit is None else min(limit, SEATS_MAX)
    if used >= most:
        raise errors.SeatsTaken(
            f"The team has {most} seats and none is free. Let a member go or withdraw an "
            "invitation, or get a plan with more seats."
        )


def require_team(customer: Customer | None) -> None:
    if customer is None or customer.kind != "team":
        raise errors.NotATeam()


def require_manager(role: Role) -> None:
    if not MANAGES[role]:
        raise errors.Denied("This needs an owner or an admin of the team; you are a member.")


def require_manages(own: Role, role: Role) -> None:
    """Raise Denied unless `own` brings in, and lets go, people of `role`."""
    require_manager(own)
    if role not in MANAGES[own]:
        raise errors.Denied(
            "Only an owner of the team makes, changes and removes owners and admins."
        )


async def record(
    conn: Connection, by: By, action: str, subject: str, customer_id: int, **detail: object
) -> None:
    """Tell the audit log what a service did, and for whom."""
    told = {"user": by.user_id, **detail}
    await audit_log.record(
        conn, by.actor, action, subject=subject, customer_id=customer_id, detail=told
    )
