"""Money that Bursar did not ask for: whose it is, what it bought, the payment it becomes.

A purchase by link, or made at the provider. Its owner is who the provider's customer belongs to,
else the one user with that verified address. What it bought is what its link promised, else it is
told by its price ids, as the catalogue sells them now. Where no owner is found it waits in a case,
which closes itself once one is. It posts no credits: settle does, from the payment's row.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import uuid4

import asyncpg

from bursar.billing import cases, customers, payments, promises, provider_customers, rights
from bursar.billing.payment_facts import Row
from bursar.billing.payments import Intent
from bursar.billing.promises import Sold
from bursar.db.connections import Connection
from bursar.messages import timers
from bursar.money import AMOUNT_MAX, format_money
from bursar.providers.port import PaymentFacts, Totals

MATCHED = "It was matched to a payment by itself."
MATCH_TIMER = "case.match"
LOOK_ONCE_MORE = timedelta(minutes=1)


class Raced(asyncpg.SerializationError):
    """Another transaction recorded the same money just now: begin anew, and find it."""


@dataclass(frozen=True, slots=True)
class Owner:
    """Whose money it is: the account, and the person if it is one's own."""

    customer_id: int
    user_id: str | None


@dataclass(frozen=True, slots=True)
class Thing:
    """One purchase, with all facts that were told of it: its session, its intent, its charge."""

    facts: tuple[PaymentFacts, ...]

    @property
    def reference(self) -> str:
        """Its name among the cases. The intent is what session, intent and charge share."""
        intent, charge = self.first("payment_intent_id"), self.first("charge_id")
        thing = f"intent:{intent}" if intent else f"charge:{charge}" if charge else ""
        return f"{self.facts[0].provider}:{thing or 'session:' + str(self.first('session_id'))}"

    @property
    def taken_minor(self) -> int:
        """What was taken, in minor units."""
        return max(money(fact) for fact in self.facts)

    @property
    def totals(self) -> Totals | None:
        return next((f.totals for f in self.facts if f.totals and f.state == "completed"), None)

    def first(self, name: str) -> Any:
        """The first that is told of a field."""
        return next((getattr(f, name) for f in self.facts if getattr(f, name) is not None), None)


def money(fact: PaymentFacts) -> int:
    """What a fact says was taken, in minor units; 0 when it says nothing of that."""
    if fact.state != "completed":
        return fact.captured_minor or 0
    return fact.captured_minor or fact.amount_minor or 0


def things(strays: Sequence[PaymentFacts]) -> list[Thing]:
    """Facts that fit no payment of ours, by what they are about, where money was taken."""
    # Sessions first: they say most.
    ordered = sorted(strays, key=lambda fact: fact.session_id is None)
    grouped: dict[str, list[PaymentFacts]] = {}
    for fact in ordered:
        grouped.setdefault(Thing((fact,)).reference, []).append(fact)
    found = [Thing(tuple(facts)) for facts in grouped.values()]
    return [thing for thing in found if thing.taken_minor]


async def adopt(conn: Connection, found: Sequence[Thing], *, at: datetime) -> int:
    """Record those whose owner can be told; returns how many. Settle the same facts again then.

    Raises Raced, which has the transaction begin anew.
    """
    adopted = 0
    for thing in found:
        owner = await _owner(conn, thing) if _is_certain(thing) else None
        if owner is None:
            continue
        # Who resolves its case by hand just now goes first, or second.
        if await cases.find_waiting(conn, "unmatched", thing.reference) is None:
            case = await cases.find_case(conn, "unmatched", thing.reference)
            if case is not None and case.state != "open":
                # A person has ended it: nobody is given anything for it any more.
                continue
        await record(conn, thing, owner, at=at)
        adopted += 1
    return adopted


async def record(conn: Connection, thing: Thing, owner: Owner, *, at: datetime) -> int:
    """Make a payment of a thing, for settle to merge its facts into; returns its id.

    Raises Raced when somebody did so just now.
    """
    first = thing.facts[0]
    currency = thing.first("currency") or "usd"
    snapshot = await _snapshot(conn, thing, currency)
    intent = Intent(
        customer_id=owner.customer_id,
        reference=uuid4(),
        user_id=owner.user_id,
        provider=first.provider,
        kind="link" if thing.first("link_id") else "external",
        amount_minor=min(AMOUNT_MAX, snapshot["subtotal_minor"]),
        currency=currency,
        unit=snapshot["unit"],
        credits=snapshot["credits"],
        snapshot=snapshot,
        request={},
        description=None,
        metadata={},
        opening="open",
    )
    payment_id = await payments.begin(conn, intent, at=at)
    refs = {
        "session": thing.first("session_id"),
        "intent": thing.first("payment_intent_id"),
        "charge": thing.first("charge_id"),
    }
    await payments.add_refs(conn, first.provider, refs, owner.customer_id, payment_id)
    for kind, ref in refs.items():
        if ref and await payments.find_target(conn, first.provider, kind, ref) != payment_id:
            raise Raced(f"{kind} {ref} is another payment's")
    return payment_id


