"""A conversation as it is recorded: both sides on one line of time, and what happened on it. Pure: time is passed in.

The person is on the left, as the voice hears them; the robot on the right, as it is sent to the speaker. What a flush silences
is taken away again, so what was sent ahead waits until it cannot be.
"""

import json
from collections.abc import Mapping
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from reachy_gateway.talk.resampler import Uplink, rounded
from reachy_gateway.voice import HEARS_HZ
from reachy_link.pcm import Format

LIMIT_S: Final = 900.0
"""A recording ends by itself after so long."""
SETTLE_S: Final = 3.0
"""What is older is as it was heard: no flush reaches it."""
BUFFER_S: Final = 10.0
"""What was not taken yet; beyond it sound is lost, and counted."""
SLACK_S: Final = 0.1
"""A microphone that is no further off goes on where it was: chunks come when the network likes."""


class Recorder:
    """One recording.

    Args:
        speaker: The format of what the robot is sent.
        now: When it begins.
    """

    def __init__(self, speaker: Format, now: float) -> None:
        self._speaker = speaker
        self._began = now
        self._taken = 0
        """Samples that were taken; the buffer begins there."""
        self._sides: npt.NDArray[np.int16] = np.zeros((2, int(BUFFER_S * HEARS_HZ)), np.int16)
        self._ends = [0, 0]
        """Where each side goes on."""
        self._turn = -1
        self._uplink = Uplink(speaker)
        self._lines: list[str] = []
        self.lost_samples = 0

    def heard(self, pcm: bytes, now: float) -> None:
        """The next PCM16 of the microphone, mono at 16 kHz, which ends now."""
        samples = np.frombuffer(pcm, "<i2")
        start, expected = self._at(now) - len(samples), self._ends[0]
        self._put(0, expected if abs(start - expected) <= SLACK_S * HEARS_HZ else max(start, expected), samples)

    def sounded(self, turn: int, pcm: bytes, now: float) -> None:
        """The next chunk of a turn, in the speaker's format: behind the one before, or now if that is over."""
        if turn != self._turn:
            self._turn, self._uplink = turn, Uplink(self._speaker)
        self._put(1, max(self._ends[1], self._at(now)), rounded(self._uplink.convert(pcm)))

    def flushed(self, now: float) -> None:
        """The speaker is silent from now on."""
        at = max(0, self._at(now) - self._taken)
        self._sides[1, at:] = 0
        self._ends[1] = min(self._ends[1], self._at(now))

    def happened(self, kind: str, fields: Mapping[str, Any], now: float) -> None:
        """Write down what happened."""
        line = {"t": round(now - self._began, 3), "kind": kind, **fields}
        self._lines.append(json.dumps(line, ensure_ascii=False) + "\n")

    def take(self, now: float, *, to_the_end: bool = False) -> tuple[bytes, str]:
        """What is settled since this was last asked: interleaved PCM16, and lines of what happened."""
        until = self._at(now) if to_the_end else self._at(now - SETTLE_S)
        count = max(0, min(until - self._taken, self._sides.shape[1]))
        pcm = self._sides[:, :count].T.astype("<i2").tobytes()
        self._sides[:, : -count or None] = self._sides[:, count:].copy()
        self._sides[:, self._sides.shape[1] - count :] = 0
        self._taken += count
        lines, self._lines = "".join(self._lines), []
        return pcm, lines

    def is_full(self, now: float) -> bool:
        """Whether it has lasted as long as it may."""
        return now - self._began >= LIMIT_S

    def _at(self, now: float) -> int:
        return round((now - self._began) * HEARS_HZ)

    def _put(self, side: int, start: int, samples: npt.NDArray[np.int16]) -> None:
        self._ends[side] = start + len(samples)
        first = start - self._taken
        skipped = max(0, -first)
        room = self._sides.shape[1] - max(0, first)
        piece = samples[skipped : skipped + max(0, room)]
        self.lost_samples += len(samples) - len(piece)
        self._sides[side, max(0, first) : max(0, first) + len(piece)] = piece
