"""What the voices of a process share: the endpoint, its outage, the personas, the books."""

import asyncio
import json
import logging
import random
import time
from collections.abc import Callable, Collection
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from gemini_gateway import personas
from gemini_gateway.crowding import Crowding
from gemini_gateway.hurry import Hurry
from gemini_gateway.ledger import Ledger, LedgerError
from gemini_gateway.live import Endpoint, Live
from gemini_gateway.meter import Bill
from gemini_gateway.outage import Outage
from gemini_gateway.personas import Persona, Personas
from gemini_gateway.session import Limits
from gemini_gateway.usage import Account, Books, Money, Verdict
from gemini_gateway.voice import GeminiVoice, limits_of
from reachy_gateway.voice import Said
from reachy_link.tally import Tally

log = logging.getLogger(__name__)

WATCH_S: Final = 1.0


class Voices:
    """Makes voices, and keeps what they share. The one implementation of :class:`gemini_gateway.voice.Office`.

    Args:
        endpoint: Reads anew which server to talk to and by which key, as the key's file may have been mended.
        transcripts: Where transcripts are kept, if a persona asks for that.
        today: The local date and time; budgets turn at its midnight.
        limits: What a persona implies for its session.
        uplink_ms: How much mic audio goes to Gemini in a message; None leaves it to how busy the event loop is.
        shortcut: Whether audio goes past the SDK's layers.
        admitted: Reads anew which robots have a key.
    """

    def __init__(
        self,
        endpoint: Callable[[], Endpoint],
        shared: Personas,
        ledger: Ledger,
        *,
        robots_file: Path | None = None,
        model: str | None = None,
        transcripts: Path | None = None,
        today: Callable[[], datetime] = lambda: datetime.now(UTC).astimezone(),
        limits: Callable[[Persona], Limits] = limits_of,
        uplink_ms: int | None = None,
        shortcut: bool = True,
        admitted: Callable[[], Collection[str]] | None = None,
    ) -> None:
        self._read_endpoint = endpoint
        self._endpoint = endpoint()
        self._live = Live(self._endpoint, shortcut=shortcut)
        self._personas = shared
        self._ledger = ledger
        self._robots_file = robots_file
        self._model = model
        self._transcripts = transcripts
        self._today = today
        self._persona_limits = limits
        self._uplink_ms = uplink_ms
        self.crowding = Crowding()
        self.hurry = Hurry()
        self._admitted = admitted
        self._outages: dict[str, Outage] = {}
        self.books = Books(ledger.accounts)
        self.books.open(today().date())
        self.tally = Tally()
        self.voices: dict[str, GeminiVoice] = {}
        self._warned: dict[str, str] = {}
        self._seen = self._signature()

    def make(self, robot: str) -> GeminiVoice:
        """A voice for a robot."""
        voice = self.voices[robot] = GeminiVoice(robot, self._live, self, self._limits)
        return voice

    @property
    def message_ms(self) -> int:
        """How much mic audio goes to Gemini in a message."""
        return self._uplink_ms or self.crowding.message_ms

    def _limits(self, persona: Persona) -> Limits:
        return replace(self._persona_limits(persona), batch_ms=self.message_ms)

    async def watch(self) -> None:
        """Follow the robots file, the key's file and how busy the event loop is, until cancelled."""
        self._name_strangers()
        while True:
            await asyncio.sleep(WATCH_S)
            if self.crowding.look(time.monotonic(), time.thread_time()) and self._uplink_ms is None:
                log.info(
                    "the event loop works for %.0f %% of its time: mic audio goes to Gemini in messages of %d ms",
                    self.crowding.busy * 100,
                    self.message_ms,
                )
                for voice in self.voices.values():
                    voice.limit_anew()
            if (seen := self._signature()) != self._seen:
                self._seen = seen
                self.reload()

    def reload(self) -> None:
        """Read the configuration anew: what is wrong is said and changes nothing, what is right holds from now on."""
        read, problems = personas.read(self._robots_file, self._model)
        try:
            if (endpoint := self._read_endpoint()) != self._endpoint:
                self._live.retarget(endpoint)
                self._endpoint = endpoint
        except (OSError, ValueError) as error:
            problems = [*problems, f"{error}; mend it, and it is read again"]
        for problem in problems:
            log.error("configuration: %s (the last good one stays)", problem)
        if not problems:
            self._personas = read
            log.info("configuration read anew")
            self._name_strangers()
        for voice in self.voices.values():
            voice.refresh(mended=not problems)

    # --- what metrics are made of: may be asked from another thread ---------------------------------------------------

    @property
    def down(self) -> bool:
        """Whether Gemini is known not to answer, for any model."""
        return any(outage.down for outage in tuple(self._outages.values()))

    @property
    def budget(self) -> Money | None:
        """The gateway's, for a day."""
        return self._personas.gateway.budget_usd_per_day

    def accounts(self) -> dict[str, Account]:
        """Today's, by robot."""
        return self.books.accounts(self._today().date())

    # --- what voices ask and tell -------------------------------------------------------------------------------------

    def persona(self, robot: str) -> Persona:
        """How the robot is to talk."""
        return self._personas.of(robot)

    def outage(self, model: str) -> Outage:
        """Of a model: one that is in trouble, or is none, keeps no robot with another from dialling."""
        return self._outages.setdefault(model, Outage(random.random))

    def bill(self, robot: str, session: str, model: str, bill: Bill) -> None:
        """Book a turn."""
        day, tokens = self._today().date(), bill.tokens
        cost = self._personas.price(model).of(tokens)
        self.books.add(day, robot, session, tokens, cost, turns=0 if bill.amends else 1)
        if bill.estimated:
            self.count(robot, "uncounted", self._uncounted(robot, cost))
        if model not in self._personas.prices:
            self.count(robot, "unknown_price", f"nobody told the price of {model}: it is billed as {personas.DEFAULT_MODEL}")
        try:
            self._ledger.add(day, robot, session, model, tokens, cost)
        except LedgerError as error:
            self.count(robot, "ledger", f"{error}; a restart before it can be would forget this turn")
        whole, account = self.books.session(robot), self.books.account(day, robot)
        words = "%s: the turn cost $%.4f; its session %s $%.4f in %d turns, today $%.4f in %d"
        log.info(words, robot, cost, session, whole.cost, whole.turns, account.cost, account.turns)

    def _uncounted(self, robot: str, cost: Money) -> str:
        limited = self.persona(robot).budget_usd_per_day or self.budget
        trust = ", and budgets go by that" if limited else ""
        return f"Gemini did not count all of a turn's tokens: it is billed by its sound, ${cost:.4f}{trust}"

    def verdict(self, robot: str) -> Verdict:
        """What the budgets say; a new warning is logged once."""
        budget, gateway_budget = self.persona(robot).budget_usd_per_day, self._personas.gateway.budget_usd_per_day
        if budget is None and gateway_budget is None:
            return Verdict(allowed=True)
        verdict = self.books.verdict(self._today().date(), robot, budget, gateway_budget)
        level = (
            f"{verdict.allowed} {verdict.words.partition(':')[0]}"  # whose budget, without the sum, which grows with every turn
        )
        if level != self._warned.get(robot):
            self._warned[robot] = level
            if verdict.words:
                log.warning("%s: %s", robot, verdict.words)
        return verdict

    def said(self, robot: str, said: Said, age_s: float = 0.0) -> None:
        """Keep a piece of transcript that is so old, if that was asked for."""
        if self._transcripts is None or not self.persona(robot).transcripts_to_file:
            return
        now = self._today() - timedelta(seconds=age_s)
        line = json.dumps({"at": now.isoformat(), "who": said.who, "text": said.text}, ensure_ascii=False)
        path = self._transcripts / f"{robot}-{now.date().isoformat()}.jsonl"
        try:
            self._transcripts.mkdir(parents=True, exist_ok=True)
            with path.open("a") as file:
                file.write(line + "\n")
        except OSError as error:
            self.count(robot, "transcript", f"the transcript cannot be written: {error}")

    def count(self, robot: str, cause: str, words: str) -> None:
        """Count something; refusals and the first of each cause are warnings, the rest is told at DEBUG."""
        first = self.tally.count(cause, robot)
        log.log(logging.WARNING if first or cause == "refused" else logging.INFO, "%s: %s (%s)", robot, words, cause)

    def _name_strangers(self) -> None:
        """A persona whose robot is mistyped would wait for it for ever, without a word."""
        strangers = self._personas.robots.keys() - self._admitted() if self._admitted else ()
        if strangers:
            log.warning("no key is admitted of these in %s: %s", self._robots_file, ", ".join(sorted(strangers)))

    def _signature(self) -> tuple[object, ...]:
        """What changes when a file that matters does."""
        files = [path for path in (self._robots_file, self._endpoint.key_file) if path]
        return tuple((path, _changed_ns(path)) for path in files)


def _changed_ns(path: Path) -> int | None:
    """When a file was changed last; None if it is not there, or not for us to see."""
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return None
