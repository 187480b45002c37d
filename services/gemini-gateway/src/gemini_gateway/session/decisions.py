"""What a session decides, for the rim to carry out."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any, Literal

from gemini_gateway.session.exchanges import Keep, Who
from gemini_gateway.session.meter import Bill
from reachy_gateway.provider.causes import SessionCause
from reachy_gateway.voice import VoiceEvent


class SessionPhase(Enum):
    """Where the session is."""

    WAITING = "waiting to dial"
    DIALLING = "dialling"
    LIVE = "live"
    CLOSING = "closing"
    REFUSED = "refused"
    SPENT = "over budget"
    PARKED = "parked"


@dataclass(frozen=True, slots=True)
class Dial:
    """Open a connection: resume by the handle, or begin with what was said before."""

    handle: str | None
    seed: tuple[tuple[Who, str], ...]
    tools: bool = False
    """Whether the robot's tools are declared."""


@dataclass(frozen=True, slots=True)
class HangUp:
    """Close the connection; tell when it is closed."""


@dataclass(frozen=True, slots=True)
class Emit:
    """Hand an event to the conversation."""

    event: VoiceEvent


@dataclass(frozen=True, slots=True)
class Run:
    """Run a tool, and tell how it ended."""

    key: int
    """Of the call, unlike its id within the whole session."""
    name: str
    args: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Stop:
    """Stop a tool that runs: nobody wants its result any more."""

    key: int


@dataclass(frozen=True, slots=True)
class Response:
    """What the model is told of a call."""

    id: str
    name: str
    response: Mapping[str, Any]
    background: bool
    """Whether the model went on meanwhile."""
    speaks: bool
    """Whether it is to speak of it."""


@dataclass(frozen=True, slots=True)
class Answer:
    """Answer calls, in one message."""

    responses: tuple[Response, ...]


@dataclass(frozen=True, slots=True)
class Prompt:
    """Ask the model to say something, as nobody in front of the robot did."""

    text: str
    at: float
    """When it was asked for."""
    marked: bool = False
    """Whether it is to be marked as a turn: with manual VAD nothing else is one."""


@dataclass(frozen=True, slots=True)
class Count:
    """Count something under a cause, with words for the log."""

    cause: SessionCause
    words: str


@dataclass(frozen=True, slots=True)
class Remember:
    """What another gateway has to know, to go on with the session, has changed."""


Out = Dial | HangUp | Emit | Count | Bill | Keep | Run | Stop | Remember
Mark = Literal["start", "end", "stream_end"]
Item = bytes | Mark | Answer | Prompt
