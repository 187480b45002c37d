"""A real Prometheus with our files scrapes a gateway with a talking robot, and answers the dashboard's queries."""

import asyncio
import json
import math
import subprocess
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml
from dashboard import ALERTS, OBSERVABILITY, asked_by_panels, filled
from ports import free_ports
from rig import Keys, running_hub, running_robot
from scraping import NUMBER, asked, talked

from gemini_gateway.metrics import metrics_of
from gemini_gateway.personas import Gateway, Persona
from gemini_live_sim.behaviour import Behaviour
from gemini_live_sim.server import serve

EMPTY = {"Drops a minute, by cause", "Clock offset"}
"""Panels that are empty while nothing is dropped, or without 10 min of past."""


class Prometheus:
    """A running Prometheus, used through its HTTP interface."""

    def __init__(self, port: int) -> None:
        self.address = f"127.0.0.1:{port}"

    async def get(self, path: str, **params: str) -> bytes:
        return await asyncio.to_thread(self._get, f"http://{self.address}/{path}?{urllib.parse.urlencode(params)}")

    async def data(self, path: str, **params: str) -> Any:
        answer = json.loads(await self.get(f"api/v1/{path}", **params))
        assert answer["status"] == "success", answer
        return answer["data"]

    async def values(self, query: str) -> list[float]:
        return [float(series["value"][1]) for series in (await self.data("query", query=query))["result"]]

    async def until(self, query: str) -> None:
        """Wait until a query has a result that is not 0."""
        async with asyncio.timeout(20):
            while not any(await self.values(query)):
                await asyncio.sleep(0.1)

    @staticmethod
    def _get(url: str) -> bytes:
        with urllib.request.urlopen(url, timeout=5) as response:  # noqa: S310 - loopback
            return response.read()


def configured(directory: Path, port: int) -> Path:
    """Our file, except for what compose supplies: paths and an address. It scrapes once a second."""
    targets = directory / "targets.yml"
    targets.write_text(yaml.safe_dump([{"targets": [f"127.0.0.1:{port}"]}]))
    config = yaml.safe_load((OBSERVABILITY / "prometheus.yml").read_text())
    config["global"] = dict.fromkeys(config["global"], "1s")
    config["rule_files"] = [str(OBSERVABILITY / "alerts.yml")]
    config["scrape_configs"][0]["file_sd_configs"][0]["files"] = [str(targets)]
    file = directory / "prometheus.yml"
    file.write_text(yaml.safe_dump(config))
    return file


@asynccontextmanager
async def looking_at(directory: Path, port: int) -> AsyncIterator[Prometheus]:
    prometheus = Prometheus(free_ports(1)[0])
    options = (f"--config.file={configured(directory, port)}", f"--storage.tsdb.path={directory / 'data'}", "--log.level=warn")
    process = await asyncio.create_subprocess_exec("prometheus", *options, f"--web.listen-address={prometheus.address}")
    try:
        async with asyncio.timeout(30):
            while True:
                try:
                    await prometheus.get("-/ready")
                    break
                except (urllib.error.URLError, TimeoutError, ConnectionError):
                    assert process.returncode is None, "it did not start; see above"
                    await asyncio.sleep(0.1)
        yield prometheus
    finally:
        process.terminate()
        await process.wait()


def test_promtool_finds_no_fault_with_the_configuration(tmp_path):
    subprocess.run(["promtool", "check", "config", configured(tmp_path, 1)], check=True)


@pytest.mark.timeout(120)
async def test_promtool_finds_no_fault_with_what_a_gateway_tells(tmp_path, office):
    for scrape in (await talked(tmp_path, office)).values():
        linting = await asyncio.create_subprocess_exec("promtool", "check", "metrics", stdin=subprocess.PIPE)
        await linting.communicate(scrape.text.encode())
        assert linting.returncode == 0, "see above"


@pytest.mark.timeout(120)
async def test_it_answers_all_that_the_dashboard_asks(tmp_path, office):
    made = Keys(tmp_path, "reachy-1", "reachy-2")
    async with serve() as sim:
        sim.behaviour = Behaviour(mode="tone", tone_ms=1000, speed=0, thinking_ms=150)
        voices = office(sim, Persona(budget_usd_per_day=5, tools=("what_time_is_it",)), Gateway(budget_usd_per_day=10))
        async with AsyncExitStack() as stack:
            hub = await stack.enter_async_context(running_hub(made, voices.make))
            port = await stack.enter_async_context(asked(hub, [partial(metrics_of, voices)]))
            prometheus = await stack.enter_async_context(looking_at(tmp_path, port.port))
            robot = await stack.enter_async_context(running_robot(made.robot("reachy-1"), hub.bound))
            await robot.welcomed()
            await prometheus.until('reachylink_robot_state{state="listening"}')
            session = await sim.session(1)
            session.tool_call("what_time_is_it")
            robot.desk.say(NUMBER[:24000])
            await robot.answered(1)
            session.tool_call("what_time_is_it")
            session.say(20_000)  # ms of a tone
            await robot.desk.until(lambda: len(robot.desk.played) > 32000)
            robot.desk.say(NUMBER[:24000])
            await robot.answered(3)
            session.go_away(10.0)
            await sim.session(2)
            for happened in (
                "turns_total{outcome='cut'}",
                "barge_in_seconds_count",
                "tool_seconds_count",
                "gemini_reconnects_total",
            ):
                await prometheus.until(f"increase(reachylink_{happened}[1m])")

            await prometheus.until("up == 1")
            assert await prometheus.values("count(up)") == [1]
            for title, query in asked_by_panels():
                values = await prometheus.values(filled(query))
                assert values or title in EMPTY, f"{title}: nothing for {query}"
                assert not all(map(math.isnan, values)) or title in EMPTY, f"{title}: no number for {query}"
            groups = (await prometheus.data("rules"))["groups"]
            rules = [rule for group in groups for rule in group["rules"]]
            assert {rule["name"]: rule["health"] for rule in rules} == {rule["alert"]: "ok" for rule in ALERTS}
            assert "firing" not in {rule["state"] for rule in rules}
            offered = await prometheus.data("label/robot/values", **{"match[]": "reachylink_robot_state"})
            assert offered == ["reachy-1", "reachy-2"], "by the dashboard's variable"
