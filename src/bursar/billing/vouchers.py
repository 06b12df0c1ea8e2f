"""Vouchers: codes that give credits, to everybody or to one user, once for each user.

Owns vouchers and voucher_uses. Decides who may redeem what, and when; the ledger gives the credits.
The count moves in one conditional update, whose row lock lets the redeemers of one voucher in one
by one; count, use and credits stand or fall together. A voucher gives credits; what lowers a price
is a coupon, and that is a provider's.
"""

from __future__ import annotations

import re
import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta

from bursar import errors, failpoints
from bursar.billing import expiry
from bursar.db import Connection
from bursar.ledger import entries
from bursar.ledger.entries import Cause, Posting

ALPHABET = "23456789ABCDEFGHJKLMNPQRSTUVWXYZ"
"""For codes that we make: no 0, 1, I and O, which people take for one another."""
GROUPS, GROUP_LENGTH = 4, 4
NAME = re.compile(r"[A-Z0-9]{1,40}", re.ASCII)
# What people put between the groups of a code, and what mail programs make of it.
BETWEEN = re.compile(r"[\s\-\u2010-\u2015\u2212]")

FIELDS = """id, code, unit, credits, uses_max, uses, user_id, starts_at, ends_at, credits_days,
    description, active, created_at"""

CREATE = f"""
insert into vouchers (code, unit, credits, uses_max, user_id, starts_at, ends_at, credits_days,
    description, created_at)
values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
on conflict (replace(code, '-', '')) do nothing
returning {FIELDS}
"""  # noqa: S608 - FIELDS is a constant above

LIST = f"""
select {FIELDS} from vouchers where $1::bigint is null or id < $1 order by id desc limit $2
"""  # noqa: S608 - likewise

GET = f"select {FIELDS} from vouchers where id = $1"  # noqa: S608 - likewise

FIND = f"""
select {FIELDS} from vouchers where replace(code, '-', '') = $1
"""  # noqa: S608 - likewise

END = "update vouchers set active = false where id = $1 and active returning id"

TAKE = f"""
update vouchers set uses = uses + 1
where id = $1 and active and (user_id is null or user_id = $2)
    and (uses_max is null or uses < uses_max)
    and (starts_at is null or starts_at <= $3) and (ends_at is null or ends_at > $3)
returning {FIELDS}
"""  # noqa: S608 - likewise

IS_USED = "select true from voucher_uses where voucher_id = $1 and user_id = $2"

FIND_USE = """
select v.unit, v.credits, u.created_at + make_interval(days => v.credits_days) as expires_at
from voucher_uses u join vouchers v on v.id = u.voucher_id
where u.voucher_id = $1 and u.user_id = $2
"""

