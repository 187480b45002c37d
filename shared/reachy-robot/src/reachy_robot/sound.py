"""The interface to a robot's microphone and speaker. A new kind of robot is one new file that implements it."""

from collections.abc import AsyncIterator
from enum import Enum
from typing import Protocol

from reachy_link.pcm import Format, Samples


class DeviceError(Exception):
    """The device cannot go on; the message says what is wrong and what to do.

    Args:
        words: The message.
        final: Whether opening the device again cannot help.
    """

    def __init__(self, words: str, *, final: bool = False) -> None:
        super().__init__(words)
        self.final = final


class Moment(Enum):
    """A moment in the conversation that a device may want to know; a real robot's device needs none."""

    READY = "the gateway listens"
    """The device is told this when the gateway welcomes the robot, or when it opens later; again after each loss of the
    link."""
    ANSWERED = "an answer has been played to its end"


class Button(Enum):
    """The talk button, for a persona with manual VAD; the values are the link's words."""

    PRESSED = "start"
    RELEASED = "end"


class Device(Protocol):
    """A microphone and a speaker.

    All methods are called from one event loop, and none of them may block it: an SDK that blocks belongs in a thread. A device
    is opened once; after :class:`DeviceError` or :meth:`close` a new device is made.
    """

    mic: Format
    speaker: Format
    lead_ms: int
    """The lead: how much audio the playout hands to the device ahead of time."""

    async def open(self) -> None:
        """Start both directions, including the warm-up.

        Raises:
            DeviceError: If there is no device; the message says what to do.
        """

    def record(self) -> AsyncIterator[Samples | Button]:
        """The microphone's samples ``(n, mic.channels)`` in arrays of any length. Ends when the microphone ends.

        A device with a button yields its events between the samples, where it was pressed and released.

        Raises:
            DeviceError: While iterating, if the microphone is lost.
        """

    def play(self, samples: Samples) -> None:
        """Queue samples ``(n, speaker.channels)`` for the speaker, behind those that are queued already."""

    def queued_ms(self) -> float:
        """How much queued audio the speaker has yet to play, in ms; an estimate if the device cannot tell."""

    def hush(self) -> None:
        """Silence the speaker now and drop the queue; samples that are played after this call are heard."""

    def notice(self, moment: Moment) -> None:
        """Be told of a moment in the conversation."""

    async def close(self) -> None:
        """Release the hardware. Safe to call at any time, more than once."""
