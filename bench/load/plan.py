"""A run of light robots against a server: the plan of who speaks when, and the measurements."""

import asyncio
import json
import random
import re
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Final

import zmq

from harness.tools import CALL_EVERY_S, Called
from load.robot import CHUNK_S, Robot
from load.server import DOWN_SAMPLES, SPEECH_S, Desk, Server
from reachy_link.keys import RobotIdentity, load_robot
from reachy_link.sockets import SyncSocket
from stamps import SAMPLES as UP_SAMPLES

MESSAGE_S: Final = 0.04
TICK_S: Final = 0.001
JITTER_S: Final = 0.06
WARM_UP_S: Final = 4.0
CONNECT_S: Final = 60.0
"""How long all robots, and then the gateway's connections for them, may take to come."""
GRACE_S: Final = 1.0
"""A chunk that was not heard this long after the end counts as lost."""


@dataclass
class Measured:
    """Latencies in ms, and counts of what was sent and heard."""

    up_ms: list[float] = field(default_factory=list)
    down_ms: list[float] = field(default_factory=list)
    """From the message that completes a chunk to the robot's socket."""
    content_ms: list[float] = field(default_factory=list)
    """From the message with a chunk's first sample: includes the time that the resampler holds samples back."""
    cut_ms: list[float] = field(default_factory=list)
    """From an interruption to the flush."""
    old_ms: list[float] = field(default_factory=list)
    """From an interruption to the last chunk of the old turn; 0 if none came."""
    cuts: list[tuple[int, int, int]] = field(default_factory=list)
    """The robot, the turn, and the time in ns."""
    call_ms: list[float] = field(default_factory=list)
    """From a tool call to its answer."""
    calls: int = 0
    late_ms: list[float] = field(default_factory=list)
    """How late the load generator's own sends were."""
    up_sent: int = 0
    up_heard: int = 0
    down_sent: int = 0
    down_heard: int = 0
    messages_up: int = 0
    """Messages on Gemini's sockets; fewer than chunks if the gateway joined chunks."""
    underruns: int = 0
    """Chunks that reached a robot too late for its jitter buffer of 60 ms."""


