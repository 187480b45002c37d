"""The session manager of one robot: when to dial, renew, hold back, give up and come back. Pure: time is passed in.

::

    waiting ──may dial──► dialling ──opened──► live ──renewal, budget, parking──► closing ──closed──► waiting | spent | parked
       ▲                     │ │                 │
       └──── unreachable ────┘ └─ refused ─► refused ──mended──► waiting        live ── lost ──► waiting

It decides; the rim carries out what it returns, and tells it what came of it. ``docs/sessions.md`` has the table.
"""

import math
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import Enum
from typing import Final, Literal

import numpy as np

from gemini_gateway.events import Alive, GoAway, LiveError, Reason, Resumable, ServerEvent, ToolCall, Unheard, Unknown, Working
from gemini_gateway.exchanges import Exchanges, Keep, Who
from gemini_gateway.meter import Bill, Meter
from reachy_gateway.provider.usage import Tokens
from reachy_gateway.talk.pacer import QUEUE_MAX_MS
from reachy_gateway.talk.turns import LEFTOVERS_S
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
MESSAGE_BYTES: Final = BYTES_PER_S // 10
"""Of mic audio in one message, 100 ms, as Google advises at most: more than one chunk if several wait, as on a busy core."""
HELD_MAX_S: Final = 10.0
"""Mic audio kept during a planned renewal; beyond it the oldest is dropped and counted."""
OUTAGE_MAX_S: Final = 2.0
"""Mic audio kept during an outage: what was said longer ago would be answered too late."""
PRE_ROLL_S: Final = 1.0
"""Mic audio kept while parked, so that the first word is not lost."""
HANDLE_MAX_S: Final = 7200.0
"""How long Google keeps a session to be resumed."""
HANDLE_FAILURES: Final = 2
HANDLE_PAUSE_S: Final = (0.5, 1.0)
"""Between dials that are to resume a session, drawn: Google answers 1011 for as long as it takes the old socket for open."""
QUIET_S: Final = 0.5
"""Nobody spoke and nothing came for so long: a good moment to renew."""
DEADLINE_MARGIN_S: Final = 0.3
GRACE_S: Final = 5.0
"""How long past its deadline a connection that is still in mid-answer is listened to: the server may yet finish."""
AGE_WINDOW_S: Final = 45.0
"""From the age at which a connection should be renewed to that at which it must be."""
SILENCE_S: Final = 10.0
"""Speech that gets nothing of an answer for so long means that the server hangs; so does an answer that stops in mid-way. Other
messages are no answer: a server that hangs may well go on with transcripts, handles and counts.
Where another connection does not help either, the next ones are given twice as long each: there may be nothing to answer, as
gemini-3.8 is silent by choice where people talk to each other."""
UNHEEDED_DOUBLINGS: Final = 3
SILENCE_MAX_S: Final = 30.0
"""The same if the person keeps on talking, as people do who are not answered."""
PAUSE_S: Final = 2.0
"""After so long without speech the server must have taken the person's turn for over."""
TURN_END_S: Final = 3.0
"""An answer that was generated whole, and was heard, is over after so long, although the server does not say so."""
MUTE_TURNS: Final = 3
"""After so many turns in a row without a sound a new session begins; where that does not help, the next after twice as many."""
FAINT: Final = 100
"""Samples of PCM16 up to this, -50 dBFS, are no sound that a person hears."""
SOUNDLESS_MAX_S: Final = 60.0
"""The same while words, thoughts and calls come, and nothing that a person hears."""
BARGE_IN_S: Final = 0.6
"""So much speech cuts an answer whose connection is gone; a knock holds the speech gate open for half of that."""
SPEECH_MIN_S: Final = 0.4
"""Shorter sounds may well be left unanswered, and are not waited for."""
OWED_MIN_S: Final = 0.7
"""From this length on, the speech gate's 0.3 s at the end included, a server that says nothing of it is taken to hang. Knocks
are shorter, and Gemini does not tell of them."""
BLAMED_MIN_S: Final = 1.0
"""And from this length on it is held against the handle, if the server has not said a word since it resumed the session."""
SEND_STALL_S: Final = 3.0
BEHIND_S: Final = 5.0
"""A connection that has been behind with the microphone by ``OUTAGE_MAX_S`` for so long does not catch up by itself."""
WORDS_MAX: Final = 200
"""Characters of what a server chose, where it is told to people."""
STREAM_END_S: Final = 1.0
"""After so long without mic audio the server is told that the stream has paused."""
TELL_S: Final = 1.0
"""An outage shorter than this is not told to the robot."""
GAP_TELL_S: Final = 2.0
"""Nor is a pause for a renewal, or for the turn to dial, that is shorter than this."""
SHORT_LIFE_S: Final = 5.0
"""A connection that is lost within this counts as one that did not help: the next dial waits, longer each time."""
SHORT_FIRST_S: Final = 0.1
SHORT_CAP_S: Final = 30.0
REFUSED_RETRY_S: Final = 300.0
DOUBTED_S: Final = 15.0
"""A refusal for a reason that nobody knows is tried again after so long, then after twice as long each time."""
DECLINED_S: Final = (3.0, 60.0)
"""The pause after a setup that was answered with words that nobody knows; it doubles from the first to the second."""
QUOTA_S: Final = (30.0, 300.0)
"""The pause after a quota error: drawn from half of, then up to the first, doubling to the second."""


