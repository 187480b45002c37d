"""A token bucket: how much may come at a time, and how much in the long run. Pure: time is passed in."""

from enum import Enum
from typing import NamedTuple


class Arrival(Enum):
    """What is to be done with a message that has come."""

    TAKE = "take it"
    DROP = "drop it"
    HANG_UP = "drop it, and end the connection"


class Rate(NamedTuple):
    """So much a second in the long run, and so much at once."""

    per_s: float
    burst: float


class TokenBucket:
    """Starts full; what does not fit is refused whole and costs nothing."""

    def __init__(self, rate: Rate) -> None:
        self._rate = rate
        self._left = rate.burst
        self._last = float("inf")

    def take(self, n: float, now: float) -> bool:
        """Whether so much may pass now."""
        per_s, burst = self._rate
        left = self._left
        if now > self._last:
            left = min(burst, left + (now - self._last) * per_s)
        self._last = now
        passes = n <= left
        self._left = left - n if passes else left
        return passes
