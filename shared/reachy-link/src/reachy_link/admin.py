"""The messages of a gateway's admin port: a console's requests and the gateway's answers. ``docs/admin.md`` specifies them.

A request has one part, a JSON header. An answer has two: a JSON header, and a piece of a recording or nothing.
"""

from typing import Annotated, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, TypeAdapter

from reachy_link.messages import BodyOffer, Boot, Count, MoveName, RobotId, Words

VERSION: Final = 1
PORT: Final = 5559
REQUEST_MAX_BYTES: Final = 65536
PIECE_MAX_BYTES: Final = 65536
"""The longest piece of a recording in one answer."""
LEASE_S: Final = 6.0
"""A console that sent no ``watch`` for this long gets no more messages."""
WATCH_S: Final = 2.0
"""How often a console sends ``watch``."""
LOOKED_AT_MAX: Final = 8
"""Robots that a console may watch in detail at a time."""
TURNS_KEPT: Final = 100
SAID_KEPT: Final = 200
NOTES_KEPT: Final = 50
"""Kept of each robot: its newest turns, the newest pieces of its transcript, and its newest notes."""
ROWS_MAX: Final = 40
"""Robots in one message."""
STRANGERS_MAX: Final = 64
"""Refused keys in one message: the newest."""
KEY_START: Final = 6
"""Characters of a key that are enough to name it."""
Role = Literal["operator", "viewer"]
"""An operator may send commands; a viewer may only watch."""
Ident = Annotated[int, Field(ge=0, lt=2**53)]
KeyText = Annotated[str, StringConstraints(min_length=KEY_START, max_length=40)]
PersonaText = Annotated[str, StringConstraints(max_length=20_000)]
Digest = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{0,64}$")]
RecordingId = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9-]{0,100}$")]
Unix = float
"""Seconds since 1970, by the gateway's clock."""


class _Model(BaseModel):
    """Unknown fields are ignored, so that a newer peer may send more."""

    model_config = ConfigDict(frozen=True, extra="ignore", strict=True)


class _Versioned(_Model):
    v: int = Field(default=VERSION, ge=VERSION, le=VERSION)


# --- console -> gateway -----------------------------------------------------------------------------------------------


class Watch(_Versioned):
    """Watch all robots, and these in detail. A console repeats this every 2 s; after 6 s without it, messages end."""

    kind: Literal["watch"] = "watch"
    robots: tuple[RobotId, ...] = Field(default=(), max_length=LOOKED_AT_MAX)
    afresh: bool = False
    """The console missed a message: send everything again."""


class Unwatch(_Versioned):
    """Stop watching."""

    kind: Literal["unwatch"] = "unwatch"


class _Command(_Versioned):
    id: Ident
    """The console's number of the command; the answer repeats the number."""


class _OfRobot(_Command):
    robot: RobotId


class Admit(_OfRobot):
    """Admit a key: a recently refused key by its first characters, or any key in full."""

    kind: Literal["admit"] = "admit"
    key: KeyText


class Revoke(_OfRobot):
    """Revoke all keys of a robot."""

    kind: Literal["revoke"] = "revoke"


class Say(_OfRobot):
    """Have the robot say this text in its own voice; a model may choose other words."""

    kind: Literal["say"] = "say"
    text: Annotated[str, StringConstraints(min_length=1, max_length=500)]


class Act(_OfRobot):
    """Have the robot's body do something, as the link's ``act`` names it."""

    kind: Literal["act"] = "act"
    name: Literal["gesture", "dance", "look", "turn", "stop", "rest", "wake", "volume"]
    args: dict[MoveName, str | Annotated[float, Field(allow_inf_nan=False)]] = Field(default={}, max_length=8)


class ReadPersona(_OfRobot):
    """Read the robot's table in the robots file."""

    kind: Literal["read_persona"] = "read_persona"


class SavePersona(_OfRobot):
    """Replace the robot's table in the robots file, or only check the new text."""

    kind: Literal["save_persona"] = "save_persona"
    text: PersonaText
    was: Digest
    """The digest of the table that the console read. If the table has changed since, nothing is saved."""
    only_check: bool = False


class Record(_OfRobot):
    """Start or stop the recording of the robot's conversation."""

    kind: Literal["record"] = "record"
    on: bool


class Fetch(_Command):
    """Fetch a piece of a recording."""

    kind: Literal["fetch"] = "fetch"
    recording: RecordingId
    offset: Count = 0


Command = Admit | Revoke | Say | Act | ReadPersona | SavePersona | Record | Fetch
Request = Watch | Unwatch | Command
REQUEST: TypeAdapter[Request] = TypeAdapter(Annotated[Request, Field(discriminator="kind")])


# --- gateway -> console -----------------------------------------------------------------------------------------------


class Call(_Model):
    """A tool call that has ended."""

    name: str
    outcome: str
    ms: float


class Turn(_Model):
    """A turn that has ended at the speaker. Times are in ms; None is unknown."""

    turn: int
    at: Unix
    complete: bool
    total_ms: float | None = None
    """From the end of the person's speech to the first sample at the speaker."""
    parts_ms: dict[Literal["link_up", "voice", "gateway", "link_down", "playout"], float] = {}
    """The parts of the total, in the order of time."""
    barge_in_ms: float | None = None
    """From the interruption at the gateway until the speaker is silent."""
    played_ms: float
    underruns: int = 0
    concealed_ms: float = 0
    calls: tuple[Call, ...] = ()


