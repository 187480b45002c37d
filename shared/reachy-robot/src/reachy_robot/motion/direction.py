"""The person's direction, by the voices that the robot has heard. Pure: time is passed in."""

from collections import deque
from typing import Final

HEARD_MAX: Final = 5
"""Directions that are kept: a second of them; the oldest are forgotten. Their median counts, so that a rare echo has no
effect."""
KNOWN_S: Final = 60.0
"""A direction is forgotten after this long: the person may have moved."""


class Direction:
    """The direction of the person's voice, in degrees to the robot's left, in world coordinates."""

    def __init__(self) -> None:
        self._heard: deque[tuple[float, float]] = deque(maxlen=HEARD_MAX)

    def hear(self, to_the_left_deg: float, head_yaw_deg: float, now: float) -> None:
        """Add the direction of a voice, as seen from the head at that moment."""
        yaw = (to_the_left_deg + head_yaw_deg + 180.0) % 360.0 - 180.0
        if yaw == yaw:  # noqa: PLR0124 - not NaN
            self._heard.append((now, yaw))

    def yaw_deg(self, now: float) -> float | None:
        """Where the person was heard last; None if nobody was heard lately."""
        lately = [yaw for at, yaw in self._heard if now - at <= KNOWN_S]
        return sorted(lately)[len(lately) // 2] if lately else None
