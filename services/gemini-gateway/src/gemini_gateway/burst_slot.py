"""Lets one robot at a time handle messages without yielding to the event loop after each. Pure: time is passed in."""

from typing import Final

SLOT_S: Final = 0.008
"""How long one robot may handle messages without yielding to the loop."""
SLOT_PAUSE_S: Final = 0.002
"""The shortest pause between two such slots, so that every other robot runs in between."""


class BurstSlot:
    """A slot that the voices of a process share: only one robot may keep the others waiting, and for a bounded time."""

    def __init__(self) -> None:
        self._until = float("-inf")

    def begin(self, now: float) -> float:
        """Until when the calling robot may go on without yielding; ``now`` if it must yield at once."""
        if now >= self._until + SLOT_PAUSE_S:
            self._until = now + SLOT_S
            return self._until
        return now