USE = """
insert into voucher_uses (voucher_id, user_id, customer_id, posting_id, created_at)
values ($1, $2, $3, $4, $5)
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class NewVoucher:
    """A voucher to make: `credits` smallest parts of `unit` for each who redeems it.

    Without a code one is made. `credits_days`: how long the credits last once they are there.
    """

    unit: str
    credits: int
    code: str | None = None
    uses_max: int | None = None
    user_id: str | None = None
    starts_at: datetime | None = None
    ends_at: datetime | None = None
    credits_days: int | None = None
    description: str | None = None


@dataclass(frozen=True, slots=True)
class Voucher:
    """A voucher as it stands."""

    id: int
    code: str
    unit: str
    credits: int
    uses_max: int | None
    uses: int
    user_id: str | None
    starts_at: datetime | None
    ends_at: datetime | None
    credits_days: int | None
    description: str | None
    active: bool
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Redeemed:
    """What a user got, when it ends, and the spendable balance after it."""

    voucher: Voucher
    transaction_id: int
    expires_at: datetime | None
    balance: int


@dataclass(frozen=True, slots=True)
class Use:
    """What a user got by a voucher, and when it ends or ended."""

    unit: str
    credits: int
    expires_at: datetime | None


def make_code() -> str:
    """A code that nobody guesses: 80 random bits, in groups for the eye."""
    letters = [secrets.choice(ALPHABET) for _ in range(GROUPS * GROUP_LENGTH)]
    groups = ["".join(letters[n : n + GROUP_LENGTH]) for n in range(0, len(letters), GROUP_LENGTH)]
    return "-".join(groups)


def read_code(typed: str) -> str:
    """A typed code as codes are compared: upper case, without spaces and dashes."""
    return BETWEEN.sub("", typed).upper()


async def create(conn: Connection, wanted: NewVoucher, *, at: datetime) -> Voucher:
    """Make a voucher; its unit and its user are there. Raises errors.VoucherExists."""
    row = await conn.fetchrow(
        CREATE,
        wanted.code or make_code(),
        wanted.unit,
        wanted.credits,
        wanted.uses_max,
        wanted.user_id,
        wanted.starts_at,
        wanted.ends_at,
        wanted.credits_days,
        wanted.description,
        at,
    )
    if row is None:
        raise errors.VoucherExists(
            "Another voucher has this code. Choose another, or leave it out and one is made."
        )
    return Voucher(**dict(row))


async def list_vouchers(conn: Connection, *, before: int | None, limit: int) -> list[Voucher]:
    """Vouchers newest first, from the one below id `before` on."""
    return [Voucher(**dict(row)) for row in await conn.fetch(LIST, before, limit)]


async def get_voucher(conn: Connection, voucher_id: int) -> Voucher:
    """Raises NotFound."""
    row = await conn.fetchrow(GET, voucher_id)
    if row is None:
        raise errors.NotFound("There is no such voucher.")
    return Voucher(**dict(row))


async def end(conn: Connection, voucher_id: int) -> bool:
    """End a voucher for good; what it gave stays. False when it had ended before.

    Raises NotFound.
    """
    if await conn.fetchval(END, voucher_id) is not None:
        return True
    await get_voucher(conn, voucher_id)
    return False


async def redeem(
    conn: Connection, typed: str, *, user_id: str, customer_id: int, at: datetime
) -> Redeemed:
    """Give the voucher's credits to a customer, for a user who belongs to it.

    Raises NotFound, alike for a code that is unknown, ended or meant for somebody else,
    VoucherRedeemed, VoucherNotValid and VoucherUsedUp; the transaction is then to be undone.
    """
    code = read_code(typed)
    found = await conn.fetchrow(FIND, code) if NAME.fullmatch(code) else None
    if found is None:
        raise _unknown()
    row = await conn.fetchrow(TAKE, found["id"], user_id, at)
    if row is None:
        raise await _refusal(conn, found["id"], user_id, at=at)
    voucher = Voucher(**dict(row))
    # The row is ours until the end: whoever used it before has committed, and none comes between.
    if await conn.fetchval(IS_USED, voucher.id, user_id):
        raise _redeemed()
    failpoints.reach("vouchers.after_count")
    return await _give(conn, voucher, user_id, customer_id, at=at)


async def find_use(conn: Connection, voucher_id: int, user_id: str) -> Use | None:
    """What this user got by a voucher; None when they never redeemed it."""
    row = await conn.fetchrow(FIND_USE, voucher_id, user_id)
    return Use(**dict(row)) if row else None


async def _give(
    conn: Connection, voucher: Voucher, user_id: str, customer_id: int, *, at: datetime
) -> Redeemed:
    cause = Cause("voucher", f"{voucher.id}:{user_id}", "grant")
    days = voucher.credits_days
    expires_at = at + timedelta(days=days) if days else None
    posting = Posting(
        customer_id=customer_id,
        unit=voucher.unit,
        type="bonus",
        amount=voucher.credits,
        pool="bonus",
        # Credits with an end of their own never lie together with others.
        source=f"voucher:{cause.id}" if days else "",
        expires_at=expires_at,
        cause=cause,
        description=voucher.description or f"Voucher {voucher.code}",
    )
    [posted] = await entries.post(conn, [posting], at=at)
    if posted.outcome != "posted" or posted.posting_id is None:
        raise _redeemed()
    await conn.execute(USE, voucher.id, user_id, customer_id, posted.posting_id, at)
    if expires_at is not None:
        account = expiry.Account(customer_id, voucher.unit, "bonus", posting.source)
        await expiry.schedule(conn, account, ends_at=expires_at, at=at)
    failpoints.reach("vouchers.after_use")
    return Redeemed(voucher, posted.posting_id, expires_at, posted.balance)


async def _refusal(
    conn: Connection, voucher_id: int, user_id: str, *, at: datetime
) -> errors.Error:
    """Why a voucher gave nothing to this user."""
    voucher = await get_voucher(conn, voucher_id)
    if not voucher.active or voucher.user_id not in (None, user_id):
        return _unknown()
    if await conn.fetchval(IS_USED, voucher.id, user_id):
        return _redeemed()
    if voucher.starts_at is not None and voucher.starts_at > at:
        return errors.VoucherNotValid(
            f"This voucher is valid from {voucher.starts_at:%Y-%m-%d %H:%M} UTC. Come back then."
        )
    if voucher.ends_at is not None and voucher.ends_at <= at:
        return errors.VoucherNotValid(
            f"This voucher was valid until {voucher.ends_at:%Y-%m-%d %H:%M} UTC."
        )
    return errors.VoucherUsedUp("This voucher was redeemed as often as it can be.")


def _unknown() -> errors.NotFound:
    return errors.NotFound("There is no such voucher. Check the code and type it again.")


def _redeemed() -> errors.VoucherRedeemed:
    return errors.VoucherRedeemed("You have redeemed this voucher before; it works once for you.")
