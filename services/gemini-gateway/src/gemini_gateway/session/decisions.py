"""The decisions of a session, which the rim carries out."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any, Literal

from gemini_gateway.session.exchanges import Keep, Who
from gemini_gateway.session.meter import Bill
from reachy_gateway.provider.causes import SessionCause
from reachy_gateway.voice import VoiceEvent


class SessionPhase(Enum):
    """The phases of a session."""

    WAITING = "waiting to dial"
    DIALLING = "dialling"
    LIVE = "live"
    CLOSING = "closing"
    REFUSED = "refused"
    SPENT = "over budget"
    PARKED = "parked"


@dataclass(frozen=True, slots=True)
class Dial:
    """Open a connection. Resume the session by its handle, or begin one that is told what was said before."""

    handle: str | None
    seed: tuple[tuple[Who, str], ...]
    tools: bool = False
    """Whether the robot's tools are declared."""


@dataclass(frozen=True, slots=True)
class HangUp:
    """Close the connection, and call ``Session.closed`` once it is closed."""


@dataclass(frozen=True, slots=True)
class Emit:
    """Pass an event to the robot's conversation."""

    event: VoiceEvent


@dataclass(frozen=True, slots=True)
class Run:
    """Run a tool, and report how it ended."""

    key: int
    """The call's number, which is unique in the whole session. The call's id is not."""
    name: str
    args: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Stop:
    """Stop a running tool, because nobody wants its result any more."""

    key: int


@dataclass(frozen=True, slots=True)
class Response:
    """The answer to one call of a tool."""

    id: str
    name: str
    response: Mapping[str, Any]
    background: bool
    """Whether the model went on while the tool ran."""
    speaks: bool
    """Whether the model should speak of the result."""


@dataclass(frozen=True, slots=True)
class Answer:
    """Answer calls of tools in one message."""

    responses: tuple[Response, ...]


@dataclass(frozen=True, slots=True)
class Prompt:
    """Ask the model in writing to say something."""

    text: str
    at: float
    """When somebody asked for it."""
    marked: bool = False
    """Whether to mark the prompt as a turn, as manual VAD requires."""


@dataclass(frozen=True, slots=True)
class Count:
    """Count something under a cause, with words for the log."""

    cause: SessionCause
    words: str


@dataclass(frozen=True, slots=True)
class Remember:
    """The session's memory has changed: store it for other gateways."""


Out = Dial | HangUp | Emit | Count | Bill | Keep | Run | Stop | Remember
Mark = Literal["start", "end", "stream_end"]
Item = bytes | Mark | Answer | Prompt
