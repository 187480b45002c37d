"""How many robots this machine carries, in two minutes.

``python bench/capacity.py [--seconds 110]``. The real gateway runs on one core, light robots and a server in Gemini's place on
another, as in ``bench/density.py``. The number of robots grows until speech comes late; then the limit is narrowed down. The
result holds for this machine as it is now, with whatever else runs on it.
"""

import argparse
import asyncio
import io
import os
import sys
import tempfile
import time
from contextlib import redirect_stderr
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from density import CUT_P99_MS, P99_MS, LoadEndedError, Run, run
from harness.gateway import make_keys
from harness.results import keep, machine

FIRST: Final = 20
MOST: Final = 320
STEP: Final = 5
RUN_S: Final = 5.0
WHOLE_RUN_S: Final = 11.0
"""A run including its start and end."""
FILL: Final = 0.8
"""How far gateways are filled, so that the others can take the robots of one that dies: docs/fleet.md."""


@dataclass(frozen=True)
class Found:
    """What the runs have shown so far."""

    holds: Run | None = None
    """The run with the most robots whose speech was in time."""
    fails: Run | None = None
    """The run with the fewest robots whose speech was not."""

    @property
    def void(self) -> bool:
        """Whether the limit was the load generator's."""
        return self.fails is not None and self.fails.verdict == "void"

    def with_run(self, tried: Run) -> "Found":
        """The knowledge after another run."""
        return Found(tried, self.fails) if tried.verdict == "yes" else Found(self.holds, tried)

    def next_count(self) -> int | None:
        """How many robots to try next; None if the limit is known well enough."""
        low = self.holds.robots if self.holds else 0
        if self.fails is None:
            return max(FIRST, 2 * low) if low < MOST else None
        middle = (low + self.fails.robots) // 2 // STEP * STEP
        return middle if low < middle < self.fails.robots else None

    def advice(self, cores: int) -> str:
        """What the result means for an operator."""
        if self.holds is None:
            return f"One core of this machine does not carry {self.fails.robots if self.fails else FIRST} robots."
        most, fill, gateways = self.holds.robots, int(self.holds.robots * FILL), max(1, cores - 1)
        whole = f"{gateways} gateway{'s' if gateways > 1 else ''}, {gateways * fill} robots"
        beyond = "\nMore could not be tried: the load generator's own core was too busy." if self.void else ""
        bound = f"speech within {P99_MS:.0f} ms, interruptions within {CUT_P99_MS:.0f} (p99)"
        lines = [
            f"A gateway on one core carries {most} robots: {bound}.{beyond}",
            "",
            f"GATEWAY_MAX_ROBOTS={most}: the next is told that there is no room, and goes to another gateway.",
            f"Plan {fill} robots for each gateway ({FILL:.0%}), so that there is room for those of one that dies.",
            f"This machine has {cores} cores, of which one is for everything else: {whole}.",
            f"Memory: {self.holds.memory_mb:.0f} MB for each gateway.",
        ]
        return "\n".join(lines)


async def search(work: Path, seconds: float) -> Found:
    """Do one run after the other, for this long."""
    found, until_s = Found(), time.monotonic() + seconds
    while (count := found.next_count()) and time.monotonic() + WHOLE_RUN_S < until_s:
        try:
            with redirect_stderr(io.StringIO()):  # hides the counts that each lossy run prints
                tried = await run(work, "gateway", count, RUN_S, {})
        except LoadEndedError as error:
            print(f"{count} robots: {error}", flush=True)
            break
        in_time = f"p99 up {tried.ms('up_ms', 99):.0f} ms, down {tried.ms('down_ms', 99):.0f} ms, {tried.cpu:.0%} of the core"
        print(f"{count} robots: {in_time}: {tried.verdict}", flush=True)
        found = found.with_run(tried)
    return found


def main() -> int:
    """Print the runs and the advice. Exit status 1 if the machine carries not even a few robots."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=110.0)
    parser.add_argument("--out", type=Path, help="a folder for capacity.json")
    given = parser.parse_args()
    about = machine()
    with tempfile.TemporaryDirectory(prefix="capacity-") as directory:
        make_keys(Path(directory), MOST)
        found = asyncio.run(search(Path(directory), given.seconds))
    print(f"\n{found.advice(os.cpu_count() or 1)}")
    carried = found.holds
    told = {"robots": carried.robots, "CPU": carried.cpu, "memory MB": carried.memory_mb} if carried else {"robots": 0}
    keep(given.out, "capacity", about, told)
    return 0 if carried else 1


if __name__ == "__main__":
    sys.exit(main())
