"""What a robot needs from its gateway, and from a recording."""

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
"""Makes a voice for the named robot. The voice may ask the view about the robot."""


class Tap(Protocol):
    """A recording of a conversation, which is given everything."""

    def heard(self, pcm: bytes) -> None:
        """Take what the voice hears: PCM16, mono, 16 kHz."""

    def up(self, message: Up) -> None:
        """Take a message from the robot that is not audio."""

    def down(self, tell: Tell) -> None:
        """Take a message to the robot."""


class Host(Protocol):
    """What a robot needs from its gateway."""

    make_voice: MakeVoice
    software: str
    feed: Feed
    stats: Stats
    fleet: Member | None
    """The gateway's membership in a fleet; None for a gateway that is alone."""

    def now(self) -> float:
        """The gateway's monotonic time, in seconds."""

    def publish(self, message: Down, payload: bytes = b"") -> bool:
        """Send a message to a robot. Returns false, and counts the loss, if the robot's queue is full."""

    def on_bad(self, cause: LinkCause, robot: str, words: str, *, n: int = 1) -> None:
        """Count a drop or a refusal, and tell the feed."""

    def denied(self, robot: str, verdict: Verdict) -> None:
        """Drop a robot whose conversation is at another gateway."""

    def let_go(self, robot: str, voice: "asyncio.Task[None]") -> None:
        """Note that a robot's voice was cancelled and is hanging up."""

    def hangs_up(self, robot: str) -> bool:
        """Whether a voice of the robot is still hanging up, within its ``HANG_UP_S``."""
