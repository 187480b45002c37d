"""What the robots of pages cost, as the gateway's metrics tell. Pure."""

import re
from typing import Final, NamedTuple

_SAMPLE: Final = re.compile(
    r'^(reachylink_cost_dollars_today|reachylink_budget_dollars)\{robot="([a-z0-9-]{1,63})"\} ([0-9.eE+-]{1,30})$', re.MULTILINE
)


class Spending(NamedTuple):
    """Of one robot, in dollars."""

    today: float = 0.0
    budget: float | None = None


def spending(metrics: str) -> dict[str, Spending]:
    """Of each robot in a page of metrics."""
    found: dict[str, Spending] = {}
    for name, robot, text in _SAMPLE.findall(metrics):
        try:
            value = float(text)
        except ValueError:
            continue
        known = found.get(robot, Spending())
        found[robot] = known._replace(today=value) if name.endswith("today") else known._replace(budget=value)
    return found
