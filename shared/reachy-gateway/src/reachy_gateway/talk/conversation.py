"""One robot's conversation: handles mic audio, the voice's events and the passing of time. Pure.

It decides. The caller sends the messages that it returns, and passes the PCM that it returns to the voice.
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
    Unanswered,
    VoiceEvent,
)
from reachy_link.messages import Acted, Flush, Hello, Mic, Phase, Played, Speaker, State, Transcript, TurnEnd

THINKING_MAX_S: Final = 15.0
"""After so long without an answer the state changes from ``thinking`` back to ``listening``."""

COMING_S: Final = 0.2
"""If doubtful audio came within this time, more is coming and it is a new reply. The rest of a cut reply ends soon."""
REST_MAX_S: Final = 1.5
"""More doubtful audio than this is not the rest of a cut reply, whatever follows."""
BEHIND_MAX_S: Final = 3.0
"""How much longer than planned a robot may take to play its audio. The robot's playout holds 2 s."""


WORDS_MAX: Final = 500
"""How many characters a message has room for. Longer reasons are cut; longer transcripts are sent in pieces."""


@dataclass(frozen=True, slots=True)
class Log:
    """A moment of the conversation, in words for a person who watches."""

    words: str


@dataclass(frozen=True, slots=True)
class TurnOver:
    """The speaker has finished a turn."""

    times: TurnTimes


Out = Tell | Log | TurnOver | ToolEnded | Answered


