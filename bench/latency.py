"""The first three rows of the latency budget, beside a bare google-genai loop as the floor, in one run on loopback.

The gateway is a process of its own, with all its threads pinned to one core; robots and simulator share another process on
another core, so that one monotonic clock stamps both ends. ``python bench/latency.py``; bench/README.md has the method.
"""

import asyncio
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from gemini_live_sim import Behaviour, GeminiLiveSim, SimSession, SimSettings, serve
from reachy_link import keys
from reachy_link.address import Address
from reachy_link.pcm import Format, Samples
from robot_io.core import Profile
from robot_io.device import Device, Moment
from robot_io.runner import Runner

CHUNKS = 1500
TURNS = 60
BURST_MS = 8000
PORTS = (27555, 27556)
BUSY_MAX = 0.8
"""A run whose load generator used more of its core than this is void."""
FLOOR_P99_MS = 10.0
"""A run whose floor, the bare SDK, was slower than this at p99 says more of the machine than of us, and is void."""


class Probe:
    """A device that stamps: each mic chunk holds its own number, each chunk for the speaker is noted when it is handed over."""

    lead_ms = 40
    mic = Format(rate_hz=16000, channels=2)
    speaker = Format(rate_hz=16000, channels=2)

    def __init__(self, *, talks: bool) -> None:
        self.talks = talks
        self.said_ns: dict[int, int] = {}
        self.played_ns: list[int] = []
        self.hushed_ns: list[int] = []
        self.ready = asyncio.Event()
        self._until = 0.0

    async def open(self) -> None:
        """Nothing to open."""

    async def record(self) -> AsyncIterator[Samples]:
        """A chunk every 20 ms, on time or at once."""
        due, number = time.monotonic(), 0
        while True:
            due += 0.02
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            number += 1
            level = number if self.talks else 0
            self.said_ns[number] = time.monotonic_ns()
            yield np.full((320, 2), level / 32768, np.float32)

    def play(self, samples: Samples) -> None:
        """Note when samples leave playout."""
        now = time.monotonic()
        self.played_ns.append(time.monotonic_ns())
        self._until = max(self._until, now) + len(samples) / 16000

    def queued_ms(self) -> float:
        """What a sound card would have yet to play."""
        return max(0.0, self._until - time.monotonic()) * 1000

    def hush(self) -> None:
        """Note when the old turn ends."""
        self.hushed_ns.append(time.monotonic_ns())
        self._until = 0.0

    def notice(self, moment: Moment) -> None:
        """Be told when the link stands."""
        if moment is Moment.READY:
            self.ready.set()

    async def close(self) -> None:
        """Nothing to close."""


@dataclass
class Stamps:
    """When things were on Gemini's socket, by session number."""

    heard: dict[int, list[tuple[int, int]]] = field(default_factory=dict)
    """(chunk number, ns)"""
    sent: dict[int, list[int]] = field(default_factory=dict)
    """First audio of each turn."""
    cut: dict[int, list[int]] = field(default_factory=dict)

    def note(self, session: SimSession, name: str, at_ns: int, detail: Any) -> None:
        """The simulator's event hook."""
        if name == "audio_in":
            samples = np.frombuffer(detail, "<i2")
            for start in range(0, len(samples), 320):
                self.heard.setdefault(session.number, []).append((int(samples[start]), at_ns))
        elif name == "audio_out" and detail.first:
            self.sent.setdefault(session.number, []).append(at_ns)
        elif name == "interrupted":
            self.cut.setdefault(session.number, []).append(at_ns)


@dataclass(frozen=True)
class Row:
    """One measurement, in ms."""

    name: str
    ms: list[float]
    budget: tuple[float | None, float | None] = (None, None)

    @property
    def p99(self) -> float:
        """The value that 99 % stay below."""
        ordered = sorted(self.ms)
        return ordered[min(len(ordered) - 1, int(len(ordered) * 0.99))]

    def markdown(self) -> str:
        """The row: n, p50, p99, max, and what was allowed."""
        ordered = sorted(self.ms)
        p50, p99 = statistics.median(ordered), self.p99
        allowed = " / ".join("-" if limit is None else f"{limit:g}" for limit in self.budget)
        held = all(limit is None or value <= limit for value, limit in zip((p50, p99), self.budget, strict=True))
        verdict = "" if self.budget == (None, None) else ("yes" if held else "**no**")
        return f"| {self.name} | {len(ordered)} | {p50:.1f} | {p99:.1f} | {ordered[-1]:.1f} | {allowed} | {verdict} |"


