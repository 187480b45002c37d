"""The minimal robot in C++, docs/protocol/robot.cpp, against a gateway. It needs g++, libzmq3-dev and nlohmann-json3-dev."""

import subprocess
from pathlib import Path

import pytest
from piped import NAME, is_interrupted, is_refused, returns, talks
from rig import Keys

ROOT = Path(__file__).parents[2]
PROGRAM = ROOT / ".venv" / "robot-in-cpp"


@pytest.fixture(scope="module")
def command() -> list[str]:
    """Compiled, unless ``tests/run`` has done so: it takes a compiler half a minute."""
    subprocess.run(["make", "--silent", PROGRAM.relative_to(ROOT)], cwd=ROOT, check=True)
    return [str(PROGRAM)]


@pytest.mark.timeout(120)
@pytest.mark.parametrize("behaves", [talks, is_interrupted, is_refused])
async def test_a_robot_that_is_admitted(tmp_path, command, behaves):
    await behaves(command, Keys(tmp_path, NAME))


@pytest.mark.timeout(120)
async def test_a_robot_whose_gateway_comes_later(tmp_path, command):
    await returns(command, Keys(tmp_path))
