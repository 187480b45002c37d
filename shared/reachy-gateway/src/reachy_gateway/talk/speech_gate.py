"""The speech gate: detects when the person speaks, by the energy in two bands. Pure. It holds no audio back.

Each band has its own noise floor. A vowel stands out of the room's noise below 850 Hz. An "s" stands out in the differences
between neighbouring samples. Neither band contains anything slower than speech, such as an offset or the mains' hum.
"""

import math
from collections import deque
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from reachy_gateway.talk.resampler import Mono, Pcm16
from reachy_gateway.voice import HEARS_HZ

FRAME: Final = HEARS_HZ // 50
"""Samples that are judged together (20 ms), whatever the length of the chunks."""
FRAME_MS: Final = 20
LOW_ABOVE_FLOOR_DB: Final = 9.0
"""The floor lies 2 to 4 dB below the mean of a steady noise. With 8 dB here, a fan opened the gate once in 13 minutes."""
HIGH_ABOVE_FLOOR_DB: Final = 5.0
"""Lower, because more frequencies make the power steadier: steady noise rises 1 dB above the floor, a swelling fan 4 dB."""
LOW_NEARLY_DB: Final = 6.5
HIGH_NEARLY_DB: Final = 4.5
"""A frame so far above the floor is nearly loud. After a loud frame it counts half. A word that begins softly stays there for
80 ms."""
SILENCE_DBFS: Final = -100.0
"""No room is that quiet: such frames are the zeros that a half-duplex robot sends while it speaks. A signal in which one sample
in ten is 1 instead of 0 is already louder."""
QUIETEST_SPEECH_DBFS: Final = -58.0
"""For either band. Speech of -50 dBFS, 10 dB above a room of -60, begins with syllables as quiet as this."""
LOUDEST_START_DBFS: Final = -33.0
"""The floor before the first audio. A conversation that begins well above it begins with speech, any other with the room."""
SILENT_ROOM_DBFS: Final = -58.0
SILENT_MS: Final = 400
"""After so many zeros, and no other audio before, the floor is white noise of this level: a virtual robot has no room."""
ONSET_MS: Final = 60
"""How much in a row must be loud to count as speech. A click is shorter, even across two chunks. After the first loud frame,
nearly loud frames count half."""
HANGOVER_MS: Final = 300
"""How much must be quiet before speech is over. Pauses within a word are shorter."""
FLOOR_PART_MS: Final = 400
FLOOR_PARTS: Final = 8
"""The floor is the quietest moment of the last 2.8 to 3.2 s. A longer noise counts as the room, and so does a longer vowel."""
SLOWEST: Final = 6
"""Polynomials up to this degree are subtracted from a frame. They contain an offset and its drift. 50 Hz lose 45 dB by this,
60 Hz 35 dB, and a man's second harmonic 1 dB. An offset that jumps is a click of one frame."""
LOW_HZ: Final = range(150, 850, 50)


@dataclass(frozen=True, slots=True)
class SpeechStarted:
    """The person has begun to speak."""


@dataclass(frozen=True, slots=True)
class SpeechEnded:
    """The person has stopped. ``mark`` is the mark of the last chunk that held speech."""

    mark: int
    speech_ms: float


def band(frequencies: range) -> npt.NDArray[np.float32]:
    """A matrix. The squares of its product with a frame add up to the power in the band; 1 is full scale.

    28 rows keep the product below the size that OpenBLAS may split among threads.
    """
    at = np.arange(FRAME) / HEARS_HZ
    turns = 2 * np.pi * np.outer(frequencies, at)
    rows = np.concatenate([np.cos(turns), np.sin(turns)])
    slow, _ = np.linalg.qr(np.vander(np.linspace(-1, 1, FRAME), SLOWEST + 1))
    rows -= rows @ slow @ slow.T
    share = frequencies.step * FRAME / HEARS_HZ
    return (rows * math.sqrt(2 * share) / FRAME / 32768).astype(np.float32)


def power_of(db: float) -> float:
    """A level in dB as a power; 1 is full scale."""
    return float(10 ** (db / 10))


LOW: Final = band(LOW_HZ)
LOW_SHARE: Final = len(LOW_HZ) * LOW_HZ.step / (HEARS_HZ / 2)
"""The share of white noise that is in the low band."""
HIGH_SCALE: Final = 1 / (2 * FRAME * 32768**2)
"""Turns the sum of squared differences between samples into a power. For white noise it equals the noise's power. For 1 kHz it
is 12 dB less, for 50 Hz 37 dB less."""
LOW_ABOVE_FLOOR: Final = power_of(LOW_ABOVE_FLOOR_DB)
HIGH_ABOVE_FLOOR: Final = power_of(HIGH_ABOVE_FLOOR_DB)
LOW_NEARLY: Final = power_of(LOW_NEARLY_DB)
HIGH_NEARLY: Final = power_of(HIGH_NEARLY_DB)
SILENCE_POWER: Final = power_of(SILENCE_DBFS)
QUIETEST_SPEECH_POWER: Final = power_of(QUIETEST_SPEECH_DBFS)
LOUDEST_START: Final = power_of(LOUDEST_START_DBFS)
SILENT_ROOM: Final = power_of(SILENT_ROOM_DBFS)