async def measure(sim: GeminiLiveSim, stamps: Stamps, work: Path) -> list[Row]:
    """All rows, and the floor."""
    rows = await floor(sim, stamps)
    async with gateway(sim, work):
        async with robots(work, 1) as [probe]:
            session = sim.sessions[-1]
            rows.append(Row("mic chunk: robot's socket -> Gemini's socket", await mic(stamps, session, probe.said_ns), (2, 10)))
            rows.append(
                Row("first audio: Gemini's socket -> leaves playout", await first_audio(stamps, session, probe), (35, 60))
            )
            rows.append(Row("`interrupted`: Gemini's socket -> last old sample", await cut(stamps, session, probe), (None, 20)))
        async with robots(work, 10) as probes:
            session = next(s for s in sim.open_sessions if stamps.heard.get(s.number, [(0, 0)])[-1][0])
            talker = next(probe for probe in probes if probe.talks)
            others = asyncio.create_task(bursts([s for s in sim.open_sessions if s is not session]))
            name = "the same, nine other robots receiving bursts"
            rows.append(Row(name, await cut(stamps, session, talker), (None, 20)))
            others.cancel()
    return rows


async def mic(stamps: Stamps, session: SimSession, said_ns: dict[int, int]) -> list[float]:
    """How long mic chunks took."""
    heard = stamps.heard[session.number]
    first = len(heard) + 100
    await session.until(lambda _: len(heard) >= first + CHUNKS, 120)
    return [(at - said_ns[number]) / 1e6 for number, at in heard[first : first + CHUNKS] if number in said_ns]


async def first_audio(stamps: Stamps, session: SimSession, probe: Probe) -> list[float]:
    """How long the first sound of a turn took."""
    took = []
    for _ in range(TURNS):
        turns = len(stamps.sent.get(session.number, []))
        before = len(probe.played_ns)
        session.say(200)
        await settle(more(stamps.sent.setdefault(session.number, []), turns))
        sent_ns = stamps.sent[session.number][-1]
        await settle(more(probe.played_ns, before))
        took.append((probe.played_ns[before] - sent_ns) / 1e6)
        await session.until(lambda s: s.answers[-1].complete)
        await settle(lambda: probe.queued_ms() == 0)
    return took


async def cut(stamps: Stamps, session: SimSession, probe: Probe) -> list[float]:
    """How long old speech went on after an interruption."""
    took = []
    for _ in range(TURNS):
        before, hushed = len(probe.played_ns), len(probe.hushed_ns)
        session.say(BURST_MS)
        await settle(more(probe.played_ns, before + 10))
        session.interrupt()
        await settle(more(probe.hushed_ns, hushed))
        cut_ns = stamps.cut[session.number][-1]
        await session.until(lambda s: s.answers[-1].complete)
        took.append((max(probe.hushed_ns[-1], probe.played_ns[-1]) - cut_ns) / 1e6)
    return took


def more(stamps: list[int], than: int) -> Callable[[], bool]:
    """Whether there are more stamps than so many."""
    return lambda: len(stamps) > than


async def settle(condition: Callable[[], bool]) -> None:
    """Wait for a condition of our own process, a look every ms."""
    deadline = time.monotonic() + 10
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError("nothing came")
        await asyncio.sleep(0.001)


async def bursts(sessions: list[SimSession]) -> None:
    """Keep robots busy with long answers that are sent at once."""
    while True:
        for session in sessions:
            session.say(BURST_MS)
            session.interrupt()
            session.say(BURST_MS)
        await asyncio.sleep(2.0)


