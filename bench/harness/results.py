"""A bench's results: timings as a table, a description of the machine, and the file that holds them."""

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
"""A run is void if its load generator used more of its core than this."""


def percentile(values: Sequence[float], percent: float) -> float:
    """The value below which this percentage of the values lies; nan if there are no values."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * percent / 100))] if ordered else float("nan")


@dataclass(frozen=True)
class Timing:
    """One quantity, measured many times."""

    what: str
    values: list[float]
    at_most: dict[str, float] = field(default_factory=dict)
    """The allowed maxima, by the number's name."""

    @property
    def numbers(self) -> dict[str, float]:
        """Summary of the values."""
        p50, p99 = statistics.median(self.values), percentile(self.values, 99)
        return {"min": min(self.values), "p50": p50, "p99": p99, "max": max(self.values)}

    @property
    def held(self) -> bool:
        """Whether the values stayed within what was allowed."""
        return all(self.numbers[name] <= limit for name, limit in self.at_most.items())

    def told(self) -> dict[str, object]:
        """The timing for a JSON file."""
        return {"what": self.what, "n": len(self.values), **self.numbers, "at_most": self.at_most, "held": self.held}


def table(timings: Iterable[Timing], unit: str, digits: int) -> str:
    """The timings as a Markdown table."""
    lines = [f"| what, in {unit} | n | min | p50 | p99 | max | at most | held |", "|---" * 8 + "|"]
    for timing in timings:
        cells = [timing.what, str(len(timing.values)), *(f"{value:.{digits}f}" for value in timing.numbers.values())]
        cells.append(", ".join(f"{name} {limit:g}" for name, limit in timing.at_most.items()))
        cells.append("" if not timing.at_most else "yes" if timing.held else "**no**")
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def machine() -> dict[str, str]:
    """The machine and the versions of the libraries that were measured."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    cpu = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())
    versions = {name: version(name) for name in ("pyzmq", "google-genai", "websockets", "uvloop", "pydantic", "numpy", "soxr")}
    load = " ".join(f"{part:.2f}" for part in os.getloadavg())
    about = {"cpu": cpu, "cores": str(os.cpu_count()), "kernel": platform.release(), "python": platform.python_version()}
    return about | {"load before": load} | versions


def keep(directory: Path | None, name: str, about: dict[str, str], result: object) -> None:
    """Write a result as JSON, with the machine. Does nothing without a directory."""
    if directory:
        directory.mkdir(parents=True, exist_ok=True)
        (directory / f"{name}.json").write_text(
            json.dumps({"machine": about, "result": result}, indent=1, allow_nan=False) + "\n"
        )
