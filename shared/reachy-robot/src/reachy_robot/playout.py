"""The playout buffer of a robot's speaker: jitter, gaps, turns and barge-in. Pure: no clock, no device."""

from collections import deque
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from reachy_link.pcm import JITTER_TARGET_MS, Format, Samples

BUFFER_MAX_MS: Final = 2000
"""More than a pacer lets run ahead; beyond it the newest chunks are dropped and counted."""

DRY_MS: Final = 10
"""With this little left at the device and nothing behind it, a gap can no longer be avoided."""

FADE_MS: Final = 5
"""How long the end of speech before a gap takes to fade, and the speech after it to come back."""


@dataclass
class TurnReport:
    """What became of a turn at the speaker."""

    turn: int
    played_ms: float = 0.0
    underruns: int = 0
    concealed_ms: float = 0.0
    dropped_ms: float = 0.0
    complete: bool = False


@dataclass
class _Queue:
    """One turn's chunks that have not been handed to the device, oldest first."""

    report: TurnReport
    chunks: deque[Samples] = field(default_factory=deque)
    samples: int = 0
    ended: bool = False
    cut: bool = False
    """Whether there had been more of it, which the gateway dropped."""
    started: bool = False
    begun: bool = False
    """Whether the device was handed anything of it."""
    faded: bool = False
    """Its last sample before a gap has been faded out, so its next one fades in."""


class Playout:
    """Orders a speaker's chunks by turn, waits for the jitter target, conceals gaps, and forgets old turns at a flush.

    The device's own queue is the clock: :meth:`due` is told how much of it is left and tops it up to ``lead_ms``.
    """

    def __init__(self, speaker: Format, lead_ms: int) -> None:
        self._format = speaker
        self._lead_ms = lead_ms
        self._floor = 0
        self._closed = 0
        """Turns below this have ended or were flushed: what still comes of them is late."""
        self._turns: deque[_Queue] = deque()
        self._last = np.zeros((0, speaker.channels), np.float32)
        self._handed = False
        """Whether the device may still be playing something of ours."""
        self.late_chunks = 0
        """Chunks of turns below the floor or already ended."""
        self.overflow_chunks = 0
        self.finished: list[TurnReport] = []
        """Turns that ended since the caller last took them; the caller empties it."""
        self.begun: list[tuple[int, float]] = []
        """Turns whose first samples :meth:`due` has handed over, and what the device had yet to play before them; the caller
        empties it."""

    @property
    def active(self) -> bool:
        """Whether a turn is playing or waiting to."""
        return bool(self._turns)

    @property
    def buffered_ms(self) -> float:
        """Speech that waits to be handed to the device."""
        return self._format.ms(sum(queue.samples for queue in self._turns))

    def push(self, turn: int, samples: Samples) -> bool:
        """Queue a chunk; false if it came too late or found no room."""
        queue = self._queue(turn)
        if queue is None or queue.ended:
            self.late_chunks += 1
            return False
        if self.buffered_ms >= BUFFER_MAX_MS:
            self.overflow_chunks += 1
            queue.report.dropped_ms += self._format.ms(len(samples))
            return False
        n = self._format.chunk_samples()  # the device is handed little at a time, as it is slow to give anything back
        queue.chunks.extend(samples[start : start + n] for start in range(0, len(samples), n))
        queue.samples += len(samples)
        return True

    def end(self, turn: int, *, complete: bool = True) -> None:
        """No more chunks of this turn will come; ``complete`` unless there had been more of it."""
        if (queue := self._queue(turn)) is not None:
            queue.ended = True
            queue.cut = queue.cut or not complete

    def end_all(self) -> None:
        """No more chunks will come of any turn so far."""
        for queue in self._turns:
            queue.ended = True

    def flush(self, floor: int) -> bool:
        """Drop all turns below the floor, however late they arrive; true if the device must be silenced."""
        if floor <= self._floor:
            return False
        self._floor = floor
        self._close(floor)
        handed, self._handed = self._handed, False
        return handed

    def cut(self, turn: int | None = None) -> None:
        """There is no device: drop all turns so far, and this one, however late they arrive; newer ones may play."""
        if turn is not None:
            self._queue(turn)
        if self._turns:
            self._close(self._turns[-1].report.turn + 1)
        self._handed = False

    def reset(self) -> bool:
        """Forget everything, the floor included (a new gateway counts turns anew); true if the device must be silenced."""
        self.finished.extend(queue.report for queue in self._turns)
        self._turns.clear()
        self._floor = self._closed = 0
        handed, self._handed = self._handed, False
        return handed

    def due(self, queued_ms: float) -> list[Samples]:
        """What to hand to the device now, given how much it has yet to play."""
        out: list[Samples] = []
        while self._turns and queued_ms < self._lead_ms:
            queue = self._turns[0]
            if not queue.started and not self._may_start(queue):
                break
            if queue.chunks:
                samples = self._next(queue)
            elif queue.ended:
                self._finish(queue)
                continue
            elif queue.started and queued_ms <= DRY_MS:
                samples = self._conceal(queue)
            else:
                break
            if len(samples):
                if not queue.begun:
                    queue.begun = True
                    self.begun.append((queue.report.turn, queued_ms))
                out.append(samples)
                self._handed = True
                queued_ms += self._format.ms(len(samples))
        while self._turns and self._turns[0].ended and not self._turns[0].chunks:
            self._finish(self._turns[0])
        return out

    def _queue(self, turn: int) -> _Queue | None:
        """The turn's queue, made if it is the newest; None for one that is over."""
        if turn < self._closed:
            return None
        if not self._turns or turn > self._turns[-1].report.turn:
            if self._turns:
                self._turns[-1].ended = True  # turns are sent one after the other, so its end was lost
            self._turns.append(_Queue(TurnReport(turn)))
            return self._turns[-1]
        return next((queue for queue in self._turns if queue.report.turn == turn), None)

    def _close(self, below: int) -> None:
        """All turns below this one are over, and were cut."""
        self._closed = max(self._closed, below)
        while self._turns and self._turns[0].report.turn < below:
            self.finished.append(self._turns.popleft().report)

    def _may_start(self, queue: _Queue) -> bool:
        return queue.ended or self._format.ms(queue.samples) >= JITTER_TARGET_MS

    def _next(self, queue: _Queue) -> Samples:
        samples = queue.chunks.popleft()
        queue.samples -= len(samples)
        queue.started = True
        if queue.faded:
            queue.faded = False
            samples = self._faded(samples, rising=True)
        queue.report.played_ms += self._format.ms(len(samples))
        self._last = samples
        return samples

    def _conceal(self, queue: _Queue) -> Samples:
        """The device ran dry in mid-turn: mirror the last few ms into a fade, then wait for the jitter target again."""
        queue.report.underruns += 1
        queue.started = False
        queue.faded = True
        fade = self._faded(self._last[::-1][: self._format.rate_hz * FADE_MS // 1000], rising=False)
        queue.report.concealed_ms += self._format.ms(len(fade))
        return fade

    def _faded(self, samples: Samples, *, rising: bool) -> Samples:
        n = min(len(samples), self._format.rate_hz * FADE_MS // 1000)
        ramp = np.linspace(0.0, 1.0, n, endpoint=False, dtype=np.float32)[:, None]
        out = samples.copy()
        out[:n] *= ramp if rising else 1 - ramp
        return out

    def _finish(self, queue: _Queue) -> None:
        queue.report.complete = queue.report.dropped_ms == 0 and not queue.cut
        self._closed = queue.report.turn + 1
        self.finished.append(queue.report)
        self._turns.popleft()
