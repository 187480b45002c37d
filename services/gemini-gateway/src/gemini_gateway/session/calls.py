"""Calls of tools: decides which run, how they are answered, and what follows when a connection ends. Pure: time is passed in.

Every id is answered exactly once, on the connection on which it came, by the tool's result or by an error. It is not answered
if the server takes the call back, the connection is lost, or too many calls were refused. Lost calls are answered by an error
on the connection that resumes the session: otherwise gemini-3.8 does not answer the person's next sentence.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from gemini_gateway.events import FunctionCall
from gemini_gateway.session.decisions import Answer, Count, Emit, Out, Response, Run, Stop
from gemini_gateway.session.timing import SILENCE_S, WORDS_MAX, ToolTerms
from reachy_gateway.tools.port import DEADLINE_MAX_S, refusal
from reachy_gateway.voice import CallOutcome, ToolEnded
from reachy_link.bucket import Rate, TokenBucket

OPEN_MAX: Final = 4
"""The most calls at a time. Tools that still run although nobody wants their results count, too."""
TURN_MAX: Final = 5
"""The most calls until the person speaks again."""
RATE: Final = Rate(0.5, 30)
"""The most calls: 30 a minute."""
REFUSALS_MAX: Final = 20
"""How many calls are refused in words until the person speaks again. Further calls are only counted. If the model still goes on
calling, its turns count as turns without a sound, and a few of these begin a new session."""
KEPT_MAX: Final = 1024
"""How many ids are remembered after their answer. Beyond this number the oldest are forgotten."""
UNKNOWN: Final = "unknown"
"""The name under which calls of tools that do not exist are reported, because the model makes their names up."""


@dataclass(frozen=True, slots=True)
class _Call:
    id: str
    name: str
    terms: ToolTerms
    since: float


@dataclass(slots=True)
class _Answered:
    """An answer that may not have reached the server."""

    name: str
    sent: bool = False


class Calls:
    """The calls of one session, over all its connections."""

    def __init__(self, now: float) -> None:
        self.answered_at = float("-inf")
        """When the newest answer was given."""
        self._open: dict[int, _Call] = {}
        """Calls of the open connection that have no answer."""
        self._running: dict[int, _Call] = {}
        self._answered: dict[str, _Answered] = {}
        """Answers given on the open connection that are not proven to have arrived."""
        self._seen: dict[str, None] = {}
        """Ids of calls on the open connection."""
        self._lost: dict[str, str] = {}
        """Ids and names of calls whose connection is gone."""
        self._next_key = 1
        self._bucket = TokenBucket(RATE)
        self._bucket.take(0, now)
        self._asked_at = float("-inf")
        self._asked = self._refused = 0
        self._owed_since: float | None = None
        """Since when the model should speak of an answer; None once it has spoken."""

    def owes_words(self, now: float) -> bool:
        """Whether the model is about to speak of an answer."""
        return self._owed_since is not None and now - self._owed_since < SILENCE_S

    def spoke(self) -> None:
        """The model speaks."""
        self._owed_since = None

    @property
    def open(self) -> bool:
        """Whether a call has no answer yet."""
        return bool(self._open)

    @property
    def waiting(self) -> bool:
        """Whether the model waits for an answer before it speaks."""
        return any(call.terms.waits for call in self._open.values())

    @property
    def unsent(self) -> bool:
        """Whether an answer still has to be sent."""
        return any(not answered.sent for answered in self._answered.values())

    # --- the server ---------------------------------------------------------------------------------------------------

    def requested(
        self, calls: Sequence[FunctionCall], tools: Mapping[str, ToolTerms], now: float, *, asked_at: float
    ) -> list[Out | Answer]:
        """The model wants tools called.

        Args:
            calls: The calls of one message.
            tools: The robot's tools.
            now: The time.
            asked_at: When the person last spoke. New speech allows for more calls.
        """
        if asked_at > self._asked_at:
            self._asked_at, self._asked, self._refused = asked_at, 0, 0
        out: list[Out | Answer] = []
        refused: list[Response] = []
        for call in calls:
            if call.id in self._seen:
                out.append(Count("tool_call", "a tool was called twice with the same id: the second one is ignored"))
                continue
            terms = tools.get(call.name)
            outcome, words = self._objection(call, terms, now)
            if outcome is None and terms and call.args is not None:
                key, self._next_key = self._next_key, self._next_key + 1
                self._open[key] = self._running[key] = _Call(call.id, call.name, terms, now)
                self._remember(call.id)
                self._asked += 1
                out.append(Run(key, call.name, call.args))
                continue
            self._refused += 1
            if self._refused <= REFUSALS_MAX:
                self._remember(call.id)
                refused.append(Response(call.id, call.name, refusal(words, retryable=False), background=False, speaks=True))
            out += [
                Emit(ToolEnded(call.name if terms else UNKNOWN, outcome or "invalid", 0.0)),
                Count("tool_call", f"{call.name[:WORDS_MAX]!r} was called, and refused: {words}"),
            ]
        return out + (self._answer(refused, now) if refused else [])

    def _objection(self, call: FunctionCall, terms: ToolTerms | None, now: float) -> tuple[CallOutcome | None, str]:
        """Why a call is not run, as an outcome and words for the model; None and "" if it may run."""
        if terms is None:
            return "unknown", "unsupported: this robot has no such tool"
        if call.args is None:
            return "invalid", "invalid_argument: the arguments are too long, or too deep"
        if max(len(self._open), len(self._running)) >= OPEN_MAX:
            return "limit", f"too many calls at a time: at most {OPEN_MAX}; wait for the others"
        if self._asked >= TURN_MAX:
            return "limit", f"too many calls: at most {TURN_MAX} for one request; say what you know"
        if not self._bucket.take(1, now):
            return "limit", "too many calls: at most 30 a minute"
        return None, ""

    def cancelled(self, ids: Sequence[str], now: float) -> list[Out | Answer]:
        """The server takes calls back: stop them, and do not answer them."""
        out: list[Out | Answer] = []
        for key, call in list(self._open.items()):
            if call.id in ids:
                out += self._close(key, "cancelled", now)
        for each in ids:
            self._answered.pop(each, None)
        return out

    def proven(self) -> None:
        """A handle has come. It proves that the answers sent so far arrived: no handle comes while a call is open."""
        self._answered = {each: answered for each, answered in self._answered.items() if not answered.sent}

    # --- the rim ------------------------------------------------------------------------------------------------------

    def ended(self, key: int, response: Mapping[str, Any], outcome: CallOutcome, now: float) -> list[Out | Answer]:
        """A call has ended by itself, or because it was stopped."""
        self._running.pop(key, None)
        call = self._open.pop(key, None)
        if call is None:
            return []
        spoken = call.terms.speaks or outcome != "done"
        answer = Response(call.id, call.name, response, background=not call.terms.waits, speaks=spoken)
        return [Emit(ToolEnded(call.name, outcome, now - call.since)), *self._answer([answer], now)]

    def since(self, key: int) -> float | None:
        """When an open call came."""
        call = self._open.get(key)
        return call.since if call else None

    def sent(self, answer: Answer, *, sent: bool) -> None:
        """Note that an answer was taken to be sent; or, with ``sent=False``, that it could not be sent after all."""
        for response in answer.responses:
            if answered := self._answered.get(response.id):
                answered.sent = sent

    # --- time, and the connection -------------------------------------------------------------------------------------

    def due(self, now: float) -> list[Out | Answer]:
        """Answer calls that passed their deadline. A tool that may not be cut is stopped ``DEADLINE_MAX_S`` later."""
        late = [key for key, call in self._open.items() if now - call.since >= call.terms.deadline_s]
        endless = [key for key, call in self._running.items() if now - call.since >= call.terms.deadline_s + DEADLINE_MAX_S]
        out = self._give_up(late, "timeout", "timed out: it took too long", now)
        return out + [Stop(key) for key in endless]

    def renewed(self, now: float) -> list[Out | Answer]:
        """The connection must be renewed before the calls end: answer them, so that the session can be resumed."""
        return self._give_up(list(self._open), "lost", "the connection to the tool was interrupted", now)

    def disconnected(self, now: float) -> list[Out]:
        """The connection is gone: unanswered calls are lost."""
        out: list[Out] = []
        for key, call in list(self._open.items()):
            self._lost[call.id] = call.name
            out += self._close(key, "lost", now)
        self._lost |= {each: answered.name for each, answered in self._answered.items()}
        while len(self._lost) > KEPT_MAX:
            del self._lost[next(iter(self._lost))]
        self._answered.clear()
        self._seen.clear()
        self._owed_since = None
        return out

    def connected(self, now: float, *, resumed: bool) -> list[Out | Answer]:
        """A connection is open: if it resumed the session, answer the lost calls."""
        lost, self._lost = self._lost, {}
        if not (lost and resumed):
            return []
        words = refusal("the connection was lost before the tool could answer", retryable=True)
        for each in lost:
            self._remember(each)
        responses = [Response(each, name, words, background=False, speaks=True) for each, name in lost.items()]
        return self._answer(responses, now)

    def left(self) -> list[Out]:
        """The robot has left: stop its tools, except those that may not be cut."""
        running, self._running = self._running, {}
        self._open.clear()
        return [Stop(key) for key, call in running.items() if call.terms.may_be_cut]

    def _give_up(self, keys: Sequence[int], outcome: CallOutcome, words: str, now: float) -> list[Out | Answer]:
        out: list[Out | Answer] = []
        for key in keys:
            call = self._open[key]
            out += self._close(key, outcome, now)
            answer = Response(call.id, call.name, refusal(words, retryable=True), background=not call.terms.waits, speaks=True)
            out += self._answer([answer], now)
        return out

    def _close(self, key: int, outcome: CallOutcome, now: float) -> list[Out]:
        """End a call for the model. A tool that may not be cut runs on."""
        call = self._open.pop(key)
        stop: list[Out] = [Stop(key)] if call.terms.may_be_cut else []
        return [*stop, Emit(ToolEnded(call.name, outcome, now - call.since))]

    def _answer(self, responses: Sequence[Response], now: float) -> list[Out | Answer]:
        self.answered_at = now
        if any(response.speaks for response in responses):
            self._owed_since = now
        self._answered |= {response.id: _Answered(response.name) for response in responses}
        while len(self._answered) > KEPT_MAX:
            del self._answered[next(iter(self._answered))]
        return [Answer(tuple(responses))]

    def _remember(self, each: str) -> None:
        self._seen[each] = None
        while len(self._seen) > KEPT_MAX:
            del self._seen[next(iter(self._seen))]