async def floor(sim: GeminiLiveSim, stamps: Stamps) -> list[Row]:
    """The same three ways, with nothing but google-genai: a loop that sends, and one that receives."""
    process = await asyncio.create_subprocess_exec(
        *pinned([sys.executable, str(Path(__file__).with_name("floor.py")), sim.url, str(sim.root_path), str(CHUNKS + 200)]),
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdout
    while not sim.open_sessions:
        await asyncio.sleep(0.05)
    session = sim.open_sessions[0]
    for _ in range(TURNS):
        session.say(200)
        await asyncio.sleep(0.25)
        session.say(BURST_MS)
        await asyncio.sleep(0.1)
        session.interrupt()
        await asyncio.sleep(0.1)
    told = [line.split() for line in (await process.stdout.read()).decode().splitlines()]
    await process.wait()
    said = {int(number): int(at) for kind, number, at in told if kind == "said"}
    heard = [(at - said[number]) / 1e6 for number, at in stamps.heard[session.number][100:] if number in said]
    sounds = [int(at) for kind, _, at in told if kind == "turn"]
    cuts = [int(at) for kind, _, at in told if kind == "cut"]
    return [
        Row("floor, bare google-genai: mic chunk -> Gemini's socket", heard),
        Row("floor: first audio: Gemini's socket -> our code", after(stamps.sent[session.number], sounds)),
        Row("floor: `interrupted`: Gemini's socket -> our code", after(stamps.cut[session.number], cuts)),
    ]


def after(sent: list[int], received: list[int]) -> list[float]:
    """From each stamp to the first one on the other side before the next, in ms."""
    took = []
    for then, following in pairwise([*sent, sys.maxsize]):
        if (at := next((at for at in received if then <= at < following), None)) is not None:
            took.append((at - then) / 1e6)
    return took


@asynccontextmanager
async def gateway(sim: GeminiLiveSim, work: Path) -> AsyncIterator[None]:
    """The real gateway process, pinned."""
    settings = {
        "REACHY_KEYS_DIR": work / "gateway",
        "REACHY_LOG_LEVEL": "WARNING",
        "GATEWAY_HOST": "127.0.0.1",
        "GATEWAY_UP_PORT": PORTS[0],
        "GATEWAY_DOWN_PORT": PORTS[1],
        "GATEWAY_SIM_URL": sim.url,
        "GATEWAY_SIM_ROOT": sim.root_path,
        "GATEWAY_LEDGER": work / "ledger.sqlite",
    }
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("GEMINI", "GOOGLE", "GATEWAY"))}
    program = str(Path(sys.executable).parent / "gemini-gateway")
    process = subprocess.Popen(pinned([program]), env=clean | {name: str(value) for name, value in settings.items()})
    try:
        yield
    finally:
        process.terminate()
        process.wait()


@asynccontextmanager
async def robots(work: Path, count: int) -> AsyncIterator[list[Probe]]:
    """So many robots, connected; the first one's microphone is told apart."""
    probes: list[Probe] = []
    async with AsyncExitStack() as stack:
        for n in range(count):
            identity = keys.load_robot(work / f"robot-{n}")
            probe = Probe(talks=n == 0)
            probes.append(probe)

            def profile(device: Device, robot: str = identity.robot) -> Profile:
                return Profile(robot, os.urandom(8).hex(), device.mic, device.speaker, device.lead_ms, "bench")

            runner = Runner(lambda probe=probe: probe, identity, Address("127.0.0.1", *PORTS), profile)  # type: ignore[misc]
            stack.push_async_callback(cancelled(asyncio.create_task(runner.run())))
        for probe in probes:
            await probe.ready.wait()
        await asyncio.sleep(1.0)
        yield probes


def cancelled(task: asyncio.Task[None]) -> Callable[[], Awaitable[None]]:
    """Ends a task, when called."""

    async def end() -> None:
        task.cancel()
        await asyncio.wait([task])

    return end


def pinned(command: list[str]) -> list[str]:
    """The command with all its threads on the core that is measured."""
    return ["taskset", "--cpu-list", str((os.cpu_count() or 1) - 1), *command]


async def main() -> int:
    """Print the table; exit status 1 if the run is void."""
    stamps = Stamps()
    with tempfile.TemporaryDirectory(prefix="bench-") as directory:
        work = Path(directory)
        for n in range(10):
            command: list[str | Path] = [
                Path(sys.executable).parent / "reachy-keys",
                "--dir",
                work / "gateway",
                "demo",
                work / f"robot-{n}",
                f"robot-{n}",
            ]
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        os.sched_setaffinity(0, {0})
        behaviour = Behaviour(mode="tone", speed=0, thinking_ms=0, vad_threshold_dbfs=0, max_age_s=None)
        async with serve(SimSettings(), on_event=stamps.note) as sim:
            sim.behaviour = behaviour
            began, cpu = time.monotonic(), time.process_time()
            rows = await measure(sim, stamps, work)
            busy = (time.process_time() - cpu) / (time.monotonic() - began)
    print("| what | n | p50 ms | p99 ms | max ms | budget p50 / p99 | held |\n|---|---|---|---|---|---|---|")
    print("\n".join(row.markdown() for row in rows))
    print(f"\nThe load generator (robots and simulator) used {busy:.0%} of its core.")
    if busy > BUSY_MAX:
        print("VOID: the load generator was too busy to be believed.")
        return 1
    if slow := [row for row in rows if row.name.startswith("floor") and row.p99 > FLOOR_P99_MS]:
        print(f"VOID: the floor itself missed {FLOOR_P99_MS:g} ms at p99 in {len(slow)} of 3 rows: the machine was busy.")
        return 1
    return 0


if __name__ == "__main__":
    runnable: Coroutine[Any, Any, int] = main()
    sys.exit(asyncio.run(runnable))
