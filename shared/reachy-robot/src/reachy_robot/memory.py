"""The gateways that a robot remembers for its next start: where it is, and the others that this gateway named. Pure."""

from collections.abc import Sequence
from typing import Final

from reachy_link.address import Address
from reachy_robot.decisions import Remember

REMEMBER_S: Final = 60.0
"""The shortest time between two writes: a gateway that names others at each welcome must not wear out a disk."""


class Memory:
    """The remembered gateways, and those to remember.

    Args:
        remembered: The remembered addresses: first the robot's place, then the other gateways.
    """

    def __init__(self, remembered: Sequence[Address] = ()) -> None:
        self._kept = tuple(remembered)
        self._wanted = self._kept
        self._others = self._kept[1:]
        self._kept_at = float("-inf")

    def welcomed(self, here: Address, others: Sequence[Address], *, given: bool) -> None:
        """A gateway serves the robot.

        Args:
            here: The gateway's IP address.
            others: The other gateways. If the list is empty, the earlier ones stay.
            given: Whether the address is in the robot's settings: then it is not worth remembering alone.
        """
        self._others = tuple(others) or self._others
        if self._others or not given:
            self._wanted = (here, *(other for other in self._others if other != here))

    def due(self, now: float) -> list[Remember]:
        """The addresses to write now, if they have changed; another order of the other gateways is no change."""
        if _says(self._wanted) == _says(self._kept) or now - self._kept_at < REMEMBER_S:
            return []
        self._kept, self._kept_at = self._wanted, now
        return [Remember(self._wanted)]


def _says(addresses: Sequence[Address]) -> tuple[Sequence[Address], frozenset[Address]]:
    return addresses[:1], frozenset(addresses)
