"""For how long the event loop did not run. Pure: time is passed in."""


class Pulse:
    """Adds up the stalls of an event loop: another program had the processor, or a callback held the loop.

    In a stall nobody was heard, so nobody was silent; and what comes after it at once was sent in the course of it.

    Args:
        usual_s: The longest time between two beats of a loop that runs.
    """

    def __init__(self, usual_s: float) -> None:
        self._usual_s = usual_s
        self._last = float("inf")
        self.stalled_s = 0.0
        """All stalls so far."""

    def beat(self, now: float) -> float:
        """The loop runs; returns how long it had stalled until now."""
        stall_s = max(0.0, now - self._last - self._usual_s)
        self._last = now
        self.stalled_s += stall_s
        return stall_s
