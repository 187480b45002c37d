"""The messages of a gateway's admin port: what a console asks, and what it is told. ``docs/admin.md`` is the specification.

A request is one part, a JSON header. An answer is two: a JSON header, and a piece of a recording or nothing.
"""

from typing import Annotated, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, TypeAdapter

from reachy_link.messages import BodyOffer, Boot, Count, MoveName, RobotId, Words

VERSION: Final = 1
PORT: Final = 5559
REQUEST_MAX_BYTES: Final = 65536
PIECE_MAX_BYTES: Final = 65536
"""Of a recording, in one answer."""
LEASE_S: Final = 6.0
"""A console that has not asked to watch for so long is told no more."""
WATCH_S: Final = 2.0
"""How often a console asks."""
LOOKED_AT_MAX: Final = 8
"""Robots of which a console may watch everything."""
TURNS_KEPT: Final = 100
SAID_KEPT: Final = 200
NOTES_KEPT: Final = 50
"""Of each robot: its newest turns, the newest pieces of what was said, and the newest of what befell it."""
ROWS_MAX: Final = 40
"""Robots in one message."""
STRANGERS_MAX: Final = 64
"""Keys that were refused, in one message: the newest."""
KEY_START: Final = 6
"""Characters of a key that are enough to name it."""
Role = Literal["operator", "viewer"]
"""A viewer sees, and commands nothing."""
Ident = Annotated[int, Field(ge=0, lt=2**53)]
KeyText = Annotated[str, StringConstraints(min_length=KEY_START, max_length=40)]
PersonaText = Annotated[str, StringConstraints(max_length=20_000)]
Digest = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{0,64}$")]
RecordingId = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9-]{0,100}$")]
Unix = float
"""Seconds since 1970, of the gateway's clock."""


class _Model(BaseModel):
    """Unknown fields are ignored, so that a newer peer may send more."""

    model_config = ConfigDict(frozen=True, extra="ignore", strict=True)


class _Versioned(_Model):
    v: int = Field(default=VERSION, ge=VERSION, le=VERSION)


# --- console -> gateway -----------------------------------------------------------------------------------------------


class Watch(_Versioned):
    """Tell me how all robots fare from now on, and everything of these. Sent again every 2 s; forgotten after 6."""

    kind: Literal["watch"] = "watch"
    robots: tuple[RobotId, ...] = Field(default=(), max_length=LOOKED_AT_MAX)
    afresh: bool = False
    """Something was missed: tell all of it."""


class Unwatch(_Versioned):
    """Tell me no more."""

    kind: Literal["unwatch"] = "unwatch"


class _Command(_Versioned):
    id: Ident
    """The console's; the answer names it."""


class _OfRobot(_Command):
    robot: RobotId


class Admit(_OfRobot):
    """Admit a key that was refused lately: its first characters are enough. Or any key, whole."""

    kind: Literal["admit"] = "admit"
    key: KeyText


class Revoke(_OfRobot):
    """Revoke all keys of a robot."""

    kind: Literal["revoke"] = "revoke"


class Say(_OfRobot):
    """Have the robot say this, in its own voice; a model may put it into other words."""

    kind: Literal["say"] = "say"
    text: Annotated[str, StringConstraints(min_length=1, max_length=500)]


class Act(_OfRobot):
    """Have its body do something, as the link's ``act`` names it."""

    kind: Literal["act"] = "act"
    name: Literal["gesture", "dance", "look", "turn", "stop", "rest", "wake", "volume"]
    args: dict[MoveName, str | Annotated[float, Field(allow_inf_nan=False)]] = Field(default={}, max_length=8)


class ReadPersona(_OfRobot):
    """The robot's table in the robots file."""

    kind: Literal["read_persona"] = "read_persona"


class SavePersona(_OfRobot):
    """Put this in place of the robot's table, or only say what would be wrong with it."""

    kind: Literal["save_persona"] = "save_persona"
    text: PersonaText
    was: Digest
    """Of the table as it was read: if it is another by now nothing is saved."""
    only_check: bool = False


class Record(_OfRobot):
    """Begin to record the robot's conversation, or end that."""

    kind: Literal["record"] = "record"
    on: bool


class Fetch(_Command):
    """A piece of a recording."""

    kind: Literal["fetch"] = "fetch"
    recording: RecordingId
    offset: Count = 0


Command = Admit | Revoke | Say | Act | ReadPersona | SavePersona | Record | Fetch
Request = Watch | Unwatch | Command
REQUEST: TypeAdapter[Request] = TypeAdapter(Annotated[Request, Field(discriminator="kind")])


# --- gateway -> console -----------------------------------------------------------------------------------------------


class Call(_Model):
    """A call of a tool that has ended."""

    name: str
    outcome: str
    ms: float


class Turn(_Model):
    """A turn that is over at the speaker, in ms; None is what is not known."""

    turn: int
    at: Unix
    complete: bool
    total_ms: float | None = None
    """From the end of the person's speech to the first sample at the speaker."""
    parts_ms: dict[Literal["link_up", "voice", "gateway", "link_down", "playout"], float] = {}
    """Of that, in the order of time."""
    barge_in_ms: float | None = None
    """From the interruption at the gateway to the silence of the speaker."""
    played_ms: float
    underruns: int = 0
    concealed_ms: float = 0
    calls: tuple[Call, ...] = ()


