"""Plans on the pages: subscribed to, changed, canceled, resumed, paused, owed; by form alone."""

from __future__ import annotations

import pytest

from plan_pages import PlanShop, follow, form, press
from web_shop import text_of

DECLINES = "pm_card_chargeCustomerFail"


def test_a_visitor_sees_what_renews_and_signs_in_to_subscribe(plans: PlanShop) -> None:
    with plans.shop.browser() as browser:
        page = browser.get("/pricing")
        words = text_of(page)
        assert "Basic $15 a month 20 pages a month $0.75 per page Subscribe to Basic" in words
        assert "Charged today, then every month until you cancel." in words
        assert "Start 14-day trial of Studio Free for 14 days. First charge on" in words
        assert "Paid once, no subscription" not in words
        assert "/sign-in?next=%2Fpricing%3Fplan%3Dbasic%26period%3Dmonth" in page.text
        assert 'action="/pricing/subscribe"' not in page.text


def test_a_year_is_shown_by_its_link_with_what_it_saves(plans: PlanShop) -> None:
    with plans.shop.browser() as browser:
        assert "Yearly 2 months free" in text_of(browser.get("/pricing"))
        words = text_of(browser.get("/pricing?period=year"))
        assert "Basic $150 a year 20 pages a month $0.63 per page Subscribe to Basic" in words
        assert "Team $99 a month" in words


def test_what_was_subscribed_to_is_said_on_the_way_back_and_in_the_account(
    plans: PlanShop,
) -> None:
    plans.shop.user("ada")
    with plans.shop.browser("ada") as browser:
        words = text_of(plans.subscribe(browser, "basic"))
        assert "You have Basic You paid $15.00. Basic costs $15.00 a month and renews on" in words
        assert "Basic, $15.00 a month history Active Paid $15.00" in words
        assert "Before, and now 0 → , now 20" in words
        assert "Free" not in words
        account = text_of(browser.get("/account"))
        assert "Basic Active Price $15.00 a month Next charge $15.00 on" in account
        assert "To use now 20" in account
        assert "Invoices (1)" in account


def test_a_trial_says_until_when_it_runs_and_is_offered_once(plans: PlanShop) -> None:
    plans.shop.user("ada")
    with plans.shop.browser("ada") as browser:
        words = text_of(plans.subscribe(browser, "studio"))
        assert "Your trial of Studio runs until" in words
        assert "Studio, $9.00 a month export, 3 projects Trial until" in words
        assert "Charged $0.00" in words
        assert "Nothing was charged. After that it costs $9.00 a month, charged first on" in words
        account = text_of(browser.get("/account"))
        assert "Trial until" in account
        assert "First charge $9.00 on" in account
        cancel = f"/account/plan/{plans.row('ada').id}/cancel"
        fields = form(browser.get(cancel), cancel)
        follow(browser, browser.post(cancel, data={**fields, "when": "now"}))
        again = text_of(browser.get("/pricing"))
        assert "Subscribe to Studio Charged today" in again
        assert "14-day trial" not in again


def test_a_subscriber_sees_the_plan_and_switches_but_no_second_button(plans: PlanShop) -> None:
    plans.shop.user("ada")
    with plans.shop.browser("ada") as browser:
        left = press(browser, "basic")
        assert press(browser, "basic").headers["location"] == left.headers["location"]
        stale = browser.get("/pricing")
        plans.subscribe(browser, "basic")
        page = browser.get("/pricing")
        words = text_of(page)
        assert "Basic Your plan $15 a month" in words
        assert "Switch to Pro" in words
        assert "Subscribe to" not in words
        assert "Switch to yearly" in text_of(browser.get("/pricing?period=year"))
        fields = {**form(stale, "/pricing/subscribe"), "plan": "pro"}
        told = follow(browser, browser.post("/pricing/subscribe", data=fields))
        assert "You have a plan already. You were not charged." in text_of(told)


def test_one_press_twice_opens_one_checkout(plans: PlanShop) -> None:
    plans.shop.user("ada")
    with plans.shop.browser("ada") as browser:
        fields = form(browser.get("/pricing"), "/pricing/subscribe")
        first, second = (browser.post("/pricing/subscribe", data=fields) for _ in range(2))
        assert first.headers["location"] == second.headers["location"]
    assert len(plans.shop.payments(plans.shop.user("ada"))) == 1


