"""What a robot's core decides, for the runner to carry out; and what it is told of the robot."""

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
    """Publish a message."""

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
    """Hang up and dial, another gateway if one is given; nothing, if that is a name."""

    address: Address | None = None


@dataclass(frozen=True, slots=True)
class LookUp:
    """Find the addresses of a name."""

    name: str


@dataclass(frozen=True, slots=True)
class Remember:
    """Keep, for the next start, where the robot is, and then where other gateways listen."""

    addresses: tuple[Address, ...]


@dataclass(frozen=True, slots=True)
class Say:
    """A local sound."""

    sound: str


@dataclass(frozen=True, slots=True)
class Notice:
    """Tell the device of a moment."""

    moment: Moment


@dataclass(frozen=True, slots=True)
class Log:
    """A line for the person who watches."""

    words: str
    warning: bool = False


@dataclass(frozen=True, slots=True)
class Said:
    """A piece of what was said, for who watches."""

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
    """On the robot's clock, as the next two: when its first chunk came in, when it started, when a flush silenced it."""
    started_us: int | None = None
    cut_us: int | None = None


@dataclass(frozen=True)
class Profile:
    """What the robot says of itself in its hello, and how it behaves.

    Args:
        half_duplex_tail_ms: If set, the gateway hears zeros while the robot speaks and for so long after: for a robot that
            would hear itself.
        show_transcripts: Whether what was said is shown to who watches.
        body: What its body can do, if it has one.
        moves: The gestures and dances of that.
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
