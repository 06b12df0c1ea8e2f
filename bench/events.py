"""Webhook bodies for the load: unique, signed, and of the size that Stripe sends.

Owns the template of a `checkout.session.completed` event. It shares no code with the verifier,
so that a slip there can't be cancelled here.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import random
from typing import Any

EVENT_TYPE = "checkout.session.completed"
CREATED = 1_760_000_000

# Stands where an id stands, so that a new event is a join of pieces and not a new serialisation.
ID = "@id@"


def _session() -> dict[str, Any]:
    """The session of a pack that was bought, with the fields that Stripe always sends."""
    nothing = (
        "adaptive_pricing after_expiration branding_settings client_reference_id client_secret "
        "collected_information consent consent_collection currency_conversion discounts "
        "integration_identifier invoice locale origin_context payment_link permissions "
        "phone_number recovered_from setup_intent shipping_address "
        "shipping_cost submit_type subscription ui_mode url"
    )
    address = dict.fromkeys(("city", "country", "line1", "line2", "postal_code", "state"))
    return {
        "id": ID,
        "object": "checkout.session",
        **dict.fromkeys(nothing.split()),
        "allow_promotion_codes": False,
        "amount_subtotal": 1999,
        "amount_total": 1999,
        "automatic_tax": {"enabled": False, "liability": None, "provider": None, "status": None},
        "billing_address_collection": "auto",
        "cancel_url": "https://shop.example/pricing?canceled=1",
        "created": CREATED,
        "currency": "usd",
        "custom_fields": [],
        "custom_text": dict.fromkeys(
            ("after_submit", "shipping_address", "submit", "terms_of_service_acceptance")
        ),
        "customer": "cus_TfL3bEnCh0nLy1",
        "customer_creation": None,
        "customer_details": {
            "address": {**address, "country": "US", "postal_code": "94110"},
            "email": "pat.quinn@shop.example",
            "name": "Pat Quinn",
            "phone": None,
            "tax_exempt": "none",
            "tax_ids": [],
        },
        "customer_email": None,
        "expires_at": CREATED + 86_400,
        "invoice_creation": {
            "enabled": False,
            "invoice_data": {"description": None, "footer": None, "metadata": {}},
        },
        "livemode": False,
        "metadata": {"bursar_reference": ID, "bursar_customer": "4711", "bursar_pack": "pro"},
        "mode": "payment",
        "payment_intent": ID,
        "payment_method_collection": "if_required",
        "payment_method_options": {"card": {"request_three_d_secure": "automatic"}},
        "payment_method_types": ["card", "link"],
        "payment_status": "paid",
        "phone_number_collection": {"enabled": False},
        "shipping_address_collection": None,
        "shipping_options": [],
        "status": "complete",
        "success_url": "https://shop.example/thanks?session_id={CHECKOUT_SESSION_ID}",
        "total_details": {"amount_discount": 0, "amount_shipping": 0, "amount_tax": 0},
    }


def _template() -> list[bytes]:
    event = {
        "id": ID,
        "object": "event",
        "api_version": "2026-05-27.dahlia",
        "created": CREATED,
        "data": {"object": _session()},
        "livemode": False,
        "pending_webhooks": 1,
        "request": {"id": None, "idempotency_key": None},
        "type": EVENT_TYPE,
    }
    # Between the pieces stand, in this order: event, session, reference, intent.
    return [piece.encode() for piece in json.dumps(event, indent=2).split(ID)]


class EventMaker:
    """Makes events that nobody has seen, the same ones for the same seed."""

    def __init__(self, seed: int, secret: str) -> None:
        self._random = random.Random(seed)  # noqa: S311 - ids of a test load, to be repeatable
        self._hmac = hmac.new(secret.encode(), digestmod=hashlib.sha256)
        self._pieces = _template()

    def body(self) -> bytes:
        """Make the body of a new event, about 3.3 kB."""
        number = b"%024x" % self._random.getrandbits(96)
        head, after_event, after_session, after_reference, tail = self._pieces
        return b"".join(
            (
                *(head, b"evt_", number, after_event, b"cs_test_", number, after_session),
                *(b"ref_", number, after_reference, b"pi_", number, tail),
            )
        )

    def sign(self, body: bytes, at: int) -> str:
        """Return the value of Stripe-Signature for `body` at the unix second `at`."""
        # A copy has the key's two blocks hashed already.
        mac = self._hmac.copy()
        mac.update(b"%d." % at)
        mac.update(body)
        return f"t={at},v1={mac.hexdigest()}"
