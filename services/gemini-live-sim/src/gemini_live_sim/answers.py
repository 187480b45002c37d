"""The server's answers: recordings in turn, an echo, or a chirp. PCM16 mono at 24 kHz until the last step."""

import io
import tomllib
import wave
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources

import numpy as np
import numpy.typing as npt
import soxr

from gemini_live_sim.behaviour import Behaviour
from gemini_live_sim.vad import Utterance

HZ = 24_000
_CHIRP_HZ = (300.0, 3000.0)
_CHIRP_PEAK = 0.3
_FAINT = 2


@dataclass(frozen=True, slots=True)
class Speech:
    """An answer: PCM16 mono, and its words."""

    pcm: bytes
    text: str
    hz: int = HZ

    @property
    def seconds(self) -> float:
        """The answer's length."""
        return len(self.pcm) / 2 / self.hz


@lru_cache(maxsize=1)
def recordings() -> tuple[Speech, ...]:
    """Read the recordings that come with the package, in order."""
    folder = resources.files("gemini_live_sim") / "answers"
    listed = tomllib.loads((folder / "answers.toml").read_text(encoding="utf-8"))["answer"]
    return tuple(Speech(_read_wav((folder / item["file"]).read_bytes()), item["text"]) for item in listed)


def recording(file: str, text: str) -> Speech:
    """Read a recording that is not in the list of answers."""
    return Speech(_read_wav((resources.files("gemini_live_sim") / "answers" / file).read_bytes()), text)


def choose(behaviour: Behaviour, spoken: Sequence[Speech], turn: int, heard: Utterance | None) -> Speech:
    """Choose the answer of turn ``turn`` (from 1). ``heard`` is None for a text; echo mode answers it by a recording."""
    if behaviour.mode == "tone":
        return tone(behaviour.tone_ms, behaviour.answer_hz)
    if behaviour.mode == "echo" and heard is not None and heard.pcm:
        pcm = resample(heard.pcm, heard.hz, behaviour.answer_hz)
        return Speech(pcm, f"(an echo of {heard.seconds:.1f} s)", behaviour.answer_hz)
    speech = spoken[(turn - 1) % len(spoken)]
    return Speech(resample(speech.pcm, speech.hz, behaviour.answer_hz), speech.text, behaviour.answer_hz)


def muted(speech: Speech, behaviour: Behaviour) -> Speech:
    """Remove or attenuate an answer's audio, if the behaviour says so."""
    if behaviour.turn_reason:
        return Speech(b"", "", speech.hz)
    if behaviour.mute == "text":
        return Speech(b"", speech.text, speech.hz)
    if behaviour.mute == "faint":
        samples = np.frombuffer(speech.pcm, dtype="<i2", count=len(speech.pcm) // 2)
        return Speech(np.clip(samples, -_FAINT, _FAINT).tobytes(), speech.text, speech.hz)
    return speech


@lru_cache(maxsize=8)
def tone(n_ms: int, hz: int = HZ) -> Speech:
    """Make a chirp; the same length gives the same bytes."""
    n_samples = hz * n_ms // 1000
    seconds = np.arange(n_samples) / hz
    low_hz, high_hz = _CHIRP_HZ
    phase = 2 * np.pi * (low_hz * seconds + (high_hz - low_hz) / 2 * seconds**2 / (n_ms / 1000))
    return Speech(_pcm16(np.sin(phase) * _CHIRP_PEAK * 32767), f"(a tone of {n_ms / 1000:.1f} s)", hz)


def resample(pcm: bytes, from_hz: int, to_hz: int) -> bytes:
    """Resample a whole recording at once, at soxr's best quality."""
    if from_hz == to_hz:
        return pcm
    samples = np.frombuffer(pcm, dtype="<i2", count=len(pcm) // 2).astype(np.float32)
    return _pcm16(soxr.resample(samples, from_hz, to_hz, quality="VHQ"))


def _pcm16(samples: npt.NDArray[np.float32] | npt.NDArray[np.float64]) -> bytes:
    """Round to PCM16. Values out of range are clipped and do not wrap."""
    pcm: bytes = np.clip(np.round(samples), -32768, 32767).astype("<i2").tobytes()
    return pcm


def _read_wav(wav: bytes) -> bytes:
    with wave.open(io.BytesIO(wav)) as reader:
        if (reader.getframerate(), reader.getnchannels(), reader.getsampwidth()) != (HZ, 1, 2):
            raise ValueError("an answer must be 24 kHz, mono, 16 bit")
        return bytes(reader.readframes(reader.getnframes()))
