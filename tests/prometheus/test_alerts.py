"""Every alert over time, evaluated by Prometheus: when it fires, how long it waits first, and what leaves it quiet.

``promtool test rules`` evaluates ``observability/alerts.yml`` on series that are written here: a value every 15 s, the interval
at which gateways are scraped.
"""

import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import yaml

from reachy_gateway.metrics import STATES
from reachy_gateway.stats import LAG_S, LATE_S, TURN_S

ALERTS = Path(__file__).parents[2] / "observability" / "alerts.yml"
NAMES = [rule["alert"] for group in yaml.safe_load(ALERTS.read_text())["groups"] for rule in group["rules"]]
EVERY_S = 15
ONE, TWO = 'instance="gemini-gateway:8080",job="reachy-gateway"', 'instance="gemini-gateway-2:8080",job="reachy-gateway"'


@dataclass(frozen=True, kw_only=True)
class Case:
    """What Prometheus saw, in promtool's notation; when the alert is quiet, and when it fires."""

    alert: str
    series: dict[str, str]
    quiet: tuple[str, ...] = ()
    on: tuple[str, ...] = ()
    summary: str = ""
    labels: dict[str, str] = field(default_factory=dict)


def states(robot: str, gateway: str, *spells: tuple[str, int]) -> dict[str, str]:
    """A robot's state at a gateway over time, each for so many scrapes. As in a gateway's metrics all other states are 0."""
    assert {state for state, _ in spells} <= set(STATES)
    return {
        f'reachylink_robot_state{{robot="{robot}",state="{state}",{gateway}}}': " ".join(
            f"{int(state == now)}x{looks - 1}" for now, looks in spells
        )
        for state in STATES
    }


def histogram(name: str, labels: str, bounds_s: tuple[float, ...], each_look: dict[float, int]) -> dict[str, str]:
    """A gateway's histogram. With each scrape it gets so many more values of each of these seconds."""
    return {
        f'{name}_bucket{{{labels},le="{le}"}}': f"0+{sum(n for s, n in each_look.items() if s <= float(le))}x90"
        for le in (*map(str, bounds_s), "+Inf")
    }


def turns(each_look: dict[float, int]) -> dict[str, str]:
    return histogram("reachylink_turn_latency_seconds", f'robot="reachy-1",{ONE}', TURN_S, each_look)


def lags(each_look: dict[float, int]) -> dict[str, str]:
    return histogram("reachylink_loop_lag_seconds", ONE, LAG_S, each_look)


def lateness(robot: str, each_look: dict[float, int]) -> dict[str, str]:
    return histogram("reachylink_mic_lateness_seconds", f'robot="{robot}",{ONE}', LATE_S, each_look)


AWAY = (
    "The fleet's store does not serve a gateway. Conversations that move begin again, and budgets hold for each gateway alone."
)
SLOW = "One turn in twenty takes more than 2 s. reachylink_turn_part_seconds shows which part is slow."
WITHOUT_GEMINI = (
    "reachy-1 has had no connection to Gemini for 2 minutes: quota, credit or network? The gateway's log says which."
)
LAGS = "The gateway's event loop is more than 50 ms late: it has too many robots for its core, or the machine is busy."
DROPS = 'reachylink_drops_total{{robot="reachy-1",cause="{cause}",' + ONE + "}}"
ENDED = 'reachylink_conversations_ended_total{robot="reachy-1",cause="fault",' + ONE + "}"

