"""The queue in front of a robot's speaker (playout): jitter, gaps, turns and barge-in. Pure: no clock, no device."""

from collections import deque
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from reachy_link.pcm import JITTER_TARGET_MS, Format, Samples

BUFFER_MAX_MS: Final = 2000
"""The longest queue, longer than a pacer lets it become. Further chunks are dropped and counted."""

DRY_MS: Final = 10
"""When the device has only this much left and the queue is empty, a gap can no longer be avoided."""

FADE_MS: Final = 5
"""How long speech takes to fade out before a gap, and to fade in after it."""


@dataclass
class TurnReport:
    """How a turn was played at the speaker."""

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
    """Whether the gateway dropped the rest of the turn."""
    started: bool = False
    begun: bool = False
    """Whether the device has got any of the turn's samples."""
    faded: bool = False
    """Whether the samples before a gap were faded out, so that the next samples fade in."""


class Playout:
    """Orders a speaker's chunks by turn, collects the jitter target, conceals gaps, and drops old turns at a flush.

    The device's own queue is the clock: the caller tells :meth:`due` how much the device has left, and :meth:`due` fills it up
    to ``lead_ms``.
    """

    def __init__(self, speaker: Format, lead_ms: int) -> None:
        self._format = speaker
        self._lead_ms = lead_ms
        self._floor = 0
        self._closed = 0
        """Turns below this number have ended or were flushed: their further chunks are late."""
        self._turns: deque[_Queue] = deque()
        self._last = np.zeros((0, speaker.channels), np.float32)
        self._handed = False
        """Whether the device may still play samples from here."""
        self.late_chunks = 0
        """Chunks of turns that are below the floor or have ended."""
        self.overflow_chunks = 0
        self.finished: list[TurnReport] = []
        """Turns that have ended; the caller empties the list."""
        self.begun: list[tuple[int, float]] = []
        """Turns whose first samples :meth:`due` has handed over, and how many ms the device had yet to play before them; the
        caller empties the list."""

    @property
    def active(self) -> bool:
        """Whether a turn plays or waits to be played."""
        return bool(self._turns)

    @property
    def buffered_ms(self) -> float:
        """Speech that the device has not got yet, in ms."""
        return self._format.ms(sum(queue.samples for queue in self._turns))

    def push(self, turn: int, samples: Samples) -> bool:
        """Queue a chunk; false if the chunk is too late or there is no room."""
        queue = self._queue(turn)
        if queue is None or queue.ended:
            self.late_chunks += 1
            return False
        if self.buffered_ms >= BUFFER_MAX_MS:
            self.overflow_chunks += 1
            queue.report.dropped_ms += self._format.ms(len(samples))
            return False
        n = self._format.chunk_samples()  # the device gets small pieces, because it gives nothing back soon
        queue.chunks.extend(samples[start : start + n] for start in range(0, len(samples), n))
        queue.samples += len(samples)
        return True

    def end(self, turn: int, *, complete: bool = True) -> None:
        """No more chunks of this turn will come; ``complete`` is false if the gateway dropped the rest."""
        if (queue := self._queue(turn)) is not None:
            queue.ended = True
            queue.cut = queue.cut or not complete

    def end_all(self) -> None:
        """No more chunks of any current turn will come."""
        for queue in self._turns:
            queue.ended = True

    def flush(self, floor: int) -> bool:
        """Drop all turns below the floor, and their later chunks; true if the device must be silenced."""
        if floor <= self._floor:
            return False
        self._floor = floor
        self._close(floor)
        handed, self._handed = self._handed, False
        return handed

    def cut(self, turn: int | None = None) -> None:
        """There is no device: drop all current turns and this one, and their later chunks. Newer turns may play."""
        if turn is not None:
            self._queue(turn)
        if self._turns:
            self._close(self._turns[-1].report.turn + 1)
        self._handed = False

    def reset(self) -> bool:
        """Forget everything, also the floor: a new gateway counts turns from the start. True if the device must be silenced."""
        self.finished.extend(queue.report for queue in self._turns)
        self._turns.clear()
        self._floor = self._closed = 0
        handed, self._handed = self._handed, False
        return handed

    def due(self, queued_ms: float) -> list[Samples]:
        """The samples to hand to the device now, given how much the device has yet to play."""
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
        """The turn's queue, which is made for a newer turn; None for a turn that is over."""
        if turn < self._closed:
            return None
        if not self._turns or turn > self._turns[-1].report.turn:
            if self._turns:
                self._turns[-1].ended = True  # turns are sent in order, so the message with this turn's end was lost
            self._turns.append(_Queue(TurnReport(turn)))
            return self._turns[-1]
        return next((queue for queue in self._turns if queue.report.turn == turn), None)

    def _close(self, below: int) -> None:
        """End all turns below this number as cut."""
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
        """The device ran dry in the middle of a turn: fade out the mirrored last ms, then collect the jitter target again."""
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
