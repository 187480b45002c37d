"""The events of a server, and the one error that a connection can raise. These types are independent of the SDK."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from reachy_gateway.provider.causes import TroubleKind
from reachy_gateway.provider.usage import Tokens
from reachy_gateway.voice import VoiceEvent


class LiveError(Exception):
    """A connection could not be opened, or was lost.

    Args:
        kind: The kind of trouble.
        words: What happened, and what to do.
        sure: Whether the reason is known. After a refusal for an unknown reason the gateway dials again sooner.
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
    """The newest handle with which to resume the session; None while the session cannot be resumed."""

    handle: str | None


@dataclass(frozen=True, slots=True)
class Working:
    """Whether more of the answer comes, although its last turn is complete: thinking models speak in between."""

    on: bool


@dataclass(frozen=True, slots=True)
class FunctionCall:
    """One function that the model wants called."""

    id: str
    name: str
    args: Mapping[str, Any] | None
    """None: the arguments are too long or too deep."""


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
    """A message that the gateway does not understand; the connection goes on."""

    detail: str


@dataclass(frozen=True, slots=True)
class Alive:
    """A message without anything for the session. It shows that the server lives."""


@dataclass(frozen=True, slots=True)
class Unheard:
    """A piece of an answer without sound: a thought, or text."""


@dataclass(frozen=True, slots=True)
class Reason:
    """Why the turn is about to end, if the server gives a reason. ``expected``: such a turn needs no sound."""

    words: str
    expected: bool = False


_OfTools = ToolCall | ToolCancelled
ServerEvent = VoiceEvent | GoAway | Resumable | _OfTools | Unknown | Alive | Unheard | Reason | Tokens | Working
