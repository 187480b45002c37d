"""Which robot's messages are handled without a turn of the event loop for each. Pure: time is passed in."""

from typing import Final

SLOT_S: Final = 0.008
"""How long one robot may handle messages without yielding to the loop."""
SLOT_PAUSE_S: Final = 0.002
"""The least pause between two such slots, so that every other robot has its turn in between."""


class BurstSlot:
    """Shared by the voices of a process: one robot at a time may keep the others waiting, and for a bounded time."""

    def __init__(self) -> None:
        self._until = float("-inf")

    def begin(self, now: float) -> float:
        """Until when the robot that asks may go on without yielding; ``now`` if not at all."""
        if now >= self._until + SLOT_PAUSE_S:
            self._until = now + SLOT_S
            return self._until
        return now
