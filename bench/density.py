"""How many robots one core carries: the real gateway, pinned to a core, between light robots and a server in Gemini's place.

``python bench/density.py`` runs the table; bench/README.md has the method.
"""

import argparse
import asyncio
import json
import math
import statistics
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from harness.gateway import GATEWAY_CORE, LOAD_CORE, Gateway, cpu_s, make_keys, memory_bytes, pinned, reserved
from harness.others import LATE_MAX_MS, OTHERS_MAX, Others
from harness.peers import PEERS, peer
from harness.results import BUSY_MAX, keep, machine, percentile
from harness.tools import equipped
from reachy_service.well import ask

HERE: Final = Path(__file__).parent
ROBOTS: Final = (1, 10, 20, 40, 60, 100)
FLOOR_ROBOTS: Final = (20, 40, 100)
P99_MS, CUT_P99_MS = 50.0, 40.0
KEPT: Final = 0.995
"""What counts as no loss. Down, messages are counted when sent and chunks when heard, so the counts differ at both ends."""
SECONDS: Final = 6.0
HOLDS: Final = ((0.33, 100), (0.6, 60), (0.8, 40))
"""The share of a core that the bare SDK takes for forty robots, and how many robots a gateway then must hold."""
TOOLS: Final = "with-tools"
"""The gateway with ten tools for each robot, and one call every 10 s."""
BODIES: Final = "with-bodies"
"""The gateway with robots that have a body, each asked to move every 10 s."""
OURS: Final = ("gateway", TOOLS, BODIES)
PORT: Final = reserved(27555)


@dataclass(frozen=True)
class Run:
    """One run's numbers."""

    what: str
    robots: int
    told: dict[str, Any]
    """The load generator's measurements."""
    cpu: float
    """The share of one core."""
    memory_mb: float
    others: float
    """What other programs took, as a share of one core."""

    def ms(self, way: str, percent: float) -> float:
        """A percentile of one way."""
        return percentile(self.told[way], percent)

    @property
    def void(self) -> str:
        """Why the run is void; empty if it is not."""
        if self.told["busy"] > BUSY_MAX:
            return f"the load generator used {self.told['busy']:.0%} of its core"
        if self.others > OTHERS_MAX:
            return f"other programs took {self.others:.0%} of a core"
        if self.told["late_ms"] and (late_ms := self.ms("late_ms", 99)) > LATE_MAX_MS:
            return f"the robots themselves were held up, by {late_ms:.0f} ms at p99"
        return ""

    @property
    def kept(self) -> float:
        """The share that arrived of microphone chunks or of speech, whichever is less. A floor has microphone chunks only."""
        up = float(self.told["up_heard"] / max(1, self.told["up_sent"]))
        if self.told["calls"] > len(self.told["call_ms"]) + 1:  # one may be on its way at the end
            return 0.0
        return min(up, self.told["down_heard"] / max(1, self.told["down_sent"])) if self.told["down_ms"] else up

    @property
    def verdict(self) -> str:
        """Whether everything was in time and nothing was lost. A run on a busy machine is void."""
        if self.void:
            return "void"
        limits = {"up_ms": P99_MS, "down_ms": P99_MS, "cut_ms": CUT_P99_MS}
        in_time = all(self.ms(way, 99) <= limit for way, limit in limits.items() if self.told[way])
        return "yes" if in_time and self.kept > KEPT else "no"


