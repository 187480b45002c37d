"""Decides when a robot may dial: one prober while the server is down, no stampede afterwards. Pure; one per model."""

from collections.abc import Callable
from typing import Final

FIRST_S: Final = 0.1
"""The first pause is drawn from 0 to this. The limit doubles with every attempt (full jitter)."""
SHORT_CAP_S: Final = 0.8
"""The longest pause in the first 30 s of an outage. If the server comes back then, robots talk again within 1 s."""
SHORT_S: Final = 30.0
LONG_CAP_S: Final = 30.0
"""After that the longest pause doubles every 30 s, up to this."""
RELEASE_PER_S: Final = 100.0
"""How many robots may dial per second once the server answers."""
DIAL_S: Final = 5.0
"""How long a dial may take, setup included."""
PROBE_MAX_S: Final = 2.0
PROBE_MIN_S: Final = 0.6
HASTY_S: Final = 6.0
"""For so long probes stay that short. Then they get more time, because the server may be up and slow."""


class CircuitBreaker:
    """Grants dials. Server up: every robot may dial, at a bounded rate. Server down: one robot probes for all.

    Args:
        draw: A random number from 0 to 1.
    """

    def __init__(self, draw: Callable[[], float]) -> None:
        self._draw = draw
        self._down_since: float | None = None
        self._attempts = 0
        self._next_probe = float("-inf")
        self._prober: str | None = None
        self._only: str | None = None
        """The only robot whose dials have failed; None if there are several. Perhaps the trouble is its own."""
        self._probe_started = float("-inf")
        self._next_release = float("-inf")
        self._lasted_s = 0.0
        """How long the outage had lasted when the last probe failed."""
        self._opened_in_s: float | None = None

    @property
    def down(self) -> bool:
        """Whether the server is known to be down."""
        return self._down_since is not None

    @property
    def dial_s(self) -> float:
        """How long the next dial may take.

        While probing this is four times what the last successful dial took. So a dial that hangs does not use up the time in
        which the next one would succeed. A server that is slow after an outage needs more time, and gets it once short probes
        have not helped.
        """
        if self._lasted_s >= SHORT_S:
            return DIAL_S
        usual_s = None if self._opened_in_s is None else 4 * self._opened_in_s
        if not self.down:
            return DIAL_S if usual_s is None else min(DIAL_S, max(PROBE_MAX_S, usual_s))
        if usual_s is None or self._lasted_s >= HASTY_S:
            return PROBE_MAX_S
        return min(PROBE_MAX_S, max(PROBE_MIN_S, usual_s))

    def may_dial(self, robot: str, now: float) -> bool:
        """Whether this robot may dial now. If so, the robot must report the result."""
        if not self.down:
            if now < self._next_release:
                return False
            self._next_release = max(now, self._next_release) + 1 / RELEASE_PER_S
            return True
        doubted = self._only not in (None, robot)
        if doubted and self._prober == self._only:
            self._prober = None  # its dial may hang for seconds; the result will be ignored
        if self._prober not in (None, robot) or (now < self._next_probe and not doubted):
            return False
        self._prober = robot
        self._probe_started = now
        return True

    def opened(self, took_s: float) -> None:
        """Note that a dial succeeded: the server is up."""
        self._opened_in_s = took_s
        self._down_since, self._lasted_s = None, 0.0

    def failed(self, robot: str, now: float) -> None:
        """Note that the robot's dial found no server, or a server in trouble. Pauses count from the start of the dial."""
        if robot != self._only:
            self._only = None if self.down else robot
        if self._down_since is None:
            self._down_since = self._probe_started = now
            self._attempts = 0
        elif self._prober != robot:
            return
        self._lasted_s = now - self._down_since
        doublings = min(10.0, max(0.0, self._lasted_s / SHORT_S - 1))
        cap_s = min(LONG_CAP_S, SHORT_CAP_S * 2**doublings)
        pause_s = self._draw() * min(cap_s, FIRST_S * 2 ** min(self._attempts, 20))
        self._next_probe = self._probe_started + pause_s
        self._attempts += 1
        self._prober = None

    def gave_up(self, robot: str) -> None:
        """Note that the robot no longer dials (it left, or was refused). Another robot may probe."""
        if self._prober == robot:
            self._prober = None
