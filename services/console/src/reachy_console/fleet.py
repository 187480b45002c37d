"""The console's copy of each gateway's state, put together from its messages, with its age. Pure: time is passed in."""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final, Literal

from reachy_link import admin

STALE_S: Final = 2.5
"""A gateway reports every 0.8 s. After this long without a report its data is stale."""
GONE_S: Final = 8.0
ASK_S: Final = 1.0

News = admin.Fleet | admin.Detail | admin.Event | admin.Levels


@dataclass(slots=True)
class _Looked:
    """The details of a robot that a page shows."""

    head: admin.Detail
    turns: deque[admin.Turn] = field(default_factory=lambda: deque(maxlen=admin.TURNS_KEPT))
    said: deque[admin.Said] = field(default_factory=lambda: deque(maxlen=admin.SAID_KEPT))
    notes: deque[admin.Note] = field(default_factory=lambda: deque(maxlen=admin.NOTES_KEPT))


class Gateway:
    """The known state of one gateway.

    Args:
        name: The gateway's address, as it was given.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.whole: admin.Whole | None = None
        self.rows: dict[str, admin.Row] = {}
        self.heard_at: float | None = None
        self._strangers: tuple[admin.Stranger, ...] = ()
        self._recordings: tuple[admin.Recording, ...] = ()
        self._looked: dict[str, _Looked] = {}
        self._boot = ""
        self._seq = -1
        self._asked_at = float("-inf")

    def standing(self, now: float) -> Literal["here", "stale", "gone"]:
        """``here``, ``stale`` or ``gone``, by the age of the last report."""
        age_s = float("inf") if self.heard_at is None else now - self.heard_at
        return "here" if age_s < STALE_S else "stale" if age_s < GONE_S else "gone"

    def is_to_tell_anew(self, now: float) -> bool:
        """Whether to ask the gateway for everything afresh; True at most once in ``ASK_S``, so that it has time to answer."""
        asks = now - self._asked_at >= ASK_S
        self._asked_at = now if asks else self._asked_at
        return asks

    def take(self, news: News, now: float) -> bool:
        """Take a message. False if an earlier one was missed: the message is ignored, and all must be sent afresh."""
        if isinstance(news, admin.Levels):
            return True
        begins = isinstance(news, admin.Fleet) and news.afresh
        if not begins and (news.boot != self._boot or news.seq != self._seq + 1):
            return False
        self._boot, self._seq, self.heard_at = news.boot, news.seq, now
        match news:
            case admin.Fleet():
                self._fleet(news)
            case admin.Detail():
                self._detail(news)
            case admin.Event(robot=robot) if looked := self._looked.get(robot):
                if news.turn:
                    looked.turns.append(news.turn)
                if news.said:
                    looked.said.append(news.said)
                if news.note:
                    looked.notes.append(news.note)
        return True

    def all_rows(self) -> Iterator[admin.Fleet]:
        """All rows, refused keys and recordings, as messages for a page that knows nothing yet."""
        rows = list(self.rows.values())
        pages = [tuple(rows[start : start + admin.ROWS_MAX]) for start in range(0, len(rows), admin.ROWS_MAX)] or [()]
        for number, page in enumerate(pages):
            more = {} if number else {"strangers": self._strangers, "recordings": self._recordings, "whole": self.whole}
            yield admin.Fleet(boot=self._boot or "0" * 16, seq=0, afresh=not number, rows=page, **more)  # type: ignore[arg-type]

    def detail(self, robot: str) -> admin.Detail | None:
        """The details of a shown robot, for another page; None if nothing is known."""
        looked = self._looked.get(robot)
        if looked is None:
            return None
        kept = {"turns": tuple(looked.turns), "said": tuple(looked.said), "notes": tuple(looked.notes)}
        return looked.head.model_copy(update=kept)

    def forget(self, robots: set[str]) -> None:
        """Drop the details of all robots except these, which pages still show."""
        for robot in self._looked.keys() - robots:
            del self._looked[robot]

    def _fleet(self, news: admin.Fleet) -> None:
        if news.afresh:
            self.rows.clear()
            self._looked.clear()
        self.whole = news.whole or self.whole
        for row in news.rows:
            self.rows[row.robot] = row
        for robot in news.gone:
            self.rows.pop(robot, None)
            self._looked.pop(robot, None)
        self._strangers = self._strangers if news.strangers is None else news.strangers
        self._recordings = self._recordings if news.recordings is None else news.recordings

    def _detail(self, news: admin.Detail) -> None:
        head = news.model_copy(update={"turns": None, "said": None, "notes": None})
        looked = self._looked.get(news.robot)
        if looked is None:
            looked = self._looked[news.robot] = _Looked(head)
        looked.head = head
        if not news.may_show:
            looked.said.clear()
        for kept, told in ((looked.turns, news.turns), (looked.said, news.said), (looked.notes, news.notes)):
            if told is not None:
                kept.clear()
                kept.extend(told)  # type: ignore[arg-type]
