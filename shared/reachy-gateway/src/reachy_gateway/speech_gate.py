"""The speech gate: tells when the person speaks, by energy. Pure; it never gates audio."""

import math
from dataclasses import dataclass
from typing import Final

import numpy as np

from reachy_gateway.audio import Mono, Pcm16
from reachy_gateway.voice import HEARS_HZ

ABOVE_FLOOR_DB: Final = 10.0
SILENCE_DBFS: Final = -100.0
"""No room is that quiet: these are the zeros of a robot that speaks. One sample in ten that is not 0, but 1, is louder."""
SILENCE_POWER: Final = 1e-10
QUIETEST_SPEECH_DBFS: Final = -50.0
ONSET_MS: Final = 60
"""This much in a row must be loud to count as speech: a click is shorter, even where it falls across two chunks."""
HANGOVER_MS: Final = 300
"""This much must be quiet before speech counts as over: the pause within a word is shorter."""
FLOOR_RISE_DB_PER_S: Final = 1.0
"""How fast the estimate of the noise floor follows a room that became louder; a quieter one is followed at once."""


@dataclass(frozen=True, slots=True)
class SpeechStarted:
    """The person speaks."""


@dataclass(frozen=True, slots=True)
class SpeechEnded:
    """The person has stopped; ``mark`` is that of the last chunk that held speech."""

    mark: int
    speech_ms: float


class SpeechGate:
    """An energy gate with an adaptive noise floor, an onset and a hangover."""

    def __init__(self) -> None:
        self._floor_db = -60.0
        self._loud_ms = 0.0
        self._quiet_ms = 0.0
        self._speech_ms = 0.0
        self.speaking = False
        self.mark = 0
        """The mark of the newest chunk that held speech."""

    def hear(self, samples: Pcm16 | Mono, mark: int) -> SpeechStarted | SpeechEnded | None:
        """Take the next chunk, 16 kHz mono; the mark is whatever names it to the caller."""
        if not len(samples):
            return None
        ms = len(samples) * 1000 / HEARS_HZ
        level_db = dbfs(samples)
        loud = level_db > max(self._floor_db + ABOVE_FLOOR_DB, QUIETEST_SPEECH_DBFS)
        if level_db <= SILENCE_DBFS:
            pass
        elif not loud:
            self._floor_db = min(level_db, self._floor_db) if level_db < self._floor_db else self._risen(ms, level_db)
        elif self.speaking:
            self._floor_db = self._risen(ms / 10, level_db)  # a noise that goes on for a minute is the room
        return self._step(ms, mark, loud=loud)

    def _risen(self, ms: float, level_db: float) -> float:
        return min(level_db, self._floor_db + FLOOR_RISE_DB_PER_S * ms / 1000)

    def _step(self, ms: float, mark: int, *, loud: bool) -> SpeechStarted | SpeechEnded | None:
        if loud:
            self._loud_ms += ms
            self._speech_ms += self._quiet_ms + ms if self.speaking else 0.0
            self._quiet_ms = 0.0
            if self.speaking or self._loud_ms >= ONSET_MS:
                self.mark = mark
            if not self.speaking and self._loud_ms >= ONSET_MS:
                self.speaking = True
                self._speech_ms = self._loud_ms
                return SpeechStarted()
            return None
        self._loud_ms = 0.0
        self._quiet_ms += ms
        if self.speaking and self._quiet_ms >= HANGOVER_MS:
            self.speaking = False
            return SpeechEnded(self.mark, self._speech_ms)
        return None


def dbfs(samples: Pcm16 | Mono) -> float:
    """The level of samples in units of PCM16, in dB of full scale; at least -100."""
    floats = samples.astype(np.float32, copy=False)
    power = float(np.dot(floats, floats)) / len(floats) / 32768.0**2
    return 10 * math.log10(power) if power > SILENCE_POWER else SILENCE_DBFS
