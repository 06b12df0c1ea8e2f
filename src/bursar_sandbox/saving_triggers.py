"""Scenarios of saved cards, payment links and invoices, by the type of event each brings about.

Owns these scenarios; `triggers` has the others and the whole table.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from bursar_sandbox.scenario import Caller, Scenario

_CHANGED = {"metadata[changed]": "yes"}


def _customer(call: Caller) -> Any:
    return call("POST", "customers", {"email": "ada@lovelace.example", "name": "Ada Lovelace"})


def _setup(method: str, call: Caller) -> Any:
    fields = {"payment_method": method, "confirm": "true", "payment_method_types[0]": "card"}
    return call("POST", "setup_intents", {**fields, "customer": _customer(call)["id"]})


def _open_setup(call: Caller) -> Any:
    return call("POST", "setup_intents", {"payment_method_types[0]": "card"})


def _setup_canceled(call: Caller) -> None:
    call("POST", f"setup_intents/{_open_setup(call)['id']}/cancel")


def _method_changed(call: Caller) -> None:
    made = _setup("pm_card_visa", call)
    call("POST", f"payment_methods/{made['payment_method']}", _CHANGED)


def _source(call: Caller) -> Any:
    return call("POST", f"customers/{_customer(call)['id']}/sources", {"source": "tok_visa"})


def _source_changed(call: Caller) -> None:
    made = _source(call)
    call("POST", f"customers/{made['customer']}/sources/{made['id']}", _CHANGED)


def _source_deleted(call: Caller) -> None:
    made = _source(call)
    call("DELETE", f"customers/{made['customer']}/sources/{made['id']}")


def _link(call: Caller) -> Any:
    fields = {"currency": "usd", "unit_amount": "1500", "product_data[name]": "Credits"}
    price = call("POST", "prices", fields)
    wanted = {"line_items[0][price]": price["id"], "line_items[0][quantity]": "1"}
    return call("POST", "payment_links", wanted)


def _link_changed(call: Caller) -> None:
    call("POST", f"payment_links/{_link(call)['id']}", {"active": "false"})


def _item(customer_id: str, call: Caller) -> Any:
    fields = {"amount": "2000", "currency": "usd", "description": "Credits"}
    return call("POST", "invoiceitems", {**fields, "customer": customer_id})


def _new_item(call: Caller) -> Any:
    return _item(_customer(call)["id"], call)


def _item_deleted(call: Caller) -> None:
    call("DELETE", f"invoiceitems/{_new_item(call)['id']}")


def _draft(call: Caller, **fields: str) -> Any:
    """A draft over 20.00 USD."""
    customer_id = _customer(call)["id"]
    _item(customer_id, call)
    wanted = {"customer": customer_id, "pending_invoice_items_behavior": "include"}
    return call("POST", "invoices", {**wanted, **fields})


def _draft_changed(call: Caller) -> None:
    call("POST", f"invoices/{_draft(call)['id']}", _CHANGED)


def _draft_deleted(call: Caller) -> None:
    call("DELETE", f"invoices/{_draft(call)['id']}")


def _finalized(call: Caller) -> Any:
    return call("POST", f"invoices/{_draft(call)['id']}/finalize")


def _closed(act: str, call: Caller) -> None:
    call("POST", f"invoices/{_finalized(call)['id']}/{act}")


def _sent(call: Caller) -> None:
    draft = _draft(call, collection_method="send_invoice", days_until_due="7")
    call("POST", f"invoices/{draft['id']}/send")


def _paid(method: str, call: Caller) -> None:
    draft = _draft(call)
    fields = {"customer": draft["customer"]}
    kept = call("POST", f"payment_methods/{method}/attach", fields)
    call("POST", f"invoices/{draft['id']}/pay", {"payment_method": kept["id"]})


_WELL = "pm_card_visa"
_BADLY = "pm_card_chargeCustomerFail"
_ASKS = "pm_card_threeDSecure2Required"

SCENARIOS: dict[str, Scenario] = {
    "customer.source.created": _source,
    "customer.source.deleted": _source_deleted,
    "customer.source.updated": _source_changed,
    "invoice.created": _draft,
    "invoice.deleted": _draft_deleted,
    "invoice.finalized": _finalized,
    "invoice.marked_uncollectible": partial(_closed, "mark_uncollectible"),
    "invoice.paid": partial(_paid, _WELL),
    "invoice.payment_action_required": partial(_paid, _ASKS),
    "invoice.payment_failed": partial(_paid, _BADLY),
    "invoice.payment_succeeded": partial(_paid, _WELL),
    "invoice.sent": _sent,
    "invoice.updated": _draft_changed,
    "invoice.voided": partial(_closed, "void"),
    "invoice_payment.paid": partial(_paid, _WELL),
    "invoiceitem.created": _new_item,
    "invoiceitem.deleted": _item_deleted,
    "payment_link.created": _link,
    "payment_link.updated": _link_changed,
    "payment_method.updated": _method_changed,
    "setup_intent.canceled": _setup_canceled,
    "setup_intent.created": _open_setup,
    "setup_intent.requires_action": partial(_setup, _ASKS),
    "setup_intent.setup_failed": partial(_setup, "pm_card_chargeDeclined"),
    "setup_intent.succeeded": partial(_setup, _WELL),
}
