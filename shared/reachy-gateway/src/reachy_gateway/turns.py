"""Turns: numbers a voice's replies, and decides which of its audio is still to be heard. Pure."""


class Turns:
    """A reply is a turn. Turns below the floor are not to be heard any more, whatever still comes of them."""

    def __init__(self, first: int = 1) -> None:
        self._next = first
        self._current: int | None = None
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
        self._leftovers = False
        return self.generated()

    def interrupted(self, *, leftovers: bool) -> int:
        """The new floor: everything given out so far is over.

        Args:
            leftovers: Whether the voice may still send audio of the interrupted reply, until it completes the turn.
        """
        self._current = None
        self._leftovers = leftovers
        self.floor = self._next
        return self.floor
