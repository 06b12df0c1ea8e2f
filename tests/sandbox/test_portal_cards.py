"""The customer portal over plain HTTP: cards, and sessions that lead to one task."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from bursar_sandbox.running import Sandbox
from portal_shop import BACK, BANK_ASKS, DECLINED, OTHER, PlanShop, leads_to, text_of


@pytest.fixture(scope="module")
def shop(checked_sandbox: Sandbox) -> PlanShop:
    return PlanShop(checked_sandbox.base_url)


def charged(shop: PlanShop, subscription: Any) -> str:
    """The last digits of the card that the subscription is charged to."""
    found = shop.subscription(subscription.id).default_payment_method
    if found is None:
        customer = shop.v1.customers.retrieve(subscription.customer)
        found = customer.invoice_settings.default_payment_method
    return str(shop.v1.payment_methods.retrieve(found).card.last4)


def test_a_card_that_is_added_is_charged_from_then_on(shop: PlanShop) -> None:
    subscription = shop.subscribed()
    portal = shop.portal(subscription.customer)
    events = shop.events_of(lambda: portal.add_card(OTHER))
    assert events == [
        "setup_intent.created",
        "payment_method.attached",
        "setup_intent.succeeded",
        "customer.updated",
        "customer.subscription.updated",
    ]
    assert charged(shop, subscription) == "4444"
    told = text_of(portal.get())
    assert "Mastercard ending in 4444" in told
    assert "Visa ending in 4242" in told
    assert ", Mastercard ending in 4444." in told


def test_a_declined_card_is_not_saved_and_stays_in_the_form(shop: PlanShop) -> None:
    subscription = shop.subscribed()
    portal = shop.portal(subscription.customer)
    answer = portal.add_card(DECLINED)
    assert answer.status_code == 402
    assert "There is a problem" in answer.text
    assert f'value="{DECLINED}"' in answer.text
    wrong = portal.add_card("4242 4242 4242 4241", expiry="")
    assert wrong.status_code == 422
    assert wrong.text.count('aria-invalid="true"') == 2
    assert charged(shop, subscription) == "4242"
    cards = shop.v1.customers.payment_methods.list(subscription.customer).data
    assert [card.card.last4 for card in cards] == ["4242"]


def test_the_bank_may_want_to_see_the_person_first(shop: PlanShop) -> None:
    subscription = shop.subscribed()
    portal = shop.portal(subscription.customer)
    refused = portal.at_bank(portal.add_card(BANK_ASKS), "refuse")
    assert refused.status_code == 200
    assert "Your bank did not confirm" in text_of(refused)
    assert charged(shop, subscription) == "4242"
    confirmed = portal.at_bank(portal.add_card(BANK_ASKS), "confirm")
    assert leads_to(confirmed, "added")
    assert charged(shop, subscription) == "3184"
    # Coming back a second time must not undo what was chosen since.
    first = subscription.default_payment_method
    assert leads_to(portal.post(f"/cards/{first}", do="default"), "default")
    assert leads_to(httpx.get(str(confirmed.url)), "added")
    assert charged(shop, subscription) == "4242"


def test_a_setup_of_somebody_else_adds_nothing(shop: PlanShop) -> None:
    mine, others = shop.subscribed(), shop.subscribed()
    theirs = shop.portal(others.customer)
    confirmed = theirs.at_bank(theirs.add_card(BANK_ASKS), "confirm")
    path = str(confirmed.url).removeprefix(theirs.url)
    portal = shop.portal(mine.customer)
    assert leads_to(portal.get(path), "none")
    assert charged(shop, mine) == "4242"


def test_the_card_that_is_charged_can_not_be_removed_and_another_can(shop: PlanShop) -> None:
    subscription = shop.subscribed()
    first = subscription.default_payment_method
    portal = shop.portal(subscription.customer)
    assert leads_to(portal.post(f"/cards/{first}", do="remove"), "none")
    portal.add_card(OTHER)
    assert leads_to(portal.post(f"/cards/{first}", do="remove"), "removed")
    cards = shop.v1.customers.payment_methods.list(subscription.customer).data
    assert [card.card.last4 for card in cards] == ["4444"]
    assert leads_to(portal.post(f"/cards/{first}", do="default"), "none")


def test_another_person_s_card_is_out_of_reach(shop: PlanShop) -> None:
    mine, others = shop.subscribed(), shop.subscribed()
    portal = shop.portal(mine.customer)
    for act in ("default", "remove", "dance"):
        answer = portal.post(f"/cards/{others.default_payment_method}", do=act)
        assert leads_to(answer, "none")
    assert charged(shop, mine) == "4242"


def flow(kind: str, subscription: Any, **more: Any) -> dict[str, Any]:
    details: dict[str, Any] = {"type": kind, **more}
    if kind != "payment_method_update":
        details[kind] = {"subscription": subscription.id, **details.pop("details", {})}
    return details


def test_a_flow_leads_to_its_task_and_then_where_it_was_told(shop: PlanShop) -> None:
    subscription = shop.subscribed()
    redirect = {"type": "redirect", "redirect": {"return_url": f"{BACK}?canceled"}}
    portal = shop.portal(
        subscription.customer,
        flow_data=flow("subscription_cancel", subscription, after_completion=redirect),
    )
    opened = portal.get()
    assert opened.status_code == 303
    assert opened.headers["location"].endswith(f"/plans/{subscription.id}/cancel")
    task = portal.get(f"/plans/{subscription.id}/cancel")
    # There is no way to the other tasks.
    assert f'href="{portal.url.removeprefix(shop.sandbox_url)}"' not in task.text
    answer = portal.post(f"/plans/{subscription.id}/cancel")
    assert answer.headers["location"] == f"{BACK}?canceled"
    assert shop.subscription(subscription.id).cancel_at is not None


def test_a_flow_may_end_on_a_page_of_its_own(shop: PlanShop) -> None:
    subscription = shop.subscribed()
    words = {"custom_message": "Thanks, Ada."}
    after = {"type": "hosted_confirmation", "hosted_confirmation": words}
    portal = shop.portal(
        subscription.customer,
        flow_data=flow("payment_method_update", subscription, after_completion=after),
    )
    assert portal.get().headers["location"].endswith("/cards/new")
    answer = portal.add_card(OTHER)
    assert answer.status_code == 303
    told = text_of(portal.get("/done", said="added"))
    assert answer.headers["location"].endswith("/done?said=added")
    assert "The card is saved and is charged from now on." in told
    assert "Thanks, Ada." in told
    assert charged(shop, subscription) == "4444"


def test_a_flow_that_confirms_a_change_shows_what_it_costs_first(shop: PlanShop) -> None:
    subscription = shop.subscribed()
    item = {"id": subscription["items"].data[0].id, "price": shop.prices["Pro"], "quantity": 1}
    portal = shop.portal(
        subscription.customer,
        flow_data=flow("subscription_update_confirm", subscription, details={"items": [item]}),
    )
    opened = portal.get()
    quote = httpx.get(f"{shop.sandbox_url}{opened.headers['location']}")
    assert "To Pro, $30.00 a month" in text_of(quote)
    assert leads_to(portal.confirm(quote), "changed")
    assert shop.subscription(subscription.id)["items"].data[0].price.id == shop.prices["Pro"]
    # The task is done: the session is a portal like any other now.
    assert portal.get().status_code == 200


def test_a_flow_to_change_plans_leads_to_their_list(shop: PlanShop) -> None:
    subscription = shop.subscribed()
    portal = shop.portal(subscription.customer, flow_data=flow("subscription_update", subscription))
    opened = portal.get()
    assert opened.headers["location"].endswith(f"/plans/{subscription.id}")
    assert "See what it costs" in portal.get(f"/plans/{subscription.id}").text
