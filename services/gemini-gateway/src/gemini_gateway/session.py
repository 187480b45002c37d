"""The session manager of one robot: when to dial, renew, hold back, give up and come back. Pure: time is passed in.

::

    waiting ──may dial──► dialling ──opened──► live ──renewal, budget, parking──► closing ──closed──► waiting | spent | parked
       ▲                     │ │                 │
       └──── unreachable ────┘ └─ refused ─► refused ──mended──► waiting        live ── lost ──► waiting

It decides; the rim carries out what it returns, and tells it what came of it. ``docs/sessions.md`` has the table.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Final, Literal

from gemini_gateway.events import GoAway, LiveError, Resumable, ServerEvent, Tokens, ToolCall, Unknown
from reachy_gateway.voice import (
    HEARS_HZ,
    Audio,
    Interrupted,
    ReplyGenerated,
    Said,
    SpeechNoticed,
    Standing,
    TurnComplete,
    VoiceEvent,
)

BYTES_PER_S: Final = HEARS_HZ * 2
HELD_MAX_S: Final = 10.0
"""Mic audio kept during a planned renewal; beyond it the oldest is dropped and counted."""
OUTAGE_MAX_S: Final = 2.0
"""Mic audio kept during an outage: what was said longer ago would be answered too late."""
PRE_ROLL_S: Final = 1.0
"""Mic audio kept while parked, so that the first word is not lost."""
SEED_TURNS: Final = 20
SEED_CHARS: Final = 4000
"""How much of the transcript a new session is given when the old one cannot be resumed."""
HANDLE_MAX_S: Final = 7200.0
"""How long Google keeps a session to be resumed."""
HANDLE_FAILURES: Final = 2
QUIET_S: Final = 0.5
"""Nobody spoke and nothing came for so long: a good moment to renew."""
DEADLINE_MARGIN_S: Final = 0.3
GRACE_S: Final = 5.0
"""How long past its deadline a connection that is still in mid-answer is listened to: the server may yet finish."""
AGE_WINDOW_S: Final = 45.0
"""From the age at which a connection should be renewed to that at which it must be."""
SILENCE_S: Final = 10.0
"""Speech that gets no message of any kind for so long means that the server hangs."""
SPEECH_MIN_S: Final = 0.4
"""Shorter sounds may well be left unanswered."""
SEND_STALL_S: Final = 3.0
STREAM_END_S: Final = 1.0
"""After so long without mic audio the server is told that the stream has paused."""
TELL_S: Final = 1.0
"""An outage shorter than this is not told to the robot."""
SHORT_LIFE_S: Final = 5.0
"""A connection that is lost within this counts as one that did not help: the next dial waits, longer each time."""
SHORT_CAP_S: Final = 30.0
REFUSED_RETRY_S: Final = 300.0
QUOTA_S: Final = (30.0, 300.0)
"""The pause after a quota error: drawn from half of, then up to the first, doubling to the second."""


class Phase(Enum):
    """Where the session is."""

    WAITING = "waiting to dial"
    DIALLING = "dialling"
    LIVE = "live"
    CLOSING = "closing"
    REFUSED = "refused"
    SPENT = "over budget"
    PARKED = "parked"


@dataclass(frozen=True, slots=True)
class Limits:
    """What a session may be told by its persona."""

    max_age_s: float = 540.0
    """Renew a connection from this age on: Google closes at about 600 s, sometimes without a GoAway."""
    park_after_s: float | None = None
    """Hang up after so long without speech."""
    manual_vad: bool = False


@dataclass(frozen=True, slots=True)
class Dial:
    """Open a connection: resume by the handle, or begin with what was said before."""

    handle: str | None
    seed: tuple[tuple[Literal["person", "robot"], str], ...]


@dataclass(frozen=True, slots=True)
class HangUp:
    """Close the connection; tell when it is closed."""


@dataclass(frozen=True, slots=True)
class Emit:
    """Hand an event to the conversation."""

    event: VoiceEvent


@dataclass(frozen=True, slots=True)
class Decline:
    """Answer a tool call that nobody serves."""

    calls: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Count:
    """Count something under a cause, with words for the log."""

    cause: str
    words: str


@dataclass(frozen=True, slots=True)
class Bill:
    """A turn is over, and this is what it used."""

    tokens: Tokens


Out = Dial | HangUp | Emit | Count | Bill
Item = bytes | Literal["start", "end", "stream_end"] | Decline


@dataclass
class _Line:
    """What is true of the connection that is open, or was last."""

    opened_at: float
    last_server: float
    last_turn: float
    deadline: float = float("inf")
    """By when it must be renewed."""
    wanted: bool = False
    """Whether it is to be renewed at the next quiet moment."""
    held: bool = False
    """Whether mic audio is kept for the next connection."""
    in_turn: bool = False
    tokens: Tokens | None = None
    """What the turn in progress used so far."""
    sending_since: float | None = None


class Session:
    """See the module. Not for use after the robot has left."""

    def __init__(self, limits: Limits, now: float, draw: Callable[[], float]) -> None:
        self.limits = limits
        self.phase = Phase.WAITING
        self.dropped_ms = 0.0
        """Mic audio that was not sent because it had waited for too long."""
        self._draw = draw
        self._not_before = now
        self._after_closing = Phase.WAITING
        self._outbox: deque[Item] = deque()
        self._outbox_bytes = 0
        self._handle: str | None = None
        self._handle_at = now
        self._handle_failures = 0
        self._dialled_with: str | None = None
        self._said: deque[tuple[Literal["person", "robot"], str]] = deque(maxlen=SEED_TURNS)
        self._trouble_since: float | None = None
        self._told: Standing | None = None
        self._trouble_words = ""
        self._quota_attempts = 0
        self._short_lives = 0
        self._allowed = True
        self._allowed_words = ""
        self._line = _Line(now, now, now)
        self._last_mic = now
        self._last_speech = now
        self._speech_bytes = 0
        self._stream_ended = True
        self._speaking = False
        self._awaiting_since: float | None = None

    # --- the microphone -----------------------------------------------------------------------------------------------

    def hear(self, pcm: bytes, now: float, *, speaking: bool) -> list[Out]:
        """Take mic audio; ``speaking`` is what the speech gate says of it."""
        self._last_mic = now
        self._stream_ended = False
        if speaking:
            self._speech_bytes = self._speech_bytes + len(pcm) if self._speaking else len(pcm)
            self._last_speech = now
        elif self._speaking and self._speech_bytes >= SPEECH_MIN_S * BYTES_PER_S and not self.limits.manual_vad:
            self._awaiting_since = now
        self._speaking = speaking
        self._append(pcm)
        self._trim()
        return self._wake() if speaking else []

    def activity(self, event: Literal["start", "end"], now: float) -> list[Out]:
        """Manual VAD: the person's turn starts or ends."""
        self._last_speech = now
        if event == "end":
            self._awaiting_since = now
        self._append(event)
        return self._wake()

    def take(self) -> Item | None:
        """What the rim should send next on the open connection; None if there is nothing, or it must not."""
        if self.phase is not Phase.LIVE or self._line.held or not self._outbox:
            return None
        item = self._outbox.popleft()
        if isinstance(item, bytes):
            self._outbox_bytes -= len(item)
        return item

    def untaken(self, item: Item) -> None:
        """The item could not be sent: the connection is lost."""
        self._outbox.appendleft(item)
        if isinstance(item, bytes):
            self._outbox_bytes += len(item)

    def sending(self, since: float | None) -> None:
        """Since when the rim has been waiting for a send to be taken; None if it is not."""
        self._line.sending_since = since

    # --- the connection -----------------------------------------------------------------------------------------------

    def dial(self, now: float) -> list[Out]:
        """Permission to dial was granted."""
        if not self.wants_to_dial(now):
            return []
        self.phase = Phase.DIALLING
        if self._handle and now - self._handle_at > HANDLE_MAX_S:
            self._handle = None
        self._dialled_with = self._handle
        return [Dial(self._handle, () if self._handle else self._seed())]

    def wants_to_dial(self, now: float) -> bool:
        """Whether the session waits for permission to dial."""
        return self.phase is Phase.WAITING and now >= self._not_before

    def opened(self, now: float) -> list[Out]:
        """The dial succeeded; the server has answered the setup."""
        self.phase = Phase.LIVE
        self._line = _Line(now, now, now)
        self._handle_failures = self._quota_attempts = 0
        if self._dialled_with is None:
            self._handle = None  # the old one's session is not the one that was just begun
        self._trouble_since = None
        if self._awaiting_since is not None:
            self._awaiting_since = now
        return self._tell(Standing("live"))

    def failed(self, error: LiveError, now: float) -> list[Out]:
        """The dial did not succeed."""
        if self._dialled_with and error.kind in ("lost", "refused"):
            self._handle_failures += 1
            if self._handle_failures >= HANDLE_FAILURES or error.kind == "refused":
                self._handle = None
                self._handle_failures = 0
                out: list[Out] = [Count("handle_dropped", f"the session cannot be resumed, a new one begins: {error.words}")]
                return out + self._trouble(LiveError("lost", error.words), now)
        return self._trouble(error, now)

    def closed(self, error: LiveError | None, now: float) -> list[Out]:
        """The open connection has ended: by us, or by this error."""
        out = self._end_turn()
        if self.phase is Phase.CLOSING:
            self.phase = self._after_closing
            self._not_before = now
            return out + self._settle()
        self._short_lives = self._short_lives + 1 if now - self._line.opened_at < SHORT_LIFE_S else 0
        out += self._trouble(error or LiveError("lost", "the connection ended"), now)
        if self._short_lives and self.phase is Phase.WAITING:
            self._not_before = max(self._not_before, now + self._draw() * min(SHORT_CAP_S, 0.1 * 2**self._short_lives))
        return out

    def server(self, event: ServerEvent, now: float) -> list[Out]:
        """Something that the server sent on the open connection."""
        self._line.last_server = now
        match event:
            case GoAway(time_left_s):
                self._line.deadline = min(self._line.deadline, now + time_left_s)
                self._line.wanted = True
                return [Count("go_away", f"Gemini closes this connection in {time_left_s:.0f} s"), *self.tick(now)]
            case Resumable(handle):
                if handle:
                    self._handle, self._handle_at = handle, now
                return []
            case ToolCall(calls):
                names = ", ".join(name for _, name in calls)
                self._append(Decline(calls))
                return [Count("tool_call", f"a tool that nobody serves was called: {names}")]
            case Unknown(detail):
                return [Count("unknown_message", f"a message that nobody understands: {detail}")]
            case Tokens():
                self._line.tokens = event
                return []
            case _:
                return self._conversation(event, now)

    # --- time and outside ---------------------------------------------------------------------------------------------

    def tick(self, now: float) -> list[Out]:
        """What is due by now."""
        match self.phase:
            case Phase.LIVE:
                return self._tick_live(now)
            case Phase.WAITING | Phase.DIALLING if self._trouble_since is not None and now - self._trouble_since >= TELL_S:
                self._trim()
                return self._tell(Standing("reconnecting", self._trouble_words))
            case Phase.REFUSED if now >= self._not_before:
                self.phase = Phase.WAITING
        return []

    def renew(self) -> None:
        """Renew at the next quiet moment: the persona has changed."""
        self._line.wanted = True

    def mended(self, now: float) -> list[Out]:
        """A person has changed the key or the configuration: what was refused may be tried again."""
        if self.phase is Phase.REFUSED:
            self.phase = Phase.WAITING
        self._not_before = min(self._not_before, now)
        return []

    def budget(self, *, allowed: bool, words: str) -> list[Out]:
        """Whether the budget lets the session go on; the turn in progress is finished first."""
        self._allowed, self._allowed_words = allowed, words
        if allowed and self.phase is Phase.SPENT:
            self.phase = Phase.WAITING
            self._told = None
        elif not allowed and self.phase in (Phase.WAITING, Phase.PARKED, Phase.REFUSED):
            self.phase = Phase.SPENT
            return self._settle()
        return []

    # --- how it is done -----------------------------------------------------------------------------------------------

    def _conversation(self, event: VoiceEvent, now: float) -> list[Out]:
        out: list[Out] = [Emit(event)]
        match event:
            case Audio() | SpeechNoticed() | Interrupted():
                self._awaiting_since = None
                self._line.in_turn = self._line.in_turn or not isinstance(event, SpeechNoticed)
            case ReplyGenerated():
                self._line.in_turn = True
            case TurnComplete():
                self._awaiting_since = None
                self._line.in_turn = False
                self._line.last_turn = now
                out += self._bill()
            case Said(who, text):
                self._remember(who, text)
        return out

    def _tick_live(self, now: float) -> list[Out]:
        if self._line.sending_since is not None and now - self._line.sending_since > SEND_STALL_S:
            return self._abandon("stalled", f"Gemini took nothing for {SEND_STALL_S:.0f} s")
        if self._awaiting_since is not None and now - max(self._awaiting_since, self._line.last_server) > SILENCE_S:
            self._awaiting_since = None
            return self._abandon("silent", f"Gemini said nothing for {SILENCE_S:.0f} s after speech")
        if self._line.tokens and self._between_turns(now):
            return self._bill()  # counts that came after their turn
        if not self._allowed and self._between_turns(now):
            return self._close(Phase.SPENT)
        if self._parks(now):
            return self._close(Phase.PARKED)
        if now - self._line.opened_at >= self.limits.max_age_s:
            self._line.wanted = True
            self._line.deadline = min(self._line.deadline, self._line.opened_at + self.limits.max_age_s + AGE_WINDOW_S)
        if self._line.wanted and self._renews(now):
            return self._close(Phase.WAITING)
        if not self._stream_ended and now - self._last_mic >= STREAM_END_S and not self.limits.manual_vad:
            self._stream_ended = True
            self._append("stream_end")
        return []

    def _renews(self, now: float) -> bool:
        """Whether this is the moment for the renewal that is wanted."""
        if self._between_turns(now) and not self._speaking:
            return True
        if now < self._line.deadline - DEADLINE_MARGIN_S:
            return False
        if not self._line.in_turn and self._awaiting_since is None:
            return True  # only the person speaks, and is heard by the next connection
        self._line.held = True  # from here on the server may close at any time: what it might not take is kept
        return now >= self._line.deadline + GRACE_S

    def _between_turns(self, now: float) -> bool:
        quiet_s = now - max(self._line.last_turn, self._last_speech)
        return not self._line.in_turn and self._awaiting_since is None and quiet_s >= QUIET_S

    def _parks(self, now: float) -> bool:
        after_s = self.limits.park_after_s
        since = max(self._last_speech, self._line.opened_at)
        return after_s is not None and self._between_turns(now) and now - since >= after_s

    def _wake(self) -> list[Out]:
        if self.phase is Phase.PARKED:
            self.phase = Phase.WAITING
        return []

    def _close(self, then: Phase) -> list[Out]:
        self.phase = Phase.CLOSING
        self._after_closing = then
        return [HangUp()]

    def _abandon(self, cause: str, words: str) -> list[Out]:
        return [Count(cause, words + ": connecting anew"), *self._close(Phase.WAITING)]

    def _trouble(self, error: LiveError, now: float) -> list[Out]:
        """A dial or a connection has failed: what to wait for."""
        if self._trouble_since is None:
            self._trouble_since = now
        self._trouble_words = error.words
        self._not_before = now
        out: list[Out] = [Count(error.kind, error.words)]
        if error.kind == "refused":
            self.phase = Phase.REFUSED
            self._not_before = now + REFUSED_RETRY_S
            return out + self._tell(Standing("refused", error.words))
        self.phase = Phase.WAITING
        if error.kind == "quota":
            pause_s = min(QUOTA_S[1], QUOTA_S[0] * 2**self._quota_attempts) * (0.5 + self._draw() / 2)
            self._quota_attempts = min(self._quota_attempts + 1, 10)
            self._not_before = now + pause_s
            out += self._tell(Standing("reconnecting", f"{error.words}; trying again in {pause_s:.0f} s"))
        self._trim()
        return out if self._allowed else out + self.budget(allowed=False, words=self._allowed_words)

    def _settle(self) -> list[Out]:
        """A phase that was gone into on purpose."""
        if self.phase is Phase.SPENT:
            return self._tell(Standing("refused", self._allowed_words))
        self._trim()
        return []

    def _tell(self, standing: Standing) -> list[Out]:
        if standing == self._told:
            return []
        self._told = standing
        return [Emit(standing)]

    def _end_turn(self) -> list[Out]:
        """A connection is gone: what it was saying ends here, cleanly."""
        out: list[Out] = [Emit(TurnComplete())] if self._line.in_turn else []
        self._line.in_turn = False
        self._line.sending_since = None
        return out + self._bill()

    def _bill(self) -> list[Out]:
        tokens, self._line.tokens = self._line.tokens, None
        return [Bill(tokens)] if tokens else []

    def _remember(self, who: Literal["person", "robot"], text: str) -> None:
        if self._said and self._said[-1][0] == who:
            text = self._said.pop()[1] + text
        self._said.append((who, text[-SEED_CHARS:]))

    def _seed(self) -> tuple[tuple[Literal["person", "robot"], str], ...]:
        seed: list[tuple[Literal["person", "robot"], str]] = []
        left = SEED_CHARS
        for who, text in reversed(self._said):
            if len(text) > left:
                break
            left -= len(text)
            seed.append((who, text))
        return tuple(reversed(seed))

    def _append(self, item: Item) -> None:
        self._outbox.append(item)
        if isinstance(item, bytes):
            self._outbox_bytes += len(item)

    def _trim(self) -> None:
        """Drop the oldest mic audio beyond what this phase keeps; marks of manual VAD stay in their order."""
        if self.phase is Phase.PARKED or self.phase is Phase.SPENT or self.phase is Phase.REFUSED:
            keep_s = PRE_ROLL_S
        elif self._trouble_since is not None and self.phase is not Phase.LIVE:
            keep_s = OUTAGE_MAX_S
        else:
            keep_s = HELD_MAX_S
        marks: list[Item] = []
        while self._outbox_bytes > keep_s * BYTES_PER_S:
            item = self._outbox.popleft()
            if isinstance(item, bytes):
                self._outbox_bytes -= len(item)
                self.dropped_ms += len(item) * 1000 / BYTES_PER_S if self.phase is not Phase.PARKED else 0.0
            elif item in ("start", "end"):
                marks = [item]
        self._outbox.extendleft(marks)
