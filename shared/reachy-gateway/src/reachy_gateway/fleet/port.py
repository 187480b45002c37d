"""The port to a store that a fleet's gateways share. Pure.

Everything is sealed before it is passed to the store. So a store can forget data and withhold data, but not read or forge
it. Whatever the store does, a gateway goes on without it.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol


class StoreError(Exception):
    """The store failed: it is away, hangs, refuses or is full. The message says which, for a person."""


@dataclass(frozen=True, slots=True)
class Entry:
    """What is remembered of a robot."""

    token: str
    owner: str
    sealed: bytes
    age_s: float = 0.0
    """How long ago it was written, by the store's clock."""


@dataclass(frozen=True, slots=True)
class Versioned:
    """A thing with a version. The newest version counts."""

    version: int
    """Milliseconds since 1970. It is higher if an earlier version came from a clock that was ahead."""
    sealed: bytes


@dataclass(frozen=True, slots=True)
class Booking:
    """Rows of one gateway's ledger, of one day, for the store to add up."""

    day: str
    ledger: str
    after: int
    """The row before the first one; 0 if there is none."""
    upto: int
    """The last row."""
    nano_usd: Mapping[str, int]
    """Sums by robot."""


@dataclass(frozen=True, slots=True)
class Letter:
    """A message for another gateway. It is lost if nobody reads that inbox."""

    inbox: str
    sealed: bytes


@dataclass(frozen=True, slots=True)
class Beat:
    """What a gateway tells and asks the store in one call."""

    inbox: str
    presence: bytes
    """How the gateway stands, sealed. If this is empty, the answer does not tell how the gateways stand."""
    keep: Mapping[str, Entry] = field(default_factory=dict)
    """Entries by robot."""
    book: Booking | None = None
    day: str = ""
    """The day whose sums are asked for."""


@dataclass(frozen=True, slots=True)
class Pulse:
    """The store's answer to a beat."""

    kept: Mapping[str, bool]
    """By robot: whether the entry was written; false if another gateway has the robot."""
    booked: int | None
    """The last row that the store has of this ledger and day; None if no rows were told."""
    spent_nano_usd: Mapping[str, int]
    """Sums of the day that was asked for, by robot."""
    present: Sequence[bytes]
    """The sealed presence of every gateway that was there in the last seconds, this one among them."""


class Accounts(Protocol):
    """What a gateway spends, and learns about the spending of all gateways."""

    def day(self) -> str:
        """Today, as text."""

    def to_tell(self, *, news_only: bool = False) -> Booking | None:
        """Rows that the store does not know yet. Without any: None if ``news_only``, else the last row that it knew."""

    def told(self, booking: Booking, upto: int) -> None:
        """Take the store's answer: it has this ledger up to that row."""

    def spent(self, day: str, nano_usd: Mapping[str, int]) -> None:
        """Take what all gateways spent on a day, by robot."""


class Store(Protocol):
    """A store. Every call ends within about half a second. If it fails, it raises :class:`StoreError`."""

    async def read(self, robot: str) -> Entry | None:
        """What is remembered of a robot."""

    async def swap(self, robot: str, was: str, entry: Entry, tell: Letter | None) -> int | None:
        """Replace the entry that has the token ``was``, and send a letter.

        Args:
            robot: The robot.
            was: The token of the entry that was read; empty if there was none.
            entry: The new entry.
            tell: A letter to the gateway that had the robot.

        Returns:
            How many gateways read the letter; None if the token has changed meanwhile.
        """

    async def beat(self, beat: Beat) -> Pulse:
        """Tell and ask everything in one call."""

    async def leave(self, inbox: str) -> None:
        """Remove a gateway that stops."""

    async def post(self, letter: Letter) -> None:
        """Send a letter to a gateway that reads its inbox."""

    async def newest(self, shelf: str) -> dict[str, Versioned]:
        """All things on a shelf, by name."""

    async def put(self, shelf: str, things: Mapping[str, Versioned]) -> None:
        """Put things on a shelf that are newer than what is there, and tell every gateway."""

    async def drop(self, shelf: str, things: Mapping[str, Versioned]) -> None:
        """Remove things from a shelf that have not changed meanwhile."""

    def letters(self, inbox: str) -> AsyncIterator[tuple[str, bytes]]:
        """The letters as they arrive, until the connection to the store is lost.

        Each is a shelf's name, or ``""``, and a sealed text. With a name: something was put on that shelf. With neither: the
        subscription has begun.
        """

    async def close(self) -> None:
        """Close the connection."""
