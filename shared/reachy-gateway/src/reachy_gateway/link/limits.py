"""How much one robot may send, before anything of it is looked at. Pure."""

from enum import Enum
from typing import Final

from reachy_link.bucket import Rate, TokenBucket

BURST_S: Final = 2.0
"""So much may come at once: what a link held back."""
BEARABLE: Final = Rate(3000, 6000)
"""Messages beyond the limit that are merely dropped, a second and at once; beyond these its connection is ended."""
STARTS: Final = Rate(0.5, 20)
"""Conversations that one robot may begin, a second and at once: each is a voice that dials its service. Two robots with one
key take the place from each other a few times before they are told apart."""


class Arrival(Enum):
    """What is to be done with a message that has come."""

    TAKE = "take it"
    DROP = "drop it"
    HANG_UP = "drop it, and end the connection"


class Limits:
    """One robot's.

    Args:
        messages_per_s: In the long run.
        bytes_per_s: In the long run.
    """

    def __init__(self, messages_per_s: int, bytes_per_s: int) -> None:
        self.words = f"{messages_per_s} messages or {bytes_per_s} bytes a second"
        self._messages = TokenBucket(Rate(messages_per_s, messages_per_s * BURST_S))
        self._bytes = TokenBucket(Rate(bytes_per_s, bytes_per_s * BURST_S))
        self._bearable = TokenBucket(BEARABLE)
        self._starts = TokenBucket(STARTS)

    def weigh(self, size: int, now: float, stalled_s: float = 0.0) -> Arrival:
        """What is to be done with a message of so many bytes.

        Args:
            size: In bytes.
            now: The time.
            stalled_s: For how long, in all, the gateway did not run: what was sent meanwhile comes at once.
        """
        if self._messages.take(1, now, stalled_s) and self._bytes.take(size, now, stalled_s):
            return Arrival.TAKE
        return Arrival.DROP if self._bearable.take(1, now, stalled_s) else Arrival.HANG_UP

    def may_start(self, now: float) -> bool:
        """Whether a conversation may begin."""
        return self._starts.take(1, now)
