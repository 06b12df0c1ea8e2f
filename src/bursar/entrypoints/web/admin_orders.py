"""The operators' pages on orders under review: the list, one order, and the two decisions.

Owns `/admin/orders` and what is below. A decision is a link to a page that names the amount, then a
post, then the order again, which says what became of it. No form needs a one-time key: an order
is decided about once, and whoever comes second is shown that.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from bursar import errors
from bursar.billing import captures, catalog, order_decisions, order_review
from bursar.billing.captures import Wanted
from bursar.billing.catalog import Unit
from bursar.billing.order_decisions import Kind
from bursar.billing.order_review import Order, OrderState
from bursar.db import Connection
from bursar.entrypoints.web import admin, forms, offers, order_lines
from bursar.entrypoints.web.pages import Site
from bursar.entrypoints.web.visitors import Visitor
from bursar.money import AMOUNT_MAX, format_money
from bursar.providers.port import CancelReason

LIST = admin.FIRST
PAGE_LENGTH = 50
TABS: Mapping[OrderState, str] = {
    "authorized": "To review",
    "completed": "Captured",
    "canceled": "Canceled",
    "expired": "Lapsed",
}
EMPTY: Mapping[OrderState, str] = {
    "authorized": ("No orders wait. Orders appear here when a price is sold with capture by hand."),
    "completed": "No captured orders. An order appears here when its money was taken.",
    "canceled": "No canceled orders. An order appears here when its money was let go.",
    "expired": "No lapsed orders. An order appears here when nobody decided in time.",
}
# The outcome is open: the order's page says that it is being asked about.
OPEN_OUTCOMES = (errors.ProviderUnavailable, errors.ProviderUnknown)


async def show(site: Site, request: Request) -> Response:
    """GET /admin/orders?state=&after=: the orders in one state."""
    now = site.wiring.clock.now()
    state = _state(request.query_params.get("state"))
    async with site.wiring.db.connection() as conn:
        visitor = await admin.require(conn, request)
        beyond = await _place(conn, request.query_params.get("after"))
        found = await order_review.list_orders(conn, state, beyond=beyond, limit=PAGE_LENGTH + 1)
        shown = found[:PAGE_LENGTH]
        more = {"state": state, "after": str(shown[-1].payment.id)} if shown else {}
        values: dict[str, object] = {
            "lines": [order_lines.order_line(order, now) for order in shown],
            "state": state,
            "tabs": [(f"{LIST}?{urlencode({'state': s})}", w, s == state) for s, w in TABS.items()],
            "empty": EMPTY[state],
            "first": beyond is None,
            "newest": f"{LIST}?{urlencode({'state': state})}",
            "older": f"{LIST}?{urlencode(more)}" if len(found) > PAGE_LENGTH else None,
            "waiting": await order_review.count_waiting(conn),
        }
        return await admin.render(site, request, conn, "admin_orders.html", values, visitor=visitor)


async def show_one(site: Site, request: Request) -> Response:
    """GET /admin/orders/{payment_id}: one order, what happened to it, what can be done."""
    now = site.wiring.clock.now()
    async with site.wiring.db.connection() as conn:
        visitor = await admin.require(conn, request)
        order = await _order(conn, request)
        payment = order.payment
        made = await order_decisions.list_for_payment(conn, payment.customer_id, payment.id)
        unit = await _unit(conn, order)
        waiting = await order_review.list_orders(conn, limit=2)
        following = [other.payment.id for other in waiting if other.payment.id != payment.id]
        values: dict[str, object] = {
            "line": order_lines.order_line(order, now),
            "sentence": order_lines.sentence(order, now),
            "sums": order_lines.sums(order),
            "steps": order_lines.steps(order, made, now),
            "brings": order_lines.brings(payment, unit, 1, 1),
            "payment": payment,
            "told": _told(request, order, unit),
            "following": f"{LIST}/{following[0]}" if following else None,
        }
        return await admin.render(site, request, conn, "admin_order.html", values, visitor=visitor)


async def confirm_capture(site: Site, request: Request) -> Response:
    """GET /admin/orders/{payment_id}/capture?amount=: how much is about to be taken."""
    async with site.wiring.db.connection() as conn:
        visitor = await admin.require(conn, request)
        order = await _order(conn, request)
        if not _waits(order):
            return _to(order.payment.id, "late")
        typed, fault = request.query_params.get("amount", ""), ""
        held = order.payment.authorized_minor or 0
        amount = held
        if typed:
            try:
                amount = _read_part(typed, held, order.payment.currency)
            except errors.Invalid as error:
                fault = error.detail
        values = await _capture_values(conn, order, amount)
        values |= {"typed": typed[: offers.AMOUNT_LENGTH_MAX], "fault": fault}
        values["line"] = order_lines.order_line(order, site.wiring.clock.now())
        return await admin.render(
            site,
            request,
            conn,
            "admin_capture.html",
            values,
            visitor=visitor,
            status=422 if fault else 200,
        )


async def _capture_values(conn: Connection, order: Order, amount: int) -> dict[str, object]:
    payment, unit = order.payment, await _unit(conn, order)
    held, currency = payment.authorized_minor or 0, payment.currency
    return {
        "amount": format_money(amount, currency),
        "amount_minor": amount,
        "whole": amount == held,
        "held": format_money(held, currency),
        "rest": format_money(held - amount, currency),
        "brings": order_lines.brings(payment, unit, amount, held),
        "brings_whole": order_lines.brings(payment, unit, 1, 1),
        "amount_length_max": offers.AMOUNT_LENGTH_MAX,
    }


async def confirm_cancel(site: Site, request: Request) -> Response:
    """GET /admin/orders/{payment_id}/cancel: what is about to be let go."""
    async with site.wiring.db.connection() as conn:
        visitor = await admin.require(conn, request)
        order = await _order(conn, request)
        if not _waits(order):
            return _to(order.payment.id, "late")
        line = order_lines.order_line(order, site.wiring.clock.now())
        values: dict[str, object] = {"line": line, "reasons": order_lines.REASONS}
        return await admin.render(site, request, conn, "admin_cancel.html", values, visitor=visitor)


async def capture(site: Site, request: Request) -> Response:
    """POST /admin/orders/{payment_id}/capture: take the amount that the button named."""
    fields = await forms.read(request)
    text = fields.get("amount", "")
    if not (text.isascii() and text.isdigit() and 0 < int(text[:20]) <= AMOUNT_MAX):
        raise errors.Invalid("This form is incomplete. Open the order again.")
    return await _decide(site, request, "capture", amount_minor=int(text))


async def cancel(site: Site, request: Request) -> Response:
    """POST /admin/orders/{payment_id}/cancel: let the money go."""
    reason = (await forms.read(request)).get("reason", "")
    if reason and reason not in order_lines.REASONS:
        raise errors.Invalid("Choose one of the reasons.")
    return await _decide(site, request, "cancel", reason=reason or None)  # type: ignore[arg-type]


async def _decide(
    site: Site,
    request: Request,
    kind: Kind,
    *,
    amount_minor: int | None = None,
    reason: CancelReason | None = None,
) -> Response:
    wiring = site.wiring
    async with wiring.db.connection() as conn:
        visitor = await admin.require(conn, request)
        payment = (await _order(conn, request)).payment
    wanted = Wanted(
        payment_id=payment.id,
        kind=kind,
        amount_minor=amount_minor,
        reason=reason,
        requested_by=_name(visitor),
        actor=visitor.actor,
        rules=wiring.rules,
    )
    try:
        await captures.decide(wiring.db, wiring.providers, wanted, clock=wiring.clock)
    except errors.PaymentNotCapturable:
        return _to(payment.id, "late")
    except errors.ProviderRejected:
        return _to(payment.id, "refused")
    except OPEN_OUTCOMES:
        return _to(payment.id, "open")
    return _to(payment.id, "captured" if kind == "capture" else "canceled")


def _name(visitor: Visitor) -> str:
    return f"admin {visitor.user.name or visitor.user.email or visitor.user.id}"


def _to(payment_id: int, told: str) -> Response:
    where = f"{LIST}/{payment_id}?{urlencode({'told': told})}"
    return RedirectResponse(where, 303, {"cache-control": "no-store"})


def _told(request: Request, order: Order, unit: Unit | None) -> tuple[str, str, str] | None:
    """Tone, words and hint of what was just done: only what the order itself confirms."""
    payment, said = order.payment, request.query_params.get("told", "")
    taken = format_money(payment.captured_minor, payment.currency)
    if said == "captured" and payment.state == "completed":
        total = payment.authorized_minor or payment.captured_minor
        gave = order_lines.brings(payment, unit, payment.captured_minor, total)
        return "good", f"Captured {taken}.", f"The customer got {gave}." if gave else ""
    if said == "canceled" and payment.state in ("canceled", "expired"):
        return (
            "good",
            "Canceled the order.",
            "Nothing was charged; the money that was held is free.",
        )
    if said == "late":
        return "note", "Nothing was changed.", "This order was decided about before."
    if said == "refused" and payment.state == "authorized":
        return (
            "bad",
            "The payment provider refused.",
            "Nothing was charged, and the money is still held. Try another amount, or look the "
            "payment up at the provider.",
        )
    if said == "open" and order.deciding:
        return (
            "wait",
            "The payment provider has not answered.",
            "What became of it is being asked. Look at this page again in a moment.",
        )
    return None


def _waits(order: Order) -> bool:
    return order.payment.state == "authorized" and not order.deciding


def _read_part(typed: str, held: int, currency: str) -> int:
    amount = offers.read_minor(typed, currency)
    if amount < 1:
        raise errors.Invalid("Enter an amount above zero. To take nothing, cancel the order")
    if amount > held:
        raise errors.Invalid(f"At most {format_money(held, currency)} is held")
    return amount


def _state(text: str | None) -> OrderState:
    for state in TABS:
        if text == state:
            return state
    return "authorized"


async def _place(conn: Connection, text: str | None) -> tuple[datetime, int] | None:
    """The place of the order after which a page of the list begins."""
    if not text or not (text.isascii() and text.isdigit() and len(text) <= 18):
        return None
    return (await order_review.get_order(conn, int(text))).place


async def _order(conn: Connection, request: Request) -> Order:
    """The order of the address. Raises errors.NotFound."""
    text = str(request.path_params["payment_id"])
    if not (text.isascii() and text.isdigit() and len(text) <= 18):
        raise errors.NotFound()
    return await order_review.get_order(conn, int(text))


async def _unit(conn: Connection, order: Order) -> Unit | None:
    units = {unit.name: unit for unit in await catalog.list_units(conn)}
    return units.get(order.payment.unit or "")
