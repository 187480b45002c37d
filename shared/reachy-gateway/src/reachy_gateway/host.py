"""What a robot at a gateway needs of that, and of whoever records it."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from reachy_gateway.feed import Feed
from reachy_gateway.fleet.claims import Verdict
from reachy_gateway.fleet.member import Member
from reachy_gateway.stats import Stats
from reachy_gateway.talk.tell import Tell
from reachy_gateway.voice import RobotView, Voice
from reachy_link.causes import LinkCause
from reachy_link.messages import Down, Up

if TYPE_CHECKING:
    import asyncio

MakeVoice = Callable[[str, RobotView], Voice]
"""Makes a voice for the robot of that name, which it may ask how it fares."""


class Tap(Protocol):
    """Where a conversation is recorded."""

    def heard(self, pcm: bytes) -> None:
        """Take what the voice hears: PCM16, mono, 16 kHz."""

    def up(self, message: Up) -> None:
        """Take a message of the robot that is no sound."""

    def down(self, tell: Tell) -> None:
        """Take a message to the robot."""


class Host(Protocol):
    """What a robot needs of the gateway that it is at."""

    make_voice: MakeVoice
    software: str
    feed: Feed
    stats: Stats
    fleet: Member | None
    """What it remembers together with others; None for a gateway that is alone."""

    def now(self) -> float:
        """The time."""

    def publish(self, message: Down, payload: bytes = b"") -> bool:
        """Send to a robot; false, and counted, if its queue is full."""

    def on_bad(self, cause: LinkCause, robot: str, words: str, *, n: int = 1) -> None:
        """Count what was dropped or refused, and tell of it."""

    def denied(self, robot: str, verdict: Verdict) -> None:
        """Its conversation is at another gateway."""

    def let_go(self, robot: str, voice: "asyncio.Task[None]") -> None:
        """A robot's voice was cancelled, and hangs up."""

    def hangs_up(self, robot: str) -> bool:
        """Whether a voice of the robot still hangs up, and has time for that."""
