"""Numbers a voice's replies as turns, and decides which of its audio may still be heard. Pure."""

from typing import Final

LEFTOVERS_S: Final = 0.5
"""Audio that begins this soon after the voice said that it was interrupted may belong to the cut reply."""
UNNOTICED_S: Final = 2.0
"""A voice that has not said "interrupted" may not have heard the person. Its audio is dropped until none came for so long."""
UNNOTICED_MAX_S: Final = 5.0
"""That dropping ends after so long in any case, because then the voice goes on regardless."""
DOUBT_S: Final = 0.3
"""How long audio is held that may have been cut before its first sound. What comes next decides."""
TAIL_S: Final = 0.5
"""The same for audio that may be the rest of an answer which was being heard."""
SPOKEN_DOUBT_S: Final = 1.0
"""The same if the speech gate heard the person when the voice said that it was interrupted."""


class Turns:
    """Numbers replies. A reply is a turn. Turns below the floor may not be heard any more, however late their audio comes."""

    def __init__(self, first: int = 1) -> None:
        self._next = first
        self._current: int | None = None
        self._open = False
        """Whether the voice has begun a reply and not ended it."""
        self._audio_at = float("-inf")
        """When the newest audio came."""
        self._dropping_until = float("-inf")
        """Audio is dropped until this time, or until none has come for ``UNNOTICED_S``."""
        self._interrupted_until = float("-inf")
        """Audio that begins before this time is in doubt."""
        self._doubt_until: float | None = None
        self._doubt_s = DOUBT_S
        self.tail = False
        """Whether doubtful audio would be the rest of an answer that was being heard."""
        self.floor = first

    @property
    def next(self) -> int:
        """The number of the next reply's turn."""
        return self._next

    @property
    def newest(self) -> int:
        """The highest turn number given out so far."""
        return self._next - 1

    def doubts(self, now: float) -> bool:
        """Whether audio that comes now may belong to a reply that was cut. What comes next decides.

        This is so after the voice has said that it was interrupted. If the voice's turn then ends, the audio was the rest of
        the cut reply. If the generation ends (and no answer was being heard), or more and more audio comes, the audio is a
        reply of its own.
        """
        if now < self._interrupted_until and self._doubt_until is None:
            self._doubt_until = now + self._doubt_s
        return self._doubt_until is not None and now < self._doubt_until

    @property
    def doubt_until(self) -> float | None:
        """When the doubt ends; None if there is none."""
        return self._doubt_until

    def believe(self) -> None:
        """End the doubt: the audio is a reply of its own."""
        self._settle()

    def audio(self, now: float) -> int | None:
        """The turn of a piece of audio; None if the audio belongs to an interrupted turn."""
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
        """Note that all audio of the reply has come. Returns the turn that ends, if any. The next audio is a new turn."""
        self._settle()
        self._open = False
        turn, self._current = self._current, None
        return turn

    def complete(self) -> int | None:
        """Note that the voice's turn, or its connection, is over. Returns the turn that ends, if any."""
        return self.generated()

    def interrupted(self, now: float, *, by_voice: bool = False, spoken: bool = False) -> int:
        """End all turns so far. Returns the new floor.

        Audio that the voice may still send of them is dropped. Not every voice tells when this audio ends: see :meth:`doubts`
        for a voice that says it was interrupted (``by_voice``), and ``UNNOTICED_S`` for a voice that does not.

        Args:
            now: The time.
            by_voice: Whether the voice has said that it was interrupted.
            spoken: Whether the speech gate hears the person.
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