NOT_YET: Final = Standing("reconnecting", "there is no connection to Gemini yet")


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
    interrupts: bool = True
    """Whether speech cuts an answer."""
    batch_ms: int = 0
    """Mic audio waits until there is so much of it for a message."""
    transcripts: bool = True
    """Whether words may be kept, and told; the server may send them unasked."""
    trailing_silence_s: float = 0.0
    """So much silence is sent when the microphone pauses, as the model does not heed the end of the stream."""
    silence_is_billed: bool = False
    """Whether what the microphone hears is billed where nobody speaks, too."""


@dataclass(frozen=True, slots=True)
class Dial:
    """Open a connection: resume by the handle, or begin with what was said before."""

    handle: str | None
    seed: tuple[tuple[Who, str], ...]


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


Out = Dial | HangUp | Emit | Count | Bill | Keep
Mark = Literal["start", "end", "stream_end"]
Item = bytes | Mark | Decline


class _Outbox:
    """What waits to be sent: mic audio, the oldest first, with marks in it; answers to tools, which do not wait for it.

    The marks of manual VAD alternate, and begin with a start on every connection. Answers are of one connection alone.
    """

    def __init__(self) -> None:
        self.bytes = 0
        self._items: deque[bytes | Mark] = deque()
        self._answers: deque[Decline] = deque()
        self._manual = False
        self._in_activity = False
        """Whether a start was taken that has no end yet."""

    def __contains__(self, mark: Mark) -> bool:
        return mark in self._items

    def connect(self, *, manual: bool) -> None:
        """Another connection is there, which knows nothing of what the last one was sent."""
        self._answers.clear()
        self._manual = manual
        if self._in_activity and self._items and self._items[0] == "end":
            self._items.popleft()  # all but this went out over the last one
        elif self._in_activity and manual:
            self._items.appendleft("start")
        self._in_activity = False

    def append(self, item: Item) -> None:
        """Let it be sent, once it is its turn."""
        if isinstance(item, Decline):
            self._answers.append(item)
        elif item == "end" and self._items and self._items[-1] == "start":
            self._items.pop()  # nothing was said
        else:
            self._items.append(item)
            self.bytes += len(item) if isinstance(item, bytes) else 0

    def take(self, *, held: bool, least_bytes: int) -> Item | None:
        """What to send next; no more than answers if the rest is held. Audio that waits is taken together, within bounds."""
        if self._answers:
            return self._answers.popleft()
        if self.bytes < least_bytes and all(isinstance(item, bytes) for item in self._items):
            return None
        while self._items and not held:
            item = self._items.popleft()
            if isinstance(item, bytes):
                return self._with_more(item)
            if item != "stream_end":
                self._in_activity = item == "start"
            if self._manual is (item != "stream_end"):  # else it is for a persona that the connection does not know
                return item
        return None

    def _with_more(self, pcm: bytes) -> bytes:
        """Audio, with what waits right behind it."""
        pieces, size = [pcm], len(pcm)
        while self._items and isinstance(more := self._items[0], bytes) and size + len(more) <= MESSAGE_BYTES:
            pieces.append(more)
            size += len(more)
            self._items.popleft()
        self.bytes -= size
        return pcm if len(pieces) == 1 else b"".join(pieces)

    def untaken(self, item: Item) -> None:
        """Take back what could not be sent."""
        if isinstance(item, Decline):
            self._answers.appendleft(item)
            return
        if isinstance(item, bytes):
            self.bytes += len(item)
        elif item != "stream_end":
            self._in_activity = item == "end"
        self._items.appendleft(item)

    def trim(self, keep_s: float) -> int:
        """Drop the oldest mic audio beyond this; how many bytes that was."""
        dropped = 0
        marks: list[bytes | Mark] = []
        while self.bytes > keep_s * BYTES_PER_S:
            item = self._items.popleft()
            if isinstance(item, bytes):
                self.bytes -= len(item)
                dropped += len(item)
            elif item == "end" and marks and marks[-1] == "start":
                marks.pop()  # nothing is left of what was said between them
            elif item != "stream_end":
                marks.append(item)
        self._items.extendleft(reversed(marks))
        return dropped


