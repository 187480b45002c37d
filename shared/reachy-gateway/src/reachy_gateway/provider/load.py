"""How much of its time the event loop works, and how much audio goes in a message for that. Pure: times are passed in."""

from typing import Final

from reachy_link.pcm import CHUNK_MS, LONG_CHUNK_MS

CROWDED, CALM = 0.75, 0.55
"""Shares of a core. Where libzmq's thread has the same core, the event loop gets some 0.87 of it at most."""
CALM_LOOKS: Final = 10
"""So often in a row it must have been calm: longer messages are what made it so."""
MANY, FEW = 25, 20
"""Robots: from the first number on messages are long, until there are no more than the second."""
FULL, ROOM = 0.08, 0.2
"""Shares of its time that the event loop has to spare: with less than the first there is no room for a newcomer, with the
second there is again."""
FULL_LOOKS: Final = 5
"""So often in a row there must have been no room: fifty robots that come at once take all the time for 1.5 s."""
GENTLE_LOOKS: Final = 60
"""For so long after there was no room newcomers are let in one by one."""


class Load:
    """Decides how much audio goes in a message, to and from the robots and to Gemini.

    A message costs the same whatever its length, and messages are most of what a robot costs. So where there are many robots,
    or hardly any time is left, the double goes at a time: half of it comes 20 ms later, and nobody's comes by half a second
    later, or not at all. Where even so no time is left, newcomers are turned away, so that nobody's speech is late.

    Args:
        fixed_ms: How much goes to Gemini in a message whatever the load is, if a person has decided.
    """

    def __init__(self, fixed_ms: int | None = None) -> None:
        self.busy = 0.0
        """The share of its time that the event loop worked, when last looked at."""
        self._fixed_ms = fixed_ms
        self.crowded = False
        """Whether there are many robots, or hardly any time is left."""
        self.full = False
        """Whether there is no room for a newcomer."""
        self._looked: tuple[float, float, float] | None = None
        self._calm = 0
        self._packed = 0
        self._gentle = 0
        self._came = False
        """Whether a newcomer was let in since the last look."""

    @property
    def message_ms(self) -> int:
        """How much mic audio goes to Gemini in a message."""
        return self._fixed_ms or (LONG_CHUNK_MS if self.crowded else CHUNK_MS)

    @property
    def chunk_ms(self) -> int:
        """How much goes in a message of the link."""
        return LONG_CHUNK_MS if self.message_ms >= LONG_CHUNK_MS else CHUNK_MS

    def look(self, now_s: float, worked_s: float, rested_s: float, robots: int) -> bool:
        """Look at how the event loop fares; true if it is crowded from now on, or is so no more.

        Args:
            now_s: The time.
            worked_s: For how long, in all, the event loop has worked by now.
            rested_s: For how long, in all, it has rested, which it does while it is crowded.
            robots: How many there are.
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
        """Whether a newcomer is let in."""
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
