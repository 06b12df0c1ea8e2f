"""What an invoice of a subscription comes to: its lines with discounts and taxes, and their sums.

Owns how coupons and rates fall on the lines, negative ones too; the arithmetic of taxes is
`totals`'s. All amounts are in minor units. Reads the store and never writes it.
"""

from __future__ import annotations

from decimal import ROUND_HALF_UP, Decimal
from typing import Any

from bursar_sandbox.store import Transaction
from bursar_sandbox.stripe import (
    invoice_lines,
    proration_debits,
    records,
    tax_rates,
    tax_rules,
    totals,
)
from bursar_sandbox.stripe.currencies import step_of
from bursar_sandbox.stripe.discounts import Terms
from bursar_sandbox.stripe.totals import Line, Rate, Tax

Used = dict[str, dict[str, Any]]


def reckon(
    tx: Transaction,
    invoice: dict[str, Any],
    lines: list[dict[str, Any]],
    terms: list[Terms],
    sources: list[dict[str, Any]] | None = None,
) -> None:
    """Give the lines their discounts and taxes, and the invoice its lines and sums.

    A line that isn't discountable keeps the discounts that it has already. `sources` are the items
    behind the lines as far as the store doesn't have them, or not as they will be.
    """
    known = {source["id"]: source for source in sources or []}
    step = step_of(invoice["currency"])
    _discount(lines, terms, invoice["currency"], step)
    used: Used = {}
    reckoned = totals.reckon(
        [_taxable(tx, invoice, line, _own_rates(tx, line, known), used) for line in lines],
        step=step,
    )
    taxes = [tax for sums in reckoned for tax in sums.taxes]
    for line, sums in zip(lines, reckoned, strict=True):
        line["taxes"] = invoice_lines.taxes_of([_shown(tax, used) for tax in sums.taxes])
    taken = _taken(lines)
    total = sum(sums.total for sums in reckoned)
    subtotal = sum(line["amount"] for line in lines)
    included = sum(tax.amount for tax in taxes if tax.rate.inclusive)
    invoice.update(
        discounts=[one["discount"]["id"] for one in terms],
        lines=invoice_lines.shown(invoice["id"], lines),
        subtotal=subtotal,
        subtotal_excluding_tax=subtotal - included,
        total=total,
        total_discount_amounts=taken,
        total_excluding_tax=total - sum(tax.amount for tax in taxes),
        total_pretax_credit_amounts=[{**part, "type": "discount"} for part in taken],
        total_taxes=invoice_lines.taxes_of(_summed(taxes, used)),
    )
    due = max(total + balance_of(tx, invoice, total), 0)
    invoice.update(amount_due=due, amount_remaining=due)


def balance_of(tx: Transaction, invoice: dict[str, Any], total: int) -> int:
    """What the customer's balance adds to the total, below zero for a credit that pays of it.

    Shows on the invoice what the balance is.
    """
    customer = tx.find(invoice["customer"]) or {}
    balance = int(customer.get("balance") or 0)
    invoice["starting_balance"] = balance
    return max(balance, -total) if total > 0 else 0


def _discount(lines: list[dict[str, Any]], terms: list[Terms], currency: str, step: int) -> None:
    open_lines = [line for line in lines if line["discountable"]]
    left = [line["amount"] for line in open_lines]
    for line in open_lines:
        line.update(discount_amounts=[], discounts=[], pretax_credit_amounts=[])
    for one in terms:
        bases = [
            amount if _is_for(one, line) else 0
            for line, amount in zip(open_lines, left, strict=True)
        ]
        shares = _shares(one, bases, currency, step)
        left = [amount - share for amount, share in zip(left, shares, strict=True)]
        for line, base, share in zip(open_lines, bases, shares, strict=True):
            if not base:
                continue
            part = {"amount": share, "discount": one["discount"]["id"]}
            line["discount_amounts"].append(part)
            line["pretax_credit_amounts"].append({**part, "type": "discount"})
            line["discounts"].append(one["discount"]["id"])


def _is_for(terms: Terms, line: dict[str, Any]) -> bool:
    return terms["products"] is None or product_of(line) in terms["products"]


