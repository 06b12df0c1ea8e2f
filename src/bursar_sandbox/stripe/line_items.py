"""What a checkout session sells: line items from prices, existing or made for the session.

Owns the line item object and its sums. All amounts are in minor units.
"""

from __future__ import annotations

from decimal import ROUND_HALF_UP, Decimal
from typing import Any

from bursar_sandbox.store import Transaction
from bursar_sandbox.stripe import pricing, products, records
from bursar_sandbox.stripe.errors import StripeError, missing_parameter, not_played
from bursar_sandbox.stripe.ids import new_id
from bursar_sandbox.stripe.params import Params

MAX_ITEMS = 100
_PRICE_DATA = frozenset(
    "currency product product_data recurring tax_behavior unit_amount unit_amount_decimal".split()
)
_PRODUCT_DATA = frozenset(
    "description images metadata name tax_code tax_details unit_label".split()
)
_ITEM = frozenset(
    "adjustable_quantity dynamic_tax_rates metadata price price_data quantity tax_rates".split()
)
_MAX_QUANTITY = 999_999


def build(
    tx: Transaction, params: Params, *, recurring: bool = False, archived: bool = False
) -> list[dict[str, Any]]:
    """The line items that `line_items` asks for. Raises StripeError.

    `recurring` and `archived` say whether such prices are good here too.
    """
    rows = params.rows("line_items")
    if len(rows) > MAX_ITEMS:
        raise StripeError(f"A session has at most {MAX_ITEMS} line items.", param="line_items")
    currency = params.text("currency")
    items = [_item(tx, row, currency and currency.lower(), archived=archived) for row in rows]
    if not recurring:
        _check_one_time(rows, items)
    if len({item["currency"] for item in items}) > 1:
        raise StripeError(
            "All prices on this session must have the same currency.", param="line_items"
        )
    return items


def _check_one_time(rows: list[Params], items: list[dict[str, Any]]) -> None:
    for row, item in zip(rows, items, strict=True):
        if item["price"]["type"] == "recurring":
            raise StripeError(
                "You specified `payment` mode but passed a recurring price. Either switch to "
                "`subscription` mode or use only one-time prices.",
                param=row.name("price"),
            )


def _item(tx: Transaction, row: Params, currency: str | None, *, archived: bool) -> dict[str, Any]:
    row.allow(_ITEM)
    price = price_of(tx, row, archived=archived)
    quantity = row.integer("quantity", low=0, high=_MAX_QUANTITY)
    if quantity is None:
        raise missing_parameter(row.name("quantity"))
    used, unit = _unit(tx, price, currency, row)
    amount = _amount(unit, quantity, price["transform_quantity"])
    product = records.get(tx, "product", price["product"], deleted=True)
    return {
        "id": new_id("li"),
        "object": "item",
        "adjustable_quantity": _adjustable(row.table("adjustable_quantity")),
        "amount_discount": 0,
        "amount_subtotal": amount,
        "amount_tax": 0,
        "amount_total": amount,
        "currency": used,
        "description": product.get("name"),
        "metadata": _metadata(row),
        "price": price,
        "quantity": quantity,
    }


def rates(
    tx: Transaction, params: Params, items: list[dict[str, Any]]
) -> dict[str, dict[str, list[str]]]:
    """The ids of the tax rates that `line_items` names, by the id of the item made from each row.

    Each item has its `fixed` rates and its `dynamic` ones, which depend on where the buyer is;
    items without any are left out. Raises StripeError.
    """
    found = {}
    for row, item in zip(params.rows("line_items"), items, strict=True):
        named = {
            "fixed": _rate_ids(tx, row, "tax_rates", item),
            "dynamic": _rate_ids(tx, row, "dynamic_tax_rates", item),
        }
        if named["fixed"] and named["dynamic"]:
            raise StripeError(
                "You may only specify one of these parameters: tax_rates, dynamic_tax_rates.",
                code="parameters_exclusive",
                param=row.name("tax_rates"),
            )
        if named["fixed"] or named["dynamic"]:
            found[str(item["id"])] = named
    return found


def _rate_ids(tx: Transaction, row: Params, name: str, item: dict[str, Any]) -> list[str]:
    ids = row.strings(name)
    for place, rate_id in enumerate(ids):
        param = f"{row.name(name)}[{place}]"
        rate = records.get(tx, "tax_rate", rate_id, param=param)
        if not rate["active"]:
            raise StripeError(f"The tax rate {rate_id} is inactive.", param=param)
        behavior = tax_behavior(tx, item)
        if behavior == ("exclusive" if rate["inclusive"] else "inclusive"):
            raise StripeError(
                f"The price's `tax_behavior` is `{behavior}`, which conflicts with the tax rate "
                f"{rate_id}.",
                param=param,
            )
        if name == "dynamic_tax_rates" and rate["country"] is None:
            raise StripeError(
                f"The tax rate {rate_id} has no `country`, so it can't be dynamic.", param=param
            )
    return ids


