"""The feed of a gateway's events. The log, the statistics, the transcripts and the admin port read it. Pure.

An event is told by a plain call, so that nothing waits in a queue. A reader may not block. If a reader raises, the other
readers are not affected. Where building an event would cost more than the call, ask :meth:`Feed.is_read` first.
"""

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, TypeVar

from reachy_gateway.provider.causes import SessionCause
from reachy_gateway.provider.money import Money
from reachy_gateway.provider.usage import Account
from reachy_gateway.talk.latency import TurnTimes
from reachy_gateway.voice import CallOutcome, Said
from reachy_link.causes import LinkCause

Ending = Literal["bye", "restarted", "gone", "revoked", "stopped", "moved", "fault"]
"""Why a conversation ended. ``bye``: the robot said goodbye. ``restarted``: the robot restarted. ``gone``: the robot was not
heard. ``revoked``: its key is no longer admitted. ``stopped``: the gateway stops. ``moved``: another gateway of the fleet has
the robot. ``fault``: a bug in the gateway."""


@dataclass(frozen=True, slots=True)
class Dropped:
    """The link dropped, refused or missed something. It has been counted already."""

    cause: LinkCause
    robot: str
    """Empty where no robot is known."""
    words: str
    is_news: bool
    """Whether this is the first of its cause for this robot or stranger."""
    key: str = ""
    """The public key (Z85) that was refused, if no robot has it."""
    address: str = ""
    """Where it came from, if known."""


@dataclass(frozen=True, slots=True)
class KeysChanged:
    """The set of admitted robots may have changed. Robots outside the set are served no longer. Also told at the start."""

    admitted: frozenset[str]


@dataclass(frozen=True, slots=True)
class Connected:
    """A robot is served from now on."""

    robot: str
    software: str
    """The robot's software."""


@dataclass(frozen=True, slots=True)
class ConversationEnded:
    """A robot is no longer served, or a new conversation begins."""

    robot: str
    cause: Ending
    words: str


@dataclass(frozen=True, slots=True)
class Faulted:
    """A bug in the gateway raised in a conversation, or in a voice that was hanging up. The latter ends no conversation."""

    robot: str
    error: Exception
    ends_conversation: bool


@dataclass(frozen=True, slots=True)
class Away:
    """A robot has not been heard for some seconds, or is heard again."""

    robot: str
    silent_s: float | None
    """How long the robot has been silent; None: the robot is heard again."""


@dataclass(frozen=True, slots=True)
class Noticed:
    """A moment of the conversation, in words for a person who watches."""

    robot: str
    words: str


@dataclass(frozen=True, slots=True)
class TurnPlayed:
    """The speaker has finished a turn."""

    robot: str
    times: TurnTimes


@dataclass(frozen=True, slots=True)
class ToolCalled:
    """A call of a tool has ended."""

    robot: str
    name: str
    outcome: CallOutcome
    seconds: float


@dataclass(frozen=True, slots=True)
class SessionNews:
    """Something happened to the session with the cloud. It has been counted already."""

    robot: str
    cause: SessionCause
    words: str
    is_news: bool
    """Whether this is the first of its cause for this robot."""


@dataclass(frozen=True, slots=True)
class Billed:
    """A turn was booked in the ledger."""

    robot: str
    cost: Money
    session: str
    """The session's name in the books."""
    whole: Account
    """Sums of the session so far."""
    today: Account
    """Sums of the robot's day so far."""


@dataclass(frozen=True, slots=True)
class BudgetNews:
    """A budget is nearly spent, or spent. Each is told once."""

    robot: str
    words: str


@dataclass(frozen=True, slots=True)
class Spoken:
    """A piece of transcript. Private: a reader that stores it asks the persona first."""

    robot: str
    said: Said
    at: datetime


@dataclass(frozen=True, slots=True)
class Transcribed:
    """A piece of transcript, as sent to the robot. Private: a reader that shows it asks the persona first."""

    robot: str
    who: Literal["person", "robot"]
    text: str
    turn: int | None


Event = (
    Dropped
    | KeysChanged
    | Connected
    | ConversationEnded
    | Faulted
    | Away
    | Noticed
    | TurnPlayed
    | ToolCalled
    | SessionNews
    | Billed
    | BudgetNews
    | Spoken
    | Transcribed
)
E = TypeVar("E", bound=Event)


class Feed:
    """Hands each event to the readers of its kind, in the order in which they registered.

    Args:
        on_fault: Called with the exception that a reader raises.
    """

    def __init__(self, on_fault: Callable[[Exception], None]) -> None:
        self._on_fault = on_fault
        self._readers: defaultdict[type, list[Callable[..., None]]] = defaultdict(list)

    def read(self, kind: type[E], reader: Callable[[E], None]) -> None:
        """Hand every event of a kind to a reader from now on."""
        self._readers[kind].append(reader)

    def is_read(self, kind: type[Event]) -> bool:
        """Whether a kind of event has a reader."""
        return bool(self._readers.get(kind))

    def tell(self, event: Event) -> None:
        """Hand an event to its readers."""
        for reader in self._readers.get(type(event), ()):
            try:
                reader(event)
            except Exception as error:  # noqa: BLE001 - it would end the caller, and later readers would miss the event
                self._on_fault(error)
