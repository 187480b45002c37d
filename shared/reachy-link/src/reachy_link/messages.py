"""The messages of the link: one frozen model for each kind and direction. ``docs/protocol.md`` is the specification."""

import re
from typing import Annotated, Any, Final, Literal, TypeVar, get_args

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints, TypeAdapter

from reachy_link.pcm import Format

VERSION: Final = 1

ROBOT_ID = r"^[a-z0-9][a-z0-9-]{0,62}$"
RobotId = Annotated[str, StringConstraints(pattern=ROBOT_ID)]
"""At most 63 lower case letters, digits and hyphens. A name has no slash, so no topic is a prefix of another robot's."""

Boot = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{16}$")]
"""A random number, drawn at each start of the sender. Sequence numbers, turns and delays count within one boot."""

Seq = Annotated[int, Field(ge=0, lt=2**53)]
Count = Annotated[int, Field(ge=0, lt=2**53)]
Micros = Annotated[int, Field(ge=0, lt=2**53)]
Amount = Annotated[int, Field(ge=0, lt=2**31)]
Turn = Annotated[int, Field(ge=0, lt=2**31)]
Words = Annotated[str, StringConstraints(max_length=500)]
"""A text for people. The limit keeps each header below ``HEADER_MAX_BYTES``, however JSON escapes the characters."""


MoveName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9_]{1,24}$")]
"""The name of a gesture, a dance, an act or an argument."""
Coordinate = Annotated[float, Field(ge=-360, le=360)]
ActId = Annotated[int, Field(ge=0, lt=2**31)]
"""The number of an act within the gateway's boot."""
PoseFields = tuple[Coordinate, Coordinate, Coordinate, Coordinate, Coordinate, Coordinate, Coordinate, Coordinate, Coordinate]
GESTURES_MAX, DANCES_MAX = 100, 20
"""How many names a hello may offer; a header has room for them."""
GATEWAYS_MAX, GATEWAYS_MAX_CHARS = 16, 700
"""How many gateways a welcome may name, and how many characters they have together; a header has room for them."""
_WHERE: Final = re.compile(r"[!#-+\--\[\]-~]{1,300}")
"""ASCII that JSON does not escape, without space and comma."""


def _fit(gateways: object) -> object:
    """The entries that can be addresses and have room. A bad entry must not make the welcome invalid."""
    kept: list[str] = []
    for where in gateways if isinstance(gateways, list | tuple) else ():
        fits = isinstance(where, str) and _WHERE.fullmatch(where) and len(kept) < GATEWAYS_MAX
        if fits and sum(map(len, kept)) + len(where) <= GATEWAYS_MAX_CHARS:
            kept.append(where)
    return tuple(kept)


def _fit_one(where: object) -> object:
    """The address, or None if the text can be no address."""
    return where if isinstance(where, str) and _WHERE.fullmatch(where) else None


Where = Annotated[str, StringConstraints(max_length=300)]
"""The address of a gateway, ``host:UP+DOWN``, as :func:`reachy_link.address.parse` reads it."""


def is_robot_id(text: str) -> bool:
    """Whether the text may name a robot."""
    return re.fullmatch(ROBOT_ID[1:-1], text) is not None


class _Message(BaseModel):
    """The fields of every header. Unknown fields are ignored, so a newer peer may send more."""

    model_config = ConfigDict(frozen=True, extra="ignore", strict=True)

    v: int = Field(default=VERSION, ge=VERSION, le=VERSION)
    robot: RobotId
    boot: Boot
    """The sender's boot."""
    seq: Seq
    """The number of this message on this topic within the sender's boot: 0, 1, 2 ..."""
    t_us: Micros
    """The sender's monotonic clock at the moment of sending, in microseconds."""


class Echo(BaseModel):
    """The newest time stamp of the other end, sent back to it. The other end computes the clock offset from it."""

    model_config = ConfigDict(frozen=True, extra="ignore", strict=True)

    t_us: Micros
    """``t_us`` of the newest beat that arrived."""
    received_us: Micros
    """When that beat arrived, on the clock of the sender of this echo."""


class BodyOffer(BaseModel):
    """What a robot's body can do, by name."""

    model_config = ConfigDict(frozen=True, extra="ignore", strict=True)

    gestures: tuple[MoveName, ...] = Field(default=(), max_length=GESTURES_MAX)
    dances: tuple[MoveName, ...] = Field(default=(), max_length=DANCES_MAX)
    turns: bool = False
    """The body can turn to the person who speaks."""
    volume: bool = False
    """The robot accepts the act ``volume``."""
    manner: bool = False
    """The robot accepts the act ``manner``, which switches what the body does by itself."""


