"""From the price list to the provider and back: what is bought, once, and what the page says."""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import get_args

import httpx
import pytest

from bursar.billing.payments import Payment, Status
from bursar.entrypoints.web import outcomes
from bursar_sandbox.running import Sandbox
from web_shop import GOOD, SECRET_KEY, Shop, form_of, pay, press, shop_at, text_of

NO_MONEY = "4000 0000 0000 9995"


def paid_for(shop: Shop, user_id: str) -> list[Payment]:
    return shop.payments(shop.user(user_id))


def test_a_pack_is_bought_and_the_page_shows_the_new_balance(shop: Shop) -> None:
    user = shop.user("ada")
    shop.post(user, "bonus", 3, pool="bonus")
    with shop.browser("ada") as browser:
        left = press(browser, "basic")
        assert left.status_code == 303
        back = pay(left.headers["location"], GOOD)
        assert back.status_code == 303
        assert back.headers["location"].startswith(f"{shop.url}/checkout/success?session_id=cs_")
        # No webhook reaches this shop: the page itself asks the provider and settles.
        page = browser.get(back.headers["location"])
        words = text_of(page)
        assert "You paid $10.00" in words
        assert "12 pages were added" in words
        assert re.search(r"3 → , now 15", words)
        assert text_of(browser.get(back.headers["location"])) == words
        account = text_of(browser.get("/account"))
        assert "To use now 15" in account
        assert re.search(r"Basic Payment \d+ just now .*Paid", account)
    (payment,) = paid_for(shop, "ada")
    assert (payment.status, payment.amount_minor) == ("completed", 1000)


def test_a_second_press_leads_to_the_same_checkout(shop: Shop) -> None:
    shop.user("ada")
    with shop.browser("ada") as browser:
        fields = form_of(browser.get("/pricing").text, "basic")
        first, second = (browser.post("/pricing/buy", data=fields) for _ in range(2))
        assert first.headers["location"] == second.headers["location"]
    assert len(paid_for(shop, "ada")) == 1


def test_ten_presses_at_once_open_one_checkout(shop: Shop) -> None:
    shop.user("ada")
    with shop.browser("ada") as browser, ThreadPoolExecutor(10) as pool:
        fields = form_of(browser.get("/pricing").text, "pro")
        jobs = [pool.submit(browser.post, "/pricing/buy", data=fields) for _ in range(10)]
        answers = [job.result() for job in jobs]
        # Whoever comes while the first is under way is told so; nobody opens a second one.
        assert {answer.status_code for answer in answers} <= {303, 409}
        assert len({a.headers["location"] for a in answers if a.status_code == 303}) == 1
    assert len(paid_for(shop, "ada")) == 1


def test_another_page_is_another_order(shop: Shop) -> None:
    shop.user("ada")
    with shop.browser("ada") as browser:
        assert (
            press(browser, "basic").headers["location"]
            != press(browser, "basic").headers["location"]
        )
    assert len(paid_for(shop, "ada")) == 2


def test_the_price_is_the_catalogues_whatever_the_form_says(shop: Shop) -> None:
    shop.user("ada")
    with shop.browser("ada") as browser:
        fields = form_of(browser.get("/pricing").text, "enterprise")
        browser.post("/pricing/buy", data={**fields, "amount_minor": "1", "price": "$0.01"})
    (payment,) = paid_for(shop, "ada")
    assert payment.amount_minor == 5000


@pytest.mark.parametrize(
    ("changed", "status"),
    [
        ({"package": "nothing"}, 422),
        ({"package": "x" * 9000}, 422),
        ({"package": ""}, 422),
        ({"currency": "eur"}, 422),
        ({"currency": ""}, 422),
        ({"key": ""}, 422),
        ({"key": "short"}, 422),
        ({"key": "'; drop table payments; --"}, 422),
    ],
    ids=str,
)
def test_a_form_that_was_changed_is_refused(
    shop: Shop, changed: dict[str, str], status: int
) -> None:
    shop.user("ada")
    with shop.browser("ada") as browser:
        fields = form_of(browser.get("/pricing").text, "basic")
        answer = browser.post("/pricing/buy", data={**fields, **changed})
        assert answer.status_code == status
        assert "Nothing was charged" in answer.text
    assert paid_for(shop, "ada") == []


