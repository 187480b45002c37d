"""Short local sounds, by which a robot without a screen says that something is wrong. Pure."""

from typing import Final

import numpy as np

from reachy_link.pcm import Format, Samples

NOTES_HZ: Final = {
    "connected": (523, 784),
    "no-gateway": (392, 262),
    "refused": (262, 262, 262),
    "recorded": (1047, 1047),
}
"""Two rising notes: all is well. Two falling notes: no gateway. Three low notes: the gateway or Gemini has refused. Two high
notes: the conversation is recorded from now on."""

NOTE_MS: Final = 120
LEVEL: Final = 0.2
FADE_MS: Final = 10


def sound(name: str, speaker: Format) -> Samples:
    """The samples of a sound, in the speaker's format."""
    n, fade = (speaker.rate_hz * ms // 1000 for ms in (NOTE_MS, FADE_MS))
    envelope = np.minimum(1, np.minimum(np.arange(n), np.arange(n)[::-1]) / fade)
    notes = [np.sin(2 * np.pi * hz * np.arange(n) / speaker.rate_hz) * envelope for hz in NOTES_HZ[name]]
    mono = (LEVEL * np.concatenate(notes)).astype(np.float32)
    return np.repeat(mono[:, None], speaker.channels, axis=1)
