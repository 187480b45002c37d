"""The observability profile: its files parse, and ask for nothing that a gateway does not tell."""

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from scraping import Scrape, talked

ROOT = Path(__file__).parents[2]
OBSERVABILITY = ROOT / "observability"
COMPOSE = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
DASHBOARD = json.loads((OBSERVABILITY / "grafana" / "dashboards" / "reachy-link.json").read_text())
ALERTS = [rule for group in yaml.safe_load((OBSERVABILITY / "alerts.yml").read_text())["groups"] for rule in group["rules"]]
PROFILE = ("prometheus", "grafana")

OF_PROMETHEUS = {"job", "instance"}
"""Labels that Prometheus adds itself."""
WORDS = {"by", "sum", "max", "rate", "increase", "histogram_quantile", "offset", "label_values", "le"}


def queries() -> Iterator[str]:
    for panel in DASHBOARD["panels"]:
        yield from (target["expr"] for target in panel.get("targets", ()))
    yield from (variable["query"]["query"] for variable in DASHBOARD["templating"]["list"])
    yield from (rule["expr"] for rule in ALERTS)


def asked_for(query: str) -> Iterator[tuple[str, str, str]]:
    """What of the metrics a query names: ``(metric, label, value)``, the latter two empty or a matcher's words."""
    for metric, matchers in re.findall(r"\b((?:reachylink|process)_\w+|up)\b(?:\{(.*?)\})?", query):
        yield metric, "", ""
        for label, value in re.findall(r'(\w+)\s*=~?\s*"([^"]*)"', matchers):
            yield metric, label, value


def grouped(query: str) -> set[str]:
    """Labels by which a query groups, that its legend or its variable shows."""
    named = {label.strip() for group in re.findall(r"by \(([^)]*)\)", query) for label in group.split(",")}
    return named | set(re.findall(r"label_values\(\w+, (\w+)\)", query))


def missing(query: str, scrape: Scrape) -> Iterator[str]:
    """What a query asks for that the gateway does not tell."""
    metrics = dict(labels_of(scrape))
    names = {metric for metric, _, _ in asked_for(query)}
    for metric, label, value in asked_for(query):
        if metric == "up":
            continue
        if metric not in metrics:
            yield f"{metric} is not told"
        elif label and label not in metrics[metric].keys() | OF_PROMETHEUS:
            yield f"{metric} has no label {label}"
        elif label == "state" and value not in metrics[metric][label]:
            yield f"{metric} has no state {value}"
    for label in grouped(query):
        if not any(label in metrics.get(metric, {}) for metric in names):
            yield f"none of {names} has a label {label}"
    unknown = set(re.findall(r"\b[a-z_]+\b(?=\s*\()", query)) - WORDS
    if unknown or not names:
        yield f"{unknown or 'nothing'} is asked for"


def labels_of(scrape: Scrape) -> Iterator[tuple[str, dict[str, set[str]]]]:
    for name in {sample.name for family in scrape.families for sample in family.samples}:
        found: dict[str, set[str]] = {}
        for sample in scrape.samples(name):
            for label, value in sample.labels.items():
                found.setdefault(label, set()).add(value)
        yield name, found


