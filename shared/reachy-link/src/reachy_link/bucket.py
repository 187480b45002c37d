"""A token bucket: how much may come at a time, and how much in the long run. Pure: time is passed in."""

from typing import Final, NamedTuple


class Rate(NamedTuple):
    """So much a second in the long run, and so much at once."""

    per_s: float
    burst: float


STALL_MAX_S: Final = 60.0
"""Of a longer stall only so much counts."""


class TokenBucket:
    """Starts full; what does not fit is refused whole and costs nothing."""

    def __init__(self, rate: Rate) -> None:
        self._rate = rate
        self._left = rate.burst
        self._last = float("inf")
        self._stalled_s = 0.0

    def take(self, n: float, now: float, stalled_s: float = 0.0) -> bool:
        """Whether so much may pass now.

        Args:
            n: How much.
            now: The time.
            stalled_s: For how long, in all, the taker did not run and could take nothing. What comes after a stall may have
                been sent at any time within it, so the allowance of that time goes on top of the burst, and ends as fast as it
                grew.
        """
        per_s, burst = self._rate
        left = self._left
        if now > self._last:
            missed_s = min(stalled_s - self._stalled_s, now - self._last, STALL_MAX_S)
            grown = (now - self._last - missed_s) * per_s
            left = (min(burst, left + grown) if left < burst else max(burst, left - grown)) + missed_s * per_s
        self._last, self._stalled_s = now, stalled_s
        passes = n <= left
        self._left = left - n if passes else left
        return passes
