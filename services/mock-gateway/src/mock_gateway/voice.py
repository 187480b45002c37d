"""A deterministic voice: it answers each utterance with a tune as long as the utterance, and can be interrupted."""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Final, Literal

import numpy as np

from reachy_gateway.talk.speech_gate import SpeechEnded, SpeechGate, SpeechStarted
from reachy_gateway.voice import (
    HEARS_HZ,
    Audio,
    ConnectionState,
    Interrupted,
    ReplyGenerated,
    Said,
    SpeechNoticed,
    TurnComplete,
    VoiceEvent,
)

SPEAKS_HZ: Final = 24000
PIECE_MS: Final = 40
NOTES_HZ: Final = (262, 330, 392, 523)
NOTE_MS: Final = 250
LEVEL: Final = 8000
CHAR_MS: Final = 60
"""How long it takes to speak one character."""
MIC_BUFFER_CHUNKS: Final = 100
"""2 s of mic audio; beyond it the oldest chunks are dropped."""


class MockVoice:
    """A voice that detects speech with the speech gate. It sends its answers at once, much faster than real time."""

    def __init__(self) -> None:
        self._gate = SpeechGate()
        self._mic: deque[bytes] = deque(maxlen=MIC_BUFFER_CHUNKS)
        self._more = asyncio.Event()
        self._pressed = False
        self._emit: Callable[[VoiceEvent], None] = lambda _: None
        self._speaks_until = float("-inf")
        self._clock_ms = 0.0

    def hear(self, pcm: bytes, *, speaking: bool) -> None:
        """Take PCM16 mono at 16 kHz. ``speaking`` is not used: this voice has its own speech gate."""
        del speaking
        self._mic.append(pcm)
        self._more.set()

    def say(self, text: str) -> str:
        """Play a tune as long as the words would take."""
        self._emit(Said("robot", text))
        self._answer(len(text) * CHAR_MS, self._emit)
        return ""

    def activity(self, event: Literal["start", "end"]) -> None:
        """Manual VAD: a start cuts the answer. The voice's own speech gate still finds the speech."""
        if event == "start" and not self._pressed:
            self._speaks_until = self._clock_ms
            self._emit(SpeechNoticed())
        self._pressed = event == "start"

    async def run(self, emit: Callable[[VoiceEvent], None]) -> None:
        """Talk until cancelled."""
        self._emit = emit
        emit(ConnectionState("live"))
        while True:
            await self._more.wait()
            self._more.clear()
            while self._mic:
                self._listen(np.frombuffer(self._mic.popleft(), dtype="<i2"), emit)

    def _listen(self, samples: "np.ndarray[tuple[int], np.dtype[np.int16]]", emit: Callable[[VoiceEvent], None]) -> None:
        """Detect speech, and answer it. The amount of mic audio is the clock."""
        self._clock_ms += len(samples) * 1000 / HEARS_HZ
        match self._gate.hear(samples, 0):
            case SpeechStarted() if self._clock_ms < self._speaks_until:
                self._speaks_until = self._clock_ms
                emit(Interrupted())
                emit(TurnComplete())
            case SpeechEnded(_, speech_ms):
                emit(Said("person", f"({speech_ms / 1000:.1f} s of speech)"))
                self._answer(speech_ms, emit)

    def _answer(self, ms: float, emit: Callable[[VoiceEvent], None]) -> None:
        pcm = tune(ms)
        step = SPEAKS_HZ * PIECE_MS // 1000 * 2
        for start in range(0, len(pcm), step):
            emit(Audio(pcm[start : start + step], SPEAKS_HZ))
        emit(Said("robot", f"(a tune of {ms / 1000:.1f} s)"))
        emit(ReplyGenerated())
        emit(TurnComplete())
        self._speaks_until = self._clock_ms + ms


def tune(ms: float) -> bytes:
    """PCM16 mono at 24 kHz: notes of a chord, one after the other, without clicks."""
    t = np.arange(round(SPEAKS_HZ * ms / 1000)) / SPEAKS_HZ
    note = (t * 1000 / NOTE_MS).astype(int)
    within = t * 1000 / NOTE_MS - note
    envelope = np.minimum(1, 10 * np.minimum(within, 1 - within))
    hz = np.array(NOTES_HZ)[note % len(NOTES_HZ)]
    pcm: bytes = (LEVEL * envelope * np.sin(2 * np.pi * hz * t)).astype("<i2").tobytes()
    return pcm
