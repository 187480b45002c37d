"""The port to a robot's microphone and speaker. A new kind of robot is one new file that implements it."""

from collections.abc import AsyncIterator
from enum import Enum
from typing import Protocol

from reachy_link.pcm import Format, Samples


class DeviceError(Exception):
    """The device cannot go on; the message says what is wrong and what to do.

    Args:
        words: That message.
        final: Whether opening it anew cannot help.
    """

    def __init__(self, words: str, *, final: bool = False) -> None:
        super().__init__(words)
        self.final = final


class Moment(Enum):
    """What a device may want to know of the conversation; a real robot needs none of it."""

    READY = "the gateway listens"
    """Told to a device that is open, or as soon as it is; again after each loss of the link."""
    ANSWERED = "an answer has been played to its end"


class Button(Enum):
    """The button to talk, for a persona whose VAD is manual; the values are the link's words."""

    PRESSED = "start"
    RELEASED = "end"


class Device(Protocol):
    """A microphone and a speaker.

    All methods are called from one event loop, and none of them may block it: an SDK that blocks belongs in a thread.
    A device is opened once; after :class:`DeviceError` or :meth:`close` a new one is made.
    """

    mic: Format
    speaker: Format
    lead_ms: int
    """How far ahead of the speaker playout hands over samples."""

    async def open(self) -> None:
        """Start both directions, warm-up included.

        Raises:
            DeviceError: If there is no device, with what to do about it.
        """

    def record(self) -> AsyncIterator[Samples | Button]:
        """The microphone's samples ``(n, mic.channels)`` in arrays of any length; ends when there is no more to say.

        A device with a button tells of it in between, where it was pressed and released.

        Raises:
            DeviceError: While iterating, when the microphone is lost.
        """

    def play(self, samples: Samples) -> None:
        """Queue samples ``(n, speaker.channels)`` for the speaker, behind what is queued already."""

    def queued_ms(self) -> float:
        """How much of what was queued the speaker has yet to play; an estimate where the device cannot tell."""

    def hush(self) -> None:
        """Silence the speaker now and drop what is queued; what is played after this call is heard."""

    def notice(self, moment: Moment) -> None:
        """Be told of a moment in the conversation."""

    async def close(self) -> None:
        """Release the hardware. Safe to call at any time, more than once."""
