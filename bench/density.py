"""How many robots one core carries: the real gateway, pinned to a core, between light robots and a server in Gemini's place.

``python bench/density.py`` runs the table; bench/README.md has the method.
"""

import argparse
import asyncio
import json
import math
import os
import platform
import statistics
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

from reachy_link import keys
from reachy_link.health import ask

HERE: Final = Path(__file__).parent
ROBOTS: Final = (1, 10, 20, 40, 60, 100)
FLOOR_ROBOTS: Final = (20, 40, 100)
P99_MS: Final = 50.0
KEPT: Final = 0.995
"""What counts as nothing lost: chunks under way when the measurement begins and ends are counted at one end only."""
SECONDS: Final = 6.0
PORTS: Final = (27555, 27556, 27557)
HEALTH_PORT: Final = 27558
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
        "REACHY_HEALTH_PORT": HEALTH_PORT,
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
            if not is_floor and result["up_heard"] < KEPT * result["up_sent"]:
                is_well, page = await asyncio.to_thread(ask, HEALTH_PORT)
                counts = json.loads(page)["counts"] if is_well else page
                print(f"the gateway's counts of this run, which lost something: {counts}", file=sys.stderr)
        finally:
            process.terminate()
            await process.wait()
    return Run(what, robots, result, cpu, memory)


def last_core() -> int:
    """The core that is measured."""
    return (os.cpu_count() or 1) - 1


@dataclass(frozen=True)
class Row:
    """Some runs of the same."""

    runs: list[Run]

    def over(self, value: Callable[[Run], float]) -> list[float]:
        """A number of each run, in order of size."""
        return sorted(value(run) for run in self.runs)

    def middle(self, value: Callable[[Run], float]) -> float:
        """The median."""
        return statistics.median(self.over(value))

    @property
    def verdict(self) -> str:
        """Whether both ways held, and nothing was lost; a run whose generator was too busy says nothing."""
        if self.middle(lambda run: run.told["busy"]) > BUSY_MAX:
            return "void"
        ways = [way for way in ("up_ms", "down_ms") if self.runs[0].told[way]]  # of a floor only up is stamped
        held = all(self.middle(lambda run, way=way: run.ms(way, 99)) <= P99_MS for way in ways)  # type: ignore[misc]
        return "yes" if held and self.middle(lambda run: run.kept) > KEPT else "no"

    def markdown(self) -> str:
        """Medians, with the smallest and the largest."""

        def cell(value: Callable[[Run], float]) -> str:
            values = self.over(value)
            if any(map(math.isnan, values)):
                return "-"
            shown = f"{statistics.median(values):.1f}"
            return shown if len(values) == 1 else f"{shown} ({values[0]:.1f}..{values[-1]:.1f})"

        first = self.runs[0]
        cells = [first.what, str(first.robots), *(cell(value) for value in NUMBERS.values()), self.verdict]
        return "| " + " | ".join(cells) + " |"

    def told(self) -> dict[str, Any]:
        """For a file."""
        first = self.runs[0]
        numbers = {name: self.over(value) for name, value in NUMBERS.items()}
        return {"what": first.what, "robots": first.robots, "held": self.verdict, **numbers}


NUMBERS: Final[dict[str, Callable[[Run], float]]] = {
    "up p50 ms": lambda run: run.ms("up_ms", 50),
    "up p99 ms": lambda run: run.ms("up_ms", 99),
    "down p50 ms": lambda run: run.ms("down_ms", 50),
    "down p99 ms": lambda run: run.ms("down_ms", 99),
    "content p99 ms": lambda run: run.ms("content_ms", 99),
    "cut p99 ms": lambda run: run.ms("cut_ms", 99),
    "CPU %": lambda run: run.cpu * 100,
    "MB": lambda run: run.memory_mb,
    "lost %": lambda run: max(0.0, 1 - run.kept) * 100,
    "underruns": lambda run: float(run.told["underruns"]),
    "chunks/message": lambda run: float(run.told["up_heard"]) / max(1, run.told["messages_up"]),
    "load %": lambda run: float(run.told["busy"]) * 100,
}
HEADER: Final = "| what | robots | " + " | ".join(NUMBERS) + " | held |\n" + "|---" * (len(NUMBERS) + 3) + "|"


