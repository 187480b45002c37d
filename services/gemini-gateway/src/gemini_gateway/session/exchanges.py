"""The transcript of a conversation, each question before its answer, in whatever order the pieces come. Pure.

The server promises no order. A question's transcript may come after the first words of its answer, or even after their end.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, Literal

Who = Literal["person", "robot"]

TURNS: Final = 20
CHARS: Final = 4000
"""How much transcript a new session is told when the old one cannot be resumed."""
SETTLE_S: Final = 2.0
"""How long after the end of an answer more words of the answer and of its question may come."""
PIECES_MAX: Final = 500
EXCHANGE_CHARS: Final = 20_000
"""The longest exchange. Once it is this long, the next piece begins another."""
UNANSWERED_S: Final = 30.0
"""How long after its last word an unanswered question is settled."""


@dataclass(frozen=True, slots=True)
class Keep:
    """A piece of transcript for the transcript file. The pieces come in the right order."""

    who: Who
    text: str
    at: float
    """When the piece came."""


@dataclass(slots=True)
class _Exchange:
    """A question and its answer, in pieces."""

    person: list[Keep] = field(default_factory=list)
    robot: list[Keep] = field(default_factory=list)
    chars: int = 0
    newest_at: float = float("inf")
    """When the newest piece came."""
    asked: bool = False
    """Whether some of the question came before the answer began."""
    answered_at: float = float("inf")
    """When the answer began."""
    over_at: float = float("inf")
    """When the answer was over."""


class Exchanges:
    """The newest exchanges: the settled ones in order, and the current one."""

    def __init__(self) -> None:
        self._settled: deque[tuple[Who, str]] = deque(maxlen=TURNS)
        self._now = _Exchange()

    def answers(self, now: float) -> None:
        """Audio of an answer has come. An answer may begin before the first word of its transcript comes."""
        if self._now.over_at == float("inf"):
            self._now.answered_at = min(self._now.answered_at, now)

    def said(self, who: Who, text: str, now: float, *, spoke_at: float) -> list[Keep]:
        """Take a piece of transcript, and return the pieces of an exchange that is settled now.

        Args:
            who: The speaker.
            text: The words.
            now: The time.
            spoke_at: When the person last began to speak.
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
        """Whether a piece begins a new exchange."""
        one = self._now
        if who == "robot":
            return spoke_at > one.over_at
        return spoke_at > one.answered_at or (one.asked and one.over_at < float("inf"))

    def over(self, now: float) -> None:
        """The answer is over."""
        if self._now.robot or self._now.answered_at <= now:
            self._now.over_at = min(self._now.over_at, now)

    def due(self, now: float) -> list[Keep]:
        """The pieces of the current exchange in order, if it has settled by now."""
        settled = now - self._now.over_at >= SETTLE_S or now - self._now.newest_at >= UNANSWERED_S
        return self.settle() if settled else []

    def settle(self) -> list[Keep]:
        """Close the current exchange, and return its pieces in order."""
        pieces = [*self._now.person, *self._now.robot]
        _fold(self._settled, pieces)
        self._now = _Exchange()
        return pieces

    def forget(self) -> None:
        """Forget everything that was said."""
        self._settled.clear()
        self._now = _Exchange()

    def inherit(self, said: Sequence[tuple[Who, str]]) -> None:
        """Take over what was said at another gateway."""
        self._settled.extend(said)

    def seed(self) -> tuple[tuple[Who, str], ...]:
        """The newest whole utterances, within ``TURNS`` and ``CHARS``, for a session that knows nothing."""
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
    """Append pieces. Consecutive pieces of one speaker become one utterance."""
    for piece in pieces:
        text = said.pop()[1] + piece.text if said and said[-1][0] == piece.who else piece.text
        said.append((piece.who, text[-CHARS:]))