class Said(_Model):
    """A piece of the transcript."""

    at: Unix
    who: Literal["person", "robot"]
    text: Words
    turn: int | None = None
    """The robot's turn to which the words belong; None for the person's words."""


class Note(_Model):
    """An event in the life of the robot or its conversation."""

    at: Unix
    words: Words
    is_trouble: bool = False


class Row(_Model):
    """A robot's current state and totals."""

    robot: RobotId
    state: Literal["absent", "away", "starting", "listening", "thinking", "speaking", "reconnecting", "refused"]
    """``absent``: the robot has not said hello, or has left. ``away``: the gateway does not hear the robot. ``starting``: the
    robot was welcomed, and the voice has not reported its state yet."""
    reason: Words = ""
    since: Unix | None = None
    """The beginning of the state; None: it began before the gateway started."""
    person_speaks: bool = False
    software: Words = ""
    rtt_ms: float | None = None
    mic_db: float | None = None
    """In dB of full scale, over 20 ms; None while no audio comes."""
    speaker_db: float | None = None
    turn: Turn | None = None
    """The robot's last turn."""
    p50_ms: float | None = None
    """The median total of the robot's newest turns."""
    turns: int = 0
    cut: int = 0
    """Turns that were cut short."""
    underruns: int = 0
    drops: int = 0
    """Messages and chunks that were lost or dropped, at both ends."""
    faults: int = 0
    dollars: float = 0.0
    """Today's cost."""
    budget: float | None = None
    """The budget for a day."""
    keys: tuple[str, ...] = ()
    """The first characters of the robot's admitted keys."""
    recording: bool = False


class Stranger(_Model):
    """A key that was refused."""

    key: str
    address: str
    at: Unix
    """When the key was last refused."""
    times: int


class Recording(_Model):
    """A recording that can be fetched."""

    id: RecordingId
    robot: RobotId
    at: Unix
    seconds: float
    size_bytes: int


class Whole(_Model):
    """The gateway's current state and totals."""

    software: str
    now: Unix
    started: Unix
    here: int
    """Robots that the gateway serves now."""
    admitted: int
    max_robots: int
    faults: int
    """The faults of all robots."""
    dollars: float
    """Today's cost of all robots."""
    budget: float | None = None
    """The budget for a day, of all robots."""
    voice: Words = ""
    """The service of the voice, and a word if it is known not to answer."""
    fleet: Words = ""
    """The fleet's gateways and how many robots each serves; empty for a gateway without a fleet."""
    role: Role
    """The console's role."""


class _Counted(_Versioned):
    boot: Boot
    """The gateway's boot."""
    seq: Ident
    """Numbers one console's messages without gaps. A message with ``afresh`` has the number 0."""


class Fleet(_Counted):
    """The state of the fleet: first everything, then the changes. Sent every 0.8 s, even without changes."""

    kind: Literal["fleet"] = "fleet"
    afresh: bool = False
    """The console forgets all earlier messages."""
    whole: Whole | None = None
    rows: tuple[Row, ...] = Field(default=(), max_length=ROWS_MAX)
    gone: tuple[RobotId, ...] = ()
    """Robots that are no longer admitted."""
    strangers: tuple[Stranger, ...] | None = None
    """All remembered refused keys, newest first; None: unchanged."""
    recordings: tuple[Recording, ...] | None = None
    """All recordings, newest first; None: unchanged."""


class Detail(_Counted):
    """The details of a robot: everything when a console begins to watch it, then the changes."""

    kind: Literal["detail"] = "detail"
    robot: RobotId
    body: BodyOffer | None = None
    may_show: bool = False
    """Whether the persona lets a console show the transcript."""
    may_record: bool = False
    turns: tuple[Turn, ...] | None = None
    """The robot's newest turns, oldest first; None: unchanged. The same holds for the next two fields."""
    said: tuple[Said, ...] | None = None
    notes: tuple[Note, ...] | None = None


class Event(_Counted):
    """An event of a robot that the console watches in detail."""

    kind: Literal["event"] = "event"
    robot: RobotId
    turn: Turn | None = None
    """Exactly one of these three fields is set."""
    said: Said | None = None
    note: Note | None = None


class Levels(_Versioned):
    """Sound levels and pose of a robot that is watched in detail, ten times a second; dropped if the queue is full."""

    kind: Literal["levels"] = "levels"
    robot: RobotId
    mic_db: float | None = None
    speaker_db: float | None = None
    pose: tuple[float, ...] | None = None
    """The fields of a pose in their order, in degrees and mm; None: the pose is unknown."""


class Answer(_Versioned):
    """The result of a command. The payload is the piece that was fetched."""

    kind: Literal["answer"] = "answer"
    id: Ident
    ok: bool
    words: Annotated[str, StringConstraints(max_length=2000)] = ""
    """What was done; or why it was not done, and what to do."""
    text: PersonaText | None = None
    """The answer to ``read_persona``: the table as it is in the file, or as it would be there."""
    was: Digest = ""
    may_save: bool = False
    """Whether the gateway may write its robots file."""
    size_bytes: Count | None = None
    """The size of the whole recording."""


Told = Fleet | Detail | Event | Levels | Answer
TOLD: TypeAdapter[Told] = TypeAdapter(Annotated[Told, Field(discriminator="kind")])
