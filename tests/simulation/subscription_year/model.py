"""What is right at each moment of the year, reckoned in plain Python from the script alone.

Follows the rules, not the code: periods, invoices, prorations, tries, what was paid for and what
is left of it. Times are whole seconds since 1970.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from simulation.subscription_year.accounts import (
    Account,
    Invoice,
    Line,
    Pool,
    Subscription,
    months_later,
    part,
)
from simulation.subscription_year.catalogue import DEAR_MINOR, PLANS

DAY = 24 * 3600
GRACE = 3 * DAY
FINALIZED = 3600
TRIES = (3 * DAY, 5 * DAY)


class Model:
    """The customers' accounts, brought forward in time by `to` and changed by what people do."""

    def __init__(self) -> None:
        self.accounts: dict[str, Account] = {}
        self.prices = {key: plan.month_minor for key, plan in PLANS.items()}

    def to(self, now: int) -> None:
        """Let everything happen by itself that happens until then."""
        for account in self.accounts.values():
            for sub in account.subscriptions:
                while due := [one for one in sub.moments if one[0] <= now]:
                    moment = min(due)
                    sub.moments.remove(moment)
                    getattr(self, f"_{moment[1]}")(sub, moment[0])
                sub.expire(now)

    # What people do.

    def subscribe(self, who: str, wanted: dict[str, Any], told: dict[str, Any]) -> Subscription:
        """Somebody begins; `told` is when, as the provider has it, and the coupon's figures."""
        account = self.accounts.setdefault(who, Account())
        plan = PLANS[wanted["plan"]]
        months = 12 if wanted.get("interval") == "year" else 1
        price = plan.year_minor if months == 12 else self.prices[plan.key]
        start = told["start"]
        sub = Subscription(
            plan,
            price,
            wanted.get("quantity", 1),
            anchor=start,
            start=start,
            end=months_later(start, months),
            months=months,
            card=None if wanted.get("card", "") is None else "good",
            percent=told.get("percent", 0),
            percent_until=told.get("percent_until"),
        )
        account.subscriptions.append(sub)
        kind = told.get("kind", "checkout")
        if plan.trial_credits:
            sub.status, sub.end = "trialing", told["trial_end"]
            sub.trial_pool = Pool(sub.end, plan.trial_credits)
            line = Line(0, None, sub.quantity, start, sub.end)
            sub.invoices.append(Invoice("create", [line], 0, "paid", payment_kind=kind))
            sub.moments.append((sub.end, "renew"))
            return sub
        sub.moments.append((sub.end, "renew"))
        self._draw(sub, "create", [sub.period_line], start).payment_kind = kind
        self._collect(sub, start)
        return sub

    def change(self, who: str, wanted: dict[str, Any], at: int) -> None:
        """Another plan or quantity from `at` on; fewer credits are always settled at once."""
        account = self.accounts[who]
        sub = account.subscriptions[-1]
        before = sub.plan.credits * sub.quantity
        proration = wanted.get("proration", "create_prorations")
        if "plan" in wanted:
            sub.plan, sub.price = PLANS[wanted["plan"]], self.prices[wanted["plan"]]
        sub.quantity = wanted.get("quantity", sub.quantity)
        if proration == "none":
            return
        lines = [_credit(old, at) for old in sub.charges if old.amount > 0]
        whole = sub.period_line
        amount = part(whole.amount, whole.left(at))
        lines.append(Line(amount, sub.plan, sub.quantity, at, sub.end, proration=True))
        sub.charges = [lines[-1]]
        sub.waiting += lines
        if proration == "always_invoice" or sub.plan.credits * sub.quantity < before:
            self._draw(sub, "update", sub.waiting, at)
            sub.waiting = []
            self._collect(sub, at)
            account.owed += self._lower(sub)

    def steer(self, who: str, wanted: dict[str, Any], at: int) -> None:
        """Cancel, cancel_now, resume, pause or unpause the latest subscription."""
        sub, kind = self.accounts[who].subscriptions[-1], wanted["kind"]
        if kind in ("cancel", "resume"):
            sub.cancels = kind == "cancel" and not sub.ended
        elif kind == "cancel_now":
            self._end(sub)
        else:
            sub.status = "paused" if kind == "pause" else "active"
        if kind == "unpause" and wanted["at"] == "shop" and at < sub.forgone_until:
            self._begin_anew(sub, at)
        self._move_end(sub, at)

    def _begin_anew(self, sub: Subscription, at: int) -> None:
        """Go on after a pause that went over a renewal: a period begins, and is paid."""
        sub.forgone_until = 0
        sub.anchor = sub.start = at
        sub.end = months_later(at, sub.months)
        sub.moments.append((sub.end, "renew"))
        sub.charges = [sub.period_line]
        self._draw(sub, "update", sub.charges, at)
        self._collect(sub, at)

    def raise_price(self) -> None:
        """The plan `saver` costs more from now on; who has it pays on as before."""
        self.prices["saver"] = DEAR_MINOR

    def card(self, who: str, method: str) -> None:
        good = method == "pm_card_visa"
        self.accounts[who].subscriptions[-1].card = "good" if good else "bad"

    def use(self, who: str, amount: int) -> None:
        """Use credits, those first that end first."""
        for pool in sorted(self._pools(who), key=lambda pool: pool.ends_at):
            taken = min(pool.left, amount)
            pool.left -= taken
            amount -= taken

    def refund(self, who: str, number: int, amount: int | None) -> None:
        """Give back money of an invoice; its share of the credits goes, used ones are owed."""
        account = self.accounts[who]
        invoice = account.subscriptions[0].invoices[number]
        self._give_back(account, invoice, amount or invoice.paid - invoice.refunded)

    def duplicate(self, who: str, told: dict[str, Any]) -> None:
        """A second one is found: its money goes back, and it ends."""
        sub = self.subscribe(who, {"plan": "basic"}, {**told, "kind": "invoice"})
        self._give_back(self.accounts[who], sub.invoices[0], sub.invoices[0].paid)
        self._end(sub)
        self.accounts[who].subscriptions.sort(key=lambda one: not one.ended)

    def spendable(self, who: str) -> int:
        return sum(pool.left for pool in self._pools(who)) if who in self.accounts else 0

    def features(self, who: str, now: int) -> set[str]:
        """What the plans that run allow; one that owes keeps its own for a grace."""
        found: set[str] = set()
        for sub in self.accounts[who].subscriptions:
            runs = sub.status in ("trialing", "active", "past_due")
            late = sub.owed_since is not None and sub.owed_since + GRACE <= now
            forgone = now < sub.forgone_until
            found |= sub.plan.features if runs and not late and not forgone else set()
        return found

    def shown(self, who: str, now: int) -> dict[str, Any]:
        """What is to be seen of a customer."""
        account = self.accounts[who]
        invoices = [i for sub in account.subscriptions for i in sub.invoices]
        return {
            "subscriptions": sorted(sub.shown for sub in account.subscriptions),
            "invoices": sorted(invoice.shown for invoice in invoices),
            "payments": sorted(i.payment for i in invoices if i.payment),
            "credits": self.spendable(who),
            "owed": account.owed,
            "features": self.features(who, now),
        }

    # What happens by itself.

    def _pools(self, who: str) -> Iterator[Pool]:
        for sub in self.accounts[who].subscriptions:
            yield from (pool for pool in sub.all_pools if not pool.closed)

    def _renew(self, sub: Subscription, at: int) -> None:
        if sub.ended or at != sub.end:
            return
        if sub.cancels or (sub.status == "trialing" and sub.card is None):
            self._end(sub)
            return
        if sub.status == "trialing":
            sub.anchor, sub.status = at, "active"
        times = 1
        while months_later(sub.anchor, times * sub.months) <= at:
            times += 1
        sub.start, sub.end = at, months_later(sub.anchor, times * sub.months)
        sub.moments.append((sub.end, "renew"))
        invoice = self._draw(sub, "cycle", [sub.period_line, *sub.waiting], at)
        sub.waiting = []
        if sub.status == "paused":
            invoice.status = "void"
            sub.charges, sub.forgone_until = [], sub.end
        else:
            sub.moments.append((at + FINALIZED, "collect"))

    def _draw(self, sub: Subscription, reason: str, lines: list[Line], at: int) -> Invoice:
        total = sum(line.amount - sub.discount(line, at) for line in lines) - sub.balance
        sub.balance = max(0, -total)
        invoice = Invoice(reason, lines, max(0, total))
        sub.invoices.append(invoice)
        if reason != "update":
            sub.charges = [line for line in lines if not line.proration]
        return invoice

    def _collect(self, sub: Subscription, at: int) -> None:
        invoice = sub.invoices[-1]
        if sub.ended or invoice.status not in ("draft", "open"):
            return
        invoice.attempts += invoice.due > 0
        if invoice.due == 0 or sub.card == "good":
            invoice.status, invoice.paid = "paid", invoice.due
            sub.owed_since = None
            sub.status = "active"
            self._allow(sub, invoice, at)
            return
        invoice.status, sub.status, sub.owed_since = "open", "past_due", sub.start
        if invoice.attempts > len(TRIES):
            self._end(sub)
        else:
            sub.moments.append((at + TRIES[invoice.attempts - 1], "collect"))

    def _allow(self, sub: Subscription, invoice: Invoice, at: int) -> None:
        """Give what was paid for: the greatest of each period, once."""
        for line in invoice.lines:
            if line.of is not None:
                line.of.until = line.start
        # The new period's line first: what is paid late for one that is over goes into it.
        for line in sorted(invoice.lines, key=lambda line: -line.end):
            if line.plan is None or line.of is not None:
                continue
            if sub.months == 12 and not line.plan.at_once:
                months = [months_later(line.end, -left) for left in reversed(range(12))]
                starts = [line.start, *months[:-1]]
                for start, end in zip(starts, months, strict=True):
                    sub.months_due.append((start, end, line.credits, invoice))
                    sub.moments.append((start, "month"))
                self._month(sub, at)
            else:
                self._raise(sub, line.end, _paid_for(sub, line.end), invoice, at)

    def _month(self, sub: Subscription, at: int) -> None:
        for one in [one for one in sub.months_due if one[0] <= at and not sub.ended]:
            sub.months_due.remove(one)
            _, end, target, invoice = one
            self._raise(sub, end, target, invoice, at)

    def _raise(self, sub: Subscription, end: int, target: int, invoice: Invoice, at: int) -> None:
        """Raise what a period is to have brought; what comes too late goes into the next one."""
        more = target - sub.got.get(end, 0)
        sub.got[end] = max(target, sub.got.get(end, 0))
        current = max(sub.pools, default=0)
        if end > current:
            new = sub.pools[end] = Pool(end)
            old = sub.pools.get(current)
            if old is not None:
                sub.expire(at)
                old.close()
                new.left += min(old.ended, sub.plan.rollover)
            current = end
        if more > 0:
            pool = sub.pools[current if end <= at else end]
            pool.left += more
            invoice.brought.append((pool, more))
        self._move_end(sub, at)

    def _lower(self, sub: Subscription) -> int:
        """Take back what the running period got and was credited since; returns what is owed."""
        pool, target = sub.pools[sub.end], _paid_for(sub, sub.end)
        over = max(0, sub.got[sub.end] - target)
        sub.got[sub.end] -= over
        there = min(pool.left, over)
        pool.left -= there
        return over - there

    def _move_end(self, sub: Subscription, at: int) -> None:
        """When the latest allowance ends: with its period, and later while more is to come."""
        if not sub.pools:
            return
        end, pool = max(sub.pools.items())
        sub.expire(at)
        if pool.closed:
            return
        goes_on = sub.status in ("active", "past_due") and not sub.cancels
        paid_on = any(one[0] == end for one in sub.months_due)
        pool.ends_at = end + (GRACE if goes_on and not paid_on else 0)
        sub.expire(at)

    def _end(self, sub: Subscription) -> None:
        sub.status, sub.owed_since = "canceled", None
        for pool in sub.all_pools:
            pool.close()

    def _give_back(self, account: Account, invoice: Invoice, amount: int) -> None:
        invoice.refunded += amount
        given = sum(more for _, more in invoice.brought)
        target = -(-given * invoice.refunded // invoice.paid)
        [pool] = [pool for pool, _ in invoice.brought]
        target = min(target, given - pool.ended)
        take = target - invoice.taken
        invoice.taken = target
        there = min(pool.left, take)
        pool.left -= there
        account.owed += take - there


def _credit(old: Line, at: int) -> Line:
    """What is left of a charge, given back."""
    back = -part(old.amount, old.left(at))
    return Line(back, old.plan, old.quantity, at, old.end, proration=True, of=old)


def _paid_for(sub: Subscription, end: int) -> int:
    """The greatest allowance that was paid for in the period of that end."""
    paid = [line for invoice in sub.invoices if invoice.status == "paid" for line in invoice.lines]
    return max((line.credits for line in paid if line.end == end), default=0)
