"""The cost of conversations: tokens by modality, money by a dated price table, budgets by day. Pure.

Gemini Live bills every turn for its whole context, so the counts of all turns are added. Within a turn the counts are
cumulative, so the last count is the turn's. The tokens of a turn are billed even if its connection is lost.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from typing import Final, Literal

from pydantic import BaseModel, ConfigDict, Field

from reachy_gateway.provider.elsewhere import Elsewhere
from reachy_gateway.provider.money import Money

WARN_AT: Final = Decimal("0.8")
"""From this part of a budget on there is a warning."""

Modality = Literal["text", "audio", "image"]
"""The kinds of tokens. Video counts as image, because it has the same price."""


@dataclass(frozen=True, slots=True)
class Tokens:
    """What a turn has used so far: the whole context, which is billed again in each turn, and the reply."""

    prompt: Mapping[Modality, int] = field(default_factory=dict)
    reply: Mapping[Modality, int] = field(default_factory=dict)
    rest: int = 0
    """Tokens in the total whose kind was not told."""


class Price(BaseModel):
    """The price of a million tokens of a model, in US dollars, as of a day."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    as_of: date
    in_text: Money = Field(ge=0)
    in_audio: Money = Field(ge=0)
    in_image: Money = Field(ge=0)
    out_text: Money = Field(ge=0)
    out_audio: Money = Field(ge=0)

    def of(self, tokens: Tokens) -> Money:
        """The price of a turn."""
        prompt: Mapping[Modality, Money] = {"text": self.in_text, "audio": self.in_audio, "image": self.in_image}
        reply: Mapping[Modality, Money] = {"text": self.out_text, "audio": self.out_audio, "image": self.out_audio}
        cost = sum((prompt[kind] * count for kind, count in tokens.prompt.items()), Money(0))
        cost += sum((reply[kind] * count for kind, count in tokens.reply.items()), Money(0))
        return cost / 1_000_000


PRICES: Final[Mapping[str, Price]] = {
    "gemini-3.8-live": Price(
        as_of=date(2026, 11, 23),
        in_text=Money("0.75"),
        in_audio=Money("3.00"),
        in_image=Money("1.00"),
        out_text=Money("4.50"),
        out_audio=Money("12.00"),
    ),
}
"""From ai.google.dev's price page. A robots file can bring newer prices. An unknown model is priced like the default one."""

DAYS_KEPT: Final = 3
KINDS: Final = ("in_text", "in_audio", "in_image", "out_text", "out_audio")


@dataclass
class Account:
    """Sums of turns."""

    turns: int = 0
    tokens: dict[str, int] = field(default_factory=lambda: dict.fromkeys(KINDS, 0))
    cost: Money = field(default_factory=Money)

    def add(self, tokens: Tokens, cost: Money, turns: int = 1) -> None:
        """Add a turn, or (``turns=0``) more of a turn that was added before."""
        self.turns += turns
        self.cost += cost
        for kind, count in tokens.prompt.items():
            self.tokens[f"in_{kind}"] += count
        for kind, count in tokens.reply.items():
            self.tokens["out_text" if kind == "text" else "out_audio"] += count


@dataclass(frozen=True)
class Verdict:
    """A budget's verdict: whether to go on, and a warning or reason."""

    allowed: bool
    words: str = ""


class Books:
    """Accounts of robots by day, and the verdicts of budgets.

    The date may jump in either direction when a clock is corrected. So a day is read from the ledger when it is first asked
    for, and the few days that were asked for last are kept.

    Args:
        load: Returns the ledger's accounts of a day, by robot; None if they cannot be read now.
        elsewhere: What a fleet's other gateways spent. The default is nothing.
    """

    def __init__(
        self, load: Callable[[date], Mapping[str, Account] | None] = lambda _: {}, elsewhere: Elsewhere | None = None
    ) -> None:
        self._load = load
        self._elsewhere = elsewhere or Elsewhere()
        self._days: dict[date, dict[str, Account]] = {}
        self._unread: set[date] = set()
        """Days that could not be read. Each turn tries again."""
        self._sessions: dict[str, tuple[str, Account]] = {}
        self._total: tuple[date, Money] | None = None
        """A day's total, until something is booked. It is kept because every voice asks several times a second."""

    def open(self, day: date) -> dict[str, Account]:
        """The day's accounts by robot, read from the ledger if necessary."""
        if day not in self._days:
            kept = dict(list(self._days.items())[1 - DAYS_KEPT :])
            found = self._load(day)
            self._unread = {each for each in self._unread if each in kept} | ({day} if found is None else set())
            self._days = {**kept, day: dict(found or {})}
        return self._days[day]

    def add(self, day: date, robot: str, session: str, tokens: Tokens, cost: Money, turns: int = 1) -> None:
        """Book a turn, or more of one."""
        if day in self._unread and (found := self._load(day)) is not None:
            self._unread.discard(day)
            self._days[day] = dict(found)  # it includes what was booked meanwhile
        if session != self._sessions.get(robot, ("",))[0]:
            self._sessions[robot] = session, Account()
        self._sessions[robot][1].add(tokens, cost, turns)
        self.open(day).setdefault(robot, Account()).add(tokens, cost, turns)
        self._total = None

    def account(self, day: date, robot: str) -> Account:
        """A robot's account of a day."""
        return self.open(day).get(robot, Account())

    def accounts(self, day: date) -> dict[str, Account]:
        """The day's accounts by robot, as far as they were read. May be called from another thread."""
        return dict(self._days.get(day, {}))

    def session(self, robot: str) -> Account:
        """The account of a robot's newest billed session, which may span midnight."""
        return self._sessions.get(robot, ("", Account()))[1]

    def spent(self, day: date, robot: str) -> Money:
        """What a robot spent on a day, at this gateway and others."""
        return self.account(day, robot).cost + self._elsewhere.of(day, robot)

    def total(self, day: date) -> Money:
        """What all robots spent on a day, at this gateway and others."""
        if self._total is None or self._total[0] != day:
            self._total = day, sum((account.cost for account in self.open(day).values()), Money(0))
        return self._total[1] + self._elsewhere.total(day)

    def verdict(self, day: date, robot: str, robot_budget: Money | None, gateway_budget: Money | None) -> Verdict:
        """The budgets' verdict on a robot's next turn."""
        warning = ""
        for whose, spent, budget in (
            (f"{robot}'s", self.spent(day, robot), robot_budget),
            ("the fleet's" if self._elsewhere.heard else "the gateway's", self.total(day), gateway_budget),
        ):
            if budget is None:
                continue
            words = f"{whose} budget for today: ${spent:.2f} of ${budget:.2f} spent"
            if spent >= budget:
                return Verdict(allowed=False, words=f"{words}; it goes on tomorrow, or when the budget is raised")
            if spent >= budget * WARN_AT:
                warning = words
        return Verdict(allowed=True, words=warning)
