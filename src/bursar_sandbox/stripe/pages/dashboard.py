"""Payments on the sandbox's own page: what a person does to them at the provider's dashboard, and
what a buyer's bank does to them.

Owns the list of payments and its forms. It never moves money: `capturing`, `checkout` and
`disputes` do.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal, InvalidOperation
from typing import Any

import orjson
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from bursar_sandbox.store import Store, Transaction
from bursar_sandbox.stripe import capturing, checkout, disputes, records, refunding
from bursar_sandbox.stripe.errors import StripeError
from bursar_sandbox.stripe.pages import amounts, forms

# For each state of a dispute: tone, icon, word.
_DISPUTED = {
    "needs_response": ("bad", "cross", "Disputed"),
    "under_review": ("wait", "clock", "Dispute under review"),
    "won": ("good", "check", "Dispute won"),
    "lost": ("bad", "cross", "Dispute lost"),
    "warning_needs_response": ("wait", "clock", "Inquiry"),
    "warning_under_review": ("wait", "clock", "Inquiry under review"),
    "warning_closed": ("good", "check", "Inquiry closed"),
}
REASONS = {
    **{reason: reason.replace("_", " ").capitalize() for reason in disputes.REASONS},
    "inquiry": "Only an inquiry",
}


def listed(store: Store, limit: int) -> list[dict[str, Any]]:
    """The latest payments that were taken or are held, newest first, with what can be done."""
    rows = store.read(
        "SELECT c.body, i.body ->> '$.status', (SELECT d.body FROM objects d"
        " WHERE d.object = 'dispute' AND d.parent = c.id ORDER BY d.seq DESC LIMIT 1)"
        " FROM objects c JOIN objects i ON i.id = c.parent"
        " WHERE c.object = 'charge' AND c.body ->> '$.status' IN ('succeeded', 'pending')"
        " ORDER BY c.seq DESC LIMIT ?",
        (limit,),
    ).fetchall()
    return [
        _row(orjson.loads(charge), status, orjson.loads(dispute) if dispute else None)
        for charge, status, dispute in rows
    ]


def _row(charge: dict[str, Any], status: str, dispute: dict[str, Any] | None) -> dict[str, Any]:
    currency = charge["currency"]
    tone, icon, word = _state(charge, status, dispute)
    doable = _doable(charge, status, dispute)
    return {
        "id": charge["id"],
        "amount": amounts.format_amount(charge["amount"], currency),
        "whole": _plain(charge["amount"], currency),
        "currency": currency.upper(),
        "detail": _detail(charge, dispute),
        "tone": tone,
        "icon": icon,
        "word": word,
        "doable": doable,
    }


def _state(
    charge: dict[str, Any], status: str, dispute: dict[str, Any] | None
) -> tuple[str, str, str]:
    if dispute is not None:
        return _DISPUTED[dispute["status"]]
    if charge["status"] == "pending":
        return ("wait", "clock", "At the bank")
    if not charge["captured"]:
        held = status == "requires_capture"
        return ("wait", "clock", "Held") if held else ("idle", "dash", "Let go")
    if charge["refunded"]:
        return ("idle", "dash", "Given back")
    return ("good", "check", "Taken")


def _detail(charge: dict[str, Any], dispute: dict[str, Any] | None) -> str:
    currency = charge["currency"]
    parts = []
    if charge["captured"] and 0 < charge["amount_captured"] < charge["amount"]:
        parts.append(f"{amounts.format_amount(charge['amount_captured'], currency)} taken")
    if charge["amount_refunded"] and not charge["refunded"]:
        parts.append(f"{amounts.format_amount(charge['amount_refunded'], currency)} given back")
    if dispute is not None:
        sum_ = amounts.format_amount(dispute["amount"], currency)
        parts.append(f"{sum_}, {dispute['reason'].replace('_', ' ')}")
    return "; ".join(parts)


def _doable(charge: dict[str, Any], status: str, dispute: dict[str, Any] | None) -> str:
    """Which form the payment has: `hold`, `debit`, `dispute`, `decide`, `inquiry`, or none."""
    if charge["status"] == "pending":
        return "debit"
    if dispute is not None and dispute["status"] in disputes.OPEN:
        return "decide"
    if dispute is not None and dispute["status"] in disputes.ASKING:
        return "inquiry"
    if status == "requires_capture":
        return "hold"
    lost = dispute is not None and dispute["status"] == "lost"
    return "dispute" if charge["captured"] and refunding.left_of(charge) and not lost else ""


def _plain(amount: int, currency: str) -> str:
    """An amount as it is typed: `12.50`."""
    return f"{Decimal(amount).scaleb(-amounts.decimals_of(currency)):f}"


async def act(request: Request) -> Response:
    """POST /_sandbox/payments/{charge_id}: do what the button says that was pressed."""
    fields = await forms.read(request)
    deed = _DEEDS.get(fields.get("do", ""))
    if deed is None:
        return forms.refused("There is no such button.")
    store: Store = request.app.state.store
    try:
        with store.transaction() as tx:
            deed(tx, records.get(tx, "charge", request.path_params["charge_id"]), fields)
    except StripeError as error:
        return forms.refused(str(error))
    return forms.back("payments")


def _dispute(tx: Transaction, charge: dict[str, Any], fields: dict[str, str]) -> None:
    reason = fields.get("reason", "")
    if reason not in REASONS:
        raise StripeError("Choose a reason.")
    if reason == "inquiry":
        disputes.add(tx, charge, reason="general", inquiry=True)
    else:
        disputes.add(tx, charge, reason=reason)


def _decide(tx: Transaction, charge: dict[str, Any], fields: dict[str, str]) -> None:
    row = tx.execute(
        "SELECT body FROM objects WHERE object = 'dispute' AND parent = ?"
        " ORDER BY seq DESC LIMIT 1",
        (charge["id"],),
    ).fetchone()
    if row is None:
        raise StripeError("Nobody disputes that payment.")
    disputes.decide(tx, orjson.loads(row[0]), fields["do"])


def _capture(tx: Transaction, charge: dict[str, Any], fields: dict[str, str]) -> None:
    intent = records.get(tx, "payment_intent", charge["payment_intent"])
    capturing.capture(tx, intent, _typed(fields.get("amount", ""), charge["currency"]))


def _cancel(tx: Transaction, charge: dict[str, Any], fields: dict[str, str]) -> None:
    intent = records.get(tx, "payment_intent", charge["payment_intent"])
    capturing.cancel(tx, intent, "requested_by_customer")


def _answer(tx: Transaction, charge: dict[str, Any], fields: dict[str, str]) -> None:
    checkout.settle(tx, charge["payment_intent"], succeeds=fields["do"] == "arrived")


def _typed(text: str, currency: str) -> int:
    """An amount in minor units. Raises StripeError for what is none."""
    try:
        number = Decimal(text.strip() if len(text) < 20 else "").scaleb(
            amounts.decimals_of(currency)
        )
    except InvalidOperation:
        number = Decimal(0)
    if not number.is_finite() or number != number.to_integral_value() or number < 1:
        raise StripeError("Enter an amount such as 12.50.")
    return int(number)


_DEEDS: dict[str, Callable[[Transaction, dict[str, Any], dict[str, str]], None]] = {
    "dispute": _dispute,
    "won": _decide,
    "lost": _decide,
    "escalated": _decide,
    "arrived": _answer,
    "bounced": _answer,
    "capture": _capture,
    "cancel": _cancel,
}

routes = [
    Route("/_sandbox/payments/{charge_id}", forms.guarded(act), methods=["POST"]),
]
