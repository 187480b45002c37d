"""Compares two clocks: their offset, the round trip, and how late a message is. All pure; all in microseconds."""

from collections import deque
from typing import Final, NamedTuple


class _Sample(NamedTuple):
    rtt_us: int
    offset_us: int


class ClockSync:
    """Estimates the other end's clock from echoed time stamps.

    Of the last 8 exchanges, the one with the shortest round trip counts.

    The error is at most half of that round trip plus drift (NTP's clock filter, RFC 5905 section 10).
    """

    KEEP: Final = 8

    def __init__(self) -> None:
        self._samples: deque[_Sample] = deque(maxlen=self.KEEP)

    def add(self, sent_us: int, received_us: int, returned_us: int, now_us: int) -> None:
        """Add one exchange: sent by us, received and returned by the other end (both on its clock), back here now.

        An exchange of negative duration (a forged or muddled echo) is ignored.
        """
        rtt_us = (now_us - sent_us) - (returned_us - received_us)
        if rtt_us >= 0:
            self._samples.append(_Sample(rtt_us, ((received_us - sent_us) + (returned_us - now_us)) // 2))

    @property
    def best(self) -> "_Sample | None":
        """The sample with the shortest round trip. This property may be read from another thread."""
        samples = tuple(self._samples)
        return min(samples) if samples else None

    @property
    def offset_us(self) -> int | None:
        """The other end's clock minus ours."""
        return min(self._samples).offset_us if self._samples else None

    @property
    def rtt_us(self) -> int | None:
        """The shortest recent round trip."""
        return min(self._samples).rtt_us if self._samples else None


class Lateness:
    """Measures how much later a message comes than the fastest recent message. This needs no common clock.

    The fastest message is that of the last 30 to 60 s, so that clock drift and a path that became longer are absorbed. If every
    message is late for 2 s, the path itself has changed, and the measurement starts again.
    """

    LIMIT_US: Final = 500_000
    """Audio that is later than this is too late for live speech."""
    RETAKE_US: Final = 2_000_000
    WINDOW_US: Final = 30_000_000

    def __init__(self) -> None:
        self._current: int | None = None
        self._previous: int | None = None
        self._window_end_us = 0
        self._late_since_us: int | None = None

    def late_us(self, sent_us: int, now_us: int) -> int:
        """How much later this message is than the recent minimum; the message counts for later minimums."""
        delay = now_us - sent_us
        if self._current is None or now_us >= self._window_end_us:
            self._previous, self._current = self._current, delay
            self._window_end_us = now_us + self.WINDOW_US
        self._current = min(self._current, delay)
        minimum = self._current if self._previous is None else min(self._current, self._previous)
        late = delay - minimum
        if late <= self.LIMIT_US:
            self._late_since_us = None
        elif self._late_since_us is None:
            self._late_since_us = now_us
        elif now_us - self._late_since_us >= self.RETAKE_US:
            self._current, self._previous, self._late_since_us = delay, None, None
            return 0
        return late
