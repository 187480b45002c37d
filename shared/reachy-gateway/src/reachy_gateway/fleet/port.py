"""The port to a store that a fleet's gateways share. Pure.

What it keeps is sealed before it comes here: a store can forget, and hold back, but neither read nor make up. Whatever it does,
a gateway goes on without it.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol


class StoreError(Exception):
    """The store did not do it: it is away, hangs, refuses or is full. The message says which, for a person."""


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
    """One of several things of which the newest counts."""

    version: int
    """Milliseconds since 1970, or more if somebody's clock was ahead before."""
    sealed: bytes


@dataclass(frozen=True, slots=True)
class Booking:
    """Rows of one gateway's ledger, of one day, that the store is to add up."""

    day: str
    ledger: str
    after: int
    """The row before the first; 0 if there is none."""
    upto: int
    """The last."""
    nano_usd: Mapping[str, int]
    """By robot."""


@dataclass(frozen=True, slots=True)
class Letter:
    """A message for another gateway, if its inbox is read."""

    inbox: str
    sealed: bytes


@dataclass(frozen=True, slots=True)
class Beat:
    """What a gateway tells the store at a time, and asks it."""

    inbox: str
    presence: bytes
    """How it stands; if that is left out it is not asked how all stand either."""
    keep: Mapping[str, Entry] = field(default_factory=dict)
    """By robot."""
    book: Booking | None = None
    day: str = ""
    """Of which the sums are asked for."""


@dataclass(frozen=True, slots=True)
class Pulse:
    """What the store answers."""

    kept: Mapping[str, bool]
    """By robot: false if another gateway has it."""
    booked: int | None
    """The last row that the store has of this ledger and day, if rows were told."""
    spent_nano_usd: Mapping[str, int]
    """Of the day that was asked for, by robot."""
    present: Sequence[bytes]
    """Of every gateway that was there in the last seconds, this one among them."""


class Accounts(Protocol):
    """What a gateway spends, and is told that all spend."""

    def day(self) -> str:
        """Today."""

    def to_tell(self, *, news_only: bool = False) -> Booking | None:
        """What the store does not know yet; without news, unless only these are wanted, the last that it is known to have."""

    def told(self, booking: Booking, upto: int) -> None:
        """The store has this ledger up to that row."""

    def spent(self, day: str, nano_usd: Mapping[str, int]) -> None:
        """What all gateways spent that day, by robot."""


class Store(Protocol):
    """A store. Every call ends within about half a second, and raises :class:`StoreError`."""

    async def read(self, robot: str) -> Entry | None:
        """What is remembered of a robot."""

    async def swap(self, robot: str, was: str, entry: Entry, tell: Letter | None) -> int | None:
        """Put an entry in the place of the one with that token, and tell somebody.

        Args:
            robot: Whose it is.
            was: The token that was read; empty for none.
            entry: What is to stand there.
            tell: For whom had the robot.

        Returns:
            How many read the letter; None if something else stands there by now.
        """

    async def beat(self, beat: Beat) -> Pulse:
        """Tell, and ask, all at once."""

    async def leave(self, inbox: str) -> None:
        """A gateway is there no more."""

    async def post(self, letter: Letter) -> None:
        """Send a letter to a gateway that waits for it."""

    async def newest(self, shelf: str) -> dict[str, Versioned]:
        """All things on a shelf, by name."""

    async def put(self, shelf: str, things: Mapping[str, Versioned]) -> None:
        """Put things there that are newer than what stands there, and tell every gateway."""

    async def drop(self, shelf: str, things: Mapping[str, Versioned]) -> None:
        """Take things off that are still the same."""

    def letters(self, inbox: str) -> AsyncIterator[tuple[str, bytes]]:
        """The letters that come, until the store is lost.

        Each is a shelf, or ``""``, and a sealed text. On a shelf something was put; with neither, letters are heard.
        """

    async def close(self) -> None:
        """Hang up."""
