"""A checkout session as a page shows it: the lines of the order, its totals, the ways out.

Owns the reading of a session's JSON for the pages. It never changes the session.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from urllib.parse import SplitResult, urlsplit

from bursar_sandbox.stripe.banks import CURRENCIES
from bursar_sandbox.stripe.link_visits import NOWHERE
from bursar_sandbox.stripe.pages.amounts import format_amount
from bursar_sandbox.stripe.pages.asks import Asks
from bursar_sandbox.stripe.pages.plans import Plan, plan_of
from bursar_sandbox.stripe.session_renewals import Renewal

_NO_ASKS = Asks()
_NO_PLACE = frozenset({"", "javascript", "data", "vbscript", "blob", "file", "about"})


@dataclass(frozen=True, slots=True)
class Change:
    """That the buyer may take another quantity of a line, and how many."""

    item_id: str
    quantity: int
    least: int
    most: int


@dataclass(frozen=True, slots=True)
class Line:
    """One thing bought. `detail` says quantity and unit price when there are several; `change` is
    None where the quantity is the shop's to say.
    """

    name: str
    detail: str
    amount: str
    change: Change | None = None


@dataclass(frozen=True, slots=True)
class Order:
    """Everything the page writes about a session; amounts are already spelled out."""

    session_id: str
    status: str
    shop: str
    lines: tuple[Line, ...]
    subtotal: str
    discount: str
    discount_name: str
    shipping: str
    tax: str
    tax_included: bool
    total: str
    total_minor: int
    takes_codes: bool
    located: bool
    methods: tuple[str, ...]
    pending: bool
    email: str
    free: bool
    captured_later: bool
    keeps_card: bool
    makes_customer: bool
    success_url: str
    cancel_url: str
    asks: Asks = _NO_ASKS
    plan: Plan | None = None


def order_of(
    session: dict[str, Any],
    *,
    customer_email: str = "",
    intent_wishes: dict[str, Any] | None = None,
    discount_name: str = "",
    asks: Asks = _NO_ASKS,
    renewal: Renewal | None = None,
) -> Order:
    """The order of a stored session.

    `customer_email` is that of the customer whom the shop has named, if it has; `intent_wishes`
    is what the shop asked for the payment intent; `discount_name` what buyers call the discount;
    `asks` what it asks of the buyer beside the payment; `renewal` what is charged after today.
    """
    wishes = intent_wishes or {}
    options: dict[str, Any] = (session.get("payment_method_options") or {}).get("card") or {}
    keeps_card = bool(wishes.get("setup_future_usage"))
    currency = str(session.get("currency") or "usd")
    details: dict[str, Any] = session.get("total_details") or {}
    discount = int(details.get("amount_discount") or 0)
    shipping = int(details.get("amount_shipping") or 0)
    tax, total = int(details.get("amount_tax") or 0), int(session.get("amount_total") or 0)
    subtotal = int(session.get("amount_subtotal") or 0)
    always = renewal is not None and session.get("payment_method_collection") == "always"
    with_card = bool(total or asks.saves_only or always)
    plan = None
    if renewal is not None:
        plan = plan_of(renewal, currency, pays_now=total > 0, with_card=with_card)
    return Order(
        session_id=str(session["id"]),
        status=str(session.get("status") or "open"),
        shop=shop_of(session),
        lines=_lines(session, currency, plan.trial if plan else ""),
        subtotal=format_amount(subtotal, currency),
        discount=format_amount(-discount, currency) if discount else "",
        discount_name=discount_name,
        shipping=format_amount(shipping, currency) if shipping else "",
        tax=format_amount(tax, currency),
        tax_included=bool(tax) and total == subtotal - discount + shipping,
        total=format_amount(total, currency),
        total_minor=total,
        takes_codes=bool(session.get("allow_promotion_codes")),
        located=bool((session.get("automatic_tax") or {}).get("enabled")),
        methods=_methods(session, currency),
        pending=session.get("payment_status") == "unpaid" and session.get("status") == "complete",
        email=str(session.get("customer_email") or customer_email or ""),
        free=not with_card,
        captured_later="manual" in (wishes.get("capture_method"), options.get("capture_method")),
        keeps_card=keeps_card,
        makes_customer=session.get("customer_creation") == "always"
        or (keeps_card and session.get("customer_creation") is not None),
        plan=plan,
        success_url=_way_out(session, "success_url"),
        cancel_url=_way_out(session, "cancel_url"),
        asks=asks,
    )


def _methods(session: dict[str, Any], currency: str) -> tuple[str, ...]:
    """What the buyer can pay with: a bank debit only where the bank takes the currency."""
    kinds = [str(kind) for kind in session.get("payment_method_types") or ("card",)]
    found = [kind for kind in kinds if CURRENCIES.get(kind) == currency]
    return ("card", *found) if "card" in kinds or not found else tuple(found)


def _lines(session: dict[str, Any], currency: str, trial: str) -> tuple[Line, ...]:
    return tuple(_line(item, currency, trial) for item in session.get("line_items") or ())


def _line(item: dict[str, Any], currency: str, trial: str) -> Line:
    quantity = 1 if item.get("quantity") is None else int(item["quantity"])
    subtotal = int(item.get("amount_subtotal") or 0)
    unit = (item.get("price") or {}).get("unit_amount")
    each = f" × {format_amount(int(unit), currency)}" if unit is not None else ""
    detail = f"{quantity:,}{each}" if quantity != 1 else ""
    if trial and (item.get("price") or {}).get("recurring"):
        detail = f"{detail}, {trial}" if detail else trial
    return Line(
        name=str(item.get("description") or "Item"),
        detail=detail,
        amount=format_amount(subtotal, currency),
        change=_change(item),
    )


def _change(item: dict[str, Any]) -> Change | None:
    allowed: dict[str, Any] = item.get("adjustable_quantity") or {}
    if not allowed.get("enabled"):
        return None
    least, most = int(allowed.get("minimum") or 0), int(allowed.get("maximum") or 99)
    return Change(str(item["id"]), int(item["quantity"]), least, most)


def _split(url: str) -> SplitResult | None:
    try:
        parts = urlsplit(url)
        _ = parts.port  # A port out of range is only noticed when it is read.
    except ValueError:
        return None
    return parts


def _way_out(session: dict[str, Any], field: str) -> str:
    """The URL as a link may carry it, or an empty text for one that a link must not."""
    url = str(session.get(field) or "").replace("{CHECKOUT_SESSION_ID}", str(session["id"]))
    parts = _split(url)
    nowhere = parts is None or parts.scheme in _NO_PLACE or _leads_nowhere(session, url)
    return "" if nowhere else url


def _leads_nowhere(session: dict[str, Any], url: str) -> bool:
    """Whether it is what a session of a payment link has for want of an address of the shop's."""
    return url == NOWHERE and session.get("payment_link") is not None


def shop_of(session: dict[str, Any]) -> str:
    """The host the buyer returns to: the one name of the shop that can't be a pretence."""
    for field in ("success_url", "cancel_url"):
        url = str(session.get(field) or "")
        parts = _split(url)
        if parts is not None and parts.hostname and not _leads_nowhere(session, url):
            return parts.hostname + (f":{parts.port}" if parts.port else "")
    return "the shop"
