"""A time stamp and a robot's number in a chunk's samples: quieter than speech, and kept by every lossless path of PCM16."""

import struct
from typing import Final

import numpy as np

SAMPLES: Final = 320
"""20 ms at 16 kHz."""
DIGITS: Final = 9
"""Six bits in each sample; the last sample is the robot."""
MASK: Final = 63
AGE_MAX_US: Final = 60_000_000
_MAGIC: Final = bytes(range(0x81, 0x89))
_MARK: Final = struct.Struct("<8sHHQ")
_NOISE: Final = np.random.default_rng(1).integers(-40, 40, SAMPLES - DIGITS).astype("<i2")
_MONO: Final = struct.Struct(f"<{DIGITS}h")
_STEREO: Final = struct.Struct(f"<{2 * DIGITS}h")
_REST: Final = {1: _NOISE.tobytes(), 2: np.repeat(_NOISE, 2).tobytes()}


def stamped(robot: int, now_us: int, channels: int = 1) -> bytes:
    """A chunk of PCM16 that holds when it was sent and by which robot. In stereo both sides hold the same."""
    digits = [now_us >> shift & MASK for shift in (0, 6, 12, 18, 24, 30, 36, 42)]
    if channels == 1:
        return _MONO.pack(*digits, robot) + _REST[1]
    return _STEREO.pack(*(digit for digit in [*digits, robot] for _ in (0, 1))) + _REST[2]


class Reader:
    """Reads the stamps of one stream of mono chunks, wherever messages cut the stream."""

    def __init__(self) -> None:
        self._next = 0
        """Where the next stamp is expected in the next message."""

    def read(self, pcm: bytes, now_us: int) -> list[tuple[int, int]]:
        """Robot and time stamp (in us) of each chunk that begins in a message."""
        found, at = [], self._next
        while at + _MONO.size <= len(pcm):
            *digits, robot = _MONO.unpack_from(pcm, at)
            sent_us = sum(digit << 6 * n for n, digit in enumerate(digits))
            if min(digits) >= 0 and max(digits) <= MASK and robot >= 0 and 0 <= now_us - sent_us < AGE_MAX_US:
                found.append((robot, sent_us))
                at += 2 * SAMPLES
            else:
                at += 2  # other samples precede the stamp
        self._next = max(0, at - len(pcm))
        return found


def marked(pcm: bytes, robot: int, turn: int, now_ns: int) -> bytes:
    """A message of speech that holds its robot, its turn, and when it was sent."""
    return _MARK.pack(_MAGIC, robot, turn, now_ns) + pcm[_MARK.size :]


def mark_of(pcm: bytes) -> tuple[int, int, int] | None:
    """Robot, turn and time stamp (in ns) of audio that begins with a mark."""
    if len(pcm) < _MARK.size or not pcm.startswith(_MAGIC):
        return None
    _, robot, turn, sent_ns = _MARK.unpack_from(pcm)
    return robot, turn, sent_ns
