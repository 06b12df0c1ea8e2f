"""What the tests sell: sessions and payments made with the official client, in one call each."""

from __future__ import annotations

import json
from typing import Any

SUCCESS = "https://shop.example/thanks?session_id={CHECKOUT_SESSION_ID}"


def open_session(v1: Any, amount: int = 1500, quantity: int = 2, **options: Any) -> Any:
    """A checkout session in payment mode for `quantity` of one thing."""
    thing = {"currency": "usd", "product_data": {"name": "Credits"}, "unit_amount": amount}
    thing["currency"] = options.pop("unit_currency", "usd")
    return v1.checkout.sessions.create(
        {
            "mode": "payment",
            "success_url": SUCCESS,
            "cancel_url": "https://shop.example/pricing",
            "line_items": [{"price_data": thing, "quantity": quantity}],
            **options,
        }
    )


def card(v1: Any, number: str = "4242424242424242") -> Any:
    """A payment method of a card."""
    return v1.payment_methods.create(
        {
            "type": "card",
            "card": {"number": number, "exp_month": 12, "exp_year": 2040, "cvc": "123"},
            "billing_details": {"email": "buyer@example.com", "name": "Bo Buyer"},
        }
    )


def iban(v1: Any, number: str) -> Any:
    """A payment method of a bank account."""
    return v1.payment_methods.create(
        {
            "type": "sepa_debit",
            "sepa_debit": {"iban": number},
            "billing_details": {"email": "buyer@example.com", "name": "Bo Buyer"},
        }
    )


def confirm_page(client: Any, session: Any, method: Any, amount: int | None = None) -> Any:
    """Pay a session as Stripe's command-line tool does; the raw answer."""
    return client.raw_request(
        "post",
        f"/v1/payment_pages/{session.id}/confirm",
        payment_method=method.id,
        expected_amount=session.amount_total if amount is None else amount,
    )


def pay_intent(v1: Any, method: str = "pm_card_visa", **options: Any) -> Any:
    """A confirmed payment intent over 20.00 usd."""
    return v1.payment_intents.create(
        {
            "amount": 2000,
            "currency": "usd",
            "confirm": True,
            "payment_method": method,
            "return_url": "https://shop.example/back",
            **options,
        }
    )


def promote(v1: Any, coupon: Any, **options: Any) -> Any:
    """A promotion code of the coupon."""
    promotion = {"type": "coupon", "coupon": coupon.id}
    return v1.promotion_codes.create({"promotion": promotion, **options})


def tell_page(client: Any, session: Any, **fields: Any) -> Any:
    """What a session's page does before it is paid: `promotion_code`, `tax_region`; its view."""
    answer = client.raw_request("post", f"/v1/payment_pages/{session.id}", **fields)
    return json.loads(answer.body)