def test_a_free_amount_is_bought_as_it_was_typed(shop: Shop) -> None:
    shop.user("ada")
    with shop.browser("ada") as browser:
        fields = form_of(browser.get("/pricing").text, "amount")
        left = browser.post("/pricing/buy", data={**fields, "amount": " $12.34 "})
        back = pay(left.headers["location"], GOOD)
        words = text_of(browser.get(back.headers["location"]))
    assert "You paid $12.34" in words
    assert "1,234 credits were added" in words


@pytest.mark.parametrize("amount", ["", "4.99", "10,50", "5000.01", "<b>", "1e3"])
def test_an_amount_that_does_not_fit_is_kept_and_explained(shop: Shop, amount: str) -> None:
    shop.user("ada")
    with shop.browser("ada") as browser:
        fields = form_of(browser.get("/pricing").text, "amount")
        page = browser.post("/pricing/buy", data={**fields, "amount": amount})
    assert page.status_code == 422
    assert "<title>[Test] Error: Pricing" in page.text
    assert 'aria-invalid="true"' in page.text
    kept = amount.replace("<", "&lt;").replace(">", "&gt;")
    assert f'value="{kept}" aria-describedby="amount-hint amount-fault"' in page.text
    assert paid_for(shop, "ada") == []


def test_whoever_is_not_signed_in_is_led_to_sign_in(shop: Shop) -> None:
    with shop.browser() as browser:
        page = browser.get("/pricing").text
        assert 'action="/pricing/buy"' not in page
        assert 'href="/sign-in?next=/pricing%3Fpackage%3Dbasic"' in page
        fields = {"package": "basic", "currency": "usd", "key": "k" * 32}
        answer = browser.post("/pricing/buy", data=fields)
        assert (answer.status_code, answer.headers["location"]) == (
            303,
            "/sign-in?next=%2Fpricing",
        )


def test_leaving_the_checkout_keeps_the_order(shop: Shop) -> None:
    shop.user("ada")
    with shop.browser("ada") as browser:
        press(browser, "basic")
        (payment,) = paid_for(shop, "ada")
        page = text_of(browser.get(str(payment.request["cancel_url"])))
        assert "You left before paying. Nothing was charged." in page
        assert "Basic Your order" in page
        fields = form_of(browser.get("/pricing").text, "amount")
        browser.post("/pricing/buy", data={**fields, "amount": "25.5"})
        cancel_url = str(paid_for(shop, "ada")[0].request["cancel_url"])
        assert 'value="25.50"' in browser.get(cancel_url).text


def test_a_decline_says_why_and_another_card_pays_the_same_order(shop: Shop) -> None:
    shop.user("ada")
    with shop.browser("ada") as browser:
        url = press(browser, "basic").headers["location"]
        pay(url, NO_MONEY)
        (payment,) = paid_for(shop, "ada")
        success = f"/checkout/success?session_id={payment.session_id}"
        page = browser.get(success)
        assert "does not have enough money" in page.text
        assert "You were not charged." in page.text
        assert url in page.text
        pay(url, GOOD)
        assert "You paid $10.00" in browser.get(success).text


def test_an_order_that_is_not_paid_is_watched_with_and_without_script(shop: Shop) -> None:
    shop.user("ada")
    with shop.browser("ada") as browser:
        press(browser, "basic")
        (payment,) = paid_for(shop, "ada")
        success = f"/checkout/success?session_id={payment.session_id}"
        page = browser.get(success).text
        assert "Confirming your payment" in page
        assert "You paid" not in page
        again = re.search(r'<noscript><meta http-equiv="refresh" content="4;url=([^"]+)"', page)
        assert again is not None
        assert "waited=4" in again[1]
        late = browser.get(f"{success}&waited=20").text
        assert "longer than usual" in late
        assert "http-equiv" not in browser.get(f"{success}&waited=4000").text
        fragment = browser.get(f"/checkout/success/status?session_id={payment.session_id}").text
        assert "data-waiting" in fragment
        assert "<html" not in fragment


def test_an_expired_order_says_that_nothing_was_charged(shop: Shop, provider: Sandbox) -> None:
    shop.user("ada")
    with shop.browser("ada") as browser:
        press(browser, "basic")
        (payment,) = paid_for(shop, "ada")
        ended = httpx.post(
            f"{provider.base_url}/v1/checkout/sessions/{payment.session_id}/expire",
            auth=(SECRET_KEY, ""),
        )
        assert ended.status_code == 200
        page = browser.get(f"/checkout/success?session_id={payment.session_id}").text
    assert "This order has expired" in page
    assert "You were not charged." in page


