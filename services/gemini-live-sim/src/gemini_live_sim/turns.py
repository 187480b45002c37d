"""Answers, from the question to turnComplete or to the interruption.

An answer is active from its beginning until its turnComplete, which is usually sent when the answer would have been heard to
its end. A question during an active answer interrupts the answer, or waits if interruptions are switched off.
"""

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from gemini_live_sim import messages
from gemini_live_sim.actions import SendRaw, Step, Trigger
from gemini_live_sim.agenda import Agenda
from gemini_live_sim.answers import Speech, muted
from gemini_live_sim.behaviour import Behaviour
from gemini_live_sim.delivery import (
    AudioPlan,
    CompletePlan,
    GeneratedPlan,
    Plan,
    StrayPlan,
    TextPlan,
    TranscriptPlan,
    plan_answer,
)
from gemini_live_sim.journal import AnswerRecord, Journal, note
from gemini_live_sim.outputs import AudioOut, Note, Output, Send
from gemini_live_sim.setup import SessionSetup
from gemini_live_sim.usage import UsageMeter
from gemini_live_sim.wire import Json

MAX_WAITING = 8
"""Answers that may wait for the active one. Beyond this the oldest is dropped."""
_TAG = "answer"


@dataclass(frozen=True, slots=True)
class _Asked:
    make: Callable[[int], Speech]
    late: Sequence[Json]


@dataclass
class _Active:
    speech: Speech
    record: AnswerRecord
    late: Sequence[Json]
    """Messages that are sent after the first piece of the answer's transcription, or at the answer's end."""
    billed_s: float = 0.0
    """Audio of the answer's earlier turns that is already billed."""


@dataclass(frozen=True, slots=True)
class Settled:
    """The end of a turn, with the audio that is billed."""

    record: AnswerRecord
    seconds: float


@dataclass(frozen=True, slots=True)
class Stage:
    """The objects that the parts of a session share."""

    journal: Journal
    meter: UsageMeter
    emit: Callable[[Output], None]
    happened: Callable[[Trigger, float], None]


