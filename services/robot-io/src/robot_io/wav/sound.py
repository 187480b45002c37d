"""A virtual robot's sound: its microphone plays recordings, and its speaker is recorded. No hardware, no SDK."""

import asyncio
import logging
import wave
from collections import deque
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO, Final

import numpy as np

from reachy_link.pcm import SAMPLE_BYTES, Format, Samples, from_pcm16, to_pcm16
from reachy_robot.sound import Button, DeviceError, Moment

log = logging.getLogger(__name__)

STEREO_16K: Final = Format(rate_hz=16000, channels=2)
"""The real robot's format in both directions."""
TICK_MS: Final = 10
RECORDING_MAX_S: Final = 3600
"""The speaker's recording stops growing here (one hour, 230 MB)."""
LEAD_IN_TICKS: Final = 30
"""Silence before each utterance: 300 ms."""
LET_GO_TICKS: Final = 5
"""How long the button is held after an utterance: people are no faster either, and no chunk is cut."""


class WavDevice:
    """Plays utterances into the conversation, one WAV file each, and writes what the speaker plays to another.

    An utterance begins when the answer to the last one has been played, so that the robot does not interrupt by accident. In
    between, the microphone sends silence. The recording ends when the last utterance is answered, or not answered within
    ``patience_s``.

    The sound card runs on the event loop's time: if the loop is blocked for a moment, the card is, too. So the measured delays
    are the link's and not the machine's.

    Args:
        utterances: WAV files, 16 bit, at the microphone's rate, one or two channels.
        speaker_wav: The file of the speaker's recording; None for no recording.
        mic: The microphone's format; a mono file fills both channels.
        speaker: The speaker's format.
        patience_s: How long an answer may take to end.
        push_to_talk: Whether a button is held while an utterance is spoken.
    """

    lead_ms = 40

    def __init__(
        self,
        utterances: Sequence[Path],
        speaker_wav: Path | None,
        mic: Format = STEREO_16K,
        speaker: Format = STEREO_16K,
        patience_s: float = 30.0,
        *,
        push_to_talk: bool = False,
    ) -> None:
        self.mic = mic
        self.speaker = speaker
        self._files = utterances
        self._speaker_wav = speaker_wav
        self._patience_s = patience_s
        self._push_to_talk = push_to_talk
        self._utterances: list[Samples] = []
        self._queue: deque[Samples] = deque()
        self._queued = 0
        self._output: wave.Wave_write | None = None
        self._file: BinaryIO | None = None
        self._ready = False
        self._answered = False
        self._replied = False
        self._unanswered = 0

    async def open(self) -> None:
        """Read the utterances, and begin to record the speaker."""
        self._utterances = [_read(path, self.mic) for path in self._files]
        if self._speaker_wav:
            self._file = _fresh(self._speaker_wav)
            self._output = wave.open(self._file, "wb")  # noqa: SIM115 - closed by close()
            self._output.setnchannels(self.speaker.channels)
            self._output.setsampwidth(2)
            self._output.setframerate(self.speaker.rate_hz)

    async def record(self) -> AsyncIterator[Samples | Button]:
        """The microphone, in real time, and the button.

        Raises:
            DeviceError: At the end, if an utterance got no answer at all.
        """
        loop = asyncio.get_running_loop()
        due = loop.time()
        for item in self._script():
            if isinstance(item, Button):
                yield item
                continue
            due = max(due + TICK_MS / 1000, loop.time())
            await asyncio.sleep(due - loop.time())
            self._turn_sound_card()
            yield item
        if self._unanswered:
            raise DeviceError(f"{self._unanswered} of {len(self._utterances)} utterances got no answer", final=True)

    def play(self, samples: Samples) -> None:
        """Queue samples for the speaker."""
        self._replied = True
        self._queue.append(samples)
        self._queued += len(samples)

    def queued_ms(self) -> float:
        """How much audio the speaker has yet to play, in ms."""
        return self.speaker.ms(self._queued)

    def hush(self) -> None:
        """Drop the queue."""
        self._queue.clear()
        self._queued = 0

    def notice(self, moment: Moment) -> None:
        """Note that the gateway listens, or that an answer has ended."""
        match moment:
            case Moment.READY:
                self._ready = True
            case Moment.ANSWERED:
                self._answered = True

    async def close(self) -> None:
        """Finish the recording."""
        if self._output:
            self._output.close()
            self._output = None
        if self._file:
            self._file.close()
            self._file = None

    def _script(self) -> Iterator[Samples | Button]:
        """The microphone's audio, one tick at a time, and the button's events."""
        step = self.mic.rate_hz * TICK_MS // 1000
        silence = np.zeros((step, self.mic.channels), np.float32)
        while not self._ready:
            yield silence
        for utterance in self._utterances:
            yield from [silence] * LEAD_IN_TICKS
            self._answered = self._replied = False
            if self._push_to_talk:
                yield Button.PRESSED
            for start in range(0, len(utterance), step):
                piece = utterance[start : start + step]
                yield np.concatenate([piece, silence[len(piece) :]])
            if self._push_to_talk:
                yield from [silence] * LET_GO_TICKS
                yield Button.RELEASED
            for _ in range(round(self._patience_s * 1000 / TICK_MS)):
                if self._answered:
                    break
                yield silence
            else:
                log.info("the utterance was not answered to its end within %.1f s", self._patience_s)
                self._unanswered += not self._replied

    def _turn_sound_card(self) -> None:
        """Let the speaker play one tick, and record it."""
        wanted = self.speaker.rate_hz * TICK_MS // 1000
        parts: list[Samples] = []
        while wanted and self._queue:
            samples = self._queue.popleft()
            if len(samples) > wanted:
                self._queue.appendleft(samples[wanted:])
                samples = samples[:wanted]
            parts.append(samples)
            wanted -= len(samples)
            self._queued -= len(samples)
        if self._output and self._output.tell() < RECORDING_MAX_S * self.speaker.rate_hz:
            parts.append(np.zeros((wanted, self.speaker.channels), np.float32))
            self._output.writeframesraw(to_pcm16(np.concatenate(parts)))


def _fresh(path: Path) -> BinaryIO:
    """Create a new file in place of an existing one, even another user's if the directory allows it.

    Raises:
        DeviceError: If the file cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with suppress(PermissionError):
            path.unlink(missing_ok=True)
        return path.open("wb")
    except OSError as error:
        raise DeviceError(f"cannot record the speaker: {error}; see ROBOT_SPEAKER_WAV", final=True) from None


def _read(path: Path, mic: Format) -> Samples:
    """Read a recording in the microphone's format.

    Raises:
        DeviceError: If the file is no such recording.
    """
    try:
        with wave.open(str(path), "rb") as file:
            if file.getsampwidth() != SAMPLE_BYTES or file.getframerate() != mic.rate_hz or file.getnchannels() > mic.channels:
                raise DeviceError(
                    f"{path}: expected 16 bit PCM at {mic.rate_hz} Hz in at most {mic.channels} channels", final=True
                )
            samples = from_pcm16(file.readframes(file.getnframes()), file.getnchannels())
    except (OSError, EOFError, ValueError, wave.Error) as error:
        raise DeviceError(f"{path}: not a WAV file that can be played: {error}; see ROBOT_UTTERANCES", final=True) from None
    return np.repeat(samples, mic.channels // samples.shape[1], axis=1)
