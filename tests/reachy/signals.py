"""How well received audio matches what was sent: normalised correlation of mono signals at 16 kHz."""

import wave
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt

Mono = npt.NDArray[np.float32]

SEGMENT = 1600
"""100 ms."""


def read_wav(path: Path) -> Mono:
    """Read a mono WAV file of 16 bit."""
    with wave.open(str(path)) as file:
        assert (file.getframerate(), file.getnchannels(), file.getsampwidth()) == (16000, 1, 2), path
        return np.frombuffer(file.readframes(file.getnframes()), "<i2").astype(np.float32) / np.float32(32768)


def best_match(part: Mono, whole: Mono) -> tuple[int, float]:
    """Where in a signal a part fits best, and its correlation there. 1 means equal except for the volume."""
    if len(whole) < len(part):
        return 0, 0.0
    n = 1 << (len(whole) + len(part)).bit_length()
    dots = np.fft.irfft(np.fft.rfft(whole, n) * np.conj(np.fft.rfft(part, n)), n)[: len(whole) - len(part) + 1]
    power = np.concatenate([[0.0], np.cumsum(whole.astype(np.float64) ** 2)])
    norms = np.sqrt(np.maximum(power[len(part) :] - power[: -len(part)], 1e-9) * np.sum(part.astype(np.float64) ** 2))
    scores = dots / norms
    at = int(np.argmax(scores))
    return at, float(scores[at])


def match_at(part: Mono, whole: Mono, at: int) -> float:
    """The correlation of a part at one place."""
    other = whole[at : at + len(part)]
    return (
        float(np.dot(part, other) / max(1e-9, np.linalg.norm(part) * np.linalg.norm(other))) if len(other) == len(part) else 0.0
    )


def faults(said: Mono, heard: Mono, least: float = 0.9) -> list[str]:
    """What is wrong with heard speech: each of its 100 ms segments must be there, all at one lag."""
    places = [(start, best_match(segment, heard)[0] - start) for start, segment in _segments_with_speech(said)]
    lag = Counter(lag for _, lag in places).most_common(1)[0][0]
    scores = {start: match_at(said[start : start + SEGMENT], heard, start + lag) for start, _ in places}
    return [f"the segment at {start // 16} ms correlates {score:.3f}" for start, score in scores.items() if score < least]


def _segments_with_speech(samples: Mono, threshold: float = 0.01) -> Iterator[tuple[int, Mono]]:
    for start in range(0, len(samples) - SEGMENT + 1, SEGMENT):
        segment = samples[start : start + SEGMENT]
        if np.sqrt(np.mean(segment**2)) > threshold:
            yield start, segment
