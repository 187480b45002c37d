"""What a program answers to its arguments."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

BIN = Path(sys.executable).parent


def asked(program, *given):
    return subprocess.run([BIN / program, *given], capture_output=True, text=True, check=False, env={}, timeout=30)


@pytest.mark.parametrize(
    ("program", "setting"),
    [("gemini-gateway", "GEMINI_API_KEY"), ("robot-io", "ROBOT_DEVICE +reachy"), ("mock-gateway", "GATEWAY_UP_PORT +5555")],
)
def test_help_lists_the_settings_and_version_the_release(program, setting):
    helped = asked(program, "--help")
    assert (helped.returncode, helped.stderr) == (0, "")
    assert re.search(rf"^  {setting}$", helped.stdout, re.MULTILINE)
    assert re.search(r"^  REACHY_LOG_LEVEL +INFO$", helped.stdout, re.MULTILINE)
    assert re.fullmatch(rf"{program} \d+\.\d+\.\d+\n", asked(program, "--version").stdout)


def test_any_other_argument_is_refused():
    done = asked("gemini-gateway", "--port", "5555")
    assert (done.returncode, done.stdout) == (2, "")
    assert "unrecognized arguments: --port 5555" in done.stderr
