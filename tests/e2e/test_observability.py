"""The observability profile: its files parse, and use only metrics that a gateway exports."""

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path

import promql_parser
import pytest
import yaml
from dashboard import ALERTS, DASHBOARD, OBSERVABILITY, asked_by_panels, filled
from promql_parser import AggregateExpr, Expr, VectorSelector
from scraping import Scrape, a_fleet, talked

from reachy_gateway.metrics import STATES
from reachy_gateway.stats import ENDINGS

ROOT = Path(__file__).parents[2]
COMPOSE = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
FLEET = yaml.safe_load((ROOT / "docker-compose.fleet.yml").read_text().replace("!override", ""))
COUNTERS = (ROOT / "docs" / "link.md").read_text()
PROFILE = ("prometheus", "grafana")

OF_PROMETHEUS = {"job", "instance"}
"""Labels that Prometheus itself adds."""
VALUES = {
    ("reachylink_robot_state", "state"): set(STATES),
    ("reachylink_conversations_ended_total", "cause"): set(ENDINGS),
    ("reachylink_drops_total", "cause"): set(re.findall(r"^\| `(\w+)` \| gateway", COUNTERS, re.MULTILINE)),
}
"""All values that a label may have. ``robot`` is chosen in Grafana."""


def queries() -> Iterator[str]:
    yield from (query for _, query in asked_by_panels())
    yield from (variable["query"]["query"] for variable in DASHBOARD["templating"]["list"])
    yield from (rule["expr"] for rule in ALERTS)


def parsed(query: str) -> Expr:
    """A query as Prometheus parses it. Raises ValueError for an invalid query."""
    return promql_parser.parse(filled(query))


def parts(node: Expr) -> Iterator[Expr]:
    """Every node of a query."""
    yield node
    for name in ("lhs", "rhs", "expr", "vector_selector"):
        if (part := getattr(node, name, None)) is not None:
            yield from parts(part)
    for part in getattr(node, "args", ()):
        yield from parts(part)


def selectors(query: str) -> list[VectorSelector]:
    """The selectors of a query. The query of a dashboard's variable is not PromQL."""
    if found := re.fullmatch(r"label_values\((\w+), (\w+)\)", query):
        query = f"sum by ({found[2]}) ({found[1]})"
    return [part for part in parts(parsed(query)) if isinstance(part, VectorSelector)]


def grouped(query: str) -> set[str]:
    """The labels by which a query groups, and which its legend or variable shows."""
    if found := re.fullmatch(r"label_values\((\w+), (\w+)\)", query):
        return {found[2]}
    groups = [part.modifier for part in parts(parsed(query)) if isinstance(part, AggregateExpr)]
    return {label for group in groups if group for label in group.labels}


def missing(query: str, scrape: Scrape) -> Iterator[str]:
    """What a query uses but the gateway does not export."""
    metrics = dict(labels_of(scrape))
    asked = selectors(query)
    for selector in asked:
        if selector.name == "up":
            continue
        if selector.name not in metrics:
            yield f"{selector.name} is not told"
            continue
        for matcher in selector.matchers.matchers:
            label, values = matcher.name, set(matcher.value.split("|"))
            if label not in metrics[selector.name].keys() | OF_PROMETHEUS:
                yield f"{selector.name} has no label {label}"
            elif label not in OF_PROMETHEUS and values != {".*"} and not values <= VALUES.get((selector.name, label), set()):
                yield f"{selector.name} has no {label} {matcher.value}"
    for label in grouped(query):
        if not any(label in metrics.get(selector.name, {}) for selector in asked):
            yield f"none of these has a label {label}"
    if not asked:
        yield "nothing is asked for"


def labels_of(scrape: Scrape) -> Iterator[tuple[str, dict[str, set[str]]]]:
    for name in {sample.name for family in scrape.families for sample in family.samples}:
        found: dict[str, set[str]] = {}
        for sample in scrape.samples(name):
            for label, value in sample.labels.items():
                found.setdefault(label, set()).add(value)
        yield name, found


