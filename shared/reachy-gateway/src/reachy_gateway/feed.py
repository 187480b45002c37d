"""What happens at a gateway, told once; the log, the statistics and the transcripts read it, as a console will. Pure.

Telling is a plain call, so that nothing waits in a queue: a reader may not block. A reader that raises is nobody else's
trouble. Where telling would cost more than the call, ask :meth:`Feed.is_read` first.
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
"""Why a conversation ended: the robot said so; it started anew; it was not heard; its key is no longer admitted; the gateway
stops; another gateway of the fleet has the robot; a bug of ours."""


@dataclass(frozen=True, slots=True)
class Dropped:
    """The link dropped, refused or missed something. It is counted already."""

    cause: LinkCause
    robot: str
    """Empty where no robot is known."""
    words: str
    is_news: bool
    """Whether it is the first of its kind."""
    key: str = ""
    """Whose it was, in Z85, where that is no robot's."""
    address: str = ""
    """From where, if that is known."""


@dataclass(frozen=True, slots=True)
class KeysChanged:
    """Other robots may be admitted than before; those that are not any more are served no longer. Also told at the start."""

    admitted: frozenset[str]


@dataclass(frozen=True, slots=True)
class Connected:
    """A robot is served from now on."""

    robot: str
    software: str
    """The robot's."""


@dataclass(frozen=True, slots=True)
class ConversationEnded:
    """A robot is served no more, or begins anew."""

    robot: str
    cause: Ending
    words: str


@dataclass(frozen=True, slots=True)
class Faulted:
    """A bug of ours, in the conversation or in a voice that was hanging up. The latter ends nothing."""

    robot: str
    error: Exception
    ends_conversation: bool


@dataclass(frozen=True, slots=True)
class Away:
    """A robot has not been heard for some seconds, or is heard again."""

    robot: str
    silent_s: float | None
    """None: it is heard again."""


@dataclass(frozen=True, slots=True)
class Noticed:
    """A moment of the conversation that a person who watches wants to see."""

    robot: str
    words: str


@dataclass(frozen=True, slots=True)
class TurnPlayed:
    """A turn is over at the speaker."""

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
    """Something befell the session with the cloud. It is counted already."""

    robot: str
    cause: SessionCause
    words: str
    is_news: bool
    """Whether it is the first of its kind for this robot."""


@dataclass(frozen=True, slots=True)
class Billed:
    """A turn was booked."""

    robot: str
    cost: Money
    session: str
    """Its name in the books."""
    whole: Account
    """The session so far."""
    today: Account
    """The robot's day so far."""


@dataclass(frozen=True, slots=True)
class BudgetNews:
    """A budget is nearly spent, or is; told once each."""

    robot: str
    words: str


@dataclass(frozen=True, slots=True)
class Spoken:
    """A piece of what was said. Private: who keeps it asks the persona first."""

    robot: str
    said: Said
    at: datetime


@dataclass(frozen=True, slots=True)
class Transcribed:
    """A piece of what is said, as the robot is told it. Private: who shows it asks the persona first."""

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
    """Hands each event to whoever reads its kind, in the order in which they began to.

    Args:
        on_fault: Told of what a reader raises.
    """

    def __init__(self, on_fault: Callable[[Exception], None]) -> None:
        self._on_fault = on_fault
        self._readers: defaultdict[type, list[Callable[..., None]]] = defaultdict(list)

    def read(self, kind: type[E], reader: Callable[[E], None]) -> None:
        """Have every event of a kind handed to a reader from now on."""
        self._readers[kind].append(reader)

    def is_read(self, kind: type[Event]) -> bool:
        """Whether anybody reads a kind."""
        return bool(self._readers.get(kind))

    def tell(self, event: Event) -> None:
        """Something has happened."""
        for reader in self._readers.get(type(event), ()):
            try:
                reader(event)
            except Exception as error:  # noqa: BLE001 - it would end who tells, and keep the event from the readers behind
                self._on_fault(error)
