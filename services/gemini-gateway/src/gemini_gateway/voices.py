"""What the voices of a process share: the configuration, the circuit breakers, the books."""

import asyncio
import logging
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Any, Final

from gemini_gateway import personas
from gemini_gateway.burst_slot import BurstSlot
from gemini_gateway.configuration import Configuration
from gemini_gateway.implied import session_settings
from gemini_gateway.personas import Persona
from gemini_gateway.sdk.client import Live
from gemini_gateway.session.meter import Bill
from gemini_gateway.session.timing import SessionSettings
from gemini_gateway.voice import GeminiVoice
from reachy_gateway.feed import Billed, BudgetNews, Feed, KeysChanged, SessionNews, Spoken
from reachy_gateway.journal import LINES, logged
from reachy_gateway.provider.causes import SessionCause
from reachy_gateway.provider.circuit_breaker import CircuitBreaker
from reachy_gateway.provider.elsewhere import Elsewhere
from reachy_gateway.provider.ledger import Ledger, LedgerError
from reachy_gateway.provider.load import Load
from reachy_gateway.provider.money import Money
from reachy_gateway.provider.shared_books import SharedBooks
from reachy_gateway.provider.transcripts import Transcripts
from reachy_gateway.provider.usage import Account, Books, Verdict
from reachy_gateway.tools.port import Tool
from reachy_gateway.tools.toolbox import Toolbox
from reachy_gateway.voice import RobotView, Said
from reachy_link.bucket import TokenBucket
from reachy_link.tally import Tally

log = logging.getLogger(__name__)

WATCH_S: Final = 1.0
NAME_LOOKS: Final = 3
"""A key that is admitted as the file is written is known by then."""
FORGET_EVERY: Final = 60
"""Once in so many looks robots that are no longer admitted are forgotten."""


