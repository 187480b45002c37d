"""What the benches stand on: keys, the real gateway on the last core, robots on the first, and where results are kept."""

import asyncio
import gc
import json
import logging
import os
import platform
import statistics
import sys
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final, Self, TypeVar

import numpy as np
import uvloop

from reachy_link import keys
from reachy_link.address import Address
from reachy_link.pcm import Format, Samples
from reachy_robot.decisions import Profile
from reachy_robot.runner import Runner
from reachy_robot.sound import Device, Moment
from reachy_service.well import ask

BIN: Final = Path(sys.executable).parent
LOAD_CORE, GATEWAY_CORE = 0, (os.cpu_count() or 1) - 1
BUSY_MAX: Final = 0.8
"""A run whose load generator used more of its core than this is void."""
START_LIMIT_S: Final = 30.0
STEREO: Final = Format(rate_hz=16000, channels=2)
CHUNK_S: Final = 0.02
CHUNK_SAMPLES: Final = 320
NUMBERS: Final = 30_000
"""Chunks are numbered modulo this, 600 s: what a sample can hold."""
TICKS: Final = os.sysconf("SC_CLK_TCK")
PAGE: Final = os.sysconf("SC_PAGE_SIZE")

logging.getLogger("robot_io").setLevel(logging.ERROR)  # what robots say of gateways that die would bury the tables


T = TypeVar("T")


def generate(load: Coroutine[Any, Any, T]) -> T:
    """Run a load generator for minutes, as cheaply as can be.

    Its collector would hold up all robots by up to 70 ms at a time, for nothing; the threads of libzmq, one for each robot,
    take their turns rather than interrupt.
    """
    gc.disable()
    if sys.platform == "linux":
        os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
    return uvloop.run(load)


def percentile(values: Sequence[float], percent: float) -> float:
    """The value that so many percent of the values stay below; nan of none."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * percent / 100))] if ordered else float("nan")


@dataclass(frozen=True)
class Timing:
    """One thing, measured many times."""

    what: str
    values: list[float]
    at_most: dict[str, float] = field(default_factory=dict)
    """What was allowed, by the number's name."""

    @property
    def numbers(self) -> dict[str, float]:
        """What is told of the values."""
        p50, p99 = statistics.median(self.values), percentile(self.values, 99)
        return {"min": min(self.values), "p50": p50, "p99": p99, "max": max(self.values)}

    @property
    def held(self) -> bool:
        """Whether it stayed within what was allowed."""
        return all(self.numbers[name] <= limit for name, limit in self.at_most.items())

    def told(self) -> dict[str, object]:
        """For a file."""
        return {"what": self.what, "n": len(self.values), **self.numbers, "at_most": self.at_most, "held": self.held}