class Turns:
    """The active answer and the waiting ones."""

    def __init__(
        self,
        behaviour: Behaviour,
        setup: SessionSetup,
        stage: Stage,
        agenda: Agenda[Any],
        on_end: Callable[[float], None],
    ) -> None:
        """``on_end`` is called after each turn, with the time."""
        self._behaviour = behaviour
        self._setup = setup
        self._stage = stage
        self._emit = stage.emit
        self._agenda = agenda
        self._on_end = on_end
        self._active: _Active | None = None
        self._waiting: deque[_Asked] = deque(maxlen=MAX_WAITING)
        self._settled_at = 0.0
        self.number = 0
        """Number of the newest turn. A resumed session continues the count."""
        self.held = False
        """Whether answers wait, for example for a tool's response."""

    @property
    def active(self) -> bool:
        """Whether an answer is prepared, sent or heard."""
        return self._active is not None

    def answer(self, make: Callable[[int], Speech], now: float, late: Sequence[Json] = ()) -> None:
        """Answer now, or after the active answer. ``make`` gets the turn's number; ``late`` is sent after its first words."""
        self._waiting.append(_Asked(make, late))
        self.go_on(now)

    def go_on(self, now: float) -> None:
        """Begin the next waiting answer, unless an answer is active or answers are held."""
        if self._waiting and not self.active and not self.held:
            self._begin(self._waiting.popleft(), now)

    def end_with_call(self, now: float) -> None:
        """Make a turn without an answer. The answer comes in a later turn, or never."""
        self.number += 1
        self._end(Settled(AnswerRecord(self.number, b"", 1, ""), 0.0), now)

    def interrupt(self, now: float) -> None:
        """Cut the active answer short: ``interrupted``, leftovers, turnComplete. Without one, only send ``interrupted``."""
        self._waiting.clear()
        active, self._active = self._active, None
        self._agenda.drop(_TAG)
        self._emit(Note("interrupted", "interrupted", self.number))
        self._emit(Send(messages.content(interrupted=True)))
        if active is not None:
            self._leave(active, now)
        self._stage.happened("interrupted", now)

    def perform(self, plan: Plan | Settled, now: float) -> None:
        """Send the planned piece of an answer."""
        if isinstance(plan, Settled):
            self._end(plan, now)
            return
        active = self._active
        if active is None:
            return
        match plan:
            case AudioPlan():
                self._send_audio(active, plan, now)
            case TranscriptPlan():
                self._emit(Send(messages.transcription("output", plan.text)))
                self._catch_up(active)
            case TextPlan():
                self._emit(Send(messages.model_turn([{"text": plan.text}])))
            case StrayPlan():
                self._emit(Send(messages.content(interrupted=True)))
            case GeneratedPlan():
                self._emit(Send(messages.content(generationComplete=True)))
            case CompletePlan():
                self._complete(active, plan, now)

    def _begin(self, asked: _Asked, now: float) -> None:
        self.number += 1
        speech = muted(asked.make(self.number), self._behaviour)
        record = AnswerRecord(self.number, speech.pcm, speech.hz, speech.text)
        self._active = _Active(speech, self._stage.journal.answer(record), asked.late)
        self._emit(Note("answering", f"answering: {speech.seconds:.1f} s", self.number))
        transcript = self._setup.output_audio_transcription is not None or bool(self._behaviour.unasked_transcripts)
        first_audio_at = max(now + self._behaviour.thinking_ms / 1000, self._settled_at)
        for due, plan in plan_answer(speech, first_audio_at, self._behaviour, transcript=transcript):
            self._agenda.put(due, plan, _TAG)

    def _send_audio(self, active: _Active, plan: AudioPlan, now: float) -> None:
        first = active.record.sent_bytes == 0
        pcm_parts = [active.speech.pcm[a:b] for a, b in pairwise(plan.cuts)]
        active.record.sent_bytes = plan.cuts[-1]
        self._emit(self._audio(active.record.turn, pcm_parts, active.speech.hz, first=first))
        self._stage.happened("audio_out", now)

    def _audio(self, turn: int, pcm_parts: list[bytes], hz: int, *, first: bool = False) -> Send:
        behaviour = self._behaviour
        mime_type = behaviour.mime.replace("{hz}", str(hz))
        parts = messages.audio_parts(pcm_parts, mime_type, empty=behaviour.empty_parts, thoughts=behaviour.thought_parts)
        return Send(messages.model_turn(parts), AudioOut(turn, first, b"".join(pcm_parts)))

    def _complete(self, active: _Active, plan: CompletePlan, now: float) -> None:
        if not plan.last:
            active.billed_s += plan.seconds
            self._bill(active.record.turn, plan.seconds, "IN_PROGRESS", now)
            return
        self._catch_up(active)
        self._active = None
        self._end(Settled(active.record, plan.seconds), now)
        self.go_on(now)

    def _leave(self, active: _Active, now: float) -> None:
        """Send an interrupted answer's leftovers. The next answer starts after them."""
        self._catch_up(active)
        record, speech = active.record, active.speech
        stop = record.sent_bytes + speech.hz * self._behaviour.leftover_ms // 1000 * 2
        leftover = speech.pcm[record.sent_bytes : stop]
        chunk_bytes = speech.hz * self._behaviour.chunk_ms // 1000 * 2
        for at in range(0, len(leftover), chunk_bytes):
            self._emit(self._audio(record.turn, [leftover[at : at + chunk_bytes]], speech.hz))
        record.interrupted = True
        record.leftover_bytes = len(leftover)
        seconds = (record.sent_bytes + len(leftover)) / 2 / speech.hz - active.billed_s
        self._settled_at = now + self._behaviour.settle_ms / 1000
        self._agenda.put(self._settled_at, Settled(record, max(seconds, 0.0)))

    def _end(self, settled: Settled, now: float) -> None:
        record = settled.record
        if record.text:
            self._stage.journal.tell("model", record.text)
        record.complete = self._bill(record.turn, settled.seconds, "IDLE", now)
        if record.complete:
            self._emit(Note("turn_complete", f"turn {record.turn} complete", record.turn))
        else:
            self._emit(Note("left_open", f"turn {record.turn} over, without turnComplete", record.turn))
        self._on_end(now)
        if record.complete:
            self._stage.happened("turn_complete", now)

    def _bill(self, turn: int, seconds: float, status: str, now: float) -> bool:
        """Send turnComplete with the token counts; return whether this turn has a turnComplete."""
        behaviour = self._behaviour
        report = self._stage.meter.bill(turn, seconds, self._setup.context_window_compression)
        if behaviour.end_turns == "never" or (behaviour.end_turns == "every_other" and turn % 2):
            return False
        note(self._stage.journal.usage, report)
        usage = report.as_json(behaviour.usage)
        status_told = status if behaviour.interaction_status else None
        self._emit(Send(messages.turn_complete(usage, status=status_told, reason=behaviour.turn_reason)))
        if usage is not None and behaviour.usage_again_ms is not None:
            self._agenda.put(now + behaviour.usage_again_ms / 1000, Step(action=SendRaw(message=messages.bill(usage))))
        return True

    def _catch_up(self, active: _Active) -> None:
        """Send the messages that were held back until after the answer's first words."""
        for message in active.late:
            self._emit(Send(message))
        active.late = ()
