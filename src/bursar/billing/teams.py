"""Teams: customers whose members share one balance. Who may bring in, change and let go whom.

Members are written by `customers`, links by `invitations`; what each role may is in `team_rules`.
Every change is made under the customer's lock, and the acting user's role is read again there: of
two owners who leave at once one stays, and the last seat goes to one. Moves no credits: who leaves
leaves them with the team, who joins brings none.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from bursar import errors
from bursar.billing import customers, invitations, team_rules
from bursar.billing.customers import Customer, Member, Membership, Role
from bursar.billing.invitations import Invitation, InvitedRole
from bursar.billing.team_rules import By
from bursar.db import Connection


@dataclass(frozen=True, slots=True)
class Seats:
    """How many a team may have (None: no limit is set), and how many members and open
    invitations there are."""

    limit: int | None
    used: int


@dataclass(frozen=True, slots=True)
class Roster:
    """Everybody in a team, and everybody asked to join."""

    members: list[Member]
    invitations: list[Invitation]
    seats: Seats


@dataclass(frozen=True, slots=True)
class Invited:
    """What an invitation's link leads to; `role` is set for somebody who is in the team already."""

    team: Customer
    invitation: Invitation
    role: Role | None


async def create(conn: Connection, by: By, name: str, *, at: datetime) -> Membership:
    """Make a team that the acting user owns."""
    made = await customers.make_team(conn, by.user_id, name, at=at)
    await team_rules.record(conn, by, "team.created", str(made), made, owner=by.user_id, name=name)
    return Membership(made, "team", name, "owner")


async def rename(conn: Connection, by: By, customer_id: int, name: str) -> Membership:
    """Call a team something else. Raises NotATeam and Denied."""
    team, role = await team_rules.locked(conn, by, customer_id)
    team_rules.require_manager(role)
    await customers.rename(conn, customer_id, name)
    told = {"before": team.name, "after": name}
    await team_rules.record(conn, by, "team.renamed", str(customer_id), customer_id, **told)
    return Membership(customer_id, "team", name, role)


async def roster(conn: Connection, customer_id: int, *, seats: int | None, at: datetime) -> Roster:
    """A team's members, open invitations and seats; `seats` is the limit of a team whose plan
    says none. Raises NotATeam."""
    team_rules.require_team(await customers.find_customer(conn, customer_id))
    members = await customers.list_members(conn, customer_id)
    invited = await invitations.list_open(conn, customer_id, at=at)
    limit = await team_rules.seats_limit(conn, customer_id, seats, at=at)
    return Roster(members, invited, Seats(limit, len(members) + len(invited)))


async def invite(
    conn: Connection,
    by: By,
    customer_id: int,
    role: InvitedRole,
    *,
    email: str | None,
    seats: int | None,
    at: datetime,
) -> tuple[Invitation, str]:
    """Make an invitation that takes a seat. Returns it with the token of its link.

    Raises NotATeam, Denied and SeatsTaken.
    """
    _, own = await team_rules.locked(conn, by, customer_id)
    team_rules.require_manages(own, role)
    await team_rules.take_seat(conn, customer_id, seats, at=at)
    made, token = await invitations.make(
        conn, customer_id, role, email=email, invited_by=by.user_id, at=at
    )
    await team_rules.record(conn, by, "invitation.created", str(made.id), customer_id, role=role)
    return made, token


async def renew(
    conn: Connection, by: By, customer_id: int, invitation_id: int, *, at: datetime
) -> tuple[Invitation, str]:
    """Give an open invitation another link. Raises NotATeam, Denied and NotFound."""
    _, own = await team_rules.locked(conn, by, customer_id)
    renewed, token = await invitations.renew(conn, customer_id, invitation_id, at=at)
    team_rules.require_manages(own, renewed.role)
    return renewed, token


async def withdraw(
    conn: Connection, by: By, customer_id: int, invitation_id: int, *, at: datetime
) -> None:
    """End an open invitation. Raises NotATeam, Denied and NotFound."""
    _, own = await team_rules.locked(conn, by, customer_id)
    team_rules.require_manager(own)
    await invitations.withdraw(conn, customer_id, invitation_id, at=at)
    await team_rules.record(conn, by, "invitation.withdrawn", str(invitation_id), customer_id)


async def invited(conn: Connection, token: str, user_id: str, *, at: datetime) -> Invited:
    """What a link offers this user, without using it up. Raises NotFound as `accept` does."""
    found = await invitations.find(conn, token, at=at)
    if found is None:
        raise invitations.missing()
    role = await customers.find_role(conn, found.customer_id, user_id)
    team = await customers.find_customer(conn, found.customer_id)
    if team is None or not (found.open or (role and found.accepted_by == user_id)):
        raise invitations.missing()
    return Invited(team, found, role)


