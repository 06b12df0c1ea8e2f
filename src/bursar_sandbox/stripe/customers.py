"""Customers. Owns their object and its routes."""

from __future__ import annotations

from typing import Any

from bursar_sandbox.store import Transaction
from bursar_sandbox.stripe import (
    addresses,
    customer_discounts,
    events,
    lists,
    metadata,
    methods,
    records,
    sources,
    subscription_states,
    test_clocks,
)
from bursar_sandbox.stripe.call import Call, route
from bursar_sandbox.stripe.errors import StripeError, not_played
from bursar_sandbox.stripe.ids import new_id, random_text
from bursar_sandbox.stripe.params import Params

_SETTABLE = (
    "address balance business_name cash_balance description email individual_name invoice_prefix "
    "invoice_settings metadata name next_invoice_sequence phone preferred_locales shipping source "
    f"tax tax_exempt validate {customer_discounts.PARAMS}"
)
_TEXTS = ("description", "name", "phone")


def create(call: Call) -> dict[str, Any]:
    params = call.params
    if params.given("tax_id_data"):
        raise not_played("`tax_id_data` of customers", "tax_id_data")
    customer = {**blank(call.tx), "test_clock": test_clocks.for_customer(call.tx, params)}
    customer["metadata"] = metadata.merged(params)
    _set(customer, params)
    records.insert(call.tx, customer)
    method_id = params.text("payment_method")
    attached: dict[str, str] = {}
    if method_id is not None:
        method = methods.usable(call.tx, method_id)
        methods.attach_to(call.tx, method, customer["id"])
        attached[method_id] = method["id"]
    _set_default_method(call, customer, attached)
    card = sources.take(call.tx, customer["id"], params) if params.given("source") else None
    if card is not None:
        customer["default_source"] = card["id"]
    customer_discounts.take(call, customer)
    records.replace(call.tx, customer)
    events.emit(call.tx, "customer.created", customer)
    customer_discounts.announce(call.tx, None, customer["discount"])
    if card is not None:
        events.emit(call.tx, "customer.source.created", card)
    return customer


def add(tx: Transaction, *, email: str | None, name: str | None, address: Any) -> dict[str, Any]:
    """The customer that a checkout makes of a buyer, stored."""
    customer = {**blank(tx), "email": email, "name": name, "address": address}
    records.insert(tx, customer)
    events.emit(tx, "customer.created", customer)
    return customer


def blank(tx: Transaction) -> dict[str, Any]:
    """A new customer of whom nothing is known."""
    return {
        "id": new_id("cus", 14),
        "object": "customer",
        "address": None,
        "balance": 0,
        "created": tx.now,
        "currency": None,
        "customer_account": None,
        "default_source": None,
        "delinquent": False,
        "description": None,
        "discount": None,
        "email": None,
        "invoice_prefix": random_text(8).upper(),
        "invoice_settings": {
            "custom_fields": None,
            "default_payment_method": None,
            "footer": None,
            "rendering_options": None,
        },
        "livemode": False,
        "metadata": {},
        "name": None,
        "next_invoice_sequence": 1,
        "phone": None,
        "preferred_locales": [],
        "shipping": None,
        "tax_exempt": "none",
        "test_clock": None,
    }


def _set(customer: dict[str, Any], params: Params) -> None:
    for key in _TEXTS:
        if key in params:
            customer[key] = params.text(key)
    for key in ("business_name", "individual_name"):
        if params.given(key):
            customer[key] = params.text(key)
    if "email" in params:
        customer["email"] = _email(params)
    if "address" in params:
        customer["address"] = addresses.merged_address(params.table("address"), customer["address"])
    if "shipping" in params:
        customer["shipping"] = addresses.shipping(params.table("shipping"))
    if params.given("balance"):
        customer["balance"] = params.need_integer("balance")
    if params.given("next_invoice_sequence"):
        customer["next_invoice_sequence"] = params.need_integer("next_invoice_sequence", low=1)
    if params.given("invoice_prefix"):
        customer["invoice_prefix"] = params.text("invoice_prefix", limit=12)
    if "preferred_locales" in params:
        customer["preferred_locales"] = params.strings("preferred_locales")
    if "tax_exempt" in params:
        customer["tax_exempt"] = params.choice("tax_exempt", ("exempt", "none", "reverse"), "none")


def _email(params: Params) -> str | None:
    email = params.text("email", limit=512)
    if email is not None and "@" not in email:
        raise StripeError(f"Invalid email address: {email}", code="email_invalid", param="email")
    return email