async def wait(conn: Connection, found: Sequence[Thing], *, at: datetime) -> None:
    """Open a case for each thing whose owner is not known, and look once more soon: somebody may
    be verifying the buyer's address in a transaction that is not seen from here yet."""
    await cases.open_cases(conn, [unmatched(thing) for thing in found], at=at)
    for thing in found:
        if _is_certain(thing) and thing.first("email"):
            due_at = at + LOOK_ONCE_MORE
            await timers.schedule(conn, MATCH_TIMER, thing.reference, due_at=due_at, at=at)


async def close_cases(conn: Connection, rows: Sequence[Row], *, at: datetime) -> None:
    """Close the cases of money that belongs to these payments after all."""
    for row in rows:
        if row.state != "completed":
            continue
        named = {
            "intent": row.payment_intent_id,
            "session": row.session_id,
            "charge": row.facts.get("charge_id"),
        }
        references = [f"{row.provider}:{kind}:{ref}" for kind, ref in named.items() if ref]
        await cases.close(
            conn,
            "unmatched",
            references,
            MATCHED,
            customer_id=row.customer_id,
            payment_id=row.id,
            at=at,
        )


def unmatched(thing: Thing) -> cases.Opening:
    """The case in which a thing waits, with everything that is known of it."""
    provider, currency = thing.facts[0].provider, thing.first("currency")
    paid = format_money(thing.taken_minor, currency or "usd")
    totals = thing.totals
    return cases.Opening(
        kind="unmatched",
        reference=thing.reference,
        amount_minor=thing.taken_minor,
        currency=currency,
        summary=f"{paid} was paid at {provider}, but not for a payment that Bursar began.",
        detail={
            "provider": provider,
            "reference": thing.first("reference"),
            "session_id": thing.first("session_id"),
            "payment_intent_id": thing.first("payment_intent_id"),
            "charge_id": thing.first("charge_id"),
            "provider_customer_id": thing.first("provider_customer_id"),
            "email": thing.first("email"),
            "link_id": thing.first("link_id"),
            "lines": [[line.price_id, line.quantity] for line in totals.lines] if totals else None,
        },
    )


def _is_certain(thing: Thing) -> bool:
    """Whether the provider itself has told enough to make a payment of it.

    What carries a reference of ours and is not that payment's is left to a person. Of a session
    the lines must be known, which only the provider's own answer has.
    """
    if thing.first("reference") is not None:
        return False
    return thing.first("session_id") is None or thing.totals is not None


async def _owner(conn: Connection, thing: Thing) -> Owner | None:
    provider = thing.facts[0].provider
    for fact in thing.facts:
        if fact.provider_customer_id is None:
            continue
        found = await provider_customers.find_owner(conn, provider, fact.provider_customer_id)
        if found is not None:
            return Owner(found, await customers.find_person(conn, found))
    email = thing.first("email")
    user = await customers.find_by_email(conn, email) if email else None
    return Owner(user.customer_id, user.id) if user else None


async def _snapshot(conn: Connection, thing: Thing, currency: str) -> dict[str, Any]:
    """What the prices that were paid sell. Lines that are not ours are left out, so that the
    payment is held against less than what was paid, and a person sees it."""
    totals = thing.totals
    lines = totals.lines if totals else ()
    sold = await _sold(conn, thing, [line.price_id or "" for line in lines])
    bought = [(sold[line.price_id], line.quantity) for line in lines if line.price_id in sold]
    units = {(pack.unit, pack.currency) for pack, _ in bought}
    credits = sum(pack.credits * quantity for pack, quantity in bought)
    whole = (
        len(bought) == len(lines)
        and {sold_in for _, sold_in in units} == {currency}
        and len(units) == 1
        and credits <= AMOUNT_MAX
    )
    chosen = bought if whole else []
    return {
        "name": ", ".join(_name(pack.name, quantity) for pack, quantity in chosen) or None,
        "unit": chosen[0][0].unit if chosen else None,
        "credits": credits if whole else 0,
        "currency": currency,
        "subtotal_minor": sum(pack.amount_minor * quantity for pack, quantity in chosen)
        if whole
        else thing.taken_minor,
        # Nobody but the shop makes its coupons, and nobody but the shop says how much is taken.
        "discount_minor": totals.discount_minor if totals else 0,
        "capture_method": "manual",
        "lines": [{"price_id": pack.price_id, "quantity": quantity} for pack, quantity in chosen],
        "rights": rights.as_json([right for pack, _ in chosen for right in pack.rights]),
    }


async def _sold(conn: Connection, thing: Thing, price_ids: Sequence[str]) -> dict[str, Sold]:
    """What the prices bring, by price id: as a link of ours promised, else as the catalogue says.

    A link whose promise is not known sells nothing that could be told.
    """
    provider, link_id = thing.facts[0].provider, thing.first("link_id")
    sold = await promises.list_sold(conn, provider, price_ids)
    promise = await promises.find(conn, provider, link_id) if link_id else None
    if promise is not None:
        sold.pop(promise.price_id, None)
        if promise.sold is not None:
            sold[promise.price_id] = promise.sold
    return sold


def _name(name: str, quantity: int) -> str:
    return f"{name} × {quantity}" if quantity > 1 else name
