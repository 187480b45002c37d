"""Turns: numbers a voice's replies, and decides which of its audio is still to be heard. Pure."""

from typing import Final

LEFTOVERS_S: Final = 0.5
"""What comes so soon after the voice said that it was interrupted, before it had said anything, is of what was interrupted."""


class Turns:
    """A reply is a turn. Turns below the floor are not to be heard any more, whatever still comes of them."""

    def __init__(self, first: int = 1) -> None:
        self._next = first
        self._current: int | None = None
        self._open = False
        """Whether the voice has begun a turn that it has not completed."""
        self._leftovers_until = float("-inf")
        self.floor = first

    @property
    def next(self) -> int:
        """The turn that the next reply will be."""
        return self._next

    @property
    def newest(self) -> int:
        """The highest turn given out."""
        return self._next - 1

    def audio(self, now: float) -> int | None:
        """The turn that a piece of audio belongs to; None for what comes between an interruption and the turn's end."""
        self._open = True
        if now < self._leftovers_until:
            self._leftovers_until = float("inf")
            return None
        if self._current is None:
            self._current = self._next
            self._next += 1
        return self._current

    def generated(self) -> int | None:
        """All audio of the reply has come: the turn that ends, if one was open. The next audio is a new turn."""
        turn, self._current = self._current, None
        return turn

    def complete(self) -> int | None:
        """The voice's turn is over, or its connection is: the turn that ends, if one was open."""
        self._open = False
        self._leftovers_until = float("-inf")
        return self.generated()

    def interrupted(self, now: float, *, by_voice: bool = False) -> int:
        """The new floor: everything given out so far is over.

        So is what the voice may still send before it completes the turn that it is in, if it is in one. Before its first audio
        nobody knows whether it is; if it says itself that it was interrupted (``by_voice``), the first that comes will tell.
        """
        self._current = None
        if self._open:
            self._leftovers_until = float("inf")
        elif by_voice:
            self._leftovers_until = max(self._leftovers_until, now + LEFTOVERS_S)
        self.floor = self._next
        return self.floor
