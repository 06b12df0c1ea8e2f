"""The page on which somebody joins a team, and the teams on the account page."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from urllib.parse import quote

import httpx
import pytest

from bursar.access.actors import Actor
from bursar.billing import catalog, customers, teams
from bursar.billing.catalog import Unit
from bursar.billing.customers import Role
from bursar.billing.team_rules import By
from bursar.db import Connection
from bursar.ledger import entries
from bursar.ledger.entries import Cause, Posting
from web_shop import Shop, form_of, shop_at, text_of

ADA = By(Actor("user", "ada", None), "ada")


def make_team(shop: Shop, name: str = "Widgets") -> int:
    shop.user("ada")

    async def work(conn: Connection) -> int:
        return (await teams.create(conn, ADA, name, at=datetime.now(UTC))).customer_id

    return shop.call(lambda wiring: wiring.db.run(work))


def invite(shop: Shop, team: int) -> str:
    """The path of a new invitation's page."""

    async def work(conn: Connection) -> str:
        _, token = await teams.invite(
            conn, ADA, team, "member", email=None, seats=None, at=datetime.now(UTC)
        )
        return token

    return f"/team/join?token={quote(shop.call(lambda wiring: wiring.db.run(work)))}"


def role_of(shop: Shop, team: int, user_id: str) -> Role | None:
    async def work(conn: Connection) -> Role | None:
        return await customers.find_role(conn, team, user_id)

    return shop.call(lambda wiring: wiring.db.run(work))


def press(browser: httpx.Client, page: httpx.Response) -> httpx.Response:
    return browser.post("/team/join", data=form_of(page.text, "/team/join"))


def test_looking_changes_nothing_and_the_button_joins_once(bare_shop: Shop) -> None:
    team = make_team(bare_shop)
    path = invite(bare_shop, team)
    bare_shop.user("bob", name="Bob")
    with bare_shop.browser("bob") as browser:
        for _ in range(2):
            page = browser.get(path)
            assert page.status_code == 200
            assert page.headers["cache-control"] == "no-store"
            assert "Join Widgets?" in text_of(page)
            assert "You join as Bob" in text_of(page)
        assert browser.head(path).status_code == 200
        assert role_of(bare_shop, team, "bob") is None
        for _ in range(2):
            joined = press(browser, page)
            assert joined.status_code == 303
            assert joined.headers["location"] == f"/account?joined={team}"
        assert role_of(bare_shop, team, "bob") == "member"
        account = text_of(browser.get(joined.headers["location"]))
        assert "You joined Widgets." in account
        assert "You belong to Widgets" in text_of(browser.get(path))
    bare_shop.user("eve")
    with bare_shop.browser("eve") as browser:
        late = browser.get(path)
        assert late.status_code == 404
        assert "This invitation does not work" in text_of(late)
        assert "Widgets" not in text_of(late)
        assert press(browser, page).status_code == 404
        assert "You joined" not in text_of(browser.get(f"/account?joined={team}"))


@pytest.mark.parametrize("token", ["", "a" * 43, "nonsense", "%00", "x" * 5000])
def test_tokens_that_are_none_say_so(bare_shop: Shop, token: str) -> None:
    bare_shop.user("bob")
    with bare_shop.browser("bob") as browser:
        page = browser.get(f"/team/join?token={token}")
        assert page.status_code == 404
        assert "This invitation does not work" in text_of(page)
        assert browser.post("/team/join", data={"token": token}).status_code == 404


def test_signed_out_people_are_told_to_sign_in_and_learn_nothing(bare_shop: Shop) -> None:
    team = make_team(bare_shop)
    path = invite(bare_shop, team)
    with bare_shop.browser() as browser:
        told = browser.get(path)
        made_up = browser.get("/team/join?token=" + "a" * 43)
        assert told.status_code == made_up.status_code == 401
        assert "Sign in to join the team" in text_of(told)
        assert text_of(told) == text_of(made_up)
        sent = browser.post("/team/join", data={"token": path.partition("=")[2]})
        assert sent.status_code == 303
        assert sent.headers["location"].startswith("/sign-in?")
    bare_shop.user("bob")
    with bare_shop.browser("bob") as browser:
        assert press(browser, browser.get(path)).status_code == 303


def test_form_from_another_site_joins_nothing(bare_shop: Shop) -> None:
    team = make_team(bare_shop)
    path = invite(bare_shop, team)
    bare_shop.user("bob")
    with bare_shop.browser("bob") as browser:
        fields = form_of(browser.get(path).text, "/team/join")
        foreign = browser.post(
            "/team/join", data=fields, headers={"origin": "https://evil.example"}
        )
        assert foreign.status_code == 403
    assert role_of(bare_shop, team, "bob") is None


def test_last_seat_goes_to_one_and_the_other_is_told(database_url: str) -> None:
    with shop_at(database_url, team_seats=2) as shop:
        team = make_team(shop)
        paths = [invite(shop, team), invite(shop, team)]

        def join(user_id: str, path: str) -> httpx.Response:
            with shop.browser(user_id) as browser:
                return press(browser, browser.get(path))

        for user_id in ("bob", "eve"):
            shop.user(user_id)
        with ThreadPoolExecutor(2) as pool:
            answers = list(pool.map(join, ("bob", "eve"), paths))
        assert sorted(answer.status_code for answer in answers) == [303, 409]
        (full,) = [answer for answer in answers if answer.status_code == 409]
        assert "This team has no free seat" in text_of(full)


def test_account_lists_teams_with_role_and_balance(bare_shop: Shop) -> None:
    bare_shop.user("bob")
    with bare_shop.browser("bob") as browser:
        assert "Teams" not in text_of(browser.get("/account"))
    team, other = make_team(bare_shop, "<b>Acme & Sons</b>"), make_team(bare_shop, "Quiet")

    async def work(conn: Connection) -> None:
        at = datetime.now(UTC)
        await catalog.put_units(conn, [Unit("page", "Pages", 0, {}, {})])
        await customers.put_member(conn, team, "bob", "admin", at=at)
        await customers.put_member(conn, other, "bob", "member", at=at)
        cause = Cause("test", "gift", "grant")
        posting = Posting(
            customer_id=team, unit="page", type="adjustment", amount=1200, cause=cause
        )
        await entries.post(conn, [posting], at=at)

    bare_shop.call(lambda wiring: wiring.db.run(work))
    with bare_shop.browser("bob") as browser:
        page = browser.get("/account")
        assert "<b>Acme" not in page.text
        words = text_of(page)
        assert f"Quiet Account {other} Member Member Nothing yet" in words
        assert f"Account {team} Admin Admin 1,200 pages" in words
        # What the team has is not what the person has.
        assert "No credits yet." in words
