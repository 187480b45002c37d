"""What was said, in the order in which people said it: a question before its answer, whenever its transcript comes. Pure.

The server promises no order: a question's transcript may come behind the first words of its answer, and even after its end.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, Literal

Who = Literal["person", "robot"]

TURNS: Final = 20
CHARS: Final = 4000
"""How much a new session is told of an old one that cannot be resumed."""
SETTLE_S: Final = 2.0
"""So long after the end of an answer more words of it, and of its question, may come."""
PIECES_MAX: Final = 500
EXCHANGE_CHARS: Final = 20_000
"""Of one exchange; with more the exchange is over, and the next piece begins another."""
UNANSWERED_S: Final = 30.0
"""So long after its last word a question that got no answer is settled."""


@dataclass(frozen=True, slots=True)
class Keep:
    """A piece of transcript in its place, for a file."""

    who: Who
    text: str
    at: float
    """When it came."""


@dataclass(slots=True)
class _Exchange:
    """A question and its answer, in pieces."""

    person: list[Keep] = field(default_factory=list)
    robot: list[Keep] = field(default_factory=list)
    chars: int = 0
    newest_at: float = float("inf")
    """When its newest piece came."""
    asked: bool = False
    """Whether some of the question came before the answer began."""
    answered_at: float = float("inf")
    """When the answer began."""
    over_at: float = float("inf")
    """When the answer was over."""


class Exchanges:
    """The newest exchanges: those that are settled in order, and the one that goes on."""

    def __init__(self) -> None:
        self._settled: deque[tuple[Who, str]] = deque(maxlen=TURNS)
        self._now = _Exchange()

    def answers(self, now: float) -> None:
        """An answer goes on; it may have begun before its first word comes."""
        if self._now.over_at == float("inf"):
            self._now.answered_at = min(self._now.answered_at, now)

    def said(self, who: Who, text: str, now: float, *, spoke_at: float) -> list[Keep]:
        """Take a piece.

        Args:
            who: Who said it.
            text: What was said.
            now: The time.
            spoke_at: When the person began to speak last.
        """
        pieces = len(self._now.person) + len(self._now.robot)
        full = pieces >= PIECES_MAX or self._now.chars >= EXCHANGE_CHARS
        out = self.settle() if full or self._begins(who, spoke_at) else self.due(now)
        if who == "robot":
            self._now.answered_at = min(self._now.answered_at, now)
        elif self._now.answered_at == float("inf"):
            self._now.asked = True
        self._now.chars += len(text)
        self._now.newest_at = now
        (self._now.person if who == "person" else self._now.robot).append(Keep(who, text, now))
        return out

    def _begins(self, who: Who, spoke_at: float) -> bool:
        """Whether a piece begins an exchange of its own."""
        one = self._now
        if who == "robot":
            return spoke_at > one.over_at
        return spoke_at > one.answered_at or (one.asked and one.over_at < float("inf"))

    def over(self, now: float) -> None:
        """The answer is over."""
        if self._now.robot or self._now.answered_at <= now:
            self._now.over_at = min(self._now.over_at, now)

    def due(self, now: float) -> list[Keep]:
        """What has settled by now, in order."""
        settled = now - self._now.over_at >= SETTLE_S or now - self._now.newest_at >= UNANSWERED_S
        return self.settle() if settled else []

    def settle(self) -> list[Keep]:
        """Close the exchange that goes on: no more of it will come."""
        pieces = [*self._now.person, *self._now.robot]
        _fold(self._settled, pieces)
        self._now = _Exchange()
        return pieces

    def forget(self) -> None:
        """Know nothing any more of what was said."""
        self._settled.clear()
        self._now = _Exchange()

    def inherit(self, said: Sequence[tuple[Who, str]]) -> None:
        """Know what was said at another gateway."""
        self._settled.extend(said)

    def seed(self) -> tuple[tuple[Who, str], ...]:
        """The newest of it, for a session that knows nothing: whole utterances, within ``TURNS`` and ``CHARS``."""
        said = deque(self._settled, maxlen=TURNS)
        _fold(said, [*self._now.person, *self._now.robot])
        seed: list[tuple[Who, str]] = []
        left = CHARS
        for who, text in reversed(said):
            if len(text) > left:
                break
            left -= len(text)
            seed.append((who, text))
        return tuple(reversed(seed))


def _fold(said: deque[tuple[Who, str]], pieces: Sequence[Keep]) -> None:
    """Append pieces, those of one speaker in a row as one."""
    for piece in pieces:
        text = said.pop()[1] + piece.text if said and said[-1][0] == piece.who else piece.text
        said.append((piece.who, text[-CHARS:]))
