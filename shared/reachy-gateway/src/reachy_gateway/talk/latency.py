"""The parts of a turn's latency, from the end of the person's speech to the first sample at the speaker. Pure."""

from dataclasses import dataclass, field
from typing import Final, Literal, get_args

from reachy_gateway.voice import ToolEnded
from reachy_link.messages import Played

Part = Literal["link_up", "voice", "gateway", "link_down", "playout"]
PARTS: Final[tuple[Part, ...]] = get_args(Part)
"""In the order of time. ``link_up``: the last chunk with speech travels. ``voice``: the voice hears the end and answers.
``gateway``: the answer is converted and published. ``link_down``: its first chunk travels. ``playout``: it begins to play."""

KEEP: Final = 8
"""How many turns without a report are kept. If a robot reports none, the oldest are forgotten."""
CALLS_MAX: Final = 8
"""How many calls of tools are told with a turn. Further ones are left out."""


@dataclass(frozen=True, slots=True)
class TurnTimes:
    """The times of a turn that is over at the speaker, in ms. None means unknown.

    The total and the playout's part are measured on the robot's own clock. The two ways of the link need both clocks. If the
    gateway's estimate of the robot's clock is wrong, one way comes out too long and the other too short by that error. A part
    is never below 0.
    """

    turn: int
    complete: bool
    played_ms: int
    underruns: int
    concealed_ms: int
    total_ms: float | None
    """None for a turn that answers no speech."""
    parts_ms: dict[Part, float]
    """The parts that are known."""
    clock_error_ms: float = 0.0
    """By how much a part came out below 0 before it was set to 0: a lower bound of the clocks' error."""
    barge_in_ms: float | None = None
    """From the interruption at the gateway to the speaker's silence, if an interruption cut the turn."""
    calls: tuple[ToolEnded, ...] = ()
    """Calls of tools that ended since the turn before."""

    def line(self) -> str:
        """One line for the log, as ``key=value``. Unknown values are left out."""
        told: dict[str, object] = {"turn": self.turn, "outcome": "done" if self.complete else "cut"}
        told |= _rounded({"total_ms": self.total_ms, **{f"{part}_ms": self.parts_ms.get(part) for part in PARTS}})
        told |= _rounded({"barge_in_ms": self.barge_in_ms, "clock_error_ms": self.clock_error_ms or None})
        told |= {"played_ms": self.played_ms, "underruns": self.underruns, "concealed_ms": self.concealed_ms}
        if self.calls:
            told["tools"] = ",".join(f"{call.name}:{call.outcome}:{call.seconds * 1000:.0f}ms" for call in self.calls)
        return " ".join(f"{key}={value}" for key, value in told.items())


@dataclass(slots=True)
class _Trace:
    """A turn on its way. Times are in microseconds on the gateway's clock, except ``mark_us``."""

    voiced_us: int
    mark_us: int | None = None
    """The end of the speech that the turn answers, on the robot's clock."""
    marked_us: int | None = None
    """When that chunk of speech arrived."""
    published_us: int | None = None
    interrupted_us: int | None = None
    calls: list[ToolEnded] = field(default_factory=list)


class Latency:
    """Follows the turns of one conversation through the gateway."""

    def __init__(self) -> None:
        self._traces: dict[int, _Trace] = {}
        self._mark_us = 0
        self._marked_us = 0
        self._answered_us = 0
        self._newest = -1
        self._calls: list[ToolEnded] = []
        """Calls of tools that ended since the newest turn's first audio."""

    def called(self, call: ToolEnded) -> None:
        """Note a call of a tool that has ended. It belongs to the next turn; without one, to the next turn that is over."""
        if len(self._calls) < CALLS_MAX:
            self._calls.append(call)

    def spoke(self, mark_us: int, now: float) -> None:
        """Note that the newest chunk with speech has arrived. The robot's clock has stamped it ``mark_us``."""
        self._mark_us, self._marked_us = mark_us, _us(now)

    def voiced(self, turn: int, now: float) -> None:
        """Note that the voice has given audio of a turn. Only the first audio counts."""
        if turn <= self._newest:
            return
        self._newest = turn
        trace = self._traces[turn] = _Trace(_us(now), calls=self._calls)
        self._calls = []
        if self._mark_us > self._answered_us:
            trace.mark_us, trace.marked_us = self._mark_us, self._marked_us
            self._answered_us = self._mark_us  # a turn without new speech before it answers no speech
        if len(self._traces) > KEEP:
            del self._traces[min(self._traces)]

    def unpublished(self, turn: int) -> bool:
        """Whether no audio of the turn is known to be published yet."""
        trace = self._traces.get(turn)
        return trace is not None and trace.published_us is None

    def published(self, turn: int, now: float) -> None:
        """Note that the turn's first chunk is on its way to the robot."""
        if trace := self._traces.get(turn):
            trace.published_us = _us(now)

    def interrupted(self, now: float) -> None:
        """Note that all turns so far are interrupted."""
        for trace in self._traces.values():
            if trace.interrupted_us is None:
                trace.interrupted_us = _us(now)

    def played(self, played: Played, offset_us: int | None) -> TurnTimes:
        """Take the robot's report on a turn.

        Args:
            played: The report.
            offset_us: The robot's clock minus the gateway's, if known.
        """
        trace = self._traces.pop(played.turn, None)
        for older in [turn for turn in self._traces if turn < played.turn]:
            del self._traces[older]  # turns end in order, so the report on this one was lost
        total_ms: float | None = played.latency_ms  # an older robot reports only this
        if trace and trace.mark_us is not None and played.started_us is not None and played.started_us >= trace.mark_us:
            total_ms = (played.started_us - trace.mark_us) / 1000
        parts = _parts(trace, played, offset_us) if trace else {}
        barge_in_ms = None
        if trace and trace.interrupted_us is not None and played.cut_us is not None and offset_us is not None:
            barge_in_ms = (played.cut_us - offset_us - trace.interrupted_us) / 1000
        calls = [*(trace.calls if trace else ()), *(self._calls if played.turn == self._newest else ())]
        if played.turn == self._newest:
            self._calls = []
        below = [-ms for ms in (*parts.values(), barge_in_ms) if ms is not None and ms < 0]
        return TurnTimes(
            played.turn,
            played.complete,
            played.played_ms,
            played.underruns,
            played.concealed_ms,
            total_ms,
            {part: max(0.0, ms) for part, ms in parts.items()},
            max(below, default=0.0),
            None if barge_in_ms is None else max(0.0, barge_in_ms),
            tuple(calls[:CALLS_MAX]),
        )


def _parts(trace: _Trace, played: Played, offset_us: int | None) -> dict[Part, float]:
    """The times between moments that are both known. ``offset_us`` is the robot's clock minus ours."""

    def ours(robot_us: int | None) -> int | None:
        return None if robot_us is None or offset_us is None else robot_us - offset_us

    spans: dict[Part, tuple[int | None, int | None]] = {
        "link_up": (ours(trace.mark_us), trace.marked_us),
        "voice": (trace.marked_us, trace.voiced_us),
        "gateway": (trace.voiced_us, trace.published_us),
        "link_down": (trace.published_us, ours(played.arrived_us)),
        "playout": (played.arrived_us, played.started_us),
    }
    return {part: (end - start) / 1000 for part, (start, end) in spans.items() if start is not None and end is not None}


def _rounded(values: dict[str, float | None]) -> dict[str, object]:
    return {key: f"{value:.1f}" for key, value in values.items() if value is not None}


def _us(now: float) -> int:
    return int(now * 1e6)
