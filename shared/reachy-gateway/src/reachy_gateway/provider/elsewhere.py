"""What the other gateways of a fleet have spent, as far as their store tells. Pure."""

from collections.abc import Collection, Mapping
from datetime import date
from typing import Final

from reachy_gateway.provider.money import NANO, Money

DAYS_KEPT: Final = 3


class Elsewhere:
    """By day and robot. What was spent is never unspent: a store that has forgotten something takes nothing back."""

    def __init__(self) -> None:
        self._days: dict[date, dict[str, int]] = {}
        self._totals: dict[date, Money] = {}
        self.heard = False
        """Whether there is anybody who tells."""

    def learn(self, day: date, spent: Mapping[str, int], own: Mapping[str, int]) -> None:
        """Take what all spent, in nano-dollars.

        Args:
            day: When.
            spent: By robot, as the store has it.
            own: What of that was told by this gateway.
        """
        self.heard = True
        known = self._days.setdefault(day, {})
        for robot, nano in spent.items():
            known[robot] = max(known.get(robot, 0), nano - own.get(robot, 0))
        self._totals[day] = Money(sum(known.values())) / NANO
        for old in sorted(self._days)[:-DAYS_KEPT]:
            del self._days[old], self._totals[old]

    def of(self, day: date, robot: str) -> Money:
        """What a robot spent at others."""
        return Money(self._days.get(day, {}).get(robot, 0)) / NANO

    def robots(self, day: date) -> Collection[str]:
        """Who spent anything at others."""
        return tuple(self._days.get(day, ()))

    def total(self, day: date) -> Money:
        """What all robots spent at others; may be asked from another thread."""
        return self._totals.get(day, Money(0))
