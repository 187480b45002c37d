"""Bad configuration: all problems at once, by the variables' names, with status 2 and no traceback."""

import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from ports import free_ports
from rig import Keys

BIN = Path(sys.executable).parent
SPEECH = Path(__file__).parents[1] / "e2e" / "data"


def environment(settings: dict[str, object]) -> dict[str, str]:
    foreign = ("ROBOT_", "GATEWAY_", "GEMINI_", "GOOGLE_", "REACHY_", "SIM_", "CONSOLE_")
    clean = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
    return clean | {name: str(value) for name, value in settings.items()}


def run(program: str, **settings: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run([BIN / program], env=environment(settings), capture_output=True, text=True, timeout=20, check=False)


def start(program: str, stderr: int, **settings: object) -> subprocess.Popen[str]:
    return subprocess.Popen([BIN / program], env=environment(settings), stderr=stderr, text=True)


@pytest.mark.parametrize(
    ("program", "settings"),
    [
        ("gemini-gateway", {"GATEWAY_UP_PORT": "99999", "GATEWAY_MAX_ROBOTS": "many", "GOOGLE_GEMINI_BASE_URL": "ws://x"}),
        ("mock-gateway", {"GATEWAY_UP_PORT": "no port", "GATEWAY_MAX_ROBOTS": "0", "REACHY_LOG_LEVEL": "LOUD"}),
        ("robot-io", {"ROBOT_DEVICE": "r2d2", "ROBOT_UP_PORT": "0", "REACHY_HEALTH_PORT": "-1"}),
        (
            "reachy-console",
            {"CONSOLE_PORT": "0", "CONSOLE_NAMES": "http://box", "CONSOLE_ADMIN": "box:5559+1", "CONSOLE_QUIET_S": "1"},
        ),
        ("reachy-console", {"CONSOLE_HOST": "0.0.0.0"}),
        ("reachy-console", {"CONSOLE_TLS_CERT": "cert.pem"}),
        ("gemini-live-sim", {"SIM_PORT": "99999", "SIM_MODE": "sing", "SIM_SPEED": "-1"}),
    ],
)
def test_all_problems_are_told_at_once(program, settings):
    done = run(program, **settings)
    assert done.returncode == 2
    for name in settings:
        assert name in done.stderr
    assert "Traceback" not in done.stderr + done.stdout


@pytest.mark.parametrize(
    "host",
    [
        "-box", "box~1", "gate!way", "tcp://box:5555", "box:0", "box:70000", "bo x", ",", "::1", "fe80::1%eth0",
        "127.0.0.01", "a" * 64, f"{'a.' * 127}a", "[box]", "büro/x", "box.lab,BOX.LAB.",
    ],
)  # fmt: skip
def test_a_gateway_that_cannot_be_dialled_is_one_line(tmp_path, host):
    done = run("robot-io", ROBOT_GATEWAY=host, REACHY_KEYS_DIR=tmp_path)
    assert done.returncode == 2
    assert [line for line in done.stderr.splitlines() if "ROBOT_GATEWAY" in line] == done.stderr.splitlines()
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize("program", ["mock-gateway", "robot-io"])
@pytest.mark.parametrize("host", ["a..b", "http://127.0.0.1", "127.0.0.1:8080", "127.1"])
def test_an_address_for_health_that_is_none_is_one_line(tmp_path, program, host):
    done = run(program, REACHY_HEALTH_HOST=host, REACHY_KEYS_DIR=tmp_path)
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert "REACHY_HEALTH_HOST" in done.stderr


@pytest.mark.parametrize("host", ["http://reachy-mini.local", "reachy-mini.local:8000", "a..b", "*"])
def test_a_daemon_that_cannot_be_asked_is_one_line(tmp_path, host):
    done = run("robot-io", ROBOT_DAEMON_HOST=host, REACHY_KEYS_DIR=tmp_path)
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert "ROBOT_DAEMON_HOST" in done.stderr


@pytest.mark.parametrize("host", ["-box", "gate!way", "tcp://*", "*:5555", "127.0.0.01", "[::1]:5555", "[box]"])
def test_an_address_that_nobody_can_listen_on_is_one_line(tmp_path, host):
    done = run("mock-gateway", GATEWAY_HOST=host, REACHY_KEYS_DIR=tmp_path)
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert "GATEWAY_HOST" in done.stderr


@pytest.mark.parametrize("host", ["nobody", "203.0.113.7", "2001:db8::7", "fe80::1%nowhere"])
def test_an_address_that_is_not_this_machines_is_one_line_beside_the_log(tmp_path, host):
    made = Keys(tmp_path)
    done = run("mock-gateway", GATEWAY_HOST=host, REACHY_KEYS_DIR=made.gateway_dir)
    assert done.returncode == 2
    assert "GATEWAY_HOST" in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr


def test_a_gateway_without_keys_says_how_to_make_them(tmp_path):
    done = run("mock-gateway", REACHY_KEYS_DIR=tmp_path)
    assert done.returncode == 2
    assert f"reachy-keys --dir {tmp_path} gateway" in done.stderr


def test_a_virtual_robot_without_recordings_and_without_keys_is_told_both(tmp_path):
    done = run("robot-io", REACHY_KEYS_DIR=tmp_path, ROBOT_DEVICE="wav", ROBOT_UTTERANCES=tmp_path)
    assert done.returncode == 2
    assert "ROBOT_UTTERANCES" in done.stderr
    assert "REACHY_KEYS_DIR" in done.stderr


@pytest.mark.parametrize(
    ("program", "name"),
    [("mock-gateway", "GATEWAY_UP_PORT"), ("mock-gateway", "REACHY_HEALTH_PORT"), ("robot-io", "REACHY_HEALTH_PORT")],
)
def test_a_port_in_use_is_named(tmp_path, program, name):
    made = Keys(tmp_path, "reachy-1")
    made.robot("reachy-1")
    ports = dict(zip(("GATEWAY_UP_PORT", "GATEWAY_DOWN_PORT", "REACHY_HEALTH_PORT"), free_ports(3), strict=True))
    with socket.create_server(("127.0.0.1", 0)) as taken:
        ports[name] = taken.getsockname()[1]
        done = run(
            program,
            REACHY_KEYS_DIR=made.gateway_dir if program == "mock-gateway" else made.robot_dir("reachy-1"),
            GATEWAY_HOST="127.0.0.1", ROBOT_DEVICE="wav", ROBOT_UTTERANCES=SPEECH, **ports,
        )  # fmt: skip
    assert done.returncode == 2
    for words in ("configuration: ", name, "cannot listen on 127.0.0.1", str(ports[name])):
        assert words in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("name", ["SIM_PORT", "SIM_TLS_DIR"])
def test_a_simulator_that_cannot_start_says_with_what(tmp_path, name):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        settings = {"SIM_PORT": free_ports(1)[0], "SIM_TLS_DIR": tmp_path}
        settings[name] = taken.getsockname()[1] if name == "SIM_PORT" else "/proc/none"
        done = run("gemini-live-sim", SIM_HOST="127.0.0.1", **settings)
    assert done.returncode == 2
    assert f"{name}={settings[name]}" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_robots_file_is_refused_whole_with_every_mistake_and_with_those_beside_it(tmp_path):
    robots = tmp_path / "robots.toml"
    robots.write_text(
        '[defaults]\ntemperature = 9\n[robots.reachy-1]\nvoise = "Puck"\n[robots.reachy-2]\nthinking_level = "low"\n'
    )
    settings = {"REACHY_KEYS_DIR": tmp_path, "GATEWAY_LEDGER": robots / "l.sqlite", "GATEWAY_ROBOTS_FILE": robots}
    done = run("gemini-gateway", **settings)
    assert done.returncode == 2
    for words in (
        "REACHY_KEYS_DIR",
        "GATEWAY_LEDGER",
        "defaults.temperature",
        "robots.reachy-1.voise",
        "robots.reachy-2.thinking_level",
    ):
        assert words in done.stderr
    assert "Traceback" not in done.stderr


def test_a_key_that_others_can_read_is_refused_with_the_command_that_mends_it(tmp_path):
    made = Keys(tmp_path)
    secret = made.gateway_dir / "self.key"
    secret.chmod(0o644)
    done = run("mock-gateway", REACHY_KEYS_DIR=made.gateway_dir)
    assert done.returncode == 2
    assert f"chmod 600 {secret}" in done.stderr


@pytest.mark.parametrize("program", ["mock-gateway", "robot-io"])
def test_what_an_orchestrator_sets_and_what_is_misspelt_is_warned_of_and_ends_nothing(tmp_path, program):
    made = Keys(tmp_path, "reachy-1")
    made.robot("reachy-1")
    up, down = free_ports(2)
    settings = {
        "REACHY_KEYS_DIR": made.gateway_dir if program == "mock-gateway" else made.robot_dir("reachy-1"),
        "GATEWAY_HOST": "127.0.0.1", "GATEWAY_UP_PORT": up, "GATEWAY_DOWN_PORT": down,
        "ROBOT_DEVICE": "wav", "ROBOT_UTTERANCES": SPEECH, "ROBOT_SPEAKER_WAV": tmp_path / "speaker.wav",
        "REACHY_HEALTH_PORT": "tcp://10.0.0.1:80", "GATEWAY_PORT": "tcp://10.0.0.1:80", "GATEWAY_SERVICE_HOST": "10.0.0.1",
        "GATEWAY_ROBOT_FILE": "robots.toml", "TZ": "Europe/Berln",
    }  # fmt: skip
    process = start(program, stderr=subprocess.PIPE, **settings)
    told = ""
    try:
        while not re.search("listening on ports|microphone and speaker are open", told):
            line = process.stderr.readline()
            assert line, told
            told += line
    finally:
        process.send_signal(signal.SIGTERM)
        told += process.communicate(timeout=10)[1]
    assert process.returncode == 0, told
    for words in (
        "REACHY_HEALTH_PORT is the address of a Kubernetes Service",
        "GATEWAY_PORT, GATEWAY_SERVICE_HOST",
        "GATEWAY_ROBOT_FILE: no setting has this name, so it does nothing; is it GATEWAY_ROBOTS_FILE?",
        "TZ=Europe/Berln is no known time zone: days begin at midnight UTC; is it Europe/Berlin?",
    ):
        assert words in told


def test_a_robot_whose_directory_was_removed_says_what_it_misses(tmp_path):
    gone = tmp_path / "gone"
    gone.mkdir()
    command = ["sh", "-c", 'cd "$0" && rmdir "$0" && exec "$1"', gone, BIN / "robot-io"]
    env = environment({"ROBOT_DEVICE": "wav", "REACHY_KEYS_DIR": tmp_path})
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=20, check=False)
    assert done.returncode == 2
    assert "ROBOT_UTTERANCES: no *.wav in utterances" in done.stderr
    assert "Traceback" not in done.stderr