def test_somebody_elses_payment_looks_like_none(shop: Shop) -> None:
    shop.user("ada")
    shop.user("eve")
    with shop.browser("ada") as browser:
        press(browser, "basic")
    (payment,) = paid_for(shop, "ada")
    path = f"/checkout/success?session_id={payment.session_id}"

    def bare(answer: httpx.Response) -> str:
        return re.sub(r"req_\w+|session_id=\w+|nonce=\S+", "", answer.text)

    with shop.browser("eve") as browser:
        foreign = browser.get(path)
        unknown = browser.get("/checkout/success?session_id=cs_test_unknown")
        assert foreign.status_code == unknown.status_code == 404
        assert bare(foreign) == bare(unknown)
        for odd in ("", "x" * 3000, "%00", "%ff", "a%0d%0ab"):
            assert browser.get(f"/checkout/success?session_id={odd}").status_code == 404
    with shop.browser() as browser:
        answer = browser.get("/checkout/success?session_id=cs_test_unknown")
        assert answer.status_code == 303
        assert answer.headers["location"].startswith("/sign-in?next=%2Fcheckout%2Fsuccess")


def test_a_buyer_who_is_signed_in_elsewhere_learns_the_state_and_nothing_else(
    database_url: str, provider: Sandbox, tmp_path: Path
) -> None:
    home = "https://shop.example"
    with shop_at(database_url, stripe_api_base=provider.base_url, frontend_url=home) as shop:
        shop.sell(tmp_path)
        shop.user("ada", email="ada@lovelace.example", name="Ada Lovelace")
        with shop.browser("ada") as browser:
            url = press(browser, "basic").headers["location"]
        (payment,) = paid_for(shop, "ada")
        path = f"?session_id={payment.session_id}"
        with shop.browser() as browser:
            for part in ("", "/status"):
                waiting = browser.get(f"/checkout/success{part}{path}")
                assert waiting.status_code == 200
                assert "Your payment is being confirmed" in text_of(waiting)
                assert "data-waiting" in waiting.text
            assert pay(url, GOOD).status_code == 303
            done = browser.get(f"/checkout/success{path}")
            assert "Thank you Your payment went through." in text_of(done)
            assert f'href="{home}"' in done.text
            assert "Back to Acme Tools" in done.text
            for private in ("10.00", "12", "Basic", "Ada", "lovelace", f"Payment {payment.id}"):
                assert private not in text_of(done)
    assert "no-store" in done.headers["cache-control"]


def test_every_state_has_its_words_for_whoever_is_not_signed_in() -> None:
    assert set(outcomes.BRIEF_WORDS) == set(get_args(Status))
    free = {state for state, (_, words) in outcomes.BRIEF_WORDS.items() if "not charged" in words}
    assert free == {"failed", "expired", "canceled"}


def test_too_many_checkouts_are_refused_for_that_user_alone(
    database_url: str, provider: Sandbox, tmp_path: Path
) -> None:
    with shop_at(database_url, stripe_api_base=provider.base_url, limit_checkout="2/1h") as shop:
        shop.sell(tmp_path)
        shop.user("ada")
        shop.user("bob")
        with shop.browser("ada") as ada, shop.browser("bob") as bob:
            assert [press(ada, "basic").status_code for _ in range(3)] == [303, 303, 429]
            assert press(bob, "basic").status_code == 303


def test_a_provider_that_does_not_answer_charges_nobody(
    database_url: str, provider: Sandbox, tmp_path: Path
) -> None:
    with shop_at(database_url, stripe_api_base=provider.base_url) as shop:
        shop.sell(tmp_path)
    with shop_at(database_url) as shop:
        shop.user("ada")
        with shop.browser("ada") as browser:
            page = press(browser, "basic")
    assert page.status_code in (503, 504)
    assert "You were not charged" in page.text


def test_an_empty_shop_says_so(bare_shop: Shop) -> None:
    with bare_shop.browser() as browser:
        assert "Nothing is for sale at the moment." in browser.get("/").text
