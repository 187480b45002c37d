"""Gateways that die: how long until every robot talks again, on loopback, with CURVE and TLS.

``python bench/storm.py [--robots 50] [--runs 5] [--kills 12]``. Robots and simulator share this process, on the first core; a
gateway is the real process, on the last. A robot talks again when the simulator hears its new session and the speaker was
handed what the simulator says at the start of each session.
"""

import argparse
import asyncio
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from gemini_live_sim import Behaviour, GeminiLiveSim, SimSession, SimSettings, serve
from gemini_live_sim.actions import Say, Step
from reachy_link import keys
from reachy_link.address import Address
from reachy_link.pcm import Format, Samples
from robot_io.core import Profile
from robot_io.device import Device, Moment
from robot_io.runner import Runner

BIN = Path(sys.executable).parent
ONE, TWO = Address("127.0.0.1", 47561, 47562), Address("127.0.0.1", 47563, 47564)
TALK_S, START_S, FAIL_OVER_S = 2.0, 3.0, 3.0
BUSY_MAX = 0.8
"""A run whose robots and simulator used more of their core than this is void."""
LIMIT_S = 30.0


class Light:
    """A device that costs next to nothing: a faint microphone, and a speaker that notes when it is given something."""

    lead_ms = 40
    mic = Format(rate_hz=16000, channels=2)
    speaker = Format(rate_hz=16000, channels=2)

    def __init__(self) -> None:
        self.ready_at = self.played_at = 0.0
        self._until = 0.0

    def forget(self) -> None:
        """Look only at what comes from now on."""
        self.ready_at = self.played_at = 0.0

    async def open(self) -> None:
        """Nothing to open."""

    async def record(self) -> AsyncIterator[Samples]:
        """The same chunk every 20 ms."""
        chunk = np.full((320, 2), 1 / 32768, np.float32)
        due = time.monotonic()
        while True:
            due = max(due + 0.02, time.monotonic())
            await asyncio.sleep(due - time.monotonic())
            yield chunk

    def play(self, samples: Samples) -> None:
        """Note the first samples."""
        now = time.monotonic()
        self.played_at = self.played_at or now
        self._until = max(self._until, now) + len(samples) / 16000

    def queued_ms(self) -> float:
        """What a sound card would have yet to play."""
        return max(0.0, self._until - time.monotonic()) * 1000

    def hush(self) -> None:
        """Silence."""
        self._until = 0.0

    def notice(self, moment: Moment) -> None:
        """Note when the robot is welcomed."""
        if moment is Moment.READY:
            self.ready_at = self.ready_at or time.monotonic()

    async def close(self) -> None:
        """Nothing to close."""


@dataclass
class Ear:
    """When each session of the simulator was first heard."""

    first: dict[int, float] = field(default_factory=dict)

    def note(self, session: SimSession, name: str, at_ns: int, _detail: Any) -> None:
        """The simulator's event hook."""
        if name == "audio_in":
            self.first.setdefault(session.number, at_ns / 1e9)


@dataclass(frozen=True)
class Row:
    """One measurement, in s."""

    name: str
    s: list[float]
    budget_s: float | None = None

    def markdown(self) -> str:
        """The row: n, p50, min, max, and what was allowed."""
        told = f"| {self.name} | {len(self.s)} | {statistics.median(self.s):.2f} | {min(self.s):.2f} | {max(self.s):.2f} |"
        if self.budget_s is None:
            return f"{told} | |"
        return f"{told} {self.budget_s:g} | {'yes' if max(self.s) <= self.budget_s else '**no**'} |"


