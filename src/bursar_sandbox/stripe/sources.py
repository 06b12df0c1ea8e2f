"""Cards on a customer by Stripe's older interface, sources.

Owns the routes under a customer's sources. A source is kept as the payment method that it also is,
so that either interface finds it; it is never charged here.
"""

from __future__ import annotations

from typing import Any

import orjson

from bursar_sandbox.store import Transaction
from bursar_sandbox.stripe import (
    addresses,
    cards,
    events,
    lists,
    metadata,
    methods,
    records,
    tokens,
)
from bursar_sandbox.stripe.call import Call, route
from bursar_sandbox.stripe.errors import StripeError, missing_parameter, no_such, not_played
from bursar_sandbox.stripe.params import Params

_ADDRESS = {
    "address_city": "city",
    "address_country": "country",
    "address_line1": "line1",
    "address_line2": "line2",
    "address_state": "state",
    "address_zip": "postal_code",
}


def take(tx: Transaction, customer_id: str, params: Params) -> dict[str, Any]:
    """Keep the card that `source` names or spells out for the customer; returns its object.

    No event tells of it yet. Raises StripeError, 402 for a declined card.
    """
    method = _method(tx, params)
    decline = methods.verify(tx, method)
    if decline is not None:
        raise cards.refusal(decline)
    method["customer"] = customer_id
    records.replace(tx, method)
    return tokens.shown_method(method)


def make_default(tx: Transaction, customer: dict[str, Any], source_id: str) -> None:
    """Let the customer pay with the source unless told otherwise. Raises StripeError."""
    source = tx.find(source_id)
    if source is None or source.get("customer") != customer["id"]:
        raise no_such("source", source_id, "default_source")
    customer["default_source"] = source_id


def _method(tx: Transaction, params: Params) -> dict[str, Any]:
    given = params.fields.get("source")
    if given is None or given == "":
        raise missing_parameter(params.name("source"))
    if isinstance(given, dict):
        table = Params(given, params.name("source"))
        if table.choice("object", ("bank_account", "card"), "card") != "card":
            raise not_played("bank accounts as sources", table.name("object"))
        spelled = {name: given[name] for name in given if name not in ("metadata", "object")}
        card = tokens.read_card(Params(spelled, table.path), methods.today(tx))
    else:
        token_id = params.need_text("source")
        if token_id.startswith("src_"):
            raise not_played("source objects", params.name("source"))
        card = tokens.spend(tx, token_id, params.name("source"), methods.today(tx))
    details = addresses.billing_details(None)
    return methods.add_card(tx, card, details, metadata.merged(params), prefix="card")


def create(call: Call) -> dict[str, Any]:
    before = _customer(call)
    card = take(call.tx, before["id"], call.params)
    events.emit(call.tx, "customer.source.created", card)
    if before["default_source"] is None:
        customer = {**before, "default_source": card["id"]}
        records.replace(call.tx, customer)
        events.emit_update(call.tx, before, customer)
    return card


def _customer(call: Call) -> dict[str, Any]:
    return records.get(call.tx, "customer", call.ids[0], param="customer", in_path=True)


def _source(call: Call) -> dict[str, Any]:
    method = call.tx.find(call.ids[1])
    if method is None or method.get("customer") != _customer(call)["id"]:
        raise no_such("source", call.ids[1], in_path=True)
    return method


def retrieve(call: Call) -> dict[str, Any]:
    return tokens.shown_method(_source(call))


def update(call: Call) -> dict[str, Any]:
    params = call.params
    before = _source(call)
    details = before["billing_details"]
    address = dict(details["address"] or {})
    for name, line in _ADDRESS.items():
        if name in params:
            address[line] = params.text(name)
    holder = params.text("name") if "name" in params else details["name"]
    card = dict(before["card"])
    card["exp_month"] = params.integer("exp_month", low=1, high=12) or card["exp_month"]
    card["exp_year"] = params.integer("exp_year", low=2000, high=2100) or card["exp_year"]
    method = {
        **before,
        "billing_details": {**details, "address": address, "name": holder},
        "card": card,
        "metadata": metadata.merged(params, before["metadata"]),
    }
    records.replace(call.tx, method)
    was, now = tokens.shown_method(before), tokens.shown_method(method)
    former = events.changes(was, now)
    if former:
        events.emit(call.tx, "customer.source.updated", now, former)
    return now


def delete(call: Call) -> dict[str, Any]:
    method = _source(call)
    card = tokens.shown_method(method)
    methods.detach(call.tx, method)
    events.emit(call.tx, "customer.source.deleted", card)
    return {"id": card["id"], "object": "card", "deleted": True}


def index(call: Call) -> dict[str, Any]:
    kind = call.params.choice("object", ("bank_account", "card"))
    found = [] if kind == "bank_account" else of_customer(call.tx, _customer(call)["id"])
    return lists.page_of(call, found, "source")


def of_customer(tx: Transaction, customer_id: str) -> list[dict[str, Any]]:
    """The customer's cards that came as sources, newest first."""
    rows = tx.execute(
        "SELECT body FROM objects WHERE object = 'payment_method' AND customer = ?"
        " AND id LIKE 'card\\_%' ESCAPE '\\' ORDER BY seq DESC",
        (customer_id,),
    ).fetchall()
    return [tokens.shown_method(orjson.loads(row[0])) for row in rows]


def listed(tx: Transaction, customer: dict[str, Any]) -> dict[str, Any]:
    """The customer's `sources`, as an expanded customer shows them."""
    found = of_customer(tx, customer["id"])
    return {
        "object": "list",
        "data": found[:10],
        "has_more": len(found) > 10,
        "url": f"/v1/customers/{customer['id']}/sources",
    }


def verify(call: Call) -> dict[str, Any]:
    _source(call)
    raise StripeError("Only bank accounts are verified; this source is a card.")


_SOURCE = (
    "account_holder_name account_holder_type address_city address_country address_line1 "
    "address_line2 address_state address_zip exp_month exp_year metadata name owner"
)
routes = [
    route("POST", "/v1/customers/*/sources", create, "metadata source validate"),
    route("GET", "/v1/customers/*/sources", index, f"{lists.PAGING} object"),
    route("GET", "/v1/customers/*/sources/*", retrieve),
    route("POST", "/v1/customers/*/sources/*", update, _SOURCE),
    route("DELETE", "/v1/customers/*/sources/*", delete),
    route("POST", "/v1/customers/*/sources/*/verify", verify, "amounts"),
]
