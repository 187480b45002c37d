"""Metrics for Prometheus, read from the hub and its robots at each scrape; ``docs/operations.md`` lists them.

Nothing is pushed. The robots' numbers are plain numbers (:mod:`reachy_gateway.stats`). The thread that answers a scrape turns
them into metrics. It takes one copy of each collection that the event loop writes.
"""

import asyncio
from collections.abc import Callable, Collection, Iterable, Iterator
from typing import Final, get_args

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.registry import Collector

from reachy_gateway.fleet.claiming import OUTCOMES
from reachy_gateway.fleet.member import Member
from reachy_gateway.hub import Hub
from reachy_gateway.robot import Robot
from reachy_gateway.stats import LAG_S, Buckets, RobotStats
from reachy_link.messages import Phase
from reachy_link.sockets import next_tick
from reachy_service.health import Page

Source = Callable[[Collection[str]], Iterable[Metric]]
"""A voice's own metrics of these connected robots. Called from another thread, so it may only read."""

LAG_EVERY_S: Final = 0.1
LATE_EVERY: Final = 10
"""In every tenth look at the loop, the latest mic chunk since the last such look is counted."""
STATES: Final = ("starting", *get_args(Phase), "away", "lost", "absent")
"""``starting``: the voice has not yet said whether it has a connection. ``away``: the robot has not been heard for 3 s.
``lost``: not for 60 s. ``absent``: the robot was never here, said goodbye, or was sent away."""
ALARMING: Final = ("impostor", "clone", "subscription", "upstream", "flood")
"""Causes that are told as 0 before they first occur, because Prometheus sees no increase in a series that begins."""


