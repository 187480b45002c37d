"""Speech detection by energy: finds the start and end of each utterance in a stream of PCM16.

It counts samples and uses no clock, so audio that is sent faster than real time gives the same utterances.
"""

from collections import deque
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from gemini_live_sim.setup import Vad

FRAME_MS = 20
MAX_UTTERANCE_MS = 120_000
"""Longest utterance. It ends here, and the rest begins a new one."""
KEPT_SILENCE_MS = 100
"""The silence after the last word that stays in the utterance."""
_FORGET_MS = 60
"""A gap this long means that the sound before it was not the start of speech."""
_LOW_SENSITIVITY_DB = 6.0


@dataclass(frozen=True, slots=True)
class Utterance:
    """One utterance: PCM16 mono, with the padding before and a little silence after."""

    pcm: bytes
    hz: int

    @property
    def seconds(self) -> float:
        """The utterance's length."""
        return len(self.pcm) / 2 / self.hz


@dataclass(frozen=True, slots=True)
class SpeechStart:
    """Speech has begun."""


SpeechEvent: TypeAlias = SpeechStart | Utterance


class SpeechDetector:
    """Cuts a stream into utterances. Holds at most one utterance and the padding before it."""

    def __init__(self, vad: Vad, threshold_dbfs: float = -45.0) -> None:
        lifted_db = _LOW_SENSITIVITY_DB if vad.start_of_speech_sensitivity.endswith("LOW") else 0.0
        self._threshold = (32768 * 10 ** ((threshold_dbfs + lifted_db) / 20)) ** 2
        self._needed_ms = max(vad.prefix_padding_ms, FRAME_MS)
        self._silence_ms = max(vad.silence_duration_ms, FRAME_MS)
        self._padding: deque[bytes] = deque(maxlen=vad.prefix_padding_ms // FRAME_MS)
        self._hz = 0
        self._rest = b""
        self._reset()

    @property
    def speaking(self) -> bool:
        """Whether an utterance has begun and not ended."""
        return self._speaking

    def hear(self, pcm: bytes, hz: int) -> list[SpeechEvent]:
        """Take the next bytes of the stream; any number of bytes, even an odd one."""
        events: list[SpeechEvent] = []
        if hz != self._hz:
            events += self.end()
            self._hz = hz
        audio = self._rest + pcm if self._rest else pcm
        frame_bytes = hz * FRAME_MS // 1000 * 2
        n_frames = len(audio) // frame_bytes
        self._rest = audio[n_frames * frame_bytes :]
        if n_frames == 0:
            return events
        samples = np.frombuffer(audio, dtype="<i2", count=n_frames * frame_bytes // 2)
        frames = samples.reshape(n_frames, -1).astype(np.float32)
        energies = np.einsum("ij,ij->i", frames, frames) / frames.shape[1]
        for index, loud in enumerate((energies > self._threshold).tolist()):
            self._frame(audio[index * frame_bytes : (index + 1) * frame_bytes], loud, events)
        return events

    def end(self) -> list[SpeechEvent]:
        """End the stream here. Speech in progress becomes an utterance."""
        utterance = self._utterance(self._rest[: len(self._rest) & ~1]) if self._speaking else None
        self._rest = b""
        self._padding.clear()
        self._reset()
        return [utterance] if utterance else []

    def _reset(self) -> None:
        self._speaking = False
        self._held = bytearray()
        self._loud_ms = 0
        self._quiet_ms = 0

    def _frame(self, frame: bytes, loud: bool, events: list[SpeechEvent]) -> None:  # noqa: FBT001
        self._quiet_ms = 0 if loud else self._quiet_ms + FRAME_MS
        if self._speaking:
            self._held += frame
            too_long = len(self._held) >= self._hz * 2 * MAX_UTTERANCE_MS // 1000
            if self._quiet_ms >= self._silence_ms or too_long:
                events.append(self._utterance())
                self._reset()
        elif loud or self._held:
            self._maybe_start(frame, loud, events)
        else:
            self._padding.append(frame)

    def _maybe_start(self, frame: bytes, loud: bool, events: list[SpeechEvent]) -> None:  # noqa: FBT001
        if not self._held:
            self._held += b"".join(self._padding)
            self._padding.clear()
        self._held += frame
        self._loud_ms += FRAME_MS if loud else 0
        if self._loud_ms >= self._needed_ms:
            self._speaking = True
            events.append(SpeechStart())
        elif self._quiet_ms >= _FORGET_MS:
            self._forget(len(frame))

    def _forget(self, frame_bytes: int) -> None:
        """Treat the sound as a click: turn the held audio into padding again."""
        held = bytes(self._held)
        for at in range(0, len(held), frame_bytes):
            self._padding.append(held[at : at + frame_bytes])
        self._held.clear()
        self._loud_ms = 0

    def _utterance(self, rest: bytes = b"") -> Utterance:
        extra_ms = max(self._quiet_ms - KEPT_SILENCE_MS, 0)
        kept = len(self._held) - self._hz * 2 * extra_ms // 1000
        return Utterance(bytes(self._held[:kept]) + (rest if not extra_ms else b""), self._hz)
