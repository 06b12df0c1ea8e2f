"""API keys on the account page: made once, shown once, revoked for good, and nobody else's."""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import httpx
import pytest

from bursar.access import keys
from bursar.access.keys import ACTIVE_PER_USER_MAX, CACHE_SECONDS, KeyRow
from bursar.db import Connection
from web_shop import Shop, form_of, text_of

SECRET = re.compile(r"bursar_user_[A-Za-z0-9_-]{43}")


def create(browser: httpx.Client, name: str = "") -> httpx.Response:
    fields = form_of(browser.get("/account").text, "/account/keys")
    return browser.post("/account/keys", data={**fields, "name": name})


def secret_of(page: httpx.Response) -> str:
    (secret,) = set(SECRET.findall(page.text))
    return secret


def rows_of(shop: Shop, user_id: str) -> list[KeyRow]:
    async def work(conn: Connection) -> list[KeyRow]:
        return await keys.list_keys(conn, user_id=user_id)

    return shop.call(lambda wiring: wiring.db.run(work))


def given(shop: Shop, user_id: str, count: int = 1, **times: datetime) -> list[int]:
    """Keys that somebody else made for a user."""

    async def work(conn: Connection) -> list[int]:
        now = datetime.now(UTC)
        made = [
            await keys.create(conn, "user", user_id=user_id, at=now, **times) for _ in range(count)
        ]
        return [key_id for key_id, _ in made]

    return shop.call(lambda wiring: wiring.db.run(work))


def test_a_key_is_made_shown_once_and_works(bare_shop: Shop) -> None:
    bare_shop.user("ada")
    with bare_shop.browser("ada") as browser:
        page = create(browser, "  Build   server ")
        assert page.status_code == 200
        assert page.headers["cache-control"] == "no-store"
        assert "form-action 'self';" in page.headers["content-security-policy"]
        secret = secret_of(page)
        assert "set-cookie" not in page.headers
        account = browser.get("/account")
        assert secret not in account.text
        assert f"{secret[:16]}…" in account.text
        assert re.search(r"Build server .*Active just now Never Revoke", text_of(account))
    headers = {"authorization": f"Bearer {secret}"}
    answer = httpx.get(f"{bare_shop.url}/api/payments", headers=headers)
    assert answer.status_code == 200
    with bare_shop.browser("ada") as browser:
        assert "Never" not in text_of(browser.get("/account")).partition("API keys")[2]


def test_a_reload_makes_no_second_key_and_shows_no_secret(bare_shop: Shop) -> None:
    bare_shop.user("ada")
    with bare_shop.browser("ada") as browser:
        fields = form_of(browser.get("/account").text, "/account/keys")
        first = browser.post("/account/keys", data={**fields, "name": "A"})
        again = browser.post("/account/keys", data={**fields, "name": "B"})
        assert "was created already" in again.text
        assert not SECRET.search(again.text)
        assert (secret_of(first)[:16],) == tuple(row.prefix for row in rows_of(bare_shop, "ada"))
        reload = browser.get("/account/keys")
        assert (reload.status_code, reload.headers["location"]) == (303, "/account#keys")


def test_one_form_sent_ten_times_at_once_makes_one_key(bare_shop: Shop) -> None:
    bare_shop.user("ada")
    with bare_shop.browser("ada") as browser, ThreadPoolExecutor(10) as pool:
        fields = form_of(browser.get("/account").text, "/account/keys")
        jobs = [pool.submit(browser.post, "/account/keys", data=fields) for _ in range(10)]
        answers = [job.result() for job in jobs]
    assert {answer.status_code for answer in answers} == {200}
    assert sum(bool(SECRET.search(answer.text)) for answer in answers) == 1
    assert len(rows_of(bare_shop, "ada")) == 1


def test_the_most_keys_are_twenty_however_they_are_asked_for(bare_shop: Shop) -> None:
    bare_shop.user("ada")
    given(bare_shop, "ada", ACTIVE_PER_USER_MAX - 3)
    given(bare_shop, "ada", 5, expires_at=datetime.now(UTC) - timedelta(days=1))
    with bare_shop.browser("ada") as browser, ThreadPoolExecutor(8) as pool:
        forms = [form_of(browser.get("/account").text, "/account/keys") for _ in range(8)]
        jobs = [pool.submit(browser.post, "/account/keys", data=form) for form in forms]
        statuses = sorted(job.result().status_code for job in jobs)
        assert statuses == [200] * 3 + [409] * 5
        page = browser.get("/account").text
        assert "You have 20 active keys, which is the most." in page
        assert 'action="/account/keys"' not in page
        # Of the forms that found no room one is sent again, after there is some.
        refused = next(f for f, job in zip(forms, jobs, strict=True) if job.result().is_error)
        assert "Revoke one to create another" in browser.post("/account/keys", data=refused).text
        first = rows_of(bare_shop, "ada")[0].id
        assert browser.post(f"/account/keys/{first}/revoke").status_code == 303
        assert browser.post("/account/keys", data=refused).status_code == 200