@pytest.mark.timeout(120)
async def test_every_query_asks_for_what_a_gateway_tells(tmp_path, office):
    told = (await talked(tmp_path, office))["lost"]
    for query in queries():
        assert list(missing(query, told)) == [], query
    shown = {metric for query in queries() for metric, _, _ in asked_for(query)}
    ours = {sample.name for family in told.families for sample in family.samples if sample.name.startswith("reachylink_")}
    families = {re.sub(r"_(sum|count|bucket)$", "", name) for name in ours}
    unseen = families - {re.sub(r"_(sum|count|bucket)$", "", name) for name in shown}
    documented = set(re.findall(r"`(reachylink_\w+)`", (ROOT / "docs" / "operations.md").read_text()))
    assert documented == families
    assert unseen == {"reachylink_robot_connected_seconds", "reachylink_gateway_info"}, "those of reachy-top alone"


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("sum by (state) (rate(reachylink_robot_status[5m]))", "reachylink_robot_status is not told"),
        ('reachylink_robot_state{color="red"}', "has no label color"),
        ('reachylink_robot_state{state="asleep"}', "has no state asleep"),
        ("sum by (room) (reachylink_robot_state)", "has a label room"),
        ("avg_over_thyme(reachylink_robot_state[5m])", "avg_over_thyme"),
        ("1 + 1", "nothing is asked for"),
    ],
)
def test_a_query_for_what_is_not_told_is_found(query, words):
    text = "# HELP reachylink_robot_state X.\n# TYPE reachylink_robot_state gauge\n"
    text += 'reachylink_robot_state{robot="a",state="away"} 1\n'
    assert words in "\n".join(missing(query, Scrape(text)))


def test_the_dashboard_has_the_rows_that_an_operator_wants_and_no_panel_hides_another():
    rows = [panel["title"] for panel in DASHBOARD["panels"] if panel["type"] == "row"]
    for words in ("Robots", "Turn latency", "Link and audio", "Reconnects", "Cost", "process"):
        assert any(words in row for row in rows)
    assert len({panel["id"] for panel in DASHBOARD["panels"]}) == len(DASHBOARD["panels"])
    taken = set()
    for panel in DASHBOARD["panels"]:
        place = panel["gridPos"]
        cells = {(place["x"] + x, place["y"] + y) for x in range(place["w"]) for y in range(place["h"])}
        assert not cells & taken, panel["title"]
        assert all(x < 24 for x, _ in cells)
        taken |= cells


def test_the_provisioned_files_find_each_other():
    grafana = OBSERVABILITY / "grafana" / "provisioning"
    (source,) = yaml.safe_load((grafana / "datasources" / "prometheus.yml").read_text())["datasources"]
    (provider,) = yaml.safe_load((grafana / "dashboards" / "reachy-link.yml").read_text())["providers"]
    prometheus = yaml.safe_load((OBSERVABILITY / "prometheus.yml").read_text())
    used = {panel["datasource"]["uid"] for panel in DASHBOARD["panels"] if "datasource" in panel}
    assert used == {source["uid"]}
    assert source["url"] == "http://prometheus:9090"
    mounted = {
        target: host for name in PROFILE for host, target, *_ in (v.split(":") for v in COMPOSE["services"][name]["volumes"])
    }
    assert mounted[provider["options"]["path"]] == "./observability/grafana/dashboards"
    for host in (host for host in mounted.values() if host.startswith("./")):
        assert (ROOT / host).exists(), host
    assert set(prometheus["rule_files"]) <= mounted.keys()
    (job,) = prometheus["scrape_configs"]
    (target,) = job["static_configs"][0]["targets"]
    host, port = target.split(":")
    assert COMPOSE["services"][host]["environment"]["REACHY_HEALTH_PORT"] == port
    assert {job["job_name"]} == set(re.findall(r'job="([^"]+)"', "\n".join(queries())))


@pytest.mark.parametrize("name", PROFILE)
def test_a_service_of_the_profile_is_hardened_pinned_and_published_on_loopback_only(name):
    service = COMPOSE["services"][name]
    assert service["profiles"] == ["observability"]
    assert re.fullmatch(r"[a-z/]+:v?\d+\.\d+\.\d+", service["image"])
    assert service["read_only"]
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["mem_limit"]
    assert service["pids_limit"]
    assert all(port.startswith("127.0.0.1:") for port in service["ports"])


def test_compose_takes_the_profile():
    if (
        shutil.which("docker") is None
        or subprocess.run(["docker", "compose", "version"], check=False, capture_output=True).returncode
    ):
        pytest.skip("docker compose is not installed")
    command = ["docker", "compose", "--profile", "observability", "config", "--format", "json"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert set(PROFILE) <= json.loads(done.stdout)["services"].keys()
