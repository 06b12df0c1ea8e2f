"""Portal sessions: a secret, short-lived address at which one customer sees to its billing.

Owns their object, their route and how long an address is good. What is done there, `portal_acts`
does.
"""

from __future__ import annotations

from typing import Any

from bursar_sandbox.store import Transaction
from bursar_sandbox.stripe import events, portal_configurations, portal_flows, records
from bursar_sandbox.stripe.call import Call, route
from bursar_sandbox.stripe.errors import StripeError, missing_parameter, not_played
from bursar_sandbox.stripe.ids import new_id, random_text

KIND = "billing_portal.session"
UNSEEN_SECONDS = 5 * 60
"""How long the address is good when nobody opens it."""
IDLE_SECONDS = 3600
"""How long it stays good after the last thing that was done there."""


def create(call: Call) -> dict[str, Any]:
    tx, params = call.tx, call.params
    for name in ("after_expiration", "customer_account", "on_behalf_of"):
        if params.given(name):
            raise not_played(f"`{name}` of portal sessions", name)
    if "customer" not in params:
        raise missing_parameter("customer")
    customer = records.get(tx, "customer", params.need_text("customer"), param="customer")
    configuration = _configuration(call)
    flow = portal_flows.read(tx, params.table("flow_data"), customer["id"], configuration)
    return_url = portal_configurations.url_of(params, "return_url")
    secret = f"test_{random_text(60)}"
    session = {
        "id": new_id("bps"),
        "object": KIND,
        "configuration": configuration["id"],
        "created": tx.now,
        "customer": customer["id"],
        "customer_account": None,
        "flow": flow,
        "livemode": False,
        "locale": params.text("locale"),
        "on_behalf_of": None,
        "return_url": return_url or configuration["default_return_url"],
        "url": f"{tx.base_url}/p/session/{secret}",
    }
    # The address ends by the sandbox's own clock, whatever time its customer lives in.
    good_until = tx.store.clock.now() + UNSEEN_SECONDS
    records.insert(tx, session, {"secret": secret, "good_until": good_until})
    events.emit(tx, f"{KIND}.created", session)
    return session


def _configuration(call: Call) -> dict[str, Any]:
    named = call.params.text("configuration")
    if named is None:
        return portal_configurations.ensure_default(call.tx)
    configuration = records.get(
        call.tx, portal_configurations.KIND, named, param="configuration", word="configuration"
    )
    if not configuration["active"]:
        raise StripeError(
            f"The portal configuration `{named}` is inactive, so no session can use it.",
            param="configuration",
        )
    return configuration


def visit(tx: Transaction, secret: str) -> dict[str, Any] | None:
    """The session behind the secret, good for another while; None when there is none, and when
    its time is over.
    """
    row = tx.execute(
        "SELECT id FROM objects WHERE object = ? AND private ->> '$.secret' = ?", (KIND, secret)
    ).fetchone()
    if row is None:
        return None
    session = records.get(tx, KIND, row[0])
    private = tx.private(session["id"])
    now = tx.store.clock.now()
    customer = tx.find(session["customer"]) or {}
    if private["good_until"] <= now or not customer or customer.get("deleted"):
        return None
    records.replace_private(tx, session["id"], {**private, "good_until": now + IDLE_SECONDS})
    return session


def return_url_of(tx: Transaction, secret: str) -> str:
    """Where a session whose time is over led back to; empty when that isn't known."""
    row = tx.execute(
        "SELECT body ->> '$.return_url' FROM objects WHERE object = ?"
        " AND private ->> '$.secret' = ?",
        (KIND, secret),
    ).fetchone()
    return str(row[0] or "") if row else ""


routes = [
    route(
        "POST",
        "/v1/billing_portal/sessions",
        create,
        "after_expiration configuration customer customer_account flow_data locale on_behalf_of "
        "return_url",
    ),
]
