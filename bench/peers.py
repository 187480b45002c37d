"""The gateway compared with other ways to Gemini Live, on the same work in one run: ``make bench-peers``; see bench/README.md.

Runs of all kinds alternate, so that a machine whose speed drifts affects all kinds alike. The exit status is 1 if a bound was
missed or a run was void.
"""

import argparse
import asyncio
import statistics
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

from density import NUMBERS, P99_MS, Row, Run, run
from harness.gateway import cpu_s, make_keys
from harness.peers import FRAMEWORKS, LOOPS, PEERS, peer, version_of
from harness.results import keep, machine

GATEWAY, RIVAL = "gateway", "livekit-agents"
WHAT: Final = (GATEWAY, RIVAL, "pipecat", *LOOPS)
ROBOTS: Final = (10, 20, 30, 40)
BURST_ROBOTS: Final = 10
COMPARED: Final = (30, 40)
SLOW: Final = ("pipecat",)
"""These hold ten robots, but take minutes to connect more than twenty."""
SLOW_ROBOTS: Final = 20
COST_AT_MOST: Final = 1.0
"""What a robot costs the gateway, as a multiple of what it costs the rival."""
UP_P50_MS: Final = {10: 2.0, 20: 2.0}
CUT_P99_MS: Final = 12.0


def cost(row: Row) -> float:
    """Per cent of the core for each robot."""
    return row.middle(NUMBERS["CPU %"]) / row.runs[0].robots


def ms(row: Row, way: str, percent: float) -> float:
    """The median over the runs."""
    return row.middle(lambda it: it.ms(way, percent))


def table(rows: Sequence[Row], microphones: Mapping[int, float]) -> str:
    """The runs without bursts, as a Markdown table."""
    names = ["what", "robots", "up p50 / p99 ms", "down p50 / p99 ms", "% of the core", "of that, microphones", "a robot"]
    names += ["of livekit's", "MB", "lost %", "holds"]
    lines = [f"| {' | '.join(names)} |", "|---" * len(names) + "|"]
    rivals = {row.runs[0].robots: row for row in rows if row.runs[0].what == RIVAL}
    for row in rows:
        what, robots = row.runs[0].what, row.runs[0].robots
        rival = rivals.get(robots)
        ways = [f"{ms(row, way, 50):.1f} / {ms(row, way, 99):.1f}" for way in ("up_ms", "down_ms")]
        cells = [what, str(robots), *ways, f"{row.middle(NUMBERS['CPU %']):.0f}"]
        cells += ["-" if what == GATEWAY else f"{microphones[robots] * 100:.0f}", f"{cost(row):.2f}"]
        cells += [f"{cost(row) / cost(rival):.2f}" if rival else "-"]
        cells += [f"{row.middle(NUMBERS['MB']):.0f}", f"{row.middle(NUMBERS['lost %']):.1f}", row.verdict]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


async def microphones_alone(robots: int, seconds: float) -> float:
    """The cost of the microphones that run inside each peer, as a share of the core. The gateway's robots run outside it."""
    async with peer("nothing", "nowhere", Path(), robots) as alone:
        await asyncio.sleep(2.0)
        before_s = cpu_s(alone.pid)
        await asyncio.sleep(seconds)
        return (cpu_s(alone.pid) - before_s) / seconds


def burst_table(rows: Sequence[Row]) -> str:
    """The interruptions, as a Markdown table."""
    lines = ["| what | robots | interruptions | silenced p50 / p99 ms | last old audio p99 ms |", "|---" * 5 + "|"]
    for row in rows:
        first = row.runs[0]
        silenced = f"{ms(row, 'cut_ms', 50):.1f} / {ms(row, 'cut_ms', 99):.1f}"
        count = sum(len(it.told["cut_ms"]) for it in row.runs)
        lines.append(f"| {first.what} | {first.robots} | {count} | {silenced} | {ms(row, 'old_ms', 99):.1f} |")
    return "\n".join(lines)


def missed(rows: Sequence[Row], bursts: Sequence[Row]) -> list[str]:
    """The bounds that the gateway missed, in words."""
    by_kind = {(row.runs[0].what, row.runs[0].robots): row for row in rows}
    words = []
    for robots in COMPARED:
        ours, rival = by_kind.get((GATEWAY, robots)), by_kind.get((RIVAL, robots))
        if ours is None:
            continue
        if ours.verdict == "no":
            words.append(f"{robots} robots: both p99 within {P99_MS:g} ms and nothing lost")
        if rival and cost(ours) > COST_AT_MOST * cost(rival):
            words.append(f"{robots} robots: a robot costs {cost(ours) / cost(rival):.2f} of what it costs {RIVAL}")
        if rival and ms(ours, "up_ms", 50) > ms(rival, "up_ms", 50):
            words.append(f"{robots} robots: the microphone is later than at {RIVAL}, at p50")
    for robots, most_ms in UP_P50_MS.items():
        ours = by_kind.get((GATEWAY, robots))
        if ours and ms(ours, "up_ms", 50) > most_ms:
            words.append(f"{robots} robots: the microphone takes {ms(ours, 'up_ms', 50):.1f} ms at p50, at most {most_ms:g}")
    for row in bursts:
        if row.runs[0].what == GATEWAY and (took_ms := ms(row, "cut_ms", 99)) > CUT_P99_MS:
            words += [f"an interruption among bursts takes {took_ms:.1f} ms at p99, at most {CUT_P99_MS:g}"]
    return words


