"""Fixtures of the tests with the real SDK."""

from pathlib import Path

import pytest
from signals import read_wav
from virtual_reachy import in_environment, virtual_reachy

DATA = Path(__file__).parent / "data"


@pytest.fixture(scope="session")
def question_wav():
    return DATA / "question.wav"


@pytest.fixture(scope="session")
def question(question_wav):
    return read_wav(question_wav)


@pytest.fixture(scope="session")
def answer():
    return read_wav(DATA / "answer.wav")


@pytest.fixture(scope="session")
def lite_rig(tmp_path_factory):
    with virtual_reachy(tmp_path_factory.mktemp("lite"), own_process=False) as rig:
        yield rig


@pytest.fixture(scope="module")
def wireless_rig(tmp_path_factory):
    with virtual_reachy(tmp_path_factory.mktemp("wireless"), wireless=True, own_process=False) as rig:
        yield rig


@pytest.fixture
def lite(lite_rig):
    """A Lite: PulseAudio devices with the robot's name. Sets the environment for one test: the next may need another."""
    with in_environment(lite_rig.environment):
        yield lite_rig


@pytest.fixture(params=["lite", "wireless"])
def rig(request):
    """A Lite, then a Wireless."""
    rig = request.getfixturevalue(f"{request.param}_rig")
    with in_environment(rig.environment):
        yield rig
