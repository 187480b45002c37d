"""Which robot's messages are handled without a turn of the event loop for each. Pure: time is passed in."""

from typing import Final

HURRY_S: Final = 0.008
"""So long at a time."""
HURRY_PAUSE_S: Final = 0.002
"""So soon after nobody may again: in a turn of the loop one hurries, and all who want to have their turn."""


class Hurry:
    """Shared by the voices of a process: one robot at a time may keep the others waiting, and for a bounded time."""

    def __init__(self) -> None:
        self._until = float("-inf")

    def begin(self, now: float) -> float:
        """Until when who asks may hurry; ``now`` if not at all."""
        if now >= self._until + HURRY_PAUSE_S:
            self._until = now + HURRY_S
            return self._until
        return now