CASES = {
    "a gateway that is down for 30 s": Case(
        alert="GatewayDown",
        series={f"up{{{ONE}}}": "1x3 0x4", f"up{{{TWO}}}": "1x7"},
        quiet=("45s", "60s", "75s"),
        on=("90s",),
        labels={"instance": "gemini-gateway:8080", "job": "reachy-gateway"},
        summary="The gateway does not answer. Its robots cannot talk.",
    ),
    "a gateway that was only restarted": Case(
        alert="GatewayDown", series={f"up{{{ONE}}}": "1x3 0 1x9"}, quiet=("60s", "75s", "90s", "105s")
    ),
    "something else that is down": Case(alert="GatewayDown", series={'up{job="node"}': "0x9"}, quiet=("2m",)),
    "an outage of Gemini's": Case(
        alert="GeminiDown",
        series={f"reachylink_gemini_down{{{ONE}}}": "0 1x9"},
        quiet=("0s", "60s"),
        on=("75s",),
        labels={"instance": "gemini-gateway:8080", "job": "reachy-gateway"},
        summary="Gemini does not answer the gateway.",
    ),
    "a store that is away": Case(
        alert="StoreDown",
        series={f"reachylink_store_up{{{ONE}}}": "1 0x9", f"reachylink_store_up{{{TWO}}}": "1x9"},
        quiet=("0s", "60s"),
        on=("75s",),
        labels={"instance": "gemini-gateway:8080", "job": "reachy-gateway"},
        summary=AWAY,
    ),
    "a store that was restarted": Case(
        alert="StoreDown", series={f"reachylink_store_up{{{ONE}}}": "1 0 1x9"}, quiet=("60s", "2m")
    ),
    "a fleet that is too full to lose a gateway": Case(
        alert="FleetNearlyFull",
        series={
            f"reachylink_robots_connected{{{ONE}}}": "48x59",
            f"reachylink_robots_connected{{{TWO}}}": "33x59",
            f"reachylink_robots_max{{{ONE}}}": "50x59",
            f"reachylink_robots_max{{{TWO}}}": "50x59",
        },
        quiet=("60s", "9m"),
        on=("10m15s",),
        summary="The gateways together are more than 80 % full. If one of them dies, its robots may find no room.",
    ),
    "one full gateway beside one with room": Case(
        alert="FleetNearlyFull",
        series={
            f"reachylink_robots_connected{{{ONE}}}": "50x59",
            f"reachylink_robots_connected{{{TWO}}}": "30x59",
            f"reachylink_robots_max{{{ONE}}}": "50x59",
            f"reachylink_robots_max{{{TWO}}}": "50x59",
        },
        quiet=("10m15s", "14m"),
    ),
    "a hiccup of Gemini's": Case(
        alert="GeminiDown", series={f"reachylink_gemini_down{{{ONE}}}": "0 1x3 0x9"}, quiet=("60s", "75s", "2m")
    ),
    "a refused robot": Case(
        alert="RobotRefused",
        series=states("reachy-1", ONE, ("listening", 2), ("refused", 8)) | states("reachy-2", ONE, ("listening", 10)),
        quiet=("30s", "75s"),
        on=("90s",),
        labels={"robot": "reachy-1"},
        summary="The voice refuses reachy-1: key, model, permission or budget. The gateway's log says which.",
    ),
    "a robot without Gemini, though Gemini answers: no quota or credit is left": Case(
        alert="RobotReconnecting",
        series=states("reachy-1", ONE, ("listening", 2), ("reconnecting", 14)) | {f"reachylink_gemini_down{{{ONE}}}": "0x16"},
        quiet=("60s", "135s"),
        on=("150s",),
        labels={"robot": "reachy-1"},
        summary=WITHOUT_GEMINI,
    ),
    "a robot without Gemini in an outage, which has an alert of its own": Case(
        alert="RobotReconnecting",
        series=states("reachy-1", ONE, ("reconnecting", 16)) | {f"reachylink_gemini_down{{{TWO}}}": "1x16"},
        quiet=("2m15s", "3m"),
    ),
    "a robot that two gateways refuse, one of them unheard since": Case(
        alert="RobotRefused",
        series=states("reachy-1", ONE, ("refused", 10)) | states("reachy-1", TWO, ("refused", 10)),
        on=("90s",),
        labels={"robot": "reachy-1"},
        summary="The voice refuses reachy-1: key, model, permission or budget. The gateway's log says which.",
    ),
    "a robot that was let in soon": Case(
        alert="RobotRefused", series=states("reachy-1", ONE, ("refused", 3), ("listening", 9)), quiet=("30s", "60s", "2m")
    ),
    "a robot that fell silent": Case(
        alert="RobotAway",
        series=states("reachy-1", ONE, ("speaking", 2), ("away", 4), ("lost", 100)),
        quiet=("0s", "30s"),
        on=("45s", "20m"),
        labels={"robot": "reachy-1"},
        summary="reachy-1 fell silent without a goodbye.",
    ),
    "a robot that fell silent and comes back": Case(
        alert="RobotAway",
        series=states("reachy-1", ONE, ("away", 8), ("listening", 9)),
        on=("105s",),
        quiet=("120s",),
        labels={"robot": "reachy-1"},
        summary="reachy-1 fell silent without a goodbye.",
    ),
    "a robot that said goodbye": Case(
        alert="RobotAway", series=states("reachy-1", ONE, ("listening", 2), ("absent", 9)), quiet=("60s", "2m")
    ),
    "a robot that fell silent at one gateway and talks at the other": Case(
        alert="RobotAway",
        series=states("reachy-1", ONE, ("away", 4), ("lost", 9)) | states("reachy-1", TWO, ("listening", 13)),
        quiet=("60s", "3m"),
    ),
    "a robot that fell silent at one gateway and was never at the other": Case(
        alert="RobotAway",
        series=states("reachy-1", ONE, ("away", 4), ("lost", 9)) | states("reachy-1", TWO, ("absent", 13)),
        on=("60s", "3m"),
        labels={"robot": "reachy-1"},
        summary="reachy-1 fell silent without a goodbye.",
    ),
    "one slow turn in ten": Case(
        alert="SlowTurns", series=turns({0.7: 9, 2.5: 1}), quiet=("0s", "10m"), on=("11m",), summary=SLOW
    ),
    "one slow turn in fifty": Case(alert="SlowTurns", series=turns({0.7: 49, 2.5: 1}), quiet=("11m", "20m")),
    "nobody talks": Case(alert="SlowTurns", series=turns({}), quiet=("11m", "20m")),
    "an event loop that is late once in fifty times": Case(
        alert="LoopLag", series=lags({0.001: 147, 0.08: 3}), quiet=("0s", "5m"), on=("6m",), summary=LAGS
    ),
    "an event loop that is late once in five hundred times": Case(
        alert="LoopLag", series=lags({0.001: 1497, 0.08: 3}), quiet=("6m", "20m")
    ),
    "a microphone that is late one time in five": Case(
        alert="LateMicrophone",
        series=lateness("reachy-1", {0.005: 12, 0.3: 3}) | lateness("reachy-2", {0.005: 15}),
        quiet=("0s", "5m"),
        on=("6m",),
        labels={"robot": "reachy-1"},
        summary="The microphone audio of reachy-1 arrives more than 200 ms late: its network is poor.",
    ),
    "a microphone that is late one time in fifteen": Case(
        alert="LateMicrophone", series=lateness("reachy-1", {0.005: 14, 0.3: 1}), quiet=("6m", "20m")
    ),
    "a speaker that runs dry eight times a minute": Case(
        alert="Underruns",
        series={f'reachylink_underruns_total{{robot="reachy-1",{ONE}}}': "0+2x90"},
        quiet=("10m",),
        on=("20m",),
        labels={"robot": "reachy-1"},
        summary="The speaker of reachy-1 runs dry more than six times a minute.",
    ),
    "a speaker that runs dry four times a minute": Case(
        alert="Underruns", series={f'reachylink_underruns_total{{robot="reachy-1",{ONE}}}': "0+1x90"}, quiet=("11m", "20m")
    ),
    "the first bug": Case(
        alert="Faults",
        series={ENDED: "0x3 1x90"},
        quiet=("45s", "12m"),
        on=("60s", "10m"),
        labels={"robot": "reachy-1"},
        summary="A bug ended a conversation of reachy-1. Please report the traceback in the gateway's log.",
    ),
    "a robot that leaves and comes back with an old bug": Case(
        alert="Faults", series={ENDED: "1x3 stale _x9 1x9"}, quiet=("45s", "4m", "5m")
    ),
    **{
        f"the first {cause}": Case(
            alert="Impostor",
            series={DROPS.format(cause=cause): "0x3 1x90"},
            quiet=("45s", "12m"),
            on=("60s",),
            labels={"robot": "reachy-1"},
            summary="reachy-1 does what no honest robot does: its key may be stolen, or in use twice.",
        )
        for cause in ("impostor", "clone", "subscription", "upstream", "flood")
    },
    "what happens on a poor network": Case(
        alert="Impostor", series={DROPS.format(cause="gap"): "0+5x90"}, quiet=("60s", "12m")
    ),
    "most of a budget": Case(
        alert="BudgetNearlySpent",
        series={
            f"reachylink_gateway_cost_dollars_today{{{ONE}}}": "7.9 8.1",
            f"reachylink_gateway_budget_dollars{{{ONE}}}": "10x9",
            f"reachylink_gateway_cost_dollars_today{{{TWO}}}": "8.1x9",
        },
        quiet=("0s",),
        on=("15s",),
        labels={"instance": "gemini-gateway:8080", "job": "reachy-gateway"},
        summary="Four fifths of the gateway's budget for today are spent.",
    ),
}


