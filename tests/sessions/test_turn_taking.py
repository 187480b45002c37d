"""Whose turn it is: decided by Gemini's VAD, by the robot's button, and by pauses of the microphone."""

import time
from contextlib import asynccontextmanager

import numpy as np
import pytest
from rig import Desk, Keys, running_hub, running_robot

from gemini_live_sim.server import serve
from gemini_live_sim.settings import SimSettings

QUICK = SimSettings(mode="tone", tone_ms=500, thinking_ms=100)
ECHO = SimSettings(mode="echo", thinking_ms=50)


def stereo(pcm: bytes) -> np.ndarray:
    """Speech as recorded by a microphone with two channels."""
    samples = np.frombuffer(pcm, "<i2").astype(np.float32) / 32768
    return np.repeat(samples[:, None], 2, axis=1)


def press(robot, event: str) -> None:
    """Press the talk button, or release it."""
    robot.runner._carry_out(robot.core.activity(event, time.monotonic()))


@asynccontextmanager
async def a_robot(tmp_path, office, **changes):
    """The whole stack around one robot."""
    made = Keys(tmp_path / "keys", "reachy-1")
    async with (
        running_hub(made, office.make) as hub,
        running_robot(made.robot("reachy-1"), hub.bound, **changes) as robot,
    ):
        await robot.welcomed()
        await robot.desk.until(lambda: robot.core._presence.phase == "listening")
        yield robot


async def test_the_robots_button_decides_when_a_turn_starts_and_ends(tmp_path, open_office, question, numbers):
    async with serve(ECHO) as sim:
        office = open_office(sim, settings={"vad": {"mode": "manual"}})
        async with a_robot(tmp_path, office) as robot:
            session = await sim.session(1)
            assert session.setup.vad.disabled
            robot.desk.say(stereo(question))  # the button is not pressed: this speech is not for the robot
            await robot.desk.until(lambda: not robot.desk.saying)
            press(robot, "start")
            robot.desk.say(stereo(numbers[1][:48000]))
            await robot.desk.until(lambda: not robot.desk.saying)
            press(robot, "end")
            await robot.answered(1)
            [answer] = session.answers
            said = [kind for kind in session.kinds if kind.startswith("Activity")]
            assert said == ["ActivityStart", "ActivityEnd"]
            seconds, wanted_s = len(answer.pcm) / 48000, 1.5
            # The end may overtake the robot's next chunk of 20 ms, which is not complete yet.
            assert wanted_s - 0.02 <= seconds < wanted_s + 0.5, "the second number, and no more"
            assert "StreamEnd" not in session.kinds


async def test_the_button_cuts_an_answer(tmp_path, open_office, numbers, question):
    async with serve(SimSettings(mode="tone", tone_ms=10_000)) as sim:
        office = open_office(sim, settings={"vad": {"mode": "manual"}})
        async with a_robot(tmp_path, office) as robot:
            press(robot, "start")
            robot.desk.say(stereo(question))
            await robot.desk.until(lambda: not robot.desk.saying)
            press(robot, "end")
            await robot.desk.until(lambda: len(robot.desk.played) > 8000)
            press(robot, "start")
            await robot.desk.until(lambda: robot.desk.hushed)
            await sim.until(lambda sim: sim.sessions[0].answers[0].interrupted)
            press(robot, "end")


async def test_a_turn_of_the_button_outlives_a_renewal_and_a_loss(talking, watchman, numbers):
    """The new connection knows of no start, so it is told again. A renewal waits for a turn that can finish in time."""
    async with serve(ECHO, on_event=watchman) as sim:
        watchman.sim = sim
        async with talking(sim, settings={"vad": {"mode": "manual"}}) as talk:
            first = await talk.live()
            talk.voice.activity("start")
            first.go_away(2.0)
            await talk.never(lambda: len(talk.sessions) > 1, 1.2)
            talk.say(numbers[0])
            await talk.until(lambda: len(talk.sessions) == 2, 5)  # at the deadline
            second = await talk.live()
            await talk.until(lambda: talk.gate.speaking)
            second.abort()
            await talk.until(lambda: len(talk.sessions) == 3)
            await talk.live()
            await talk.until(lambda: not talk.saying)
            talk.voice.activity("end")
            await talk.until(lambda: talk.turns == 1)
            for session in talk.sessions:
                assert session.kinds.count("ActivityStart") == 1
            assert talk.sessions[-1].kinds.count("ActivityEnd") == 1
            assert talk.reply == talk.sessions[-1].answers[0].pcm
    assert watchman.doubles == []


async def test_a_button_on_a_robot_with_automatic_vad_does_no_harm(talking, question):
    """Gemini would close the connection if it got the marks."""
    async with serve(QUICK) as sim, talking(sim) as talk:
        await talk.live()
        talk.voice.activity("start")
        talk.voice.activity("end")
        await talk.ask(question)
        assert len(sim.sessions) == 1
        assert "ActivityStart" not in sim.sessions[0].kinds


