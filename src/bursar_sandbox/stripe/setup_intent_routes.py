"""The routes of setup intents and their attempts. `setup_intents` owns what happens to them."""

from __future__ import annotations

from typing import Any

from bursar_sandbox.store import Transaction
from bursar_sandbox.stripe import cards, lists, metadata, records, setup_intents
from bursar_sandbox.stripe import intent_params as fields
from bursar_sandbox.stripe.call import Call, route
from bursar_sandbox.stripe.cards import Decline
from bursar_sandbox.stripe.errors import StripeError, not_played, wrong_state
from bursar_sandbox.stripe.params import Params

_UPDATE = (
    "allowed_payment_method_types attach_to_self customer customer_account description "
    "excluded_payment_method_types flow_directions metadata payment_method "
    "payment_method_configuration payment_method_data payment_method_options payment_method_types"
)
_CREATE = (
    f"{_UPDATE} automatic_payment_methods confirm confirmation_token mandate_data on_behalf_of "
    "return_url single_use usage use_stripe_sdk"
)
_CONFIRM = (
    "confirmation_token mandate_data payment_method payment_method_data payment_method_options "
    "return_url use_stripe_sdk"
)
_REASONS = ("abandoned", "duplicate", "requested_by_customer")
_NOT_CONFIRMED = (
    "You cannot confirm this SetupIntent because it has a status of {status}. Only a SetupIntent "
    "with one of the following statuses may be confirmed: requires_payment_method, "
    "requires_confirmation, requires_action."
)
_NOT_CANCELED = (
    "You cannot cancel this SetupIntent because it has a status of {status}. Only a SetupIntent "
    "with one of the following statuses may be canceled: requires_payment_method, "
    "requires_confirmation, requires_action."
)
_NOT_UPDATED = (
    "This SetupIntent could not be updated because it has a status of {status}. Only its metadata "
    "and description may be changed now."
)


def create(call: Call) -> dict[str, Any]:
    tx, params = call.tx, call.params
    for name in ("confirmation_token", "single_use"):
        if params.given(name):
            raise not_played(f"`{name}` of setup intents", name)
    setup = _build(tx, params)
    method = fields.method_of(tx, params)
    if method is not None:
        setup.update(payment_method=method["id"], status="requires_confirmation")
    private = {"return_url": params.text("return_url")} if params.given("return_url") else None
    setup_intents.add(tx, setup, private)
    if params.boolean("confirm"):
        _confirm(call, setup, method)
    return setup


def _build(tx: Transaction, params: Params) -> dict[str, Any]:
    automatic = params.table("automatic_payment_methods")
    asked = fields.payment_method_types(params)
    if asked and automatic is not None and automatic.boolean("enabled"):
        raise StripeError(
            "You may only specify one of these parameters: automatic_payment_methods, "
            "payment_method_types.",
            code="parameters_exclusive",
            param="payment_method_types",
        )
    setup = setup_intents.blank(tx, asked or ["card"])
    if not asked and (automatic is None or automatic.boolean("enabled")):
        redirects = automatic.choice("allow_redirects", ("always", "never")) if automatic else None
        setup["automatic_payment_methods"] = {
            "allow_redirects": redirects or "always",
            "enabled": True,
        }
    setup["metadata"] = metadata.merged(params)
    setup["usage"] = params.choice("usage", ("off_session", "on_session"), "off_session")
    _describe(tx, setup, params)
    return setup


def _describe(tx: Transaction, setup: dict[str, Any], params: Params) -> None:
    if "description" in params:
        setup["description"] = params.text("description")
    if params.given("customer"):
        customer = records.get(tx, "customer", params.need_text("customer"), param="customer")
        setup["customer"] = customer["id"]
    options = params.table("payment_method_options")
    card = options.table("card") if options else None
    if card is not None and card.given("request_three_d_secure"):
        shown = setup["payment_method_options"].setdefault("card", {})
        shown["request_three_d_secure"] = card.choice(
            "request_three_d_secure", ("any", "automatic", "challenge")
        )


def retrieve(call: Call) -> dict[str, Any]:
    return records.get(call.tx, "setup_intent", call.ids[0], param="intent", in_path=True)