def judged(directory: Path, case: Case) -> subprocess.CompletedProcess[str]:
    """The result of ``promtool`` on a case."""

    def checks() -> Iterator[dict]:
        alert = {"exp_labels": case.labels, "exp_annotations": {"summary": case.summary}}
        for time, alerts in [*((time, []) for time in case.quiet), *((time, [alert]) for time in case.on)]:
            yield {"eval_time": time, "alertname": case.alert, "exp_alerts": alerts}

    series = [{"series": name, "values": values} for name, values in case.series.items()]
    test = {"interval": f"{EVERY_S}s", "input_series": series, "alert_rule_test": list(checks())}
    file = directory / "test.yml"
    file.write_text(yaml.safe_dump({"rule_files": [str(ALERTS)], "evaluation_interval": f"{EVERY_S}s", "tests": [test]}))
    return subprocess.run(["promtool", "test", "rules", file], check=False, capture_output=True, text=True)


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_an_alert_goes_off_when_it_should(tmp_path, case):
    done = judged(tmp_path, case)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_alert_has_a_case_in_which_it_is_on_and_one_in_which_it_is_quiet():
    assert {case.alert for case in CASES.values() if case.on} == set(NAMES)
    assert {case.alert for case in CASES.values() if case.quiet} == set(NAMES)


def test_a_wrong_expectation_is_found(tmp_path):
    case = Case(alert="GatewayDown", series={f"up{{{ONE}}}": "1x9"}, on=("90s",))
    assert judged(tmp_path, case).returncode != 0
