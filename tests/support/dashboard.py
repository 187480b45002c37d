"""The configuration of Prometheus and Grafana, and the queries of the dashboard."""

import json
from collections.abc import Iterator
from pathlib import Path

import yaml

OBSERVABILITY = Path(__file__).parents[2] / "observability"
DASHBOARD = json.loads((OBSERVABILITY / "grafana" / "dashboards" / "reachy-link.json").read_text())
ALERTS = [rule for group in yaml.safe_load((OBSERVABILITY / "alerts.yml").read_text())["groups"] for rule in group["rules"]]
RANGES = {"$__rate_interval": "1m", "$__range": "1h", "$robot": ".*"}
"""Grafana's variables, and the values that replace them."""


def asked_by_panels() -> Iterator[tuple[str, str]]:
    """The title of each panel with each of its queries."""
    for panel in DASHBOARD["panels"]:
        for target in panel.get("targets", ()):
            yield panel["title"], target["expr"]


def filled(query: str) -> str:
    """A query as Grafana sends it."""
    for variable, value in RANGES.items():
        query = query.replace(variable, value)
    return query
