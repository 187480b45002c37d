"""What a session decides, for the rim to carry out."""

from dataclasses import dataclass
from enum import Enum
from typing import Literal

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


@dataclass(frozen=True, slots=True)
class HangUp:
    """Close the connection; tell when it is closed."""


@dataclass(frozen=True, slots=True)
class Emit:
    """Hand an event to the conversation."""

    event: VoiceEvent


@dataclass(frozen=True, slots=True)
class Decline:
    """Answer a tool call that nobody serves."""

    calls: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Count:
    """Count something under a cause, with words for the log."""

    cause: SessionCause
    words: str


Out = Dial | HangUp | Emit | Count | Bill | Keep
Mark = Literal["start", "end", "stream_end"]
Item = bytes | Mark | Decline
