"""What a person does in the customer portal: change plans, cancel, go on, see to cards.

Owns which of these the session's configuration allows, and does them as the API would, so that the
same events follow. It never renders a page.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import orjson

from bursar_sandbox.store import Transaction
from bursar_sandbox.stripe import (
    customers,
    methods,
    portal_configurations,
    portal_sessions,
    previews,
    records,
    subscription_changes,
    subscription_routes,
    subscription_states,
    test_clocks,
)
from bursar_sandbox.stripe.call import Call
from bursar_sandbox.stripe.errors import StripeError
from bursar_sandbox.stripe.params import Params

_CHANGEABLE = ("active", "trialing", "past_due")


class NotAllowed(Exception):
    """The portal doesn't let this person do that, or there is nothing of the kind to do it to."""


@dataclass(frozen=True, slots=True)
class Portal:
    """An open portal: whose it is and what it allows. `products` are those to change to."""

    session: dict[str, Any]
    configuration: dict[str, Any]
    customer: dict[str, Any]
    products: list[dict[str, Any]]

    @property
    def features(self) -> dict[str, Any]:
        """The configuration's features."""
        found: dict[str, Any] = self.configuration["features"]
        return found


@dataclass(frozen=True, slots=True)
class Wanted:
    """A change of a subscription's one item."""

    price_id: str
    quantity: int


def enter(tx: Transaction, secret: str) -> Portal | None:
    """The portal behind the secret; None when its time is over. What follows in the transaction
    happens in its customer's time.
    """
    session = portal_sessions.visit(tx, secret)
    if session is None:
        return None
    configuration = records.get(tx, portal_configurations.KIND, session["configuration"])
    customer = records.get(tx, "customer", session["customer"])
    test_clocks.enter_of(tx, session)
    products = portal_configurations.products_of(tx, configuration) or []
    return Portal(session, configuration, customer, products)


def subscriptions_of(tx: Transaction, portal: Portal) -> list[dict[str, Any]]:
    """The subscriptions that the portal shows: those that have not ended, newest first."""
    return subscription_states.of_customer(tx, portal.customer["id"])


def subscription(tx: Transaction, portal: Portal, subscription_id: str) -> dict[str, Any]:
    """One of them. Raises NotAllowed for any other."""
    for found in subscriptions_of(tx, portal):
        if found["id"] == subscription_id:
            return found
    raise NotAllowed


def ends(found: dict[str, Any]) -> int | None:
    """When a subscription ends that is canceled for later; None for one that goes on."""
    if found["cancel_at"] is not None:
        return int(found["cancel_at"])
    return period_end(found) if found["cancel_at_period_end"] else None


def period_end(found: dict[str, Any]) -> int:
    """The end of what is paid for, or of the trial: the earliest of the items'."""
    return min(int(item["current_period_end"]) for item in found["items"]["data"])


def may_cancel(portal: Portal, found: dict[str, Any]) -> bool:
    """Whether the person can cancel the subscription here."""
    return portal.features["subscription_cancel"]["enabled"] and ends(found) is None


def may_resume(portal: Portal, found: dict[str, Any]) -> bool:
    """Whether the person can take a cancellation back here."""
    return portal.features["subscription_cancel"]["enabled"] and ends(found) is not None


def may_change(portal: Portal, found: dict[str, Any]) -> bool:
    """Whether the person can change the plan here. As with Stripe, one that has several items,
    or ends soon, can only be canceled.
    """
    update = portal.features["subscription_update"]
    return (
        update["enabled"]
        and bool(set(update["default_allowed_updates"]) & {"price", "quantity"})
        and len(found["items"]["data"]) == 1
        and found["status"] in _CHANGEABLE
        and ends(found) is None
    )