class Said(_Model):
    """A piece of what was said."""

    at: Unix
    who: Literal["person", "robot"]
    text: Words
    turn: int | None = None
    """Of the robot's: whose words they are."""


class Note(_Model):
    """Something befell the robot, or its conversation."""

    at: Unix
    words: Words
    is_trouble: bool = False


class Row(_Model):
    """How a robot fares."""

    robot: RobotId
    state: Literal["absent", "away", "starting", "listening", "thinking", "speaking", "reconnecting", "refused"]
    """``absent``: it has not said hello, or has left. ``away``: it is not heard. ``starting``: it was welcomed, and the voice
    has not told yet how it stands."""
    reason: Words = ""
    since: Unix | None = None
    """Of the state; None: since before the gateway started."""
    person_speaks: bool = False
    software: Words = ""
    rtt_ms: float | None = None
    mic_db: float | None = None
    """In dB of full scale, of 20 ms; None while nothing comes."""
    speaker_db: float | None = None
    turn: Turn | None = None
    """Its last."""
    p50_ms: float | None = None
    """The median of its newest turns' totals."""
    turns: int = 0
    cut: int = 0
    """Of these."""
    underruns: int = 0
    drops: int = 0
    """Messages and chunks that were lost or dropped, at either end."""
    faults: int = 0
    dollars: float = 0.0
    """Today's."""
    budget: float | None = None
    """For a day."""
    keys: tuple[str, ...] = ()
    """The first characters of those that are admitted."""
    recording: bool = False


class Stranger(_Model):
    """A key that was refused."""

    key: str
    address: str
    at: Unix
    """When last."""
    times: int


class Recording(_Model):
    """One that can be fetched."""

    id: RecordingId
    robot: RobotId
    at: Unix
    seconds: float
    size_bytes: int


class Whole(_Model):
    """How the gateway fares."""

    software: str
    now: Unix
    started: Unix
    here: int
    """Robots that are served."""
    admitted: int
    max_robots: int
    faults: int
    """Of all robots."""
    dollars: float
    """Today's, of all robots."""
    budget: float | None = None
    """For a day, of all robots."""
    voice: Words = ""
    """The voice's service, and whether it is known not to answer."""
    fleet: Words = ""
    """The fleet's gateways, and how many robots each serves; empty for a gateway that is alone."""
    role: Role
    """What the console may do."""


class _Counted(_Versioned):
    boot: Boot
    """The gateway's."""
    seq: Ident
    """Counts what one console is told, from 0 with each message that begins afresh, without gaps."""


class Fleet(_Counted):
    """How things stand: everything at first, what has changed after that; once a second, even if nothing has."""

    kind: Literal["fleet"] = "fleet"
    afresh: bool = False
    """Forget what you were told."""
    whole: Whole | None = None
    rows: tuple[Row, ...] = Field(default=(), max_length=ROWS_MAX)
    gone: tuple[RobotId, ...] = ()
    """Robots that are no longer admitted."""
    strangers: tuple[Stranger, ...] | None = None
    """All that are remembered, the newest first; None: as before."""
    recordings: tuple[Recording, ...] | None = None
    """All that there are, the newest first; None: as before."""


class Detail(_Counted):
    """What a console that begins to look at a robot has to know, or what of it has changed."""

    kind: Literal["detail"] = "detail"
    robot: RobotId
    body: BodyOffer | None = None
    may_show: bool = False
    """Whether the persona lets a console show what is said."""
    may_record: bool = False
    turns: tuple[Turn, ...] | None = None
    """Its newest, the oldest first; None: as before, as of the next two."""
    said: tuple[Said, ...] | None = None
    notes: tuple[Note, ...] | None = None


class Event(_Counted):
    """Something has happened to a robot that is looked at."""

    kind: Literal["event"] = "event"
    robot: RobotId
    turn: Turn | None = None
    """One of these three."""
    said: Said | None = None
    note: Note | None = None


class Levels(_Versioned):
    """How loud a robot that is looked at is at this moment, and how it stands. Ten times a second; lost if it finds no room."""

    kind: Literal["levels"] = "levels"
    robot: RobotId
    mic_db: float | None = None
    speaker_db: float | None = None
    pose: tuple[float, ...] | None = None
    """The fields of a pose in their order, in degrees and mm; None: nobody knows it."""


class Answer(_Versioned):
    """What became of a command. The payload is the piece that was fetched."""

    kind: Literal["answer"] = "answer"
    id: Ident
    ok: bool
    words: Annotated[str, StringConstraints(max_length=2000)] = ""
    """What was done; or why not, and what to do."""
    text: PersonaText | None = None
    """Of ``read_persona``: the table as it stands in the file, or as it would."""
    was: Digest = ""
    may_save: bool = False
    """Whether the gateway may write its robots file."""
    size_bytes: Count | None = None
    """Of the whole recording."""


Told = Fleet | Detail | Event | Levels | Answer
TOLD: TypeAdapter[Told] = TypeAdapter(Annotated[Told, Field(discriminator="kind")])
