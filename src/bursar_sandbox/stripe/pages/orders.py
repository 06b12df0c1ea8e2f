"""A checkout session as a page shows it: the lines of the order, its totals, the ways out.

Owns the reading of a session's JSON for the pages. It never changes the session.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from urllib.parse import SplitResult, urlsplit

from bursar_sandbox.stripe.pages.amounts import format_amount

_NO_PLACE = frozenset({"", "javascript", "data", "vbscript", "blob", "file", "about"})


@dataclass(frozen=True, slots=True)
class Line:
    """One thing bought. `detail` says quantity and unit price when there are several."""

    name: str
    detail: str
    amount: str


@dataclass(frozen=True, slots=True)
class Order:
    """Everything the page writes about a session; amounts are already spelled out."""

    session_id: str
    status: str
    shop: str
    lines: tuple[Line, ...]
    subtotal: str
    discount: str
    shipping: str
    tax: str
    total: str
    email: str
    free: bool
    captured_later: bool
    keeps_card: bool
    makes_customer: bool
    success_url: str
    cancel_url: str


def order_of(
    session: dict[str, Any],
    *,
    customer_email: str = "",
    intent_wishes: dict[str, Any] | None = None,
) -> Order:
    """The order of a stored session.

    `customer_email` is that of the customer whom the shop has named, if it has; `intent_wishes`
    is what the shop asked for the payment intent.
    """
    wishes = intent_wishes or {}
    options: dict[str, Any] = (session.get("payment_method_options") or {}).get("card") or {}
    keeps_card = bool(wishes.get("setup_future_usage"))
    currency = str(session.get("currency") or "usd")
    details: dict[str, Any] = session.get("total_details") or {}
    discount = int(details.get("amount_discount") or 0)
    shipping = int(details.get("amount_shipping") or 0)
    return Order(
        session_id=str(session["id"]),
        status=str(session.get("status") or "open"),
        shop=shop_of(session),
        lines=_lines(session, currency),
        subtotal=format_amount(int(session.get("amount_subtotal") or 0), currency),
        discount=format_amount(-discount, currency) if discount else "",
        shipping=format_amount(shipping, currency) if shipping else "",
        tax=format_amount(int(details.get("amount_tax") or 0), currency),
        total=format_amount(int(session.get("amount_total") or 0), currency),
        email=str(session.get("customer_email") or customer_email or ""),
        free=not session.get("amount_total"),
        captured_later="manual" in (wishes.get("capture_method"), options.get("capture_method")),
        keeps_card=keeps_card,
        makes_customer=session.get("customer_creation") == "always"
        or (keeps_card and session.get("customer_creation") is not None),
        success_url=_way_out(session, "success_url"),
        cancel_url=_way_out(session, "cancel_url"),
    )


def _lines(session: dict[str, Any], currency: str) -> tuple[Line, ...]:
    return tuple(_line(item, currency) for item in session.get("line_items") or ())


def _line(item: dict[str, Any], currency: str) -> Line:
    quantity = int(item.get("quantity") or 1)
    subtotal = int(item.get("amount_subtotal") or 0)
    unit = (item.get("price") or {}).get("unit_amount")
    each = f" × {format_amount(int(unit), currency)}" if unit is not None else ""
    return Line(
        name=str(item.get("description") or "Item"),
        detail=f"{quantity:,}{each}" if quantity != 1 else "",
        amount=format_amount(subtotal, currency),
    )


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
    return url if parts is not None and parts.scheme not in _NO_PLACE else ""


def shop_of(session: dict[str, Any]) -> str:
    """The host the buyer returns to: the one name of the shop that can't be a pretence."""
    for field in ("success_url", "cancel_url"):
        parts = _split(str(session.get(field) or ""))
        if parts is not None and parts.hostname:
            return parts.hostname + (f":{parts.port}" if parts.port else "")
    return "the shop"
