"""Fixtures of the tests with the real SDK."""

from pathlib import Path

import pytest
from signals import read_wav
from virtual_reachy import virtual_reachy

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
def lite(tmp_path_factory):
    """A Lite: PulseAudio devices with the robot's name."""
    with virtual_reachy(tmp_path_factory.mktemp("lite")) as rig:
        yield rig


@pytest.fixture(scope="module", params=["lite", "wireless"])
def rig(request, tmp_path_factory):
    """Both kinds, one after the other."""
    if request.param == "lite":
        yield request.getfixturevalue("lite")
        return
    with virtual_reachy(tmp_path_factory.mktemp("wireless"), wireless=True) as rig:
        yield rig
