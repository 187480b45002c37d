"""How the speech gate does in rooms that are not quiet, as a Markdown table: real speech in noise, and noise alone.

``python bench/gate.py [--minutes 10] [--out DIRECTORY]`` takes half a minute on one core. Rooms are at -60, -50, -40 and
-30 dBFS. Speech has a mean power 10 or 20 dB above the room's, and begins 0.5, 1 or 2 s after a conversation's first chunk.

All stretches are 20 ms of the clean recording. Speech begins at the first stretch that is less than 15 dB below the loudest,
and ends with the last one that is less than 35 dB below the loudest. The *faint beginning* is the first stretch that is less
than 35 dB below the loudest: where speech is 10 dB above a noise, its faint beginning is below the noise.
"""

import argparse
import sys
import timeit
import wave
from collections.abc import Callable, Iterator
from itertools import product
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
import soxr

from harness.devices import CHUNK_SAMPLES
from harness.results import keep, machine
from reachy_gateway.talk.resampler import rounded
from reachy_gateway.talk.speech_gate import SpeechGate, SpeechStarted

Sound = npt.NDArray[np.float64]
HZ: Final = 16000
ROOT: Final = Path(__file__).parent.parent
RECORDINGS: Final = [
    *sorted(ROOT.glob("services/robot-io/utterances/*.wav")),
    *sorted(ROOT.glob("services/gemini-live-sim/src/gemini_live_sim/answers/*.wav")),
    *sorted(ROOT.glob("tests/*/data/*.wav")),
]
LEVELS_DBFS: Final = (-60, -50, -40, -30)
ABOVE_DB: Final = (10, 20)
STARTS_S: Final = (0.5, 1.0, 2.0)
AFTER_S: Final = 2.5
BEGINS_DB, ENDS_DB = 15, 35
OPENS_MS, CLOSES_MS = 100, 1000
STEP_DB: Final = 20


def coloured(samples: int, exponent: float, rng: np.random.Generator) -> Sound:
    """Noise whose power falls with this exponent of the frequency, from 20 Hz on."""
    hz = np.maximum(np.fft.rfftfreq(samples, 1 / HZ), 20)
    spectrum = (rng.normal(size=len(hz)) + 1j * rng.normal(size=len(hz))) * hz ** (-exponent / 2)
    spectrum[0] = 0
    return unit(np.fft.irfft(spectrum, samples))


def hum(samples: int, hz: float, rng: np.random.Generator) -> Sound:
    """Mains hum, with harmonics."""
    harmonics = ((1, 1.0), (2, 0.4), (3, 0.3), (5, 0.15), (7, 0.05))
    at = np.arange(samples) / HZ
    return unit(np.sum([part * np.sin(2 * np.pi * hz * n * at + rng.uniform(0, 6)) for n, part in harmonics], axis=0))


def fan(samples: int, rng: np.random.Generator) -> Sound:
    """Brown noise that swells by 3 dB three times a second, with the tone of the blades."""
    swell = 10 ** (1.5 * np.sin(2 * np.pi * 3 * np.arange(samples) / HZ) / 20)
    return unit(coloured(samples, 2, rng) * swell + 0.3 * hum(samples, 93, rng) + 0.2 * coloured(samples, 1, rng))


def offset(samples: int, rng: np.random.Generator) -> Sound:
    """A constant offset of either sign that drifts by a tenth and changes its sign every 20 s."""
    at = np.arange(samples) / HZ
    sound: Sound = (1 + 0.1 * np.sin(at)) * np.where(at % 40 < 20, 1, -1) * rng.choice([1, -1])
    return sound


def unit(sound: Sound) -> Sound:
    """The same sound with a mean power of 1."""
    whole: Sound = sound / np.sqrt(np.mean(sound**2))
    return whole


ROOMS: Final[dict[str, Callable[[int, np.random.Generator], Sound]]] = {
    "white noise": lambda samples, rng: coloured(samples, 0, rng),
    "pink noise": lambda samples, rng: coloured(samples, 1, rng),
    "brown noise": lambda samples, rng: coloured(samples, 2, rng),
    "fan": fan,
    "offset": offset,
    "hum of 50 Hz": lambda samples, rng: hum(samples, 50, rng),
    "hum of 60 Hz": lambda samples, rng: hum(samples, 60, rng),
    "offset, hum and pink noise": lambda samples, rng: unit(
        offset(samples, rng) + hum(samples, 50, rng) + coloured(samples, 1, rng)
    ),
}


def scaled(sound: Sound, dbfs: float) -> Sound:
    """Sound of mean power 1 at that level, in units of PCM16."""
    return sound * (32768 * 10 ** (dbfs / 20))


def recording(path: Path) -> Sound:
    """A recording in mono, trimmed to its speech, with a mean power of 1."""
    with wave.open(str(path)) as file:
        samples = np.frombuffer(file.readframes(file.getnframes()), "<i2").astype(np.float64)
        if file.getnchannels() == 2:
            samples = samples.reshape(-1, 2).mean(axis=1)
        samples = soxr.resample(samples, file.getframerate(), HZ)
    first, last = within(samples, ENDS_DB)
    return unit(samples[first:last])


def within(samples: Sound, db: float) -> tuple[int, int]:
    """The range from the first to the last 20 ms that are less than this much below the loudest."""
    powers = np.convolve(samples**2, np.ones(CHUNK_SAMPLES), "valid")
    near = np.flatnonzero(powers > np.max(powers) * 10 ** (-db / 10))
    return int(near[0]), int(near[-1]) + CHUNK_SAMPLES


