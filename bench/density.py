"""How many robots one core carries: the real gateway, pinned to a core, between light robots and a server in Gemini's place.

``python bench/density.py`` runs the table; bench/README.md has the method.
"""

import argparse
import asyncio
import json
import os
import statistics
import sys
import tempfile
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from reachy_link import keys

HERE: Final = Path(__file__).parent
ROBOTS: Final = (1, 10, 20, 40, 60, 100)
FLOOR_ROBOTS: Final = (1, 20, 40, 100)
SECONDS: Final = 12.0
PORTS: Final = (47555, 47556, 47557)
BUSY_MAX: Final = 0.8
TICKS: Final = os.sysconf("SC_CLK_TCK")
PAGE: Final = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True)
class Run:
    """One run's numbers."""

    what: str
    robots: int
    told: dict[str, Any]
    """What the load generator measured."""
    cpu: float
    """Of one core."""
    memory_mb: float

    def ms(self, way: str, percent: float) -> float:
        """A percentile of one way."""
        ordered: list[float] = sorted(self.told[way])
        return float(ordered[min(len(ordered) - 1, int(len(ordered) * percent / 100))]) if ordered else float("nan")

    @property
    def kept(self) -> float:
        """How much of the microphone's chunks arrived, and of the speech."""
        return float(self.told["up_heard"] / max(1, self.told["up_sent"]))


def make_keys(work: Path, robots: int) -> None:
    """Make the gateway's and the robots' keys."""
    gateway = keys.make_pair(work / "gateway")
    ring = keys.Keyring(work / "gateway")
    for n in range(robots):
        directory = work / f"robot-{n}"
        ring.admit(f"robot-{n}", keys.make_pair(directory).public.decode())
        keys.write(directory / keys.ROBOT_ID_NAME, f"robot-{n}")
        keys.write(directory / keys.GATEWAY_NAME, gateway.public.decode())


def pinned(core: int, command: Iterable[object]) -> list[str]:
    """The command with all its threads on one core."""
    return ["taskset", "--cpu-list", str(core), *map(str, command)]


def cpu_s(pid: int) -> float:
    """Processor time that a process has used, all threads."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def memory_mb(pid: int) -> float:
    """A process's resident set."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * PAGE / 1e6


@asynccontextmanager
async def load(work: Path, robots: int, seconds: float, *more: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """The load generator, on the first core."""
    command = [sys.executable, HERE / "load.py", work, str(robots), str(seconds), *more]
    process = await asyncio.create_subprocess_exec(*pinned(0, command), stdout=asyncio.subprocess.PIPE, limit=2**28)
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def told(process: asyncio.subprocess.Process) -> dict[str, Any]:
    """The next line of JSON."""
    assert process.stdout
    line = await process.stdout.readline()
    return dict(json.loads(line))


def gateway_environment(work: Path, port: int) -> dict[str, str]:
    """What the gateway is told."""
    settings = {
        "REACHY_KEYS_DIR": work / "gateway",
        "REACHY_LOG_LEVEL": "WARNING",
        "GATEWAY_HOST": "127.0.0.1",
        "GATEWAY_UP_PORT": PORTS[0],
        "GATEWAY_DOWN_PORT": PORTS[1],
        "GATEWAY_MAX_ROBOTS": 500,
        "GATEWAY_SIM_URL": f"https://127.0.0.1:{port}",
        "GATEWAY_SIM_ROOT": work / "tls" / "root.pem",
        "GATEWAY_LEDGER": work / "ledger.sqlite",
    }
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("GEMINI", "GOOGLE", "GATEWAY"))}
    return clean | {name: str(value) for name, value in settings.items()}


async def run(work: Path, what: str, robots: int, seconds: float = SECONDS) -> Run:
    """The gateway, or a floor, under so many robots."""
    is_floor = what != "gateway"
    async with load(work, robots, seconds, *(["--no-robots"] if is_floor else [])) as generator:
        port = (await told(generator))["port"]
        root = work / "tls" / "root.pem"
        if is_floor:
            command: list[object] = [sys.executable, HERE / "floors.py", what, f"https://127.0.0.1:{port}", root, str(robots)]
            environment = dict(os.environ)
        else:
            command = [Path(sys.executable).parent / "gemini-gateway"]
            environment = gateway_environment(work, port)
        process = await asyncio.create_subprocess_exec(*pinned(last_core(), command), env=environment)
        try:
            await told(generator)  # it measures from now on
            before_s, loop = cpu_s(process.pid), asyncio.get_running_loop()
            since = loop.time()
            await asyncio.sleep(seconds - 0.5)
            cpu = (cpu_s(process.pid) - before_s) / (loop.time() - since)
            memory = memory_mb(process.pid)
            result = await told(generator)
        finally:
            process.terminate()
            await process.wait()
    return Run(what, robots, result, cpu, memory)


def last_core() -> int:
    """The core that is measured."""
    return (os.cpu_count() or 1) - 1


def row(runs: list[Run]) -> str:
    """Some runs of the same: medians, and the worst and best p99."""

    def over(value: Any) -> str:
        values = sorted(value(run) for run in runs)
        middle = statistics.median(values)
        return f"{middle:.1f}" if len(values) == 1 else f"{middle:.1f} ({values[0]:.1f}..{values[-1]:.1f})"

    first = runs[0]
    lost = max(1 - run.kept for run in runs)
    cells = [
        first.what,
        str(first.robots),
        over(lambda r: r.ms("up_ms", 50)),
        over(lambda r: r.ms("up_ms", 99)),
        over(lambda r: r.ms("down_ms", 50)),
        over(lambda r: r.ms("down_ms", 99)),
        over(lambda r: r.ms("content_ms", 99)),
        over(lambda r: r.ms("cut_ms", 99)),
        over(lambda r: r.cpu * 100),
        over(lambda r: r.memory_mb),
        f"{lost:.2%}",
        str(max(run.told["underruns"] for run in runs)),
        over(lambda r: r.told["up_heard"] / max(1, r.told["messages_up"])),
        over(lambda r: r.told["busy"] * 100),
    ]
    return "| " + " | ".join(cells) + " |"


WAYS: Final = ("up p50 ms", "up p99", "down p50", "down p99", "content p99", "cut p99")
COLUMNS: Final = ("what", "robots", *WAYS, "CPU %", "MB", "lost", "underruns", "chunks/message", "load %")
HEADER: Final = "| " + " | ".join(COLUMNS) + " |\n" + "|---" * len(COLUMNS) + "|"


async def main(argv: list[str]) -> int:
    """Print the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--robots", type=int, nargs="+", default=ROBOTS)
    parser.add_argument("--what", nargs="+", default=["gateway"], choices=["gateway", "sdk", "raw"])
    parser.add_argument("--runs", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=SECONDS)
    args = parser.parse_args(argv)
    with tempfile.TemporaryDirectory(prefix="bench-") as directory:
        work = Path(directory)
        make_keys(work, max(args.robots))
        print(HEADER, flush=True)
        for what in args.what:
            for robots in args.robots:
                runs = [await run(work, what, robots, args.seconds) for _ in range(args.runs)]
                print(row(runs), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(asyncio.run(main(sys.argv[1:])))
