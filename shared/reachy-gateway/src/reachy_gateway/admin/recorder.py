"""Records a conversation: both sides on one time line, and the events on it. Pure: time is passed in.

The left channel is the person, as the voice hears them. The right channel is the robot, as sent to its speaker. Audio that a
flush silences is erased again, so audio that was sent ahead is held until no flush can reach it.
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
"""Audio older than this is final, because no flush reaches it."""
BUFFER_S: Final = 10.0
"""How much audio may wait to be taken. Beyond this audio is lost, and counted."""
SLACK_S: Final = 0.1
"""If mic audio is off by less than this, it continues where it was: the network delays chunks irregularly."""


class Recorder:
    """One recording.

    Args:
        speaker: The format of the audio that the robot is sent.
        now: When the recording begins.
    """

    def __init__(self, speaker: Format, now: float) -> None:
        self._speaker = speaker
        self._began = now
        self._taken = 0
        """How many samples were taken. The buffer begins there."""
        self._sides: npt.NDArray[np.int16] = np.zeros((2, int(BUFFER_S * HEARS_HZ)), np.int16)
        self._ends = [0, 0]
        """Where the next sample of each side goes."""
        self._turn = -1
        self._uplink = Uplink(speaker)
        self._lines: list[str] = []
        self.lost_samples = 0

    def heard(self, pcm: bytes, now: float) -> None:
        """Take the next PCM16 of the microphone, mono at 16 kHz. It ends now."""
        samples = np.frombuffer(pcm, "<i2")
        start, expected = self._at(now) - len(samples), self._ends[0]
        self._put(0, expected if abs(start - expected) <= SLACK_S * HEARS_HZ else max(start, expected), samples)

    def sounded(self, turn: int, pcm: bytes, now: float) -> None:
        """Take the next chunk of a turn, in the speaker's format. It follows the one before, or begins now if that is over."""
        if turn != self._turn:
            self._turn, self._uplink = turn, Uplink(self._speaker)
        self._put(1, max(self._ends[1], self._at(now)), rounded(self._uplink.convert(pcm)))

    def flushed(self, now: float) -> None:
        """Take note that the speaker is silent from now on."""
        at = max(0, self._at(now) - self._taken)
        self._sides[1, at:] = 0
        self._ends[1] = min(self._ends[1], self._at(now))

    def happened(self, kind: str, fields: Mapping[str, Any], now: float) -> None:
        """Write an event down."""
        line = {"t": round(now - self._began, 3), "kind": kind, **fields}
        self._lines.append(json.dumps(line, ensure_ascii=False) + "\n")

    def take(self, now: float, *, to_the_end: bool = False) -> tuple[bytes, str]:
        """What is final since the last call: interleaved PCM16, and lines about events."""
        until = self._at(now) if to_the_end else self._at(now - SETTLE_S)
        count = max(0, min(until - self._taken, self._sides.shape[1]))
        pcm = self._sides[:, :count].T.astype("<i2").tobytes()
        self._sides[:, : -count or None] = self._sides[:, count:].copy()
        self._sides[:, self._sides.shape[1] - count :] = 0
        self._taken += count
        lines, self._lines = "".join(self._lines), []
        return pcm, lines

    def is_full(self, now: float) -> bool:
        """Whether the recording has lasted as long as it may."""
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
