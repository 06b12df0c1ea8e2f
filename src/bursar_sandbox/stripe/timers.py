"""What happens by itself when the sandbox's clock reaches its time.

Owns the meaning of the timers that other modules schedule.
"""

from __future__ import annotations

from collections.abc import Callable

from bursar_sandbox.store import Store, Transaction
from bursar_sandbox.stripe import (
    billing_cycle,
    capturing,
    checkout,
    checkout_sessions,
    coupons,
    disputes,
    promotion_codes,
    records,
    refunding,
    test_clock_routes,
    test_clocks,
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
    if kind == "clock.advance":
        claimed = test_clocks.step(tx, ref)
        if claimed is not None:
            _run(tx, *claimed)
        return
    _MEANINGS[kind](tx, ref)


def _expire_session(tx: Transaction, session_id: str) -> None:
    session = records.get(tx, "checkout.session", session_id)
    if session["status"] == "open":
        checkout_sessions.expire(tx, session)


_MEANINGS: dict[str, Callable[[Transaction, str], None]] = {
    "clock.delete": test_clock_routes.lapse,
    "coupon.expire": coupons.expire,
    "dispute.decide": disputes.settle,
    "dispute.due": disputes.run_out,
    "dispute.forget": disputes.forget,
    "intent.lapse": capturing.lapse,
    "intent.settle": checkout.settle,
    "invoice.advance": billing_cycle.advance,
    "invoice.overdue": billing_cycle.overdue,
    "invoice.retry": billing_cycle.retry,
    "promotion_code.expire": promotion_codes.expire,
    "refund.settle": refunding.settle,
    "session.expire": _expire_session,
    "subscription.cancel": billing_cycle.cancel,
    "subscription.collect_again": billing_cycle.collect_again,
    "subscription.lapse": billing_cycle.lapse,
    "subscription.renew": billing_cycle.renew,
    "subscription.trial_will_end": billing_cycle.warn_of_trial_end,
    "subscription.upcoming": billing_cycle.announce_invoice,
}
