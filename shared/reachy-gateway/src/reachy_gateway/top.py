"""``reachy-top``: a table of a gateway's robots in the terminal, from the gateway's metrics."""

import argparse
import sys
import time
import urllib.error
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Final, NoReturn

from prometheus_client.parser import text_string_to_metric_families

from reachy_service.health import configured, fetched

DEFAULT_PORT: Final = 8080
ANSWER_S: Final = 3.0
HOME_AND_CLEAR: Final = "\x1b[H\x1b[J"
HEADS: Final = (
    "robot",
    "state",
    "since",
    "turns",
    "calls",
    "p50 ms",
    "last ms",
    "underruns",
    "drops",
    "reconnects",
    "tokens",
    "today $",
    "rtt ms",
)
TEXTS: Final = 2
"""How many columns are text, and aligned to the left."""


class TopError(Exception):
    """There is nothing to show. The message says why, and what to do."""


class Told:
    """The metrics that a gateway returned."""

    def __init__(self, text: str) -> None:
        self._samples: dict[str, list[tuple[Mapping[str, str], float]]] = {}
        try:
            for family in text_string_to_metric_families(text):
                for sample in family.samples:
                    self._samples.setdefault(sample.name, []).append((sample.labels, sample.value))
        except ValueError as error:
            raise TopError(f"what answers there is no gateway: {error}") from None
        if "reachylink_gateway_info" not in self._samples:
            raise TopError("what answers there is no gateway")

    def of(self, name: str, **labels: str) -> list[tuple[Mapping[str, str], float]]:
        """The samples with that name and these labels."""
        return [(has, value) for has, value in self._samples.get(name, ()) if labels.items() <= has.items()]

    def sum(self, name: str, **labels: str) -> float | None:
        """The sum of the samples; None if there are none."""
        found = self.of(name, **labels)
        return sum(value for _, value in found) if found else None

    def one(self, name: str, label: str, **labels: str) -> str:
        """The value of a label in the first sample that is not 0."""
        return next((has[label] for has, value in self.of(name, **labels) if value), "")

    def median(self, name: str, **labels: str) -> float | None:
        """The median of a histogram. Within a bucket it interpolates linearly, as Prometheus does."""
        buckets = [(0.0, 0.0), *((float(has["le"]), value) for has, value in self.of(f"{name}_bucket", **labels))]
        half = buckets[-1][1] / 2
        for (low, below), (high, upto) in pairwise(buckets):
            if half and upto >= half:
                return low if high == float("inf") else low + (high - low) * (half - below) / (upto - below)
        return None


def table(told: Told) -> str:
    """The table of robots, below a headline."""
    here = [has["robot"] for has, value in told.of("reachylink_robot_state") if value and has["state"] != "absent"]
    rows = [HEADS, *(row(told, robot) for robot in here)]
    widths = [max(len(line[column]) for line in rows) for column in range(len(HEADS))]
    lines = [
        "  ".join(
            cell.ljust(width) if n < TEXTS else cell.rjust(width)
            for n, (cell, width) in enumerate(zip(line, widths, strict=True))
        )
        for line in rows
    ]
    return "\n".join([head(told), "", *(line.rstrip() for line in lines)]) + "\n"


def head(told: Told) -> str:
    """The headline: the gateway at a glance."""
    connected, admitted, most = (told.sum(f"reachylink_robots_{which}") or 0 for which in ("connected", "admitted", "max"))
    words = [
        told.one("reachylink_gateway_info", "software"),
        f"{connected:.0f} robots connected, {admitted:.0f} admitted, at most {most:.0f}",
    ]
    spent = told.sum("reachylink_fleet_cost_dollars_today")
    if spent is None:
        spent = told.sum("reachylink_gateway_cost_dollars_today")
    if spent is not None:
        budget = told.sum("reachylink_gateway_budget_dollars")
        words.append(f"${spent:.2f} today" + (f" of ${budget:.2f}" if budget is not None else ""))
    if told.sum("reachylink_gemini_down"):
        words.append("Gemini does not answer")
    return "; ".join(words) + fleet(told)


def fleet(told: Told) -> str:
    """A line about the gateways of a fleet; empty without a fleet."""
    up = told.sum("reachylink_store_up")
    if up is None:
        return ""
    if not up:
        return "\nfleet: the store does not answer"
    rows = ((has["gateway"], robots) for has, robots in told.of("reachylink_fleet_robots"))
    shown = (
        f"{name} {robots:.0f} of {told.sum('reachylink_fleet_robots_max', gateway=name) or 0:.0f}" for name, robots in rows
    )
    return "\nfleet: " + "; ".join(shown)


