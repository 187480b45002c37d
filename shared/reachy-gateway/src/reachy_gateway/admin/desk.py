"""Keeps what operators want to know of each robot while nobody looks: bounded and cheap. Pure.

It reads the feed. It keeps what was said only of robots whose persona lets a console show it.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from statistics import median
from typing import Final

from reachy_gateway.feed import (
    Away,
    BudgetNews,
    Connected,
    ConversationEnded,
    Dropped,
    Faulted,
    Feed,
    KeysChanged,
    SessionNews,
    Transcribed,
    TurnPlayed,
)
from reachy_link.admin import NOTES_KEPT, SAID_KEPT, STRANGERS_MAX, TURNS_KEPT, Call, Note, Said, Stranger, Turn

STRANGERS_KEPT: Final = 256
"""How many refused keys are kept. Beyond this the key that was refused longest ago is forgotten."""
WORDS_MAX: Final = 500


@dataclass(slots=True)
class Kept:
    """What is kept of one robot."""

    changed_at: float | None = None
    """When the robot came or left."""
    left: str = ""
    """Why the robot left."""
    refused: tuple[float, str] | None = None
    """When the robot's hello was last refused, and why."""
    turns: deque[Turn] = field(default_factory=lambda: deque(maxlen=TURNS_KEPT))
    p50_ms: float | None = None
    """The median of these turns' total latencies."""
    said: deque[Said] = field(default_factory=lambda: deque(maxlen=SAID_KEPT))
    notes: deque[Note] = field(default_factory=lambda: deque(maxlen=NOTES_KEPT))

    def played(self, turn: Turn) -> None:
        """Add a turn that is over."""
        self.turns.append(turn)
        totals = [turn.total_ms for turn in self.turns if turn.total_ms is not None]
        self.p50_ms = round(median(totals), 1) if totals else None


@dataclass(slots=True)
class _Refused:
    address: str
    at: float
    times: int = 0


class Desk:
    """What is kept of all robots, and of refused keys.

    Args:
        now: Returns the time of day, in seconds since 1970.
        may_show: Whether a robot's persona lets a console show what is said.
    """

    def __init__(self, feed: Feed, now: Callable[[], float], may_show: Callable[[str], bool]) -> None:
        self._now = now
        self._may_show = may_show
        self._kept: dict[str, Kept] = {}
        self._refused: dict[str, _Refused] = {}
        self.refusals = 0
        """Grows whenever the result of :meth:`strangers` changes."""
        self.on_event: Callable[[str, Turn | Said | Note], None] = lambda *_: None
        """Called with each turn, transcript or note that is kept."""
        feed.read(Dropped, self._dropped)
        feed.read(KeysChanged, self._keys_changed)
        feed.read(Connected, self._connected)
        feed.read(ConversationEnded, self._ended)
        feed.read(Faulted, self._faulted)
        feed.read(Away, self._away)
        feed.read(SessionNews, self._session_news)
        feed.read(BudgetNews, lambda it: self._note(it.robot, it.words, is_trouble=True))
        feed.read(TurnPlayed, self._turn_played)
        feed.read(Transcribed, self._transcribed)

    def of(self, robot: str) -> Kept:
        """What is kept of one robot, made if it is new."""
        kept = self._kept.get(robot)
        if kept is None:
            kept = self._kept[robot] = Kept()
        return kept

    def forget_said(self, robot: str) -> None:
        """Forget what was said: the robot's persona no longer lets anybody see it."""
        self.of(robot).said.clear()

    def strangers(self) -> tuple[Stranger, ...]:
        """The keys that were refused last, the newest first."""
        newest = sorted(self._refused.items(), key=lambda item: -item[1].at)[:STRANGERS_MAX]
        return tuple(Stranger(key=key, address=it.address, at=it.at, times=it.times) for key, it in newest)

    def refused_keys(self, start: str) -> list[str]:
        """The refused keys that begin with these characters."""
        return [key for key in self._refused if key.startswith(start)]

    def trouble(self, robot: str, words: str) -> None:
        """Note a trouble that an operator should know of."""
        self._note(robot, words, is_trouble=True)

    def _note(self, robot: str, words: str, *, is_trouble: bool = False) -> None:
        note = Note(at=self._now(), words=words[:WORDS_MAX], is_trouble=is_trouble)
        self.of(robot).notes.append(note)
        self.on_event(robot, note)

    def _dropped(self, it: Dropped) -> None:
        if it.key:
            self._refuse(it.key, it.address)
        elif it.cause == "refused":
            self.of(it.robot).refused = self._now(), it.words
        if it.is_news and it.robot and it.words:
            self._note(it.robot, f"{it.words} ({it.cause})", is_trouble=True)

    def _refuse(self, key: str, address: str) -> None:
        self.refusals += 1
        known = self._refused.pop(key, None) or _Refused(address, 0.0)
        known.address, known.at, known.times = address, self._now(), known.times + 1
        if len(self._refused) >= STRANGERS_KEPT:
            del self._refused[next(iter(self._refused))]
        self._refused[key] = known

    def admitted(self, key: str) -> None:
        """Forget a refused key, because it has been admitted."""
        if self._refused.pop(key, None):
            self.refusals += 1

    def _keys_changed(self, it: KeysChanged) -> None:
        for robot in self._kept.keys() - it.admitted:
            del self._kept[robot]

    def _connected(self, it: Connected) -> None:
        kept = self.of(it.robot)
        kept.changed_at, kept.left, kept.refused = self._now(), "", None
        self._note(it.robot, f"connected ({it.software})")

    def _ended(self, it: ConversationEnded) -> None:
        kept = self.of(it.robot)
        kept.changed_at, kept.left = self._now(), it.words
        self._note(it.robot, it.words, is_trouble=it.cause in ("gone", "fault"))

    def _faulted(self, it: Faulted) -> None:
        self._note(it.robot, f"a bug in the gateway ({type(it.error).__name__}); see its log", is_trouble=True)

    def _away(self, it: Away) -> None:
        words = "is heard again" if it.silent_s is None else f"not heard for {it.silent_s:.0f} s"
        self._note(it.robot, words, is_trouble=it.silent_s is not None)

    def _session_news(self, it: SessionNews) -> None:
        self._note(it.robot, f"{it.words} ({it.cause})", is_trouble=it.is_news or it.cause == "refused")

    def _turn_played(self, it: TurnPlayed) -> None:
        times = it.times
        turn = Turn(
            turn=times.turn,
            at=self._now(),
            complete=times.complete,
            total_ms=_rounded(times.total_ms),
            parts_ms={part: round(ms, 1) for part, ms in times.parts_ms.items()},
            barge_in_ms=_rounded(times.barge_in_ms),
            played_ms=times.played_ms,
            underruns=times.underruns,
            concealed_ms=times.concealed_ms,
            calls=tuple(Call(name=it.name, outcome=it.outcome, ms=round(it.seconds * 1000)) for it in times.calls),
        )
        self.of(it.robot).played(turn)
        self.on_event(it.robot, turn)

    def _transcribed(self, it: Transcribed) -> None:
        if self._may_show(it.robot):
            said = Said(at=self._now(), who=it.who, text=it.text, turn=it.turn)
            self.of(it.robot).said.append(said)
            self.on_event(it.robot, said)
        else:  # also forget what was said while it could still be shown
            self.forget_said(it.robot)


def _rounded(ms: float | None) -> float | None:
    return None if ms is None else round(ms, 1)