def offers(tx: Transaction, portal: Portal, found: dict[str, Any]) -> list[dict[str, Any]]:
    """The prices that the subscription may be changed to, in the seller's order, its own among
    them; only those in its currency.
    """
    item = found["items"]["data"][0]
    if "price" not in portal.features["subscription_update"]["default_allowed_updates"]:
        return [item["price"]]
    ids = [price_id for product in portal.products for price_id in product["prices"]]
    prices = [price for price in map(tx.find, ids) if price is not None and _sold(price, found)]
    own = [price for price in prices if price["id"] == item["price"]["id"]]
    return prices if own else [item["price"], *prices]


def _sold(price: dict[str, Any], found: dict[str, Any]) -> bool:
    return bool(price.get("active") and price["currency"] == found["currency"])


def quantities(portal: Portal, price: dict[str, Any]) -> tuple[int, int] | None:
    """The least and the most that may be taken of a price; None where there is no choice."""
    if "quantity" not in portal.features["subscription_update"]["default_allowed_updates"]:
        return None
    for product in portal.products:
        allowed = product["adjustable_quantity"]
        if product["product"] == price["product"] and allowed["enabled"]:
            return allowed["minimum"], allowed["maximum"] or 999_999
    return None


def check_change(
    tx: Transaction, portal: Portal, found: dict[str, Any], wanted: Wanted
) -> dict[str, Any]:
    """The price that is wanted. Raises NotAllowed for what the portal doesn't offer, and for no
    change at all.
    """
    if not may_change(portal, found):
        raise NotAllowed
    item = found["items"]["data"][0]
    price = next(
        (one for one in offers(tx, portal, found) if one["id"] == wanted.price_id), None
    )  # fmt: skip
    if price is None or wanted == Wanted(item["price"]["id"], item.get("quantity", 1)):
        raise NotAllowed
    if wanted.quantity != item.get("quantity", 1):
        bounds = quantities(portal, price)
        if bounds is None or not bounds[0] <= wanted.quantity <= bounds[1]:
            raise NotAllowed
    return price


def preview(
    tx: Transaction, portal: Portal, found: dict[str, Any], wanted: Wanted, at: int
) -> tuple[dict[str, Any], bool]:
    """The invoice that the change leads to, reckoned as of that moment, and whether it is the
    change's own, charged at once, and not the next one. Raises StripeError.
    """
    details = {**_change(portal, found, wanted), "proration_date": str(at)}
    asked = {"subscription": found["id"], "subscription_details": details}
    invoice = _as_api(tx, previews.create, asked)
    change = subscription_changes.build(tx, found, Params(details))
    return invoice, subscription_changes.draft(tx, change) is not None


def next_invoice(tx: Transaction, found: dict[str, Any]) -> dict[str, Any] | None:
    """What the subscription's next invoice will be; None if nothing more is charged."""
    try:
        return _as_api(tx, previews.create, {"subscription": found["id"]})
    except StripeError:
        return None


def change(tx: Transaction, portal: Portal, found: dict[str, Any], wanted: Wanted, at: int) -> None:
    """Change the plan, reckoned as of that moment. Raises StripeError, and then nothing is
    changed, when a charge that belongs to it is refused.
    """
    asked = _change(portal, found, wanted)
    asked.update(payment_behavior="error_if_incomplete", proration_date=str(at))
    _as_api(tx, subscription_routes.update, asked, found["id"])


def _change(portal: Portal, found: dict[str, Any], wanted: Wanted) -> dict[str, Any]:
    update = portal.features["subscription_update"]
    item = found["items"]["data"][0]
    asked: dict[str, Any] = {
        "items": {
            "0": {"id": item["id"], "price": wanted.price_id, "quantity": str(wanted.quantity)}
        },
        "proration_behavior": update["proration_behavior"],
    }
    if update["billing_cycle_anchor"] == "now":
        asked["billing_cycle_anchor"] = "now"
    if found["status"] == "trialing" and update["trial_update_behavior"] == "end_trial":
        asked["trial_end"] = "now"
    return asked


