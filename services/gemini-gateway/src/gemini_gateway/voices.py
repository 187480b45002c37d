"""What the voices of a process share: the configuration, the circuit breakers, the accounts of tokens and cost."""

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

from gemini_gateway.burst_slot import BurstSlot
from gemini_gateway.configuration import Configuration
from gemini_gateway.implied import session_settings
from gemini_gateway.personas import Persona
from gemini_gateway.sdk.client import Live
from gemini_gateway.session.meter import Bill
from gemini_gateway.session.timing import SessionSettings
from gemini_gateway.voice import GeminiVoice
from reachy_gateway.feed import Billed, BudgetNews, Feed, KeysChanged, Noticed, SessionNews, Spoken
from reachy_gateway.journal import LINES, logged
from reachy_gateway.provider.causes import SessionCause
from reachy_gateway.provider.circuit_breaker import CircuitBreaker
from reachy_gateway.provider.elsewhere import Elsewhere
from reachy_gateway.provider.ledger import Ledger, LedgerError
from reachy_gateway.provider.load import Load
from reachy_gateway.provider.money import Money
from reachy_gateway.provider.reconnects import RENEWAL, Gap
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
"""How many looks later robots without a key are named: a key that was admitted together with the file is known by then."""
FORGET_EVERY: Final = 60
"""After this many looks the voices forget robots that are no longer admitted."""


