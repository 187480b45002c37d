"""Which of several gateways a robot dials, and when it goes on to the next. Pure: time is passed in."""

from collections.abc import Iterable, Sequence
from hashlib import blake2b
from typing import Final

from reachy_link.address import Address

ROUND_S: Final = 3.0
"""After every gateway failed in a row, the robot stays so long at the last before it begins another round."""


def spread(robot: str, addresses: Iterable[Address]) -> list[Address]:
    """The addresses in an order of the robot's own, the same at each start: rendezvous hashing.

    Robots spread evenly over the gateways; those of a gateway that is gone spread evenly over the others; a gateway that is
    added takes its share from all and moves nobody else.
    """
    return sorted(addresses, key=lambda address: blake2b(f"{robot} {address}".encode(), digest_size=8).digest())


class Route:
    """The gateways in a robot's order, and at which of them it is.

    Args:
        addresses: In the order in which they are tried, round and round.
        now: When the robot turns to the first.
    """

    def __init__(self, addresses: Sequence[Address], now: float) -> None:
        self._addresses = tuple(addresses)
        self._at = 0
        self._failed = 0
        """Gateways that failed one after the other, before the one that the robot is at."""
        self._since = now

    @property
    def several(self) -> bool:
        """Whether there is another gateway to go to."""
        return len(self._addresses) > 1

    @property
    def here(self) -> Address | None:
        """Where the robot is."""
        return self._addresses[self._at] if self._addresses else None

    def here_s(self, now: float) -> float:
        """How long it has been there."""
        return now - self._since

    def served(self) -> None:
        """The gateway here has served for so long that what failed before is past."""
        self._failed = 0

    def onward(self, now: float) -> bool:
        """Go on to the next, as the one here has failed; false while it is too early for another round."""
        if not self.several:
            return False
        if self._failed >= len(self._addresses) - 1:
            if self.here_s(now) < ROUND_S:
                return False
            self._failed = -1
        self._failed += 1
        self._at = (self._at + 1) % len(self._addresses)
        self._since = now
        return True
