"""Owns faithful documents at the schema's API version, written by hand, for the checker's tests.

Each call returns a fresh copy, so that a test can plant a fault in its own. They describe what
Stripe documents, never what the sandbox happens to answer.
"""

CREATED = 1_792_000_000

Document = dict[str, object]


def customer() -> Document:
    """Return a customer without any optional field."""
    return {
        "id": "cus_R2xA8d",
        "object": "customer",
        "balance": 0,
        "created": CREATED,
        "default_source": None,
        "description": None,
        "email": "ada@example.org",
        "invoice_settings": {
            "custom_fields": None,
            "default_payment_method": None,
            "footer": None,
            "rendering_options": None,
        },
        "livemode": False,
        "metadata": {"plan": "gold"},
        "shipping": None,
    }


def price() -> Document:
    """Return a monthly price of 15.00 EUR."""
    return {
        "id": "price_1Qa7",
        "object": "price",
        "active": True,
        "billing_scheme": "per_unit",
        "created": CREATED,
        "currency": "eur",
        "custom_unit_amount": None,
        "livemode": False,
        "lookup_key": None,
        "metadata": {},
        "nickname": None,
        "product": "prod_R1",
        "recurring": {
            "interval": "month",
            "interval_count": 1,
            "meter": None,
            "trial_period_days": None,
            "usage_type": "licensed",
        },
        "tax_behavior": "unspecified",
        "tiers_mode": None,
        "transform_quantity": None,
        "type": "recurring",
        "unit_amount": 1500,
        "unit_amount_decimal": "1500",
    }


def line_item() -> Document:
    """Return one line of a checkout session, its price expanded as always."""
    return {
        "id": "li_1Qa7",
        "object": "item",
        "adjustable_quantity": None,
        "amount_discount": 0,
        "amount_subtotal": 1500,
        "amount_tax": 0,
        "amount_total": 1500,
        "currency": "eur",
        "description": "Gold",
        "metadata": {},
        "price": price(),
        "quantity": 1,
    }


def line_items() -> Document:
    """Return the list that a session holds when its line items are expanded."""
    return {
        "object": "list",
        "data": [line_item()],
        "has_more": False,
        "url": "/v1/checkout/sessions/cs_test_a1/line_items",
    }


_SESSION_NULLS = (
    "adaptive_pricing after_expiration allow_promotion_codes allowed_payment_method_types"
    " billing_address_collection client_reference_id client_secret collected_information consent"
    " consent_collection currency_conversion customer_account customer_creation customer_details"
    " customer_email discounts integration_identifier invoice invoice_creation locale"
    " managed_payments origin_context payment_intent payment_link payment_method_collection"
    " payment_method_configuration_details payment_method_options permissions recovered_from"
    " saved_payment_method_options setup_intent shipping_address_collection shipping_cost"
    " submit_type wallet_options"
)


def session() -> Document:
    """Return an open session for a subscription, with its line items."""
    nulls: Document = dict.fromkeys(_SESSION_NULLS.split())
    return nulls | {
        "id": "cs_test_a1",
        "object": "checkout.session",
        "amount_subtotal": 1500,
        "amount_total": 1500,
        "automatic_tax": {"enabled": False, "liability": None, "provider": None, "status": None},
        "cancel_url": None,
        "created": CREATED,
        "currency": "eur",
        "custom_fields": [],
        "custom_text": {
            "after_submit": None,
            "shipping_address": None,
            "submit": None,
            "terms_of_service_acceptance": None,
        },
        "customer": "cus_R2xA8d",
        "expires_at": CREATED + 86_400,
        "line_items": line_items(),
        "livemode": False,
        "metadata": {},
        "mode": "subscription",
        "payment_method_types": ["card"],
        "payment_status": "unpaid",
        "shipping_options": [],
        "status": "open",
        "subscription": None,
        "success_url": "https://example.org/thanks",
        "total_details": {"amount_discount": 0, "amount_shipping": 0, "amount_tax": 0},
        "ui_mode": "hosted_page",
        "url": "https://example.org/c/pay/cs_test_a1",
    }


def event(kind: str, document: Document) -> Document:
    """Return the event of type `kind` that carries a snapshot of `document`."""
    return {
        "id": "evt_1Qa7",
        "object": "event",
        "api_version": "2026-10-28.endive",
        "created": CREATED,
        "data": {"object": document},
        "livemode": False,
        "pending_webhooks": 1,
        "request": {"id": None, "idempotency_key": None},
        "type": kind,
    }


def refusal() -> Document:
    """Return the answer to a request for an object that isn't there."""
    return {
        "error": {
            "code": "resource_missing",
            "doc_url": "https://example.org/error-codes/resource-missing",
            "message": "No such customer: 'cus_none'",
            "param": "id",
            "type": "invalid_request_error",
        }
    }
