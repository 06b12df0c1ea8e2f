"""The one account that every key belongs to. Its id is made once and kept with the state."""

from __future__ import annotations

from typing import Any

from bursar_sandbox.store import Transaction
from bursar_sandbox.stripe.call import Call, route
from bursar_sandbox.stripe.errors import StripeError
from bursar_sandbox.stripe.ids import new_id


def account_id(tx: Transaction) -> str:
    """The account's id, `acct_…`."""
    known = tx.meta("account")
    if known is None:
        known = new_id("acct", 16)
        tx.remember("account", known)
        tx.remember("account_created", str(tx.now))
    return known


def retrieve(call: Call) -> dict[str, Any]:
    own = account_id(call.tx)
    if call.ids and call.ids[0] != own:
        raise StripeError(
            f"The provided key does not have access to account '{call.ids[0]}' (or that account "
            "does not exist). Application access may have been revoked.",
            status=403,
            code="account_invalid",
        )
    return {
        "id": own,
        "object": "account",
        "business_type": None,
        "capabilities": {"card_payments": "active", "sepa_debit_payments": "active",
                         "transfers": "active", "us_bank_account_ach_payments": "active"},
        "charges_enabled": True,
        "country": "US",
        "created": int(call.tx.meta("account_created") or 0),
        "default_currency": "usd",
        "details_submitted": True,
        "email": "sandbox@example.com",
        "metadata": {},
        "payouts_enabled": True,
        "type": "standard",
    }  # fmt: skip


routes = [route("GET", "/v1/account", retrieve), route("GET", "/v1/accounts/*", retrieve)]
