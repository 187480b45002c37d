"""The health check of an image."""

import os
import socket
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from reachy_service.health import HealthServer
from reachy_service.well import ask

HEALTHY = Path(__file__).parents[2] / "services" / "healthy"


@pytest.fixture
def server():
    stands = {"ok": True}
    running = HealthServer("127.0.0.1", 0, lambda: dict(stands))
    yield running, stands
    running.close()


def well(**environment: str) -> subprocess.CompletedProcess[str]:
    env = {name: value for name, value in os.environ.items() if name != "REACHY_HEALTH_PORT"} | environment
    return subprocess.run(
        [sys.executable, "-m", "reachy_service.well"], env=env, capture_output=True, text=True, timeout=20, check=False
    )


def test_a_service_tells_whether_it_is_well(server):
    running, stands = server
    assert ask(running.port) == (True, '{"ok": true}')
    stands["ok"] = False
    assert ask(running.port) == (False, '{"ok": false}')


def test_the_command_says_so_by_its_status_whatever_proxy_the_environment_names(server):
    running, stands = server
    given = {"REACHY_HEALTH_PORT": f"{running.port}\r", "http_proxy": "http://127.0.0.1:9", "ALL_PROXY": "socks5://x:9"}
    assert well(**given).returncode == 0
    stands["ok"] = False
    done = well(**given)
    assert (done.returncode, done.stdout) == (1, '{"ok": false}\n')


@pytest.mark.parametrize("port", [None, "", " ", "0", "web", "-1", "99999", "tcp://10.0.0.1:80"])
def test_without_a_port_the_command_is_a_line_and_no_traceback(port):
    done = well(**({} if port is None else {"REACHY_HEALTH_PORT": port}))
    assert done.returncode == 1
    assert len((done.stdout + done.stderr).splitlines()) == 1


def test_who_does_not_answer_or_speaks_something_else_is_not_well():
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]

        def greet() -> None:
            connection, _ = other.accept()
            with connection:
                connection.recv(1000)
                connection.sendall(b"SSH-2.0-OpenSSH\r\n")

        threading.Thread(target=greet).start()
        ok, words = ask(port)
        assert not ok
        assert "no health server" in words
        ok, words = ask(port)  # no server answers now
        assert not ok
        assert "timed out" in words
    ok, words = ask(port)
    assert not ok
    assert f"no answer on port {port}" in words


def test_the_command_imports_next_to_nothing():
    """It runs as long as its container, and each import costs more than the question."""
    code = "import sys; before = set(sys.modules); import reachy_service.well; print(*(set(sys.modules) - before))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    allowed = {
        "reachy_link",
        "reachy_service",
        "socket",
        "_socket",
        "selectors",
        "select",
        "enum",
        "types",
        "math",
        "errno",
        "array",
    }
    allowed |= {"collections", "functools", "operator", "keyword", "reprlib", "heapq", "itertools"}
    assert {name.partition(".")[0] for name in loaded if not name.startswith("_")} <= allowed


@pytest.fixture
def check(tmp_path):
    """``services/healthy`` with its mark in a directory of the test, and a clock that the test sets."""
    script = tmp_path / "healthy"
    slept = tmp_path / "slept"
    script.write_text(HEALTHY.read_text(encoding="utf-8").replace("/dev/shm", str(tmp_path)), encoding="utf-8")  # noqa: S108
    (tmp_path / "sleep").write_text(f'#!/bin/sh\necho "$1" >>{slept}\n', encoding="utf-8")
    for made in (script, tmp_path / "sleep"):
        made.chmod(0o755)

    def check(command: str) -> tuple[int, list[str]]:
        env = {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
        done = subprocess.run([script, "sh", "-c", command], env=env, timeout=20, check=False)
        return done.returncode, slept.read_text(encoding="utf-8").split() if slept.exists() else []

    return check


def test_the_images_check_is_quick_until_the_service_is_well_and_then_rare(check):
    assert check("exit 1") == (1, [])
    assert check("exit 0") == (0, [])
    assert check("exit 0") == (0, ["58"])
    assert check("exit 3") == (3, ["58", "58"])
    assert check("exit 1") == (1, ["58", "58"])
    assert check("exit 0") == (0, ["58", "58"])


def test_the_images_check_can_be_run():
    assert HEALTHY.stat().st_mode & stat.S_IXUSR