def test_an_upgrade_costs_what_was_shown_and_brings_its_allowance(plans: PlanShop) -> None:
    plans.shop.user("ada")
    with plans.shop.browser("ada") as browser:
        plans.subscribe(browser, "basic")
        plans.advance(days=10)
        change = f"/account/plan/{plans.row('ada').id}/change"
        assert "You have Basic, $15.00 a month." in text_of(browser.get(change))
        quote = browser.get(change, params={"to": "pro:month", "quantity": "1"})
        words = text_of(quote)
        fields = form(quote, change)
        due = int(fields["today"])
        assert 900 < due < 1100
        assert f"Confirm and pay ${due / 100:.2f}" in words
        assert f"To pay today ${due / 100:.2f} Next charge" in words
        told = follow(browser, browser.post(change, data=fields))
        assert "You have Pro now. It costs $30.00 a month." in text_of(told)
        assert "To use now 50" in text_of(told)
        invoice = plans.stripe.invoices.list({"limit": 1}).data[0]
        assert (invoice.status, invoice.amount_paid) == ("paid", due)
        again = browser.post(change, data=fields)
        assert follow(browser, again).status_code == 200
        assert plans.stripe.invoices.list({"limit": 1}).data[0].id == invoice.id


def test_another_price_than_the_one_shown_is_shown_before_anything_is_done(
    plans: PlanShop,
) -> None:
    plans.shop.user("ada")
    with plans.shop.browser("ada") as browser:
        plans.subscribe(browser, "basic")
        plans.advance(days=5)
        change = f"/account/plan/{plans.row('ada').id}/change"
        fields = form(browser.get(change, params={"to": "pro:month"}), change)
        for wrong in ({"today": "1"}, {"at": "2020-01-01T00:00:00+00:00"}, {"proration": "none"}):
            told = browser.post(change, data={**fields, **wrong})
            assert told.status_code == 409
            assert "This is the price now" in text_of(told)
            assert plans.look("ada").plan == "basic"
        fresh = form(told, change)
        assert fresh["key"] != fields["key"]
        follow(browser, browser.post(change, data=fresh))
    assert plans.row("ada").plan == "pro"


def test_a_downgrade_takes_nothing_today(plans: PlanShop) -> None:
    plans.shop.user("ada")
    with plans.shop.browser("ada") as browser:
        plans.subscribe(browser, "pro")
        plans.advance(days=10)
        change = f"/account/plan/{plans.row('ada').id}/change"
        quote = browser.get(change, params={"to": "basic:month"})
        assert "Confirm, nothing to pay today" in text_of(quote)
        assert "To pay today $0.00" in text_of(quote)
        told = follow(browser, browser.post(change, data=form(quote, change)))
        assert "You have Basic now." in text_of(told)


def test_a_declined_card_changes_nothing(plans: PlanShop) -> None:
    plans.shop.user("ada")
    with plans.shop.browser("ada") as browser:
        plans.subscribe(browser, "basic")
        plans.use_card("ada", DECLINES)
        change = f"/account/plan/{plans.row('ada').id}/change"
        quote = browser.get(change, params={"to": "team:month"})
        told = browser.post(change, data=form(quote, change))
        assert told.status_code == 409
        assert "Your plan was not changed" in text_of(told)
        assert "Update card" in text_of(told)
    assert plans.look("ada").plan == "basic"


@pytest.mark.parametrize("query", ["to=basic:month", "to=gold:month", "to=pro:month&quantity=0"])
def test_a_choice_that_is_none_is_told_at_the_list(plans: PlanShop, query: str) -> None:
    plans.shop.user("ada")
    with plans.shop.browser("ada") as browser:
        plans.subscribe(browser, "basic")
        told = browser.get(f"/account/plan/{plans.row('ada').id}/change?{query}")
        assert told.status_code == 422
        assert "There is a problem" in text_of(told)


