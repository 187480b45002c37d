"""Measures how busy the event loop is, and decides how much audio goes into a message. Pure: times are passed in."""

from typing import Final

from reachy_link.pcm import CHUNK_MS, LONG_CHUNK_MS

CROWDED, CALM = 0.75, 0.55
"""Busy shares of a core. If libzmq's thread shares the core, the event loop gets about 0.87 of it at most."""
CALM_LOOKS: Final = 10
"""How often in a row the loop must have been calm before messages are short again: long messages are what made it calm."""
MANY, FEW = 25, 20
"""Numbers of robots. From ``MANY`` robots on messages are long, until there are ``FEW`` or fewer."""
FULL, ROOM = 0.08, 0.2
"""Shares of its time that the event loop has to spare. With less than ``FULL`` there is no room for a new robot; with ``ROOM``
there is again."""
FULL_LOOKS: Final = 5
"""How often in a row there must be no room: fifty robots that connect at once take all the time for 1.5 s."""
GENTLE_LOOKS: Final = 60
"""For so many looks after there was no room, new robots are let in one by one."""


class Load:
    """Decides how much audio goes into a message, to and from the robots and to Gemini.

    A message costs the same whatever its length, and messages are most of what a robot costs. So with many robots, or with
    hardly any time left, each message holds twice the audio. Half of the audio is then 20 ms later. Otherwise everybody's
    would be half a second late, or lost. If even then no time is left, new robots are refused, so that no speech is late.

    Args:
        fixed_ms: How much audio a message to Gemini holds, if a person has set it; None lets the load decide.
    """

    def __init__(self, fixed_ms: int | None = None) -> None:
        self.busy = 0.0
        """The share of its time that the event loop worked, at the last look."""
        self._fixed_ms = fixed_ms
        self.crowded = False
        """Whether there are many robots, or hardly any time is left."""
        self.full = False
        """Whether there is no room for a new robot."""
        self._looked: tuple[float, float, float] | None = None
        self._calm = 0
        self._packed = 0
        self._gentle = 0
        self._came = False
        """Whether a new robot was let in since the last look."""

    @property
    def message_ms(self) -> int:
        """How much mic audio a message to Gemini holds."""
        return self._fixed_ms or (LONG_CHUNK_MS if self.crowded else CHUNK_MS)

    @property
    def chunk_ms(self) -> int:
        """How much audio a message of the link holds."""
        return LONG_CHUNK_MS if self.message_ms >= LONG_CHUNK_MS else CHUNK_MS

    def look(self, now_s: float, worked_s: float, rested_s: float, robots: int) -> bool:
        """Look at the event loop's load. Returns true if ``crowded`` has changed.

        Args:
            now_s: The time.
            worked_s: The time that the event loop has worked so far.
            rested_s: The time that it has rested so far. It rests only while it is crowded.
            robots: The number of robots.
        """
        spare = 1.0
        if self._looked and now_s > self._looked[0]:
            passed_s = now_s - self._looked[0]
            self.busy = (worked_s - self._looked[1]) / passed_s
            spare = (rested_s - self._looked[2]) / passed_s if self.crowded else 1 - self.busy
        self._looked = now_s, worked_s, rested_s
        self._make_room(spare)
        self._calm = self._calm + 1 if self.busy < CALM and robots <= FEW else 0
        before = self.crowded
        if self.busy > CROWDED or robots >= MANY:
            self.crowded = True
        elif self._calm >= CALM_LOOKS:
            self.crowded = False
        return self.crowded != before

    def lets_in(self) -> bool:
        """Whether a new robot is let in."""
        if self.full or (self._gentle and self._came):
            return False
        self._came = True
        return True

    def _make_room(self, spare: float) -> None:
        self._packed = self._packed + 1 if spare < FULL else 0
        if self._packed >= FULL_LOOKS:
            self.full, self._gentle = True, GENTLE_LOOKS
        elif spare >= ROOM:
            self.full = False
        self._gentle = max(0, self._gentle - 1)
        self._came = False
