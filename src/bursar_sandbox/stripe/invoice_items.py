"""Invoice items: what waits to be put on a customer's next invoice, or stands on a draft.

Owns their object and their routes. A draft's sums are up to `invoices`.
"""

from __future__ import annotations

from decimal import ROUND_HALF_UP, Decimal
from typing import Any

from bursar_sandbox.store import Transaction
from bursar_sandbox.stripe import (
    events,
    invoice_item_parts,
    invoices,
    lists,
    metadata,
    pricing,
    records,
    subscription_states,
    subscription_totals,
)
from bursar_sandbox.stripe.call import Call, route
from bursar_sandbox.stripe.currencies import check_currency
from bursar_sandbox.stripe.errors import StripeError, missing_parameter, not_played
from bursar_sandbox.stripe.params import Params
from bursar_sandbox.stripe.subscription_objects import ENDED

_WORD = "invoiceitem"
_UPDATE = (
    "amount description discountable discounts metadata period price_data pricing quantity "
    "quantity_decimal tax_behavior tax_code tax_rates unit_amount_decimal"
)
_CREATE = f"{_UPDATE} currency customer customer_account invoice subscription"
_LATER = ("discounts",)
_COSTS = frozenset(
    "amount price_data pricing quantity quantity_decimal unit_amount_decimal".split()
)
_PRICE_DATA = frozenset("currency product tax_behavior unit_amount unit_amount_decimal".split())


def create(call: Call) -> dict[str, Any]:
    tx, params = call.tx, call.params
    _check_played(params)
    if not params.given("customer"):
        raise missing_parameter("customer")
    customer = records.get(tx, "customer", params.need_text("customer"), param="customer")
    invoice = _draft(tx, params, customer["id"])
    item = build(tx, params, customer["id"])
    if invoice is not None:
        item["invoice"] = invoice["id"]
    if params.given("subscription"):
        item["parent"] = _owner(tx, params, item, invoice)
    records.insert(tx, item)
    events.emit(tx, "invoiceitem.created", item)
    if invoice is not None:
        invoices.take_items(tx, invoice, [item])
    return item


def build(tx: Transaction, params: Params, customer_id: str) -> dict[str, Any]:
    """The item that the parameters ask for, not stored. Raises StripeError."""
    currency = params.text("currency")
    used = check_currency(currency) if currency else "usd"
    item = invoice_item_parts.blank(tx, customer_id, used)
    _price(tx, item, params, fresh=True)
    if currency and item["currency"] != currency.lower():
        raise StripeError(
            f"The price specified only supports `{item['currency']}`. This doesn't match the "
            f"expected currency: `{currency.lower()}`.",
            param="currency",
        )
    _describe(tx, item, params)
    return item


def _owner(
    tx: Transaction, params: Params, item: dict[str, Any], invoice: dict[str, Any] | None
) -> dict[str, Any]:
    """The item's `parent`: the subscription whose next invoice it waits for. Raises StripeError."""
    subscription_id = params.need_text("subscription")
    subscription = records.get(tx, "subscription", subscription_id, param="subscription")
    if subscription["customer"] != item["customer"]:
        raise StripeError(
            f"The subscription {subscription_id} does not belong to the customer "
            f"{item['customer']}.",
            param="subscription",
        )
    if subscription["status"] in ENDED:
        raise StripeError(
            f"You cannot add invoice items to the subscription {subscription_id}: it has ended.",
            param="subscription",
        )
    if subscription["currency"] != item["currency"]:
        raise StripeError(
            f"The currency of the invoice item, `{item['currency']}`, does not match that of the "
            f"subscription, `{subscription['currency']}`.",
            param="currency",
        )
    if invoice is not None and subscription_states.id_of(invoice) != subscription_id:
        raise StripeError(
            f"The invoice {invoice['id']} is not for the subscription {subscription_id}.",
            param="invoice",
        )
    return {
        "subscription_details": {"subscription": subscription_id},
        "type": "subscription_details",
    }


def _check_played(params: Params) -> None:
    for name in _LATER:
        if params.given(name):
            raise not_played(f"`{name}` of invoice items", name)
    part = params.decimal("quantity_decimal")
    if part is not None and part != part.to_integral_value():
        raise not_played("parts of a quantity", "quantity_decimal")


def _draft(tx: Transaction, params: Params, customer_id: str) -> dict[str, Any] | None:
    invoice_id = params.text("invoice")
    if invoice_id is None:
        return None
    invoice = records.get(tx, "invoice", invoice_id, param="invoice")
    if invoice["customer"] != customer_id:
        raise StripeError(
            f"The customer {customer_id} is not the customer of the invoice {invoice_id}.",
            param="customer",
        )
    if invoice["status"] != "draft":
        raise StripeError(
            "This invoice is no longer editable: only a draft takes more items.",
            code="invoice_not_editable",
            param="invoice",
        )
    return invoice


