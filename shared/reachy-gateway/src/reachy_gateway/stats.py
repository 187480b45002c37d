"""Statistics of robots, beside the tally: sums and histograms of fixed size. They read the feed. Pure."""

from bisect import bisect_left
from collections import Counter
from collections.abc import Sequence
from itertools import accumulate
from typing import Final, get_args

from reachy_gateway.feed import ConversationEnded, Ending, Faulted, Feed, KeysChanged, ToolCalled, TurnPlayed
from reachy_gateway.talk.latency import PARTS, TurnTimes
from reachy_gateway.voice import CallOutcome
from reachy_link.messages import BeatUp

ENDINGS: Final[tuple[Ending, ...]] = get_args(Ending)

TURN_S: Final = (0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 1.0, 1.25, 1.5, 2.0, 3.0, 5.0, 10.0, 30.0)
PART_S: Final = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0)
"""Bounds for the parts of a turn, except the voice's part, which is most of the turn."""
BARGE_IN_S: Final = (0.002, 0.005, 0.01, 0.02, 0.03, 0.04, 0.06, 0.1, 0.2, 0.5)
LATE_S: Final = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)
CALL_S: Final = (0.001, 0.005, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0)
LAG_S: Final = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)


class Buckets:
    """A histogram. It is written in one thread and read in another: a reader sees whole numbers, maybe one observation old."""

    __slots__ = ("_bounds", "_counts", "total")

    def __init__(self, bounds: Sequence[float]) -> None:
        self._bounds = bounds
        self._counts = [0] * (len(bounds) + 1)
        self.total = 0.0
        """The sum of the observed values."""

    def observe(self, value: float) -> None:
        """Count a value."""
        self._counts[bisect_left(self._bounds, value)] += 1
        self.total += value

    def cumulative(self) -> list[tuple[str, float]]:
        """How many values were at most each bound, in Prometheus's form."""
        return list(zip([*map(str, self._bounds), "+Inf"], accumulate(tuple(self._counts)), strict=True))


class RobotStats:
    """One robot's counters, over all of its starts, for as long as the gateway knows the robot."""

    def __init__(self) -> None:
        self.turns = {True: 0, False: 0}
        """Turns heard to their end (True), and cut turns (False)."""
        self.total_s = Buckets(TURN_S)
        self.last_total_s: float | None = None
        self.parts_s = {part: Buckets(TURN_S if part == "voice" else PART_S) for part in PARTS}
        self.barge_in_s = Buckets(BARGE_IN_S)
        self.underruns = 0
        self.concealed_ms = 0
        self.late_s = Buckets(LATE_S)
        """The latest mic chunk of each second: its delay beyond that of the fastest chunk of the last minute."""
        self.endings = dict.fromkeys(ENDINGS, 0)
        self.robot_drops = {"window": 0, "overflow": 0}
        """Chunks that the robot dropped while it was served here: of the mic (``window``) and of the speaker (``overflow``)."""
        self.link_losses = 0
        self.calls = Counter[tuple[str, CallOutcome]]()
        """Calls of tools, by name and outcome."""
        self._beaten: BeatUp | None = None
        """The newest beat."""

    def beat(self, beat: BeatUp) -> None:
        """Take the robot's counts from a beat. The first beat of a boot holds counts from before this gateway."""
        before, self._beaten = self._beaten, beat
        if before and before.boot == beat.boot:
            self.robot_drops["window"] += max(0, (beat.window or 0) - (before.window or 0))
            self.robot_drops["overflow"] += max(0, (beat.overflow or 0) - (before.overflow or 0))
            self.link_losses += max(0, (beat.losses or 0) - (before.losses or 0))

    def turn(self, times: TurnTimes) -> None:
        """Count a turn that is over."""
        self.turns[times.complete] += 1
        self.underruns += times.underruns
        self.concealed_ms += times.concealed_ms
        if times.total_ms is not None:
            self.last_total_s = times.total_ms / 1000
            self.total_s.observe(self.last_total_s)
        for part, ms in times.parts_ms.items():
            self.parts_s[part].observe(ms / 1000)
        if times.barge_in_ms is not None:
            self.barge_in_s.observe(times.barge_in_ms / 1000)


class Stats:
    """The statistics of all robots that the gateway knows, which are the admitted ones."""

    def __init__(self, feed: Feed) -> None:
        self.robots: dict[str, RobotStats] = {}
        self.call_s: dict[str, Buckets] = {}
        """How long calls of each tool took, for all robots together: they have the same tools."""
        feed.read(KeysChanged, self._keys_changed)
        feed.read(TurnPlayed, lambda it: self.of(it.robot).turn(it.times))
        feed.read(ToolCalled, self._called)
        feed.read(ConversationEnded, self._ended)
        feed.read(Faulted, self._faulted)

    def of(self, robot: str) -> RobotStats:
        """One robot's counters, made if they are new."""
        stats = self.robots.get(robot)
        if stats is None:
            stats = self.robots[robot] = RobotStats()
        return stats

    def _keys_changed(self, it: KeysChanged) -> None:
        for robot in self.robots.keys() - it.admitted:
            del self.robots[robot]

    def _called(self, it: ToolCalled) -> None:
        self.of(it.robot).calls[it.name, it.outcome] += 1
        seconds = self.call_s.get(it.name)
        if seconds is None:
            seconds = self.call_s[it.name] = Buckets(CALL_S)
        seconds.observe(it.seconds)

    def _ended(self, it: ConversationEnded) -> None:
        self.of(it.robot).endings[it.cause] += 1

    def _faulted(self, it: Faulted) -> None:
        if it.ends_conversation:
            self.of(it.robot).endings["fault"] += 1
