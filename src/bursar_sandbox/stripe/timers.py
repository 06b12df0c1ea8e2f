"""What happens by itself when the sandbox's clock reaches its time.

Owns the meaning of the timers that other modules schedule.
"""

from __future__ import annotations

from bursar_sandbox.store import Store, Transaction
from bursar_sandbox.stripe import (
    capturing,
    checkout,
    checkout_sessions,
    coupons,
    disputes,
    invoice_payments,
    promotion_codes,
    records,
    refunding,
)


def run_due(store: Store) -> None:
    """Let everything happen whose time has come, each in a transaction of its own."""
    while store.next_due is not None and store.next_due <= store.clock.now():
        with store.transaction() as tx:
            claimed = store.claim_timer(tx)
            if claimed is None:
                return
            _run(tx, *claimed)


def _run(tx: Transaction, kind: str, ref: str) -> None:
    if kind == "session.expire":
        session = records.get(tx, "checkout.session", ref)
        if session["status"] == "open":
            checkout_sessions.expire(tx, session)
    elif kind == "intent.settle":
        checkout.settle(tx, ref)
    elif kind == "intent.lapse":
        capturing.lapse(tx, ref)
    elif kind == "coupon.expire":
        coupons.expire(tx, ref)
    elif kind == "promotion_code.expire":
        promotion_codes.expire(tx, ref)
    elif kind == "invoice.advance":
        invoice_payments.advance(tx, ref)
    elif kind == "refund.settle":
        refunding.settle(tx, ref)
    elif kind == "dispute.decide":
        disputes.settle(tx, ref)
    elif kind == "dispute.due":
        disputes.run_out(tx, ref)
    elif kind == "dispute.forget":
        disputes.forget(tx, ref)
