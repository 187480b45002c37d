"""A thousand and ten thousand robots: balance, storms, and the loss of a fifth of the gateways, simulated.

``python bench/scale.py [--runs 5] [--big 10000] [--out bench/results]``. First storms of 10 and 30 robots measure how much of a
real gateway's core one new robot takes. Then the bench predicts a storm of 50 and measures it. If the prediction is off by more
than a quarter, no result is to be believed, and the exit status is 1. ``harness/crowd.py`` says what in the simulation is real
and what is simulated.
"""

import argparse
import asyncio
import math
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from harness.crowd import Costs, Crowd, Robot
from harness.devices import until
from harness.gateway import LOAD_CORE, Gateway, cpu_s, make_keys, run_load
from harness.results import keep, machine, percentile
from storm import ONE, Gemini, Talk, light_robots

OFF_AT_MOST: Final = 0.25
FEW, MORE, STORM = 10, 30, 50
FILL: Final = 0.8
"""How full docs/fleet.md advises to fill gateways."""
ROOM, MORE_ROOM = 50, 62
"""Robots that a gateway takes: 80 % full before a fifth of the gateways is lost, and 80 % full afterwards."""
FIFTH: Final = 5
LIMIT_S: Final = 120.0
DRAWS: Final = 9
QUIET_S: Final = 60.0
"""The gateways count as level when none has sent a robot away for this long."""
NOBODY: Final = "https://127.0.0.1:9"
"""An address without a server in Gemini's place: what remains of a storm is the robots' dials."""


@dataclass(frozen=True)
class Storm:
    """A gateway was killed and has started again: how long robots wait, and how much of its core that takes."""

    welcomed_s: float
    talk_s: float
    cpu_s: float


@dataclass(frozen=True)
class Fate:
    """What happens to a crowd in one scenario."""

    what: str
    robots: int
    gateways: int
    robots_max: int
    hit: int
    """Robots that are affected."""
    p50_s: float
    p99_s: float
    max_s: float
    refusals: int
    least: int
    most: int
    """The fewest and the most robots at a gateway, afterwards."""


async def storms(work: Path, gemini: Gemini, count: int, runs: int, *, talk: bool = True) -> Storm:
    """The median of some storms of so many robots, on real gateways. Without ``talk`` a storm ends when all are welcomed."""
    gateway = Gateway(work, gemini.url if talk else NOBODY, gemini.root, ONE)
    found = []
    async with light_robots(work, range(count), ONE) as light:
        for _ in range(runs + 1 if runs > 1 else 1):  # the first run is no storm: the robots dial for the first time
            for robot in light:
                robot.forget()
            watch = Talk(gemini, light)
            _, healthy = await gateway.start()
            before_s = cpu_s(gateway.pid)
            await until(lambda: all(robot.ready_at for robot in light))
            welcomed = max(robot.ready_at for robot in light)
            talked = (await watch.again())[1] if talk else welcomed
            found.append(Storm(welcomed - healthy, talked - healthy, cpu_s(gateway.pid) - before_s))
            await gateway.kill()
            await asyncio.sleep(0.5)  # until every robot has dialled in vain
    return Storm(*(statistics.median(getattr(it, name) for it in found[-runs:]) for name in ("welcomed_s", "talk_s", "cpu_s")))


async def costs_of(work: Path, gemini: Gemini, runs: int) -> Costs:
    """The cost of one robot more."""
    few, more = await storms(work, gemini, FEW, runs), await storms(work, gemini, MORE, runs)
    dials = [await storms(work, gemini, count, runs, talk=False) for count in (FEW, MORE)]
    dial_s = max(0.001, (dials[1].cpu_s - dials[0].cpu_s) / (MORE - FEW))
    each_s = (more.cpu_s - few.cpu_s) / (MORE - FEW)
    worked = Costs(dial_s, max(0.001, each_s - dial_s), start_s=max(0.0, few.cpu_s - FEW * each_s))
    return worked._replace(gemini_s=max(0.0, more.talk_s - storm_in(worked, MORE, DRAWS).talk_s))