def _shares(terms: Terms, bases: list[int], currency: str, step: int) -> list[int]:
    if terms["percent"] is not None:
        percent = Decimal(str(terms["percent"]))
        return [_rounded(base * percent / 100, step) for base in bases]
    charged = [max(base, 0) for base in bases]
    amount = min(terms["amounts"].get(currency, 0), sum(charged))
    return totals.spread(amount, charged, step)


def _rounded(amount: Decimal, step: int) -> int:
    return int((amount / step).quantize(Decimal(1), ROUND_HALF_UP)) * step


def product_of(line: dict[str, Any]) -> str:
    """What a line sells; empty for a line that has no price."""
    details = (line["pricing"] or {}).get("price_details") or {}
    return str(details.get("product", ""))


def _taxable(
    tx: Transaction,
    invoice: dict[str, Any],
    line: dict[str, Any],
    own: list[dict[str, Any]],
    used: Used,
) -> Line:
    taken = sum(part["amount"] for part in line["discount_amounts"] or [])
    rates = _rates(tx, invoice, line, own, used)
    return Line(line["amount"] - taken, product_of(line), tuple(rates))


def _rates(
    tx: Transaction,
    invoice: dict[str, Any],
    line: dict[str, Any],
    own: list[dict[str, Any]],
    used: Used,
) -> list[Rate]:
    credited = proration_debits.rates_of_credit(tx, line)
    if credited is not None:
        used.update({body["id"]: body for body, _ in credited})
        return [rate for _, rate in credited]
    if invoice["automatic_tax"]["enabled"]:
        return _automatic(tx, invoice, line, used)
    if invoice["customer_tax_exempt"] != "none":
        return []
    found = own or invoice["default_tax_rates"]
    used.update({rate["id"]: rate for rate in found})
    return [tax_rates.reckoned(rate) for rate in found]


def _own_rates(
    tx: Transaction, line: dict[str, Any], known: dict[str, dict[str, Any]]
) -> list[dict[str, Any]]:
    """The rates that a line's subscription item, or its invoice item, has of its own."""
    parent = line["parent"]
    sold = parent["subscription_item_details"] or {}
    billed = parent["invoice_item_details"] or {}
    source_id = sold.get("subscription_item") or billed.get("invoice_item") or ""
    source = known.get(source_id) or tx.find(source_id) or {}
    rates: list[dict[str, Any]] = source.get("tax_rates") or []
    return rates


def _automatic(
    tx: Transaction, invoice: dict[str, Any], line: dict[str, Any], used: Used
) -> list[Rate]:
    address = invoice["customer_address"] or {}
    if not address.get("country") or invoice["customer_tax_exempt"] != "none":
        return []
    rule = tax_rules.rule_of(address["country"], address.get("postal_code") or "")
    details = (line["pricing"] or {}).get("price_details") or {}
    price = tx.find(details.get("price", "")) or {}
    inclusive = tax_rules.is_inclusive(price.get("tax_behavior"), line["currency"])
    rate = tax_rates.automatic(tx, rule, address["country"], inclusive=inclusive)
    used[rate["id"]] = rate
    return [tax_rates.reckoned(rate, rule.reason)]


def _shown(tax: Tax, used: Used) -> dict[str, Any]:
    return {
        "amount": tax.amount,
        "rate": used[tax.rate.id],
        "taxability_reason": tax.rate.reason,
        "taxable_amount": tax.taxable,
    }


def _summed(taxes: list[Tax], used: Used) -> list[dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    for tax in taxes:
        part = found.setdefault(
            tax.rate.id, {**_shown(tax, used), "amount": 0, "taxable_amount": 0}
        )
        part["amount"] += tax.amount
        part["taxable_amount"] += tax.taxable
    return list(found.values())


def _taken(lines: list[dict[str, Any]]) -> list[dict[str, Any]]:
    found: dict[str, int] = {}
    for line in lines:
        for part in line["discount_amounts"] or []:
            found[part["discount"]] = found.get(part["discount"], 0) + part["amount"]
    return [{"amount": amount, "discount": discount} for discount, amount in found.items()]


def rates_of(tx: Transaction, ids: list[str], param: str) -> list[dict[str, Any]]:
    """The tax rates with these ids. Raises StripeError for one that there is not."""
    return [
        records.get(tx, "tax_rate", rate_id, param=f"{param}[{place}]")
        for place, rate_id in enumerate(ids)
    ]
