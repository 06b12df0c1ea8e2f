"""The time of test clocks: who lives on which, and what falls due there.

Owns the clock's object and its steps forward. Everything that a call or a timer does about a
customer on a clock happens in that clock's time: the transaction's `now` is the clock's. The routes
are `test_clock_routes`'s.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from bursar_sandbox.store import Transaction
from bursar_sandbox.stripe import events, records
from bursar_sandbox.stripe.errors import StripeError
from bursar_sandbox.stripe.ids import new_id
from bursar_sandbox.stripe.params import Params

KIND = "test_helpers.test_clock"
MAX_CUSTOMERS = 3
KEPT_SECONDS = 30 * 24 * 3600
# The parameters that may name an object which lives on a clock, the clock itself among them.
_NAMES = (
    "test_clock customer subscription invoice payment_intent charge subscription_item "
    "from_invoice setup_intent"
).split()


def now(tx: Transaction, customer_id: str | None) -> int:
    """The time of a customer, in seconds: that of the clock it lives on, else the sandbox's."""
    clock_id = _clock_of_customer(tx, customer_id)
    frozen = _frozen(tx, clock_id) if clock_id != tx.clock else None
    return tx.now if frozen is None else frozen


def _frozen(tx: Transaction, clock_id: str | None) -> int | None:
    """Where a clock stands; None without one, and for one that is deleted."""
    clock = tx.find(clock_id) if clock_id is not None else None
    return None if clock is None or clock.get("deleted") else int(clock["frozen_time"])


def enter(tx: Transaction, clock_id: str | None) -> None:
    """Let the rest of the transaction happen in the clock's time.

    None changes nothing, nor does a clock that is deleted: what lived on it is in no other time.
    """
    frozen = _frozen(tx, clock_id) if clock_id != tx.clock else None
    if frozen is not None:
        tx.now, tx.clock = frozen, clock_id


def enter_of(tx: Transaction, body: dict[str, Any]) -> None:
    """Let the rest of the transaction happen in the time of the object's customer."""
    enter(tx, _clock_of(tx, body))


@contextmanager
def time_of_call(tx: Transaction, params: Params, ids: tuple[str, ...]) -> Iterator[None]:
    """The time in which an API call happens; afterwards the transaction lives in its own again.

    Whatever the call names decides, its path before its parameters.
    """
    own = tx.now, tx.clock
    if _any_clock(tx):
        named = [params.fields.get(name) for name in _NAMES]
        # A call on a clock's own path is made from outside of its time.
        path = [object_id for object_id in ids if not object_id.startswith("clock_")]
        for object_id in (*path, *named):
            body = tx.find(object_id) if isinstance(object_id, str) else None
            if body is not None and tx.clock is None:
                enter_of(tx, body)
    try:
        yield
    finally:
        tx.now, tx.clock = own


def _any_clock(tx: Transaction) -> bool:
    row = tx.execute(
        "SELECT 1 FROM objects WHERE object = ? AND deleted = 0 LIMIT 1", (KIND,)
    ).fetchone()
    return row is not None


def _clock_of(tx: Transaction, body: dict[str, Any]) -> str | None:
    if body.get("deleted"):
        return None
    if body["object"] == KIND:
        return str(body["id"])
    clock_id = body.get("test_clock")
    if clock_id is not None:
        return str(clock_id)
    if body["object"] == "subscription_item":
        subscription = tx.find(body["subscription"])
        return _clock_of(tx, subscription) if subscription is not None else None
    return _clock_of_customer(tx, body.get("customer"))


def _clock_of_customer(tx: Transaction, customer_id: str | None) -> str | None:
    customer = tx.find(customer_id) if customer_id else None
    if customer is None or customer["object"] != "customer":
        return None
    clock_id: str | None = customer.get("test_clock")
    return clock_id


def new(tx: Transaction, frozen_time: int, name: str | None) -> dict[str, Any]:
    """A new clock that stands at `frozen_time`, stored."""
    clock: dict[str, Any] = {
        "id": new_id("clock"),
        "object": KIND,
        "created": tx.now,
        "deletes_after": tx.now + KEPT_SECONDS,
        "frozen_time": frozen_time,
        "livemode": False,
        "name": name,
        "status": "ready",
        "status_details": {},
    }
    records.insert(tx, clock)
    tx.store.schedule(tx, clock["deletes_after"], "clock.delete", clock["id"])
    events.emit(tx, f"{KIND}.created", clock)
    return clock


def customers_of(tx: Transaction, clock_id: str) -> list[dict[str, Any]]:
    """The customers that live on a clock, oldest first."""
    rows = tx.execute(
        "SELECT id FROM objects WHERE object = 'customer' AND deleted = 0"
        " AND body ->> '$.test_clock' = ? ORDER BY seq",
        (clock_id,),
    ).fetchall()
    return [records.get(tx, "customer", row[0]) for row in rows]


def for_customer(tx: Transaction, params: Params) -> str | None:
    """The clock that a new customer is to live on. Raises StripeError for one that is full."""
    clock_id = params.text("test_clock")
    if clock_id is None:
        return None
    records.get(tx, KIND, clock_id, param="test_clock", word="test clock")
    check_room(tx, clock_id, "test_clock")
    return clock_id


def check_room(tx: Transaction, clock_id: str, param: str) -> None:
    """Raise StripeError when no more customers go on the clock."""
    if len(customers_of(tx, clock_id)) >= MAX_CUSTOMERS:
        raise StripeError(
            f"You have reached the limit of {MAX_CUSTOMERS} customers for the test clock "
            f"{clock_id}.",
            param=param,
        )


def start(tx: Transaction, clock: dict[str, Any], until: int) -> None:
    """Have the clock go on to `until`; what is due on the way happens after this transaction."""
    clock["status"] = "advancing"
    clock["status_details"] = {"advancing": {"target_frozen_time": until}}
    records.replace(tx, clock)
    events.emit(tx, f"{KIND}.advancing", clock)
    tx.store.schedule(tx, tx.now, "clock.advance", clock["id"])


def step(tx: Transaction, clock_id: str) -> tuple[str, str] | None:
    """The next thing that happens on an advancing clock, as (kind, reference).

    The transaction lives in its moment then, and the next step is scheduled. None when there is
    nothing more on the way: the clock has come to where it was to go.
    """
    clock = tx.find(clock_id)
    if clock is None or clock.get("status") != "advancing":
        return None
    until = clock["status_details"]["advancing"]["target_frozen_time"]
    due = tx.now
    claimed = tx.store.claim_clock_timer(tx, clock_id, until)
    if claimed is None:
        clock.update(frozen_time=until, status="ready", status_details={})
        records.replace(tx, clock)
        events.emit(tx, f"{KIND}.ready", clock)
        return None
    moment, tx.now, tx.clock = max(tx.now, clock["frozen_time"]), due, None
    tx.store.schedule(tx, due, "clock.advance", clock_id)
    tx.now, tx.clock = moment, clock_id
    return claimed


def forget(tx: Transaction, clock_id: str) -> None:
    """Drop what was to happen on a clock that is no more."""
    tx.execute("DELETE FROM clock_timers WHERE clock = ?", (clock_id,))