def storm_in(costs: Costs, count: int, seeds: int) -> Storm:
    """The same storm, simulated: the median of some draws."""
    found = []
    for seed in range(seeds):
        crowd = Crowd(count, 1, count, costs, seed=seed)
        crowd.run(LIMIT_S, crowd.all_talk)
        crowd.kill(crowd.gateways, silently=False)
        crowd.run(crowd.now + 3.0)
        crowd.revive(crowd.gateways)
        began = crowd.now
        crowd.run(began + LIMIT_S, crowd.all_talk)
        served = [robot.served_at for robot in crowd.robots if robot.served_at is not None]
        found.append((max(served) - began, crowd.now - began))
    welcomed_s, talk_s = (statistics.median(it[n] for it in found) for n in (0, 1))
    return Storm(welcomed_s, talk_s, count * (costs.dial_s + costs.session_s))


def waits_of(hit: Sequence[Robot], began: float) -> list[float]:
    """How long each affected robot waited until it talked again."""
    return sorted(robot.talks_at - began if robot.talks_at is not None else math.inf for robot in hit)


def fate(crowd: Crowd, what: str, waits: Sequence[float], refused_before: int = 0) -> Fate:
    """A scenario's result, from the robots' waits."""
    alive = [len(gateway.robots) for gateway in crowd.gateways if gateway.alive]
    numbers = statistics.median(waits), percentile(waits, 99), max(waits)
    few = (len(crowd.robots), len(crowd.gateways), crowd.gateways[0].robots_max, len(waits))
    return Fate(what, *few, *numbers, crowd.refusals - refused_before, min(alive), max(alive))


def booted(robots: int, gateways: int, robots_max: int, costs: Costs) -> tuple[Crowd, Fate]:
    """Switch on a whole lab at once."""
    crowd = Crowd(robots, gateways, robots_max, costs)
    crowd.run(LIMIT_S, crowd.all_talk)
    told = fate(crowd, "all are switched on at once", waits_of(crowd.robots, 0.0))
    crowd.run(crowd.now + 5.0)
    return crowd, told


def hit(robots: int, gateways: int, robots_max: int, costs: Costs, *, silently: bool) -> tuple[Fate, list[float]]:
    """Lose a fifth of the gateways at once. Returns the result, and how long each of their robots waited."""
    crowd, _ = booted(robots, gateways, robots_max, costs)
    began, before = crowd.now, crowd.refusals
    struck = crowd.kill(crowd.gateways[::FIFTH], silently=silently)
    crowd.run(began + LIMIT_S, crowd.all_talk)
    what = "a fifth of the machines is lost" if silently else "a fifth of the gateways is killed"
    waits = waits_of(struck, began)
    return fate(crowd, what, waits, before), waits


