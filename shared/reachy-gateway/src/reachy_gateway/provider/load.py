"""How much of its time the event loop works, and what that means for the way up. Pure: times are passed in."""

from typing import Final

CROWDED, CALM = 0.75, 0.55
"""Shares of a core. Where libzmq's thread has the same core, the event loop gets some 0.87 of it at most."""
CALM_LOOKS: Final = 10
"""So often in a row it must have been calm: larger messages are what made it so."""
USUAL_MS: Final = 20
CROWDED_MS: Final = 40


class Load:
    """Decides how much mic audio goes to Gemini in a message.

    To send a message is a fifth of what a robot costs, whatever its length. So where hardly any time is left, the double goes
    at a time: half of it comes 20 ms later, and nobody's comes by half a second later, or not at all.
    """

    def __init__(self) -> None:
        self.busy = 0.0
        """The share of its time that the event loop worked, when last looked at."""
        self.message_ms = USUAL_MS
        self._looked: tuple[float, float] | None = None
        self._calm = 0

    def look(self, now_s: float, worked_s: float) -> bool:
        """Look at how long the event loop has worked by now, in all; true if that changes how much goes at a time."""
        if self._looked and now_s > self._looked[0]:
            self.busy = (worked_s - self._looked[1]) / (now_s - self._looked[0])
        self._looked = now_s, worked_s
        self._calm = self._calm + 1 if self.busy < CALM else 0
        before = self.message_ms
        if self.busy > CROWDED:
            self.message_ms = CROWDED_MS
        elif self._calm >= CALM_LOOKS:
            self.message_ms = USUAL_MS
        return self.message_ms != before