# --- up: robot -> gateway ---------------------------------------------------------------------------------------------


class Hello(_Message):
    """The robot is here. It repeats the hello until it is welcomed. No payload."""

    kind: Literal["hello"] = "hello"
    mic: Format
    speaker: Format
    lead_ms: int = Field(ge=10, le=1000)
    """How far ahead of time the robot hands audio to its sound device, in ms."""
    software: Words = ""
    body: BodyOffer | None = None
    """What the body can do. None: the robot has no body that moves."""
    shows_recording: bool | None = None
    """The robot shows it to the people in the room when the gateway records."""


class Mic(_Message):
    """A chunk of the microphone. The payload is interleaved s16le PCM in the hello's ``mic`` format."""

    kind: Literal["mic"] = "mic"
    samples: int = Field(ge=1, le=4096)
    """Samples per channel in the payload."""


class Activity(_Message):
    """Manual VAD: the person's turn starts or ends here. No payload."""

    kind: Literal["activity"] = "activity"
    event: Literal["start", "end"]


class Played(_Message):
    """A report on a turn that is over at the speaker. No payload."""

    kind: Literal["played"] = "played"
    turn: Turn
    played_ms: Amount
    complete: bool
    """The turn was heard to its end. False if a flush or a loss cut it, or if audio was dropped."""
    underruns: Amount = 0
    concealed_ms: Amount = 0
    latency_ms: Amount | None = None
    """From the end of the person's speech to the turn's first sample at the speaker, in ms."""
    arrived_us: Micros | None = None
    """When the turn's first chunk arrived, on the robot's clock."""
    started_us: Micros | None = None
    """When the turn's first sample was at the speaker, on the robot's clock."""
    cut_us: Micros | None = None
    """When a flush silenced the turn, on the robot's clock."""


class BeatUp(_Message):
    """A sign of life: sent after 250 ms without another message, and at least once a second. No payload."""

    kind: Literal["beat"] = "beat"
    echo: Echo | None = None
    window: Count | None = None
    """Mic chunks that the uplink window has dropped since the robot started."""
    overflow: Count | None = None
    """Speaker chunks that found no room in the playout since the robot started."""
    losses: Count | None = None
    """How often the link was lost since the robot started."""


Outcome = Literal["started", "done", "cancelled", "refused"]


class Acted(_Message):
    """What became of an act: ``started``, then ``done`` or ``cancelled``; or ``refused``. Repeated with beats. No payload."""

    kind: Literal["acted"] = "acted"
    id: ActId
    outcome: Outcome
    reason: Words = ""
    """Why the act was refused, for the person."""


class Sense(_Message):
    """What the body feels. Sent on change after an act ``manner`` with ``sense``; not repeated. No payload."""

    kind: Literal["sense"] = "sense"
    person_deg: float | None = Field(default=None, ge=-180, le=180)
    """The direction of the last speech, in degrees to the left of the body. None: nobody spoke in the last minute."""
    pose: PoseFields | None = None
    """The target of the body, after a ``manner`` with ``watch``: x, y, z in mm; roll, pitch, yaw, base, left antenna and right
    antenna in degrees."""


class Bye(_Message):
    """The robot stops; the gateway ends the conversation. No payload."""

    kind: Literal["bye"] = "bye"


# --- down: gateway -> robot -------------------------------------------------------------------------------------------


class _Down(_Message):
    ack: Seq | None = None
    """The newest ``seq`` that arrived from the robot's present boot."""
    floor: Turn = 0
    """The robot drops speaker chunks of lower turns, whenever they arrive."""
    to_boot: Boot | None = None
    """If set, the message is for this boot of the robot only."""
    mic_ms: Amount | None = None
    """How much audio the gateway would like in each ``mic``, in ms. None: the usual 20 ms."""


class Welcome(_Down):
    """The answer to a hello: from now on the gateway listens to the robot. ``to_boot`` is set. No payload."""

    kind: Literal["welcome"] = "welcome"
    software: Words = ""
    gateways: Annotated[tuple[Where, ...], BeforeValidator(_fit)] = Field(
        default=(), max_length=GATEWAYS_MAX, exclude_if=lambda gateways: not gateways
    )
    """The addresses of the fleet's other gateways. An entry that can be no address, or has no room, is left out."""