def _price(tx: Transaction, item: dict[str, Any], params: Params, *, fresh: bool) -> None:
    """Set what the item costs: an amount, or a unit price by a quantity."""
    quantity = _quantity(params, item["quantity"])
    if params.given("amount"):
        for name in ("pricing", "price_data", "unit_amount_decimal"):
            if params.given(name):
                raise StripeError(
                    f"You may only specify one of these parameters: amount, {name}.",
                    code="parameters_exclusive",
                    param="amount",
                )
        if fresh and not params.given("currency"):
            raise missing_parameter("currency")
        amount = params.need_integer("amount")
        item["amount"] = amount
        item["pricing"] = _made_up(tx, item, params, Decimal(amount))
        quantity = 1
    else:
        price = _named_price(tx, params)
        unit = params.decimal("unit_amount_decimal")
        if price is not None:
            unit = Decimal(price["unit_amount_decimal"] or 0)
            item["currency"] = price["currency"]
            item["pricing"] = invoice_item_parts.shown(price)
            if fresh and not params.given("description"):
                item["description"] = invoice_item_parts.name_of(tx, price)
        elif unit is not None:
            item["pricing"] = _made_up(tx, item, params, unit)
        elif item["pricing"] is not None:
            unit = Decimal(item["pricing"]["unit_amount_decimal"])
        if unit is None:
            raise missing_parameter("amount")
        item["amount"] = int((unit * quantity).quantize(Decimal(1), ROUND_HALF_UP))
    item.update(quantity=quantity, quantity_decimal=str(quantity), net_amount=item["amount"])


def _quantity(params: Params, before: int) -> int:
    quantity, exact = params.integer("quantity", low=0), params.decimal("quantity_decimal")
    if quantity is not None and exact is not None:
        raise StripeError(
            "You may only specify one of these parameters: quantity, quantity_decimal.",
            code="parameters_exclusive",
            param="quantity",
        )
    if exact is not None:
        quantity = int(exact)
    return before if quantity is None else quantity


def _made_up(
    tx: Transaction, item: dict[str, Any], params: Params, unit: Decimal
) -> dict[str, Any]:
    words = params.text("description") or item["description"]
    return invoice_item_parts.made_up(tx, unit, item["currency"], words)


def _named_price(tx: Transaction, params: Params) -> dict[str, Any] | None:
    table = params.table("pricing")
    if table is not None and table.given("price"):
        param = table.name("price")
        price = records.get(tx, "price", table.need_text("price"), param=param)
    else:
        data = params.table("price_data")
        if data is None:
            return None
        data.allow(_PRICE_DATA)
        product_id = data.need_text("product")
        records.get(tx, "product", product_id, param=data.name("product"))
        price, private = pricing.build(tx, data, product_id)
        price["active"] = False
        records.insert(tx, price, private)
    if price["type"] == "recurring":
        raise StripeError(
            "The price specified is set to `type=recurring` but this field only accepts prices "
            "with `type=one_time`.",
            param="pricing[price]",
        )
    return price


def _describe(tx: Transaction, item: dict[str, Any], params: Params) -> None:
    item["metadata"] = metadata.merged(params, item["metadata"])
    if "description" in params:
        item["description"] = params.text("description")
    if params.given("discountable"):
        item["discountable"] = params.boolean("discountable")
    if "tax_rates" in params:
        ids = params.strings("tax_rates")
        item["tax_rates"] = subscription_totals.rates_of(tx, ids, "tax_rates")
    period = params.table("period")
    if period is not None:
        item["period"] = {
            "end": period.need_integer("end"),
            "start": period.need_integer("start"),
        }


def retrieve(call: Call) -> dict[str, Any]:
    return records.get(call.tx, _WORD, call.ids[0], param="invoiceitem", in_path=True)


def _editable(call: Call) -> tuple[dict[str, Any], dict[str, Any] | None]:
    """The item and the draft that it stands on, if any. Raises StripeError on a finished one."""
    item = retrieve(call)
    if item["invoice"] is None:
        return item, None
    invoice = records.get(call.tx, "invoice", item["invoice"])
    if invoice["status"] != "draft":
        raise StripeError(
            "This invoice item is attached to an invoice that is no longer editable.",
            code="invoice_not_editable",
        )
    return item, invoice


def update(call: Call) -> dict[str, Any]:
    tx, params = call.tx, call.params
    _check_played(params)
    item, invoice = _editable(call)
    if set(params.fields) & _COSTS:
        _price(tx, item, params, fresh=False)
    _describe(tx, item, params)
    records.replace(tx, item)
    if invoice is not None:
        invoices.change_item(tx, invoice, item)
    return item


def delete(call: Call) -> dict[str, Any]:
    item, invoice = _editable(call)
    events.emit(call.tx, "invoiceitem.deleted", item)
    if invoice is not None:
        invoices.drop_item(call.tx, invoice, item["id"])
    return records.delete(call.tx, item)


def index(call: Call) -> dict[str, Any]:
    query = lists.Query(_WORD)
    query.equal(call.params, "customer", "customer_account", "invoice")
    if call.params.given("pending"):
        pending = call.params.boolean("pending")
        query.add("parent IS NULL" if pending else "parent IS NOT NULL")
    return lists.page(call, query)


routes = [
    route("POST", "/v1/invoiceitems", create, _CREATE),
    route(
        "GET",
        "/v1/invoiceitems",
        index,
        f"{lists.PAGING} customer customer_account invoice pending",
    ),
    route("GET", "/v1/invoiceitems/*", retrieve),
    route("POST", "/v1/invoiceitems/*", update, _UPDATE),
    route("DELETE", "/v1/invoiceitems/*", delete),
]