def _set_default_method(
    call: Call, customer: dict[str, Any], attached: dict[str, str] | None = None
) -> None:
    """Set the customer's settings of invoices; `attached` says what a name of a test card, which
    the same call has attached, stands for.
    """
    given = call.params.table("invoice_settings")
    if given is None:
        return
    settings = dict(customer["invoice_settings"])
    if "footer" in given:
        settings["footer"] = given.text("footer")
    if "custom_fields" in given:
        rows = given.rows("custom_fields")
        settings["custom_fields"] = [
            {"name": row.need_text("name"), "value": row.need_text("value")} for row in rows
        ] or None
    if "default_payment_method" in given:
        named = given.text("default_payment_method") or ""
        settings["default_payment_method"] = (attached or {}).get(named) or _owned_method(
            call, given, customer["id"]
        )
    customer["invoice_settings"] = settings


def _owned_method(call: Call, given: Params, customer_id: str) -> str | None:
    method_id = given.text("default_payment_method")
    if method_id is None:
        return None
    param = given.name("default_payment_method")
    method = records.get(call.tx, "payment_method", method_id, param=param, word="PaymentMethod")
    if method["customer"] != customer_id:
        raise StripeError(
            "The customer does not have a payment method with the ID "
            f"{method_id}. The payment method must be attached to the customer.",
            code="resource_missing",
            param=param,
        )
    return method_id


def retrieve(call: Call) -> dict[str, Any]:
    return records.get(call.tx, "customer", call.ids[0], in_path=True, deleted=True)


def update(call: Call) -> dict[str, Any]:
    params = call.params
    before = records.get(call.tx, "customer", call.ids[0], in_path=True)
    customer = {**before, "metadata": metadata.merged(params, before["metadata"])}
    _set(customer, params)
    _set_default_method(call, customer)
    if params.given("source"):
        # A new source takes the place of the one that was the default.
        card = sources.take(call.tx, customer["id"], params)
        customer["default_source"] = card["id"]
        events.emit(call.tx, "customer.source.created", card)
    if params.given("default_source"):
        sources.make_default(call.tx, customer, params.need_text("default_source"))
    customer_discounts.take(call, customer)
    records.replace(call.tx, customer)
    customer_discounts.announce(call.tx, before["discount"], customer["discount"])
    events.emit_update(call.tx, before, customer)
    return customer


def delete(call: Call) -> dict[str, Any]:
    return remove(call.tx, records.get(call.tx, "customer", call.ids[0], in_path=True))


def remove(tx: Transaction, customer: dict[str, Any]) -> dict[str, Any]:
    """Delete a customer; its subscriptions end, and its payment methods are nobody's then."""
    subscription_states.end_all(tx, customer["id"])
    methods.detach_all(tx, customer["id"])
    customer = records.get(tx, "customer", customer["id"])
    events.emit(tx, "customer.deleted", customer)
    return records.delete(tx, customer)


def index(call: Call) -> dict[str, Any]:
    query = lists.Query("customer")
    query.equal(call.params, "email", "test_clock")
    if not call.params.given("test_clock"):
        # Who lives on a clock is shown only to those who ask for that clock.
        query.add("body ->> '$.test_clock' IS NULL")
    return lists.page(call, query)


def list_methods(call: Call) -> dict[str, Any]:
    customer = records.get(call.tx, "customer", call.ids[0], param="customer", in_path=True)
    return methods.of_customer(call, customer["id"])


def retrieve_method(call: Call) -> dict[str, Any]:
    customer_id, method_id = call.ids
    records.get(call.tx, "customer", customer_id, param="customer", in_path=True)
    return methods.of_customer_one(call.tx, customer_id, method_id)


routes = [
    route("POST", "/v1/customers", create, f"{_SETTABLE} payment_method tax_id_data test_clock"),
    route("GET", "/v1/customers", index, f"{lists.PAGING} email test_clock"),
    route("GET", "/v1/customers/*", retrieve),
    route("POST", "/v1/customers/*", update, f"{_SETTABLE} default_source"),
    route("DELETE", "/v1/customers/*", delete),
    route(
        "GET",
        "/v1/customers/*/payment_methods",
        list_methods,
        f"{lists.PAGING} allow_redisplay type",
    ),
    route("GET", "/v1/customers/*/payment_methods/*", retrieve_method),
]
