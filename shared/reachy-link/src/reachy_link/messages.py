"""The messages of the link: one frozen model each, one direction each. ``docs/protocol.md`` is the specification."""

import re
from typing import Annotated, Any, Final, Literal, TypeVar, get_args

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints, TypeAdapter

from reachy_link.pcm import Format

VERSION: Final = 1

ROBOT_ID = r"^[a-z0-9][a-z0-9-]{0,62}$"
RobotId = Annotated[str, StringConstraints(pattern=ROBOT_ID)]
"""Lower case letters, digits and hyphens, at most 63: so the slash in a topic makes prefix subscription exact."""

Boot = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{16}$")]
"""Drawn at random at each start of a sender: sequences, turns and delays count within it."""

Seq = Annotated[int, Field(ge=0, lt=2**53)]
Count = Annotated[int, Field(ge=0, lt=2**53)]
Micros = Annotated[int, Field(ge=0, lt=2**53)]
Amount = Annotated[int, Field(ge=0, lt=2**31)]
Turn = Annotated[int, Field(ge=0, lt=2**31)]
Words = Annotated[str, StringConstraints(max_length=500)]
"""For people. So short that a header stays below its limit, whatever JSON makes of the characters."""


MoveName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9_]{1,24}$")]
"""Of what a body can do, and of the arguments of that."""
Coordinate = Annotated[float, Field(ge=-360, le=360)]
ActId = Annotated[int, Field(ge=0, lt=2**31)]
"""Counts the acts of one gateway's boot."""
PoseFields = tuple[Coordinate, Coordinate, Coordinate, Coordinate, Coordinate, Coordinate, Coordinate, Coordinate, Coordinate]
GESTURES_MAX, DANCES_MAX = 100, 20
"""Names in an offer: so few that a header holds them."""
GATEWAYS_MAX, GATEWAYS_MAX_CHARS = 16, 700
"""Of a welcome's gateways: how many, and how long all together, so that a header holds them beside its other texts."""
_WHERE: Final = re.compile(r"[!#-+\--\[\]-~]{1,300}")
"""ASCII that JSON writes as it is, without a space and a comma."""


def _fit(gateways: object) -> object:
    """Without what can be no address, and without what there is no room for: a hint must never cost the welcome."""
    kept: list[str] = []
    for where in gateways if isinstance(gateways, list | tuple) else ():
        fits = isinstance(where, str) and _WHERE.fullmatch(where) and len(kept) < GATEWAYS_MAX
        if fits and sum(map(len, kept)) + len(where) <= GATEWAYS_MAX_CHARS:
            kept.append(where)
    return tuple(kept)


def _fit_one(where: object) -> object:
    """None in place of what can be no address."""
    return where if isinstance(where, str) and _WHERE.fullmatch(where) else None


Where = Annotated[str, StringConstraints(max_length=300)]
"""Where a gateway listens, as a robot may dial it: ``host:UP+DOWN``, as :func:`reachy_link.address.parse` reads it."""


def is_robot_id(text: str) -> bool:
    """Whether the text may name a robot."""
    return re.fullmatch(ROBOT_ID[1:-1], text) is not None


class _Message(BaseModel):
    """What every header has. Unknown fields are ignored, so that a newer peer may send more."""

    model_config = ConfigDict(frozen=True, extra="ignore", strict=True)

    v: int = Field(default=VERSION, ge=VERSION, le=VERSION)
    robot: RobotId
    boot: Boot
    """The sender's."""
    seq: Seq
    """Counts this sender's messages on this topic within its boot, from 0, without gaps."""
    t_us: Micros
    """The sender's monotonic clock when it made the message."""


class Echo(BaseModel):
    """The other side's newest time stamp, sent back for the clock offset."""

    model_config = ConfigDict(frozen=True, extra="ignore", strict=True)

    t_us: Micros
    """``t_us`` of the newest beat received."""
    received_us: Micros
    """When that came in, on the clock of who sends this echo."""


class BodyOffer(BaseModel):
    """What a robot's body can do, by name."""

    model_config = ConfigDict(frozen=True, extra="ignore", strict=True)

    gestures: tuple[MoveName, ...] = Field(default=(), max_length=GESTURES_MAX)
    dances: tuple[MoveName, ...] = Field(default=(), max_length=DANCES_MAX)
    turns: bool = False
    """Whether it hears from where a person speaks, and can turn there."""
    volume: bool = False
    """Whether its speech can be made louder and softer."""
    manner: bool = False
    """Whether it can be told what to do by itself."""


