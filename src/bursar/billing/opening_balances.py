"""Opening balances: what users had in the system before, brought over from a CSV file.

Owns the file's format and the causes: the old system's reference is the cause, so each balance
comes over once, however often and after whatever crash the file is read. Nothing is posted of a
file that has a bad line.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from hashlib import sha256
from typing import Literal

from bursar import errors, failpoints
from bursar.access import audit_log
from bursar.billing import customers
from bursar.billing.catalog import Unit
from bursar.db import Connection, Database
from bursar.ledger import entries
from bursar.ledger.entries import Cause, Posted, Posting
from bursar.money import AMOUNT_MAX

BATCH = 500
REFERENCE_MAX = 200
EMAIL_MAX = 320
COLUMNS = ("user_id", "unit", "amount", "reference")
KNOWN_COLUMNS = (*COLUMNS, "email")

BYTE_ORDER_MARK = b"\xef\xbb\xbf"
AMOUNT = re.compile(r"([0-9]{1,15})(?:\.([0-9]{1,15}))?", re.ASCII)
EMAIL = re.compile(r"[^@\s]{1,64}@[^@\s]{1,255}")

Standing = Literal["posted", "already_there", "refused"]


@dataclass(frozen=True, slots=True)
class Balance:
    """A line of the file: `amount` smallest parts of `unit`."""

    line: int
    user_id: str
    unit: str
    amount: int
    reference: str
    email: str | None


@dataclass(frozen=True, slots=True)
class Fault:
    """What is wrong with a line."""

    line: int
    message: str


@dataclass(slots=True)
class Summary:
    """What became of a file; `posted_amounts` in smallest parts, by unit."""

    posted: int = 0
    already_there: int = 0
    refused: list[Fault] = field(default_factory=list)
    posted_amounts: dict[str, int] = field(default_factory=dict)


def read(lines: Iterable[bytes], units: Mapping[str, Unit]) -> tuple[list[Balance], list[Fault]]:
    """The balances of a CSV file with a header, and what is wrong with it, line by line.

    It is UTF-8, with or without a byte order mark, and lines end as they do anywhere.
    """
    header: list[str] | None = None
    balances: list[Balance] = []
    faults: list[Fault] = []
    references: dict[str, int] = {}
    for number, raw in enumerate(lines, 1):
        try:
            cells = _cells(raw.removeprefix(BYTE_ORDER_MARK) if number == 1 else raw)
            if header is None:
                header = _header(cells)
            elif cells:
                balance = _balance(number, header, cells, units)
                first = references.setdefault(balance.reference, number)
                if first != number:
                    raise ValueError(f"the reference {balance.reference!r} is that of line {first}")
                balances.append(balance)
        except ValueError as error:
            faults.append(Fault(number, str(error)))
            if header is None:
                # Without its header no other line means anything.
                break
    if header is None and not faults:
        faults.append(Fault(1, f"the header is missing: {','.join(COLUMNS)}"))
    return balances, faults


def _cells(raw: bytes) -> list[str]:
    """Raises ValueError for what is no line of CSV in UTF-8."""
    try:
        text = raw.decode().rstrip("\r\n")
        return next(csv.reader([text], strict=True)) if text else []
    except UnicodeDecodeError:
        raise ValueError("this is not UTF-8") from None
    except csv.Error as error:
        raise ValueError(f"this is not CSV: {error}") from None


def _header(cells: list[str]) -> list[str]:
    names = [cell.strip() for cell in cells]
    if len(cells) == 1 and ";" in cells[0]:
        raise ValueError("the columns are separated by ';'; save the file with commas")
    if missing := [name for name in COLUMNS if name not in names]:
        raise ValueError(f"the header lacks {', '.join(missing)}")
    if unknown := [name for name in names if name not in KNOWN_COLUMNS]:
        raise ValueError(f"the header has {unknown[0]!r}; it may have {', '.join(KNOWN_COLUMNS)}")
    if len(set(names)) != len(names):
        raise ValueError("the header names a column twice")
    return names


def _balance(line: int, header: list[str], cells: list[str], units: Mapping[str, Unit]) -> Balance:
    if len(cells) != len(header):
        raise ValueError(f"it has {len(cells)} columns, and the header has {len(header)}")
    row = dict(zip(header, cells, strict=True))
    try:
        customers.check_user_id(row["user_id"])
    except errors.Invalid as error:
        raise ValueError(f"user_id: {error.detail}") from None
    unit = units.get(row["unit"].strip())
    if unit is None:
        known = ", ".join(sorted(units)) or "none yet; run `bursar catalog push`"
        raise ValueError(f"there is no unit {row['unit']!r} in the catalogue ({known})")
    reference, email = row["reference"], row.get("email", "").strip()
    if not 1 <= len(reference) <= REFERENCE_MAX or not reference.isprintable():
        raise ValueError(f"a reference has 1 to {REFERENCE_MAX} printable characters")
    if email and (len(email) > EMAIL_MAX or not EMAIL.fullmatch(email) or not email.isprintable()):
        raise ValueError(f"{email!r} is no e-mail address")
    amount = _amount(row["amount"].strip(), unit)
    return Balance(line, row["user_id"], unit.name, amount, reference, email or None)


def _amount(text: str, unit: Unit) -> int:
    """Whole credits with decimals as smallest parts."""
    found = AMOUNT.fullmatch(text)
    if found is None:
        raise ValueError(f"{text!r} is no amount; write whole credits, like 1250 or 12.50")
    fraction = (found[2] or "").rstrip("0")
    if len(fraction) > unit.decimals:
        allowed = f"{unit.decimals} decimals" if unit.decimals else "no decimals"
        raise ValueError(f"{text!r}: the unit {unit.name} has {allowed}")
    parts = int(found[1] + fraction.ljust(unit.decimals, "0"))
    if not 1 <= parts <= AMOUNT_MAX:
        raise ValueError(f"{text!r} is out of bounds; leave out who has nothing")
    return parts


async def bring(
    db: Database,
    balances: Sequence[Balance],
    *,
    source: str,
    at: datetime,
    dry_run: bool = False,
    done: Callable[[int], None] = lambda _: None,
) -> Summary:
    """Post balances in batches, each with a line of the audit log in its transaction.

    `source` names the file there; `done` is told of each batch's size. A reference that stands for
    other figures already is refused, and the others stand. With `dry_run` everything is tried and
    undone.
    """
    summary = Summary()
    for start in range(0, len(balances), BATCH):
        batch = balances[start : start + BATCH]

        async def work(conn: Connection, batch: Sequence[Balance] = batch) -> list[Posted]:
            posted = await _post(conn, batch, source=source, at=at)
            if dry_run:
                raise _Tried(posted)
            return posted

        try:
            answers = await db.run(work)
        except _Tried as tried:
            answers = tried.posted
        failpoints.reach("import.after_batch")
        _count(summary, batch, answers)
        done(len(batch))
    return summary


class _Tried(Exception):
    """Undoes a batch that was only tried."""

    def __init__(self, posted: list[Posted]) -> None:
        super().__init__()
        self.posted = posted


async def _post(
    conn: Connection, batch: Sequence[Balance], *, source: str, at: datetime
) -> list[Posted]:
    emails: dict[str, str | None] = {}
    for balance in batch:
        emails[balance.user_id] = emails.get(balance.user_id) or balance.email
    ids = await customers.ensure_users(conn, emails, at=at)
    posted = await entries.post(conn, [_posting(b, ids[b.user_id]) for b in batch], at=at)
    new = [b for b, one in zip(batch, posted, strict=True) if one.outcome == "posted"]
    if new:
        detail = {
            "balances": len(new),
            "amounts": _amounts(new),
            "lines": [new[0].line, new[-1].line],
            "references": [new[0].reference, new[-1].reference],
        }
        # A file's name may hold bytes that are no text.
        subject = source.encode(errors="replace").decode()[-400:]
        await audit_log.record(conn, "command", "balances.imported", subject=subject, detail=detail)
    return posted


def _posting(balance: Balance, customer_id: int) -> Posting:
    figures = f"{balance.unit}:{balance.amount}"
    return Posting(
        customer_id=customer_id,
        unit=balance.unit,
        type="adjustment",
        amount=balance.amount,
        cause=Cause("import", balance.reference, "balance"),
        request_hash=sha256(figures.encode()).digest(),
        description="Opening balance",
    )


def _amounts(balances: Iterable[Balance]) -> dict[str, int]:
    sums: dict[str, int] = {}
    for balance in balances:
        sums[balance.unit] = sums.get(balance.unit, 0) + balance.amount
    return sums


def _count(summary: Summary, batch: Sequence[Balance], answers: Sequence[Posted]) -> None:
    for balance, answer in zip(batch, answers, strict=True):
        if answer.outcome == "posted":
            summary.posted += 1
            so_far = summary.posted_amounts.get(balance.unit, 0)
            summary.posted_amounts[balance.unit] = so_far + balance.amount
        elif answer.outcome == "repeated":
            summary.already_there += 1
        else:
            message = (
                f"the reference {balance.reference!r} was imported before with another user, unit "
                "or amount"
            )
            summary.refused.append(Fault(balance.line, message))