def row(told: Told, robot: str) -> tuple[str, ...]:
    """One robot's row of the table."""
    losses = sum(
        value for has, value in told.of("reachylink_gemini_reconnects_total", robot=robot) if has["cause"] != "renewal"
    )
    ends = sum(value for has, value in told.of("reachylink_conversations_ended_total", robot=robot) if has["cause"] != "bye")
    return (
        robot,
        told.one("reachylink_robot_state", "state", robot=robot),
        _span(told.sum("reachylink_robot_connected_seconds", robot=robot)),
        _number(told.sum("reachylink_turns_total", robot=robot)),
        _calls(told, robot),
        _number(told.median("reachylink_turn_latency_seconds", robot=robot), 1000),
        _number(told.sum("reachylink_last_turn_latency_seconds", robot=robot), 1000),
        _number(told.sum("reachylink_underruns_total", robot=robot)),
        _number(
            (told.sum("reachylink_drops_total", robot=robot) or 0)
            + (told.sum("reachylink_robot_drops_total", robot=robot) or 0)
        ),
        _number(losses + ends),
        _number(told.sum("reachylink_tokens_today", robot=robot)),
        _number(told.sum("reachylink_cost_dollars_today", robot=robot), digits=4),
        _number(told.sum("reachylink_link_rtt_seconds", robot=robot), 1000, digits=1),
    )


def _calls(told: Told, robot: str) -> str:
    """How many tools were called, and how many of these calls failed, if any did."""
    calls = told.sum("reachylink_tool_calls_total", robot=robot)
    if calls is None:
        return "-"
    failed = calls - (told.sum("reachylink_tool_calls_total", robot=robot, outcome="done") or 0)
    return f"{calls:.0f}, {failed:.0f} failed" if failed else f"{calls:.0f}"


def _number(value: float | None, times: float = 1, digits: int = 0) -> str:
    return "-" if value is None else f"{value * times:.{digits}f}"


def _span(seconds: float | None) -> str:
    if seconds is None:
        return "-"
    minutes, hours = seconds // 60, seconds // 3600
    return f"{seconds:.0f}s" if minutes < 1 else f"{minutes:.0f}m" if hours < 1 else f"{hours:.0f}h{minutes % 60:02.0f}m"


def ask(url: str) -> Told:
    """The gateway's metrics, as of now.

    Raises:
        TopError: If nothing answers, or something that is not a gateway.
    """
    try:
        return Told(fetched(url, ANSWER_S).decode(errors="replace"))
    except urllib.error.HTTPError as error:
        raise TopError(f"{url} answers {error.code}: is that a gateway's health port (REACHY_HEALTH_PORT)?") from None
    except OSError as error:
        reason = getattr(error, "reason", error)
        raise TopError(f"no answer from {url} ({reason}): does the gateway run, with REACHY_HEALTH_PORT set?") from None


def main(argv: Sequence[str] | None = None) -> int:
    """The command. Returns exit status 0, or 1 after one line that says what is wrong."""
    try:
        host, port = configured(DEFAULT_PORT)
    except ValueError as error:
        sys.stderr.write(f"reachy-top: {error}\n")
        return 1
    parser = argparse.ArgumentParser(prog="reachy-top", description="Shows a gateway's robots, from its metrics.")
    parser.add_argument(
        "--url", default=f"http://{host}:{port or DEFAULT_PORT}/metrics", help="where the metrics are (%(default)s)"
    )
    parser.add_argument("--every", type=float, default=1.0, metavar="S", help="seconds between looks (%(default)s)")
    parser.add_argument("--once", action="store_true", help="look once, for scripts")
    args = parser.parse_args(argv)
    try:
        if not args.once:
            _watch(args.url, max(0.1, args.every))
        sys.stdout.write(table(ask(args.url)))
    except TopError as error:
        sys.stderr.write(f"reachy-top: {error}\n")
        return 1
    except KeyboardInterrupt:
        sys.stdout.write("\n")
    return 0


def _watch(url: str, every_s: float) -> NoReturn:
    """Redraw until interrupted. The first answer must come. Later, a gateway that does not answer is waited for."""
    shown = table(ask(url))
    while True:
        sys.stdout.write(HOME_AND_CLEAR + shown)
        sys.stdout.flush()
        time.sleep(every_s)
        try:
            shown = table(ask(url))
        except TopError as error:
            shown = f"{error}\n"


if __name__ == "__main__":
    sys.exit(main())