async def test_a_microphone_that_pauses_for_a_second_ends_the_stream_once(measured, talking, question):
    async with serve(QUICK) as sim, talking(sim) as talk:
        session = await talk.live()
        talk.say(question)
        await talk.until(lambda: not talk.saying)
        talk.muted = True  # right after the last word, so that only the end of the stream ends the turn
        took_s = await talk.until(lambda: "StreamEnd" in session.kinds)
        measured(f"told after {took_s:.2f} s")
        assert took_s >= 0.9
        await talk.until(lambda: talk.turns == 1)
        await talk.never(lambda: session.kinds.count("StreamEnd") > 1, 1.5)
        talk.muted = False
        await talk.ask(question)
        assert session.kinds.count("StreamEnd") == 1
        talk.muted = True
        await talk.until(lambda: session.kinds.count("StreamEnd") == 2)
        assert len(sim.sessions) == 1


async def test_the_zeros_of_half_duplex_are_no_pause(tmp_path, open_office, question):
    """The robot sends zeros while it speaks, here for 3 s. The stream goes on."""
    async with (
        serve(SimSettings(mode="tone", tone_ms=3000)) as sim,
        a_robot(tmp_path, open_office(sim), desk=Desk(), half_duplex_tail_ms=200) as robot,
    ):
        session = await sim.session(1)
        robot.desk.say(stereo(question))
        await robot.desk.until(lambda: len(robot.desk.played) > 1600)
        robot.desk.say(stereo(question))  # into the answer: the gateway does not hear it, so nothing is interrupted
        await robot.answered(1)
        assert "StreamEnd" not in session.kinds
        assert not session.answers[0].interrupted
        assert len(robot.desk.played) >= 3 * 16000


SETTINGS = {
    "start_sensitivity": "low",
    "end_sensitivity": "high",
    "prefix_padding_ms": 240,
    "silence_duration_ms": 900,
    "interrupts": False,
    "turn_coverage": "all_input",
}


async def test_every_setting_of_automatic_vad_reaches_gemini(measured, talking, question):
    async with serve(SimSettings(mode="tone", tone_ms=1500)) as sim, talking(sim, settings={"vad": SETTINGS}) as talk:
        session = await talk.live()
        detection = session.setup_json["realtimeInputConfig"]["automaticActivityDetection"]
        assert detection["startOfSpeechSensitivity"] == "START_SENSITIVITY_LOW"
        assert detection["endOfSpeechSensitivity"] == "END_SENSITIVITY_HIGH"
        assert (detection["prefixPaddingMs"], detection["silenceDurationMs"]) == (240, 900)
        assert session.setup_json["realtimeInputConfig"]["activityHandling"] == "NO_INTERRUPTION"
        assert session.setup_json["realtimeInputConfig"]["turnCoverage"] == "TURN_INCLUDES_ALL_INPUT"
        talk.say(question)
        await talk.until(lambda: talk.reply)
        talk.say(question)
        await talk.until(lambda: talk.turns == 2)
        assert [answer.interrupted for answer in session.answers] == [False, False]
        assert talk.reply == talk.answered


@pytest.mark.parametrize("mode", ["auto", "manual"])
async def test_another_way_of_taking_turns_holds_from_the_next_renewal(talking, open_office, robots_file, question, mode):
    other = {"auto": "manual", "manual": "auto"}[mode]
    async with serve(QUICK) as sim:
        office = open_office(sim, file=robots_file(defaults={"vad": {"mode": mode}}))
        async with talking(sim, office=office) as talk:
            await talk.live()
            robots_file(defaults={"vad": {"mode": other}})
            office.reload()
            await talk.until(lambda: len(talk.sessions) == 2)
            second = await talk.live()
            assert second.resumed
            assert second.setup.vad.disabled is (other == "manual")
            if other == "manual":
                talk.voice.activity("start")
            talk.say(question)
            await talk.until(lambda: not talk.saying)
            if other == "manual":
                talk.voice.activity("end")
            await talk.until(lambda: talk.turns == 1)
            assert len(talk.sessions) == 2


async def test_speech_that_is_not_to_interrupt_does_not_whatever_the_server_tells_of_it(tmp_path, open_office, question):
    settings = SimSettings(mode="tone", tone_ms=4000, speed=0, thinking_ms=100, voice_activity=True)
    async with serve(settings) as sim:
        office = open_office(sim, settings={"vad": {"interrupts": False}})
        async with a_robot(tmp_path, office) as robot:
            robot.desk.say(stereo(question))
            await robot.desk.until(lambda: len(robot.desk.handed) > 10)
            robot.desk.say(stereo(question))
            # Not `answered`: for the device the two are one answer if the second comes as the first ends.
            await robot.desk.until(lambda: len(robot.core.summary) == 2, 30.0)
            assert [turn.complete for turn in robot.core.summary] == [True, True]
            assert robot.desk.hushed == []
