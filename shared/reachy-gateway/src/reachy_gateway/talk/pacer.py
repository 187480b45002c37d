"""The pacer: replies come faster than real time, and leave at the speaker's pace. Pure."""

from collections import deque
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from reachy_gateway.talk.resampler import Mono, Resampler, rounded, spread
from reachy_link.pcm import JITTER_TARGET_MS, LONG_CHUNK_MS, Format

QUEUE_MAX_MS: Final = 120_000
"""How much of one robot's replies may wait. Beyond this the newest audio is dropped and counted, and its turn ends there."""

AHEAD_MS: Final = JITTER_TARGET_MS + 100
"""How much audio may run ahead on the link, in addition to the device's own lead."""

FEED_MS: Final = 40
"""How much is converted in one go, so that one robot's burst does not hold up the others."""


@dataclass(frozen=True, slots=True)
class Chunk:
    """A chunk that is due."""

    turn: int
    samples: int
    pcm: bytes


@dataclass(frozen=True, slots=True)
class Ended:
    """All of a turn has been sent, or all of it that found room."""

    turn: int
    complete: bool = True


@dataclass
class _Turn:
    """One reply: its audio as it came, and the converted part that has not been sent."""

    turn: int
    pieces: deque[tuple[bytes, int]] = field(default_factory=deque)
    odd: bytes = b""
    """The first byte of a sample whose second byte comes with the next piece."""
    rate: Resampler | None = None
    ready: bytearray = field(default_factory=bytearray)
    """Converted audio in the speaker's format."""
    ended: bool = False
    cut: bool = False
    """Whether the turn's end found no room."""


class Pacer:
    """Holds a robot's replies as they came. Converts and releases what is due.

    Args:
        speaker: The format that the robot asked for.
        lead_ms: How far ahead of its speaker the robot's device is fed.
    """

    def __init__(self, speaker: Format, lead_ms: float) -> None:
        self._format = speaker
        self._chunk_bytes = speaker.pcm_bytes(speaker.chunk_samples())
        self._most_bytes = speaker.pcm_bytes(speaker.chunk_samples(LONG_CHUNK_MS))
        self._ahead_s = (lead_ms + AHEAD_MS) / 1000
        self._turns: deque[_Turn] = deque()
        self._over = -1
        """The newest turn that was sent in full, or cleared. Later audio of it is dropped."""
        self._sent_until = float("-inf")
        self.queued_ms = 0.0
        """How much audio waits to be converted, in ms."""
        self.dropped_ms = 0.0

    @property
    def idle(self) -> bool:
        """Whether nothing waits, not even the end of a turn."""
        return not self._turns

    @property
    def sent_until(self) -> float:
        """When the speaker will have played everything that was sent, if nothing delays it."""
        return self._sent_until

    def push(self, turn: int, pcm: bytes, rate_hz: int) -> bool:
        """Queue a piece of a reply. Returns false if there is no room; then the turn ends there."""
        ms = len(pcm) / 2 * 1000 / rate_hz
        queue = self._turn(turn)
        if queue is None or queue.ended or self.queued_ms + ms > QUEUE_MAX_MS:
            self.dropped_ms += ms
            if queue:
                queue.ended = queue.cut = True
            return False
        queue.pieces.append((pcm, rate_hz))
        self.queued_ms += ms
        return True

    def end(self, turn: int) -> None:
        """Note that no more audio of this turn will come."""
        if queue := self._turn(turn):
            queue.ended = True

    def clear(self) -> None:
        """Drop everything, after an interruption."""
        if self._turns:
            self._over = self._turns[-1].turn
        self._turns.clear()
        self.queued_ms = 0.0
        self._sent_until = float("-inf")

    def due(self, now: float) -> list[Chunk | Ended]:
        """What to send now, in order."""
        out: list[Chunk | Ended] = []
        while self._turns:
            turn = self._turns[0]
            if self._sent_until - now >= self._ahead_s:
                break
            if pcm := self._take(turn):
                samples = len(pcm) // self._format.pcm_bytes(1)
                out.append(Chunk(turn.turn, samples, pcm))
                self._sent_until = max(self._sent_until, now) + samples / self._format.rate_hz
            elif turn.ended:
                out.append(Ended(turn.turn, complete=not turn.cut))
                self._over = self._turns.popleft().turn
            else:
                break
        return out

    def next_due(self) -> float | None:
        """When there will be something to send; None if that depends on new audio."""
        if not self._turns:
            return None
        turn = self._turns[0]
        if not (turn.pieces or turn.ended or len(turn.ready) >= self._chunk_bytes):
            return None
        return self._sent_until - self._ahead_s

    def _turn(self, turn: int) -> _Turn | None:
        """The turn's queue, made if it is new; None if the turn is over."""
        if turn <= self._over:
            return None
        for queue in self._turns:
            if queue.turn == turn:
                return queue
        self._turns.append(_Turn(turn))
        return self._turns[-1]

    def _take(self, turn: _Turn) -> bytes:
        """The next 20 ms, or 40 ms if they are ready. Less at the turn's end. Nothing if the rest has not come yet."""
        while len(turn.ready) < self._most_bytes and turn.pieces:
            self._feed(turn)
        if len(turn.ready) < self._most_bytes and turn.ended and turn.rate:
            self._hold(turn, turn.rate.flush())
            turn.rate = None
        size = min(len(turn.ready), self._most_bytes)
        if not turn.ended:
            size -= size % self._chunk_bytes
        pcm = bytes(turn.ready[:size])
        del turn.ready[:size]
        return pcm

    def _feed(self, turn: _Turn) -> None:
        """Convert up to 40 ms of the waiting audio."""
        pcm, rate_hz = turn.pieces.popleft()
        most = rate_hz * FEED_MS // 1000 * 2
        if len(pcm) > most:
            turn.pieces.appendleft((pcm[most:], rate_hz))
            pcm = pcm[:most]
        self.queued_ms = max(0.0, self.queued_ms - len(pcm) / 2 * 1000 / rate_hz)
        pcm = turn.odd + pcm
        whole = len(pcm) // 2 * 2
        pcm, turn.odd = pcm[:whole], pcm[whole:]
        if turn.rate is None or turn.rate.from_hz != rate_hz:
            if turn.rate:
                self._hold(turn, turn.rate.flush())
            turn.rate = Resampler(rate_hz, self._format.rate_hz)
        self._hold(turn, turn.rate.convert(np.frombuffer(pcm, dtype="<i2")))

    def _hold(self, turn: _Turn, samples: Mono) -> None:
        turn.ready += spread(rounded(samples), self._format.channels)
