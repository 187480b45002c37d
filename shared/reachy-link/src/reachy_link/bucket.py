"""A token bucket: it limits how much may pass at once, and how much in the long run. Pure: time is passed in."""

from typing import Final, NamedTuple


class Rate(NamedTuple):
    """A limit: so much per second in the long run, and so much at once."""

    per_s: float
    burst: float


STALL_MAX_S: Final = 60.0
"""A longer stall counts as this long."""


class TokenBucket:
    """A bucket that starts full. An amount that does not fit is refused as a whole and costs nothing."""

    def __init__(self, rate: Rate) -> None:
        self._rate = rate
        self._left = rate.burst
        self._last = float("inf")
        self._stalled_s = 0.0

    def take(self, n: float, now: float, stalled_s: float = 0.0) -> bool:
        """Whether this amount may pass now.

        Args:
            n: The amount.
            now: The current time.
            stalled_s: For how long, in total, the caller was blocked and could take nothing. Messages that arrive after a stall
                may have been sent at any time during it. So the allowance for that time is added to the burst, and shrinks
                again as fast as it grew.
        """
        per_s, burst = self._rate
        left = self._left
        if self._last == float("inf"):
            self._stalled_s = stalled_s
        elif now > self._last:
            # A stall may begin between the reading of the time and that of the stalls: then it counts at the next call.
            missed_s = min(stalled_s - self._stalled_s, now - self._last)
            self._stalled_s += missed_s
            missed_s = min(missed_s, STALL_MAX_S)
            grown = (now - self._last - missed_s) * per_s
            left = (min(burst, left + grown) if left < burst else max(burst, left - grown)) + missed_s * per_s
        self._last = now
        passes = n <= left
        self._left = left - n if passes else left
        return passes
