"""The messages between page and console, except audio. Frozen models; each goes in one direction.

Audio is a binary message in both directions: PCM, signed 16 bit, little-endian, mono, at the page's own rate.
"""

from typing import Annotated, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from reachy_link import admin
from reachy_link.messages import RobotId, Words

AUDIO_MAX_BYTES: Final = 8192
"""Longest audio message from the page: 85 ms at 48 kHz. 20 ms are usual."""
TEXT_MAX_BYTES: Final = 49152
"""Longest other message from the page. A persona's table is the longest that a page sends."""


class _Message(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


# --- page -> console --------------------------------------------------------------------------------------------------


class Start(_Message):
    """Begin to talk: give this page a robot."""

    kind: Literal["start"] = "start"
    rate_hz: int = Field(ge=8000, le=48000)
    """Sample rate of the page's microphone and speaker."""
    tab: str = Field(pattern=r"^[0-9a-zA-Z-]{1,64}$")
    """Random name of the browser tab. It stays the same after a reload and on a new socket."""
    n: int = Field(ge=0, lt=2**31)
    """Number of the conversation, counted by the page."""
    visible: bool = True
    """Whether the browser shows the page."""


class Stop(_Message):
    """End the conversation: the robot says goodbye."""

    kind: Literal["stop"] = "stop"


class Visible(_Message):
    """Whether the browser shows the page."""

    kind: Literal["visible"] = "visible"
    visible: bool


class Look(_Message):
    """The part of the fleet that the page shows: all robots, or one in full, or both."""

    kind: Literal["look"] = "look"
    fleet: bool = False
    robot: RobotId | None = None


class Command(_Message):
    """A command for a gateway. The page chooses the ``id`` inside ``do``."""

    kind: Literal["command"] = "command"
    gateway: str = Field(max_length=300)
    """The gateway's name, as in :class:`Gateways`; empty for all of them."""
    do: Annotated[admin.Command, Field(discriminator="kind")]


PageMessage = Start | Stop | Visible | Look | Command
UP: TypeAdapter[PageMessage] = TypeAdapter(Annotated[PageMessage, Field(discriminator="kind")])


# --- console -> page --------------------------------------------------------------------------------------------------


class Welcome(_Message):
    """The page is connected and signed in."""

    kind: Literal["welcome"] = "welcome"
    role: Literal["operator", "viewer"]
    robots: int
    """Number of robots for pages."""


class Seated(_Message):
    """The page has got this robot."""

    kind: Literal["seated"] = "seated"
    robot: str
    gateway: str


class Standing(_Message):
    """The robot's state."""

    kind: Literal["standing"] = "standing"
    state: Literal["alone", "listening", "thinking", "speaking", "waiting", "refused"]
    reason: Words = ""
    person_speaks: bool = False
    recorded: bool = False
    """Whether the gateway records the conversation."""


class Hush(_Message):
    """Drop all audio and be silent at once. Audio that arrives later is played."""

    kind: Literal["hush"] = "hush"


class Posed(_Message):
    """The body's target pose: the fields of a pose in their order, in degrees and millimetres."""

    kind: Literal["pose"] = "pose"
    pose: tuple[float, ...] = Field(min_length=9, max_length=9)


class Said(_Message):
    """A piece of a transcript."""

    kind: Literal["said"] = "said"
    who: Literal["person", "robot"]
    text: Words


class Answered(_Message):
    """A turn has ended."""

    kind: Literal["answered"] = "answered"
    latency_ms: int | None
    """From the end of the person's speech to the turn's first sound."""
    played_ms: int
    complete: bool


class Spent(_Message):
    """The robot's cost today, and its daily budget."""

    kind: Literal["spent"] = "spent"
    dollars: float
    budget: float | None = None


class Ended(_Message):
    """The page has lost its robot, or got none, with the reason."""

    kind: Literal["ended"] = "ended"
    n: int
    """Number of the conversation, as in :class:`Start`."""
    why: Words
    began: bool = True
    """Whether the page had a robot."""


class Gateway(_Message):
    """A gateway's state, as the console sees it."""

    name: str
    standing: Literal["here", "stale", "gone"]
    """``stale``: the gateway's data may be old. ``gone``: the gateway does not answer."""
    age_s: float | None = None
    """Seconds since the gateway's last report; None: there was none."""
    whole: admin.Whole | None = None


class Gateways(_Message):
    """All gateways, in their configured order. Sent once a second to pages that show the fleet."""

    kind: Literal["gateways"] = "gateways"
    gateways: tuple[Gateway, ...]
    """Empty: the console knows of no admin port."""


class Fleet(_Message):
    """The robots of a gateway, as the admin port reports them."""

    kind: Literal["fleet"] = "fleet"
    gateway: str
    it: admin.Fleet


class Detail(_Message):
    """The robot that the page shows in full, as the gateway's admin port reports it."""

    kind: Literal["detail"] = "detail"
    gateway: str
    it: admin.Detail


class Event(_Message):
    """See :class:`Detail`."""

    kind: Literal["event"] = "event"
    gateway: str
    it: admin.Event


class Levels(_Message):
    """See :class:`Detail`."""

    kind: Literal["levels"] = "levels"
    gateway: str
    it: admin.Levels


class Done(_Message):
    """One gateway's answer to a command; ``it.id`` is the command's ``id``."""

    kind: Literal["done"] = "done"
    gateway: str
    it: admin.Answer


_OfTheFleet = Gateways | Fleet | Detail | Event | Levels | Done
ConsoleMessage = _OfTheFleet | Welcome | Seated | Standing | Hush | Posed | Said | Answered | Spent | Ended