class Metrics(Collector):
    """The metrics of a gateway's process.

    Args:
        sources: The voice's own metrics.
        registry: Where they are registered, together with the process's metrics.
    """

    def __init__(self, hub: Hub, sources: Iterable[Source] = (), registry: CollectorRegistry | None = None) -> None:
        self._hub = hub
        self._sources = tuple(sources)
        self._lag_s = Buckets(LAG_S)
        self._registry = registry or CollectorRegistry()
        self._registry.register(self)
        ProcessCollector(registry=self._registry)

    def page(self) -> Page:
        """The answer to ``GET /metrics``."""
        return Page(CONTENT_TYPE_LATEST, generate_latest(self._registry))

    async def watch(self) -> None:
        """Measure how late the event loop is, and once a second how late the microphones are, until cancelled."""
        loop = asyncio.get_running_loop()
        looks, due = 0, next_tick(loop.time(), LAG_EVERY_S)
        while True:
            due += LAG_EVERY_S
            await asyncio.sleep(due - loop.time())  # after a stall, missed looks run without sleep, and each is counted
            self._lag_s.observe(max(0.0, loop.time() - due))
            looks += 1
            if looks % LATE_EVERY == 0:
                self._count_lateness()

    def _count_lateness(self) -> None:
        for robot in self._hub.robots.values():
            if (late_us := robot.peer.take_latest_us()) is not None:
                self._hub.stats.of(robot.peer.robot).late_s.observe(late_us / 1e6)

    def describe(self) -> Iterable[Metric]:
        """Nothing: this collector is not asked for values before the gateway runs."""
        return ()

    def collect(self) -> Iterator[Metric]:
        """All metrics, as of now."""
        admitted = self._hub.admitted
        robots = {name: robot for name, robot in dict(self._hub.robots).items() if name in admitted}
        yield from self._of_the_gateway(len(robots), admitted)
        stats = {name: self._hub.stats.robots.get(name) or RobotStats() for name in robots}
        yield from self._of_connections(robots, stats, admitted)
        yield from _of_turns(stats)
        yield from _of_tools(stats, dict(self._hub.stats.call_s))
        yield from _of_links(robots, stats)
        for source in self._sources:
            yield from source(robots.keys())

    def _of_the_gateway(self, connected: int, admitted: Collection[str]) -> Iterator[Metric]:
        software = GaugeMetricFamily("reachylink_gateway_info", "1, with what this gateway is.", labels=["software"])
        software.add_metric([self._hub.software], 1)
        yield software
        yield GaugeMetricFamily("reachylink_robots_connected", "Robots that are served.", connected)
        yield GaugeMetricFamily("reachylink_robots_admitted", "Robots with an admitted key.", len(admitted))
        yield GaugeMetricFamily("reachylink_robots_max", "The most robots that are served at a time.", self._hub.max_robots)
        lag = HistogramMetricFamily("reachylink_loop_lag_seconds", "How late the event loop ran a timer, ten times a second.")
        lag.add_metric([], self._lag_s.cumulative(), self._lag_s.total)
        yield lag
        if fleet := self._hub.fleet:
            yield from _of_the_fleet(fleet)
        drops = CounterMetricFamily(
            "reachylink_drops",
            "What was dropped, refused or missed, by cause. The robot is empty if none is known.",
            labels=["robot", "cause"],
        )
        counts: dict[tuple[str, str], int] = {(cause, robot): 0 for robot in admitted for cause in ALARMING}
        for (cause, peer), count in dict(self._hub.tally.counts).items():
            if peer in admitted or not peer or peer in self._hub.tally.strangers:
                key: tuple[str, str] = cause, peer if peer in admitted else ""
                counts[key] = counts.get(key, 0) + count
        for (name, robot), count in counts.items():
            drops.add_metric([robot, name], count)
        yield drops

    def _of_connections(
        self, robots: dict[str, Robot], stats: dict[str, RobotStats], admitted: Collection[str]
    ) -> Iterator[Metric]:
        state = GaugeMetricFamily("reachylink_robot_state", "1 for the state that the robot is in.", labels=["robot", "state"])
        since = GaugeMetricFamily("reachylink_robot_connected_seconds", "How long the robot is served.", labels=["robot"])
        ended = CounterMetricFamily(
            "reachylink_conversations_ended", "Conversations that ended, by cause.", labels=["robot", "cause"]
        )
        for name in admitted:
            phase = _state(robots[name]) if name in robots else "lost" if name in self._hub.lost else "absent"
            for known in STATES:
                state.add_metric([name, known], known == phase)
        for name, robot in robots.items():
            since.add_metric([name], self._hub.now() - robot.since)
            for cause, count in stats[name].endings.items():
                ended.add_metric([name, cause], count)
        yield from (state, since, ended)


def _of_the_fleet(fleet: Member) -> Iterator[Metric]:
    yield GaugeMetricFamily("reachylink_store_up", "1 while the fleet's store works.", bool(fleet.up))
    claims = CounterMetricFamily("reachylink_claims", "Claims of robots, by outcome.", labels=["outcome"])
    for outcome in OUTCOMES:
        claims.add_metric([outcome], fleet.counts[outcome])
    robots = GaugeMetricFamily("reachylink_fleet_robots", "Robots that each gateway of the fleet serves.", labels=["gateway"])
    most = GaugeMetricFamily("reachylink_fleet_robots_max", "The most robots each gateway serves.", labels=["gateway"])
    for name, it in {it.name: it for it in fleet.neighbours}.items():
        robots.add_metric([name], it.robots)
        most.add_metric([name], it.robots_max)
    yield from (claims, robots, most)


def _state(robot: Robot) -> str:
    conversation = robot.conversation
    return "away" if robot.away else (conversation.phase if conversation else None) or "starting"


