"""What the page and the console tell each other, beside audio. Frozen models, one direction each.

Audio is a binary message either way: PCM, signed 16 bit, little-endian, mono, at the page's own rate.
"""

from typing import Annotated, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from reachy_link import admin
from reachy_link.messages import RobotId, Words

AUDIO_MAX_BYTES: Final = 8192
"""Of a message up: 85 ms at 48 kHz, where 20 are usual."""
TEXT_MAX_BYTES: Final = 49152
"""Of any other message up: a persona's table is the longest that a page sends."""


class _Message(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


# --- page -> console --------------------------------------------------------------------------------------------------


class Start(_Message):
    """Talk: give this page a robot."""

    kind: Literal["start"] = "start"
    rate_hz: int = Field(ge=8000, le=48000)
    """Of the page's microphone and speaker."""
    tab: str = Field(pattern=r"^[0-9a-zA-Z-]{1,64}$")
    """Drawn once for each tab: the same after a reload, or on a new socket."""
    n: int = Field(ge=0, lt=2**31)
    """Counts the page's conversations."""
    visible: bool = True
    """Whether anybody can see the page."""


class Stop(_Message):
    """Talk no more: the robot says goodbye."""

    kind: Literal["stop"] = "stop"


class Visible(_Message):
    """Whether anybody can see the page."""

    kind: Literal["visible"] = "visible"
    visible: bool


class Look(_Message):
    """What the page shows: whether all robots, and which of them in full."""

    kind: Literal["look"] = "look"
    fleet: bool = False
    robot: RobotId | None = None


class Command(_Message):
    """Something that a gateway is to do. Of the admin port's own command, ``id`` is the page's number."""

    kind: Literal["command"] = "command"
    gateway: str = Field(max_length=300)
    """Its name among the ``gateways``; empty for all of them."""
    do: Annotated[admin.Command, Field(discriminator="kind")]


PageMessage = Start | Stop | Visible | Look | Command
UP: TypeAdapter[PageMessage] = TypeAdapter(Annotated[PageMessage, Field(discriminator="kind")])


# --- console -> page --------------------------------------------------------------------------------------------------


class Welcome(_Message):
    """The page is let in."""

    kind: Literal["welcome"] = "welcome"
    role: Literal["operator", "viewer"]
    robots: int
    """How many there are for pages."""


class Seated(_Message):
    """The page has this robot."""

    kind: Literal["seated"] = "seated"
    robot: str
    gateway: str


class Standing(_Message):
    """How the robot stands."""

    kind: Literal["standing"] = "standing"
    state: Literal["alone", "listening", "thinking", "speaking", "waiting", "refused"]
    reason: Words = ""
    person_speaks: bool = False
    recorded: bool = False
    """Whether the gateway records the conversation."""


class Hush(_Message):
    """Be silent at once; what comes after this is heard."""

    kind: Literal["hush"] = "hush"


class Posed(_Message):
    """Where the body is to be: the fields of a pose in their order, degrees and millimetres."""

    kind: Literal["pose"] = "pose"
    pose: tuple[float, ...] = Field(min_length=9, max_length=9)


class Said(_Message):
    """A piece of what was said."""

    kind: Literal["said"] = "said"
    who: Literal["person", "robot"]
    text: Words


class Answered(_Message):
    """A turn has ended."""

    kind: Literal["answered"] = "answered"
    latency_ms: int | None
    """From the end of the person's speech to the first sound."""
    played_ms: int
    complete: bool


class Spent(_Message):
    """What the robot has cost today, and may."""

    kind: Literal["spent"] = "spent"
    dollars: float
    budget: float | None = None


class Ended(_Message):
    """The page has no robot any more, or got none; why, in words."""

    kind: Literal["ended"] = "ended"
    n: int
    """Which of the page's conversations."""
    why: Words


class Gateway(_Message):
    """How a gateway stands, as the console sees it."""

    name: str
    standing: Literal["here", "stale", "gone"]
    """``stale``: what is shown of it may be old. ``gone``: it does not answer."""
    age_s: float | None = None
    """Since it was heard; None: it never was."""
    whole: admin.Whole | None = None


class Gateways(_Message):
    """All of them, in their order. Once a second, to pages that look."""

    kind: Literal["gateways"] = "gateways"
    gateways: tuple[Gateway, ...]
    """None: the console knows of no admin port."""


class Fleet(_Message):
    """The robots of a gateway, as its admin port tells."""

    kind: Literal["fleet"] = "fleet"
    gateway: str
    it: admin.Fleet


class Detail(_Message):
    """A robot that the page looks at, as the gateway's admin port tells; as the next two."""

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
    """What became of a command, at one gateway; ``it.id`` is the page's number."""

    kind: Literal["done"] = "done"
    gateway: str
    it: admin.Answer


_OfTheFleet = Gateways | Fleet | Detail | Event | Levels | Done
ConsoleMessage = _OfTheFleet | Welcome | Seated | Standing | Hush | Posed | Said | Answered | Spent | Ended