def update(call: Call) -> dict[str, Any]:
    params = call.params
    setup = retrieve(call)
    closed = setup["status"] not in setup_intents.CONFIRMABLE
    if closed and set(params.fields) - {"metadata", "description", "expand"}:
        raise _unexpected(setup, _NOT_UPDATED)
    setup["metadata"] = metadata.merged(params, setup["metadata"])
    kinds = fields.payment_method_types(params)
    if kinds:
        setup["payment_method_types"] = kinds
        setup["payment_method_options"] = setup_intents.options_for(kinds)
    _describe(call.tx, setup, params)
    method = fields.method_of(call.tx, params)
    if method is not None:
        setup.update(payment_method=method["id"], status="requires_confirmation")
    records.replace(call.tx, setup)
    return setup


def confirm(call: Call) -> dict[str, Any]:
    setup = retrieve(call)
    if setup["status"] not in setup_intents.CONFIRMABLE:
        raise _unexpected(setup, _NOT_CONFIRMED)
    _describe(call.tx, setup, call.params)
    method = fields.method_of(call.tx, call.params)
    if method is None and setup["payment_method"] is not None:
        method = records.get(
            call.tx, "payment_method", setup["payment_method"], word="PaymentMethod"
        )
    _confirm(call, setup, method)
    return setup


def _confirm(call: Call, setup: dict[str, Any], method: dict[str, Any] | None) -> None:
    if method is None:
        raise wrong_state(
            "You cannot confirm this SetupIntent because it's missing a payment method. Update the "
            "SetupIntent with a payment method and then confirm it again.",
            "setup_intent_unexpected_state",
            setup_intent=setup,
        )
    # Without a `return_url` the page's own script leads to the bank. Stripe's command-line tool
    # confirms so, and without naming types; nobody is held to one here.
    url = call.params.text("return_url") or call.tx.private(setup["id"]).get("return_url")
    reason = setup_intents.confirm(call.tx, setup, method, return_url=url)
    if reason is not None:
        raise refusal(reason, setup)


def refusal(reason: Decline, setup: dict[str, Any]) -> StripeError:
    """The 402 that says why the card can't be saved."""
    method = setup["last_setup_error"]["payment_method"]
    return cards.refusal(reason, keeps=True, payment_method=method, setup_intent=setup)


def cancel(call: Call) -> dict[str, Any]:
    setup = retrieve(call)
    if setup["status"] not in setup_intents.CONFIRMABLE:
        raise _unexpected(setup, _NOT_CANCELED)
    if call.tx.private(setup["id"]).get("session") is not None:
        raise wrong_state(
            "You cannot cancel this SetupIntent because it belongs to a Checkout Session. Expire "
            "the Checkout Session instead.",
            "setup_intent_unexpected_state",
            setup_intent=setup,
        )
    setup_intents.cancel(call.tx, setup, call.params.choice("cancellation_reason", _REASONS))
    return setup


def verify_microdeposits(call: Call) -> dict[str, Any]:
    retrieve(call)
    raise not_played("bank accounts that are verified by small deposits")


def _unexpected(setup: dict[str, Any], message: str) -> StripeError:
    return wrong_state(
        message.format(status=setup["status"]), "setup_intent_unexpected_state", setup_intent=setup
    )


def index(call: Call) -> dict[str, Any]:
    query = lists.Query("setup_intent")
    query.equal(call.params, "customer", "customer_account", "payment_method")
    return lists.page(call, query)


def list_attempts(call: Call) -> dict[str, Any]:
    setup_id = call.params.need_text("setup_intent")
    records.get(call.tx, "setup_intent", setup_id, param="setup_intent")
    query = lists.Query("setup_attempt")
    query.equal(call.params, "setup_intent")
    return lists.page(call, query)


routes = [
    route("POST", "/v1/setup_intents", create, _CREATE),
    route(
        "GET",
        "/v1/setup_intents",
        index,
        f"{lists.PAGING} attach_to_self customer customer_account payment_method",
    ),
    route("GET", "/v1/setup_intents/*", retrieve, "client_secret"),
    route("POST", "/v1/setup_intents/*", update, _UPDATE),
    route("POST", "/v1/setup_intents/*/confirm", confirm, _CONFIRM),
    route("POST", "/v1/setup_intents/*/cancel", cancel, "cancellation_reason"),
    route(
        "POST",
        "/v1/setup_intents/*/verify_microdeposits",
        verify_microdeposits,
        "amounts descriptor_code",
    ),
    route("GET", "/v1/setup_attempts", list_attempts, f"{lists.PAGING} setup_intent"),
]
