"""The decisions of a robot's core, which the runner carries out; and the robot's profile, which the core gets."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from reachy_link.address import Address
from reachy_link.messages import BodyOffer, Up
from reachy_link.pcm import Format, Samples
from reachy_robot.motion.moves import MOVES, Move
from reachy_robot.sound import Moment


@dataclass(frozen=True, slots=True)
class Send:
    """Send a message to the gateway."""

    message: Up
    payload: bytes = b""


@dataclass(frozen=True, slots=True)
class Play:
    """Hand samples to the device."""

    samples: Samples


@dataclass(frozen=True, slots=True)
class Hush:
    """Silence the device."""


@dataclass(frozen=True, slots=True)
class Resubscribe:
    """Ask for the downlink again."""


@dataclass(frozen=True, slots=True)
class Redial:
    """Hang up and dial again, at another gateway if one is given. An address that is only a name is not dialled."""

    address: Address | None = None


@dataclass(frozen=True, slots=True)
class LookUp:
    """Find the addresses of a name."""

    name: str


@dataclass(frozen=True, slots=True)
class Remember:
    """Remember for the next start where the robot is, and then where other gateways listen."""

    addresses: tuple[Address, ...]


@dataclass(frozen=True, slots=True)
class Say:
    """Play a local sound."""

    sound: str


@dataclass(frozen=True, slots=True)
class Notice:
    """Tell the device of a moment."""

    moment: Moment


@dataclass(frozen=True, slots=True)
class Log:
    """A line of the log."""

    words: str
    warning: bool = False


@dataclass(frozen=True, slots=True)
class Said:
    """A piece of the transcript, for the log or the screen."""

    who: Literal["person", "robot"]
    text: str


Out = Send | Play | Hush | Resubscribe | Redial | LookUp | Remember | Say | Notice | Log | Said


@dataclass(frozen=True)
class TurnSummary:
    """A turn as the person heard it."""

    turn: int
    latency_ms: int | None
    played_ms: int
    underruns: int
    concealed_ms: int
    complete: bool
    arrived_us: int | None = None
    """When the turn's first chunk arrived, on the robot's clock. The next two: when the turn started at the speaker, and when a
    flush silenced it."""
    started_us: int | None = None
    cut_us: int | None = None


@dataclass(frozen=True)
class Profile:
    """The robot's description in its hello, and its behaviour.

    Args:
        half_duplex_tail_ms: If set, the robot sends zeros while it speaks and for this long after: for a robot that would hear
            itself.
        show_transcripts: Whether the transcript is shown.
        body: The body's offer, if the robot has a body.
        moves: The body's gestures and dances.
    """

    robot: str
    boot: str
    mic: Format
    speaker: Format
    lead_ms: int
    software: str
    half_duplex_tail_ms: int | None = None
    show_transcripts: bool = False
    body: BodyOffer | None = None
    moves: Mapping[str, Move] = field(default_factory=lambda: MOVES)
