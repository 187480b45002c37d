"""One robot's conversation: what becomes of the microphone, of the voice's events, and of time. Pure.

It decides; the messages that it returns are sent, and the PCM that it returns is heard, by the rim around it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from reachy_gateway.talk.acts import Acts, Answered
from reachy_gateway.talk.latency import Latency, TurnTimes
from reachy_gateway.talk.pacer import Chunk, Ended, Pacer
from reachy_gateway.talk.resampler import Uplink
from reachy_gateway.talk.speech_gate import SpeechEnded, SpeechGate, SpeechStarted
from reachy_gateway.talk.tell import Tell
from reachy_gateway.talk.turns import Turns
from reachy_gateway.voice import (
    Audio,
    ConnectionState,
    Interrupted,
    ReplyGenerated,
    Said,
    SpeechNoticed,
    ToolEnded,
    TurnComplete,
    VoiceEvent,
)
from reachy_link.messages import Acted, Flush, Hello, Mic, Phase, Played, Speaker, State, Transcript, TurnEnd

THINKING_MAX_S: Final = 15.0
"""After so long without an answer the robot no longer claims to think."""

COMING_S: Final = 0.2
"""Audio that came so shortly ago is still coming: a new reply goes on, and the rest of an old one is soon over."""
REST_MAX_S: Final = 1.5
"""More than this is no rest of a reply that was cut, whatever follows."""
BEHIND_MAX_S: Final = 3.0
"""So much longer than it should a robot may take to play what it was sent; its playout holds 2 s."""


WORDS_MAX: Final = 500
"""Characters that a message has room for; longer words are cut, longer transcripts are sent in pieces."""


@dataclass(frozen=True, slots=True)
class Log:
    """A moment of the conversation that a person who watches wants to see."""

    words: str


@dataclass(frozen=True, slots=True)
class TurnOver:
    """A turn is over at the speaker."""

    times: TurnTimes


Out = Tell | Log | TurnOver | ToolEnded | Answered


class Conversation:
    """The state of a conversation with one start of one robot.

    Args:
        hello: What the robot said of itself.
        first_turn: Turns count within the gateway's boot, so a new conversation counts on from the last one's.
        first_act: The same of acts.
    """

    def __init__(self, hello: Hello, first_turn: int = 1, first_act: int = 1) -> None:
        self.acts = Acts(hello.boot, first_act)
        self._has_body = hello.body is not None
        self._uplink = Uplink(hello.mic)
        self.pacer = Pacer(hello.speaker, hello.lead_ms)
        self.turns = Turns(first_turn)
        self.gate = SpeechGate()
        self.latency = Latency()
        self._standing: ConnectionState | None = None
        """Unknown until the voice first tells, which is when it stands or its first dial failed."""
        self._told: tuple[Phase, str, bool | None, bool] | None = None
        self.told_at: float | None = None
        """Since when the phase is what it is."""
        self.recorded = False
        """Whether somebody records what is said; the robot is told."""
        self._thinking_since: float | None = None
        self._answered_us = 0
        """The end of the speech that was answered last, on the robot's clock."""
        self._cut_short = -1
        """The newest turn whose end found no room in the pacer."""
        self._doubtful_at = 0.0
        self._doubtful: list[Audio] = []
        """Of a reply that may have been cut before its first sound; at most 1 s long, then the pacer's bound holds."""
        self._played = first_turn - 1
        """The newest turn that the robot has reported."""
        self.hears = False
        """Whether the robot has heard its welcome, as far as is known: what it was told before may be lost."""

    @property
    def phase(self) -> Phase | None:
        """What the robot was told last of how things stand."""
        return self._told[0] if self._told else None

    @property
    def reason(self) -> str:
        """Why, as the robot was told."""
        return self._told[1] if self._told else ""

    def idle_s(self, now: float) -> float:
        """For how long nobody has spoken, and nothing is awaited; 0 while somebody does, or while it is recorded."""
        quiet = self.phase == "listening" and not self.gate.speaking and not self.recorded
        return now - self.told_at if quiet and self.told_at is not None else 0.0

    # --- inputs -------------------------------------------------------------------------------------------------------

    def heard(self, now: float) -> list[Out]:
        """The robot sends what only one that was welcomed sends: speech that has waited for that goes."""
        self.hears = True
        return self.tick(now)

    def mic(self, message: Mic, payload: bytes, now: float) -> tuple[bytes, list[Out]]:
        """A chunk of the microphone: what the voice is to hear of it, and what follows."""
        samples = self._uplink.convert(payload)
        out: list[Out] = []
        match self.gate.hear(samples, message.t_us):
            case SpeechStarted():
                self._thinking_since = None
            case SpeechEnded(_, speech_ms):
                out.append(Log(f"heard {speech_ms / 1000:.1f} s of speech"))
                if self.pacer.idle:
                    self._thinking_since = now
        if self.gate.mark == message.t_us:
            self.latency.spoke(message.t_us, now)
        return self._uplink.heard(samples), out + self._phase(now)

    def voice(self, event: VoiceEvent, now: float) -> list[Out]:
        """Something that the voice said or did."""
        out: list[Out] = []
        match event:
            case Audio():
                if self.turns.doubts(now):
                    self._doubtful.append(event)
                    self._doubtful_at = now
                else:
                    out += self._when_judged(now) + self._audio(event, now)
            case ReplyGenerated():
                rest = self.turns.tail  # the generation of what was cut ends as well
                out += self._judged(now, is_rest=rest)
                self._end(self.turns.generated())
            case TurnComplete():
                out += self._judged(now, is_rest=True)
                self._thinking_since = None
                self._end(self.turns.complete())
            case Interrupted():
                out += self._flush(now, by_voice=True)
            case SpeechNoticed():
                if self._sounds(now):
                    out += self._flush(now)
            case Said(who, text):
                turn = self.turns.newest if who == "robot" else None
                pieces = [text[start : start + WORDS_MAX] for start in range(0, len(text), WORDS_MAX)]
                out += [Tell(Transcript, {"who": who, "text": piece, "turn": turn}) for piece in pieces]
            case ToolEnded():
                self.latency.called(event)
                out.append(event)
            case ConnectionState(state):
                if state != "live":
                    out += self._judged(now, is_rest=True)
                    self._end(self.turns.complete())
                self._standing = event
        return out + self.tick(now)

    def played(self, message: Played, offset_us: int | None) -> list[Out]:
        """What the robot tells of a turn that is over at its speaker; its clock minus ours, if that is known."""
        self._played = max(self._played, message.turn)
        times = self.latency.played(message, offset_us)
        return [TurnOver(replace(times, complete=False) if message.turn == self._cut_short else times)]

    def act(self, name: str, args: Mapping[str, Any], now: float) -> tuple[int, list[Out]]:
        """Ask for something of the robot's body: the id of that, and what to send."""
        turn = self.turns.newest if self._busy(now) else self.turns.next
        key, tells = self.acts.begin(name, args, turn, now)
        return key, [*tells] or [Answered(key, "refused", "too much was asked for at once")]

    def acted(self, message: Acted) -> list[Out]:
        """What the robot tells of its body."""
        return [*self.acts.acted(message)]

    def tick(self, now: float) -> list[Out]:
        """What is due by now."""
        out = self._when_judged(now)
        tells, unheard = self.acts.due(now)
        out += [*tells, *unheard]
        for item in self.pacer.due(now) if self.hears else ():
            match item:
                case Chunk(turn, samples, pcm):
                    out.append(Tell(Speaker, {"turn": turn, "samples": samples}, pcm))
                case Ended(turn, complete):
                    out.append(Tell(TurnEnd, {"turn": turn} if complete else {"turn": turn, "complete": False}))
        return out + self._phase(now)

    def next_due(self) -> float | None:
        """When :meth:`tick` will have something to do, as far as can be known."""
        due = [
            self.acts.next_due(),
            self.pacer.next_due() if self.hears else None,
            self.turns.doubt_until if self._doubtful else None,
        ]
        if self.pacer.idle and self._told and self._told[0] == "speaking":
            due.append(self.pacer.sent_until)
        if self._thinking_since is not None and self._told and self._told[0] == "thinking":
            due.append(self._thinking_since + THINKING_MAX_S)
        return min((at for at in due if at is not None), default=None)

    def introduce(self, now: float) -> list[Out]:
        """Tell a robot that has just been welcomed how things stand."""
        self._told = None
        return self._phase(now)

    # --- what follows -------------------------------------------------------------------------------------------------

    def _audio(self, audio: Audio, now: float) -> list[Out]:
        """A piece of a reply."""
        if (turn := self.turns.audio(now)) is None:
            return []
        self._thinking_since = None
        self.latency.voiced(turn, now)
        if self.pacer.push(turn, audio.pcm, audio.rate_hz) or turn == self._cut_short:
            return []
        self._cut_short = turn
        return [Log(f"turn {turn} is longer than the pacer holds: its end is dropped, and it counts as cut")]

    def _when_judged(self, now: float) -> list[Out]:
        """What was in doubt for long enough, before anything that comes after it."""
        if not self._doubtful or self.turns.doubts(now):
            return []
        return self._judged(now, is_rest=self.turns.tail and now - self._doubtful_at > COMING_S)

    def _judged(self, now: float, *, is_rest: bool) -> list[Out]:
        """What was in doubt is the rest of what was cut, and dropped; or else, and if there is too much of it, a reply."""
        doubtful, self._doubtful = self._doubtful, []
        held_s = sum(len(audio.pcm) / 2 / audio.rate_hz for audio in doubtful)
        if is_rest and held_s <= REST_MAX_S:
            return [Log(f"{held_s:.1f} s are dropped, as left over of what was interrupted")] if doubtful else []
        self.turns.believe()
        return [told for audio in doubtful for told in self._audio(audio, now)]

    def _end(self, turn: int | None) -> None:
        if turn is not None:
            self.pacer.end(turn)

    def _flush(self, now: float, *, by_voice: bool = False) -> list[Out]:
        self.latency.interrupted(now)
        self._doubtful.clear()
        told = self.turns.floor
        floor = self.turns.interrupted(now, by_voice=by_voice, spoken=self.gate.speaking)
        self.pacer.clear()
        # An interruption is noticed first, and said then: nothing has come in between, and nothing is to be silenced any more.
        return [Tell(Flush, {"turn": floor}), Log("interrupted")] if floor > told else []

    def _busy(self, now: float) -> bool:
        return not self.pacer.idle or now < self.pacer.sent_until

    def _sounds(self, now: float) -> bool:
        """Whether something may be heard that a flush would silence: after a stall of the link the robot is behind."""
        return self._busy(now) or (self._played < self.turns.newest and now < self.pacer.sent_until + BEHIND_MAX_S)

    def _phase(self, now: float) -> list[Out]:
        """A state message if the state has changed."""
        state: Phase
        reason = ""
        if self._standing is None:
            return []
        if self._standing.state != "live" and not self._busy(now):
            state, reason = self._standing.state, self._standing.reason[:WORDS_MAX]
        elif self._busy(now):
            state = "speaking"
        elif self._thinking_since is not None and now - self._thinking_since < THINKING_MAX_S:
            state = "thinking"
        else:
            state = "listening"
            self._thinking_since = None
        speaks = self.gate.speaking if self._has_body else None
        if (state, reason, speaks, self.recorded) == self._told:
            return []
        is_news = self._told is None or self._told[:2] != (state, reason)
        self.told_at = now if is_news else self.told_at
        self._told = (state, reason, speaks, self.recorded)
        heard: dict[str, Any] = {} if speaks is None else {"person_speaks": speaks}
        if self.recorded:
            heard["recorded"] = True
        if state in ("thinking", "speaking") and self.gate.mark > self._answered_us:
            heard["heard_us"] = self.gate.mark
        if state == "speaking":
            self._answered_us = self.gate.mark  # what is said next answers something else
        log = [Log(f"{state}: {reason}" if reason else state)] if is_news else []
        return [Tell(State, {"state": state, "reason": reason, **heard}), *log]
