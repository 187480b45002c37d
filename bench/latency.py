"""The first three rows of the latency budget, with a bare google-genai loop as the floor, in one run on loopback.

The gateway is a process of its own, with all its threads pinned to one core. Robots and simulator share another process on
another core, so that one monotonic clock stamps both ends. ``python bench/latency.py``; bench/README.md has the method.
"""

import argparse
import asyncio
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import cycle, pairwise
from pathlib import Path
from typing import Any

from gemini_live_sim import Behaviour, GeminiLiveSim, SimSession, SimSettings, serve
from harness.devices import Light, Numbered, chunk_numbers, robots, until
from harness.gateway import GATEWAY_CORE, LOAD_CORE, Gateway, make_keys, pinned, run_load
from harness.others import OTHERS_MAX, Others
from harness.results import BUSY_MAX, Timing, keep, machine, table
from harness.tools import CALL_EVERY_S, NAMES, equipped
from reachy_link.pcm import Samples

PORT = 27550
WARM_UP = 100
"""The first chunks, which are not measured."""
BURST_MS = 8000
OTHERS = 9
BURST_TURNS = 5
"""Factor for the interruptions among bursts: only those that coincide with a burst are slow, so more are needed."""
CUT_MS = {"p99": 20.0}
CUT_AMONG_BURSTS_MS = {"p99": 12.0}
FLOOR_P99_MS = 10.0
"""A run is void if its floor, the bare SDK, was slower than this at p99: it would measure the machine, not the gateway."""


class Probe(Numbered):
    """A device that also stamps what it receives."""

    def __init__(self) -> None:
        super().__init__()
        self.played_s: list[float] = []
        self.hushed_s: list[float] = []

    def play(self, samples: Samples) -> None:
        """Note when samples leave the playout."""
        self.played_s.append(time.monotonic())
        super().play(samples)

    def hush(self) -> None:
        """Note when the old turn ends."""
        self.hushed_s.append(time.monotonic())
        super().hush()


@dataclass
class Stamps:
    """When events were on Gemini's socket, in s, by session number."""

    heard: dict[int, list[tuple[int, float]]] = field(default_factory=dict)
    """Chunk number and time."""
    sent: dict[int, list[float]] = field(default_factory=dict)
    """When the first audio of each turn was sent."""
    cut: dict[int, list[float]] = field(default_factory=dict)

    def note(self, session: SimSession, name: str, at_ns: int, detail: Any) -> None:
        """Note an event of the simulator."""
        at_s = at_ns / 1e9
        if name == "audio_in":
            self.heard.setdefault(session.number, []).extend((number, at_s) for number in chunk_numbers(detail))
        elif name == "audio_out" and detail.first:
            self.sent.setdefault(session.number, []).append(at_s)
        elif name == "interrupted":
            self.cut.setdefault(session.number, []).append(at_s)