class Conversation:
    """The state of one conversation with one boot of a robot.

    Args:
        hello: What the robot said of itself.
        first_turn: The number of the first turn. Turns count within the gateway's boot, over all conversations of a robot.
        first_act: The id of the first act, counted in the same way.
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
        """None until the voice first tells its state, which is once it is connected or its first dial has failed."""
        self._told: tuple[Phase, str, bool | None, bool] | None = None
        self.told_at: float | None = None
        """When the phase last changed."""
        self.recorded = False
        """Whether the conversation is being recorded. The robot is told."""
        self._thinking_since: float | None = None
        self._answered_us = 0
        """The end of the newest speech that was answered, on the robot's clock."""
        self._cut_short = -1
        """The newest turn whose end found no room in the pacer."""
        self._doubtful_at = 0.0
        self._doubtful: list[Audio] = []
        """Audio that may belong to a cut reply. It is held for 1 s at most; then the pacer's bound holds."""
        self._played = first_turn - 1
        """The newest turn that the robot has reported as played."""
        self.hears = False
        """Whether the robot is known to have heard its welcome. Messages sent earlier may be lost."""

    @property
    def phase(self) -> Phase | None:
        """The state that the robot was told last."""
        return self._told[0] if self._told else None

    @property
    def reason(self) -> str:
        """The reason that the robot was told with it."""
        return self._told[1] if self._told else ""

    def idle_s(self, now: float) -> float:
        """How long nobody has spoken and no answer is awaited; 0 while somebody speaks, or while it is recorded."""
        quiet = self.phase == "listening" and not self.gate.speaking and not self.recorded
        return now - self.told_at if quiet and self.told_at is not None else 0.0

    # --- inputs -------------------------------------------------------------------------------------------------------

    def heard(self, now: float) -> list[Out]:
        """Note that the robot has heard its welcome: it sends what only a welcomed robot sends. Waiting speech is due now."""
        self.hears = True
        return self.tick(now)

    def mic(self, message: Mic, payload: bytes, now: float) -> tuple[bytes, list[Out]]:
        """Take a mic chunk. Returns the PCM for the voice, and the messages that follow."""
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
        """Take an event of the voice. Returns the messages that follow."""
        out: list[Out] = []
        match event:
            case Audio():
                if self.turns.doubts(now):
                    self._doubtful.append(event)
                    self._doubtful_at = now
                else:
                    out += self._when_judged(now) + self._audio(event, now)
            case ReplyGenerated():
                rest = self.turns.tail  # the generation of a cut reply ends as well
                out += self._judged(now, is_rest=rest)
                self._end(self.turns.generated())
            case TurnComplete():
                out += self._judged(now, is_rest=True)
                self._thinking_since = None
                self._end(self.turns.complete())
            case Unanswered():
                self._thinking_since = None
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
            case ConnectionState():
                out += self._stands(event, now)
        return out + self.tick(now)

    def played(self, message: Played, offset_us: int | None) -> list[Out]:
        """Take the robot's report on a turn. ``offset_us`` is the robot's clock minus ours, if known."""
        self._played = max(self._played, message.turn)
        times = self.latency.played(message, offset_us)
        return [TurnOver(replace(times, complete=False) if message.turn == self._cut_short else times)]

    def act(self, name: str, args: Mapping[str, Any], now: float) -> tuple[int, list[Out]]:
        """Ask the robot's body for an act. Returns the act's id, and the messages to send."""
        turn = self.turns.newest if self._busy(now) else self.turns.next
        key, tells = self.acts.begin(name, args, turn, now)
        return key, [*tells] or [Answered(key, "refused", "too much was asked for at once")]

    def acted(self, message: Acted) -> list[Out]:
        """Take the robot's report on an act."""
        return [*self.acts.acted(message)]

    def tick(self, now: float) -> list[Out]:
        """Everything that is due by now."""
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
        """When :meth:`tick` will next have something to do, as far as known."""
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
        """The state message for a robot that has just been welcomed."""
        self._told = None
        return self._phase(now)

    # --- what follows -------------------------------------------------------------------------------------------------

    def _stands(self, standing: ConnectionState, now: float) -> list[Out]:
        """Note the state of the voice's connection. A lost connection ends the turn."""
        self._standing = standing
        if standing.state == "live":
            return []
        out = self._judged(now, is_rest=True)
        self._end(self.turns.complete())
        return out

    def _audio(self, audio: Audio, now: float) -> list[Out]:
        """Queue a piece of a reply."""
        if (turn := self.turns.audio(now)) is None:
            return []
        self._thinking_since = None
        self.latency.voiced(turn, now)
        if self.pacer.push(turn, audio.pcm, audio.rate_hz) or turn == self._cut_short:
            return []
        self._cut_short = turn
        return [Log(f"turn {turn} is longer than the pacer holds: its end is dropped, and it counts as cut")]

    def _when_judged(self, now: float) -> list[Out]:
        """Release audio that was in doubt long enough, so that it stays ahead of newer audio."""
        if not self._doubtful or self.turns.doubts(now):
            return []
        return self._judged(now, is_rest=self.turns.tail and now - self._doubtful_at > COMING_S)

    def _judged(self, now: float, *, is_rest: bool) -> list[Out]:
        """End the doubt. The held audio is dropped if it is the rest of a cut reply and short enough; else it is a reply."""
        doubtful, self._doubtful = self._doubtful, []
        held_s = sum(len(audio.pcm) / 2 / audio.rate_hz for audio in doubtful)
        if is_rest and held_s <= REST_MAX_S:
            return [Log(f"{held_s:.1f} s of audio dropped: the rest of the interrupted reply")] if doubtful else []
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
        # SpeechNoticed has flushed this turn already when the voice then says Interrupted: nothing is left to flush or tell.
        return [Tell(Flush, {"turn": floor}), Log("interrupted")] if floor > told else []

    def _busy(self, now: float) -> bool:
        return not self.pacer.idle or now < self.pacer.sent_until

    def _sounds(self, now: float) -> bool:
        """Whether a flush would silence anything. After a stall of the link the robot may be behind in its playing."""
        return self._busy(now) or (self._played < self.turns.newest and now < self.pacer.sent_until + BEHIND_MAX_S)

    def _phase(self, now: float) -> list[Out]:
        """A state message, if the state has changed."""
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
            self._answered_us = self.gate.mark  # speech after this mark is answered by a later turn
        log = [Log(f"{state}: {reason}" if reason else state)] if is_news else []
        return [Tell(State, {"state": state, "reason": reason, **heard}), *log]