def _of_turns(stats_of: dict[str, RobotStats]) -> Iterator[Metric]:
    turns = CounterMetricFamily(
        "reachylink_turns", "Turns that are over: heard to their end, or cut.", labels=["robot", "outcome"]
    )
    total = HistogramMetricFamily(
        "reachylink_turn_latency_seconds", "From the end of speech to the first sample at the speaker.", labels=["robot"]
    )
    last = GaugeMetricFamily("reachylink_last_turn_latency_seconds", "The latency of the last turn.", labels=["robot"])
    parts = HistogramMetricFamily("reachylink_turn_part_seconds", "The parts of the turn latency.", labels=["robot", "part"])
    barge_in = HistogramMetricFamily(
        "reachylink_barge_in_seconds", "From an interruption at the gateway to the silence of the speaker.", labels=["robot"]
    )
    underruns = CounterMetricFamily("reachylink_underruns", "How often the speaker ran dry within a turn.", labels=["robot"])
    concealed = CounterMetricFamily("reachylink_concealed_seconds", "Sound made up to hide underruns.", labels=["robot"])
    for name, stats in stats_of.items():
        for complete, outcome in ((True, "done"), (False, "cut")):
            turns.add_metric([name, outcome], stats.turns[complete])
        total.add_metric([name], stats.total_s.cumulative(), stats.total_s.total)
        if stats.last_total_s is not None:
            last.add_metric([name], stats.last_total_s)
        for part, seconds in stats.parts_s.items():
            parts.add_metric([name, part], seconds.cumulative(), seconds.total)
        barge_in.add_metric([name], stats.barge_in_s.cumulative(), stats.barge_in_s.total)
        underruns.add_metric([name], stats.underruns)
        concealed.add_metric([name], stats.concealed_ms / 1000)
    yield from (turns, total, last, parts, barge_in, underruns, concealed)


def _of_tools(stats_of: dict[str, RobotStats], call_s: dict[str, Buckets]) -> Iterator[Metric]:
    calls = CounterMetricFamily("reachylink_tool_calls", "Calls of tools, by outcome.", labels=["robot", "tool", "outcome"])
    for name, stats in stats_of.items():
        for (tool, outcome), count in dict(stats.calls).items():
            calls.add_metric([name, tool, outcome], count)
    seconds = HistogramMetricFamily("reachylink_tool_seconds", "How long calls of tools took, all robots.", labels=["tool"])
    for tool, buckets in call_s.items():
        seconds.add_metric([tool], buckets.cumulative(), buckets.total)
    yield from (calls, seconds)


def _of_links(robots: dict[str, Robot], stats_of: dict[str, RobotStats]) -> Iterator[Metric]:
    queue = GaugeMetricFamily("reachylink_reply_queue_seconds", "Replies that wait in the pacer.", labels=["robot"])
    dropped = CounterMetricFamily("reachylink_reply_dropped_seconds", "Replies that found no room there.", labels=["robot"])
    late = HistogramMetricFamily(
        "reachylink_mic_lateness_seconds",
        "The latest mic chunk of each second: its delay beyond the fastest chunk of the last minute.",
        labels=["robot"],
    )
    rtt = GaugeMetricFamily("reachylink_link_rtt_seconds", "The shortest of the last 8 round trips.", labels=["robot"])
    offset = GaugeMetricFamily("reachylink_clock_offset_seconds", "The robot's clock minus the gateway's.", labels=["robot"])
    drops = CounterMetricFamily(
        "reachylink_robot_drops", "Chunks that the robot itself dropped, by cause.", labels=["robot", "cause"]
    )
    losses = CounterMetricFamily("reachylink_link_losses", "How often the robot lost the link.", labels=["robot"])
    for name, robot in robots.items():
        stats = stats_of[name]
        for cause, count in stats.robot_drops.items():
            drops.add_metric([name, cause], count)
        losses.add_metric([name], stats.link_losses)
        if conversation := robot.conversation:
            queue.add_metric([name], conversation.pacer.queued_ms / 1000)
            dropped.add_metric([name], conversation.pacer.dropped_ms / 1000)
        late.add_metric([name], stats.late_s.cumulative(), stats.late_s.total)
        sample = robot.peer.clock.best
        if sample:
            rtt.add_metric([name], sample.rtt_us / 1e6)
            offset.add_metric([name], sample.offset_us / 1e6)
    yield from (queue, dropped, late, rtt, offset, drops, losses)