@dataclass
class _Line:
    """What is true of the connection that is open, or was last."""

    opened_at: float
    progress_at: float
    """When the newest piece of an answer came, heard or not; or else the connection was opened."""
    sound_at: float
    """The same of what is heard, and of ends of turns."""
    last_turn: float
    deadline: float = float("inf")
    """By when it must be renewed."""
    wanted: bool = False
    """Whether it is to be renewed at the next quiet moment."""
    held: bool = False
    """Whether mic audio is kept for the next connection."""
    caught_up: bool = False
    """Whether all that had waited for the connection was sent."""
    behind_since: float | None = None
    """Since when too much waits all the same."""
    spoke: bool = False
    """Whether it has said anything of the conversation."""
    in_turn: bool = False
    generated: bool = False
    """Whether all of the reply has come; the end of its turn may be long in coming."""
    sounds_until: float = float("-inf")
    """When a speaker that began at once would be through with what has come of the reply; the turn's end comes no sooner."""
    working: bool = False
    """Whether another turn of the same answer is to come."""
    last_word: bool = False
    """Whether a turn has ended that began, or went on, after the budget was spent: the next one does not begin."""
    sending_since: float | None = None
    sounded: bool = False
    """Whether the turn has had a sound that a person hears."""
    interrupted: bool = False
    interrupted_at: float = float("-inf")
    called: bool = False
    """Whether the turn calls a tool."""
    expected: bool = False
    """Whether the server says that the turn needs no sound, as it works or wants to hear more."""
    forsaken: bool = False
    """Whether its session is not to be resumed, whatever handle still comes."""
    ended: bool = False
    """Whether we took its last turn for over; should the server say so yet, that is known."""
    reason: str = ""
    """Why the turn is about to end, where the server says so."""


@dataclass(frozen=True, slots=True)
class _Dialled:
    """What the newest dial was made with, and what has changed since."""

    handle: str | None = None
    seeded: bool = False
    """Whether the session was told what was said before."""
    manual: bool = False
    stale: bool = False
    """Whether the persona has changed since."""
    unmended: bool = False
    """Whether a person has mended something since."""


