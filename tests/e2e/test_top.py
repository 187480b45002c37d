"""``reachy-top`` against a gateway's process, which also tests the wiring of the metrics there."""

import asyncio
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from ports import free_ports
from rig import Keys, running_robot
from scraping import NUMBER, Asked

from gemini_live_sim.behaviour import Behaviour
from gemini_live_sim.server import serve
from reachy_gateway import top
from reachy_gateway.link.end import Bind

BIN = Path(sys.executable).parent


@contextmanager
def gateway(made: Keys, ports: tuple[int, ...], sim) -> Iterator[subprocess.Popen[bytes]]:
    settings = {
        "REACHY_KEYS_DIR": made.gateway_dir,
        "REACHY_HEALTH_PORT": ports[2],
        "GATEWAY_HOST": "127.0.0.1",
        "GATEWAY_UP_PORT": ports[0],
        "GATEWAY_DOWN_PORT": ports[1],
        "GATEWAY_SIM_URL": sim.url,
        "GATEWAY_SIM_ROOT": sim.root_path,
        "GATEWAY_LEDGER": made.directory / "ledger.sqlite",
    }
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("GEMINI", "GOOGLE", "GATEWAY"))}
    process = subprocess.Popen([BIN / "gemini-gateway"], env=clean | {k: str(v) for k, v in settings.items()})
    try:
        yield process
    finally:
        process.terminate()
        process.wait()


async def run_top(*args: str) -> tuple[int, str, str]:
    process = await asyncio.create_subprocess_exec(BIN / "reachy-top", *args, stdout=-1, stderr=-1)
    out, err = await process.communicate()
    return process.returncode, out.decode(), err.decode()


async def test_the_table_shows_the_robots_of_a_gateway(tmp_path):
    made, ports = Keys(tmp_path, "reachy-1", "reachy-2"), free_ports(3)
    async with serve() as sim, running_robot(made.robot("reachy-1"), Bind("127.0.0.1", *ports[:2])) as robot:
        sim.behaviour = Behaviour(mode="tone", tone_ms=500, speed=0)
        with gateway(made, ports, sim):
            await robot.welcomed()
            robot.desk.say(NUMBER[:24000])
            await robot.answered(1)
            asked = Asked(ports[2])
            scrape = await asked.until(
                lambda it: (
                    it.value("reachylink_turns_total", outcome="done") == 1
                    and it.value("reachylink_robot_state", robot="reachy-1", state="listening") == 1
                    and sum(sample.value for sample in it.samples("reachylink_tokens_today"))
                )
            )
            status, out, err = await run_top("--url", asked.url, "--once")
    assert (status, err) == (0, "")
    first, empty, heads, line = out.splitlines()
    assert first.startswith("gemini-gateway ")
    assert "1 robots connected, 2 admitted, at most 50; $" in first
    assert empty == ""
    assert heads.split()[0] == "robot"
    cells = line.split()
    assert cells[:2] == ["reachy-1", "listening"]
    assert (cells[3], cells[4], cells[9]) == ("1", "-", "0"), "a turn, no call, no reconnect"
    assert int(cells[7]) == scrape.value("reachylink_underruns_total")
    assert int(cells[6]) == pytest.approx(1000 * scrape.value("reachylink_last_turn_latency_seconds"), abs=1)
    assert int(cells[5]) == pytest.approx(1000 * top.Told(scrape.text).median("reachylink_turn_latency_seconds"), abs=1)
    assert int(cells[10]) == sum(sample.value for sample in scrape.samples("reachylink_tokens_today")) > 0


async def test_nobody_there_is_said_in_words_with_status_1():
    (port,) = free_ports(1)
    status, out, err = await run_top("--url", f"http://127.0.0.1:{port}/metrics", "--once")
    assert (status, out) == (1, "")
    assert f"no answer from http://127.0.0.1:{port}/metrics" in err
    assert "REACHY_HEALTH_PORT" in err
    assert len(err.splitlines()) == 1


@pytest.mark.parametrize("settings", [{"REACHY_HEALTH_PORT": "http"}, {"REACHY_HEALTH_HOST": "a b"}])
async def test_settings_that_are_none_are_said_in_words_with_status_1(monkeypatch, capsys, settings):
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    assert await asyncio.to_thread(top.main, ["--once"]) == 1
    assert len(capsys.readouterr().err.splitlines()) == 1


async def test_another_page_of_the_port_is_said_to_be_none(tmp_path, capsys, monkeypatch):
    made, ports = Keys(tmp_path, "reachy-1"), free_ports(3)
    async with serve() as sim, running_robot(made.robot("reachy-1"), Bind("127.0.0.1", *ports[:2])) as robot:
        with gateway(made, ports, sim):
            await robot.welcomed()
            monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")  # the program must not use this proxy
            for page, words in (("nothing", "answers 404"), ("healthz", "no gateway")):
                assert await asyncio.to_thread(top.main, ["--once", "--url", f"http://127.0.0.1:{ports[2]}/{page}"]) == 1
                assert words in capsys.readouterr().err
