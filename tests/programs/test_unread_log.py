"""A log that is not read or cannot be written blocks no program and silences no conversation: tested with the real programs."""

import asyncio
import fcntl
import json
import os
import shutil
import signal
import sys
import time
import wave
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import numpy as np
import pytest
from ports import free_ports
from rig import Keys

from reachy_service.well import ask

BIN = Path(sys.executable).parent
SPEECH = Path(__file__).parents[1] / "e2e" / "data" / "number-1.wav"
FOREIGN = ("ROBOT_", "GATEWAY_", "GEMINI_", "GOOGLE_", "REACHY_", "SIM_")
PIPE = 4096


@contextmanager
def unread():
    """A pipe of 4 KiB that is full and is never read."""
    reader, writer = os.pipe()
    fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, PIPE)
    os.write(writer, b"x" * PIPE)
    try:
        yield writer
    finally:
        os.close(reader)
        os.close(writer)


@contextmanager
def broken():
    """A pipe whose reader is gone."""
    reader, writer = os.pipe()
    os.close(reader)
    try:
        yield writer
    finally:
        os.close(writer)


@contextmanager
def full():
    """A file on a full disk."""
    descriptor = os.open("/dev/full", os.O_WRONLY)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


@contextmanager
def closed():
    """A closed descriptor."""
    yield None


BAD = [unread, broken, full, closed]


@asynccontextmanager
async def runs(program: str, output: int | None, **settings: object):
    """Run a program with this output and error. End it with SIGTERM, or kill it if it ignores that."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith(FOREIGN)}
    command = ["sh", "-c", 'exec "$0" >&- 2>&-', BIN / program] if output is None else [BIN / program]
    env = clean | {"REACHY_LOG_LEVEL": "DEBUG"} | {name: str(value) for name, value in settings.items()}
    process = await asyncio.create_subprocess_exec(*command, env=env, stdout=output, stderr=output)
    try:
        yield process
        if process.returncode is None:
            process.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(process.wait(), 8) == 0
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def well(port: int) -> dict[str, object]:
    """The health report, as soon as the program is healthy."""
    deadline = time.monotonic() + 15
    while True:
        ok, words = await asyncio.to_thread(ask, port)
        if ok:
            return json.loads(words)
        assert time.monotonic() < deadline, words
        await asyncio.sleep(0.1)


@pytest.mark.parametrize("bad", BAD)
async def test_a_gateway_and_a_robot_talk_on(tmp_path, bad):
    made = Keys(tmp_path, "reachy-1")
    up, down, health, robot_health = free_ports(4)
    gateway = {
        "REACHY_KEYS_DIR": made.gateway_dir, "REACHY_HEALTH_PORT": health,
        "GATEWAY_HOST": "127.0.0.1", "GATEWAY_UP_PORT": up, "GATEWAY_DOWN_PORT": down, "GATEWAY_DRAIN_S": 0,
    }  # fmt: skip
    robot = {
        "REACHY_KEYS_DIR": made.robot_dir("reachy-1"), "REACHY_HEALTH_PORT": robot_health, "ROBOT_DEVICE": "wav",
        "ROBOT_GATEWAY": "127.0.0.1", "ROBOT_UP_PORT": up, "ROBOT_DOWN_PORT": down, "ROBOT_SHOW_TRANSCRIPTS": "true",
        "ROBOT_GATEWAYS_FILE": tmp_path / "gateways",
        "ROBOT_UTTERANCES": tmp_path / "utterances", "ROBOT_SPEAKER_WAV": tmp_path / "speaker.wav",
    }  # fmt: skip
    (tmp_path / "utterances").mkdir()
    shutil.copy(SPEECH, tmp_path / "utterances")
    with bad() as output:
        async with runs("mock-gateway", output, **gateway):
            assert (await well(health))["log_lines_lost"] == 0 if bad is unread else True
            async with runs("robot-io", output, **robot) as process:
                await well(robot_health)
                assert await asyncio.wait_for(process.wait(), 45) == 0, "the robot must end with its last utterance"
            told = await well(health)
    with wave.open(str(tmp_path / "speaker.wav")) as recording:
        assert np.frombuffer(recording.readframes(recording.getnframes()), "<i2").any()
    if bad is not unread:
        assert told["log_lines_lost"] > 0


@pytest.mark.parametrize("bad", BAD)
async def test_a_simulator_answers_on_and_heeds_its_signal(tmp_path, bad):
    (port,) = free_ports(1)
    with bad() as output:
        async with runs("gemini-live-sim", output, SIM_PORT=port, SIM_TLS_DIR=tmp_path):
            deadline = time.monotonic() + 15
            while not (tmp_path / "root.pem").exists():
                assert time.monotonic() < deadline
                await asyncio.sleep(0.05)
            clean = {name: value for name, value in os.environ.items() if not name.startswith(FOREIGN)}
            env = clean | {"SIM_PORT": str(port), "SIM_TLS_DIR": str(tmp_path)}
            health = await asyncio.create_subprocess_exec(BIN / "gemini-live-sim", "health", env=env)
            assert await health.wait() == 0


@pytest.mark.parametrize("program", ["mock-gateway", "robot-io"])
@pytest.mark.parametrize("bad", BAD)
async def test_a_configuration_that_is_wrong_ends_a_program_that_nobody_hears(tmp_path, program, bad):
    clean = {name: value for name, value in os.environ.items() if not name.startswith(FOREIGN)}
    env = clean | {"REACHY_KEYS_DIR": str(tmp_path)}
    with bad() as output:
        command = ["sh", "-c", 'exec "$0" >&- 2>&-', BIN / program] if output is None else [BIN / program]
        process = await asyncio.create_subprocess_exec(*command, env=env, stdout=output, stderr=output)
        assert await asyncio.wait_for(process.wait(), 10) == 2


async def test_what_ends_a_program_is_told_before_it_ends(tmp_path):
    """Although a thread writes the log."""
    code = (
        "import sys\n"
        "from reachy_service import logs\n"
        "logs.set_up('robot-io', 'INFO', ['the-secret'])\n"
        "for n in range(5000): logs.log.warning('line %d', n)\n"
        "raise RuntimeError('on purpose: the-secret')\n"
    )
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", code, stderr=asyncio.subprocess.PIPE)
    _, told = await process.communicate()
    assert process.returncode == 1
    assert b"line 0\n" in told
    assert b"line 4999\n" in told
    assert told.endswith(b"RuntimeError: on purpose: [secret]\n")
