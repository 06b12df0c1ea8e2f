"""The receipt of a charge, at the address that the charge carries.

Owns the route under /receipts/. It only reads.
"""

from __future__ import annotations

import time
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from bursar_sandbox.store import Transaction
from bursar_sandbox.stripe.pages import rendering
from bursar_sandbox.stripe.pages.amounts import format_amount
from bursar_sandbox.stripe.pages.orders import shop_of


async def show(request: Request) -> Response:
    """GET /receipts/{charge_id}: what was paid, with what, and what was given back."""
    with request.app.state.store.transaction() as tx:
        charge = tx.find(request.path_params["charge_id"])
        if charge is None or charge["object"] != "charge" or charge["receipt_url"] is None:
            values: dict[str, object] = {"state": "unknown", "order": None}
            return rendering.page("closed.html", values, status=404)
        return rendering.page("receipt.html", _values(tx, charge))


def _values(tx: Transaction, charge: dict[str, Any]) -> dict[str, object]:
    currency = charge["currency"]
    held = not charge["captured"]
    taken = charge["amount"] if held else charge["amount_captured"]
    back = charge["amount_refunded"]
    intent = tx.find(charge["payment_intent"]) or {}
    let_go = intent.get("status") == "canceled"
    paid_with = charge["payment_method_details"]
    kind = paid_with["type"]
    at = time.gmtime(charge["created"])
    return {
        "id": charge["id"],
        "shop": _shop(tx, charge),
        "state": "released" if held and let_go else "held" if held else "paid",
        "amount": format_amount(taken, currency),
        "back": format_amount(-back, currency) if back else "",
        "left": format_amount(taken - back, currency),
        "paid_with": f"{'Card' if kind == 'card' else 'Bank account'} "
        f"ending in {paid_with[kind]['last4']}",
        "date": f"{at.tm_mday} {time.strftime('%b %Y, %H:%M', at)} UTC",
        "datetime": time.strftime("%Y-%m-%dT%H:%M:%SZ", at),
    }


def _shop(tx: Transaction, charge: dict[str, Any]) -> str:
    session_id = tx.private(charge["payment_intent"]).get("session")
    return shop_of((tx.find(session_id) if session_id else None) or {})


routes = [Route("/receipts/{charge_id}", show, methods=["GET"])]