def table(timings: Iterable[Timing], unit: str, digits: int) -> str:
    """Markdown."""
    lines = [f"| what, in {unit} | n | min | p50 | p99 | max | at most | held |", "|---" * 8 + "|"]
    for timing in timings:
        cells = [timing.what, str(len(timing.values)), *(f"{value:.{digits}f}" for value in timing.numbers.values())]
        cells.append(", ".join(f"{name} {limit:g}" for name, limit in timing.at_most.items()))
        cells.append("" if not timing.at_most else "yes" if timing.held else "**no**")
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def machine() -> dict[str, str]:
    """What it was measured on."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    cpu = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())
    versions = {name: version(name) for name in ("pyzmq", "google-genai", "websockets", "uvloop", "pydantic", "numpy", "soxr")}
    load = " ".join(f"{part:.2f}" for part in os.getloadavg())
    about = {"cpu": cpu, "cores": str(os.cpu_count()), "kernel": platform.release(), "python": platform.python_version()}
    return about | {"load before": load} | versions


def keep(directory: Path | None, name: str, about: dict[str, str], result: object) -> None:
    """Write a result, with what it was measured on, as JSON; without a directory do nothing."""
    if directory:
        directory.mkdir(parents=True, exist_ok=True)
        (directory / f"{name}.json").write_text(
            json.dumps({"machine": about, "result": result}, indent=1, allow_nan=False) + "\n"
        )


def pinned(core: int, command: Iterable[object]) -> list[str]:
    """The command with all its threads on one core, scheduled as any other, whatever we are."""
    return ["taskset", "--cpu-list", str(core), "chrt", "--other", "0", *map(str, command)]


def cpu_s(pid: int) -> float:
    """Processor time that a process has used, all threads."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def memory_bytes(pid: int) -> int:
    """A process's resident set."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * PAGE


def make_keys(work: Path, count: int) -> None:
    """A gateway's and so many robots', robot-0 and on."""
    public = keys.make_pair(work / "gateway").public.decode()
    ring = keys.Keyring(work / "gateway")
    for n in range(count):
        directory = work / f"robot-{n}"
        pair = keys.make_pair(directory)
        keys.write(directory / keys.ROBOT_ID_NAME, f"robot-{n}")
        keys.write(directory / keys.GATEWAY_NAME, public)
        ring.admit(f"robot-{n}", pair.public.decode())


class Gateway:
    """The real process, with all its threads on the last core, its log in the working directory.

    Args:
        work: Where :func:`make_keys` was.
        url: What stands in Gemini's place.
        root: Who that one's certificate is trusted from.
        port: The first of three on the loopback: up, down, health. Below those that the system gives to dialers, which
            many robots might take.
        more: Further settings, as in the environment.
    """

    def __init__(self, work: Path, url: str, root: Path, port: int, **more: object) -> None:
        self.address = Address("127.0.0.1", port, port + 1)
        self.health_port = port + 2
        settings: dict[str, object] = {
            "REACHY_KEYS_DIR": work / "gateway",
            "REACHY_HEALTH_PORT": self.health_port,
            "GATEWAY_HOST": self.address.host,
            "GATEWAY_UP_PORT": self.address.up_port,
            "GATEWAY_DOWN_PORT": self.address.down_port,
            "GATEWAY_MAX_ROBOTS": 1000,
            "GATEWAY_SIM_URL": url,
            "GATEWAY_SIM_ROOT": root,
            "GATEWAY_LEDGER": work / f"ledger-{port}.sqlite",
        }
        foreign = ("GEMINI", "GOOGLE", "GATEWAY", "REACHY")
        clean = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
        self._environment = clean | {name: str(value) for name, value in (settings | more).items()}
        self._log = work / f"gateway-{port}.log"
        self._process: asyncio.subprocess.Process | None = None

    @property
    def pid(self) -> int:
        """Of the process that runs."""
        assert self._process
        return self._process.pid

    async def start(self) -> tuple[float, float]:
        """Start it; when that was, and when its health was well.

        Raises:
            RuntimeError: If it does not come to be well, with its log.
        """
        began = time.monotonic()
        with self._log.open("ab") as log:
            command = pinned(GATEWAY_CORE, [BIN / "gemini-gateway"])
            self._process = await asyncio.create_subprocess_exec(*command, env=self._environment, stderr=log)
        while not (await asyncio.to_thread(ask, self.health_port))[0]:
            if self._process.returncode is not None or time.monotonic() - began > START_LIMIT_S:
                raise RuntimeError(f"the gateway does not start:\n{self._log.read_text()}")
            await asyncio.sleep(0.01)
        return began, time.monotonic()

    async def kill(self) -> float:
        """Kill it with -9, if it runs; when that was."""
        assert self._process
        killed = time.monotonic()
        if self._process.returncode is None:
            self._process.kill()
            await self._process.wait()
        return killed

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.kill()


class Light:
    """A device that costs next to nothing: a faint microphone, and a speaker that notes when it is given something."""

    lead_ms = 40
    mic = speaker = STEREO

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
        chunk = np.full((CHUNK_SAMPLES, 2), 1 / 32768, np.float32)
        due = time.monotonic()
        while True:
            due = max(due + CHUNK_S, time.monotonic())
            await asyncio.sleep(due - time.monotonic())
            yield chunk

    def play(self, samples: Samples) -> None:
        """Note the first samples."""
        now = time.monotonic()
        self.played_at = self.played_at or now
        self._until = max(self._until, now) + len(samples) / STEREO.rate_hz

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


class Numbered(Light):
    """A device whose mic chunks hold their number, and which remembers when they were said."""

    def __init__(self) -> None:
        super().__init__()
        self.said_s: list[float] = []

    async def record(self) -> AsyncIterator[Samples]:
        """A chunk every 20 ms, on time or at once; its number is 1 + its index, modulo ``NUMBERS``."""
        due = time.monotonic()
        while True:
            due += CHUNK_S
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            number = len(self.said_s) % NUMBERS + 1
            self.said_s.append(time.monotonic())
            yield np.full((CHUNK_SAMPLES, 2), number / 32768, np.float32)


def chunk_numbers(pcm: bytes) -> list[int]:
    """Which chunks of a :class:`Numbered` device are in a message on Gemini's socket."""
    return [int(number) for number in np.frombuffer(pcm, "<i2")[::CHUNK_SAMPLES]]


def make_runner(work: Path, robot: str, make_device: Callable[[], Device], *addresses: Address) -> Runner:
    """A robot of :func:`make_keys` that knows these gateways."""

    def profile(device: Device) -> Profile:
        return Profile(robot, os.urandom(8).hex(), device.mic, device.speaker, device.lead_ms, "bench")

    return Runner(make_device, keys.load_robot(work / robot), addresses[0], profile, addresses[1:])


@asynccontextmanager
async def robots(work: Path, devices: Sequence[Device], *addresses: Address) -> AsyncIterator[list[Runner]]:
    """A robot for each device, robot-0 and on."""
    runners = [make_runner(work, f"robot-{n}", lambda it=it: it, *addresses) for n, it in enumerate(devices)]  # type: ignore[misc]
    tasks = [asyncio.create_task(runner.run()) for runner in runners]
    try:
        yield runners
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)


async def until(condition: Callable[[], object], limit_s: float = 30.0, look_s: float = 0.005) -> None:
    """Wait for a condition of this process, with a look now and then.

    Raises:
        TimeoutError: If it does not come true.
    """
    async with asyncio.timeout(limit_s):
        while not condition():
            await asyncio.sleep(look_s)