# --- up: robot -> gateway ---------------------------------------------------------------------------------------------


class Hello(_Message):
    """I am here. Repeated until welcomed. No payload."""

    kind: Literal["hello"] = "hello"
    mic: Format
    speaker: Format
    lead_ms: int = Field(ge=10, le=1000)
    """How far ahead of its speaker the robot hands over samples."""
    software: Words = ""
    body: BodyOffer | None = None
    """What its body can do, if it has one that moves."""
    shows_recording: bool | None = None
    """Whether it shows, to whoever is in the room, that the gateway records."""


class Mic(_Message):
    """A chunk of the microphone. Payload: s16le, interleaved, in the hello's ``mic`` format."""

    kind: Literal["mic"] = "mic"
    samples: int = Field(ge=1, le=4096)
    """Samples per channel in the payload."""


class Activity(_Message):
    """Manual VAD: the person's turn starts or ends here. No payload."""

    kind: Literal["activity"] = "activity"
    event: Literal["start", "end"]


class Played(_Message):
    """What became of a turn at the speaker, once it ended there. No payload."""

    kind: Literal["played"] = "played"
    turn: Turn
    played_ms: Amount
    complete: bool
    """False if it was cut by a flush or by the loss of the link."""
    underruns: Amount = 0
    concealed_ms: Amount = 0
    latency_ms: Amount | None = None
    """From the end of the person's speech to the first sample at the speaker, where the gateway told the former."""
    arrived_us: Micros | None = None
    """When the turn's first chunk came in, on the robot's clock, as the next two."""
    started_us: Micros | None = None
    """When its first sample was at the speaker."""
    cut_us: Micros | None = None
    """When a flush silenced it."""


class BeatUp(_Message):
    """Sent when nothing else was for 250 ms, and at least once a second. No payload."""

    kind: Literal["beat"] = "beat"
    echo: Echo | None = None
    window: Count | None = None
    """Mic chunks that the uplink window dropped since this start of the robot, as the next two."""
    overflow: Count | None = None
    """Speaker chunks that found no room in the playout."""
    losses: Count | None = None
    """How often the link was lost."""


Outcome = Literal["started", "done", "cancelled", "refused"]


class Acted(_Message):
    """What became of an act: ``started``, then ``done`` or ``cancelled``; or ``refused``. Sent again with beats. No payload."""

    kind: Literal["acted"] = "acted"
    id: ActId
    outcome: Outcome
    reason: Words = ""
    """Why it was refused, for the person."""


class Sense(_Message):
    """What the body feels, once it has been asked for by a ``manner``: sent on change, and not again if lost. No payload."""

    kind: Literal["sense"] = "sense"
    person_deg: float | None = Field(default=None, ge=-180, le=180)
    """Where the person was heard last, to the left of where the body stands; None if nobody was, lately."""
    pose: PoseFields | None = None
    """Where the body is told to be, while the ``manner`` says ``watch``: x, y, z (mm), roll, pitch, yaw, body, left and right
    antenna (degrees)."""


class Bye(_Message):
    """I stop; end my conversation. No payload."""

    kind: Literal["bye"] = "bye"


# --- down: gateway -> robot -------------------------------------------------------------------------------------------


class _Down(_Message):
    ack: Seq | None = None
    """The newest ``seq`` received from the robot's current boot."""
    floor: Turn = 0
    """Speaker chunks of lower turns are to be dropped, whenever they arrive."""
    to_boot: Boot | None = None
    """If set, the message is for that start of the robot only."""
    mic_ms: Amount | None = None
    """How much audio the gateway would like in each ``mic``; unset: the usual 20 ms."""


class Welcome(_Down):
    """The answer to a hello: from now on the robot's audio is heard. ``to_boot`` is set. No payload."""

    kind: Literal["welcome"] = "welcome"
    software: Words = ""
    gateways: Annotated[tuple[Where, ...], BeforeValidator(_fit)] = Field(
        default=(), max_length=GATEWAYS_MAX, exclude_if=lambda gateways: not gateways
    )
    """Where the fleet's other gateways listen; what can be no address is left out, and so is what has no room."""