class NoiseFloor:
    """The power of the room in a band: the quietest of the last seconds. It holds one number for each of ``FLOOR_PARTS``.

    Args:
        share: The share of white noise that is in the band.
    """

    def __init__(self, share: float) -> None:
        self.power = LOUDEST_START
        self._silent = SILENT_ROOM * share
        self._part = LOUDEST_START
        self._frames = 0
        self._parts: deque[float] = deque(maxlen=FLOOR_PARTS - 1)
        self._before = math.inf
        self._taught = False
        self._zeros_ms = 0

    def skip(self) -> None:
        """Take a frame of zeros, which teaches nothing. Nor does a neighbouring frame that is partly zeros."""
        self._before = math.inf
        if not self._taught:
            self._zeros_ms += FRAME_MS
            if self._zeros_ms >= SILENT_MS:
                self.power = self._part = self._silent

    def learn(self, power: float) -> None:
        """Take the power of the next frame."""
        # Of two frames in a row the louder one counts: a partly lost frame, or a moment between two waves, is not the room.
        louder = max(self._before, power)
        self._before = power
        self._taught = True
        if louder < self._part:
            self._part = louder
            self.power = min(self.power, louder)
        self._frames += 1
        if self._frames == FLOOR_PART_MS // FRAME_MS:
            if self._part < math.inf:
                self._parts.append(self._part)
                self.power = min(self._parts)
            self._part = math.inf
            self._frames = 0


class SpeechGate:
    """An energy detector with two bands, each with a noise floor, and with an onset and a hangover.

    It judges frames of 20 ms. The rest of a chunk, less than a frame, waits for the next chunk.
    """

    def __init__(self) -> None:
        self._rest: Mono = np.zeros(0, np.float32)
        self._parts = np.empty(len(LOW), np.float32)
        self._changes = np.empty(FRAME - 1, np.float32)
        self._low = NoiseFloor(LOW_SHARE)
        self._high = NoiseFloor(1.0)
        self._onset_ms = 0
        """How much loud time counts towards speech so far; 0 while there is speech."""
        self._quiet_ms = 0
        self._speech_ms = 0
        self.speaking = False
        self.mark = 0
        """The mark of the newest chunk that held speech."""

    def hear(self, samples: Pcm16 | Mono, mark: int) -> SpeechStarted | SpeechEnded | None:
        """Take the next chunk: 16 kHz mono, of any length. The mark is any number that names the chunk to the caller.

        If two events happen within one long chunk, the later one is returned.
        """
        floats = samples.astype(np.float32, copy=False)
        if len(self._rest):
            floats = np.concatenate((self._rest, floats))
        whole = len(floats) - len(floats) % FRAME
        told: SpeechStarted | SpeechEnded | None = None
        for start in range(0, whole, FRAME):
            told = self._step(mark, self._loud_ms(floats[start : start + FRAME])) or told
        self._rest = floats[whole:]
        return told

    def _loud_ms(self, frame: Mono) -> int:
        """How much of a frame counts as loud: all, half or nothing. The floors learn from the frame."""
        LOW.dot(frame, self._parts)
        low = float(self._parts.dot(self._parts))
        np.subtract(frame[1:], frame[:-1], self._changes)
        high = float(self._changes.dot(self._changes)) * HIGH_SCALE
        if low <= SILENCE_POWER and high <= SILENCE_POWER:
            self._low.skip()
            self._high.skip()
            return 0
        self._low.learn(low)
        self._high.learn(high)
        low_floor = self._low.power if low > QUIETEST_SPEECH_POWER else math.inf
        high_floor = self._high.power if high > QUIETEST_SPEECH_POWER else math.inf
        if low > LOW_ABOVE_FLOOR * low_floor or high > HIGH_ABOVE_FLOOR * high_floor:
            return FRAME_MS
        nearly = self._onset_ms and (low > LOW_NEARLY * low_floor or high > HIGH_NEARLY * high_floor)
        return FRAME_MS // 2 if nearly else 0

    def _step(self, mark: int, loud_ms: int) -> SpeechStarted | SpeechEnded | None:
        if not self.speaking:
            self._onset_ms = self._onset_ms + loud_ms if loud_ms else 0
            if self._onset_ms < ONSET_MS:
                return None
            self.speaking = True
            self.mark = mark
            self._speech_ms, self._onset_ms, self._quiet_ms = self._onset_ms, 0, 0
            return SpeechStarted()
        if loud_ms:
            self.mark = mark
            self._speech_ms += self._quiet_ms + FRAME_MS
            self._quiet_ms = 0
            return None
        self._quiet_ms += FRAME_MS
        if self._quiet_ms < HANGOVER_MS:
            return None
        self.speaking = False
        return SpeechEnded(self.mark, self._speech_ms)


def dbfs(samples: Pcm16 | Mono) -> float:
    """The level of samples (in PCM16's units) in dBFS; at least -100."""
    floats = samples.astype(np.float32, copy=False)
    power = float(np.dot(floats, floats)) / len(floats) / 32768.0**2
    return 10 * math.log10(power) if power > SILENCE_POWER else SILENCE_DBFS
