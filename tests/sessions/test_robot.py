"""What the person at the robot notices, with every part of the project in between."""

import os
import signal
import socket
import subprocess
import sys
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import numpy as np
import pytest
from rig import Desk, Keys, faults, running_hub, running_robot

from gemini_gateway.session import Limits
from gemini_live_sim.actions import GoAway, Step
from gemini_live_sim.server import serve
from gemini_live_sim.settings import SimSettings
from reachy_link.gateway_end import Bind

ECHO = SimSettings(mode="echo")
BIN = Path(sys.executable).parent
KEY = "AIzaSyGoodGoodGood"
BAD_KEYS = ("AIzaSyBadBadBad", "AIzaSyWorseWorseWorse")


def samples(pcm: bytes) -> np.ndarray:
    """float32 ``(n, 1)``."""
    return (np.frombuffer(pcm, "<i2").astype(np.float32) / 32768)[:, None]


@asynccontextmanager
async def a_robot(tmp_path, office):
    """The whole stack around one robot, with the gateway's states in the order in which they came."""
    made = Keys(tmp_path / "keys", "reachy-1")
    async with running_hub(made, office.make) as hub, running_robot(made.robot("reachy-1"), hub.bound) as robot:
        await robot.welcomed()
        await robot.desk.until(lambda: robot.core._phase == "listening")
        yield robot


async def test_an_answer_in_which_the_connection_is_renewed_is_heard_whole(tmp_path, open_office, question, numbers):
    away = Step(on="audio_out", count=5, action=GoAway(time_left_s=0.0))
    async with serve(SimSettings(mode="echo", script=(away,))) as sim, a_robot(tmp_path, open_office(sim)) as robot:
        for n, said in enumerate((numbers[0], question), 1):
            before = len(robot.desk.played)
            robot.desk.say(samples(said))
            await robot.answered(n)
            assert faults(robot.desk.played[before:, 0], samples(said)[:, 0]) == []
        await sim.until(lambda sim: len(sim.sessions) == 3)
        assert all(turn.complete for turn in robot.core.summary)


async def test_an_outage_in_mid_answer_is_shown_and_over_the_robot_answers_again(
    tmp_path, open_office, question, numbers, caplog
):
    caplog.set_level("INFO")
    async with serve(ECHO) as sim, a_robot(tmp_path, open_office(sim)) as robot:
        robot.desk.say(samples(numbers[0]))
        await robot.desk.until(lambda: len(robot.desk.played) > 8000)
        await sim.go_dark()
        await robot.desk.until(lambda: robot.core._phase == "reconnecting")
        assert "reachy-1: reconnecting: Gemini cannot be reached" in caplog.text
        await robot.desk.until(lambda: len(robot.core.summary) == 1)  # the robot does not claim to speak for ever
        await sim.come_back()
        await robot.desk.until(lambda: robot.core._phase == "listening")
        before = len(robot.desk.played)
        robot.desk.say(samples(question))
        await robot.answered(2)
        assert faults(robot.desk.played[before:, 0], samples(question)[:, 0]) == []


async def test_the_first_word_to_a_parked_robot_comes_back_whole(tmp_path, open_office, question):
    async with serve(ECHO) as sim:
        office = open_office(sim, limits=lambda _: Limits(park_after_s=1.0))
        async with a_robot(tmp_path, office) as robot:
            await sim.until(lambda sim: sim.sessions and not sim.open_sessions)
            assert robot.core._phase == "listening"
            robot.desk.say(samples(question))
            await robot.answered(1)
            assert faults(robot.desk.played[:, 0], samples(question)[:, 0]) == []


def free_ports() -> tuple[int, int]:
    with socket.socket() as one, socket.socket() as two:
        one.bind(("127.0.0.1", 0))
        two.bind(("127.0.0.1", 0))
        return one.getsockname()[1], two.getsockname()[1]


@contextmanager
def gateway_process(made: Keys, ports: tuple[int, int], sim, key_file: Path, log: Path):
    """The program itself, told of a server and of a key's file."""
    settings = {
        "REACHY_KEYS_DIR": made.gateway_dir,
        "REACHY_LOG_LEVEL": "DEBUG",
        "GATEWAY_HOST": "127.0.0.1",
        "GATEWAY_UP_PORT": ports[0],
        "GATEWAY_DOWN_PORT": ports[1],
        "GATEWAY_LEDGER": made.directory / "ledger.sqlite",
        "GOOGLE_GEMINI_BASE_URL": sim.url,
        "GEMINI_ROOT_CERT": sim.root_path,
        "GEMINI_API_KEY_FILE": key_file,
    }
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("GEMINI", "GOOGLE", "GATEWAY"))}
    with log.open("w") as stderr:
        process = subprocess.Popen(
            [BIN / "gemini-gateway"], env=clean | {k: str(v) for k, v in settings.items()}, stderr=stderr
        )
        try:
            yield process
        finally:
            process.terminate()
            process.wait()


@pytest.mark.timeout(120)
async def test_the_program_says_that_the_key_is_bad_and_goes_on_by_itself_when_its_file_is_mended(tmp_path, question):
    made, ports, key_file, log = Keys(tmp_path / "keys", "reachy-1"), free_ports(), tmp_path / "key", tmp_path / "log"
    key_file.write_text(BAD_KEYS[0])
    async with (
        serve(SimSettings(mode="echo", api_keys=KEY)) as sim,
        running_robot(made.robot("reachy-1"), Bind("127.0.0.1", *ports), Desk()) as robot,
    ):
        with gateway_process(made, ports, sim, key_file, log) as process:
            await robot.desk.until(lambda: robot.core._phase == "refused", 30)
            await robot.desk.until(lambda: robot.desk.handed)  # the sound that says so
            dials = len(sim.sessions)
            key_file.unlink()
            process.send_signal(signal.SIGHUP)
            await robot.desk.until(lambda: "cannot be read" in log.read_text())
            assert robot.core._phase == "refused"
            assert len(sim.sessions) == dials
            key_file.write_text(BAD_KEYS[1])
            await robot.desk.until(lambda: len(sim.sessions) > dials)
            key_file.write_text(KEY)
            await robot.desk.until(lambda: robot.core._phase == "listening")
            before = len(robot.desk.played)
            robot.desk.say(samples(question))
            await robot.answered(1)
            assert faults(robot.desk.played[before:, 0], samples(question)[:, 0]) == []
    told = log.read_text()
    assert "Gemini refused the API key: check GEMINI_API_KEY" in told
    assert not [key for key in (KEY, *BAD_KEYS) if key in told]
