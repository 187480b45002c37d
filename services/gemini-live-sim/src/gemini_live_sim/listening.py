"""Turns audio and activity signals into utterances, in automatic and in manual mode."""

from gemini_live_sim.setup import Vad
from gemini_live_sim.vad import MAX_UTTERANCE_MS, SpeechDetector, SpeechEvent, SpeechStart, Utterance
from gemini_live_sim.wire import ActivityEnd, ActivityStart, Audio, StreamEnd, WireError


class SpeechInput:
    """Finds utterances by automatic detection, or by the client's signals if detection is disabled. Holds one at most."""

    def __init__(self, vad: Vad, threshold_dbfs: float, *, stream_end: bool = True) -> None:
        self._manual = vad.disabled
        self._stream_end = stream_end
        self._detector = SpeechDetector(vad, threshold_dbfs)
        self._held: bytearray | None = None
        self._hz = 16_000
        self.heard_s = 0.0
        """The length of all audio so far."""

    def take(self, message: Audio | ActivityStart | ActivityEnd | StreamEnd) -> list[SpeechEvent]:
        """Take the next message; return the starts and ends of speech in it.

        Raises:
            WireError: If the client signals activity although detection is automatic.
        """
        match message:
            case Audio(pcm, hz):
                self.heard_s += len(pcm) / 2 / hz
                return self._hear(pcm, hz) if self._manual else self._detector.hear(pcm, hz)
            case StreamEnd():
                return self._detector.end() if self._stream_end and not self._manual else []
        if not self._manual:
            raise WireError("Explicit activity control is not supported when automatic activity detection is enabled.")
        return self._start() if isinstance(message, ActivityStart) else self._end()

    def _hear(self, pcm: bytes, hz: int) -> list[SpeechEvent]:
        if self._held is None:
            return []
        self._hz = hz
        self._held += pcm[: max(MAX_UTTERANCE_MS * hz // 1000 * 2 - len(self._held), 0)]
        return []

    def _start(self) -> list[SpeechEvent]:
        if self._held is not None:
            return []
        self._held = bytearray()
        return [SpeechStart()]

    def _end(self) -> list[SpeechEvent]:
        held, self._held = self._held, None
        return [] if held is None else [Utterance(bytes(held[: len(held) & ~1]), self._hz)]