def tax_behavior(tx: Transaction, item: dict[str, Any]) -> str | None:
    """Whether the item's price holds its tax, as the price says for the currency that is used."""
    price: dict[str, Any] = item["price"]
    if item["currency"] != price["currency"]:
        option = tx.private(price["id"]).get("currency_options", {}).get(item["currency"])
        if option is not None:
            return str(option["tax_behavior"])
    behavior: str | None = price["tax_behavior"]
    return behavior


def _metadata(row: Params) -> dict[str, str]:
    given = row.table("metadata")
    return {key: given.text(key) or "" for key in given.fields} if given else {}


def amount_of(tx: Transaction, item: dict[str, Any]) -> int:
    """What the item's price comes to for its quantity, whatever it is sold for today."""
    _, unit = _unit(tx, item["price"], item["currency"], Params({}, "line_items"))
    return _amount(unit, item["quantity"], item["price"]["transform_quantity"])


def set_quantity(tx: Transaction, item: dict[str, Any], quantity: int) -> None:
    """Sell so many of the item; its amounts are without discount and tax again."""
    _, unit = _unit(tx, item["price"], item["currency"], Params({}, "line_items"))
    amount = _amount(unit, quantity, item["price"]["transform_quantity"])
    item.update(quantity=quantity, amount_subtotal=amount, amount_discount=0, amount_tax=0)
    item["amount_total"] = amount


def price_of(tx: Transaction, row: Params, *, archived: bool = False) -> dict[str, Any]:
    """The price that a row names, or makes up for itself. Raises StripeError."""
    data = row.table("price_data")
    if data is None:
        if not row.given("price"):
            raise missing_parameter(row.name("price"))
        price = records.get(tx, "price", row.need_text("price"), param=row.name("price"))
        if not (price["active"] or archived):
            raise StripeError(
                "The price specified is inactive. This field only accepts active prices.",
                code="resource_missing",
                param=row.name("price"),
            )
        return price
    if row.given("price"):
        raise StripeError(
            "You may only specify one of these parameters: price, price_data.",
            code="parameters_exclusive",
            param=row.name("price"),
        )
    data.allow(_PRICE_DATA)
    data.require("currency")
    price, private = pricing.build(tx, data, _product_id(tx, data))
    # Prices and products made on the way are not for sale elsewhere, and no event tells of them.
    price["active"] = False
    records.insert(tx, price, private)
    return price


def _product_id(tx: Transaction, data: Params) -> str:
    product_data = data.table("product_data")
    if product_data is not None:
        product_data.allow(_PRODUCT_DATA)
        product = products.new(tx, product_data)
        product["active"] = False
        records.insert(tx, product)
        return str(product["id"])
    if not data.given("product"):
        raise missing_parameter(data.name("product"))
    product = records.get(tx, "product", data.need_text("product"), param=data.name("product"))
    return str(product["id"])


def _unit(
    tx: Transaction, price: dict[str, Any], currency: str | None, row: Params
) -> tuple[str, Decimal]:
    source = price
    used = currency or price["currency"]
    if used != price["currency"]:
        options = tx.private(price["id"]).get("currency_options", {})
        if used not in options:
            raise StripeError(
                f"The price specified only supports `{price['currency']}`. This doesn't match the "
                f"expected currency: `{used}`.",
                param=row.name("price"),
            )
        source = options[used]
    custom = source["custom_unit_amount"]
    if custom is not None:
        # The sandbox's page has no field for it, so the buyer gives what the seller suggests.
        return used, Decimal(custom["preset"] or custom["minimum"] or 0)
    if source["unit_amount_decimal"] is None:
        raise not_played("tiered prices in payment mode", row.name("price"))
    return used, Decimal(source["unit_amount_decimal"])


def _amount(unit: Decimal, quantity: int, transform: dict[str, Any] | None) -> int:
    if transform is not None:
        whole, rest = divmod(quantity, transform["divide_by"])
        quantity = whole + (1 if rest and transform["round"] == "up" else 0)
    return int((unit * quantity).quantize(Decimal(1), ROUND_HALF_UP))


def _adjustable(params: Params | None) -> dict[str, Any] | None:
    if params is None:
        return None
    enabled = params.boolean("enabled")
    return {
        "enabled": enabled,
        "maximum": params.integer("maximum", high=_MAX_QUANTITY) or (99 if enabled else None),
        "minimum": params.integer("minimum", low=0) or (0 if enabled else None),
    }
