"""Turns: numbers a voice's replies, and decides which of its audio is still to be heard. Pure."""


class Turns:
    """A reply is a turn. Turns below the floor are not to be heard any more, whatever still comes of them."""

    def __init__(self, first: int = 1) -> None:
        self._next = first
        self._current: int | None = None
        self._open = False
        """Whether the voice has begun a turn that it has not completed."""
        self._leftovers = False
        self.floor = first

    @property
    def next(self) -> int:
        """The turn that the next reply will be."""
        return self._next

    @property
    def newest(self) -> int:
        """The highest turn given out."""
        return self._next - 1

    def audio(self) -> int | None:
        """The turn that a piece of audio belongs to; None for what comes between an interruption and the turn's end."""
        self._open = True
        if self._leftovers:
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
        self._open = self._leftovers = False
        return self.generated()

    def interrupted(self) -> int:
        """The new floor: everything given out so far is over.

        So is what the voice may still send before it completes the turn that it is in, if it is in one.
        """
        self._current = None
        self._leftovers = self._open
        self.floor = self._next
        return self.floor
