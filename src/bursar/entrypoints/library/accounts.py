"""For whom a host asks, and whether what it asks can be: before any call goes on to billing.

The host acts as a service does over HTTP: it names the user, and its keys are those of a service,
so that a request which is repeated the other way still counts once.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from pydantic import BaseModel

from bursar import errors
from bursar.access.actors import Actor
from bursar.billing import customers
from bursar.billing.customers import Role, User
from bursar.entrypoints.api.bodies import model_of
from bursar.entrypoints.api.callers import IDEMPOTENCY_KEY
from bursar.wiring import Wiring

SERVICE = Actor("service", None, None)
ID_MAX = 2**63 - 1

GetWiring = Callable[[], Wiring]
"""The wiring of the process, or errors.Misconfigured when Bursar is not started."""

M = TypeVar("M", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class Account:
    """For whom something is asked: the user, the customer meant, and what the user is there."""

    user: User
    customer_id: int
    role: Role


async def find_account(wiring: Wiring, user_id: str, customer_id: int | None) -> Account:
    """The user, made on first sight, and the customer meant: a team's, or the personal one.

    Raises errors.Invalid for an id that can't be one, errors.NotFound for a team that the user
    does not belong to.
    """
    if not isinstance(user_id, str):
        raise errors.Invalid("A user id is text.")
    customers.check_user_id(user_id)
    if customer_id is not None:
        check_id("customer_id", customer_id)
    async with wiring.db.connection() as conn:
        user = await customers.ensure_user(conn, user_id, at=wiring.clock.now())
        chosen, role = await customers.customer_for(conn, user, customer_id)
    return Account(user, chosen, role)


def asked(model: type[M], **fields: object) -> M:
    """A request in the API's own words, checked as a body is. Raises errors.Invalid."""
    return model_of(model, {name: value for name, value in fields.items() if value is not None})


def check_key(key: str) -> str:
    """Raise errors.Invalid for what can't be an idempotency key."""
    if not isinstance(key, str) or not IDEMPOTENCY_KEY.fullmatch(key):
        raise errors.Invalid("`key` has 1 to 255 printable ASCII characters.")
    return key


def check_id(name: str, value: int) -> int:
    """Raise errors.Invalid for what can't be an id of ours."""
    if type(value) is not int or not 0 <= value <= ID_MAX:
        raise errors.Invalid(f"`{name}` is an id: a whole number, not negative.")
    return value