def test_a_revoked_key_is_said_to_be_and_works_no_more(bare_shop: Shop) -> None:
    bare_shop.user("ada")
    with bare_shop.browser("ada") as browser:
        secret = secret_of(create(browser, "Old laptop"))
        (row,) = rows_of(bare_shop, "ada")
        asked = browser.get(f"/account/keys/{row.id}/revoke")
        assert "Revoke Old laptop?" in asked.text
        assert rows_of(bare_shop, "ada")[0].revoked_at is None
        done = browser.post(f"/account/keys/{row.id}/revoke")
        assert (done.status_code, done.headers["location"]) == (303, f"/account?revoked={row.id}")
        page = text_of(browser.get(done.headers["location"]))
        assert "Revoked Old laptop." in page
        assert re.search(r"Keys that no longer work \(1\).*Old laptop .* Revoked", page)
        revoked_at = rows_of(bare_shop, "ada")[0].revoked_at
        assert revoked_at is not None
        # Once more, by a second tab: the same answer, and the same time.
        assert browser.post(f"/account/keys/{row.id}/revoke").status_code == 303
        assert browser.get(f"/account/keys/{row.id}/revoke").status_code == 303
        assert rows_of(bare_shop, "ada")[0].revoked_at == revoked_at

    async def find(conn: Connection) -> object:
        return await keys.find_actor(conn, secret)

    assert CACHE_SECONDS < 10
    assert bare_shop.call(lambda wiring: wiring.db.run(find)) is None


def test_somebody_elses_key_looks_like_none(bare_shop: Shop) -> None:
    bare_shop.user("ada")
    bare_shop.user("eve")
    (foreign,) = given(bare_shop, "ada")

    async def make_admin(conn: Connection) -> int:
        return (await keys.create(conn, "admin", at=datetime.now(UTC)))[0]

    admin = bare_shop.call(lambda wiring: wiring.db.run(make_admin))

    def bare(answer: httpx.Response) -> str:
        return re.sub(r"req_\w+|keys/[^/]+/|nonce=\"[^\"]+\"", "", answer.text)

    with bare_shop.browser("eve") as browser:
        for ask in (browser.get, browser.post):
            nothing = ask("/account/keys/999999/revoke")
            assert nothing.status_code == 404
            for key_id in (foreign, admin, "0", "x", "9" * 30, "-1", "٣", "1e2"):
                answer = ask(f"/account/keys/{key_id}/revoke")
                assert answer.status_code == 404
                assert bare(answer) == bare(nothing)
        assert "Revoked" not in browser.get(f"/account?revoked={foreign}").text
    assert rows_of(bare_shop, "ada")[0].revoked_at is None


def test_whoever_is_not_signed_in_makes_and_revokes_nothing(bare_shop: Shop) -> None:
    bare_shop.user("ada")
    (key_id,) = given(bare_shop, "ada")
    with bare_shop.browser() as browser:
        for path in ("/account/keys", f"/account/keys/{key_id}/revoke"):
            answer = browser.post(path, data={"key": "k" * 32})
            assert answer.headers["location"] == "/sign-in?next=%2Faccount"
    (row,) = rows_of(bare_shop, "ada")
    assert row.revoked_at is None


@pytest.mark.parametrize("path", ["/account/keys", "/account/keys/{}/revoke"])
def test_posts_from_other_pages_touch_no_key(bare_shop: Shop, path: str) -> None:
    bare_shop.user("ada")
    (key_id,) = given(bare_shop, "ada")
    with bare_shop.browser("ada") as browser:
        answer = browser.post(
            path.format(key_id),
            headers={"origin": "https://evil.example"},
            data={"key": "k" * 32},
        )
        assert answer.status_code == 403
    (row,) = rows_of(bare_shop, "ada")
    assert row.revoked_at is None


@pytest.mark.parametrize("name", ["x" * 61, "turned\N{RIGHT-TO-LEFT OVERRIDE}", "a\x07b"])
def test_a_name_that_does_not_fit_is_kept_and_explained(bare_shop: Shop, name: str) -> None:
    bare_shop.user("ada")
    with bare_shop.browser("ada") as browser:
        page = create(browser, name)
        assert page.status_code == 422
        assert "<title>[Test] Error: Account" in page.text
        assert f'value="{name}" aria-describedby="name-hint name-fault"' in page.text
    assert rows_of(bare_shop, "ada") == []


def test_a_form_without_its_one_time_key_is_refused(bare_shop: Shop) -> None:
    bare_shop.user("ada")
    with bare_shop.browser("ada") as browser:
        for fields in ({}, {"key": "short"}, {"key": "'; drop table api_keys; --"}):
            assert browser.post("/account/keys", data={"name": "A", **fields}).status_code == 422
    assert rows_of(bare_shop, "ada") == []


def test_a_name_is_shown_as_it_was_typed_and_never_as_markup(bare_shop: Shop) -> None:
    bare_shop.user("ada")
    with bare_shop.browser("ada") as browser:
        pages = [create(browser, "<script>alert(1)</script>"), browser.get("/account")]
        (row,) = rows_of(bare_shop, "ada")
        pages.append(browser.get(f"/account/keys/{row.id}/revoke"))
        for page in pages:
            assert "<script>alert" not in page.text
            assert "&lt;script&gt;alert" in page.text


def test_the_list_ends_and_leaves_no_working_key_out(bare_shop: Shop) -> None:
    bare_shop.user("ada")
    (oldest,) = given(bare_shop, "ada")
    given(bare_shop, "ada", 60, expires_at=datetime.now(UTC) - timedelta(days=1))
    with bare_shop.browser("ada") as browser:
        page = browser.get("/account").text
    assert f"/account/keys/{oldest}/revoke" in page
    assert "Keys that no longer work (49)" in page
    assert page.count("Expired</span>") == 2 * 49
