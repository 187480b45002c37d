"""What the person at the robot notices, with every part of the project in between."""

import asyncio
import os
import signal
import subprocess
import sys
import wave
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import numpy as np
import pytest
from ports import free_ports
from rig import Desk, Keys, faults, running_hub, running_robot

from gemini_gateway.session.timing import SessionSettings
from gemini_live_sim.actions import GoAway, Step
from gemini_live_sim.server import serve
from gemini_live_sim.settings import SimSettings
from reachy_gateway.link.end import Bind

ECHO = SimSettings(mode="echo")
BYTES_PER_S = 32_000
BIN = Path(sys.executable).parent
KEY = "AIzaSyGoodGoodGood"
BAD_KEYS = ("AIzaSyBadBadBad", "AIzaSyWorseWorseWorse")


def samples(pcm: bytes) -> np.ndarray:
    """float32 ``(n, 1)``."""
    return (np.frombuffer(pcm, "<i2").astype(np.float32) / 32768)[:, None]


@asynccontextmanager
async def a_robot(tmp_path, office):
    """The whole stack around one robot, which is welcomed and listens."""
    made = Keys(tmp_path / "keys", "reachy-1")
    async with running_hub(made, office.make) as hub, running_robot(made.robot("reachy-1"), hub.bound) as robot:
        await robot.welcomed()
        await robot.desk.until(lambda: robot.core._presence.phase == "listening")
        yield robot


async def test_an_answer_in_which_the_connection_is_renewed_is_heard_whole(tmp_path, open_office, question, numbers):
    away = Step(on="audio_out", count=5, action=GoAway(time_left_s=0.0))
    async with serve(SimSettings(mode="echo", script=(away,))) as sim, a_robot(tmp_path, open_office(sim)) as robot:
        for n, said in enumerate((numbers[0], question), 1):
            before = len(robot.desk.played)
            robot.desk.say(samples(said))
            await robot.answered(n)
            assert faults(robot.desk.played[before:, 0], samples(said)[:, 0]) == []
        await sim.until(lambda sim: len(sim.sessions) == 3)
        assert all(turn.complete for turn in robot.core.summary)


async def test_an_outage_in_mid_answer_is_shown_and_over_the_robot_answers_again(
    tmp_path, open_office, question, numbers, caplog
):
    caplog.set_level("INFO")
    async with serve(ECHO) as sim, a_robot(tmp_path, open_office(sim)) as robot:
        robot.desk.say(samples(numbers[0]))
        await robot.desk.until(lambda: len(robot.desk.played) > 8000)
        await sim.go_dark()
        await robot.desk.until(lambda: robot.core._presence.phase == "reconnecting")
        assert "reachy-1: reconnecting: Gemini cannot be reached" in caplog.text
        await robot.desk.until(lambda: len(robot.core.summary) == 1)  # the robot does not claim to speak for ever
        await sim.come_back()
        await robot.desk.until(lambda: robot.core._presence.phase == "listening")
        before = len(robot.desk.played)
        robot.desk.say(samples(question))
        await robot.answered(2)
        assert faults(robot.desk.played[before:, 0], samples(question)[:, 0]) == []


async def test_the_first_word_to_a_parked_robot_comes_back_whole(tmp_path, open_office, question):
    async with serve(ECHO) as sim:
        office = open_office(sim, settings_of=lambda *_: SessionSettings(park_after_s=1.0))
        async with a_robot(tmp_path, office) as robot:
            await sim.until(lambda sim: sim.sessions and not sim.open_sessions)
            assert robot.core._presence.phase == "listening"
            robot.desk.say(samples(question))
            await robot.answered(1)
            assert faults(robot.desk.played[:, 0], samples(question)[:, 0]) == []


