"""What the other gateways of a fleet have spent, as far as the store tells. Pure."""

from collections.abc import Collection, Mapping
from datetime import date
from typing import Final

from reachy_gateway.provider.money import NANO, Money

DAYS_KEPT: Final = 3


class Elsewhere:
    """Spending of other gateways, by day and robot. A sum never shrinks, even if the store has forgotten something."""

    def __init__(self) -> None:
        self._days: dict[date, dict[str, int]] = {}
        self._totals: dict[date, Money] = {}
        self.heard = False
        """Whether a store has ever told anything."""

    def learn(self, day: date, spent: Mapping[str, int], own: Mapping[str, int]) -> None:
        """Take the spending of all gateways, in nano-dollars.

        Args:
            day: The day.
            spent: Spending by robot, as the store has it.
            own: The part of it that this gateway has told.
        """
        self.heard = True
        known = self._days.setdefault(day, {})
        for robot, nano in spent.items():
            known[robot] = max(known.get(robot, 0), nano - own.get(robot, 0))
        self._totals[day] = Money(sum(known.values())) / NANO
        for old in sorted(self._days)[:-DAYS_KEPT]:
            del self._days[old], self._totals[old]

    def of(self, day: date, robot: str) -> Money:
        """What a robot spent at other gateways."""
        return Money(self._days.get(day, {}).get(robot, 0)) / NANO

    def robots(self, day: date) -> Collection[str]:
        """The robots that spent anything at other gateways."""
        return tuple(self._days.get(day, ()))

    def total(self, day: date) -> Money:
        """What all robots spent at other gateways. May be called from another thread."""
        return self._totals.get(day, Money(0))
