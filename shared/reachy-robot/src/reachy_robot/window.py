"""The uplink's window: it keeps a robot from sending speech that would arrive late."""

from collections import deque
from typing import Final


class AckWindow:
    """Decides whether a mic chunk may be sent, by how long the oldest unacknowledged one has been under way.

    On a link that is too slow, chunks pile up in the kernel, where nothing can take them back. So the sender stops while the
    oldest chunk has been under way for more than 200 ms plus the shortest round trip, and drops the microphone's audio. One
    chunk every 300 ms probes whether the link is back.
    """

    WINDOW_S: Final = 0.2
    PROBE_S: Final = 0.3
    KEEP: Final = 512
    """Unacknowledged chunks that are remembered; at the probe's pace these are minutes. The oldest are forgotten."""

    def __init__(self) -> None:
        self._under_way: deque[tuple[int, float]] = deque(maxlen=self.KEEP)
        self._last_sent = float("-inf")

    def admits(self, now: float, rtt_s: float) -> bool:
        """Whether a chunk may be sent now."""
        if not self._under_way or now - self._under_way[0][1] <= self.WINDOW_S + rtt_s:
            return True
        return now - self._last_sent >= self.PROBE_S

    def stalled_s(self, now: float) -> float:
        """How long the oldest unacknowledged chunk has been under way."""
        return now - self._under_way[0][1] if self._under_way else 0.0

    def sent(self, seq: int, now: float) -> None:
        """Note a chunk as under way."""
        self._under_way.append((seq, now))
        self._last_sent = now

    def acked(self, seq: int) -> None:
        """Everything up to ``seq`` has arrived."""
        while self._under_way and self._under_way[0][0] <= seq:
            self._under_way.popleft()

    def reset(self) -> None:
        """The link was cut: all chunks under way are lost."""
        self._under_way.clear()