def grown(robots: int, gateways: int, robots_max: int, costs: Costs) -> str:
    """Add a tenth more gateways, to which robots are sent. Returns the result in words."""
    crowd, _ = booted(robots, gateways, robots_max, costs)
    fullest = max(len(gateway.robots) for gateway in crowd.gateways)
    added = max(1, gateways // 10)
    crowd.add_gateways(added)
    crowd.become_level()
    began = moved_at = crowd.now
    moves = 0
    while crowd.now - moved_at < QUIET_S:
        crowd.run(crowd.now + 1.0)
        if crowd.moves > moves:
            moves, moved_at = crowd.moves, crowd.now
    now = [len(gateway.robots) for gateway in crowd.gateways]
    more = f"{robots} robots, and {added} gateways more than {gateways}: {moves} sent in {moved_at - began:.0f} s"
    shares = f"the fullest had {fullest} and has {max(now)}, the new ones have {min(now[gateways:])} to {max(now[gateways:])}"
    return f"{more}; {shares}. {'All' if crowd.all_talk() else 'Not all'} talk."


def table(fates: Sequence[Fate]) -> str:
    """The results as a Markdown table."""
    lines = [
        "| event | robots | gateways, room | affected | talk again, p50 / p99 / max | refusals | per gateway |",
        "|---" * 7 + "|",
    ]
    for it in fates:
        cells = (
            it.what,
            f"{it.robots}",
            f"{it.gateways} of {it.robots_max}",
            f"{it.hit}",
            f"{it.p50_s:.2f} / {it.p99_s:.2f} / {it.max_s:.2f} s",
        )
        lines.append(f"| {' | '.join(cells)} | {it.refusals} | {it.least} to {it.most} |")
    return "\n".join(lines)


def plot(waits: Mapping[str, Sequence[float]], crowds: Mapping[str, Crowd], path: Path) -> None:
    """Draw how long robots wait and how they are spread, as a PNG."""
    import matplotlib as mpl  # noqa: PLC0415 - only here

    mpl.use("Agg")
    from matplotlib import pyplot as plt  # noqa: PLC0415

    figure, (late, even) = plt.subplots(1, 2, figsize=(12, 4.4), layout="constrained")
    for what, took in waits.items():
        late.plot(took, [100 * (n + 1) / len(took) for n in range(len(took))], label=what)
    for what, crowd in crowds.items():
        counts = [len(gateway.robots) for gateway in crowd.gateways]
        even.hist(counts, bins=range(max(counts) + 2), alpha=0.6, label=what, density=True)
    late.set(xlabel="s until they talk", ylabel="% of the affected robots", xscale="log", title="How long robots wait")
    seconds = (0.1, 0.2, 0.5, 1, 2, 5, 10)
    late.set_xticks(seconds, [f"{s:g}" for s in seconds], minor=False)
    late.minorticks_off()
    even.set(xlabel="robots at a gateway", ylabel="share of the gateways", title="Balance, after all were switched on at once")
    for axes in (late, even):
        axes.legend(fontsize="small")
        axes.grid(alpha=0.3)
    figure.savefig(path, dpi=110)


async def measured(runs: int) -> tuple[Costs, Storm]:
    """Measure a robot's cost and a storm on real gateways."""
    with tempfile.TemporaryDirectory(prefix="scale-") as directory:
        work = Path(directory)
        make_keys(work, STORM)
        gemini = Gemini(work)
        await gemini.listen()
        costs = await costs_of(work, gemini, runs)
        return costs, await storms(work, gemini, STORM, runs)


def main() -> int:
    """Print the tables; exit status 1 if the simulation does not reproduce the storm."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--big", type=int, default=10_000)
    parser.add_argument("--out", type=Path, help="a folder for scale.json and scale.png")
    given = parser.parse_args()
    os.sched_setaffinity(0, {LOAD_CORE})
    about = machine()
    costs, real = run_load(measured(given.runs))
    told = storm_in(costs, STORM, DRAWS)
    off = told.talk_s / real.talk_s - 1
    dial_ms, session_ms, start_ms, wait_ms = (1000 * s for s in (costs.dial_s, costs.session_s, costs.start_s, costs.gemini_s))
    print(f"A new robot takes {dial_ms:.1f} ms of a gateway's core to dial, and {session_ms:.1f} for its conversation;")
    print(f"a freshly started gateway takes {start_ms:.0f} ms more, and {wait_ms:.0f} ms are spent waiting.\n")
    print(f"A storm of {STORM}: all are welcomed after {real.welcomed_s:.2f} s, simulated {told.welcomed_s:.2f};")
    print(f"all talk after {real.talk_s:.2f} s, simulated {told.talk_s:.2f}: {off:+.0%}.\n")
    began = time.monotonic()
    fates: list[Fate] = []
    notes: list[str] = []
    waits: dict[str, list[float]] = {}
    crowds: dict[str, Crowd] = {}
    for robots in (given.big // 10, given.big):
        gateways = math.ceil(robots / (FILL * ROOM))
        crowd, boot = booted(robots, gateways, ROOM, costs)
        crowds[f"{robots} robots, {gateways} gateways"] = crowd
        waits[f"{robots} robots are switched on"] = waits_of(crowd.robots, 0.0)
        fates.append(boot)
        for robots_max, silent in ((ROOM, False), (MORE_ROOM, False), (MORE_ROOM, True)):
            told_of, took = hit(robots, gateways, robots_max, costs, silently=silent)
            fates.append(told_of)
            if robots == given.big:
                waits[f"{told_of.what}, room for {robots_max}"] = took
        notes.append(grown(robots, gateways, ROOM, costs))
    print(table(fates))
    print("\n" + "\n".join(notes))
    print(f"\nSimulated in {time.monotonic() - began:.0f} s.")
    result = {"costs": costs._asdict(), "measured": asdict(real), "simulated": asdict(told), "notes": notes}
    keep(given.out, "scale", about, result | {"fates": [asdict(it) for it in fates]})
    if given.out:
        plot(waits, crowds, given.out / "scale.png")
    if abs(off) > OFF_AT_MOST:
        print(f"VOID: the simulation is off by more than {OFF_AT_MOST:.0%}.")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