class Listener(Robot):
    """A robot that measures the audio that it receives."""

    def __init__(
        self, number: int, identity: RobotIdentity, bench: "Bench", context: "zmq.Context[SyncSocket]", port: int, *, body: bool
    ) -> None:
        super().__init__(number, identity, context, port, body=body)
        self._bench = bench
        self.server: Server | None = None
        self._turn = -1
        self._turns = -1
        self._position = 0
        self._began_ns = 0
        self.heard_ns = 0
        """When speech last arrived."""

    def took(self, header: bytes, samples: int) -> None:
        """Measure a received message."""
        if b'"kind":"speaker"' in header:
            self._heard(header, samples)
        elif b'"kind":"flush"' in header and self.server and self.server.cut_ns:
            self._bench.cut(self.server, self._position // UP_SAMPLES)

    def _heard(self, header: bytes, samples: int) -> None:
        now_ns = self.heard_ns = time.monotonic_ns()
        found = re.search(rb'"turn":(\d+)', header)
        assert found
        turn = int(found[1])
        if turn != self._turn:
            self._turn, self._position, self._began_ns = turn, 0, now_ns
            self._turns += 1
        for position in range(self._position, self._position + samples, UP_SAMPLES):
            late = now_ns - self._began_ns > (position / 16000 + JITTER_S) * 1e9
            first = position * 3 // 2 // DOWN_SAMPLES
            completes = self._bench.completes[min(position // UP_SAMPLES, len(self._bench.completes) - 1)]
            if self.server and self._turns < len(self.server.turns) and completes < len(self.server.turns[self._turns]):
                sent = self.server.turns[self._turns]
                self._bench.played(sent[min(first, completes)], sent[completes], now_ns, late=late)
        self._position += samples


class Bench(Desk):
    """One run.

    Args:
        calls: The tool calls that are made for each robot in turn, if any.
        bodies: Whether the robots have a body.
        marks: Whether speech holds the time at which it was sent.
        bursts: Whether a turn is sent all at once, and interrupted a second or two later.
    """

    def __init__(
        self,
        directory: Path,
        robots: int,
        calls: Sequence[Called] = (),
        *,
        bodies: bool = False,
        marks: bool = False,
        bursts: bool = False,
    ) -> None:
        super().__init__(directory / "tls", marks=marks)
        self._bursts = bursts
        self.measured = Measured()
        self.measuring = False
        self._from_ns = self._to_ns = 0
        """Messages that were sent within this window are measured, whenever they are heard."""
        self.robots: list[Listener] = []
        self._n = robots
        self._directory = directory
        self._calls = calls
        self._bodies = bodies

    def answered(self, server: Server, now_ns: int) -> None:
        """Measure the answer to a tool call."""
        if self._counts(server.called_ns):
            self.measured.call_ms.append((now_ns - server.called_ns) / 1e6)

    def heard(self, server: Server, pcm: bytes, now_ns: int) -> None:
        """Measure microphone audio on Gemini's socket."""
        chunks = server.ear.read(pcm, now_ns // 1000)
        if chunks:
            server.number = chunks[0][0]
        if chunks and server.robot is None and self.robots:
            server.robot = self.robots[server.number]
            server.robot.server = server
        took_ms = [now_ns / 1e6 - sent_us / 1e3 for _, sent_us in chunks if self._counts(sent_us * 1000)]
        self.measured.messages_up += bool(took_ms)
        self.measured.up_heard += len(took_ms)
        self.measured.up_ms += took_ms

    def played(self, first_ns: int, completed_ns: int, now_ns: int, *, late: bool) -> None:
        """Measure a speaker chunk at a robot's socket: when its first sample was sent, and the message that completed it."""
        if self._counts(completed_ns):
            self.measured.down_heard += 1
            self.measured.underruns += late
            self.measured.content_ms.append((now_ns - first_ns) / 1e6)
            self.measured.down_ms.append((now_ns - completed_ns) / 1e6)

    def cut(self, server: Server, heard: int) -> None:
        """Measure a flush at a robot's socket. The robot heard so many chunks of the turn; the others do not count as lost."""
        if self._counts(server.cut_ns):
            self.measured.down_sent -= max(0, 2 * len(server.turns[-1]) - heard)
        self.measured.cut_ms.append((time.monotonic_ns() - server.cut_ns) / 1e6)
        self.measured.old_ms.append(max(0, server.robot.heard_ns - server.cut_ns) / 1e6)
        server.cut_ns = 0

    def interrupt(self, server: Server) -> None:
        """Interrupt a server's turn."""
        server.interrupt()
        if self._counts(server.cut_ns):
            self.measured.cuts.append((server.number, len(server.turns) - 1, server.cut_ns))

    def _counts(self, sent_ns: int) -> bool:
        return 0 < self._from_ns <= sent_ns and (self.measuring or sent_ns < self._to_ns)

    async def run(self, seconds: float, port: int | None) -> None:
        """Connect all robots, warm up, measure, and print the result."""
        print(json.dumps({"port": await self.listen()}), flush=True)
        if port:
            self._dial(port)
        await self._until(lambda: sum(robot.welcomed for robot in self.robots), len(self.robots), "robots admitted")
        await self._until(lambda: len(self.servers), self._n, "connections to the server")
        await self._talk(seconds)

    async def _until(self, count: Callable[[], int], wanted: int, what: str) -> None:
        """Wait for so many, or end the program."""
        try:
            async with asyncio.timeout(CONNECT_S):
                while count() < wanted:
                    self._greet()
                    await asyncio.sleep(0.2)
        except TimeoutError:
            sys.exit(f"after {CONNECT_S:.0f} s only {count()} of {wanted} {what}")

    def _greet(self) -> None:
        for robot in self.robots:
            if not robot.welcomed:
                robot.hello()

    def _dial(self, port: int) -> None:
        context = zmq.Context[SyncSocket](io_threads=1)
        context.max_sockets = 4 * self._n + 50
        for n in range(self._n):
            identity = load_robot(self._directory / f"robot-{n}")
            self.robots.append(Listener(n, identity, self, context, port, body=self._bodies))

    async def _talk(self, seconds: float) -> None:
        loop = asyncio.get_running_loop()
        began = loop.time() + 0.1
        for n, robot in enumerate(self.robots):
            robot.due = began + CHUNK_S * n / self._n
        warm = began + WARM_UP_S
        await asyncio.sleep(1.0)
        servers = sorted(self.servers, key=lambda server: server.number)
        began = loop.time()
        plan = BurstPlan if self._bursts else Plan
        plans = [plan(server, began + plan.CYCLE_S * n / len(servers), n) for n, server in enumerate(servers)]
        calls = [began + CALL_EVERY_S * n / len(servers) for n in range(len(servers))] if self._calls else []
        ticker = asyncio.create_task(self._tick(plans, servers, calls))
        await asyncio.sleep(warm - loop.time())
        cpu, since = time.process_time(), loop.time()
        self.measuring, self._from_ns = True, time.monotonic_ns() // 1000 * 1000
        print(json.dumps({"measuring": True}), flush=True)
        await asyncio.sleep(seconds)
        self.measuring, self._to_ns = False, time.monotonic_ns()
        busy = (time.process_time() - cpu) / (loop.time() - since)
        await asyncio.sleep(GRACE_S)
        about = {"busy": busy, "window_ns": [self._from_ns, self._to_ns]}
        print(json.dumps(about | asdict(self.measured)), flush=True)
        await asyncio.sleep(60)  # the bench ends this process first
        ticker.cancel()

    async def _tick(self, plans: Sequence["Plan | BurstPlan"], servers: list[Server], calls: list[float]) -> None:
        """Do again and again what is due."""
        loop = asyncio.get_running_loop()
        while True:
            now = loop.time()
            for robot in self.robots:
                while robot.due <= now:
                    if self.measuring:
                        self.measured.up_sent += 1
                        self.measured.late_ms.append((now - robot.due) * 1000)
                    robot.say()
                    robot.due += CHUNK_S
            for plan in plans:
                while plan.due <= now:
                    plan.step(self)
            for n, due in enumerate(calls):
                if due <= now:
                    servers[n].call(*self._calls[servers[n].calls % len(self._calls)])
                    self.measured.calls += self.measuring
                    calls[n] += CALL_EVERY_S
            await asyncio.sleep(TICK_S)


class Plan:
    """A server's schedule: speech for 4 s, silence for 4 s. Every second turn is interrupted in its middle."""

    CYCLE_S = 8.0

    def __init__(self, server: Server, due: float, number: int) -> None:
        self._server = server
        self._number = number
        self._steps = round(SPEECH_S / MESSAGE_S)
        self._turn = 0
        self._n = 0
        self.due = due

    def step(self, bench: Bench) -> None:
        """Do the next step."""
        cut = (self._turn + self._number) % 2 == 1
        if cut and self._n == self._steps // 2:
            bench.interrupt(self._server)
            self._next(self.CYCLE_S - SPEECH_S / 2)
        elif self._n == self._steps:
            self._server.end()
            self._next(self.CYCLE_S - SPEECH_S)
        else:
            self._server.say(self._turn, self._n)
            if bench.measuring:
                bench.measured.down_sent += 2
            self._n += 1
            self.due += MESSAGE_S

    def _next(self, pause_s: float) -> None:
        self._turn += 1
        self._n = 0
        self.due += pause_s


class BurstPlan:
    """A server's schedule: 8 s of speech sent at once, and an interruption a second or two later."""

    CYCLE_S = 3.0
    MESSAGES: Final = 200

    def __init__(self, server: Server, due: float, number: int) -> None:
        self._server = server
        self._turn = 0
        self._speaks = False
        self._draw = random.Random(number)  # noqa: S311 - a bench
        self.due = due

    def step(self, bench: Bench) -> None:
        """Do the next step."""
        if self._speaks:
            bench.interrupt(self._server)
            self._turn += 1
            self.due += 1.0
        else:
            self._server.burst(self._turn, self.MESSAGES)
            self.due += 1.0 + self._draw.random()
        self._speaks = not self._speaks