@asynccontextmanager
async def load(work: Path, robots: int, seconds: float, *more: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """The load generator, on the first core."""
    command = [sys.executable, HERE / "generate.py", work, str(robots), str(seconds), *more]
    process = await asyncio.create_subprocess_exec(*pinned(LOAD_CORE, command), stdout=asyncio.subprocess.PIPE, limit=2**28)
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


class LoadEndedError(RuntimeError):
    """The load generator ended before it had measured: on a machine that is too slow not all robots are admitted."""


async def told(process: asyncio.subprocess.Process) -> dict[str, Any]:
    """The next line of JSON from the load generator.

    Raises:
        LoadEndedError: If there is none.
    """
    assert process.stdout
    if not (line := await process.stdout.readline()):
        raise LoadEndedError("the load generator ended; its reason is above")
    return dict(json.loads(line))


async def run(work: Path, what: str, robots: int, seconds: float, settings: dict[str, str], *, bursts: bool = False) -> Run:
    """Run the gateway with these settings, or a peer, under so many robots."""
    dials = ["--dial", str(PORT)] if what in OURS else []
    more = ["--bodies"] if what == BODIES else ["--tools"] if what == TOOLS else []
    if what == TOOLS:
        settings = settings | equipped(work)
    if bursts:
        more = [*more, "--bursts"]
    async with AsyncExitStack() as stack:
        generator = await stack.enter_async_context(load(work, robots, seconds, *dials, *more))
        url, root = f"https://127.0.0.1:{(await told(generator))['port']}", work / "tls" / "root.pem"
        gateway = Gateway(work, url, root, PORT, **settings)
        beside = None if dials else await stack.enter_async_context(peer(what, url, root, robots, bursts=bursts))
        pid = beside.pid if beside else (await stack.enter_async_context(gateway)).pid
        await told(generator)  # the load generator measures from now on
        others, before_s, loop = Others({LOAD_CORE, GATEWAY_CORE}, (pid, generator.pid)), cpu_s(pid), asyncio.get_running_loop()
        since = loop.time()
        await asyncio.sleep(seconds - 0.5)
        cpu, taken = (seen_s / (loop.time() - since) for seen_s in (cpu_s(pid) - before_s, others.taken_s()))
        memory_mb = memory_bytes(pid) / 1e6
        result = await told(generator)
        if beside:
            await beside.end(result)
        elif result["up_heard"] < KEPT * result["up_sent"]:
            is_well, page = await asyncio.to_thread(ask, gateway.health_port)
            counts = json.loads(page)["counts"] if is_well else page
            print(f"the gateway's counts of this run, which lost something: {counts}", file=sys.stderr)
    return Run(what, robots, result, cpu, memory_mb, taken)


@dataclass(frozen=True)
class Row:
    """Several runs of the same kind."""

    runs: list[Run]

    def over(self, value: Callable[[Run], float]) -> list[float]:
        """A number of each run, sorted."""
        return sorted(value(run) for run in self.runs)

    def middle(self, value: Callable[[Run], float]) -> float:
        """The median."""
        return statistics.median(self.over(value))

    @property
    def verdict(self) -> str:
        """The worst verdict of the runs."""
        verdicts = {run.verdict for run in self.runs}
        return next(word for word in ("void", "no", "yes") if word in verdicts)

    def markdown(self) -> str:
        """A table row of medians, with the smallest and the largest."""

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
        """The row for a JSON file."""
        first = self.runs[0]
        numbers = {name: [None if math.isnan(it) else it for it in self.over(value)] for name, value in NUMBERS.items()}
        return {"what": first.what, "robots": first.robots, "held": self.verdict, **numbers}


NUMBERS: Final[dict[str, Callable[[Run], float]]] = {
    "up p50 ms": lambda run: run.ms("up_ms", 50),
    "up p99 ms": lambda run: run.ms("up_ms", 99),
    "down p50 ms": lambda run: run.ms("down_ms", 50),
    "down p99 ms": lambda run: run.ms("down_ms", 99),
    "content p99 ms": lambda run: run.ms("content_ms", 99),
    "cut p50 ms": lambda run: run.ms("cut_ms", 50),
    "cut p99 ms": lambda run: run.ms("cut_ms", 99),
    "old p99 ms": lambda run: run.ms("old_ms", 99),
    "call p99 ms": lambda run: run.ms("call_ms", 99),
    "CPU %": lambda run: run.cpu * 100,
    "MB": lambda run: run.memory_mb,
    "lost %": lambda run: max(0.0, 1 - run.kept) * 100,
    "underruns": lambda run: float(run.told["underruns"]),
    "chunks/message": lambda run: float(run.told["up_heard"]) / max(1, run.told["messages_up"]),
    "load %": lambda run: float(run.told["busy"]) * 100,
    "others %": lambda run: run.others * 100,
}
HEADER: Final = "| what | robots | " + " | ".join(NUMBERS) + " | held |\n" + "|---" * (len(NUMBERS) + 3) + "|"


def plot(rows: list[Row], path: Path) -> None:
    """Draw how cost and latency grow with the number of robots, as a PNG."""
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
    """Print the table. Returns the exit status."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--robots", type=int, nargs="+", default=ROBOTS)
    parser.add_argument("--what", nargs="+", default=["sdk", "raw", "gateway"], choices=[*OURS, *PEERS])
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=SECONDS)
    parser.add_argument("--set", nargs="*", default=[], metavar="NAME=VALUE", help="further settings of the gateway")
    parser.add_argument("--out", type=Path, help="a folder for density.json and density.png")
    args = parser.parse_args(argv)
    with tempfile.TemporaryDirectory(prefix="bench-") as directory:
        work = Path(directory)
        make_keys(work, max(args.robots))
        about, rows = machine(), []
        settings = dict(setting.split("=", 1) for setting in args.set)
        print(HEADER, flush=True)
        for what in args.what:
            for robots in args.robots if what in OURS else [n for n in args.robots if n in FLOOR_ROBOTS]:
                rows.append(Row([await run(work, what, robots, args.seconds, settings) for _ in range(args.runs)]))
                print(rows[-1].markdown(), flush=True)
    if len(ours := [row for row in rows if row.runs[0].what == "gateway"]) > 1:
        more = ours[-1].runs[0].robots - ours[0].runs[0].robots
        cost, memory = (ours[-1].middle(NUMBERS[name]) - ours[0].middle(NUMBERS[name]) for name in ("CPU %", "MB"))
        print(f"\nEach further robot: {cost / more:.2f} % of a core, {memory / more:.2f} MB.")
    print("\n" + ", ".join(f"{name} {value}" for name, value in about.items()))
    keep(args.out, "density", about, [row.told() for row in rows])
    if args.out:
        plot(rows, args.out / "density.png")
    return verdict(rows)


def verdict(rows: Sequence[Row]) -> int:
    """Print which runs are void and which bounds were missed. Returns the exit status."""
    void = [run for row in rows for run in row.runs if run.void]
    for run in void:
        print(f"VOID: {run.what} with {run.robots} robots: {run.void}.")
    floors = {row.runs[0].robots: row for row in rows if row.runs[0].what == "sdk"}
    small = floors.get(FLOOR_ROBOTS[0])
    if small and small.verdict == "no":
        print(f"VOID: the floor itself missed {P99_MS:g} ms with {FLOOR_ROBOTS[0]} robots: the machine was busy.")
        return 1
    missed = []
    if measure := floors.get(FLOOR_ROBOTS[1]):
        share = measure.middle(NUMBERS["CPU %"]) / 100
        holds = next((robots for most, robots in HOLDS if share <= most), FLOOR_ROBOTS[0])
        missed = [row for row in rows if row.runs[0].what in OURS and row.runs[0].robots <= holds and row.verdict == "no"]
        print(f"With {share:.0%} of a core for {FLOOR_ROBOTS[1]} robots on the bare SDK a gateway has to hold {holds}.")
    for row in missed:
        print(f"MISSED: {row.runs[0].what} with {row.runs[0].robots} robots.")
    return 1 if void or missed else 0


if __name__ == "__main__":
    sys.exit(asyncio.run(main(sys.argv[1:])))
