"""The port to what only the service behind the robots knows: money, personas, what they permit. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from reachy_gateway.provider.money import Money


@dataclass(frozen=True, slots=True)
class Permits:
    """What a robot's persona lets an operator have. Nothing, unless it says so."""

    transcripts: bool = False
    recordings: bool = False


@dataclass(frozen=True, slots=True)
class Spending:
    """Of today, and what may be spent in a day."""

    robots: Mapping[str, Money] = field(default_factory=dict)
    """By robot; over all gateways of a fleet, as the next ones."""
    budgets: Mapping[str, Money] = field(default_factory=dict)
    """Of robots that have one."""
    budget: Money | None = None
    """Of all robots together."""
    total: Money = field(default_factory=Money)
    """Spent by all robots together."""


@dataclass(frozen=True, slots=True)
class Table:
    """A robot's table in the robots file."""

    text: str
    digest: str
    """Tells one text from another."""
    may_save: bool
    words: str
    """Where it is from; or why it cannot be saved here."""


class OfficeError(Exception):
    """Something is not done; the message says why, and what to do."""


class Office(Protocol):
    """What the admin port asks of the service behind the robots."""

    def permits(self, robot: str) -> Permits:
        """What the robot's persona permits."""

    def spending(self) -> Spending:
        """What was spent."""

    def service(self) -> str:
        """What the robots talk to, and whether it is known not to answer."""

    async def read_persona(self, robot: str) -> Table:
        """The robot's table.

        Raises:
            OfficeError: If there is none to be had.
        """

    async def save_persona(self, robot: str, text: str, digest: str, *, only_check: bool) -> str:
        """Put a text in place of the robot's table, if that is still the one of this digest; what was done, in words.

        Raises:
            OfficeError: With everything that is wrong with it.
        """


class NoOffice:
    """Of a gateway without personas and without money."""

    def permits(self, robot: str) -> Permits:
        """Nothing."""
        del robot
        return Permits()

    def spending(self) -> Spending:
        """Nothing is spent."""
        return Spending()

    def service(self) -> str:
        """There is none."""
        return ""

    async def read_persona(self, robot: str) -> Table:
        """There is none."""
        raise OfficeError(f"this gateway has no personas, so {robot} has none")

    async def save_persona(self, robot: str, text: str, digest: str, *, only_check: bool) -> str:
        """There is none."""
        del text, digest, only_check
        raise OfficeError(f"this gateway has no personas, so {robot} has none")
