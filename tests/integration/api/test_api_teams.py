"""Teams over HTTP: each call for each role, links and their secrets, keys and their answers."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

import httpx
import pytest

from api_server import NOW, Person, assert_problem, make_key
from bursar.access.actors import Actor
from bursar.billing import catalog, customers, teams
from bursar.billing.catalog import Unit
from bursar.billing.customers import Role
from bursar.billing.team_rules import By
from bursar.db import Connection, Database
from bursar.ledger import entries
from bursar.ledger.entries import Cause, Posting

ROLES: dict[str, Role] = {"ada": "owner", "bob": "admin", "eve": "member"}
ASKERS = ("stranger", "member", "admin", "owner", "service")


@dataclass
class Team:
    """A team of ada, its owner, bob, an admin, and eve, a member; mallory is none of them."""

    id: int
    client: httpx.AsyncClient
    people: dict[str, dict[str, str]]
    service: dict[str, str]

    def headers(self, asker: str) -> dict[str, str]:
        """Headers of an asker for this team; the service asks for its owner."""
        name = {"stranger": "mallory", "member": "eve", "admin": "bob", "owner": "ada"}.get(asker)
        own = self.service | {"Bursar-User": "ada"} if name is None else self.people[name]
        return own | {"Bursar-Customer": str(self.id)}

    async def ask(self, asker: str, method: str, path: str, **sent: Any) -> httpx.Response:
        extra = sent.pop("headers", {})
        headers = self.headers(asker) | extra
        return await self.client.request(method, path, headers=headers, **sent)

    async def invite(self, asker: str = "owner", **said: Any) -> dict[str, Any]:
        response = await self.ask(asker, "POST", "/api/team/members", json=said)
        assert response.status_code == 200, response.text
        made: dict[str, Any] = response.json()
        return made

    async def accept(self, name: str, token: str, **headers: str) -> httpx.Response:
        return await self.client.post(
            "/api/team/invitations/accept",
            json={"token": token},
            headers=self.people[name] | headers,
        )

    async def members(self) -> dict[str, Any]:
        response = await self.ask("owner", "GET", "/api/team/members")
        assert response.status_code == 200, response.text
        found: dict[str, Any] = response.json()
        return found


@pytest.fixture
async def team(client: httpx.AsyncClient, db: Database, service: Person) -> Team:
    people = {
        name: {"Authorization": f"Bearer {await make_key(db, 'user', name)}"}
        for name in (*ROLES, "mallory")
    }

    async def work(conn: Connection) -> int:
        ada = By(Actor("user", "ada", None), "ada")
        made = await teams.create(conn, ada, "Acme", at=NOW)
        for name, role in ROLES.items():
            await customers.put_member(conn, made.customer_id, name, role, at=NOW)
        return made.customer_id

    return Team(await db.run(work), client, people, service.headers)


def token_of(made: dict[str, Any]) -> str:
    address, _, token = made["url"].partition("?token=")
    assert address == "https://shop.example/team/join"
    return str(token)


def without_id(problem: dict[str, Any]) -> dict[str, Any]:
    return {name: part for name, part in problem.items() if name != "request_id"}


# What each asker gets: stranger, member, admin, owner, service. A user's own account is anybody's.
Call = tuple[str, str, dict[str, Any] | None, tuple[int, int, int, int, int]]
MATRIX: list[Call] = [
    ("GET", "/api/team", None, (404, 200, 200, 200, 200)),
    ("POST", "/api/team", {"name": "Another"}, (404, 200, 200, 200, 200)),
    ("PATCH", "/api/team", {"name": "Acme Ltd"}, (404, 403, 200, 200, 200)),
    ("GET", "/api/team/members", None, (404, 200, 200, 200, 200)),
    ("POST", "/api/team/members", {"role": "member"}, (404, 403, 200, 200, 200)),
    ("POST", "/api/team/members", {"role": "admin"}, (404, 403, 403, 200, 200)),
    (
        "POST",
        "/api/team/members",
        {"user_id": "new", "role": "member"},
        (404, 403, 403, 403, 200),
    ),
    ("PATCH", "/api/team/members/eve", {"role": "admin"}, (404, 403, 403, 200, 200)),
    ("DELETE", "/api/team/members/eve", None, (404, 200, 200, 200, 200)),
    ("DELETE", "/api/team/members/bob", None, (404, 403, 200, 200, 200)),
    ("DELETE", "/api/team/members/ada", None, (404, 403, 403, 409, 409)),
    ("DELETE", "/api/team/members/nobody", None, (404, 403, 404, 404, 404)),
    ("DELETE", "/api/team/invitations/999", None, (404, 403, 404, 404, 404)),
    ("GET", "/user/balance?unit=page", None, (404, 200, 200, 200, 200)),
    ("GET", "/user/transactions", None, (404, 200, 200, 200, 200)),
    ("POST", "/api/credits/use", {"amount": 1, "unit": "page"}, (404, 200, 200, 200, 200)),
    ("GET", "/api/payments", None, (404, 403, 200, 200, 200)),
    ("GET", "/api/payments/1", None, (404, 403, 404, 404, 404)),
    ("GET", "/api/stripe/payments", None, (404, 403, 200, 200, 200)),
    ("GET", "/api/stripe/payments/1", None, (404, 403, 404, 404, 404)),
    # With no package named the refusal of the body comes, where the role is enough to be read.
    ("POST", "/api/stripe/checkout-session", {}, (404, 403, 422, 422, 422)),
    ("GET", "/api/stripe/checkout-session/cs_1", None, (404, 403, 404, 404, 404)),
]


@pytest.mark.parametrize("asker", ASKERS)
@pytest.mark.parametrize("call", MATRIX, ids=lambda call: f"{call[0]} {call[1]}")
async def test_each_call_answers_each_role_as_it_may(
    team: Team, db: Database, asker: str, call: Call
) -> None:
    await gift(db, team.id)
    method, path, body, statuses = call
    headers = {"Idempotency-Key": "k"} if method == "POST" else {}
    response = await team.ask(asker, method, path, json=body, headers=headers)
    assert response.status_code == statuses[ASKERS.index(asker)], response.text
    if asker == "stranger":
        assert response.json()["detail"] == "There is no such customer."


@pytest.mark.parametrize("call", MATRIX, ids=lambda call: f"{call[0]} {call[1]}")
async def test_service_may_for_a_user_what_the_user_may(
    team: Team, db: Database, call: Call
) -> None:
    await gift(db, team.id)
    method, path, body, statuses = call
    headers = {"Idempotency-Key": "k"} if method == "POST" else {}
    headers["Bursar-User"] = "eve"
    response = await team.ask("service", method, path, json=body, headers=headers)
    assert response.status_code == statuses[ASKERS.index("member")], response.text


async def gift(db: Database, customer_id: int, amount: int = 10) -> None:
    """Credits that nobody paid for."""
    cause = Cause("test", f"gift:{customer_id}", "grant")
    posting = Posting(
        customer_id=customer_id, unit="page", type="adjustment", amount=amount, cause=cause
    )
    async with db.transaction() as conn:
        await catalog.put_units(conn, [Unit("page", "Pages", 0, {}, {})])
        await entries.post(conn, [posting], at=NOW)


async def test_team_is_made_listed_and_named(client: httpx.AsyncClient, ada: Person) -> None:
    made = await client.post("/api/team", json={"name": "Acme"}, headers=ada.headers)
    assert made.status_code == 200
    told = made.json()
    assert told == {
        "customer_id": told["customer_id"],
        "kind": "team",
        "name": "Acme",
        "role": "owner",
    }
    listed = (await client.get("/api/team", headers=ada.headers)).json()
    own = listed["data"][1]
    assert listed["data"][0] == told
    assert (own["kind"], own["name"], own["role"]) == ("personal", None, "owner")
    assert listed["next_cursor"] is None
    page = (await client.get("/api/team?limit=1", headers=ada.headers)).json()
    assert page["data"] == [told]
    rest = await client.get(f"/api/team?limit=1&cursor={page['next_cursor']}", headers=ada.headers)
    assert rest.json() == {"data": [own], "next_cursor": None}
    headers = ada.headers | {"Bursar-Customer": str(told["customer_id"])}
    named = await client.patch("/api/team", json={"name": "Acme Ltd"}, headers=headers)
    assert named.json() == told | {"name": "Acme Ltd"}


async def test_team_is_made_once_for_each_key(team: Team) -> None:
    async def make(asker: str, **headers: str) -> httpx.Response:
        sent = {"Idempotency-Key": "k", **headers}
        return await team.ask(asker, "POST", "/api/team", json={"name": "New"}, headers=sent)

    first, second = await asyncio.gather(make("owner"), make("owner"))
    assert first.json() == second.json()
    replayed = {first.headers.get("idempotent-replayed"), second.headers.get("idempotent-replayed")}
    assert replayed == {"true", None}
    ids = {first.json()["customer_id"], (await make("admin")).json()["customer_id"]}
    # A service acts for many: its key is another for each of them.
    for name in ("ada", "bob", "eve"):
        ids.add((await make("service", **{"Bursar-User": name})).json()["customer_id"])
    assert len(ids) == 5


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/api/team", {}),
        ("/api/team", {"name": ""}),
        ("/api/team", {"name": "x" * 201}),
        ("/api/team", {"name": "a\nb"}),
        ("/api/team", {"name": "a\x00"}),
        ("/api/team", {"name": 7}),
        ("/api/team", {"name": "A", "kind": "house"}),
        ("/api/team/members", {"role": "king"}),
        ("/api/team/members", {"role": "owner"}),
        ("/api/team/members", {"role": "house"}),
        ("/api/team/members", {"email": "ada"}),
        ("/api/team/members", {"email": "a@b.c\r\nBcc: d@e.f"}),
        ("/api/team/members", {"user_id": "x" * 129}),
        ("/api/team/members", {"user_id": "new", "email": "a@example.com"}),
        ("/api/team/invitations/accept", {}),
        ("/api/team/invitations/accept", {"token": ""}),
        ("/api/team/invitations/accept", {"token": "x" * 101}),
    ],
)
async def test_bodies_that_are_none_are_refused(
    team: Team, path: str, body: dict[str, Any]
) -> None:
    response = await team.ask("owner", "POST", path, json=body)
    assert_problem(response, 422, "validation_error")


async def test_service_adds_changes_and_removes(team: Team, db: Database) -> None:
    added = await team.ask(
        "service", "POST", "/api/team/members", json={"user_id": "fin/n", "role": "member"}
    )
    assert added.json() == {"customer_id": team.id, "user_id": "fin/n", "role": "member"}
    changed = await team.ask("service", "PATCH", "/api/team/members/fin/n", json={"role": "owner"})
    assert changed.json() == {"customer_id": team.id, "user_id": "fin/n", "role": "owner"}
    again = await team.ask(
        "service", "POST", "/api/team/members", json={"user_id": "fin/n", "role": "admin"}
    )
    assert again.json()["role"] == "admin"
    gone = await team.ask("service", "DELETE", "/api/team/members/fin%2Fn")
    assert gone.json() == {"gone": True}
    assert_problem(
        await team.ask("service", "DELETE", "/api/team/members/fin%2Fn"), 404, "not_found"
    )
    async with db.connection() as conn:
        told = await conn.fetch("select action, detail->>'user' as name from audit_log order by id")
    assert [tuple(row) for row in told] == [
        ("member.added", "ada"),
        ("member.changed", "ada"),
        ("member.changed", "ada"),
        ("member.removed", "ada"),
    ]


async def test_service_makes_nobody_more_than_its_user_could(team: Team) -> None:
    for role, status in (("member", 200), ("admin", 403), ("owner", 403)):
        response = await team.ask(
            "service",
            "POST",
            "/api/team/members",
            json={"user_id": f"new-{role}", "role": role},
            headers={"Bursar-User": "bob"},
        )
        assert response.status_code == status, response.text
    demoted = await team.ask(
        "service",
        "POST",
        "/api/team/members",
        json={"user_id": "ada", "role": "member"},
        headers={"Bursar-User": "bob"},
    )
    assert_problem(demoted, 403, "forbidden")


async def test_link_brings_one_user_in(team: Team) -> None:
    made = await team.invite("admin", role="member", email="m@example.com")
    assert set(made) == {"invitation_id", "url", "expires_at"}
    listed = await team.members()
    assert [entry["user_id"] for entry in listed["data"]] == ["ada", "bob", "eve"]
    assert listed["seats"] == {"limit": None, "used": 4}
    assert listed["next_cursor"] is None
    (invitation,) = listed["invitations"]
    assert invitation["invitation_id"] == made["invitation_id"]
    assert (invitation["email"], invitation["role"]) == ("m@example.com", "member")
    assert invitation["invited_by"] == "bob"
    token = token_of(made)
    assert token not in str(listed)
    joined = await team.accept("mallory", token)
    assert joined.json() == {
        "customer_id": team.id,
        "kind": "team",
        "name": "Acme",
        "role": "member",
    }
    again = await team.accept("mallory", token)
    assert (again.status_code, again.json()) == (200, joined.json())
    listed = await team.members()
    assert listed["invitations"] == []
    assert listed["data"][-1]["user_id"] == "mallory"


async def test_links_that_are_not_good_look_alike(team: Team) -> None:
    used, withdrawn = await team.invite(), await team.invite()
    await team.accept("mallory", token_of(used))
    path = f"/api/team/invitations/{withdrawn['invitation_id']}"
    assert (await team.ask("admin", "DELETE", path)).json() == {"gone": True}
    assert_problem(await team.ask("admin", "DELETE", path), 404, "not_found")
    await team.ask("owner", "POST", "/api/team/members", json={})
    told = []
    service = team.service | {"Bursar-User": "new-one"}
    for token in (token_of(used), token_of(withdrawn), "a" * 43, "nonsense"):
        response = await team.client.post(
            "/api/team/invitations/accept", json={"token": token}, headers=service
        )
        told.append(without_id(assert_problem(response, 404, "not_found")))
    assert all(problem == told[0] for problem in told)


async def test_repeat_of_an_invitation_takes_no_other_seat_and_renews_the_link(
    team: Team, db: Database
) -> None:
    async def ask() -> httpx.Response:
        return await team.ask(
            "owner",
            "POST",
            "/api/team/members",
            json={"role": "member"},
            headers={"Idempotency-Key": "k"},
        )

    first = await ask()
    second = await ask()
    assert second.headers["idempotent-replayed"] == "true"
    assert second.json()["invitation_id"] == first.json()["invitation_id"]
    assert (await team.members())["seats"]["used"] == 4
    assert (await team.accept("mallory", token_of(first.json()))).status_code == 404
    assert (await team.accept("mallory", token_of(second.json()))).status_code == 200
    assert_problem(await ask(), 404, "not_found")
    async with db.connection() as conn:
        kept = await conn.fetchval("select string_agg(k::text, ' ') from idempotency_keys k")
    assert token_of(second.json()) not in kept


async def test_seats_of_the_deployment_hold_for_parallel_requests(
    make_server: Any, team: Team
) -> None:
    server = make_server(team_seats=4)
    async with httpx.AsyncClient(base_url=server.url) as client:
        here = Team(team.id, client, team.people, team.service)
        made = [here.ask("owner", "POST", "/api/team/members", json={}) for _ in range(10)] + [
            here.ask("service", "POST", "/api/team/members", json={"user_id": f"new-{n}"})
            for n in range(10)
        ]
        answers = await asyncio.gather(*made)
        codes = sorted(answer.json().get("code", "done") for answer in answers)
        assert codes == ["done"] + ["seats_taken"] * 19
        assert (await here.members())["seats"] == {"limit": 4, "used": 4}


async def test_personal_account_is_no_team(client: httpx.AsyncClient, ada: Person) -> None:
    for method, path, body in (
        ("GET", "/api/team/members", None),
        ("PATCH", "/api/team", {"name": "Mine"}),
        ("POST", "/api/team/members", {"role": "member"}),
        ("PATCH", "/api/team/members/ada", {"role": "member"}),
        ("DELETE", "/api/team/members/ada", None),
        ("DELETE", "/api/team/invitations/1", None),
    ):
        response = await client.request(method, path, json=body, headers=ada.headers)
        assert_problem(response, 409, "not_a_team")


async def test_credits_stay_with_the_team_when_who_bought_them_leaves(
    team: Team, db: Database
) -> None:
    await gift(db, team.id)
    assert (await team.ask("admin", "DELETE", "/api/team/members/bob")).status_code == 200
    left = await team.ask("admin", "GET", "/user/balance?unit=page")
    assert_problem(left, 404, "not_found")
    stays = await team.ask("member", "GET", "/user/balance?unit=page")
    assert stays.json()["balance"] == 10
    own = await team.client.get("/user/balance?unit=page", headers=team.people["bob"])
    assert own.json()["balance"] == 0


@pytest.mark.parametrize("path", ["", "%00", "%FF", "x" * 129, "a%09b"])
async def test_members_who_can_be_none_are_not_there(team: Team, path: str) -> None:
    for method, body in (("DELETE", None), ("PATCH", {"role": "member"})):
        response = await team.ask("owner", method, f"/api/team/members/{path}", json=body)
        assert_problem(response, 404, "not_found")


@pytest.mark.parametrize("path", ["0", "-1", "x", "9" * 30, "1%201"])
async def test_invitations_that_can_be_none_are_not_there(team: Team, path: str) -> None:
    response = await team.ask("owner", "DELETE", f"/api/team/invitations/{path}")
    assert_problem(response, 404, "not_found")


async def test_invitation_of_another_team_is_not_there(team: Team) -> None:
    made = await team.invite()
    other = (
        await team.client.post("/api/team", json={"name": "Other"}, headers=team.people["mallory"])
    ).json()
    headers = team.people["mallory"] | {"Bursar-Customer": str(other["customer_id"])}
    path = f"/api/team/invitations/{made['invitation_id']}"
    response = await team.client.delete(path, headers=headers)
    assert_problem(response, 404, "not_found")
    assert (await team.members())["seats"]["used"] == 4
