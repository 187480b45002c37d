"""Turns: numbers a voice's replies, and decides which of its audio is still to be heard. Pure."""

from typing import Final

LEFTOVERS_S: Final = 0.5
"""What was cut may still come, without a longer pause; the voice knows that it was interrupted, and begins nothing so soon."""
UNNOTICED_S: Final = 2.0
"""The same where the voice has not said so: it may not have heard the person yet."""
DOUBT_S: Final = 0.3
"""How long audio is held of which only what follows can tell whether it was cut before its first sound."""
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
        self._dropping_s = 0.0
        """Audio is dropped until there was none for so long."""
        self._interrupted_until = float("-inf")
        """Audio that comes before this may be of a reply that was cut before its first sound."""
        self._doubt_until: float | None = None
        self._doubt_s = DOUBT_S
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
        """Whether audio that comes now may be of a reply that was cut before its first sound; what follows will tell.

        The voice has said that it was interrupted, and nobody knows of what: its turn's end tells that it was this, the end of
        the generation, or ``DOUBT_S`` more of it, that it is a reply of its own.
        """
        if now < self._interrupted_until and self._doubt_until is None:
            self._doubt_until = now + self._doubt_s
        return self._doubt_until is not None and now < self._doubt_until

    @property
    def doubt_until(self) -> float | None:
        """When the doubt is over, if there is one."""
        return self._doubt_until

    def audio(self, now: float) -> int | None:
        """The turn that a piece of audio belongs to; None for what is left of a turn that was interrupted."""
        paused_s, self._audio_at = now - self._audio_at, now
        if paused_s < self._dropping_s:
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

        So is what the voice may still send of it. Not every voice says when that is over, so it is taken to be when nothing has
        come for a while. If the voice says itself that it was interrupted (``by_voice``) and had not begun, see :meth:`doubts`.

        Args:
            now: The time.
            by_voice: Whether the voice has said so.
            spoken: Whether the person is heard to speak.
        """
        self._current = None
        going_on = self._open and now - self._audio_at < UNNOTICED_S
        if going_on or self._dropping_s:
            self._dropping_s = LEFTOVERS_S if by_voice else max(self._dropping_s, UNNOTICED_S)
            self._audio_at = now
        elif by_voice:
            self._interrupted_until = now + LEFTOVERS_S
            self._doubt_until = None
            self._doubt_s = SPOKEN_DOUBT_S if spoken else DOUBT_S
        self._open = False
        self.floor = self._next
        return self.floor

    def _settle(self) -> None:
        self._dropping_s = 0.0
        self._interrupted_until = float("-inf")
        self._doubt_until = None