class Latency:
    """One run.

    Args:
        work: Holds the keys of 1 + ``OTHERS`` robots.
        chunks: How many microphone chunks are measured.
        turns: How many turns of each kind are measured.
        tools: Whether each robot has ten tools, one of which is called every 10 s.
    """

    def __init__(self, sim: GeminiLiveSim, stamps: Stamps, work: Path, chunks: int, turns: int, *, tools: bool = False) -> None:
        self._sim = sim
        self._stamps = stamps
        self._work = work
        self._chunks = chunks
        self._turns = turns
        self._tools = tools

    async def _call(self) -> None:
        """Call a tool of each robot every 10 s, until cancelled."""
        for name in cycle(NAMES):
            await asyncio.sleep(CALL_EVERY_S)
            for session in self._sim.open_sessions:
                session.tool_call(name)

    async def run(self) -> tuple[list[Timing], list[Timing]]:
        """Measure the floor's timings and the gateway's, in ms."""
        floor = await self._floor()
        probe = Probe()
        settings = equipped(self._work) if self._tools else {}
        calls = asyncio.create_task(self._call()) if self._tools else None
        async with Gateway(self._work, self._sim.url, self._sim.root_path, PORT, **settings) as gateway:
            async with robots(self._work, [probe], gateway.address):
                session = await self._session_of(probe)
                mic, sound = await self._mic(session, probe), await self._first_audio(session, probe)
                cut = await self._cut(session, probe, self._turns)
            probe = Probe()
            async with robots(self._work, [probe, *(Light() for _ in range(OTHERS))], gateway.address):
                session = await self._session_of(probe)
                await until(lambda: len(self._sim.open_sessions) == 1 + OTHERS)
                others = asyncio.create_task(bursts([it for it in self._sim.open_sessions if it is not session]))
                cut_among_others = await self._cut(session, probe, BURST_TURNS * self._turns)
                others.cancel()
        if calls:
            calls.cancel()
        return floor, [
            Timing("mic chunk: robot's socket -> Gemini's socket", mic, {"p50": 2, "p99": 10}),
            Timing("first audio: Gemini's socket -> leaves playout", sound, {"p50": 35, "p99": 60}),
            Timing("`interrupted`: Gemini's socket -> last old sample", cut, CUT_MS),
            Timing("the same, nine other robots receiving bursts", cut_among_others, CUT_AMONG_BURSTS_MS),
        ]

    async def _session_of(self, probe: Probe) -> SimSession:
        """The open session that hears this robot's counting numbers. The other robots repeat one number."""

        def found() -> list[SimSession]:
            last = {it.number: self._stamps.heard.get(it.number, [(0, 0.0)])[-1][0] for it in self._sim.open_sessions}
            return [it for it in self._sim.open_sessions if WARM_UP // 2 < last[it.number] <= len(probe.said_s)]

        await until(found)
        return found()[0]

    async def _mic(self, session: SimSession, probe: Probe) -> list[float]:
        """How long mic chunks took."""
        heard = self._stamps.heard[session.number]
        first = len(heard) + WARM_UP
        await session.until(lambda _: len(heard) >= first + self._chunks, 120)
        return [(at - probe.said_s[number - 1]) * 1000 for number, at in heard[first : first + self._chunks]]

    async def _first_audio(self, session: SimSession, probe: Probe) -> list[float]:
        """How long the first sound of each turn took."""
        took, sent = [], self._stamps.sent.setdefault(session.number, [])
        for _ in range(self._turns):
            turns, before = len(sent), len(probe.played_s)
            session.say(200)
            await soon(more(sent, turns))
            await soon(more(probe.played_s, before))
            took.append((probe.played_s[before] - sent[-1]) * 1000)
            await session.until(lambda s: s.answers[-1].complete)
            await soon(lambda: probe.queued_ms() == 0)
        return took

    async def _cut(self, session: SimSession, probe: Probe, turns: int) -> list[float]:
        """How long old speech continued after each interruption."""
        took = []
        for _ in range(turns):
            before, hushed = len(probe.played_s), len(probe.hushed_s)
            session.say(BURST_MS)
            await soon(more(probe.played_s, before + 10))
            session.interrupt()
            await soon(more(probe.hushed_s, hushed))
            cut_s = self._stamps.cut[session.number][-1]
            await session.until(lambda s: s.answers[-1].complete)
            took.append((max(probe.hushed_s[-1], probe.played_s[-1]) - cut_s) * 1000)
        return took

    async def _floor(self) -> list[Timing]:
        """The same three ways with google-genai alone: one loop that sends, and one that receives."""
        sim, stamps = self._sim, self._stamps
        seconds = self._turns * 0.45 + 2.0
        count = max(self._chunks + 2 * WARM_UP, int(seconds * 50))
        command = [sys.executable, Path(__file__).with_name("baseline_latency.py"), sim.url, sim.root_path, count]
        process = await asyncio.create_subprocess_exec(*pinned(GATEWAY_CORE, command), stdout=asyncio.subprocess.PIPE)
        assert process.stdout
        await until(lambda: sim.open_sessions)
        session = sim.open_sessions[0]
        await session.until(lambda it: it.heard_bytes > 0)  # the client would miss speech from before it is connected
        for _ in range(self._turns):
            session.say(200)
            await asyncio.sleep(0.25)
            session.say(BURST_MS)
            await asyncio.sleep(0.1)
            session.interrupt()
            await asyncio.sleep(0.1)
        told: dict[str, list[float]] = json.loads(await process.stdout.read())
        await process.wait()
        heard = [(at - told["said"][number - 1]) * 1000 for number, at in stamps.heard[session.number][WARM_UP:]]
        return [
            Timing("floor, bare google-genai: mic chunk -> Gemini's socket", heard),
            Timing("floor: first audio: Gemini's socket -> our code", after(stamps.sent[session.number], told["turn"])),
            Timing("floor: `interrupted`: Gemini's socket -> our code", after(stamps.cut[session.number], told["cut"])),
        ]


def after(sent: list[float], received: list[float]) -> list[float]:
    """From each stamp to the first one on the other side before the next stamp, in ms."""
    took = []
    for then, following in pairwise([*sent, float("inf")]):
        if (at := next((at for at in received if then <= at < following), None)) is not None:
            took.append((at - then) * 1000)
    return took


def more(stamps: list[float], than: int) -> Callable[[], bool]:
    """A condition: there are more stamps than this."""
    return lambda: len(stamps) > than


async def soon(condition: Callable[[], object]) -> None:
    """Wait for a condition; look every ms."""
    await until(condition, 10.0, 0.001)


async def bursts(sessions: list[SimSession]) -> None:
    """Keep robots busy with long answers that are sent all at once."""
    while True:
        for session in sessions:
            session.say(BURST_MS)
            session.interrupt()
            session.say(BURST_MS)
            await asyncio.sleep(0)  # the measured session shares this event loop
        await asyncio.sleep(2.0)


async def measure(chunks: int, turns: int, *, tools: bool) -> tuple[list[Timing], list[Timing], float, float]:
    """The floor's timings, the gateway's, and the shares of a core that the load generator and other programs used."""
    stamps = Stamps()
    with tempfile.TemporaryDirectory(prefix="latency-") as directory:
        work = Path(directory)
        make_keys(work, 1 + OTHERS)
        async with serve(SimSettings(), on_event=stamps.note) as sim:
            sim.behaviour = Behaviour(mode="tone", speed=0, thinking_ms=0, vad_threshold_dbfs=0, max_age_s=None)
            began, cpu, others = time.monotonic(), time.process_time(), Others({LOAD_CORE, GATEWAY_CORE})
            floor, ours = await Latency(sim, stamps, work, chunks, turns, tools=tools).run()
            passed_s = time.monotonic() - began
            return floor, ours, (time.process_time() - cpu) / passed_s, others.taken_s() / passed_s


def main() -> int:
    """Print the table; exit status 1 if the run is void, or a bound was missed."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--chunks", type=int, default=1500)
    parser.add_argument("--turns", type=int, default=60)
    parser.add_argument("--out", type=Path, help="a folder for latency.json")
    parser.add_argument("--tools", action="store_true", help="ten tools for each robot, and a call of one every 10 s")
    given = parser.parse_args()
    os.sched_setaffinity(0, {LOAD_CORE})
    about = machine()
    floor, ours, busy, taken = run_load(measure(given.chunks, given.turns, tools=given.tools))
    print(table([*floor, *ours], "ms", 1))
    print(f"\nThe load generator (robots and simulator) used {busy:.0%} of its core.")
    keep(given.out, "latency", about, [timing.told() for timing in (*floor, *ours)])
    if busy > BUSY_MAX:
        print("VOID: the load generator was too busy to be believed.")
        return 1
    if taken > OTHERS_MAX:
        print(f"VOID: other programs took {taken:.0%} of a core.")
        return 1
    if slow := sum(timing.numbers["p99"] > FLOOR_P99_MS for timing in floor):
        print(f"VOID: the floor itself missed {FLOOR_P99_MS:g} ms at p99 in {slow} of {len(floor)} rows: the machine was busy.")
        return 1
    for timing in ours:
        if not timing.held:
            print(f"MISSED: {timing.what}.")
    return 0 if all(timing.held for timing in ours) else 1


if __name__ == "__main__":
    sys.exit(main())
