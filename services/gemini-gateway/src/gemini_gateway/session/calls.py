"""Calls of tools: which run, which are answered, and what becomes of them as connections come and go. Pure: time is passed in.

On the connection on which it came every id is answered exactly once, by the tool's result or by an error; or not at all, if the
server takes the call back, the connection is lost, or the model was refused too often. What was lost is answered by an error on
the connection that resumes the session, as gemini-3.8 leaves the person's next sentence without an answer else.
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
"""Calls at a time; those that run on although nobody wants their results count."""
TURN_MAX: Final = 5
"""Calls for what the person has said once."""
RATE: Final = Rate(0.5, 30)
"""Calls: 30 a minute."""
REFUSALS_MAX: Final = 20
"""For what the person has said once so many calls are refused in words; further ones are only counted. If a model goes on
calling, its turns count as turns without a sound, of which a few begin a new session."""
KEPT_MAX: Final = 1024
"""Ids that are remembered after their answer; of more the oldest are forgotten."""
UNKNOWN: Final = "unknown"
"""The name under which calls of tools that do not exist are told: the model makes such names up."""


@dataclass(frozen=True, slots=True)
class _Call:
    id: str
    name: str
    terms: ToolTerms
    since: float


@dataclass(slots=True)
class _Answered:
    """An answer that the server may not have got."""

    name: str
    sent: bool = False


class Calls:
    """The calls of one session, over all its connections."""

    def __init__(self, now: float) -> None:
        self.answered_at = float("-inf")
        """When the newest answer was given."""
        self._open: dict[int, _Call] = {}
        """Of the open connection, without an answer."""
        self._running: dict[int, _Call] = {}
        self._answered: dict[str, _Answered] = {}
        """On the open connection, and not proven to have arrived."""
        self._seen: dict[str, None] = {}
        """Ids of the open connection."""
        self._lost: dict[str, str] = {}
        """Ids and names of calls of connections that are gone."""
        self._next_key = 1
        self._bucket = TokenBucket(RATE)
        self._bucket.take(0, now)
        self._asked_at = float("-inf")
        self._asked = self._refused = 0
        self._owed_since: float | None = None
        """Since when the model is to speak of an answer, and has not."""

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
            calls: In one message.
            tools: Those that the robot has.
            now: The time.
            asked_at: When the person spoke last: what they say anew allows for more calls.
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
        """Why a call is not run, if so."""
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
        """The server takes calls back: they are stopped, and not answered."""
        out: list[Out | Answer] = []
        for key, call in list(self._open.items()):
            if call.id in ids:
                out += self._close(key, "cancelled", now)
        for each in ids:
            self._answered.pop(each, None)
        return out

    def proven(self) -> None:
        """The server shows by a handle that it has got what was sent: none comes while a call is open."""
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
        """An answer was taken to be sent; or could not be, after all."""
        for response in answer.responses:
            if answered := self._answered.get(response.id):
                answered.sent = sent

    # --- time, and the connection -------------------------------------------------------------------------------------

    def due(self, now: float) -> list[Out | Answer]:
        """Answer the calls that have taken too long; what may not be cut is, if it does not end for a minute after that."""
        late = [key for key, call in self._open.items() if now - call.since >= call.terms.deadline_s]
        endless = [key for key, call in self._running.items() if now - call.since >= call.terms.deadline_s + DEADLINE_MAX_S]
        out = self._give_up(late, "timeout", "timed out: it took too long", now)
        return out + [Stop(key) for key in endless]

    def renewed(self, now: float) -> list[Out | Answer]:
        """The connection has to be renewed before they end: answer them, so that the session can be resumed."""
        return self._give_up(list(self._open), "lost", "the connection to the tool was interrupted", now)

    def disconnected(self, now: float) -> list[Out]:
        """The connection is gone, and what was not answered is lost."""
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
        """Another connection is there: what was lost is answered, if it is the same session."""
        lost, self._lost = self._lost, {}
        if not (lost and resumed):
            return []
        words = refusal("the connection was lost before the tool could answer", retryable=True)
        for each in lost:
            self._remember(each)
        responses = [Response(each, name, words, background=False, speaks=True) for each, name in lost.items()]
        return self._answer(responses, now)

    def left(self) -> list[Out]:
        """The robot has left."""
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
        """A call is over for the model, though its tool may run on."""
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