async def accept(
    conn: Connection, by: By, token: str, *, seats: int | None, at: datetime
) -> Membership:
    """Join by an invitation, which is then used up; the same user again is answered the same.

    A member of the team stays what they are, and the invitation stays open.
    Raises errors.NotFound for every token that is not good, and SeatsTaken.
    """
    found = await invitations.find(conn, token, at=at)
    if found is None:
        raise invitations.missing()
    team = await customers.lock(conn, found.customer_id)
    found = await invitations.find(conn, token, at=at)
    if found is None:
        raise invitations.missing()
    role = await customers.find_role(conn, team.id, by.user_id)
    if role is not None and (found.open or found.accepted_by == by.user_id):
        return Membership(team.id, team.kind, team.name, role)
    if not found.open:
        raise invitations.missing()
    members, _ = await customers.count_members(conn, team.id)
    team_rules.require_seat(await team_rules.seats_limit(conn, team.id, seats, at=at), members)
    await invitations.accept(conn, found, by.user_id, at=at)
    await customers.put_member(conn, team.id, by.user_id, found.role, at=at)
    told = {"role": found.role, "invitation": found.id}
    await team_rules.record(conn, by, "member.joined", by.user_id, team.id, **told)
    return Membership(team.id, team.kind, team.name, found.role)


async def add(
    conn: Connection,
    by: By,
    customer_id: int,
    user_id: str,
    role: Role,
    *,
    seats: int | None,
    at: datetime,
) -> None:
    """Make a user a member at once, or give a member another role: for the host app alone.

    The user is made on first sight. Raises NotATeam, Denied, SeatsTaken and LastOwner.
    """
    if by.actor.kind != "service":
        raise errors.Denied(
            "Only your app, with its service key, adds a user at once. Leave user_id out to make "
            "an invitation, which they accept."
        )
    await customers.ensure_user(conn, user_id, at=at)
    _, own = await team_rules.locked(conn, by, customer_id)
    team_rules.require_manages(own, role)
    before = await customers.find_role(conn, customer_id, user_id)
    if before is not None:
        team_rules.require_manages(own, before)
        await _change(conn, by, customer_id, user_id, before=before, role=role, at=at)
        return
    await team_rules.take_seat(conn, customer_id, seats, at=at)
    await customers.put_member(conn, customer_id, user_id, role, at=at)
    await team_rules.record(conn, by, "member.added", user_id, customer_id, role=role)


async def change_role(
    conn: Connection, by: By, customer_id: int, user_id: str, role: Role, *, at: datetime
) -> None:
    """Give a member another role, which owners do. Raises NotATeam, Denied, NotFound, LastOwner."""
    _, own = await team_rules.locked(conn, by, customer_id)
    if own != "owner":
        raise errors.Denied("Only an owner of the team changes roles.")
    before = await customers.find_role(conn, customer_id, user_id)
    if before is None:
        raise _no_member()
    await _change(conn, by, customer_id, user_id, before=before, role=role, at=at)


async def remove(conn: Connection, by: By, customer_id: int, user_id: str, *, at: datetime) -> None:
    """Let a member go, or leave. Credits stay with the team, and open invitations that the
    member made end. Raises NotATeam, Denied, NotFound and LastOwner.
    """
    _, own = await team_rules.locked(conn, by, customer_id)
    if user_id != by.user_id:
        team_rules.require_manager(own)
    before = await customers.find_role(conn, customer_id, user_id)
    if before is None:
        raise _no_member()
    if user_id != by.user_id:
        team_rules.require_manages(own, before)
    if before == "owner":
        await _keep_an_owner(conn, customer_id)
    await customers.remove_member(conn, customer_id, user_id)
    await invitations.withdraw_of(conn, customer_id, user_id, team_rules.MANAGES["owner"], at=at)
    await team_rules.record(conn, by, "member.removed", user_id, customer_id, role=before)


async def _change(
    conn: Connection,
    by: By,
    customer_id: int,
    user_id: str,
    *,
    before: Role,
    role: Role,
    at: datetime,
) -> None:
    """Give a member another role, and end the invitations that they could not make any more."""
    if before == role:
        return
    if before == "owner":
        await _keep_an_owner(conn, customer_id)
    await customers.put_member(conn, customer_id, user_id, role, at=at)
    beyond = [lost for lost in team_rules.MANAGES[before] if lost not in team_rules.MANAGES[role]]
    await invitations.withdraw_of(conn, customer_id, user_id, beyond, at=at)
    told = {"role": role, "before": before}
    await team_rules.record(conn, by, "member.changed", user_id, customer_id, **told)


async def _keep_an_owner(conn: Connection, customer_id: int) -> None:
    _, owners = await customers.count_members(conn, customer_id)
    if owners == 1:
        raise errors.LastOwner()


def _no_member() -> errors.NotFound:
    return errors.NotFound("There is no such member.")
