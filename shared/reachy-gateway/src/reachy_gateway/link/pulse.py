"""Measures how long the event loop did not run. Pure: time is passed in."""


class Pulse:
    """Adds up the stalls of an event loop. Another program had the processor, or a callback blocked the loop.

    A robot cannot be heard during a stall, so its silence does not count. Messages that arrive together afterwards were sent
    during the stall.

    Args:
        usual_s: The longest time between two beats of a loop that runs.
    """

    def __init__(self, usual_s: float) -> None:
        self._usual_s = usual_s
        self._last = float("inf")
        self.stalled_s = 0.0
        """The sum of all stalls so far."""

    def beat(self, now: float) -> float:
        """Note that the loop runs. Returns how long it had stalled."""
        stall_s = max(0.0, now - self._last - self._usual_s)
        self._last = now
        self.stalled_s += stall_s
        return stall_s
