"""A person's speech through the real SDK, robot-io, the link, the gateway, google-genai and the simulator, and back."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest
from signals import faults, read_wav
from virtual_reachy import VirtualReachy, virtual_reachy

ROOT = Path(__file__).parent.parent.parent
GATEWAY_BIN = ROOT / ".venv" / "bin"
ROBOT_BIN = Path(sys.executable).parent
NUMBERS = [ROOT / "tests" / "e2e" / "data" / f"number-{n}.wav" for n in (1, 2)]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def start(stack: ExitStack, program: Path, log: Path, **settings: object) -> Callable[[], str]:
    """A program of ours with these settings alone; what it has logged so far."""
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
        time.sleep(0.1)  # other processes tell nobody


@pytest.mark.timeout(180)
def test_every_segment_of_speech_comes_back_through_the_real_sdk(tmp_path: Path) -> None:
    gateway_keys, robot_keys, tls = tmp_path / "gateway", tmp_path / "robot", tmp_path / "tls"
    subprocess.run([GATEWAY_BIN / "reachy-keys", "--dir", gateway_keys, "demo", robot_keys, "reachy-1"], check=True)
    sim_port, up_port, down_port = free_port(), free_port(), free_port()
    (tmp_path / "rig").mkdir()
    with ExitStack() as stack:
        rig = stack.enter_context(virtual_reachy(tmp_path / "rig"))
        sim = start(
            stack, GATEWAY_BIN / "gemini-live-sim", tmp_path / "sim.log", SIM_PORT=sim_port, SIM_TLS_DIR=tls, SIM_MODE="echo"
        )
        until((tls / "root.pem").exists, sim)
        start(
            stack,
            GATEWAY_BIN / "gemini-gateway",
            tmp_path / "gateway.log",
            REACHY_KEYS_DIR=gateway_keys,
            GATEWAY_HOST="127.0.0.1",
            GATEWAY_UP_PORT=up_port,
            GATEWAY_DOWN_PORT=down_port,
            GATEWAY_SIM_URL=f"https://127.0.0.1:{sim_port}",
            GATEWAY_SIM_ROOT=tls / "root.pem",
            GATEWAY_LEDGER=tmp_path / "ledger.sqlite",
        )
        robot = start(
            stack,
            ROBOT_BIN / "robot-io",
            tmp_path / "robot.log",
            **rig.environment,
            REACHY_KEYS_DIR=robot_keys,
            ROBOT_DEVICE="reachy",
            ROBOT_DAEMON_PORT=rig.daemon_port,
            ROBOT_GATEWAY="127.0.0.1",
            ROBOT_UP_PORT=up_port,
            ROBOT_DOWN_PORT=down_port,
        )
        until(lambda: "listening" in robot() and "microphone and speaker are open" in robot(), robot)
        for turn, number in enumerate(NUMBERS, 1):
            converse(rig, robot, turn, number)


def converse(rig: VirtualReachy, robot: Callable[[], str], turn: int, number: Path) -> None:
    """Say a sentence, and compare what the speaker plays with it."""
    began = len(rig.speaker.samples)
    rig.say(number)
    until(lambda: f"turn {turn} done" in robot(), robot)
    said = read_wav(number)
    # The turn is done for robot-io when the SDK has it all; the air has it a little later.
    until(lambda: not faults(said, rig.speaker.samples[began:]), lambda: str(faults(said, rig.speaker.samples[began:])), 5.0)