class Refuse(_Down):
    """The gateway does not serve this robot. The robot tells the person why, and says hello every 5 s. No payload."""

    kind: Literal["refuse"] = "refuse"
    reason: Words


class Stranger(_Down):
    """The gateway does not know this boot of the robot, which must say hello. ``to_boot`` is set. No payload."""

    kind: Literal["stranger"] = "stranger"


class Leave(_Down):
    """The robot must finish the turn in progress and go to another gateway. ``to_boot`` is set. No payload."""

    kind: Literal["leave"] = "leave"
    reason: Words
    to: Annotated[Where | None, BeforeValidator(_fit_one)] = None
    """The address that the robot tries first."""


class Speaker(_Down):
    """A chunk for the speaker. The payload is interleaved s16le PCM in the hello's ``speaker`` format."""

    kind: Literal["speaker"] = "speaker"
    turn: Turn
    samples: int = Field(ge=1, le=4096)


class TurnEnd(_Down):
    """The gateway has sent every chunk of the turn. No payload."""

    kind: Literal["turn_end"] = "turn_end"
    turn: Turn
    complete: bool = True
    """False if the gateway dropped the end of the reply."""


class Flush(_Down):
    """Barge-in: the robot silences its speaker and drops all turns below ``turn``, the new floor. No payload."""

    kind: Literal["flush"] = "flush"
    turn: Turn


class Act(_Down):
    """A request to the body, repeated until an ``acted`` comes; carried out once. ``to_boot`` is set. No payload."""

    kind: Literal["act"] = "act"
    id: ActId
    name: MoveName
    args: dict[MoveName, str | float] = Field(default={}, max_length=8)
    turn: Turn = 0
    """A gesture ends when the floor rises above this turn; a dance goes on."""


class Cancel(_Down):
    """The robot ends an act, or all motion. Repeated as an act is. ``to_boot`` is set. No payload."""

    kind: Literal["cancel"] = "cancel"
    id: ActId | None = None
    """The act's id. None: all motion in progress."""


Phase = Literal["listening", "thinking", "speaking", "reconnecting", "refused"]


class State(_Down):
    """How the conversation stands. No payload."""

    kind: Literal["state"] = "state"
    state: Phase
    reason: Words = ""
    heard_us: Micros | None = None
    """The robot's own ``t_us`` of the last mic chunk with speech."""
    person_speaks: bool | None = None
    """The gateway hears the person speak. Only robots with a body are told."""
    recorded: bool | None = None
    """The gateway records the conversation, and the robot must show it."""


class Transcript(_Down):
    """A piece of what was said. No payload."""

    kind: Literal["transcript"] = "transcript"
    who: Literal["person", "robot"]
    text: Words
    turn: Turn | None = None


class BeatDown(_Down):
    """A sign of life: sent after 60 ms without another message while mic chunks arrive, else after 250 ms. No payload."""

    kind: Literal["beat"] = "beat"
    echo: Echo | None = None


Up = Hello | Mic | Activity | Played | Acted | Sense | BeatUp | Bye
Down = Welcome | Refuse | Stranger | Leave | Speaker | TurnEnd | Flush | Act | Cancel | State | Transcript | BeatDown
Audio = Mic | Speaker
"""The kinds with a payload of ``samples`` samples per channel. The other kinds have an empty payload."""

UP: TypeAdapter[Up] = TypeAdapter(Annotated[Up, Field(discriminator="kind")])
DOWN: TypeAdapter[Down] = TypeAdapter(Annotated[Down, Field(discriminator="kind")])

FIELDS: Final = {kind: frozenset(kind.model_fields) for kind in (*get_args(Up), *get_args(Down))}
"""The field names of each kind. :func:`make` looks them up here, because pydantic's look-up takes a third of its time."""
M = TypeVar("M", bound=_Message)


def make(kind: type[M], **fields: Any) -> M:
    """Make a message to send. A message that arrives may have unknown fields; one that we make may not.

    Raises:
        TypeError: If the kind has no such field. Pydantic alone would ignore it.
        ValueError: If a field does not accept its value.
    """
    if not fields.keys() <= FIELDS[kind]:
        raise TypeError(f"{kind.__name__} has no field {', '.join(sorted(fields.keys() - FIELDS[kind]))}")
    return kind(**fields)