class Gateway:
    """A gateway's process, as its log tells when it listens; its health stands by then."""

    def __init__(self, sim: GeminiLiveSim, work: Path, address: Address, **more: object) -> None:
        settings = {
            "REACHY_KEYS_DIR": work / "gateway",
            "GATEWAY_HOST": address.host,
            "GATEWAY_UP_PORT": address.up_port,
            "GATEWAY_DOWN_PORT": address.down_port,
            "GATEWAY_MAX_ROBOTS": 1000,
            "GATEWAY_SIM_URL": sim.url,
            "GATEWAY_SIM_ROOT": sim.root_path,
            "GATEWAY_LEDGER": work / f"ledger-{address.up_port}.sqlite",
        }
        foreign = ("GEMINI", "GOOGLE", "GATEWAY", "REACHY")
        clean = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
        self._env = clean | {name: str(value) for name, value in (settings | more).items()}
        self._process: asyncio.subprocess.Process | None = None
        self._log: asyncio.Task[None] | None = None

    async def start(self) -> tuple[float, float]:
        """Start it; when that was, and when it listened.

        Raises:
            RuntimeError: If it does not come to listen.
        """
        began = time.monotonic()
        command = ["taskset", "--cpu-list", str((os.cpu_count() or 1) - 1), str(BIN / "gemini-gateway")]
        self._process = await asyncio.create_subprocess_exec(*command, env=self._env, stderr=asyncio.subprocess.PIPE)
        assert self._process.stderr
        async for line in self._process.stderr:
            if b"listening on ports" in line:
                listened = time.monotonic()
                self._log = asyncio.create_task(self._read(self._process.stderr))
                return began, listened
        raise RuntimeError("the gateway does not start")

    @property
    def pid(self) -> int:
        """Of the process that runs."""
        assert self._process
        return self._process.pid

    async def kill(self) -> float:
        """Kill it with -9; when that was."""
        assert self._process
        killed = time.monotonic()
        self._process.kill()
        await self._process.wait()
        return killed

    @staticmethod
    async def _read(log: asyncio.StreamReader) -> None:
        async for _ in log:
            pass


@asynccontextmanager
async def robots(work: Path, count: int, *addresses: Address) -> AsyncIterator[tuple[list[Runner], list[Light]]]:
    """So many robots that know these gateways."""
    runners, devices, tasks = [], [], []
    for n in range(count):
        identity = keys.load_robot(work / f"robot-{n}")
        device = Light()

        def profile(device: Device, robot: str = identity.robot) -> Profile:
            return Profile(robot, os.urandom(8).hex(), device.mic, device.speaker, device.lead_ms, "bench")

        runner = Runner(lambda device=device: device, identity, addresses[0], profile, addresses[1:])  # type: ignore[misc]
        devices.append(device)
        runners.append(runner)
        tasks.append(asyncio.create_task(runner.run()))
    try:
        yield runners, devices
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)


def make_keys(work: Path, count: int) -> None:
    """A gateway's and so many robots'."""
    public = keys.make_pair(work / "gateway").public.decode()
    ring = keys.Keyring(work / "gateway")
    for n in range(count):
        directory = work / f"robot-{n}"
        pair = keys.make_pair(directory)
        keys.write(directory / keys.ROBOT_ID_NAME, f"robot-{n}")
        keys.write(directory / keys.GATEWAY_NAME, public)
        ring.admit(f"robot-{n}", pair.public.decode())


async def until(condition: Callable[[], object]) -> None:
    """Wait for a condition, a look every 5 ms.

    Raises:
        TimeoutError: If it does not come true.
    """
    async with asyncio.timeout(LIMIT_S):
        while not condition():
            await asyncio.sleep(0.005)


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


async def storm(sim: GeminiLiveSim, ear: Ear, work: Path, count: int, runs: int) -> tuple[list[Row], float]:
    """A gateway of many robots is killed and started again; also the share of their core that the others used meanwhile."""
    gateway = Gateway(sim, work, ONE)
    starts, welcomes, talks, busy = [], [], [], []
    async with robots(work, count, ONE) as (runners, devices):
        talk = Talk(sim, ear, devices)
        await gateway.start()
        await talk.again()
        for _ in range(runs):
            await asyncio.sleep(2.0)
            await gateway.kill()
            await until(lambda: not any(runner.core.welcomed for runner in runners))
            talk = Talk(sim, ear, devices)
            began, listened = await gateway.start()
            cpu = time.process_time()
            welcomed, talked = await talk.again()
            busy.append((time.process_time() - cpu) / (time.monotonic() - listened))
            starts.append(listened - began)
            welcomes.append(welcomed - listened)
            talks.append(talked - listened)
        await gateway.kill()
    rows = [
        Row("gateway: start -> listens, healthy", starts, START_S),
        Row(f"kill -9 and start, {count} robots: listens -> the last is welcomed", welcomes),
        Row(f"kill -9 and start, {count} robots: listens -> all talk both ways", talks, TALK_S),
    ]
    return rows, max(busy)


