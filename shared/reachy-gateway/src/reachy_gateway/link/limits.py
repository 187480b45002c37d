"""Limits on what one robot may send, applied before its messages are read. Pure."""

from enum import Enum
from typing import Final

from reachy_link.bucket import Rate, TokenBucket

BURST_S: Final = 2.0
"""How many seconds' worth may come at once, as after a link that held messages back."""
BEARABLE: Final = Rate(3000, 6000)
"""Messages beyond the limit that are only dropped. Beyond this second limit the robot's connection is ended."""
STARTS: Final = Rate(0.5, 20)
"""Conversations that one robot may begin. Each has a voice that dials its service. Two robots with one key take each other's
place a few times before they are told apart."""


class Arrival(Enum):
    """What to do with a message that has arrived."""

    TAKE = "take it"
    DROP = "drop it"
    HANG_UP = "drop it, and end the connection"


class Limits:
    """One robot's limits.

    Args:
        messages_per_s: Messages a second, in the long run.
        bytes_per_s: Bytes a second, in the long run.
    """

    def __init__(self, messages_per_s: int, bytes_per_s: int) -> None:
        self.words = f"{messages_per_s} messages or {bytes_per_s} bytes a second"
        self._messages = TokenBucket(Rate(messages_per_s, messages_per_s * BURST_S))
        self._bytes = TokenBucket(Rate(bytes_per_s, bytes_per_s * BURST_S))
        self._bearable = TokenBucket(BEARABLE)
        self._starts = TokenBucket(STARTS)

    def weigh(self, size: int, now: float, stalled_s: float = 0.0) -> Arrival:
        """Decide what to do with a message of this size.

        Args:
            size: The message's size in bytes.
            now: The time.
            stalled_s: The sum of all stalls. Messages that were sent during a stall arrive together after it.
        """
        if self._messages.take(1, now, stalled_s) and self._bytes.take(size, now, stalled_s):
            return Arrival.TAKE
        return Arrival.DROP if self._bearable.take(1, now, stalled_s) else Arrival.HANG_UP

    def may_start(self, now: float) -> bool:
        """Whether the robot may begin a conversation now."""
        return self._starts.take(1, now)
