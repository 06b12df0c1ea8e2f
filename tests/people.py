"""Users and customers for tests."""

from __future__ import annotations

from datetime import UTC, datetime

from bursar.billing import customers
from bursar.billing.customers import User
from bursar.db import Database


async def make_user(db: Database, user_id: str) -> User:
    async with db.transaction() as conn:
        return await customers.ensure_user(conn, user_id, at=datetime.now(UTC))


async def make_customer(db: Database, user_id: str) -> int:
    """The id of a new user's personal customer."""
    return (await make_user(db, user_id)).customer_id
