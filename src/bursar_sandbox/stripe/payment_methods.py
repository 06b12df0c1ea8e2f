"""The routes of payment methods. `methods` owns the object."""

from __future__ import annotations

from typing import Any

from bursar_sandbox.stripe import addresses, events, lists, metadata, methods, records
from bursar_sandbox.stripe.call import Call, route
from bursar_sandbox.stripe.errors import StripeError

# Every type that Stripe has as a parameter; those the sandbox doesn't play are refused by name.
_TYPES = (
    "acss_debit affirm afterpay_clearpay alipay alma amazon_pay au_becs_debit bacs_debit "
    "bancontact billie bizum blik boleto card cashapp crypto custom customer_balance eps fpx "
    "giropay grabpay ideal interac_present kakao_pay klarna konbini kr_card link mb_way "
    "mobilepay multibanco naver_pay nz_bank_account oxxo p24 pay_by_bank payco paynow paypal "
    "paypay payto pix promptpay revolut_pay samsung_pay satispay scalapay sepa_debit sequra "
    "sofort sunbit swish twint upi us_bank_account wechat_pay zip"
)


def create(call: Call) -> dict[str, Any]:
    return methods.from_params(call.tx, call.params)


def retrieve(call: Call) -> dict[str, Any]:
    return methods.usable(call.tx, call.ids[0], in_path=True)


def update(call: Call) -> dict[str, Any]:
    params = call.params
    before = retrieve(call)
    if before["customer"] is None:
        raise StripeError(
            "You must save this PaymentMethod to a customer before you can update it.",
            param="payment_method",
        )
    method = {**before, "metadata": metadata.merged(params, before["metadata"])}
    method["billing_details"] = addresses.billing_details(
        params.table("billing_details"), before["billing_details"]
    )
    if params.given("allow_redisplay"):
        method["allow_redisplay"] = params.choice(
            "allow_redisplay", ("always", "limited", "unspecified")
        )
    table = params.table("card")
    if table is not None and method["type"] == "card":
        card = dict(method["card"])
        card["exp_month"] = table.integer("exp_month", low=1, high=12) or card["exp_month"]
        card["exp_year"] = table.integer("exp_year", low=2000, high=2100) or card["exp_year"]
        method["card"] = card
    records.replace(call.tx, method)
    events.emit_update(call.tx, before, method)
    return method


def attach(call: Call) -> dict[str, Any]:
    method = methods.usable(call.tx, call.ids[0], in_path=True)
    return methods.attach_to(call.tx, method, call.params.need_text("customer"))


def detach(call: Call) -> dict[str, Any]:
    return methods.detach(call.tx, methods.usable(call.tx, call.ids[0], in_path=True))


def index(call: Call) -> dict[str, Any]:
    customer_id = call.params.text("customer")
    if customer_id is None:
        # Without a customer Stripe shows only what its Issuing product made, so nothing here.
        return {"object": "list", "data": [], "has_more": False, "url": call.path}
    records.get(call.tx, "customer", customer_id, param="customer")
    return methods.of_customer(call, customer_id)


routes = [
    route(
        "POST",
        "/v1/payment_methods",
        create,
        f"{_TYPES} allow_redisplay billing_details customer metadata payment_method radar_options "
        "type",
    ),
    route(
        "GET",
        "/v1/payment_methods",
        index,
        f"{lists.PAGING} allow_redisplay customer customer_account type",
    ),
    route("GET", "/v1/payment_methods/*", retrieve),
    route(
        "POST",
        "/v1/payment_methods/*",
        update,
        "allow_redisplay billing_details card metadata us_bank_account",
    ),
    route("POST", "/v1/payment_methods/*/attach", attach, "customer customer_account"),
    route("POST", "/v1/payment_methods/*/detach", detach),
]