@contextmanager
def gateway_process(made: Keys, ports: tuple[int, ...], sim, log: Path, **more: Path):
    """The gateway's program, with a server and further settings."""
    settings = {
        "REACHY_KEYS_DIR": made.gateway_dir,
        "REACHY_LOG_LEVEL": "DEBUG",
        "GATEWAY_HOST": "127.0.0.1",
        "GATEWAY_UP_PORT": ports[0],
        "GATEWAY_DOWN_PORT": ports[1],
        "GATEWAY_LEDGER": made.directory / "ledger.sqlite",
        "GOOGLE_GEMINI_BASE_URL": sim.url,
        "GEMINI_ROOT_CERT": sim.root_path,
    }
    with program("gemini-gateway", log, **settings | more) as process:
        yield process


@contextmanager
def program(name: str, log: Path, **settings: object):
    """Run one of our programs, with these settings and none of the caller's."""
    foreign = ("GEMINI", "GOOGLE", "GATEWAY", "ROBOT", "REACHY")
    clean = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
    with log.open("w") as stderr:
        process = subprocess.Popen([BIN / name], env=clean | {k: str(v) for k, v in settings.items()}, stderr=stderr)
        try:
            yield process
        finally:
            process.terminate()
            process.wait()


@contextmanager
def virtual_robot(tmp_path, made: Keys, ports: tuple[int, ...], speech: list[bytes], **settings: object):
    """Run robot-io with a folder of utterances."""
    utterances = tmp_path / "utterances"
    utterances.mkdir(exist_ok=True)
    for n, pcm in enumerate(speech):
        with wave.open(str(utterances / f"{n}.wav"), "wb") as file:
            file.setparams((1, 2, 16000, 0, "NONE", ""))
            file.writeframes(pcm)
    settings |= {
        "REACHY_KEYS_DIR": made.robot_dir("reachy-1"),
        "ROBOT_DEVICE": "wav",
        "ROBOT_UP_PORT": ports[0],
        "ROBOT_DOWN_PORT": ports[1],
        "ROBOT_UTTERANCES": utterances,
        "ROBOT_SPEAKER_WAV": tmp_path / "speaker.wav",
    }
    with program("robot-io", tmp_path / "robot-log", **settings) as process:
        yield process


async def exit_status(process: subprocess.Popen, timeout_s: float = 30.0) -> int:
    async with asyncio.timeout(timeout_s):
        while process.poll() is None:
            await asyncio.sleep(0.05)
    return process.returncode


@asynccontextmanager
async def with_push_to_talk(tmp_path, robots_file):
    """A simulator, the gateway's program in front of it, and a robot's key. The persona's VAD is manual."""
    made, ports = Keys(tmp_path / "keys", "reachy-1"), free_ports(2)
    file = robots_file("reachy-1", defaults={"vad": {"mode": "manual"}})
    async with serve(ECHO) as sim:
        with gateway_process(made, ports, sim, tmp_path / "log", GATEWAY_ROBOTS_FILE=file):
            yield sim, made, ports


@pytest.mark.timeout(120)
async def test_a_virtual_robot_that_holds_its_button_is_answered_and_one_that_does_not_is_not(
    tmp_path, robots_file, question, numbers
):
    said = [question, numbers[1][:48000]]
    async with with_push_to_talk(tmp_path, robots_file) as (sim, made, ports):
        with virtual_robot(tmp_path, made, ports, said, ROBOT_PATIENCE_S=1) as process:
            assert await exit_status(process) == 1
        assert "2 of 2 utterances got no answer" in (tmp_path / "robot-log").read_text()
        [session] = sim.sessions
        assert session.heard_bytes > sum(map(len, said)), "it was heard"
        with virtual_robot(tmp_path, made, ports, said, ROBOT_PUSH_TO_TALK="true") as process:
            assert await exit_status(process) == 0
        session = sim.sessions[-1]
        assert [kind for kind in session.kinds if kind.startswith("Activity")] == ["ActivityStart", "ActivityEnd"] * 2
        for answer, speech in zip(session.answers, said, strict=True):
            # An echo of what was said while the button was held: all of it, and the moment until the release.
            assert 0 <= len(answer.pcm) / 48_000 - len(speech) / 32_000 < 0.2


