"""What a session is told of its server, and the one error that a connection can raise. Our own words, not the SDK's."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from reachy_gateway.provider.causes import TroubleKind
from reachy_gateway.provider.usage import Tokens
from reachy_gateway.voice import VoiceEvent


class LiveError(Exception):
    """A connection that could not be made, or was lost.

    Args:
        kind: What kind of trouble.
        words: What happened, and what to do.
        sure: Whether the reason is known. A refusal for a reason that nobody knows is tried again sooner.
    """

    def __init__(self, kind: TroubleKind, words: str, *, sure: bool = True) -> None:
        super().__init__(words)
        self.kind = kind
        self.words = words
        self.sure = sure


@dataclass(frozen=True, slots=True)
class GoAway:
    """The server will close the connection."""

    time_left_s: float


@dataclass(frozen=True, slots=True)
class Resumable:
    """The newest handle to resume the session with; None while it cannot be resumed."""

    handle: str | None


@dataclass(frozen=True, slots=True)
class Working:
    """Whether more of the answer is to come, although its last turn is complete: thinking models speak in between."""

    on: bool


@dataclass(frozen=True, slots=True)
class FunctionCall:
    """One function that is to be called."""

    id: str
    name: str
    args: Mapping[str, Any] | None
    """None: more than anybody wants to read."""


@dataclass(frozen=True, slots=True)
class ToolCall:
    """The model wants functions called."""

    calls: tuple[FunctionCall, ...]


@dataclass(frozen=True, slots=True)
class ToolCancelled:
    """The model does not want the results of these calls any more."""

    ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Unknown:
    """A message that nobody understands; the connection goes on."""

    detail: str


@dataclass(frozen=True, slots=True)
class Alive:
    """A message that has nothing for us: the server lives."""


@dataclass(frozen=True, slots=True)
class Unheard:
    """A piece of an answer that makes no sound: a thought, or text."""


@dataclass(frozen=True, slots=True)
class Reason:
    """Why the turn is about to end, where the server says so; ``expected`` if such a turn needs no sound."""

    words: str
    expected: bool = False


_OfTools = ToolCall | ToolCancelled
ServerEvent = VoiceEvent | GoAway | Resumable | _OfTools | Unknown | Alive | Unheard | Reason | Tokens | Working
