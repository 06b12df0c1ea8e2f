"""Teams: who may bring in, change and let go whom, however many try at once."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime, timedelta

import pytest

from bursar import errors
from bursar.access.actors import Actor
from bursar.billing import customers, invitations, teams
from bursar.billing.customers import Role
from bursar.billing.team_rules import By
from bursar.billing.teams import Seats
from bursar.db import Connection, Database
from people import make_user

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
LATER = NOW + invitations.LIFETIME
SERVICE = Actor("service", None, None)


def by(user_id: str) -> By:
    """A user with their own key."""
    return By(Actor("user", user_id, None), user_id)


def service(user_id: str) -> By:
    """The host app, for a user."""
    return By(SERVICE, user_id)


async def make_team(db: Database, **members: Role) -> int:
    """A team of ada, its owner, and others."""
    for user_id in ("ada", *members):
        await make_user(db, user_id)
    async with db.transaction() as conn:
        team = (await teams.create(conn, by("ada"), "The team", at=NOW)).customer_id
        for user_id, role in members.items():
            await customers.put_member(conn, team, user_id, role, at=NOW)
    return team


async def roles(db: Database, team: int) -> dict[str, Role]:
    async with db.connection() as conn:
        return {member.user_id: member.role for member in await customers.list_members(conn, team)}


async def seats(db: Database, team: int, limit: int | None, at: datetime = NOW) -> Seats:
    async with db.connection() as conn:
        return (await teams.roster(conn, team, seats=limit, at=at)).seats


async def invite(
    db: Database,
    team: int,
    user_id: str = "ada",
    *,
    role: invitations.InvitedRole = "member",
    limit: int | None = None,
    at: datetime = NOW,
) -> str:
    """The token of a new invitation."""

    async def work(conn: Connection) -> str:
        _, token = await teams.invite(conn, by(user_id), team, role, email=None, seats=limit, at=at)
        return token

    return await db.run(work)


async def accept(
    db: Database, token: str, user_id: str, *, limit: int | None = None, at: datetime = NOW
) -> Role:
    await make_user(db, user_id)

    async def work(conn: Connection) -> Role:
        return (await teams.accept(conn, by(user_id), token, seats=limit, at=at)).role

    return await db.run(work)


async def add(
    db: Database, team: int, user_id: str, role: Role, *, limit: int | None = None
) -> None:
    async def work(conn: Connection) -> None:
        await teams.add(conn, service("ada"), team, user_id, role, seats=limit, at=NOW)

    await db.run(work)


async def remove(db: Database, team: int, who: By, user_id: str) -> None:
    async def work(conn: Connection) -> None:
        await teams.remove(conn, who, team, user_id, at=NOW)

    await db.run(work)


async def change(db: Database, team: int, who: By, user_id: str, role: Role) -> None:
    async def work(conn: Connection) -> None:
        await teams.change_role(conn, who, team, user_id, role, at=NOW)

    await db.run(work)


async def outcomes(tries: Sequence[Awaitable[object]]) -> list[str]:
    """What became of tries made at once: "done", or the code of the refusal."""
    ended = await asyncio.gather(*tries, return_exceptions=True)
    for end in ended:
        if isinstance(end, BaseException) and not isinstance(end, errors.Error):
            raise end
    return [end.code if isinstance(end, errors.Error) else "done" for end in ended]


async def test_last_seat_goes_to_one_of_twenty_invitations(db: Database) -> None:
    team = await make_team(db, bob="member")
    ended = await outcomes([invite(db, team, limit=3) for _ in range(20)])
    assert sorted(ended) == ["done"] + ["seats_taken"] * 19
    assert await seats(db, team, 3) == Seats(3, 3)


async def test_seats_hold_while_people_are_invited_added_and_accept_at_once(db: Database) -> None:
    team = await make_team(db)
    tokens = [await invite(db, team, limit=3) for _ in range(2)]
    tries: list[Awaitable[object]] = []
    for number in range(10):
        await make_user(db, f"user-{number}")
        tries += [
            accept(db, tokens[number % 2], f"user-{number}", limit=3),
            invite(db, team, limit=3),
            add(db, team, f"added-{number}", "member", limit=3),
        ]
    watching = asyncio.create_task(_greatest(db, team, tries_left := [True]))
    ended = await outcomes(tries)
    tries_left.clear()
    assert await watching <= 3
    assert ended[0::3].count("done") == 2
    assert await seats(db, team, 3) == Seats(3, 3)
    assert len(await roles(db, team)) == 3


async def _greatest(db: Database, team: int, going_on: list[bool]) -> int:
    """The most seats that were seen taken in one moment while others went on."""
    most = 0
    while going_on:
        async with db.connection() as conn:
            used = await conn.fetchval(
                "select (select count(*) from members where customer_id = $1) + (select count(*) "
                "from invitations where customer_id = $1 and closed_at is null)",
                team,
            )
        most = max(most, used)
    return most


async def test_one_invitation_brings_in_one_of_twenty(db: Database) -> None:
    team = await make_team(db)
    token = await invite(db, team)
    names = [f"user-{number}" for number in range(20)]
    for name in names:
        await make_user(db, name)
    ended = await outcomes([accept(db, token, name) for name in names])
    assert sorted(ended) == ["done"] + ["not_found"] * 19
    assert len(await roles(db, team)) == 2


async def test_same_user_may_accept_again_and_is_answered_the_same(db: Database) -> None:
    team = await make_team(db)
    token = await invite(db, team, role="admin")
    assert await outcomes([accept(db, token, "bob") for _ in range(5)]) == ["done"] * 5
    assert await accept(db, token, "bob", at=LATER) == "admin"
    await remove(db, team, by("ada"), "bob")
    with pytest.raises(errors.NotFound):
        await accept(db, token, "bob")
    assert await roles(db, team) == {"ada": "owner"}


async def test_used_ended_withdrawn_and_made_up_invitations_look_alike(db: Database) -> None:
    team = await make_team(db)
    used, ended, withdrawn = [await invite(db, team) for _ in range(3)]
    await accept(db, used, "bob")
    async with db.transaction() as conn:
        found = await invitations.find(conn, withdrawn, at=NOW)
        assert found is not None
        await teams.withdraw(conn, by("ada"), team, found.id, at=NOW)
    told = set()
    for token, at in (
        (used, NOW),
        (ended, LATER),
        (withdrawn, NOW),
        ("a" * 43, NOW),
        ("", NOW),
        ("\x00" * 43, NOW),
    ):
        with pytest.raises(errors.NotFound) as refusal:
            await accept(db, token, "eve", at=at)
        told.add(refusal.value.detail)
    assert len(told) == 1
    assert await accept(db, ended, "eve", at=LATER - timedelta(seconds=1)) == "member"


async def test_ended_invitation_leaves_its_seat(db: Database) -> None:
    team = await make_team(db)
    await invite(db, team, limit=2)
    with pytest.raises(errors.SeatsTaken):
        await invite(db, team, limit=2)
    await invite(db, team, limit=2, at=LATER)
    assert await seats(db, team, 2, at=LATER) == Seats(2, 2)


async def test_member_who_opens_an_invitation_stays_what_they_are(db: Database) -> None:
    team = await make_team(db, bob="member")
    token = await invite(db, team, role="admin")
    assert await accept(db, token, "ada") == "owner"
    assert await accept(db, token, "bob") == "member"
    assert await accept(db, token, "eve") == "admin"


def leave(db: Database, team: int, me: str, other: str) -> Awaitable[None]:
    return remove(db, team, by(me), me)


def step_down(db: Database, team: int, me: str, other: str) -> Awaitable[None]:
    return change(db, team, by(me), me, "member")


def remove_the_other(db: Database, team: int, me: str, other: str) -> Awaitable[None]:
    return remove(db, team, by(me), other)


@pytest.mark.parametrize("act", [leave, step_down, remove_the_other])
async def test_of_two_owners_who_go_at_once_one_stays(
    db: Database, act: Callable[[Database, int, str, str], Awaitable[None]]
) -> None:
    for _ in range(5):
        team = await make_team(db, bob="owner")
        ended = await outcomes([act(db, team, "ada", "bob"), act(db, team, "bob", "ada")])
        assert sorted(ended)[0] == "done"
        assert sorted(ended)[1] in ("last_owner", "not_found")
        assert list((await roles(db, team)).values()).count("owner") == 1


async def test_only_owner_neither_leaves_nor_steps_down(db: Database) -> None:
    team = await make_team(db, bob="admin")
    with pytest.raises(errors.LastOwner):
        await remove(db, team, by("ada"), "ada")
    with pytest.raises(errors.LastOwner):
        await change(db, team, by("ada"), "ada", "admin")
    with pytest.raises(errors.LastOwner):
        await add(db, team, "ada", "member")
    await change(db, team, by("ada"), "bob", "owner")
    await remove(db, team, by("ada"), "ada")
    assert await roles(db, team) == {"bob": "owner"}


MAY_LET_GO = {
    ("owner", "owner"),
    ("owner", "admin"),
    ("owner", "member"),
    ("admin", "member"),
}


@pytest.mark.parametrize("own", ["owner", "admin", "member"])
@pytest.mark.parametrize("other", ["owner", "admin", "member"])
async def test_each_role_lets_go_and_changes_whom_it_may(
    db: Database, own: Role, other: Role
) -> None:
    team = await make_team(db, me=own, other=other)
    allowed = "done" if (own, other) in MAY_LET_GO else "forbidden"
    changed = await outcomes([change(db, team, by("me"), "other", "member")])
    assert changed == ["done" if own == "owner" else "forbidden"]
    async with db.transaction() as conn:
        await customers.put_member(conn, team, "other", other, at=NOW)
    assert await outcomes([remove(db, team, by("me"), "other")]) == [allowed]
    assert ("other" in await roles(db, team)) == (allowed == "forbidden")
    await remove(db, team, by("me"), "me")
    assert "me" not in await roles(db, team)


async def test_admin_brings_in_members_and_owner_admins_too(db: Database) -> None:
    team = await make_team(db, bob="admin", eve="member")
    assert await outcomes([invite(db, team, "bob")]) == ["done"]
    assert await outcomes([invite(db, team, "bob", role="admin")]) == ["forbidden"]
    assert await outcomes([invite(db, team, "ada", role="admin")]) == ["done"]
    assert await outcomes([invite(db, team, "eve")]) == ["forbidden"]


async def test_links_of_who_goes_or_steps_down_stop_working(db: Database) -> None:
    team = await make_team(db, bob="admin", eve="owner")
    of_bob, of_eve = await invite(db, team, "bob"), await invite(db, team, "eve", role="admin")
    plain = await invite(db, team, "eve")
    await change(db, team, by("ada"), "eve", "admin")
    await remove(db, team, by("ada"), "bob")
    assert await outcomes([accept(db, of_bob, "bob")]) == ["not_found"]
    assert await outcomes([accept(db, of_eve, "mallory")]) == ["not_found"]
    # An admin may still bring in members, so this link stays good.
    assert await accept(db, plain, "finn") == "member"


async def test_strangers_find_no_team_and_personal_accounts_are_none(db: Database) -> None:
    team = await make_team(db)
    eve = await make_user(db, "eve")
    for act in (
        invite(db, team, "eve"),
        remove(db, team, by("eve"), "ada"),
        change(db, team, by("eve"), "ada", "member"),
    ):
        assert await outcomes([act]) == ["not_found"]
    assert await outcomes([invite(db, eve.customer_id, "eve")]) == ["not_a_team"]
    async with db.connection() as conn:
        with pytest.raises(errors.NotATeam):
            await teams.roster(conn, eve.customer_id, seats=None, at=NOW)


async def test_seats_come_from_what_the_team_is_entitled_to(db: Database) -> None:
    team = await make_team(db)

    async def entitle(source: str, amount: int | None, ends_at: datetime | None = None) -> None:
        async with db.transaction() as conn:
            await conn.execute(
                "insert into entitlements (customer_id, source_kind, source, feature, amount, "
                "starts_at, ends_at, created_at) "
                "values ($1, 'plan', $2, 'seats', $3, $4, $5, $4)",
                team,
                source,
                amount,
                NOW,
                ends_at,
            )

    assert await seats(db, team, None) == Seats(None, 1)
    assert await seats(db, team, 5) == Seats(5, 1)
    await entitle("sub_1", 2, LATER)
    assert await seats(db, team, 5) == Seats(2, 1)
    await entitle("sub_2", 3)
    assert await seats(db, team, 5) == Seats(3, 1)
    await add(db, team, "bob", "member", limit=5)
    await add(db, team, "eve", "member", limit=5)
    with pytest.raises(errors.SeatsTaken):
        await add(db, team, "finn", "member", limit=5)
    # A user who is in takes no other seat with another role.
    await add(db, team, "eve", "admin", limit=5)


async def test_fewer_seats_later_remove_nobody_and_let_nobody_in(db: Database) -> None:
    team = await make_team(db, bob="member", eve="member")
    token = await invite(db, team, limit=4)
    assert await seats(db, team, 2) == Seats(2, 4)
    assert await outcomes([accept(db, token, "finn", limit=2)]) == ["seats_taken"]
    await remove(db, team, by("eve"), "eve")
    await remove(db, team, by("bob"), "bob")
    assert await accept(db, token, "finn", limit=2) == "member"


async def test_what_a_service_does_stands_in_the_audit_log(db: Database) -> None:
    team = await make_team(db)
    await add(db, team, "bob", "member")
    await add(db, team, "bob", "admin")
    await add(db, team, "bob", "admin")
    await change(db, team, by("ada"), "bob", "member")
    await remove(db, team, service("ada"), "bob")
    async with db.connection() as conn:
        rows = await conn.fetch(
            "select actor, action, subject, customer_id from audit_log order by id"
        )
    assert [tuple(row) for row in rows] == [
        ("service", "member.added", "bob", team),
        ("service", "member.changed", "bob", team),
        ("service", "member.removed", "bob", team),
    ]


async def test_refused_change_leaves_no_line_and_no_user(db: Database) -> None:
    team = await make_team(db)
    assert await outcomes([add(db, team, "bob", "member", limit=1)]) == ["seats_taken"]
    async with db.connection() as conn:
        assert await conn.fetchval("select count(*) from audit_log") == 0
        assert await customers.find_user(conn, "bob") is None


async def test_token_is_stored_as_its_hash_alone(db: Database) -> None:
    team = await make_team(db)
    token = await invite(db, team)
    async with db.connection() as conn:
        rows = await conn.fetch("select i::text as said from invitations i")
    assert len(rows) == 1
    assert token not in rows[0]["said"]
