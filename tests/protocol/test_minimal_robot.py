"""The minimal robot in bare pyzmq, docs/protocol/robot.py, against a gateway."""

import sys
from pathlib import Path

import pytest
from piped import NAME, is_interrupted, is_refused, returns, talks
from rig import Keys

COMMAND = [sys.executable, str(Path(__file__).parents[2] / "docs" / "protocol" / "robot.py")]


@pytest.mark.parametrize("behaves", [talks, is_interrupted, is_refused])
async def test_a_robot_that_is_admitted(tmp_path, behaves):
    await behaves(COMMAND, Keys(tmp_path, NAME))


async def test_a_robot_whose_gateway_comes_later(tmp_path):
    await returns(COMMAND, Keys(tmp_path))
