"""Payments as they should end, in plain Python, and the plans that the simulation carries out.

Money goes to payments, credits to accounts; nothing here knows of messages, tables or providers.
A plan draws the steps of a seed and does each to the model, so that each is possible when it comes.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import Any

STEPS = 14
USERS = ("ada", "bob")
STRANGER = "gus"
PACK_MINOR, PACK_CREDITS = 1000, 333
"""A pack whose credits no share of its price divides evenly."""
PERCENT = 15


@dataclass
class Account:
    """A user's credits. What is owed is paid by whatever comes in."""

    spendable: int = 0
    held: int = 0
    owed: int = 0
    verified: bool = False

    @property
    def net(self) -> int:
        return self.spendable + self.held - self.owed

    def receive(self, credits: int) -> None:
        paid = min(self.owed, credits)
        self.owed -= paid
        self.spendable += credits - paid

    def take(self, credits: int) -> None:
        there = min(self.spendable, credits)
        self.spendable -= there
        self.owed += credits - there


@dataclass
class Bought:
    """One purchase. `asked` are the credits that it brings when all of `total` is taken."""

    by: str
    total: int
    asked: int
    state: str = "completed"
    captured: int = 0
    refunded: int = 0
    disputed: int = 0
    asking: str = ""
    """How its dispute stands: `inquiry`, `open` or `lost`; empty when there is none any more."""
    escalates: bool = False
    """Whether an inquiry may become a dispute: nothing went back before it was made."""
    granted: int = 0
    taken: int = 0
    held: int = 0
    owner: str | None = None

    @property
    def left(self) -> int:
        """What can still go back."""
        return self.captured - self.refunded

    @property
    def contested(self) -> int:
        """What the bank has taken for good or for the time being."""
        return self.disputed if self.asking in ("open", "lost") else 0

    @property
    def status(self) -> str:
        if self.contested:
            return "disputed"
        if self.refunded:
            return "refunded" if self.refunded == self.captured else "partially_refunded"
        return self.state

    def due(self) -> int:
        """Credits for what was taken: all of them, or a part's share rounded down."""
        if self.state != "completed":
            return 0
        return self.asked * self.captured // self.total if self.total else self.asked

    def share(self, reversed_minor: int) -> int:
        """Credits that go with so much money, rounded up."""
        whole = self.captured or 1
        return -(-self.granted * reversed_minor // whole)

    def to_take(self) -> int:
        return self.share(self.refunded + (self.disputed if self.asking == "lost" else 0))

    def to_hold(self) -> int:
        return self.share(self.refunded + self.contested) - self.to_take()

    def shown(self) -> tuple[Any, ...]:
        """What is comparable of it, but for what is held."""
        money = self.captured, self.refunded, self.contested
        return (self.owner, self.status, *money, self.granted, self.taken)


@dataclass
class Model:
    """All accounts and purchases."""

    accounts: dict[str, Account] = field(
        default_factory=lambda: {name: Account() for name in USERS}
    )
    bought: list[Bought] = field(default_factory=list)

    def follow(self, bought: Bought) -> None:
        """Bring an owner's credits to what the purchase has come to."""
        if bought.owner is None:
            return
        account = self.accounts[bought.owner]
        account.receive(bought.due() - bought.granted)
        bought.granted = bought.due()
        # Less is held first and more last: what was held can be taken.
        free = max(0, bought.held - bought.to_hold())
        bought.held -= free
        account.held -= free
        account.receive(free)
        more = bought.to_take() - bought.taken
        bought.taken += more
        if more >= 0:
            account.take(more)
        else:
            account.receive(-more)
        kept = min(account.spendable, max(0, bought.to_hold() - bought.held))
        bought.held += kept
        account.held += kept
        account.spendable -= kept

    def pending(self, user: str) -> int:
        """Credits that open disputes of a user's purchases should hold."""
        return sum(b.to_hold() for b in self.bought if b.owner == user)

    def spare(self, user: str) -> int:
        """Credits that can be used in whatever order everything else became known."""
        return self.accounts[user].net - self.pending(user)


@dataclass(frozen=True)
class Step:
    """One thing that happens: what, whose, how much, to which purchase, and by which way."""

    kind: str
    user: str = ""
    amount: int = 0
    index: int = -1
    way: str = ""


Drawn = Step | None
# Few purchases of which much becomes: what goes back matters most.
KINDS = {
    "buy": 2,
    "order": 2,
    "link": 2,
    "verify": 1,
    "resolve": 2,
    "capture": 5,
    "cancel": 1,
    "refund": 7,
    "dispute": 3,
    "inquiry": 5,
    "decide": 6,
    "use": 3,
}


class Plan:
    """Draws the steps of a seed, doing each to the model."""

    def __init__(self, seed: int, steps: int = STEPS) -> None:
        self.chance, self.model = random.Random(seed), Model()  # noqa: S311
        self.steps: list[Step] = []
        weights = list(KINDS.values())
        while len(self.steps) < steps:
            [kind] = self.chance.choices(list(KINDS), weights)
            step: Drawn = getattr(self, kind)()
            if step is not None:
                self.steps.append(step)

    def buy(self) -> Step:
        """Bought in the shop and taken at once: a free amount or packs, perhaps with a coupon."""
        way = self.chance.choice(("", "", "", "some off", "some off", "all off"))
        return self._ask("buy", way)

    def order(self) -> Step:
        """The same, for somebody to review: the money is only held."""
        return self._ask("order", self.chance.choice(("", "some off")))

    def _ask(self, kind: str, way: str) -> Step:
        user = self.chance.choice(USERS)
        packs = self.chance.choice((0, 1, 2))
        # One credit of a free amount costs a cent.
        asked = packs * PACK_CREDITS or self.chance.randrange(500, 3000)
        price = packs * PACK_MINOR or asked
        off = {"": 0, "some off": (price * PERCENT + 50) // 100, "all off": price}[way]
        bought = Bought(user, price - off, asked, owner=user)
        if kind == "order":
            bought.state = "authorized"
        else:
            bought.captured = bought.total
        self._add(bought)
        return Step(kind, user, packs or -price, len(self.model.bought) - 1, way)

    def link(self) -> Step:
        """Bought by a link: of a guest's only the address is known, and perhaps whose it is."""
        by = self.chance.choice((*USERS, STRANGER))
        account = self.model.accounts.get(by)
        owner = by if account and account.verified else None
        self._add(Bought(by, PACK_MINOR, PACK_CREDITS, captured=PACK_MINOR, owner=owner))
        return Step("link", by, index=len(self.model.bought) - 1)

    def verify(self) -> Drawn:
        """A user verifies the address: what was bought by it is theirs."""
        user = self.chance.choice(USERS)
        waiting = [b for b in self.model.bought if b.owner is None and b.by == user]
        # Of several that come at once none may be contested: how much there is to hold depends on
        # which comes first.
        contested = len(waiting) > 1 and any(bought.contested for bought in waiting)
        if self.model.accounts[user].verified or contested:
            return None
        self.model.accounts[user].verified = True
        for bought in waiting:
            self._own(bought, user)
        return Step("verify", user)

    def resolve(self) -> Drawn:
        """Somebody gives a guest's money to a user by hand."""
        index = self._pick(lambda b: b.owner is None)
        if index is None:
            return None
        user = self.chance.choice(USERS)
        self._own(self.model.bought[index], user)
        return Step("resolve", user, index=index)

    def capture(self) -> Drawn:
        index = self._pick(lambda b: b.state == "authorized")
        if index is None:
            return None
        bought = self.model.bought[index]
        whole = self.chance.random() < 0.4
        amount = bought.total if whole else self.chance.randrange(1, bought.total + 1)
        bought.state, bought.captured = "completed", amount
        self.model.follow(bought)
        return Step("capture", bought.by, amount, index, self._way())

    def cancel(self) -> Drawn:
        index = self._pick(lambda b: b.state == "authorized")
        if index is None:
            return None
        self.model.bought[index].state = "canceled"
        return Step("cancel", index=index, way=self._way())

    def refund(self) -> Drawn:
        asked_about = self._pick(lambda b: b.left > 0 and b.asking == "inquiry")
        index = self._pick(lambda b: b.left > 0 and not b.contested)
        if index is None:
            return None
        if asked_about is not None and self.chance.random() < 0.7:
            index = asked_about
        bought = self.model.bought[index]
        amount = self.chance.randrange(1, bought.left + 1)
        bought.refunded += amount
        self.model.follow(bought)
        way = self._way() if bought.owner else "provider"
        return Step("refund", bought.by, amount, index, way)

    def dispute(self) -> Drawn:
        return self._dispute("open")

    def inquiry(self) -> Drawn:
        return self._dispute("inquiry")

    def _dispute(self, asking: str) -> Drawn:
        index = self._pick(lambda b: b.left > 0 and not b.asking)
        if index is None:
            return None
        bought = self.model.bought[index]
        whole = self.chance.random() < 0.6
        bought.disputed = bought.left if whole else self.chance.randrange(1, bought.left + 1)
        bought.asking, bought.escalates = asking, not bought.refunded
        self.model.follow(bought)
        kind = "dispute" if asking == "open" else "inquiry"
        return Step(kind, bought.by, bought.disputed, index)

    def decide(self) -> Drawn:
        """The bank decides, or the shop gives in (`accept`)."""
        index = self._pick(lambda b: b.asking in ("open", "inquiry"))
        if index is None:
            return None
        bought = self.model.bought[index]
        if bought.asking == "inquiry":
            way = "escalated" if bought.escalates and self.chance.random() < 0.7 else "lost"
        else:
            way = self.chance.choice(("won", "lost", "accept") if bought.owner else ("won", "lost"))
        if way == "escalated":
            # What the shop gave back meanwhile does not reach the buyer, who gets it of the bank.
            bought.asking, bought.refunded = "open", 0
        elif way == "won" or bought.asking == "inquiry":
            bought.asking, bought.disputed = "", 0
        else:
            bought.asking = "lost"
        self.model.follow(bought)
        return Step("decide", bought.by, index=index, way=way)

    def use(self) -> Drawn:
        user = self.chance.choice(USERS)
        spare = self.model.spare(user)
        if spare <= 0:
            return None
        amount = self.chance.randrange(1, spare + 1)
        self.model.accounts[user].spendable -= amount
        return Step("use", user, amount)

    def _way(self) -> str:
        """By whom: by the shop through Bursar, or in the provider's dashboard."""
        return self.chance.choice(("shop", "provider"))

    def _pick(self, fits: Any) -> int | None:
        fitting = [i for i, bought in enumerate(self.model.bought) if fits(bought)]
        return self.chance.choice(fitting) if fitting else None

    def _add(self, bought: Bought) -> None:
        self.model.bought.append(bought)
        self.model.follow(bought)

    def _own(self, bought: Bought, user: str) -> None:
        bought.owner = user
        self.model.follow(bought)
