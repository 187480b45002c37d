"""Turns: numbers a voice's replies, and decides which of its audio is still to be heard. Pure."""

from typing import Final

LEFTOVERS_S: Final = 0.5
"""Audio that begins so soon after the voice said that it was interrupted may be left over of what was cut."""
UNNOTICED_S: Final = 2.0
"""Where the voice has not said so, it may not have heard the person yet: audio is dropped until there was none for so long."""
UNNOTICED_MAX_S: Final = 5.0
"""But not for longer than this, as the voice goes on all the same."""
DOUBT_S: Final = 0.3
"""How long audio is held of which only what follows can tell whether it was cut before its first sound."""
TAIL_S: Final = 0.5
"""The same of audio that may be the rest of an answer which was being heard."""
SPOKEN_DOUBT_S: Final = 1.0
"""The same where the person was heard to speak when the voice said that it was interrupted."""


class Turns:
    """A reply is a turn. Turns below the floor are not to be heard any more, whatever still comes of them."""

    def __init__(self, first: int = 1) -> None:
        self._next = first
        self._current: int | None = None
        self._open = False
        """Whether more of what the voice has begun may come."""
        self._audio_at = float("-inf")
        """When the newest audio came."""
        self._dropping_until = float("-inf")
        """Audio is dropped until there was none for ``UNNOTICED_S``, or until then."""
        self._interrupted_until = float("-inf")
        """Audio that begins before this is in doubt."""
        self._doubt_until: float | None = None
        self._doubt_s = DOUBT_S
        self.tail = False
        """Whether what is in doubt would be the rest of an answer that was being heard."""
        self.floor = first

    @property
    def next(self) -> int:
        """The turn that the next reply will be."""
        return self._next

    @property
    def newest(self) -> int:
        """The highest turn given out."""
        return self._next - 1

    def doubts(self, now: float) -> bool:
        """Whether audio that comes now may be left over of a reply that was cut; what follows will tell.

        The voice has said that it was interrupted. Its turn's end tells that this was the rest of it; the end of the
        generation, or more and more of it, that it is a reply of its own.
        """
        if now < self._interrupted_until and self._doubt_until is None:
            self._doubt_until = now + self._doubt_s
        return self._doubt_until is not None and now < self._doubt_until

    @property
    def doubt_until(self) -> float | None:
        """When the doubt is over, if there is one."""
        return self._doubt_until

    def believe(self) -> None:
        """What was in doubt is a reply of its own."""
        self._settle()

    def audio(self, now: float) -> int | None:
        """The turn that a piece of audio belongs to; None for what is left of a turn that was interrupted."""
        paused_s, self._audio_at = now - self._audio_at, now
        if now < self._dropping_until and paused_s < UNNOTICED_S:
            return None
        self._settle()
        self._open = True
        if self._current is None:
            self._current = self._next
            self._next += 1
        return self._current

    def generated(self) -> int | None:
        """All audio of the reply has come: the turn that ends, if one was open. The next audio is a new turn."""
        self._settle()
        self._open = False
        turn, self._current = self._current, None
        return turn

    def complete(self) -> int | None:
        """The voice's turn is over, or its connection is: the turn that ends, if one was open."""
        return self.generated()

    def interrupted(self, now: float, *, by_voice: bool = False, spoken: bool = False) -> int:
        """The new floor: everything given out so far is over.

        So is what the voice may still send of it. Not every voice says when that is over: see :meth:`doubts` for one that says
        itself that it was interrupted (``by_voice``), and ``UNNOTICED_S`` for one that does not.

        Args:
            now: The time.
            by_voice: Whether the voice has said so.
            spoken: Whether the person is heard to speak.
        """
        self._current = None
        going_on = (self._open and now - self._audio_at < UNNOTICED_S) or now < self._dropping_until
        if by_voice:
            self._interrupted_until, self._doubt_until = now + LEFTOVERS_S, None
            self.tail = going_on
            self._doubt_s = SPOKEN_DOUBT_S if spoken and not going_on else TAIL_S if going_on else DOUBT_S
            self._dropping_until = float("-inf")
        elif going_on:
            self._dropping_until = max(self._dropping_until, now + UNNOTICED_MAX_S)
            self._audio_at = now
        self._open = False
        self.floor = self._next
        return self.floor

    def _settle(self) -> None:
        self._dropping_until = self._interrupted_until = float("-inf")
        self._doubt_until = None
