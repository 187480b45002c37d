"""What of the gateways outlasts this start of the robot: where it is, and where that gateway says that others listen. Pure."""

from collections.abc import Sequence
from typing import Final

from reachy_link.address import Address
from reachy_robot.decisions import Remember

REMEMBER_S: Final = 60.0
"""From one write to the next at the soonest: a gateway that names others at each welcome must not wear a disk out."""


class Memory:
    """What was remembered, and what is to be.

    Args:
        remembered: As it was kept last: where the robot was, and then the others.
    """

    def __init__(self, remembered: Sequence[Address] = ()) -> None:
        self._kept = tuple(remembered)
        self._wanted = self._kept
        self._others = self._kept[1:]
        self._kept_at = float("-inf")

    def welcomed(self, here: Address, others: Sequence[Address], *, given: bool) -> None:
        """A gateway serves the robot.

        Args:
            here: At what IP address.
            others: Where others listen; none if it does not say, and then what was known of them counts.
            given: The robot finds this address in its settings, so that alone it is not worth a word.
        """
        self._others = tuple(others) or self._others
        if self._others or not given:
            self._wanted = (here, *(other for other in self._others if other != here))

    def due(self, now: float) -> list[Remember]:
        """What is to be kept now, if that is news: in another order it is none."""
        if _says(self._wanted) == _says(self._kept) or now - self._kept_at < REMEMBER_S:
            return []
        self._kept, self._kept_at = self._wanted, now
        return [Remember(self._wanted)]


def _says(addresses: Sequence[Address]) -> tuple[Sequence[Address], frozenset[Address]]:
    return addresses[:1], frozenset(addresses)