def cancel(
    tx: Transaction, portal: Portal, found: dict[str, Any], feedback: str, comment: str
) -> None:
    """Cancel the subscription, now or for the end of its period, as the seller has set."""
    terms = portal.features["subscription_cancel"]
    details = {name: text for name, text in (("feedback", feedback), ("comment", comment)) if text}
    asked: dict[str, Any] = {"cancellation_details": details} if details else {}
    if terms["mode"] == "immediately":
        if terms["proration_behavior"] != "none":
            asked["prorate"] = "true"
        _as_api(tx, subscription_routes.cancel, asked, found["id"])
        return
    # In the flexible billing mode the portal sets a date, as Stripe's does, not the flag.
    if found["billing_mode"]["type"] == "flexible":
        asked["cancel_at"] = str(period_end(found))
    else:
        asked["cancel_at_period_end"] = "true"
    _as_api(tx, subscription_routes.update, asked, found["id"])


def resume(tx: Transaction, found: dict[str, Any]) -> None:
    """Take the cancellation back."""
    asked = {"cancel_at": ""} if found["cancel_at"] is not None else {}
    if found["cancel_at_period_end"]:
        asked["cancel_at_period_end"] = "false"
    _as_api(tx, subscription_routes.update, asked, found["id"])


def cards_of(tx: Transaction, portal: Portal) -> list[dict[str, Any]]:
    """The customer's cards and bank accounts, newest first."""
    rows = tx.execute(
        "SELECT body FROM objects WHERE object = 'payment_method' AND customer = ?"
        " ORDER BY seq DESC",
        (portal.customer["id"],),
    ).fetchall()
    return [orjson.loads(row[0]) for row in rows]


def default_of(portal: Portal) -> str | None:
    """The id of what is charged when a subscription names nothing else."""
    customer = portal.customer
    found: str | None = (
        customer["invoice_settings"]["default_payment_method"] or customer["default_source"]
    )
    return found


def in_use(tx: Transaction, portal: Portal) -> set[str]:
    """The ids of what subscriptions are charged to: these can't be removed."""
    found = subscriptions_of(tx, portal)
    used = {one["default_payment_method"] or default_of(portal) for one in found}
    return {one for one in used if one is not None}


def make_default(tx: Transaction, portal: Portal, method_id: str) -> None:
    """Charge this card from now on, for every subscription. Raises NotAllowed, StripeError."""
    _own(tx, portal, method_id)
    settings = {"invoice_settings": {"default_payment_method": method_id}}
    _as_api(tx, customers.update, settings, portal.customer["id"])
    for found in subscriptions_of(tx, portal):
        if found["default_payment_method"] not in (None, method_id):
            asked = {"default_payment_method": method_id}
            _as_api(tx, subscription_routes.update, asked, found["id"])


def remove(tx: Transaction, portal: Portal, method_id: str) -> None:
    """Take a card away for good. Raises NotAllowed for one that a subscription is charged to."""
    method = _own(tx, portal, method_id)
    if method_id in in_use(tx, portal):
        raise NotAllowed
    methods.detach(tx, method)


def _own(tx: Transaction, portal: Portal, method_id: str) -> dict[str, Any]:
    if not portal.features["payment_method_update"]["enabled"]:
        raise NotAllowed
    for method in cards_of(tx, portal):
        if method["id"] == method_id:
            return method
    raise NotAllowed


def invoices_of(tx: Transaction, portal: Portal) -> list[dict[str, Any]]:
    """The customer's invoices that have a page of their own, newest first; none where the portal
    doesn't show them.
    """
    if not portal.features["invoice_history"]["enabled"]:
        return []
    rows = tx.execute(
        "SELECT body FROM objects WHERE object = 'invoice' AND customer = ?"
        " AND label != 'draft' ORDER BY created DESC, seq DESC LIMIT 100",
        (portal.customer["id"],),
    ).fetchall()
    return [orjson.loads(row[0]) for row in rows]


def _as_api(
    tx: Transaction, handler: Callable[[Call], dict[str, Any]], fields: dict[str, Any], *ids: str
) -> dict[str, Any]:
    return handler(Call(tx, Params(fields), ids, ""))
