"""Portal configurations: what a customer portal offers, and how it presents the seller.

Owns their object and routes. What the features mean, `portal_features` owns; what a person does
with them, `portal_acts`.
"""

from __future__ import annotations

from typing import Any

from bursar_sandbox.store import Transaction
from bursar_sandbox.stripe import events, lists, metadata, portal_features, records
from bursar_sandbox.stripe.call import Call, route
from bursar_sandbox.stripe.errors import StripeError, missing_parameter, not_played
from bursar_sandbox.stripe.ids import new_id
from bursar_sandbox.stripe.params import Params

KIND = "billing_portal.configuration"
_WORD = "configuration"
_SETTABLE = "business_profile default_return_url features login_page metadata name"
_PROFILE = ("headline", "privacy_policy_url", "terms_of_service_url")


def ensure_default(tx: Transaction) -> dict[str, Any]:
    """The account's default configuration. It is there as soon as anybody asks, as in an account
    that has saved its portal's settings in the dashboard.
    """
    known = tx.find(tx.meta("portal_configuration") or "")
    if known is not None:
        return known
    configuration = {
        **_blank(tx), "features": portal_features.of_dashboard(), "is_default": True
    }  # fmt: skip
    records.insert(tx, configuration, {"products": None})
    tx.remember("portal_configuration", configuration["id"])
    return configuration


def _blank(tx: Transaction) -> dict[str, Any]:
    return {
        "id": new_id("bpc"),
        "object": KIND,
        "active": True,
        "application": None,
        "business_profile": dict.fromkeys(_PROFILE),
        "created": tx.now,
        "default_return_url": None,
        "features": portal_features.blank(),
        "is_default": False,
        "livemode": False,
        "login_page": {"enabled": False, "url": None},
        "metadata": {},
        "name": None,
        "updated": tx.now,
    }


def products_of(tx: Transaction, configuration: dict[str, Any]) -> list[dict[str, Any]] | None:
    """What subscriptions may be changed to; shown only to those who expand it."""
    found: list[dict[str, Any]] | None = tx.private(configuration["id"]).get("products")
    return found


def create(call: Call) -> dict[str, Any]:
    features = call.params.table("features")
    if features is None:
        raise missing_parameter("features")
    configuration = _blank(call.tx)
    _set(configuration, call.params)
    products = portal_features.products(call.tx, features, None)
    records.insert(call.tx, configuration, {"products": products})
    events.emit(call.tx, f"{KIND}.created", configuration)
    return configuration


def retrieve(call: Call) -> dict[str, Any]:
    return records.get(call.tx, KIND, call.ids[0], param="configuration", in_path=True, word=_WORD)


def update(call: Call) -> dict[str, Any]:
    tx, params = call.tx, call.params
    before = retrieve(call)
    after = {**before, "updated": tx.now}
    if params.given("active"):
        after["active"] = params.boolean("active")
        if before["is_default"] and not after["active"]:
            raise StripeError("You cannot deactivate the default configuration.", param="active")
    _set(after, params)
    products = portal_features.products(tx, params.table("features"), products_of(tx, before))
    records.replace(tx, after)
    records.replace_private(tx, after["id"], {"products": products})
    events.emit_update(tx, before, after)
    return after


def _set(configuration: dict[str, Any], params: Params) -> None:
    configuration["metadata"] = metadata.merged(params, configuration["metadata"])
    profile = params.table("business_profile")
    if profile is not None:
        profile.allow(_PROFILE)
        texts = dict(configuration["business_profile"])
        for name in _PROFILE:
            if name in profile:
                texts[name] = profile.text(name, limit=60 if name == "headline" else 5000)
        configuration["business_profile"] = texts
    if "default_return_url" in params:
        configuration["default_return_url"] = url_of(params, "default_return_url")
    if "name" in params:
        configuration["name"] = params.text("name")
    login = params.table("login_page")
    if login is not None:
        login.allow(("enabled",))
        login.require("enabled")
        if login.boolean("enabled"):
            raise not_played("the portal's login page", login.name("enabled"))
    features = params.table("features")
    if features is not None:
        configuration["features"] = portal_features.merged(features, configuration["features"])


def url_of(params: Params, name: str) -> str | None:
    """The address under that name; None when absent or unset. Raises StripeError."""
    url = params.text(name)
    if url is not None and not url.startswith(("http://", "https://")):
        raise StripeError("Not a valid URL", code="url_invalid", param=params.name(name))
    return url


def index(call: Call) -> dict[str, Any]:
    ensure_default(call.tx)
    query = lists.Query(KIND)
    query.flag(call.params, "active", "is_default")
    return lists.page(call, query)


routes = [
    route("POST", "/v1/billing_portal/configurations", create, _SETTABLE),
    route(
        "GET",
        "/v1/billing_portal/configurations",
        index,
        "active ending_before is_default limit starting_after",
    ),
    route("GET", "/v1/billing_portal/configurations/*", retrieve),
    route("POST", "/v1/billing_portal/configurations/*", update, f"{_SETTABLE} active"),
]