@dataclass(slots=True)
class _InARow:
    """How often the same trouble has come, without anything that went well in between."""

    handle_failures: int = 0
    unheeded: int = 0
    """Connections that were given up as nothing came to what was said."""
    quota: int = 0
    declined: int = 0
    """Dials that were declined, or refused for a reason that nobody knows."""
    short_lives: int = 0
    refused_at_once: bool = False
    """Whether the last connection was refused right after its setup had been answered."""
    mute_turns: int = 0
    mute_turns_max: int = MUTE_TURNS
    """So many begin a new session."""


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
        self._outbox = _Outbox()
        self._meter = Meter()
        self._said = Exchanges()
        self._handle: str | None = None
        self._handle_at = now
        self._owed_s = 0.0
        """How long the longest utterance is that an answer is awaited to."""
        self._orphaned = False
        """Whether a reply may still sound whose connection is gone."""
        self._dialled = _Dialled()
        self._suspect: str | None = None
        """A handle that was refused; perhaps it is not the handle that was."""
        self._offline_since: float | None = now
        """None: since the next tick."""
        self._trouble_since: float | None = None
        self._trouble_standing = NOT_YET
        self._told: Standing | None = None
        self._in_a_row = _InARow()
        self._allowed = True
        self._allowed_words = ""
        self._line = _Line(now, now, now, now)
        self._last_mic = now
        self._last_speech = now
        self._last_reply = now
        self._speech_bytes = self._turn_bytes = 0
        """Of speech: in the utterance, and between the marks of manual VAD."""
        self._stream_ended = True
        self._speaking = False
        self._pressed = False
        """Manual VAD: whether it is the person's turn."""
        self._awaiting_since: float | None = None
        """Since when the person waits for an answer, if so; what they said since does not count anew."""
        self._paused = False
        """Whether they have been silent for ``PAUSE_S`` since: what they say now is said into the silence of the server."""
        self._spoke_at = float("-inf")
        """When the person began to speak last."""
        self._answer_at = float("-inf")
        """When the newest answer began to sound."""

    @property
    def waiting_ms(self) -> float:
        """Mic audio that waits to be sent."""
        return self._outbox.bytes * 1000 / BYTES_PER_S

    # --- the microphone -----------------------------------------------------------------------------------------------

    def hear(self, pcm: bytes, now: float, *, speaking: bool) -> list[Out]:
        """Take mic audio; ``speaking`` is what the speech gate says of it."""
        if not pcm:
            return []
        self._last_mic = now
        self._stream_ended = False
        if speaking or (self.limits.silence_is_billed and self.phase is Phase.LIVE):
            self._meter.sent(len(pcm) / BYTES_PER_S, speech=speaking)
        if speaking:
            if not self._speaking:
                self._speech_bytes = 0
                self._spoke_at = now
                self._paused = self._paused or now - self._last_speech >= PAUSE_S
            self._speech_bytes += len(pcm)
            self._turn_bytes += len(pcm)
            self._last_speech = now
            self._speaking = True
        else:
            self._silence(now)
        self._outbox.append(pcm)
        out = self._keep_up(now)
        self._trim()
        return out + self._interrupt_unheard(now) + self._wake(now) if speaking else out

    def activity(self, event: Literal["start", "end"], now: float) -> list[Out]:
        """Manual VAD: the person's turn starts, which cuts an answer, or ends. What was told already is ignored."""
        if not self.limits.manual_vad:
            return [Count("activity_ignored", "the robot marks the person's turns, but its persona's VAD is automatic")]
        if self._pressed is (event == "start"):
            return []
        self._pressed = event == "start"
        self._last_speech = now
        self._outbox.append(event)
        if self._pressed:
            self._turn_bytes = 0
            self._spoke_at = now
            return [Emit(SpeechNoticed()), *self._wake(now)]
        self._await(now, self._turn_bytes / BYTES_PER_S)
        return self._wake(now)

    def take(self) -> Item | None:
        """What the rim should send next on the open connection; None if there is nothing, or it must not."""
        if self.phase is not Phase.LIVE:
            return None
        item = self._outbox.take(held=self._line.held, least_bytes=self.limits.batch_ms * BYTES_PER_S // 1000)
        if item is None and not self._line.held:
            self._line.caught_up, self._line.behind_since = True, None
        return item

    def untaken(self, item: Item) -> None:
        """The item could not be sent: the connection is lost."""
        self._outbox.untaken(item)

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
        seed = () if self._handle else self._said.seed()
        self._dialled = _Dialled(self._handle, bool(seed), self.limits.manual_vad)
        return [Dial(self._handle, seed)]

    def wants_to_dial(self, now: float) -> bool:
        """Whether the session waits for permission to dial."""
        return self.phase is Phase.WAITING and self._allowed and now >= self._not_before

    def opened(self, now: float) -> list[Out]:
        """The dial succeeded; the server has answered the setup."""
        self.phase = Phase.LIVE
        self._line = _Line(now, now, now, now, wanted=self._dialled.stale)
        self._outbox.connect(manual=self._dialled.manual)
        self._pressed = self._pressed and self._dialled.manual
        self._trouble_since = None
        self._trouble_standing = NOT_YET
        if self._awaiting_since is not None:  # the answer to what the old one was sent will not come
            self._awaiting_since = now if self._holds_question(now) else None
        return self._tell(Standing("live"))

    def failed(self, error: LiveError, now: float) -> list[Out]:
        """The dial did not succeed."""
        mended = self._dialled.unmended and error.kind in ("refused", "quota")
        if mended:
            error = LiveError("lost", error.words)  # it was tried with what has been mended since: the next dial tells
        if self._dialled.handle and error.kind in ("refused", "lost", "declined"):
            out = self._blame_handle(error.words, at_once=error.kind == "refused")
            out += self._trouble(LiveError("lost", error.words), now)
            if error.kind != "refused" and not mended:
                least_s, most_s = HANDLE_PAUSE_S
                self._not_before = now + least_s + self._draw() * (most_s - least_s)
            return out
        self._acquit()
        return self._trouble(error, now)

    def closed(self, error: LiveError | None, now: float) -> list[Out]:
        """The open connection has ended: by us, or by this error."""
        talked = self._line.in_turn or self._line.last_turn > self._line.opened_at
        out = self._end_turn(now)
        self._offline_since = now
        if self.phase is Phase.CLOSING:
            self.phase = self._after_closing
            return out + self._settle()
        error = error or LiveError("lost", "the connection ended")
        long = now - self._line.opened_at >= SHORT_LIFE_S
        at_once = False
        if long or talked:
            self._suspect = None
            self._in_a_row.refused_at_once, self._in_a_row.declined = False, 0
        if error.kind == "refused" and (long or talked):
            error = LiveError("lost", error.words)  # the setup was taken once: the next dial tells
        elif error.kind == "refused" and self._dialled.handle:
            error, at_once = LiveError("lost", error.words), True  # if it was not the handle, the next dial tells
        elif error.kind == "refused" and self._dialled.seeded:
            out += self._said.settle()
            self._said.forget()
            out.append(Count("seed_dropped", f"the new session will not be told what was said before: {error.words}"))
            error = LiveError("lost", error.words)  # if it was not that, the next dial tells
        elif error.kind == "refused" and not self._in_a_row.refused_at_once:
            self._in_a_row.refused_at_once = True
            error = LiveError("lost", error.words)  # the setup was answered: a second dial tells
        if long:
            self._in_a_row.short_lives = self._in_a_row.handle_failures = 0
            return out + self._trouble(error, now)
        self._in_a_row.short_lives += 1
        if error.kind == "lost":
            out += self._blame_handle(error.words, at_once=at_once)
        else:
            self._acquit()
        out += self._trouble(error, now)
        if self.phase is Phase.WAITING:
            pause_s = self._draw() * min(SHORT_CAP_S, SHORT_FIRST_S * 2 ** min(self._in_a_row.short_lives, 20))
            self._not_before = max(self._not_before, now + pause_s)
        return out

    def server(self, event: ServerEvent, now: float) -> list[Out]:
        """Something that the server sent on the open connection."""
        match event:
            case GoAway(time_left_s):
                self._line.deadline = min(self._line.deadline, now + time_left_s)
                self._line.wanted = True
                return [Count("go_away", f"Gemini closes this connection in {time_left_s:.0f} s"), *self.tick(now)]
            case Resumable(handle):
                if handle and not self._line.forsaken:
                    self._handle, self._handle_at = handle, now
            case ToolCall(calls):
                names = ", ".join(name for _, name in calls)
                self._outbox.append(Decline(calls))
                self._line.progress_at = now
                self._line.called = True
                return [Count("tool_call", f"a tool that nobody serves was called: {names[:WORDS_MAX]}")]
            case Unknown(detail):
                return [Count("unknown_message", f"a message that nobody understands: {detail}")]
            case Tokens():
                return [*self._meter.used(event, now)]
            case Alive():
                pass
            case Unheard():
                self._line.progress_at = now
            case Reason(words, expected):
                self._line.reason, self._line.expected = words, expected
            case Working(on):
                self._line.working = on
                self._line.last_word = self._line.last_word and not on
                self._line.progress_at = now
            case _:
                return self._conversation(event, now)
        return []

    # --- time and outside ---------------------------------------------------------------------------------------------

    def tick(self, now: float) -> list[Out]:
        """What is due by now."""
        match self.phase:
            case Phase.LIVE:
                return [*self._meter.due(now), *self._said.due(now), *self._tick_live(now)]
            case Phase.WAITING | Phase.DIALLING:
                return self._tick_offline(now)
            case Phase.REFUSED if now >= self._not_before:
                self.phase = Phase.WAITING
        return []

    def settle_words(self) -> list[Out]:
        """No more of what was said so far is to come: its last pieces, for the file as it was kept until now."""
        return [*self._said.settle()]

    def limit(self, limits: Limits) -> None:
        """What limits the session has changed."""
        self.limits = limits
        if not limits.transcripts:
            self._said.forget()

    def renew(self) -> None:
        """Renew at the next quiet moment: the persona has changed."""
        self._line.wanted = True
        self._dialled = replace(self._dialled, stale=True)

    def mended(self, now: float) -> list[Out]:
        """A person has changed the key or the configuration: what was refused may be tried again."""
        if self.phase is Phase.REFUSED:
            self.phase = Phase.WAITING
        self._dialled = replace(self._dialled, unmended=True)
        self._not_before = min(self._not_before, now)
        return []

    def budget(self, *, allowed: bool, words: str) -> list[Out]:
        """Whether the budget lets the session go on; the turn in progress is finished first."""
        if self._allowed is not allowed:  # if the turn that spent it is over, what is said now would begin another
            self._line.last_word = not (allowed or self._answers() or self._awaiting_since is not None)
        self._allowed, self._allowed_words = allowed, words
        if allowed and self.phase is Phase.CLOSING and self._after_closing is Phase.SPENT:
            self._after_closing = Phase.WAITING
        elif allowed and self.phase is Phase.SPENT:
            self.phase = Phase.WAITING
            self._offline_since = self._trouble_since = None
            self._trouble_standing = NOT_YET
        elif not allowed and self.phase in (Phase.WAITING, Phase.PARKED, Phase.REFUSED):
            self.phase = Phase.SPENT
            return self._settle()
        return []

    # --- how it is done -----------------------------------------------------------------------------------------------

    def _conversation(self, event: VoiceEvent, now: float) -> list[Out]:
        out: list[Out] = [Emit(event)]
        self._line.spoke = True
        match event:
            case Audio() | ReplyGenerated():
                return self._answer_goes_on(event, now) + out
            case Interrupted():
                self._orphaned = False
                self._line.sounds_until = min(self._line.sounds_until, now)
                self._line.interrupted = True
                self._said.over(now)
                if self._line.in_turn:  # else there is nothing of which more could come, and no word of an answer
                    self._sound(now)
                self._line.interrupted_at = now
            case TurnComplete():
                ended, self._line.ended = self._line.ended, False
                if ended and not self._line.in_turn and not self._line.reason:
                    return []  # that is known
                self._line.progress_at = self._line.sound_at = now
                return self._turn_over(now)
            case Said(who, text):
                return out + self._words(who, text, now) if self.limits.transcripts else self._words(who, "", now)
        return out

    def _words(self, who: Who, text: str, now: float) -> list[Out]:
        """A piece of transcript has come, empty if nobody is to know its words."""
        if who == "robot":
            self._line.progress_at = now
        elif self._awaiting_since is not None and not self._paused:
            self._awaiting_since = max(self._awaiting_since, self._last_speech)  # the server follows
        return [*self._said.said(who, text, now, spoke_at=self._spoke_at)] if text else []

    def _sound(self, now: float) -> None:
        """What the person waits for has come, unless they have asked again into this answer."""
        self._line.progress_at = self._line.sound_at = now
        if not self._asked_into():
            self._awaiting_since = None

    def _asked_into(self) -> bool:
        """Whether the person began to speak into the answer that goes on."""
        return self._line.in_turn and self._spoke_at > self._answer_at

    def _answer_goes_on(self, event: Audio | ReplyGenerated, now: float) -> list[Out]:
        line = self._line
        out: list[Out] = []
        if isinstance(event, Audio) and line.in_turn and line.generated:  # the last one was whole: this is another
            waits = self._awaiting_since
            out += self._turn_over(now)
            self._awaiting_since = waits
            if not self._allowed and self.phase is Phase.LIVE:
                return out + self._close(Phase.SPENT)
        out += self._meter.turn_goes_on()
        left_over = line.interrupted and now - max(line.progress_at, line.interrupted_at) < LEFTOVERS_S
        if isinstance(event, Audio):
            if (not line.in_turn or line.interrupted) and not left_over:
                self._answer_at = now
            seconds = len(event.pcm) / 2 / event.rate_hz
            line.sounds_until = min(max(line.sounds_until, now) + seconds, now + QUEUE_MAX_MS / 1000)
            line.sounded = line.sounded or is_audible(event.pcm)
            self._meter.heard(seconds)
            self._said.answers(now)
        line.in_turn = True
        if not left_over:
            if line.sounded or isinstance(event, ReplyGenerated):
                self._sound(now)
            line.interrupted = False
        line.progress_at = now
        self._orphaned = False
        self._in_a_row.unheeded = 0
        line.working = line.last_word = False
        line.generated = isinstance(event, ReplyGenerated)
        return out

    def _turn_over(self, now: float) -> list[Out]:
        line = self._line
        out: list[Out] = [Emit(TurnComplete()), *self._meter.turn_over(now)]
        waits = self._awaiting_since
        if not line.interrupted or line.reason:
            out += self._heard_of()
        if not (line.interrupted or line.called or self._asked_into()):  # else an answer is still to come
            waits = None
        self._awaiting_since = waits
        line.in_turn = line.generated = line.working = line.sounded = line.interrupted = line.called = line.expected = False
        line.reason = ""
        line.last_turn = self._last_reply = now
        self._in_a_row.handle_failures = self._in_a_row.quota = self._in_a_row.unheeded = 0
        self._suspect = None
        line.last_word = not self._allowed
        self._said.over(now)
        return out

    def _heard_of(self) -> list[Out]:
        """Whether there was anything to hear in a turn that is over, and what follows if there was not."""
        line, row = self._line, self._in_a_row
        if line.sounded:
            row.mute_turns, row.mute_turns_max = 0, MUTE_TURNS
            told = line.reason and not line.expected
            return [Count("turn_reason", f"Gemini ended its turn early: {line.reason}")] if told else []
        asked = line.in_turn or self._awaiting_since is not None
        if line.called or line.expected or not (asked or line.reason):
            return []
        row.mute_turns += 1
        out: list[Out] = [Count("mute_turn", f"Gemini ended its turn without a sound: {line.reason or 'it gave no reason'}")]
        if row.mute_turns >= row.mute_turns_max and self.phase is Phase.LIVE:
            words = f"{row.mute_turns} turns in a row were without a sound: a new session begins"
            self._handle = None
            line.forsaken = True
            row.mute_turns, row.mute_turns_max = 0, row.mute_turns_max * 2
            out += [Count("mute", words), *self._close(Phase.WAITING)]
        return out

    def _interrupt_unheard(self, now: float) -> list[Out]:
        """Cut an answer of which no server knows that it sounds, or that hears the person: only we can notice.

        Its connection is gone, or is sent nothing any more as its renewal is overdue, or the server takes its turn for over.
        """
        live, line = self.phase is Phase.LIVE, self._line
        overdue = live and line.held and line.in_turn
        over = live and not line.in_turn and now < line.sounds_until
        enough = self._speech_bytes >= BARGE_IN_S * BYTES_PER_S and self._spoke_at >= self._answer_at
        enough = enough and self.limits.interrupts and not self.limits.manual_vad
        if not (enough and (self._orphaned or overdue or over)):
            return []
        self._orphaned = False
        line.sounds_until = min(line.sounds_until, now)
        return [Emit(SpeechNoticed()), *(self._close(Phase.WAITING) if overdue else [])]  # the rest of it is not wanted

    def _tick_offline(self, now: float) -> list[Out]:
        if self._offline_since is None:
            self._offline_since = now
        gap_s = now - self._offline_since
        if self._trouble_since is None and gap_s >= HELD_MAX_S:
            self._trouble_since = self._offline_since  # whoever may dial has not found Gemini
        self._trim()
        if gap_s >= GAP_TELL_S or (self._trouble_since is not None and now - self._trouble_since >= TELL_S):
            return self._tell(self._trouble_standing)
        return []

    def _tick_live(self, now: float) -> list[Out]:
        if self._line.sending_since is not None and now - self._line.sending_since > SEND_STALL_S:
            return self._abandon("stalled", f"Gemini took nothing for {SEND_STALL_S:.0f} s")
        if out := self._give_up_waiting(now) or self._end_turn_ourselves(now):
            return out
        if not self._allowed and (self._line.last_word or self._between_turns(now)):
            return self._close(Phase.SPENT)
        if self._parks(now):
            return self._close(Phase.PARKED)
        if now - self._line.opened_at >= self.limits.max_age_s:
            self._line.wanted = True
            self._line.deadline = min(self._line.deadline, self._line.opened_at + self.limits.max_age_s + AGE_WINDOW_S)
        if self._line.wanted and self._renews(now):
            return self._close(Phase.WAITING)
        if not self._stream_ended and now - self._last_mic >= STREAM_END_S:
            self._stream_ended = True
            self._silence(now)
            if not self.limits.manual_vad:
                for _ in range(math.ceil(self.limits.trailing_silence_s * BYTES_PER_S / MESSAGE_BYTES)):
                    self._outbox.append(bytes(MESSAGE_BYTES))
            self._outbox.append("stream_end")
        return []

    def _give_up_waiting(self, now: float) -> list[Out]:
        if not (waited_s := self._hangs(now)):
            return []
        self._awaiting_since = None
        if not (self._owed_s >= OWED_MIN_S or self._answers()):
            return []
        words = f"Gemini said nothing for {waited_s:.0f} s " + ("in mid-answer" if self._answers() else "after speech")
        self._in_a_row.unheeded += not self._answers()
        blamed = not self._line.spoke and self._owed_s >= BLAMED_MIN_S
        return (self._blame_handle(words) if blamed else []) + self._abandon("silent", words)

    def _end_turn_ourselves(self, now: float) -> list[Out]:
        """Of an answer that was generated whole, or interrupted, no more comes: its turn is over, whatever the server says."""
        line = self._line
        ends = line.in_turn and (line.generated or line.interrupted)
        if not ends or now - max(line.progress_at, line.sounds_until) < TURN_END_S:
            return []
        waits = self._awaiting_since  # what was asked meanwhile is still to be answered
        out: list[Out] = [Count("no_turn_end", "Gemini did not say that its turn is over"), *self._turn_over(now)]
        line.ended, self._awaiting_since = True, waits
        return out

    def _hangs(self, now: float) -> float:
        """For how long the server has owed an answer, or the rest of one, if that is too long; else 0."""
        line = self._line
        sound = max(line.sound_at, line.sounds_until)  # what was asked into an answer waits for its end
        heard = max(line.progress_at, line.sounds_until)
        if self._awaiting_since is not None:
            waited_s = now - max(self._awaiting_since, heard)
            quiet_s = now - max(self._last_speech, heard)
            patience_s = SILENCE_S * 2 ** min(max(self._in_a_row.unheeded - 1, 0), UNHEEDED_DOUBLINGS)
            soon = not line.working and min(waited_s, quiet_s) > patience_s
            if soon or waited_s > max(SILENCE_MAX_S, patience_s):
                return waited_s
            sound = max(sound, self._awaiting_since)
        elif line.working or (line.in_turn and not line.generated):
            quiet_s = now - max(self._last_speech, heard)
            if now - heard > SILENCE_MAX_S or (not line.working and quiet_s > SILENCE_S):
                return now - heard
        else:
            return 0.0
        pieces_come = heard > sound
        return now - sound if pieces_come and now - sound > SOUNDLESS_MAX_S else 0.0

    def _renews(self, now: float) -> bool:
        """Whether this is the moment for the renewal that is wanted."""
        if self._between_turns(now) and not self._speaking:
            return True
        if now < self._line.deadline - DEADLINE_MARGIN_S:
            return False
        if not self._answers() and self._awaiting_since is None:
            return True  # only the person speaks, and is heard by the next connection
        # From here on the server may close at any time: what it might not take is kept. But the silence after a question has
        # to be heard for the question to be answered.
        self._line.held = self._answers() or self._speaking
        return now >= self._line.deadline + GRACE_S

    def _between_turns(self, now: float) -> bool:
        quiet_s = now - max(self._line.last_turn, self._last_speech)
        pressed = self._pressed and self.limits.manual_vad
        return not (self._answers() or pressed) and self._awaiting_since is None and quiet_s >= QUIET_S

    def _answers(self) -> bool:
        """Whether an answer is under way."""
        return self._line.in_turn or self._line.working

    def _parks(self, now: float) -> bool:
        after_s = self.limits.park_after_s
        since = max(self._last_speech, self._last_reply)
        return after_s is not None and self._between_turns(now) and now - since >= after_s

    def _wake(self, now: float) -> list[Out]:
        if self.phase is Phase.PARKED:
            self.phase = Phase.WAITING
            self._offline_since = now
        elif self.phase is Phase.CLOSING and self._after_closing is Phase.PARKED:
            self._after_closing = Phase.WAITING  # the word may be over when it is closed
        return []

    def _silence(self, now: float) -> None:
        """The person does not speak, or no longer."""
        if self._speaking and self._speech_bytes >= SPEECH_MIN_S * BYTES_PER_S and not self.limits.manual_vad:
            self._await(now, self._speech_bytes / BYTES_PER_S)
        self._speaking = False

    def _await(self, now: float, speech_s: float) -> None:
        """From now on an answer may come; if there was enough of speech one, or any other word, has to."""
        if self._awaiting_since is None:
            self._awaiting_since, self._owed_s, self._paused = now, 0.0, False
        self._owed_s = max(self._owed_s, speech_s)

    def _holds_question(self, now: float) -> bool:
        """Whether the end of what the person last said is still to be sent."""
        if self._dialled.manual:
            return "end" in self._outbox
        return self._outbox.bytes > (now - self._last_speech) * BYTES_PER_S

    def _blame_handle(self, words: str, *, at_once: bool = False) -> list[Out]:
        """A connection that was to resume the session has failed. One that does so again and again does not help."""
        if self._dialled.handle is None:
            return []
        self._suspect = self._dialled.handle
        self._in_a_row.handle_failures += 1
        if self._in_a_row.handle_failures < HANDLE_FAILURES and not at_once:
            return []
        self._handle, self._in_a_row.handle_failures = None, 0
        self._line.forsaken = True
        return [Count("handle_dropped", f"the session cannot be resumed, a new one begins: {words}")]

    def _acquit(self) -> None:
        """Without the handle it is the same: once that is mended, the session may yet be resumed."""
        if self._suspect and self._dialled.handle is None:
            self._handle, self._suspect = self._suspect, None

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
        self._not_before = now
        out: list[Out] = [Count(error.kind, error.words)]
        if error.kind == "declined" or not error.sure:
            self._in_a_row.declined = min(self._in_a_row.declined + 1, 10)
        if error.kind == "refused":
            self.phase = Phase.REFUSED
            doubted_s = REFUSED_RETRY_S if error.sure else DOUBTED_S * 2 ** (self._in_a_row.declined - 1)
            self._not_before = now + min(REFUSED_RETRY_S, doubted_s)
            self._trouble_standing = Standing("refused", error.words)
            self._trim()
            return out + self._tell(self._trouble_standing)
        self.phase = Phase.WAITING
        self._trouble_standing = Standing("reconnecting", error.words)
        if error.kind == "declined":
            least_s, most_s = DECLINED_S
            self._not_before = now + min(most_s, least_s * 2 ** (self._in_a_row.declined - 1)) * (0.75 + self._draw() / 4)
        if error.kind == "quota":
            pause_s = min(QUOTA_S[1], QUOTA_S[0] * 2**self._in_a_row.quota) * (0.5 + self._draw() / 2)
            self._in_a_row.quota = min(self._in_a_row.quota + 1, 10)
            self._not_before = now + pause_s
            self._trouble_standing = Standing("reconnecting", f"{error.words}; trying again in {pause_s:.0f} s")
            out += self._tell(self._trouble_standing)
        self._trim()
        return out if self._allowed else out + self.budget(allowed=False, words=self._allowed_words)

    def left(self) -> list[Out]:
        """The robot has left: what is left to do."""
        return [*self._meter.bill(), *self._said.settle()]

    def _settle(self) -> list[Out]:
        """A phase that was gone into on purpose."""
        self._trim()
        return self._tell(Standing("refused", self._allowed_words)) if self.phase is Phase.SPENT else []

    def _tell(self, standing: Standing) -> list[Out]:
        if standing == self._told:
            return []
        self._told = standing
        return [Emit(standing)]

    def _end_turn(self, now: float) -> list[Out]:
        """A connection is gone: what it was saying ends here, cleanly."""
        out: list[Out] = [Emit(TurnComplete())] if self._line.in_turn else []
        self._orphaned = self._orphaned or self._line.in_turn or now < self._line.sounds_until
        self._line.in_turn = False
        self._said.over(now)
        return [*out, *self._meter.bill()]

    def _keep_up(self, now: float) -> list[Out]:
        """A connection that takes less than the microphone gives would stay behind for good: what waits too long is dropped."""
        line = self._line
        behind = self.phase is Phase.LIVE and line.caught_up and not line.held
        if not (behind and self._outbox.bytes > OUTAGE_MAX_S * BYTES_PER_S):
            return []
        if line.behind_since is None:
            line.behind_since = now
        if now - line.behind_since < BEHIND_S:
            return []
        self._drop_beyond(OUTAGE_MAX_S - 1.0)
        words = f"Gemini takes less audio than the microphone gives, for {BEHIND_S:.0f} s: is the gateway's uplink too slow?"
        return [Count("uplink", words)]

    def _trim(self) -> None:
        """Drop the oldest mic audio beyond what this phase keeps."""
        if self.phase is Phase.PARKED or self.phase is Phase.SPENT or self.phase is Phase.REFUSED:
            keep_s = PRE_ROLL_S
        elif self._trouble_since is not None:
            keep_s = OUTAGE_MAX_S
        else:
            keep_s = HELD_MAX_S
        self._drop_beyond(keep_s)

    def _drop_beyond(self, keep_s: float) -> None:
        dropped = self._outbox.trim(keep_s)
        if self.phase is not Phase.PARKED:  # where nobody had spoken
            self.dropped_ms += dropped * 1000 / BYTES_PER_S


def is_audible(pcm: bytes) -> bool:
    """Whether PCM16 holds a sound that a person hears."""
    samples = np.frombuffer(pcm, "<i2", count=len(pcm) // 2)
    return bool(samples.size) and (int(samples.max()) > FAINT or int(samples.min()) < -FAINT)
