"""The routes of checkout sessions: opened, changed, expired. `checkout` has them paid."""

from __future__ import annotations

from typing import Any

from bursar_sandbox.store import Transaction
from bursar_sandbox.stripe import (
    addresses,
    events,
    line_items,
    lists,
    metadata,
    records,
    session_intents,
    session_params,
    session_subscriptions,
    session_totals,
    setup_sessions,
)
from bursar_sandbox.stripe.call import Call, route
from bursar_sandbox.stripe.errors import StripeError, no_such, not_played
from bursar_sandbox.stripe.params import Params

_INTENT_DATA = frozenset(
    "application_fee_amount capture_method description metadata on_behalf_of receipt_email "
    "setup_future_usage shipping statement_descriptor statement_descriptor_suffix transfer_data "
    "transfer_group".split()
)


def create(call: Call) -> dict[str, Any]:
    params = call.params
    session_params.check(params)
    if params.text("mode") == "setup":
        return setup_sessions.open_one(call.tx, params)
    return open_one(call.tx, params)


def open_one(tx: Transaction, params: Params, **changes: Any) -> dict[str, Any]:
    """A new session that sells; `check` has passed, and `changes` are put into the object."""
    renews = params.text("mode") == "subscription"
    # What a link sells, it sells on though the price is archived.
    archived = "payment_link" in changes
    items = line_items.build(tx, params, recurring=renews, archived=archived)
    private = {"line_items": items, "intent": _intent_data(params)}
    if renews:
        changes.update(session_subscriptions.begin(tx, params, private))
    session = {**session_params.build(tx, params, items), **changes}
    session_totals.begin(tx, params, session, private)
    if not renews and session["invoice_creation"]["enabled"] and session_params.holds(params):
        raise not_played("invoices of payments that are captured later", "invoice_creation")
    update = params.table("customer_update")
    if update is not None:
        private["customer_update"] = session_params.customer_update(update)
    records.insert(tx, session, private)
    tx.store.schedule(tx, session["expires_at"], "session.expire", session["id"])
    return session


def _intent_data(params: Params) -> dict[str, Any]:
    data = params.table("payment_intent_data")
    if data is None:
        return {}
    data.allow(_INTENT_DATA)
    wanted: dict[str, Any] = {"metadata": metadata.merged(data)}
    wanted["capture_method"] = data.choice(
        "capture_method", ("automatic", "automatic_async", "manual")
    )
    wanted["setup_future_usage"] = data.choice("setup_future_usage", ("off_session", "on_session"))
    wanted["shipping"] = addresses.shipping(data.table("shipping"))
    for name in ("description", "receipt_email", "transfer_group"):
        wanted[name] = data.text(name)
    for name in ("statement_descriptor", "statement_descriptor_suffix"):
        wanted[name] = data.text(name, limit=22)
    return {name: value for name, value in wanted.items() if value is not None}


def find(tx: Transaction, session_id: str) -> dict[str, Any]:
    """The session that a path names. Raises StripeError (404)."""
    session = tx.find(session_id)
    if session is None or session["object"] != "checkout.session":
        raise no_such("checkout.session", session_id, "session", in_path=True)
    return session


def retrieve(call: Call) -> dict[str, Any]:
    return find(call.tx, call.ids[0])


def update(call: Call) -> dict[str, Any]:
    params = call.params
    session = find(call.tx, call.ids[0])
    for name in ("line_items", "shipping_options", "payment_intent_data"):
        if params.given(name):
            raise not_played(f"a change of `{name}`", name)
    session["metadata"] = metadata.merged(params, session["metadata"])
    collected = params.table("collected_information")
    if collected is not None:
        details = collected.table("shipping_details")
        session["collected_information"] = {
            "business_name": collected.text("business_name"),
            "individual_name": collected.text("individual_name"),
            "shipping_details": details
            and {
                "address": addresses.address(details.table("address")),
                "name": details.need_text("name"),
            },
        }
    records.replace(call.tx, session)
    return session


def expire_now(call: Call) -> dict[str, Any]:
    session = find(call.tx, call.ids[0])
    if session["status"] != "open":
        raise StripeError(
            'Only Checkout Sessions with a status in ["open"] can be expired. This Checkout '
            f"Session has a status of `{session['status']}`.",
        )
    return expire(call.tx, session)


def expire(tx: Transaction, session: dict[str, Any]) -> dict[str, Any]:
    """Close an open session."""
    session.update(status="expired", url=None)
    session["expires_at"] = min(session["expires_at"], tx.now)
    records.replace(tx, session)
    session_intents.let_go(tx, session)
    events.emit(tx, "checkout.session.expired", session)
    return session


def index(call: Call) -> dict[str, Any]:
    params = call.params
    query = lists.Query("checkout.session")
    query.equal(params, "customer", "payment_intent", "payment_link", "status", "subscription")
    details = params.table("customer_details")
    if details is not None and details.given("email"):
        query.add("body ->> '$.customer_details.email' = ?", details.text("email"))
    return lists.page(call, query)


def list_items(call: Call) -> dict[str, Any]:
    session = find(call.tx, call.ids[0])
    return lists.page_of(call, call.tx.private(session["id"])["line_items"], "item")


routes = [
    route("POST", "/v1/checkout/sessions", create, session_params.CREATE),
    route(
        "GET",
        "/v1/checkout/sessions",
        index,
        f"{lists.PAGING} customer customer_account customer_details payment_intent payment_link "
        "status subscription",
    ),
    route("GET", "/v1/checkout/sessions/*", retrieve),
    route(
        "POST",
        "/v1/checkout/sessions/*",
        update,
        "collected_information line_items metadata payment_intent_data shipping_options",
    ),
    route("POST", "/v1/checkout/sessions/*/expire", expire_now),
    route(
        "GET",
        "/v1/checkout/sessions/*/line_items",
        list_items,
        "limit starting_after ending_before",
    ),
]