def plot(rows: Sequence[Row], bursts: Sequence[Row], path: Path) -> None:
    """Draw the cost of a robot, how late its microphone is, and how late it falls silent when interrupted, as a PNG."""
    import matplotlib as mpl  # noqa: PLC0415 - only here

    mpl.use("Agg")
    from matplotlib import pyplot as plt  # noqa: PLC0415

    figure, axes = plt.subplots(1, 3, figsize=(14, 4.2), layout="constrained")
    curves: list[tuple[Any, Callable[[Row], float]]] = [(axes[0], cost), (axes[1], lambda row: ms(row, "up_ms", 99))]
    for what in dict.fromkeys(row.runs[0].what for row in rows):
        mine = [row for row in rows if row.runs[0].what == what]
        for axis, value in curves:
            width = 2.5 if what == GATEWAY else 1.2
            axis.plot([row.runs[0].robots for row in mine], list(map(value, mine)), marker="o", label=what, linewidth=width)
    axes[0].set(xlabel="robots", ylabel="% of one core", ylim=(0, None), title="What a robot costs")
    axes[1].set(xlabel="robots", ylabel="p99, ms", yscale="log", title="Microphone to Gemini")
    axes[1].axhline(P99_MS, color="grey", linestyle=":")
    axes[0].legend()
    axes[2].barh([row.runs[0].what for row in reversed(bursts)], [ms(row, "cut_ms", 99) for row in reversed(bursts)])
    axes[2].set(xlabel="p99, ms", title=f"Interrupted among {BURST_ROBOTS - 1} bursts")
    for axis in axes:
        axis.grid(alpha=0.3)
    figure.savefig(path, dpi=110)


async def main(argv: list[str]) -> int:
    """Print the tables. Returns the exit status."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--what", nargs="+", default=WHAT, choices=[GATEWAY, *PEERS])
    parser.add_argument("--robots", type=int, nargs="*", default=ROBOTS)
    parser.add_argument("--burst-robots", type=int, default=BURST_ROBOTS, help="0: no bursts")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--out", type=Path, help="a folder for peers.json and peers.png")
    args = parser.parse_args(argv)
    about = machine() | {what: version_of(what) for what in args.what if what in FRAMEWORKS}
    about["reachy-link"] = version("gemini-gateway")
    steady = [(what, n) for n in args.robots for what in args.what if what not in SLOW or n <= SLOW_ROBOTS]
    cut = [(what, args.burst_robots) for what in args.what if args.burst_robots]
    runs: dict[tuple[str, int, bool], list[Run]] = {}
    with tempfile.TemporaryDirectory(prefix="peers-") as directory:
        work = Path(directory)
        make_keys(work, max([*args.robots, args.burst_robots]))
        for turn in range(args.runs):
            for bursts, kinds in ((False, steady), (True, cut)):
                for what, robots in kinds:
                    done = await run(work, what, robots, args.seconds, {}, bursts=bursts)
                    runs.setdefault((what, robots, bursts), []).append(done)
                    word = f"{what}, {robots} robots{', bursts' if bursts else ''}: {done.cpu:.0%} of the core"
                    late = f"up p99 {done.ms('up_ms', 99):.1f} ms"
                    print(f"run {turn + 1} of {args.runs}: {word}, {late} {done.void}", file=sys.stderr, flush=True)
        microphones = {n: await microphones_alone(n, args.seconds / 2) for n in args.robots}
    rows = [Row(runs[what, robots, False]) for what, robots in steady]
    among = [Row(runs[what, robots, True]) for what, robots in cut]
    print(table(rows, microphones), burst_table(among), sep="\n\n")
    for robots in COMPARED:
        pairs = [(runs[GATEWAY, robots, False], runs[RIVAL, robots, False])] if (RIVAL, robots, False) in runs else []
        for ours, theirs in pairs:
            ratio = statistics.median(mine.cpu / other.cpu for mine, other in zip(ours, theirs, strict=True))
            print(f"\nWith {robots} robots a robot costs {ratio:.2f} of what it costs {RIVAL}, by runs side by side.")
    print("\n" + ", ".join(f"{name} {value}" for name, value in about.items()))
    keep(args.out, "peers", about, {"steady": [row.told() for row in rows], "bursts": [row.told() for row in among]})
    if args.out:
        plot(rows, among, args.out / "peers.png")
    void = [it for row in (*rows, *among) for it in row.runs if it.void]
    for it in void:
        print(f"VOID: {it.what} with {it.robots} robots: {it.void}.")
    words = missed(rows, among)
    for word in words:
        print(f"MISSED: {word}.")
    return 1 if void or words else 0


if __name__ == "__main__":
    sys.exit(asyncio.run(main(sys.argv[1:])))