def test_a_plan_is_canceled_with_its_period_and_resumed(plans: PlanShop) -> None:
    plans.shop.user("ada")
    with plans.shop.browser("ada") as browser:
        plans.subscribe(browser, "basic")
        base = f"/account/plan/{plans.row('ada').id}"
        page = browser.get(f"{base}/cancel")
        assert "Cancel Basic? It runs until" in text_of(page)
        assert "What is left of the plan’s pages" in text_of(page)
        fields = form(page, f"{base}/cancel")
        account = follow(browser, browser.post(f"{base}/cancel", data=fields))
        assert "Basic is canceled and ends on" in text_of(account)
        assert "Ends " in text_of(account)
        assert "Next charge" not in text_of(account)
        assert plans.row("ada").cancel_at is not None
        refused = browser.get(f"{base}/change")
        assert refused.status_code == 409
        assert "Resume it first" in text_of(refused)
        fields = form(account, f"{base}/resume")
        account = follow(browser, browser.post(f"{base}/resume", data=fields))
        assert "Basic is resumed." in text_of(account)
    assert plans.look("ada").cancel_at is None


def test_a_plan_that_is_ended_now_is_over(plans: PlanShop) -> None:
    plans.shop.user("ada")
    with plans.shop.browser("ada") as browser:
        plans.subscribe(browser, "basic")
        cancel = f"/account/plan/{plans.row('ada').id}/cancel"
        fields = {**form(browser.get(cancel), cancel), "when": "now"}
        account = text_of(follow(browser, browser.post(cancel, data=fields)))
        assert "Basic has ended." in account
        assert "No plan runs at the moment" in account
        assert "Subscribe to Basic" in text_of(browser.get("/pricing"))


def test_a_plan_is_paused_and_goes_on(plans: PlanShop) -> None:
    plans.shop.user("ada")
    with plans.shop.browser("ada") as browser:
        plans.subscribe(browser, "basic")
        base = f"/account/plan/{plans.row('ada').id}"
        account = browser.get("/account")
        paused = follow(browser, browser.post(f"{base}/pause", data=form(account, f"{base}/pause")))
        assert "Basic is paused. You are not charged until you resume it." in text_of(paused)
        assert plans.look("ada").status == "paused"
        going = follow(browser, browser.post(f"{base}/resume", data=form(paused, f"{base}/resume")))
        assert "Basic is resumed." in text_of(going)
    assert plans.look("ada").status == "active"


def test_a_failed_renewal_is_told_first_with_its_reason_and_the_way_to_pay(
    plans: PlanShop,
) -> None:
    plans.shop.user("ada")
    with plans.shop.browser("ada") as browser:
        plans.subscribe(browser, "basic")
        plans.use_card("ada", DECLINES)
        plans.advance(days=32)
        assert plans.look("ada").status == "past_due"
        page = browser.get("/account")
        words = text_of(page)
        assert "$15.00 for Basic was not paid The charge for the invoice of" in words
        assert "because the bank declined it and gave no reason. We try again on" in words
        assert words.index("Pay now Update card") < words.index("Balance")
        assert "Payment failed" in words
        bill = plans.stripe.invoices.list({"limit": 1}).data[0]
        assert bill.hosted_invoice_url in page.text
        cancel = browser.get(f"/account/plan/{plans.row('ada').id}/cancel")
        assert "It ends at once, and your card is not tried again." in text_of(cancel)
        assert form(cancel, cancel.url.path)["when"] == "now"
        portal = form(page, "/api/stripe/portal")
        left = browser.post("/api/stripe/portal", data=portal)
        assert left.headers["location"].startswith(plans.sandbox.base_url)


def test_another_persons_plan_is_not_there(plans: PlanShop) -> None:
    plans.shop.user("ada")
    plans.shop.user("bob")
    with plans.shop.browser("ada") as browser:
        plans.subscribe(browser, "basic")
    base = f"/account/plan/{plans.row('ada').id}"
    with plans.shop.browser("bob") as browser:
        key = {"key": "k" * 32}
        for path in ("change", "cancel"):
            assert browser.get(f"{base}/{path}").status_code == 404
        for path in ("change", "cancel", "resume", "pause"):
            assert browser.post(f"{base}/{path}", data=key).status_code == 404
        assert "You have" not in text_of(browser.get("/account?said=changed&of=1"))
    assert plans.look("ada").cancel_at is None