class Refuse(_Down):
    """The gateway will not serve this robot; the robot says why and asks again at a slow pace. No payload."""

    kind: Literal["refuse"] = "refuse"
    reason: Words


class Stranger(_Down):
    """The gateway does not know this start of the robot: say hello. ``to_boot`` is set. No payload."""

    kind: Literal["stranger"] = "stranger"


class Leave(_Down):
    """The gateway is being stopped, or too full: finish the turn in progress, and go. ``to_boot`` is set. No payload."""

    kind: Literal["leave"] = "leave"
    reason: Words
    to: Annotated[Where | None, BeforeValidator(_fit_one)] = None
    """Where the robot is to go first, if the gateway knows."""


class Speaker(_Down):
    """A chunk for the speaker. Payload: s16le, interleaved, in the hello's ``speaker`` format."""

    kind: Literal["speaker"] = "speaker"
    turn: Turn
    samples: int = Field(ge=1, le=4096)


class TurnEnd(_Down):
    """Every chunk of the turn has been sent. No payload."""

    kind: Literal["turn_end"] = "turn_end"
    turn: Turn
    complete: bool = True
    """False if the end of the reply was dropped at the gateway: the turn was not heard to its end."""


class Flush(_Down):
    """Barge-in: silence the speaker and drop all turns below ``turn`` (which is the new floor). No payload."""

    kind: Literal["flush"] = "flush"
    turn: Turn


class Act(_Down):
    """Move. Sent again until it is answered by an ``acted``, or too old; twice is once. ``to_boot`` is set. No payload."""

    kind: Literal["act"] = "act"
    id: ActId
    name: MoveName
    args: dict[MoveName, str | float] = Field(default={}, max_length=8)
    turn: Turn = 0
    """What belongs to a turn ends with it when the floor rises above it; a dance does not."""


class Cancel(_Down):
    """End an act, or all of them. Sent again as an act is. ``to_boot`` is set. No payload."""

    kind: Literal["cancel"] = "cancel"
    id: ActId | None = None
    """None: whatever goes on."""


Phase = Literal["listening", "thinking", "speaking", "reconnecting", "refused"]


class State(_Down):
    """How the conversation stands. No payload."""

    kind: Literal["state"] = "state"
    state: Phase
    reason: Words = ""
    heard_us: Micros | None = None
    """The robot's own ``t_us`` of the last mic chunk that held speech."""
    person_speaks: bool | None = None
    """Whether the gateway hears the person speak; told to robots with a body alone."""
    recorded: bool | None = None
    """Whether the gateway records the conversation: the robot shows it."""


class Transcript(_Down):
    """A piece of what was said. No payload."""

    kind: Literal["transcript"] = "transcript"
    who: Literal["person", "robot"]
    text: Words
    turn: Turn | None = None


class BeatDown(_Down):
    """Sent when nothing else was for 60 ms while mic chunks arrive, otherwise for 250 ms. No payload."""

    kind: Literal["beat"] = "beat"
    echo: Echo | None = None


Up = Hello | Mic | Activity | Played | Acted | Sense | BeatUp | Bye
Down = Welcome | Refuse | Stranger | Leave | Speaker | TurnEnd | Flush | Act | Cancel | State | Transcript | BeatDown
Audio = Mic | Speaker
"""The kinds with a payload, which has ``samples`` samples per channel. Every other kind has none."""

UP: TypeAdapter[Up] = TypeAdapter(Annotated[Up, Field(discriminator="kind")])
DOWN: TypeAdapter[Down] = TypeAdapter(Annotated[Down, Field(discriminator="kind")])

FIELDS: Final = {kind: frozenset(kind.model_fields) for kind in (*get_args(Up), *get_args(Down))}
"""Looked up for each message that is made: pydantic's own look-up takes a third of that."""
M = TypeVar("M", bound=_Message)


def make(kind: type[M], **fields: Any) -> M:
    """A message of ours. What is read may hold fields that nobody knows; what we make may not.

    Raises:
        TypeError: If a field is none of the kind's: it would be left out without a word.
        ValueError: If a value is none that the field takes.
    """
    if not fields.keys() <= FIELDS[kind]:
        raise TypeError(f"{kind.__name__} has no field {', '.join(sorted(fields.keys() - FIELDS[kind]))}")
    return kind(**fields)
