"""The sentences on which the simulator calls a tool, and how it recognises them: as text, or by the sound of a recording.

This is no speech recognition. The simulator compares sound with its own recordings, so it does not recognise the same words
in another voice.
"""

import io
import tomllib
import wave
from collections.abc import Collection
from dataclasses import dataclass, field
from functools import lru_cache
from importlib import resources
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import soxr

from gemini_live_sim.vad import Utterance

Features = npt.NDArray[np.float32]
"""Shape (frames, bands): the logarithm of the power, minus each band's mean."""
HZ: Final = 16_000
MAX_S: Final = 4.0
"""Longer utterances never match."""
_FRAME, _HOP = 512, 320
_BANDS: Final = 24
_LIKE: Final = 0.42
"""Largest distance at which two sounds count as the same recording. With noise 15 dB below the speech the distance is 0.39;
other sentences and other voices have distances of 0.5 to 0.8."""


@dataclass(frozen=True, slots=True)
class Phrase:
    """A sentence, and the tool call that answers it."""

    text: str
    tool: str
    args: dict[str, Any] = field(default_factory=dict)
    says: bool = False
    """Whether the simulator speaks along with the call and then not about the result."""
    sound: Features | None = None


@lru_cache(maxsize=1)
def phrases() -> tuple[Phrase, ...]:
    """Read the sentences that come with the package."""
    folder = resources.files("gemini_live_sim") / "phrases"
    listed = tomllib.loads((folder / "phrases.toml").read_text(encoding="utf-8"))["phrase"]
    return tuple(
        Phrase(
            item["text"],
            item["tool"],
            item.get("args", {}),
            item.get("says", False),
            _features(*_read_wav((folder / item["file"]).read_bytes())),
        )
        for item in listed
    )


def match(heard: Utterance | str, tools: Collection[str]) -> Phrase | None:
    """Find the said or written sentence, among the sentences with a declared tool; None if none matches."""
    known = [phrase for phrase in phrases() if phrase.tool in tools]
    if isinstance(heard, str):
        return next((phrase for phrase in known if _plain(phrase.text) in _plain(heard)), None)
    if not known or heard.seconds > MAX_S or not heard.pcm:
        return None
    sound = _features(heard.pcm, heard.hz)
    distances = [distance(sound, phrase.sound) for phrase in known if phrase.sound is not None]
    best = int(np.argmin(distances))
    return known[best] if distances[best] < _LIKE else None


def distance(one: Features, other: Features) -> float:
    """The mean distance between frames along the best alignment of two recordings (dynamic time warping)."""
    if not len(one) or not len(other):
        return float("inf")
    costs = np.sqrt(np.maximum(0, ((one[:, None, :] - other[None, :, :]) ** 2).mean(axis=2)))
    rows, columns = costs.shape
    total = np.full((rows + 1, columns + 1), np.inf)
    total[0, 0] = 0
    for diagonal in range(rows + columns - 1):  # a diagonal's cells depend on the two diagonals before it only
        row = np.arange(max(0, diagonal - columns + 1), min(rows, diagonal + 1))
        column = diagonal - row
        before = np.minimum(np.minimum(total[row, column + 1], total[row + 1, column]), total[row, column] + costs[row, column])
        total[row + 1, column + 1] = costs[row, column] + before
    return float(total[rows, columns] / (rows + columns))


def _features(pcm: bytes, hz: int) -> Features:
    samples = np.frombuffer(pcm, dtype="<i2", count=len(pcm) // 2).astype(np.float32) / 32768
    if hz != HZ:
        samples = soxr.resample(samples, hz, HZ)
    if len(samples) < _FRAME:
        return np.zeros((0, _BANDS), np.float32)
    frames = np.lib.stride_tricks.sliding_window_view(samples, _FRAME)[::_HOP] * np.hanning(_FRAME).astype(np.float32)
    power = np.abs(np.fft.rfft(frames, axis=1)) ** 2 @ _filters()
    if not power.any():
        return np.zeros((0, _BANDS), np.float32)
    level = np.log10(power + np.max(power) * 1e-5)  # all below -50 dB of the loudest counts as silence
    loudness = level.mean(axis=1)
    loud = np.flatnonzero(loudness > np.max(loudness) - 3)
    level = level[loud[0] : loud[-1] + 1]
    features: Features = (level - level.mean(axis=0)).astype(np.float32)
    return features


@lru_cache(maxsize=1)
def _filters() -> Features:
    """Triangular filters, equally spaced on the mel scale from 100 Hz to 7 kHz. Shape (frequencies, bands)."""
    hz = np.fft.rfftfreq(_FRAME, 1 / HZ)
    mel = 2595 * np.log10(1 + hz / 700)
    edges = np.linspace(2595 * np.log10(1 + 100 / 700), 2595 * np.log10(1 + 7000 / 700), _BANDS + 2)
    rising = (mel[:, None] - edges[:-2]) / (edges[1:-1] - edges[:-2])
    falling = (edges[2:] - mel[:, None]) / (edges[2:] - edges[1:-1])
    filters: Features = np.maximum(0, np.minimum(rising, falling)).astype(np.float32)
    return filters


def _plain(text: str) -> str:
    return " ".join("".join(letter for letter in text.lower() if letter.isalnum() or letter.isspace()).split())


def _read_wav(wav: bytes) -> tuple[bytes, int]:
    with wave.open(io.BytesIO(wav)) as reader:
        return reader.readframes(reader.getnframes()), reader.getframerate()