class Voices:
    """Makes voices, and keeps what they share. The one implementation of :class:`gemini_gateway.voice_host.VoiceHost`.

    Args:
        configuration: The robots file, and the server with its key.
        feed: Told of what happens; if it is left out, one of its own that the log reads.
        transcripts: Where transcripts are kept, if a persona asks for that.
        keep_days: For how many days; 0 is for ever.
        today: The local date and time; budgets turn at its midnight.
        toolbox: What models may call; if it is left out, the gateway's own tools.
        settings_of: What a persona, and its tools, imply for its session.
        load: How busy the gateway is, which looks itself; if it is left out, it is at ease.
        shortcut: Whether audio goes past the SDK's layers.
    """

    def __init__(
        self,
        configuration: Configuration,
        ledger: Ledger,
        *,
        feed: Feed | None = None,
        transcripts: Path | None = None,
        keep_days: int = 0,
        today: Callable[[], datetime] = lambda: datetime.now(UTC).astimezone(),
        toolbox: Toolbox | None = None,
        settings_of: Callable[[Persona, Sequence[Tool[Any]]], SessionSettings] = session_settings,
        load: Load | None = None,
        shortcut: bool = True,
    ) -> None:
        self._configuration = configuration
        self._live = Live(configuration.endpoint, shortcut=shortcut)
        self._ledger = ledger
        self._feed = feed or logged()
        self._today = today
        self._transcripts = Transcripts(transcripts, keep_days, lambda: today().date()) if transcripts else None
        self._transcripts_trouble = ""
        self._trouble_lines = TokenBucket(LINES)
        if self._transcripts:
            self._feed.read(Spoken, self._keep)
        self._feed.read(KeysChanged, self._keys_changed)
        self._settings_of = settings_of
        self.load = load or Load()
        self.burst_slot = BurstSlot()
        self.toolbox = toolbox or Toolbox()
        self._admitted: frozenset[str] | None = None
        """The robots that have a key, once that is known."""
        self._name_in = NAME_LOOKS
        """After so many looks the robots of the file that have no key are named; 0: they were."""
        self._breakers: dict[str, CircuitBreaker] = {}
        self.totals: dict[str, Account] = {}
        """What each robot used since the gateway started."""
        self.elsewhere = Elsewhere()
        """What the other gateways of a fleet spent."""
        self.books = Books(ledger.accounts, self.elsewhere)
        self.books.open(today().date())
        self.tally = Tally[SessionCause](known=lambda robot: robot in self.voices)
        self.voices: dict[str, GeminiVoice] = {}
        self._warned: dict[str, str] = {}
        self.on_reload: Callable[[], None] = lambda: None
        """Told that the files were read anew."""

    def make(self, robot: str, view: RobotView | None = None) -> GeminiVoice:
        """A voice for a robot, and what it may ask of the robot."""
        voice = self.voices[robot] = GeminiVoice(robot, self._live, self, self._settings, view)
        return voice

    def _settings(self, persona: Persona, tools: Sequence[Tool[Any]]) -> SessionSettings:
        return replace(self._settings_of(persona, tools), batch_ms=self.load.message_ms)

    async def watch(self) -> None:
        """Follow the robots file, the key's file and how busy the gateway is, until cancelled."""
        message_ms = self.load.message_ms
        for look in count(1):
            await asyncio.sleep(WATCH_S)
            if message_ms != self.load.message_ms:
                message_ms = self.load.message_ms
                for voice in self.voices.values():
                    voice.settings_changed()
            if self._configuration.has_changed():
                self.reload()
            if self._name_in:
                self._name_in -= 1
                if not self._name_in:
                    self._name_strangers()
            self._tell_lost_transcripts()
            if look % FORGET_EVERY == 0:
                self._forget()

    def reload(self, *, asked: bool = False) -> None:
        """Read the configuration anew; a mistake is said, and leaves the last good one in place.

        Args:
            asked: Whether a person asks for it. Only then does a file that takes a limit away count: it may be half written.
        """
        robots, key, mistakes = self._configuration.reload(asked=asked, retarget=self._live.retarget)
        for mistake in mistakes:
            log.error("configuration: %s (the last good one stays)", mistake)
        if robots:
            self._name_in = NAME_LOOKS
        if taken := [name for name, well in (("robots file", robots), ("key", key)) if well]:
            log.info("configuration read anew: %s", " and ".join(taken))
        self.refresh(mended=bool(taken))
        self.on_reload()

    def refresh(self, *, mended: bool) -> None:
        """Other personas may count."""
        for voice in self.voices.values():
            voice.refresh(mended=mended)

    def accounts_of_the_fleet(self) -> SharedBooks:
        """What this gateway spends, for a store that adds up."""
        return SharedBooks(self._ledger, self.elsewhere, lambda: self._today().date())

    def close(self) -> None:
        """Finish what is being written."""
        if self._transcripts:
            self._transcripts.close()

    # --- what metrics are made of: may be asked from another thread ---------------------------------------------------

    @property
    def down(self) -> bool:
        """Whether Gemini is known not to answer, for any model."""
        return any(breaker.down for breaker in tuple(self._breakers.values()))

    @property
    def budget(self) -> Money | None:
        """The gateway's, for a day."""
        return self._configuration.personas.gateway.budget_usd_per_day

    def accounts(self) -> dict[str, Account]:
        """Today's, by robot."""
        return self.books.accounts(self._today().date())

    def spent(self) -> dict[str, Money]:
        """Today's dollars, by robot, over the whole fleet."""
        day = self._today().date()
        return {robot: self.books.spent(day, robot) for robot in {*self.books.accounts(day), *self.elsewhere.robots(day)}}

    @property
    def spent_by_all(self) -> Money:
        """Today's dollars, of all robots of the fleet; may be asked from another thread."""
        here = sum((account.cost for account in self.accounts().values()), Money(0))
        return here + self.elsewhere.total(self._today().date())

    # --- what voices ask and tell -------------------------------------------------------------------------------------

    @property
    def account(self) -> str:
        """Tells the server and the key from others, without telling what they are."""
        return self._configuration.endpoint.account

    def persona(self, robot: str) -> Persona:
        """How the robot is to talk."""
        return self._configuration.personas.of(robot)

    def local_time(self) -> datetime:
        """The time, with the gateway's zone."""
        return self._today()

    def budget_left(self, robot: str) -> Money | None:
        """What the robot may still spend today, by its own budget and by that of all; None without either."""
        day = self._today().date()
        left = []
        if (own := self.persona(robot).budget_usd_per_day) is not None:
            left.append(own - self.books.spent(day, robot))
        if self.budget is not None:
            left.append(self.budget - self.books.total(day))
        return min(left, default=None)

    def breaker(self, model: str) -> CircuitBreaker:
        """Of a model: one that is in trouble, or is none, keeps no robot with another from dialling."""
        return self._breakers.setdefault(model, CircuitBreaker(random.random))

    def bill(self, robot: str, session: str, model: str, bill: Bill) -> None:
        """Book a turn."""
        day, tokens = self._today().date(), bill.tokens
        cost = self._configuration.personas.price(model).of(tokens)
        turns = 0 if bill.amends else 1
        self.books.add(day, robot, session, tokens, cost, turns)
        self.totals.setdefault(robot, Account()).add(tokens, cost, turns)
        if bill.estimated:
            self.count(robot, "uncounted", self._uncounted(robot, cost))
        if model not in self._configuration.personas.prices:
            self.count(robot, "unknown_price", f"nobody told the price of {model}: it is billed as {personas.DEFAULT_MODEL}")
        try:
            self._ledger.add(day, robot, session, model, tokens, cost)
        except LedgerError as error:
            self.count(robot, "ledger", f"{error}; a restart before it can be would forget this turn")
        whole, account = self.books.session(robot), self.books.account(day, robot)
        self._feed.tell(Billed(robot, cost, session, whole, account))

    def _uncounted(self, robot: str, cost: Money) -> str:
        limited = self.persona(robot).budget_usd_per_day or self.budget
        trust = ", and budgets go by that" if limited else ""
        return f"Gemini did not count all of a turn's tokens: it is billed by its sound, ${cost:.4f}{trust}"

    def verdict(self, robot: str) -> Verdict:
        """What the budgets say; a new warning is told once."""
        budget, gateway_budget = self.persona(robot).budget_usd_per_day, self._configuration.personas.gateway.budget_usd_per_day
        if budget is None and gateway_budget is None:
            return Verdict(allowed=True)
        verdict = self.books.verdict(self._today().date(), robot, budget, gateway_budget)
        level = (
            f"{verdict.allowed} {verdict.words.partition(':')[0]}"  # whose budget, without the sum, which grows with every turn
        )
        if level != self._warned.get(robot):
            self._warned[robot] = level
            if verdict.words:
                self._feed.tell(BudgetNews(robot, verdict.words))
        return verdict

    def said(self, robot: str, said: Said, age_s: float = 0.0) -> None:
        """Tell of a piece of transcript that is so old."""
        if self._feed.is_read(Spoken):
            self._feed.tell(Spoken(robot, said, self._today() - timedelta(seconds=age_s)))

    def count(self, robot: str, cause: SessionCause, words: str) -> None:
        """Count something, and tell of it."""
        first = self.tally.count(cause, robot)
        self._feed.tell(SessionNews(robot, cause, words, first))

    def _keep(self, it: Spoken) -> None:
        """Keep a piece of transcript, if that was asked for."""
        if self._transcripts and self.persona(it.robot).transcripts_to_file:
            self._transcripts.keep(it.robot, it.at, it.said)

    def _keys_changed(self, it: KeysChanged) -> None:
        self._admitted = it.admitted

    def _tell_lost_transcripts(self) -> None:
        """Count what was lost, and say once that, and once more when it is over."""
        if self._transcripts is None:
            return
        lost, trouble = self._transcripts.take_lost()
        for robot, pieces in lost.items():
            self.tally.count("transcript", robot, pieces)
        if bool(trouble) != bool(self._transcripts_trouble) and self._trouble_lines.take(1, time.monotonic()):
            if trouble:
                log.warning("the transcript cannot be written: %s (what is said meanwhile is lost, and counted)", trouble)
            else:
                log.info("transcripts are written again")
        self._transcripts_trouble = trouble

    def _forget(self) -> None:
        """Forget robots that are not admitted any more; their conversations have ended."""
        if self._admitted is None:
            return
        for known in (self.voices, self.totals, self._warned):
            for robot in known.keys() - self._admitted:
                del known[robot]
        self.tally.forget()

    def _name_strangers(self) -> None:
        """A persona whose robot is mistyped would wait for it for ever, without a word."""
        known = self._configuration.personas.robots.keys()
        if strangers := known - self._admitted if self._admitted is not None else ():
            log.warning("no key is admitted of these in %s: %s", self._configuration.robots_file, ", ".join(sorted(strangers)))