@pytest.mark.timeout(120)
async def test_every_query_asks_for_what_a_gateway_tells(tmp_path, office):
    told = (await talked(tmp_path, office, a_fleet()))["lost"]
    for query in queries():
        assert list(missing(query, told)) == [], query
    shown = {selector.name for query in queries() for selector in selectors(query)}
    ours = {sample.name for family in told.families for sample in family.samples if sample.name.startswith("reachylink_")}
    families = {re.sub(r"_(sum|count|bucket)$", "", name) for name in ours}
    unseen = families - {re.sub(r"_(sum|count|bucket)$", "", name) for name in shown}
    documented = set(re.findall(r"`(reachylink_\w+)`", (ROOT / "docs" / "operations.md").read_text()))
    assert documented == families
    of_top = {"reachylink_robot_connected_seconds", "reachylink_gateway_info", "reachylink_tokens_today"}
    of_top |= {"reachylink_fleet_robots", "reachylink_fleet_robots_max", "reachylink_claims_total"}
    assert unseen == of_top, "only reachy-top may use these"


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("sum by (state) (rate(reachylink_robot_status[5m]))", "reachylink_robot_status is not told"),
        ('reachylink_robot_state{color="red"}', "has no label color"),
        ('reachylink_robot_state{state="asleep"}', "has no state asleep"),
        ("sum by (room) (reachylink_robot_state)", "has a label room"),
        ('reachylink_robot_state{state=~"away|asleep"}', "has no state away|asleep"),
        ('reachylink_robot_state{state!="asleep"}', "has no state asleep"),
        ('reachylink_robot_state{robot="a"}', "has no robot a"),
        ("1 + 1", "nothing is asked for"),
    ],
)
def test_a_query_for_what_is_not_told_is_found(query, words):
    text = "# HELP reachylink_robot_state X.\n# TYPE reachylink_robot_state gauge\n"
    text += 'reachylink_robot_state{robot="a",state="away"} 1\n'
    assert words in "\n".join(missing(query, Scrape(text)))


@pytest.mark.parametrize(
    "query",
    ["avg_over_thyme(a[5m])", "rate(a[5m]", "rate(a[5x])", "sum(a) >> 1", "rate(a)", 'a{b="c"', "sum by robot (a)"],
)
def test_what_prometheus_would_not_read_is_found(query):
    with pytest.raises(ValueError, match=r"."):
        parsed(query)


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


def scraped(pattern: str, compose: dict) -> dict[str, str]:
    """The hosts and ports that Prometheus scrapes, from a compose file."""
    volumes = [volume.split(":") for volume in compose["services"]["prometheus"]["volumes"]]
    files = [ROOT / host for host, target, *_ in volumes if fnmatch(target, pattern)]
    return dict(at.split(":") for file in files for group in yaml.safe_load(file.read_text()) for at in group["targets"])


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
    (pattern,) = job["file_sd_configs"][0]["files"]
    targets = scraped(pattern, COMPOSE)
    assert targets == {"gemini-gateway": COMPOSE["services"]["gemini-gateway"]["environment"]["REACHY_HEALTH_PORT"]}
    assert scraped(pattern, FLEET).keys() == {"gemini-gateway-2"} <= FLEET["services"].keys()
    assert {job["job_name"]} == set(re.findall(r'job="([^"]+)"', "\n".join(queries())))


@pytest.mark.parametrize("name", PROFILE)
def test_a_service_of_the_profile_is_hardened_pinned_and_published_on_loopback_only(name):
    service = COMPOSE["services"][name]
    assert service["profiles"] == ["observability"]
    assert re.fullmatch(r"\$\{[A-Z]+_IMAGE:-[a-z/]+:v?\d+\.\d+\.\d+\}", service["image"])
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