def machine() -> dict[str, str]:
    """What it was measured on."""
    cpu = next(
        (
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if line.startswith("model name")
        ),
        platform.machine(),
    )
    versions = {name: version(name) for name in ("pyzmq", "google-genai", "websockets", "uvloop", "pydantic", "numpy", "soxr")}
    load = " ".join(f"{part:.2f}" for part in os.getloadavg())
    about = {"cpu": cpu, "cores": str(os.cpu_count()), "kernel": platform.release(), "python": platform.python_version()}
    return about | {"load before": load} | versions


def plot(rows: list[Row], path: Path) -> None:
    """How cost and latency grow with robots, as a PNG."""
    import matplotlib as mpl  # noqa: PLC0415 - only here

    mpl.use("Agg")
    from matplotlib import pyplot as plt  # noqa: PLC0415

    figure, (cost, late) = plt.subplots(1, 2, figsize=(11, 4.2), layout="constrained")
    for what in dict.fromkeys(row.runs[0].what for row in rows):
        mine = [row for row in rows if row.runs[0].what == what]
        robots = [row.runs[0].robots for row in mine]
        cost.plot(robots, [row.middle(NUMBERS["CPU %"]) for row in mine], marker="o", label=what)
        late.plot(robots, [row.middle(NUMBERS["up p99 ms"]) for row in mine], marker="o", label=f"{what}: up")
        if what == "gateway":
            late.plot(robots, [row.middle(NUMBERS["down p99 ms"]) for row in mine], marker="s", label="gateway: down")
    cost.set(xlabel="robots", ylabel="% of one core", ylim=(0, 105), title="Cost")
    late.axhline(P99_MS, color="grey", linestyle=":")
    late.set(xlabel="robots", ylabel="p99, ms", yscale="log", title="Latency")
    for axes in (cost, late):
        axes.legend()
        axes.grid(alpha=0.3)
    figure.savefig(path, dpi=110)


async def main(argv: list[str]) -> int:
    """Print the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--robots", type=int, nargs="+", default=ROBOTS)
    parser.add_argument("--what", nargs="+", default=["sdk", "raw", "gateway"], choices=["gateway", "sdk", "raw"])
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=SECONDS)
    parser.add_argument("--out", type=Path, help="a folder for density.json and density.png")
    args = parser.parse_args(argv)
    with tempfile.TemporaryDirectory(prefix="bench-") as directory:
        work = Path(directory)
        make_keys(work, max(args.robots))
        about, rows = machine(), []
        print(HEADER, flush=True)
        for what in args.what:
            for robots in args.robots if what == "gateway" else [n for n in args.robots if n in FLOOR_ROBOTS]:
                rows.append(Row([await run(work, what, robots, args.seconds) for _ in range(args.runs)]))
                print(rows[-1].markdown(), flush=True)
    if len(ours := [row for row in rows if row.runs[0].what == "gateway"]) > 1:
        more = ours[-1].runs[0].robots - ours[0].runs[0].robots
        cost, memory = (ours[-1].middle(NUMBERS[name]) - ours[0].middle(NUMBERS[name]) for name in ("CPU %", "MB"))
        print(f"\nEach further robot: {cost / more:.2f} % of a core, {memory / more:.2f} MB.")
    print("\n" + ", ".join(f"{name} {value}" for name, value in about.items()))
    if args.out:
        args.out.mkdir(parents=True, exist_ok=True)
        (args.out / "density.json").write_text(
            json.dumps({"machine": about, "rows": [row.told() for row in rows]}, indent=1) + "\n"
        )
        plot(rows, args.out / "density.png")
    small = [row for row in rows if row.runs[0].what == "sdk" and row.runs[0].robots <= FLOOR_ROBOTS[0]]
    if any(row.verdict != "yes" for row in small):
        print(f"VOID: the floor itself missed {P99_MS:g} ms with {FLOOR_ROBOTS[0]} robots: the machine was busy.")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(asyncio.run(main(sys.argv[1:])))
