"""A time stamp and a robot's number in the samples of a chunk: quieter than speech, and kept by every lossless way of PCM16."""

import struct
from typing import Final

import numpy as np

SAMPLES: Final = 320
"""20 ms at 16 kHz."""
DIGITS: Final = 9
"""Six bits a sample; the last one is the robot."""
MASK: Final = 63
_NOISE: Final = np.random.default_rng(1).integers(-40, 40, SAMPLES - DIGITS).astype("<i2")
_MONO: Final = struct.Struct(f"<{DIGITS}h")
_STEREO: Final = struct.Struct(f"<{2 * DIGITS}h")
_REST: Final = {1: _NOISE.tobytes(), 2: np.repeat(_NOISE, 2).tobytes()}


def stamped(robot: int, now_us: int, channels: int = 1) -> bytes:
    """A chunk of PCM16 that knows when it was sent, and by whom; stereo has the same on both sides."""
    digits = [now_us >> shift & MASK for shift in (0, 6, 12, 18, 24, 30, 36, 42)]
    if channels == 1:
        return _MONO.pack(*digits, robot) + _REST[1]
    return _STEREO.pack(*(digit for digit in [*digits, robot] for _ in (0, 1))) + _REST[2]


def read(pcm: bytes) -> list[tuple[int, int]]:
    """Robot and time stamp (in us) of each mono chunk in a message."""
    found = []
    for at in range(0, len(pcm) - 2 * SAMPLES + 1, 2 * SAMPLES):
        a, b, c, d, e, f, g, h, robot = _MONO.unpack_from(pcm, at)
        found.append((robot, a | b << 6 | c << 12 | d << 18 | e << 24 | f << 30 | g << 36 | h << 42))
    return found