@pytest.mark.timeout(120)
async def test_a_signal_is_a_button_too(tmp_path, robots_file, numbers):
    """As on a real robot, whose owner decides what the button is."""
    async with with_push_to_talk(tmp_path, robots_file) as (sim, made, ports):
        with virtual_robot(tmp_path, made, ports, [b"".join(numbers) * 5]) as process:
            session = await sim.session(1, timeout_s=20)

            def marks() -> list[str]:
                return [kind for kind in session.kinds if kind.startswith("Activity")]

            await session.until(lambda it: it.heard_bytes > BYTES_PER_S)
            assert marks() == []
            process.send_signal(signal.SIGUSR1)
            await session.until(lambda _: marks() == ["ActivityStart"])
            pressed = session.heard_bytes
            await session.until(lambda it: it.heard_bytes > pressed + BYTES_PER_S)
            assert session.answers == []
            process.send_signal(signal.SIGUSR2)
            await session.until(lambda _: marks() == ["ActivityStart", "ActivityEnd"])
            held_s = (session.heard_bytes - pressed) / BYTES_PER_S
            await session.until(lambda it: it.answers and it.answers[0].complete, 15)
            assert abs(len(session.answers[0].pcm) / 48_000 - held_s) < 0.5
            assert process.poll() is None


async def test_the_program_names_the_robots_of_its_file_of_which_no_key_is_admitted(tmp_path, robots_file):
    made, ports, log = Keys(tmp_path / "keys", "reachy-1"), free_ports(2), tmp_path / "log"
    words = f"{robots_file('reachy-1', 'reachi-2', 'a-robot')} names robots that are not admitted: "
    async with serve(ECHO) as sim, running_robot(made.robot("reachy-1"), Bind("127.0.0.1", *ports), Desk()) as robot:
        with gateway_process(made, ports, sim, log, GATEWAY_ROBOTS_FILE=tmp_path / "robots.toml"):
            await robot.desk.until(lambda: f"{words}a-robot, reachi-2\n" in log.read_text(), 30)
            made.ring.admit("a-robot", made.robot("a-robot").keys.public.decode())
            robots_file("reachy-1", "a-robot", "reachi-3")
            await robot.desk.until(lambda: f"{words}reachi-3\n" in log.read_text())


@pytest.mark.timeout(120)
async def test_the_program_says_that_the_key_is_bad_and_goes_on_by_itself_when_its_file_is_mended(tmp_path, question):
    made, ports, key_file, log = Keys(tmp_path / "keys", "reachy-1"), free_ports(2), tmp_path / "key", tmp_path / "log"
    key_file.write_text(BAD_KEYS[0])
    async with (
        serve(SimSettings(mode="echo", api_keys=KEY)) as sim,
        running_robot(made.robot("reachy-1"), Bind("127.0.0.1", *ports), Desk()) as robot,
    ):
        with gateway_process(made, ports, sim, log, GEMINI_API_KEY_FILE=key_file) as process:
            await robot.desk.until(lambda: robot.core._presence.phase == "refused", 30)
            await robot.desk.until(lambda: robot.desk.handed)  # the sound that reports it
            dials = len(sim.sessions)
            key_file.unlink()
            process.send_signal(signal.SIGHUP)
            await robot.desk.until(lambda: "cannot be read" in log.read_text())
            process.send_signal(signal.SIGHUP)
            await robot.desk.until(lambda: log.read_text().count("cannot be read") >= 2)  # so the first was seen to
            assert robot.core._presence.phase == "refused"
            assert len(sim.sessions) == dials
            key_file.write_text(BAD_KEYS[1])
            await robot.desk.until(lambda: len(sim.sessions) > dials)
            key_file.write_text(KEY)
            await robot.desk.until(lambda: robot.core._presence.phase == "listening")
            before = len(robot.desk.played)
            robot.desk.say(samples(question))
            await robot.answered(1)
            assert faults(robot.desk.played[before:, 0], samples(question)[:, 0]) == []
    told = log.read_text()
    assert "Gemini refused the API key: check GEMINI_API_KEY" in told
    assert not [key for key in (KEY, *BAD_KEYS) if key in told]
