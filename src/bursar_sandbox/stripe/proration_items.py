"""The invoice items that a change of a subscription makes: credits and charges for the time left.

Owns how past charges are found and how a proration becomes an invoice item. The arithmetic is
`proration`'s. `for_change` only builds; `keep` stores. All amounts are in minor units.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import orjson

from bursar_sandbox.store import Transaction
from bursar_sandbox.stripe import (
    customer_discounts,
    events,
    invoice_item_parts,
    periods,
    proration,
    proration_debits,
    records,
    subscription_discounts,
    subscription_lines,
    totals,
)
from bursar_sandbox.stripe.currencies import step_of
from bursar_sandbox.stripe.discounts import Terms
from bursar_sandbox.stripe.proration import Part, Proration, Share

Body = dict[str, Any]


def for_change(
    tx: Transaction,
    before: Body,
    after: Body,
    at: int,
    *,
    new_cycle: bool = False,
    terms: list[Terms] | None = None,
) -> list[Body]:
    """The invoice items of a subscription's change at `at`, not stored.

    `after` is the subscription as it will be, without items if it ends. With `new_cycle` everything
    that was paid beyond `at` comes back and nothing is charged: an invoice over the new period
    does that. `terms` are the discounts after the change, the subscription's own by default. What
    is tried for nothing is not charged.
    """
    old, new = before["items"]["data"], after["items"]["data"]
    touched = proration.changed(old, new) | ({item["id"] for item in old} if new_cycle else set())
    paid = [part for part in proration_debits.open_of(tx, before) if part.item in touched]
    wanted: list[Part] = []
    if not new_cycle and (after["trial_end"] or 0) <= at:
        has = subscription_discounts.terms_of(tx, before) if terms is None else terms
        used = subscription_discounts.in_force(has, at)
        used = used or customer_discounts.in_force(tx, before["customer"])
        wanted = _wanted(tx, after, used)
    lines = proration.prorate(
        paid,
        [part for part in wanted if part.item in touched],
        at,
        step=step_of(before["currency"]),
    )
    return [_item(tx, before, line) for line in lines if line.amount]


def _wanted(tx: Transaction, subscription: Body, terms: Sequence[Terms]) -> list[Part]:
    """What the items cost for the whole of the period that runs."""
    items = [item for item in subscription["items"]["data"] if _is_licensed(item)]
    currency = subscription["currency"]
    amounts = [
        subscription_lines.amount_of(tx, item["price"], item["quantity"], currency)
        for item in items
    ]
    taken = _taken(items, amounts, terms, currency)
    return [
        Part(
            item["id"],
            invoice_item_parts.name_of(tx, item["price"]) or "",
            amount,
            item["quantity"],
            whole_start(item, subscription["billing_cycle_anchor"]),
            item["current_period_end"],
            {
                **invoice_item_parts.shown(item["price"]),
                "unit_amount_decimal": (
                    f"{subscription_lines.unit_of(tx, item['price'], currency, 'items'):f}"
                ),
            },
            shares,
            tuple(rate["id"] for rate in item["tax_rates"]) or None,
        )
        for item, amount, shares in zip(items, amounts, taken, strict=True)
    ]


def _is_licensed(item: Body) -> bool:
    return bool(item["price"]["recurring"]["usage_type"] == "licensed")


def whole_start(item: Body, anchor: int) -> int:
    """When a whole period that ends with the item's began, though the item may be younger."""
    recurring, end = item["price"]["recurring"], int(item["current_period_end"])
    interval, count = recurring["interval"], recurring["interval_count"]
    start = periods.later(end, interval, -count)
    if interval in ("day", "week"):
        return start
    # Months of different lengths: the period's begin is the anchor's next day about there.
    return periods.end_after(anchor, interval, count, start - 4 * periods.DAY)


def _taken(
    items: Sequence[Body], amounts: list[int], terms: Sequence[Terms], currency: str
) -> list[tuple[Share, ...]]:
    """What each discount takes off each item, if all of them stand on one invoice."""
    left, taken = list(amounts), [list[Share]() for _ in amounts]
    for one in terms:
        bases = [
            amount if one["products"] is None or item["price"]["product"] in one["products"] else 0
            for item, amount in zip(items, left, strict=True)
        ]
        if one["percent"] is not None:
            shares = [proration.percent_of(base, one["percent"], step_of(currency))
                      for base in bases]  # fmt: skip
        else:
            off = min(one["amounts"].get(currency, 0), sum(bases))
            shares = totals.spread(off, bases, step_of(currency))
        left = [amount - part for amount, part in zip(left, shares, strict=True)]
        for place, (base, part) in enumerate(zip(bases, shares, strict=True)):
            if base:
                taken[place].append((one["discount"]["id"], part))
    return [tuple(shares) for shares in taken]


def _item(tx: Transaction, subscription: Body, line: Proration) -> Body:
    flexible = subscription["billing_mode"]["flexible"] or {}
    itemized = flexible.get("proration_discounts") == "itemized"
    rates = [tx.find(rate) for rate in line.rates or ()]
    discounts = [
        {"amount": amount if itemized else 0, "discount": name} for name, amount in line.discounts
    ]
    return {
        **invoice_item_parts.blank(tx, subscription["customer"], subscription["currency"]),
        "amount": line.amount if itemized else line.net,
        "description": line.description,
        "discountable": False,
        "discounts": [part["discount"] for part in discounts],
        "net_amount": line.net,
        "parent": {
            "subscription_details": {
                "subscription": subscription["id"],
                "subscription_item": line.item,
            },
            "type": "subscription_details",
        },
        "period": {"end": line.end, "start": line.start},
        "pricing": line.pricing,
        "proration": True,
        "proration_details": {"credited_items": line.credited, "discount_amounts": discounts},
        "quantity": line.quantity,
        "quantity_decimal": str(line.quantity),
        "tax_rates": [rate for rate in rates if rate is not None],
        "test_clock": subscription["test_clock"],
    }


def keep(tx: Transaction, items: Sequence[Body]) -> None:
    """Store the items of a change: they wait for the subscription's next invoice."""
    for item in items:
        records.insert(tx, item)
        events.emit(tx, "invoiceitem.created", item)


def drop_pending(tx: Transaction, subscription: Body) -> None:
    """Let go the prorations that wait for an invoice that never comes."""
    rows = tx.execute(
        "SELECT body FROM objects WHERE object = 'invoiceitem' AND customer = ?"
        " AND parent IS NULL AND body ->> '$.proration' = 1",
        (subscription["customer"],),
    ).fetchall()
    for item in map(orjson.loads, (row[0] for row in rows)):
        if item["parent"]["subscription_details"]["subscription"] == subscription["id"]:
            events.emit(tx, "invoiceitem.deleted", item)
            records.delete(tx, item)
