"""Carries a script out: each act as a person, the shop or the provider's dashboard does it.

What the provider says of when something began goes to the model; nothing else does.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from bursar.billing import cases, catalog_file, catalog_push, payments, refunds
from bursar.billing.payments import Payment
from bursar.billing.subscriptions.rows import Subscription
from bursar.ledger import entries
from bursar.ledger.entries import Cause, Posting
from simulation.subscription_year.catalogue import DEARER
from simulation.subscription_year.model import Model
from simulation.subscription_year.script import Act, Stop, later
from subscribers import Subscribers

COUPONS: dict[str, dict[str, Any]] = {
    "free": {"percent_off": 100, "duration": "repeating", "duration_in_months": 3},
    "less": {"percent_off": 20, "duration": "forever"},
}
AT_PROVIDER: dict[str, dict[str, Any]] = {
    "cancel": {"cancel_at_period_end": True},
    "resume": {"cancel_at_period_end": False},
    "pause": {"pause_collection": {"behavior": "void"}},
    "unpause": {"pause_collection": ""},
}
HOUR = 3600
MINUTE = 60


@dataclass
class Shop:
    """The real thing, and beside it the model, told of the same acts."""

    subscribers: Subscribers
    folder: Path
    model: Model = field(default_factory=Model)
    customers: dict[str, int] = field(default_factory=dict)
    first: dict[str, Payment] = field(default_factory=dict)
    uses: int = 0

    async def begin(self) -> None:
        """The coupons are made, and nothing of it is heard."""
        (self.folder / "dearer.toml").write_text(DEARER, encoding="utf-8")
        for name, fields in COUPONS.items():
            self.v1.coupons.create({"id": name, **fields})
        await self.subscribers.begin()

    @property
    def v1(self) -> Any:
        return self.subscribers.world.stripe.v1

    @property
    def now(self) -> int:
        return int(self.subscribers.clock.now().timestamp())

    async def wait(self, until: datetime) -> None:
        """Let time pass, and hear what happened meanwhile."""
        left = until - self.subscribers.clock.now()
        if left > timedelta():
            await self.subscribers.advance(step=left, seconds=left.total_seconds())

    async def act(self, act: Act) -> None:
        """Do one thing, and have the model know of it."""
        self.model.to(self.now)
        await getattr(self, f"_{act.kind}")(act)

    async def _subscribe(self, act: Act) -> None:
        wanted = dict(act.wanted)
        card = wanted.pop("card", "tok_visa")
        payment = await self.subscribers.world.open_checkout(act.who, **wanted)
        if card is None:
            await self._finish(payment)
        else:
            await self.subscribers.world.pay(payment, card)
        self.customers[act.who] = payment.customer_id
        session = self.v1.checkout.sessions.retrieve(payment.session_id)
        self.model.subscribe(act.who, act.wanted, self._told(session.subscription, act))

    async def _finish(self, payment: Payment) -> None:
        """Finish a checkout that asks for no card."""
        form = {"email": "t@example.com", "name": "T", "country": "US", "postal_code": "10001"}
        async with self.subscribers.world.http() as http:
            answer = await http.post(str(payment.session_url), data=form)
        assert answer.status_code == 303, answer.text

    def _told(self, subscription_id: str, act: Act) -> dict[str, Any]:
        """When a subscription began, and what its coupon takes off."""
        theirs = self.v1.subscriptions.retrieve(subscription_id)
        told = {"start": theirs.start_date, "trial_end": theirs.trial_end}
        coupon = COUPONS.get(act.wanted.get("coupon", ""))
        if coupon is not None:
            told["percent"] = coupon["percent_off"]
            start = datetime.fromtimestamp(theirs.start_date, UTC)
            if months := coupon.get("duration_in_months"):
                told["percent_until"] = int(later(start, months).timestamp())
        return told

    async def _change(self, act: Act) -> None:
        row = await self._row(act)
        begun = int(row.period_start.timestamp())
        # Whole hours of the period: so the cents are the same however fast this runs.
        at = self.now - (self.now - begun) % HOUR
        moment = datetime.fromtimestamp(at, UTC)
        await self.subscribers.change(row, at=moment, **act.wanted)
        self.model.change(act.who, act.wanted, at)

    async def _steer(self, act: Act) -> None:
        row, kind = await self._row(act), act.wanted["kind"]
        if row.status == "canceled":
            return
        if act.wanted["at"] == "shop":
            await self.subscribers.change(row, kind)
        elif kind == "cancel_now":
            self.v1.subscriptions.cancel(row.subscription_id)
        else:
            self.v1.subscriptions.update(row.subscription_id, AT_PROVIDER[kind])
        theirs = self.v1.subscriptions.retrieve(row.subscription_id)
        # Where a period begins anew, it does so at a second that only the provider knows.
        began = theirs.billing_cycle_anchor
        just_now = 0 <= self.now - began < MINUTE
        self.model.steer(act.who, act.wanted, began if just_now else self.now)

    async def _card(self, act: Act) -> None:
        await self.subscribers.use_card(self.customers[act.who], act.wanted["method"])
        self.model.card(act.who, act.wanted["method"])

    async def _use(self, act: Act) -> None:
        amount = int(self.model.spendable(act.who) * act.share)
        if not amount:
            return
        self.uses += 1
        posting = Posting(
            customer_id=self.customers[act.who],
            unit="page",
            type="usage",
            amount=-amount,
            cause=Cause("test", f"use {self.uses}", "use"),
        )
        async with self.subscribers.world.wiring.db.transaction() as conn:
            [made] = await entries.post(conn, [posting], at=self.subscribers.clock.now())
        assert made.outcome == "posted", f"{act.who} can't use {amount}"
        self.model.use(act.who, amount)

    async def _refund(self, act: Act) -> None:
        number, amount = act.wanted["invoice"], act.wanted["amount"]
        invoice = (await self.subscribers.invoices(self.customers[act.who]))[number]
        assert invoice.payment_id is not None
        wanted = refunds.Wanted(
            payment_id=invoice.payment_id, amount_minor=amount, requested_by="admin"
        )
        wiring = self.subscribers.world.wiring
        await refunds.request(wiring.db, wiring.provider("stripe"), wanted, clock=wiring.clock)
        self.model.refund(act.who, number, amount)

    async def _duplicate(self, act: Act) -> None:
        row = await self._row(act)
        theirs = self.v1.subscriptions.retrieve(row.subscription_id)
        await self.subscribers.use_card(row.customer_id, "pm_card_visa")
        items = [{"price": row.price_id}]
        made = self.v1.subscriptions.create({"customer": theirs.customer, "items": items})
        self.model.duplicate(act.who, self._told(made.id, act))

    async def _dearer(self, _: Act) -> None:
        """A plan's price goes up in the catalogue."""
        wiring = self.subscribers.world.wiring
        wanted = catalog_file.read(self.folder / "dearer.toml")
        await catalog_push.push(wiring.db, wiring.provider("stripe"), wanted, clock=wiring.clock)
        self.model.raise_price()

    async def _row(self, act: Act) -> Subscription:
        """The customer's subscription that lives, or lived last."""
        found: list[Subscription] = await self.subscribers.subscriptions(self.customers[act.who])
        return max(found, key=lambda row: (row.live, row.id))

    async def shown(self, who: str) -> dict[str, Any]:
        """What is to be seen of a customer, in the model's words."""
        customer_id = self.customers[who]
        async with self.subscribers.world.wiring.db.connection() as conn:
            paid = await payments.list_payments(conn, customer_id, limit=100)
        pools = await self.subscribers.pools(customer_id)
        owed, held = pools.pop("owed"), pools.pop("held")
        assert held == 0
        return {
            "subscriptions": sorted(
                _shown(row) for row in await self.subscribers.subscriptions(customer_id)
            ),
            "invoices": sorted(
                (i.reason, i.status, i.due_minor, i.paid_minor, i.attempts)
                for i in await self.subscribers.invoices(customer_id)
            ),
            "payments": sorted(
                (p.kind, p.status, p.amount_minor, p.captured_minor, p.refunded_minor) for p in paid
            ),
            "credits": pools.pop("plan"),
            "other": {name: left for name, left in pools.items() if left},
            "owed": owed,
            "features": await self.subscribers.features(customer_id),
        }

    async def expect(self, stop: Stop | None = None) -> None:
        """All customers, and the open cases, are as the model says."""
        now = self.now
        self.model.to(now)
        for who in self.customers:
            wanted = {**self.model.shown(who, now), "other": {}}
            found = await self.shown(who)
            wrong = {key: (found[key], wanted[key]) for key in wanted if found[key] != wanted[key]}
            at = stop.at if stop else "the end"
            assert wrong == {}, f"{who} at {at}: found and wanted are {wrong}"
        async with self.subscribers.world.wiring.db.connection() as conn:
            waiting = await cases.list_cases(conn, state="open", before=None, limit=100)
        assert [(case.kind, case.summary) for case in waiting] == []


def _shown(row: Subscription) -> tuple[str | None, int, str, bool, int]:
    over = row.status == "canceled"
    ends = 0 if over else int(row.period_end.timestamp())
    return row.plan, row.quantity, row.status, row.cancel_at is not None and not over, ends
