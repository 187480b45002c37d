"""What a bench says: timings as a table, the machine that they are of, and where they are kept."""

import json
import os
import platform
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Final

BUSY_MAX: Final = 0.8
"""A run whose load generator used more of its core than this is void."""


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