class Voices:
    """Makes voices, and holds what they share. The one implementation of :class:`gemini_gateway.voice_host.VoiceHost`.

    Args:
        configuration: The robots file, and the server with its key.
        ledger: The database of every turn's tokens and cost.
        feed: The feed of events; by default a new feed that the log reads.
        transcripts: The folder for transcripts of robots whose persona asks for them.
        keep_days: How many days transcripts are kept; 0 keeps them for ever.
        today: The local date and time. A day's budget begins at local midnight.
        toolbox: The tools that models may call; by default the gateway's own.
        settings_of: Derives a session's settings from a persona and its tools.
        load: How busy the gateway is; by default it counts as idle.
        shortcut: Whether audio bypasses the SDK's layers.
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
        """The robots that have a key; None until this is known."""
        self._name_in = NAME_LOOKS
        """After this many looks the log names the robots of the file that have no key; 0: it has named them."""
        self._breakers: dict[str, CircuitBreaker] = {}
        self.totals: dict[str, Account] = {}
        """Each robot's tokens and cost since the gateway started."""
        self.elsewhere = Elsewhere()
        """What the other gateways of the fleet spent."""
        self.books = Books(ledger.accounts, self.elsewhere)
        self.books.open(today().date())
        self.tally = Tally[SessionCause](known=lambda robot: robot in self.voices)
        self.voices: dict[str, GeminiVoice] = {}
        self._warned: dict[str, str] = {}
        self.on_reload: Callable[[], None] = lambda: None
        """Called after the files were read again."""

    def make(self, robot: str, view: RobotView | None = None) -> GeminiVoice:
        """Make a voice for a robot. Through the view the voice asks about the robot."""
        voice = self.voices[robot] = GeminiVoice(robot, self._live, self, self._settings, view)
        return voice

    def _settings(self, persona: Persona, tools: Sequence[Tool[Any]]) -> SessionSettings:
        return replace(self._settings_of(persona, tools), batch_ms=self.load.message_ms)

    async def watch(self) -> None:
        """Watch the robots file, the key's file and the gateway's load, until cancelled."""
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
        """Read the configuration again. If it has mistakes, they are logged and the last good one stays in use.

        Args:
            asked: Whether a person asks for this. Only then may a file remove a limit: else it may be half written.
        """
        robots, key, retargeted, mistakes = self._configuration.reload(asked=asked, retarget=self._live.retarget)
        for mistake in mistakes:
            log.error("configuration: %s (the last good one stays in use)", mistake)
        if robots:
            self._name_in = NAME_LOOKS
        taken = [name for name, well in (("the robots file", robots), ("the key or its server", retargeted)) if well]
        if taken or not mistakes:
            log.info("configuration read again: %s", f"{' and '.join(taken)} in use" if taken else "nothing has changed")
        self.refresh(mended=robots or key)
        self.on_reload()

    def refresh(self, *, mended: bool) -> None:
        """Tell every voice that its persona, or the key, may have changed."""
        for voice in self.voices.values():
            voice.refresh(mended=mended)

    def accounts_of_the_fleet(self) -> SharedBooks:
        """This gateway's spending, for a store that adds up the fleet's."""
        return SharedBooks(self._ledger, self.elsewhere, lambda: self._today().date())

    def close(self) -> None:
        """Finish writing transcripts."""
        if self._transcripts:
            self._transcripts.close()

    # --- read by the metrics, possibly from another thread ------------------------------------------------------------

    @property
    def down(self) -> bool:
        """Whether Gemini is known not to answer for at least one model."""
        return any(breaker.down for breaker in tuple(self._breakers.values()))

    @property
    def budget(self) -> Money | None:
        """The gateway's budget for a day."""
        return self._configuration.personas.gateway.budget_usd_per_day

    def accounts(self) -> dict[str, Account]:
        """Today's accounts, by robot."""
        return self.books.accounts(self._today().date())

    def spent(self) -> dict[str, Money]:
        """Today's cost in dollars, by robot, in the whole fleet."""
        day = self._today().date()
        return {robot: self.books.spent(day, robot) for robot in {*self.books.accounts(day), *self.elsewhere.robots(day)}}

    @property
    def spent_by_all(self) -> Money:
        """Today's cost in dollars of all robots of the fleet."""
        here = sum((account.cost for account in self.accounts().values()), Money(0))
        return here + self.elsewhere.total(self._today().date())

    # --- called by the voices -----------------------------------------------------------------------------------------

    @property
    def account(self) -> str:
        """A digest of the server and the key, from which neither can be read."""
        return self._configuration.endpoint.account

    def persona(self, robot: str) -> Persona:
        """The robot's persona."""
        return self._configuration.personas.of(robot)

    def local_time(self) -> datetime:
        """The local time, with its time zone."""
        return self._today()

    def budget_left(self, robot: str) -> Money | None:
        """What the robot's budget and the gateway's let the robot still spend today; None without a budget."""
        day = self._today().date()
        left = []
        if (own := self.persona(robot).budget_usd_per_day) is not None:
            left.append(own - self.books.spent(day, robot))
        if self.budget is not None:
            left.append(self.budget - self.books.total(day))
        return min(left, default=None)

    def breaker(self, model: str) -> CircuitBreaker:
        """The model's circuit breaker: a model in trouble, or an unknown one, stops no robot with another model."""
        return self._breakers.setdefault(model, CircuitBreaker(random.random))

    def bill(self, robot: str, session: str, model: str, bill: Bill) -> None:
        """Book the tokens of a turn."""
        day, tokens = self._today().date(), bill.tokens
        cost = self._configuration.personas.price(model).of(tokens)
        turns = 0 if bill.amends else 1
        self.books.add(day, robot, session, tokens, cost, turns)
        self.totals.setdefault(robot, Account()).add(tokens, cost, turns)
        if bill.estimated:
            self.count(robot, "uncounted", self._uncounted(robot, cost))
        if model not in self._configuration.personas.prices:
            words = f"the price of {model} is unknown: it is billed as {self._configuration.personas.priced_as(model)}"
            self.count(robot, "unknown_price", f'{words}; set [prices."{model}"] in the robots file')
        try:
            self._ledger.add(day, robot, session, model, tokens, cost)
        except LedgerError as error:
            self.count(robot, "ledger", f"{error}; a restart before the ledger works again would lose this turn")
        whole, account = self.books.session(robot), self.books.account(day, robot)
        self._feed.tell(Billed(robot, cost, session, whole, account))

    def _uncounted(self, robot: str, cost: Money) -> str:
        limited = self.persona(robot).budget_usd_per_day or self.budget
        trust = ", and budgets use this estimate" if limited else ""
        return f"Gemini did not count all of a turn's tokens: the turn is billed by its audio, ${cost:.4f}{trust}"

    def verdict(self, robot: str) -> Verdict:
        """Whether the budgets let the robot talk. A new warning is published once."""
        budget, gateway_budget = self.persona(robot).budget_usd_per_day, self._configuration.personas.gateway.budget_usd_per_day
        if budget is None and gateway_budget is None:
            return Verdict(allowed=True)
        verdict = self.books.verdict(self._today().date(), robot, budget, gateway_budget)
        level = f"{verdict.allowed} {verdict.words.partition(':')[0]}"  # without the sum, which grows with every turn
        if level != self._warned.get(robot):
            self._warned[robot] = level
            if verdict.words:
                self._feed.tell(BudgetNews(robot, verdict.words))
        return verdict

    def said(self, robot: str, said: Said, age_s: float = 0.0) -> None:
        """Publish a piece of transcript that came ``age_s`` seconds ago."""
        if self._feed.is_read(Spoken):
            self._feed.tell(Spoken(robot, said, self._today() - timedelta(seconds=age_s)))

    def count(self, robot: str, cause: SessionCause, words: str) -> None:
        """Count an event of the robot's session under its cause, and publish it."""
        first = self.tally.count(cause, robot)
        self._feed.tell(SessionNews(robot, cause, words, first))

    def reconnected(self, robot: str, gap: Gap | None) -> None:
        """Publish that a connection is open, if it ends a gap."""
        if gap:
            words = "the connection to Gemini is renewed" if gap.cause == RENEWAL else "connected to Gemini again"
            self._feed.tell(Noticed(robot, f"{words}, after {gap.seconds:.2f} s without one ({gap.cause})"))

    def _keep(self, it: Spoken) -> None:
        """Write a piece of transcript to its file, if the robot's persona asks for that."""
        if self._transcripts and self.persona(it.robot).transcripts_to_file:
            self._transcripts.keep(it.robot, it.at, it.said)

    def _keys_changed(self, it: KeysChanged) -> None:
        self._admitted = it.admitted

    def _tell_lost_transcripts(self) -> None:
        """Count lost pieces of transcript. Log once that writing fails, and once that it works again."""
        if self._transcripts is None:
            return
        lost, trouble = self._transcripts.take_lost()
        for robot, pieces in lost.items():
            self.tally.count("transcript", robot, pieces)
        if bool(trouble) != bool(self._transcripts_trouble) and self._trouble_lines.take(1, time.monotonic()):
            if trouble:
                log.warning(
                    "the transcript cannot be written: %s (words are lost until it can be written again; they are counted)",
                    trouble,
                )
            else:
                log.info("transcripts are written again")
        self._transcripts_trouble = trouble

    def _forget(self) -> None:
        """Forget robots that are no longer admitted; their conversations have ended."""
        if self._admitted is None:
            return
        for known in (self.voices, self.totals, self._warned):
            for robot in known.keys() - self._admitted:
                del known[robot]
        self.tally.forget()

    def _name_strangers(self) -> None:
        """Log robots of the robots file that have no admitted key: their names may be mistyped."""
        known = self._configuration.personas.robots.keys()
        if strangers := known - self._admitted if self._admitted is not None else ():
            log.warning(
                "%s names robots that are not admitted: %s", self._configuration.robots_file, ", ".join(sorted(strangers))
            )
