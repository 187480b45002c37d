"""The port to what only the service behind the robots knows: money, personas and permissions. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from reachy_gateway.provider.money import Money


@dataclass(frozen=True, slots=True)
class Permits:
    """What a robot's persona permits an operator: nothing, unless it says so."""

    transcripts: bool = False
    recordings: bool = False


@dataclass(frozen=True, slots=True)
class Spending:
    """What was spent today, and what may be spent in a day."""

    robots: Mapping[str, Money] = field(default_factory=dict)
    """Spending by robot. Spending is counted over all gateways of a fleet."""
    budgets: Mapping[str, Money] = field(default_factory=dict)
    """Budgets of the robots that have one."""
    budget: Money | None = None
    """The budget of all robots together."""
    total: Money = field(default_factory=Money)
    """The spending of all robots together."""


@dataclass(frozen=True, slots=True)
class Table:
    """A robot's table in the robots file."""

    text: str
    digest: str
    """A hash of the text."""
    may_save: bool
    words: str
    """Which file the table is from, or why it cannot be saved here."""


class OfficeError(Exception):
    """Something cannot be done. The message says why, and what to do."""


class Office(Protocol):
    """Answers the admin port's questions about the service behind the robots."""

    def permits(self, robot: str) -> Permits:
        """What the robot's persona permits."""

    def spending(self) -> Spending:
        """What was spent."""

    def service(self) -> str:
        """The service that the robots talk to, and whether it is known to be down."""

    async def read_persona(self, robot: str) -> Table:
        """The robot's table.

        Raises:
            OfficeError: If there is none.
        """

    async def save_persona(self, robot: str, text: str, digest: str, *, only_check: bool) -> str:
        """Replace the robot's table by this text, if the table still has this digest. Returns what was done, in words.

        Raises:
            OfficeError: With everything that is wrong with the text.
        """


class NoOffice:
    """The office of a gateway without personas and without money."""

    def permits(self, robot: str) -> Permits:
        """Nothing is permitted."""
        del robot
        return Permits()

    def spending(self) -> Spending:
        """Nothing is spent."""
        return Spending()

    def service(self) -> str:
        """Empty: there is no service."""
        return ""

    async def read_persona(self, robot: str) -> Table:
        """Raise an error: there are no personas."""
        raise OfficeError(f"this gateway has no personas, so {robot} has none")

    async def save_persona(self, robot: str, text: str, digest: str, *, only_check: bool) -> str:
        """Raise an error: there are no personas."""
        del text, digest, only_check
        raise OfficeError(f"this gateway has no personas, so {robot} has none")