def listen(sound: Sound) -> Iterator[tuple[bool, float]]:
    """Yield whether the gate opens or closes, and when, in ms."""
    gate, pcm = SpeechGate(), rounded(sound.astype(np.float32))
    for start in range(0, len(pcm) - CHUNK_SAMPLES + 1, CHUNK_SAMPLES):
        if told := gate.hear(pcm[start : start + CHUNK_SAMPLES], start):
            yield isinstance(told, SpeechStarted), (start + CHUNK_SAMPLES) * 1000 / HZ


class Room:
    """What the gate does in one room, at all levels."""

    def __init__(self, name: str, minutes: float, seed: int) -> None:
        self.name = name
        self._rng = np.random.default_rng(seed)
        self._sound = ROOMS[name](round(minutes * 60 * HZ), self._rng)
        self._faint = coloured(len(self._sound), 0, self._rng)
        """The microphone's own noise, at -80 dBFS."""
        self.minutes = minutes

    def at(self, dbfs: float, samples: int) -> Sound:
        """This many samples of the room, from a random place."""
        start = self._rng.integers(0, len(self._sound) - samples + 1)
        end = start + samples
        return scaled(self._sound[start:end], dbfs) + scaled(self._faint[start:end], -80)

    def false_openings(self) -> float:
        """Openings in a minute of the room alone, at its worst level."""
        return max(sum(opens for opens, _ in listen(self.at(db, len(self._sound)))) for db in LEVELS_DBFS) / self.minutes

    def step_ms(self) -> float:
        """How long the gate stays open, at worst, after the room has become louder by a step."""
        took = [0.0]
        for db in LEVELS_DBFS:
            for quiet_s in (1, 5, 10.3):
                sound = np.concatenate([self.at(db - STEP_DB, int(quiet_s * HZ)), self.at(db, 15 * HZ)])
                events = list(listen(sound))
                took.append(events[-1][1] - quiet_s * 1000 if events and not events[-1][0] else 1e6 * len(events))
        return max(took)

    def speech(self, voices: list[Sound], above_db: float) -> list[tuple[float, float, float, int]]:
        """For each sentence: ms from its beginning and its faint beginning to the opening; to the last closing; openings."""
        found = []
        for voice, db, start_s in product(voices, LEVELS_DBFS, STARTS_S):
            before = int((start_s + self._rng.uniform(0, 0.02)) * HZ)
            sound = self.at(db, before + len(voice) + int(AFTER_S * HZ))
            sound[before : before + len(voice)] += scaled(voice, db + above_db)
            events = list(listen(sound))
            opened = [ms for opens, ms in events if opens]
            closed = events[-1][1] if events and not events[-1][0] else float("inf")
            faint_ms, begin_ms = before * 1000 / HZ, (before + within(voice, BEGINS_DB)[0]) * 1000 / HZ
            opened_ms = next((ms for ms in opened if ms > faint_ms), float("inf"))
            end_ms = (before + len(voice)) * 1000 / HZ
            found.append((opened_ms - begin_ms, opened_ms - faint_ms, closed - end_ms, len(opened)))
        return found


def share(values: list[float], limit: float) -> str:
    """The share of values within a limit, and their 95 % quantile."""
    return f"{np.mean(np.array(values) <= limit):.0%} ({np.quantile(values, 0.95, method='inverted_cdf'):.0f})"


def cost_us() -> float:
    """The cost of a chunk of 20 ms, at best."""
    rng = np.random.default_rng(1)
    chunks = [scaled(coloured(CHUNK_SAMPLES, 1, rng), -40).astype(np.float32) for _ in range(50)]
    gate = SpeechGate()

    def hear() -> None:
        for chunk in chunks:
            gate.hear(chunk, 1)

    return min(timeit.repeat(hear, number=20, repeat=100)) / 20 / len(chunks) * 1e6


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--minutes", type=float, default=10.0, help="of each room alone, at each level")
    parser.add_argument("--recordings", type=Path, help="a folder of WAV files, in place of the recordings of this repository")
    parser.add_argument("--out", type=Path, help="a folder for gate.json")
    given = parser.parse_args()
    about = machine()
    paths = sorted(given.recordings.glob("*.wav")) if given.recordings else RECORDINGS
    voices = [recording(path) for path in paths]
    heads = [f"{what}, {db} dB above" for db in ABOVE_DB for what in ("opens", "from its faint beginning", "closes")]
    heads = ["room", *heads, "openings a sentence", "false openings a minute", "closed after a step, s"]
    print(f"| {' | '.join(heads)} |\n|{'---|' * len(heads)}")
    kept = []
    for seed, name in enumerate(ROOMS):
        room = Room(name, given.minutes, seed)
        cells = [name]
        openings: list[int] = []
        for db in ABOVE_DB:
            found = room.speech(voices, db)
            limits = (OPENS_MS, OPENS_MS, CLOSES_MS)
            cells += [share([it[place] for it in found], limit) for place, limit in enumerate(limits)]
            openings += [it[3] for it in found]
        cells += [f"{np.mean(openings):.2f}", f"{room.false_openings():.1f}", f"{room.step_ms() / 1000:.1f}"]
        print(f"| {' | '.join(cells)} |", flush=True)
        kept.append(dict(zip(heads, cells, strict=True)))
    print(f"\nA chunk costs {cost_us():.1f} us.")
    keep(given.out, "gate", about, kept)
    return 0


if __name__ == "__main__":
    sys.exit(main())
