"""One console: what it was told of the robots, and what it should be told next. Pure."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, NamedTuple

from reachy_link.admin import ROWS_MAX, Detail, Event, Fleet, Note, Recording, Role, Row, Said, Stranger, Turn, Watch, Whole

DETAIL_KEYS: Final = ("body", "may_show", "may_record")
"""The fields of a robot's detail that may change later, besides turns, transcript and notes."""


class Picture(NamedTuple):
    """How everything stands at a moment."""

    whole: Mapping[str, Any]
    """The fields of a ``Whole``, except the role."""
    rows: Mapping[str, Row]
    strangers: tuple[Stranger, ...]
    recordings: tuple[Recording, ...]


class Watcher:
    """One console that watches.

    Args:
        boot: The gateway's boot.
        key: The console's key.
        role: What the console may do.
        now: The time.
    """

    def __init__(self, boot: str, key: str, role: Role, now: float) -> None:
        self.key = key
        self.role: Role = role
        self.heard_at = now
        self.told_at = float("-inf")
        """When the console was last told how things stand."""
        self.robots: tuple[str, ...] = ()
        """The robots that the console looks at."""
        self._boot = boot
        self._seq = 0
        self._rows: Mapping[str, Row] | None = None
        """The rows that were told; None if none were, or if it is unknown whether they arrived."""
        self._more: tuple[object, object] = (), ()
        """The strangers and recordings that were told."""
        self._details: dict[str, tuple[object, ...]] = {}
        """What was told of the robots that the console looks at."""

    def asked(self, watch: Watch, now: float) -> None:
        """Take the console's request to watch, the first or a repeated one."""
        self.heard_at, self.robots = now, watch.robots
        if watch.afresh:
            self.lost()
        for robot in self._details.keys() - set(self.robots):
            del self._details[robot]

    @property
    def was_told(self) -> bool:
        """Whether the console knows anything."""
        return self._rows is not None

    def lost(self) -> None:
        """Note that a message to the console was lost: next it is told everything again."""
        self._rows = None
        self._details.clear()

    def news(self, picture: Picture, detail: Callable[[str], Mapping[str, Any]]) -> list[Fleet | Detail]:
        """What the console does not know yet; at least a sign of life.

        Args:
            picture: How everything stands.
            detail: Returns the fields of a robot's ``Detail``, with everything that is kept.
        """
        known, afresh = self._rows or {}, self._rows is None
        changed = [row for robot, row in picture.rows.items() if known.get(robot) != row]
        gone = tuple(robot for robot in known if robot not in picture.rows)
        more = picture.strangers, picture.recordings
        strangers, recordings = (now if afresh or now != then else None for now, then in zip(more, self._more, strict=True))
        self._rows, self._more = dict(picture.rows), more
        whole = Whole(**picture.whole, role=self.role)
        head = self._counted(afresh=afresh) | {"whole": whole, "gone": gone, "strangers": strangers, "recordings": recordings}
        pages = [tuple(changed[start : start + ROWS_MAX]) for start in range(0, len(changed), ROWS_MAX)] or [()]
        out: list[Fleet | Detail] = [Fleet(**head, afresh=afresh, rows=pages[0])]
        out += [Fleet(**self._counted(), rows=page) for page in pages[1:]]
        return out + self._detailed(picture.rows, detail)

    def event(self, robot: str, item: Turn | Said | Note) -> Event | None:
        """The message about something that happened to a robot; None if this console does not look at the robot."""
        if robot not in self._details or self._rows is None:
            return None
        head = self._counted() | {"robot": robot}
        match item:
            case Turn():
                return Event(**head, turn=item)
            case Said():
                return Event(**head, said=item)
        return Event(**head, note=item)

    def _detailed(self, rows: Mapping[str, Row], detail: Callable[[str], Mapping[str, Any]]) -> list[Detail]:
        out = []
        for robot in self.robots:
            if robot not in rows:
                self._details.pop(robot, None)
                continue
            fields = detail(robot)
            seen = tuple(fields[key] for key in DETAIL_KEYS)
            before = self._details.get(robot)
            if before == seen:
                continue
            # What was said before it may be shown is not kept, so only the changed fields need to be told.
            kept = fields if before is None else {key: fields[key] for key in DETAIL_KEYS}
            self._details[robot] = seen
            out.append(Detail(**self._counted(), robot=robot, **kept))
        return out

    def _counted(self, *, afresh: bool = False) -> dict[str, Any]:
        self._seq = 0 if afresh else self._seq + 1
        return {"boot": self._boot, "seq": self._seq}


def robots_of(watchers: Sequence[Watcher]) -> set[str]:
    """All robots that some console looks at."""
    return {robot for watcher in watchers for robot in watcher.robots}
