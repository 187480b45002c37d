"""A person's speech through the real SDK, robot-io, the link, the gateway, google-genai and the simulator, and back."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from itertools import pairwise
from pathlib import Path

import pytest
from moving import Probe, turn
from signals import faults, read_wav
from virtual_reachy import VirtualReachy, virtual_reachy

from reachy_robot.motion.limits import TICK_MAX_DEG

ROOT = Path(__file__).parent.parent.parent
GATEWAY_BIN = ROOT / ".venv" / "bin"
ROBOT_BIN = Path(sys.executable).parent
DANCE = ROOT / "services" / "gemini-live-sim" / "src" / "gemini_live_sim" / "phrases" / "dance.wav"
NUMBERS = [ROOT / "tests" / "e2e" / "data" / f"number-{n}.wav" for n in (1, 2)]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def start(stack: ExitStack, program: Path, log: Path, **settings: object) -> Callable[[], str]:
    """Start one of our programs with these settings only. Returns a function that reads its log so far."""
    foreign = ("ROBOT_", "GATEWAY_", "GEMINI_", "GOOGLE_", "REACHY_", "SIM_")
    clean = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
    env = clean | {name: str(value) for name, value in settings.items()}
    with log.open("wb") as output:
        process = subprocess.Popen([program], env=env, stdout=output, stderr=subprocess.STDOUT)
    stack.callback(process.wait)
    stack.callback(process.terminate)
    return log.read_text


def until(condition: Callable[[], object], told: Callable[[], str], timeout_s: float = 40.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, told()
        time.sleep(0.1)  # other processes send no events


def all_of_it(stack: ExitStack, work: Path, rig: VirtualReachy, **sim_settings: object) -> Callable[[], str]:
    """Run simulator, gateway and robot-io, and wait until the robot listens. Returns a function that reads robot-io's log."""
    gateway_keys, robot_keys, tls = work / "gateway", work / "robot", work / "tls"
    subprocess.run([GATEWAY_BIN / "reachy-keys", "--dir", gateway_keys, "demo", robot_keys, "reachy-1"], check=True)
    sim_port, up_port, down_port = free_port(), free_port(), free_port()
    sim = start(stack, GATEWAY_BIN / "gemini-live-sim", work / "sim.log", SIM_PORT=sim_port, SIM_TLS_DIR=tls, **sim_settings)
    until((tls / "root.pem").exists, sim)
    start(
        stack,
        GATEWAY_BIN / "gemini-gateway",
        work / "gateway.log",
        REACHY_KEYS_DIR=gateway_keys,
        GATEWAY_HOST="127.0.0.1",
        GATEWAY_UP_PORT=up_port,
        GATEWAY_DOWN_PORT=down_port,
        GATEWAY_SIM_URL=f"https://127.0.0.1:{sim_port}",
        GATEWAY_SIM_ROOT=tls / "root.pem",
        GATEWAY_LEDGER=work / "ledger.sqlite",
    )
    robot = start(
        stack,
        ROBOT_BIN / "robot-io",
        work / "robot.log",
        **rig.environment,
        REACHY_KEYS_DIR=robot_keys,
        ROBOT_DEVICE="reachy",
        ROBOT_DAEMON_PORT=rig.daemon_port,
        ROBOT_GATEWAY="127.0.0.1",
        ROBOT_GATEWAYS_FILE=work / "gateways",
        ROBOT_UP_PORT=up_port,
        ROBOT_DOWN_PORT=down_port,
    )
    until(lambda: "listening" in robot() and "microphone and speaker are open" in robot(), robot)
    return robot


@pytest.mark.timeout(180)
def test_every_segment_of_speech_comes_back_through_the_real_sdk(tmp_path: Path) -> None:
    (tmp_path / "rig").mkdir()
    with ExitStack() as stack:
        rig = stack.enter_context(virtual_reachy(tmp_path / "rig"))
        robot = all_of_it(stack, tmp_path, rig, SIM_MODE="echo")
        for turn, number in enumerate(NUMBERS, 1):
            converse(rig, robot, turn, number)


@pytest.mark.timeout(240)
def test_it_dances_speaks_of_it_dances_on_when_interrupted_and_outlives_the_daemon(tmp_path: Path) -> None:
    (tmp_path / "rig").mkdir()
    with ExitStack() as stack:
        rig = stack.enter_context(virtual_reachy(tmp_path / "rig"))
        robot = all_of_it(stack, tmp_path, rig)
        until(lambda: "the body moves" in robot(), robot)
        probe = Probe(rig)
        stack.callback(probe.close)
        until(lambda: probe.poses and abs(probe.newest.z_mm) < 6, robot)
        began = len(rig.speaker.samples)
        rig.say(DANCE)
        until(lambda: "dance sway" in robot(), robot)
        until(lambda: abs(rig.speaker.samples[began:]).max(initial=0) > 0.05, robot)
        rig.say(NUMBERS[0])
        until(lambda: "turn 1 cut" in robot(), robot)
        cut = len(probe.poses)
        until(lambda: len(probe.poses) > cut + 80, robot)
        swung = [pose.y_mm for _, pose in probe.poses[cut:]]
        assert max(swung) - min(swung) > 5, "a dance that was asked for goes on"
        until(lambda: "turn 2 done" in robot(), robot)

        rig.kill_daemon()
        gone = len(probe.poses)
        rig.say(NUMBERS[1])
        until(lambda: "turn 3 done" in robot(), robot)
        rig.start_daemon()
        until(lambda: robot().count("the body moves") == 2, robot, 60)
        until(lambda: probe.newest.z_mm > -4, robot)
        assert max(turn(a[1], b[1]) for a, b in pairwise(probe.poses[gone:])) < 2 * TICK_MAX_DEG, "and did not jump there"
        assert robot().count("microphone and speaker are open") == 1, "its sound never stopped"


def converse(rig: VirtualReachy, robot: Callable[[], str], turn: int, number: Path) -> None:
    """Say a sentence, and compare the speaker's output with it."""
    began = len(rig.speaker.samples)
    rig.say(number)
    until(lambda: f"turn {turn} done" in robot(), robot)
    said = read_wav(number)
    # robot-io counts the turn as done when the SDK has all audio; the speaker plays it a little later.
    until(lambda: not faults(said, rig.speaker.samples[began:]), lambda: str(faults(said, rig.speaker.samples[began:])), 5.0)
