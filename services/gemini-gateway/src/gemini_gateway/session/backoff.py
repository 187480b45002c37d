"""When to dial again after a failure, and what the robot is told meanwhile. Pure: time and random numbers are passed in."""

from collections.abc import Callable
from typing import Final

from gemini_gateway.events import LiveError
from gemini_gateway.session import timing
from reachy_gateway.voice import ConnectionState

NOT_YET: Final = ConnectionState("reconnecting", "there is no connection to Gemini yet")
DOUBLINGS_MAX: Final = 10


class Backoff:
    """The pause before the next dial. It grows while the same failure repeats without anything going well in between."""

    def __init__(self, now: float, draw: Callable[[], float]) -> None:
        self.not_before = now
        self.trouble_since: float | None = None
        self.standing = NOT_YET
        """What the robot is told once the trouble has lasted long enough."""
        self.refused_at_once = False
        """Whether the last connection was refused right after its setup had been answered."""
        self._draw = draw
        self._quota = 0
        self._declined = 0
        """How many dials in a row were declined, or refused for an unknown reason."""
        self._short_lives = 0

    def clear(self) -> None:
        """The trouble is over: a connection is open, or none is wanted."""
        self.trouble_since, self.standing = None, NOT_YET

    def talked(self) -> None:
        """A connection has lasted, or the server has talked on it."""
        self.refused_at_once, self._declined = False, 0

    def lasted(self) -> None:
        """A connection has lasted."""
        self._short_lives = 0

    def turn_over(self) -> None:
        """A turn was completed."""
        self._quota = 0

    def failed(self, error: LiveError, now: float) -> bool:
        """A dial or a connection has failed. Returns whether to tell the robot at once."""
        if self.trouble_since is None:
            self.trouble_since = now
        if error.kind == "declined" or not error.sure:
            self._declined = min(self._declined + 1, DOUBLINGS_MAX)
        self.standing = ConnectionState("refused" if error.kind == "refused" else "reconnecting", error.words)
        pause_s = self._pause_s(error)
        self.not_before = now + pause_s
        if error.kind == "quota":
            self.standing = ConnectionState("reconnecting", f"{error.words}; trying again in {pause_s:.0f} s")
        return error.kind in ("refused", "quota")

    def resuming(self, now: float) -> None:
        """A dial with a handle failed: pause, because Google may still hold the session's old socket open."""
        least_s, most_s = timing.HANDLE_PAUSE_S
        self.not_before = now + least_s + self._draw() * (most_s - least_s)

    def short_life(self) -> None:
        """A connection was lost soon after it was opened."""
        self._short_lives += 1

    def wait_after_short_life(self, now: float) -> None:
        """Delay the next dial, longer each time."""
        longest_s = min(timing.SHORT_CAP_S, timing.SHORT_FIRST_S * 2.0 ** min(self._short_lives, 20))
        self.not_before = max(self.not_before, now + self._draw() * longest_s)

    def _pause_s(self, error: LiveError) -> float:
        match error.kind:
            case "refused":
                doubted_s = timing.DOUBTED_S * 2.0 ** (self._declined - 1)
                return timing.REFUSED_RETRY_S if error.sure else min(timing.REFUSED_RETRY_S, doubted_s)
            case "declined":
                first_s, most_s = timing.DECLINED_S
                return min(most_s, first_s * 2.0 ** (self._declined - 1)) * (0.75 + self._draw() / 4)
            case "quota":
                first_s, most_s = timing.QUOTA_S
                longest_s = min(most_s, first_s * 2.0**self._quota)
                self._quota = min(self._quota + 1, DOUBLINGS_MAX)
                return longest_s * (0.5 + self._draw() / 2)
            case _:
                return 0.0
