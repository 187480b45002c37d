"""Gateways that die: how long until every robot talks again, on loopback, with CURVE and TLS.

``python bench/storm.py [--robots 50] [--runs 5] [--kills 12]``. Robots and simulator share this process, on the first core; a
gateway is the real process, on the last. A robot talks again when the simulator hears its new session and the speaker was
handed what the simulator says at the start of each session.
"""

import argparse
import asyncio
import os
import re
import subprocess
import sys
import tempfile
import time
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gemini_live_sim import Behaviour, GeminiLiveSim, SimSession, SimSettings, serve
from gemini_live_sim.actions import Say, Step
from stand import (
    BUSY_MAX,
    GATEWAY_CORE,
    LOAD_CORE,
    Gateway,
    Light,
    Timing,
    generate,
    keep,
    machine,
    make_keys,
    pinned,
    robots,
    table,
    until,
)

ONE, TWO = 27561, 27565
"""The first of each gateway's ports."""
TALK_S, START_S, FAIL_OVER_S = 2.0, 3.0, 3.0


@dataclass
class Ear:
    """When each session of the simulator was first heard."""

    first: dict[int, float] = field(default_factory=dict)

    def note(self, session: SimSession, name: str, at_ns: int, _detail: Any) -> None:
        """The simulator's event hook."""
        if name == "audio_in":
            self.first.setdefault(session.number, at_ns / 1e9)


class Talk:
    """Whether robots talk again since a moment, and since when."""

    def __init__(self, sim: GeminiLiveSim, ear: Ear, devices: list[Light]) -> None:
        self._ear = ear
        self._devices = devices
        self._after = max((session.number for session in sim.sessions), default=0)
        for device in devices:
            device.forget()

    def _heard(self) -> list[float]:
        return [at for number, at in self._ear.first.items() if number > self._after]

    async def again(self) -> tuple[float, float]:
        """Wait for all; when the last was welcomed, and when the last talked both ways."""
        await until(lambda: all(device.ready_at and device.played_at for device in self._devices))
        await until(lambda: len(self._heard()) >= len(self._devices))
        welcomed = max(device.ready_at for device in self._devices)
        return welcomed, max(*self._heard(), *(device.played_at for device in self._devices))


async def storm(sim: GeminiLiveSim, ear: Ear, work: Path, count: int, runs: int) -> tuple[list[Timing], float]:
    """A gateway of many robots is killed and started again; also the share of their core that the others used meanwhile."""
    gateway = Gateway(work, sim.url, sim.root_path, ONE)
    devices = [Light() for _ in range(count)]
    starts, welcomes, talks, busy = [], [], [], []
    async with robots(work, devices, gateway.address) as runners:
        talk = Talk(sim, ear, devices)
        await gateway.start()
        await talk.again()
        for _ in range(runs):
            await asyncio.sleep(2.0)
            await gateway.kill()
            await until(lambda: not any(runner.core.welcomed for runner in runners))
            talk = Talk(sim, ear, devices)
            began, healthy = await gateway.start()
            cpu = time.process_time()
            welcomed, talked = await talk.again()
            busy.append((time.process_time() - cpu) / (time.monotonic() - healthy))
            starts.append(healthy - began)
            welcomes.append(welcomed - healthy)
            talks.append(talked - healthy)
        await gateway.kill()
    timings = [
        Timing("gateway: start -> healthy", starts, {"max": START_S}),
        Timing(f"kill -9 and start, {count} robots: healthy -> the last is welcomed", welcomes),
        Timing(f"kill -9 and start, {count} robots: healthy -> all talk both ways", talks, {"max": TALK_S}),
    ]
    return timings, max(busy)


async def fail_over(sim: GeminiLiveSim, ear: Ear, work: Path, kills: int) -> list[Timing]:
    """Of two gateways the one that serves the robot is killed, again and again."""
    welcomes, talks = [], []
    async with AsyncExitStack() as stack:
        made = [await stack.enter_async_context(Gateway(work, sim.url, sim.root_path, port)) for port in (ONE, TWO)]
        gateways = {gateway.address: gateway for gateway in made}
        device = Light()
        [runner] = await stack.enter_async_context(robots(work, [device], *gateways))
        await Talk(sim, ear, [device]).again()
        for _ in range(kills):
            await asyncio.sleep(3.5)
            serving = runner.core.route.here
            assert serving
            talk = Talk(sim, ear, [device])
            killed = await gateways[serving].kill()
            welcomed, talked = await talk.again()
            welcomes.append(welcomed - killed)
            talks.append(talked - killed)
            await gateways[serving].start()
    return [
        Timing("kill -9 of one of two gateways: killed -> welcomed by the other", welcomes),
        Timing("kill -9 of one of two gateways: killed -> talks both ways", talks, {"max": FAIL_OVER_S}),
    ]


def imports_s() -> list[float]:
    """How long the gateway's imports take, of its start; three times, on its core."""
    command = pinned(GATEWAY_CORE, [sys.executable, "-X", "importtime", "-c", "import gemini_gateway.__main__"])
    took = []
    for _ in range(3):
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        line = re.search(r"\|\s+(\d+) \|\s+gemini_gateway.__main__$", done.stderr, re.MULTILINE)
        assert line
        took.append(int(line[1]) / 1e6)
    return took


async def measure(count: int, runs: int, kills: int) -> tuple[list[Timing], float]:
    """All timings, and the share of their core that robots and simulator used in the busiest storm."""
    ear = Ear()
    with tempfile.TemporaryDirectory(prefix="storm-") as directory:
        work = Path(directory)
        make_keys(work, count)
        async with serve(SimSettings(record_bytes=0, keep_sessions=10 * count), on_event=ear.note) as sim:
            hello = Step(on="ready", action=Say(n_ms=200))
            sim.behaviour = Behaviour(mode="tone", speed=0, vad_threshold_dbfs=0, max_age_s=None, script=(hello,))
            imports = Timing("of which imports", await asyncio.to_thread(imports_s))
            (start, *storms), busy = await storm(sim, ear, work, count, runs)
            return [start, imports, *storms, *await fail_over(sim, ear, work, kills)], busy


def main() -> int:
    """Print the table; exit status 1 if the run is void."""
    parser = argparse.ArgumentParser()
    for name, default in (("robots", 50), ("runs", 5), ("kills", 12)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--out", type=Path, help="a folder for storm.json")
    given = parser.parse_args()
    os.sched_setaffinity(0, {LOAD_CORE})
    about = machine()
    timings, busy = generate(measure(given.robots, given.runs, given.kills))
    print(table(timings, "s", 2))
    print(f"\nRobots and simulator used up to {busy:.0%} of their core while the gateway's robots came back.")
    keep(given.out, "storm", about, [timing.told() for timing in timings])
    if busy > BUSY_MAX:
        print("VOID: the load generator was too busy to be believed.")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