async def fail_over(sim: GeminiLiveSim, ear: Ear, work: Path, kills: int) -> list[Row]:
    """Of two gateways the one that serves the robot is killed, again and again."""
    gateways = {address: Gateway(sim, work, address) for address in (ONE, TWO)}
    welcomes, talks = [], []
    for gateway in gateways.values():
        await gateway.start()
    async with robots(work, 1, ONE, TWO) as ([runner], devices):
        await Talk(sim, ear, devices).again()
        for _ in range(kills):
            await asyncio.sleep(3.5)
            serving = runner.core.route.here
            assert serving
            talk = Talk(sim, ear, devices)
            killed = await gateways[serving].kill()
            welcomed, talked = await talk.again()
            welcomes.append(welcomed - killed)
            talks.append(talked - killed)
            await gateways[serving].start()
    for gateway in gateways.values():
        await gateway.kill()
    return [
        Row("kill -9 of one of two gateways: killed -> welcomed by the other", welcomes),
        Row("kill -9 of one of two gateways: killed -> talks both ways", talks, FAIL_OVER_S),
    ]


def imports_s() -> list[float]:
    """How long the gateway's imports take, of its start; three times, on its core."""
    command = ["taskset", "--cpu-list", str((os.cpu_count() or 1) - 1), sys.executable, "-X", "importtime"]
    took = []
    for _ in range(3):
        done = subprocess.run([*command, "-c", "import gemini_gateway.__main__"], capture_output=True, text=True, check=True)
        line = re.search(r"\|\s+(\d+) \|\s+gemini_gateway.__main__$", done.stderr, re.MULTILINE)
        assert line
        took.append(int(line[1]) / 1e6)
    return took


async def measure(count: int = 50, runs: int = 5, kills: int = 12) -> tuple[list[Row], float]:
    """All rows, and the share of their core that robots and simulator used in the busiest storm."""
    ear = Ear()
    with tempfile.TemporaryDirectory(prefix="storm-") as directory:
        work = Path(directory)
        make_keys(work, count)
        settings = SimSettings(record_bytes=0, keep_sessions=10 * count)
        async with AsyncExitStack() as stack:
            sim = await stack.enter_async_context(serve(settings, on_event=ear.note))
            hello = Step(on="ready", action=Say(n_ms=200))
            sim.behaviour = Behaviour(mode="tone", speed=0, vad_threshold_dbfs=0, max_age_s=None, script=(hello,))
            imports = Row("of which imports", await asyncio.to_thread(imports_s))
            (start, *storms), busy = await storm(sim, ear, work, count, runs)
            return [start, imports, *storms, *await fail_over(sim, ear, work, kills)], busy


def main() -> int:
    """Print the table; exit status 1 if the run is void."""
    parser = argparse.ArgumentParser()
    for name, default in (("robots", 50), ("runs", 5), ("kills", 12)):
        parser.add_argument(f"--{name}", type=int, default=default)
    given = parser.parse_args()
    os.sched_setaffinity(0, {0})
    rows, busy = asyncio.run(measure(given.robots, given.runs, given.kills))
    print("| s | n | p50 | min | max | at most | held |\n|---|---|---|---|---|---|---|")
    for row in rows:
        print(row.markdown())
    print(f"\nRobots and simulator used up to {busy:.0%} of their core while the gateway's robots came back.")
    if busy > BUSY_MAX:
        print("VOID: the load generator was too busy to be believed.")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
