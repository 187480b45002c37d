"""Reported faults of real servers and rooms, on the whole path: microphone, robot, gateway, SDK, simulator and back."""

import asyncio
import base64
import json
import time
from pathlib import Path

import numpy as np
import pytest
from rig import Desk, Keys, faults, read_wav, running_hub, running_robot

from gemini_gateway.personas import Persona, Vad
from gemini_live_sim.behaviour import Behaviour
from gemini_live_sim.server import serve
from reachy_link.pcm import Samples

NUMBERS = [read_wav(Path(__file__).parent / "data" / f"number-{n}.wav") for n in (1, 2, 3)]
OFFSET = 1036 / 32768
"""-30 dBFS."""


class Room(Desk):
    """A desk in a room. Its microphone has a constant offset."""

    async def record(self):
        async for chunk in super().record():
            yield chunk + np.float32(OFFSET)


def missing(heard: Samples, said: Samples) -> list[str]:
    """Which parts of an echo were not heard. A busy machine may stretch the echo."""
    return [fault for fault in faults(heard, said) if "correlates" in fault]


@pytest.mark.parametrize(("turns", "generation"), [("every_other", True), ("never", True), ("never", False)])
@pytest.mark.parametrize("leftover_ms", [0, 400])
async def test_answers_are_heard_of_a_server_that_does_not_end_its_turns(tmp_path, gemini, turns, generation, leftover_ms):
    """Report A1: the person speaks into the first answer, and asks twice more."""
    made = Keys(tmp_path, "reachy-1")
    async with serve() as sim:
        sim.behaviour = Behaviour(
            mode="echo", speed=4, end_turns=turns, end_generation=generation, leftover_ms=leftover_ms, settle_ms=0
        )
        async with running_hub(made, gemini(sim)) as hub, running_robot(made.robot("reachy-1"), hub.bound) as robot:
            await robot.welcomed()
            robot.desk.say(NUMBERS[0])
            await robot.desk.until(lambda: len(robot.desk.played) > 8000)
            robot.desk.say(NUMBERS[1])
            await robot.desk.until(lambda: robot.desk.hushed)
            for number in NUMBERS[1:]:
                since = len(robot.desk.played)
                if number is not NUMBERS[1]:
                    robot.desk.say(number)
                await robot.desk.until(lambda since=since: len(robot.desk.played) > since + 16000, 20.0)
                await robot.desk.until(lambda: time.monotonic() - robot.desk.handed[-1][0] > 0.5, 20.0)
                assert missing(robot.desk.played[since:, 0], number[:, 0]) == []
            assert hub.tally.total("fault") == 0


async def test_a_question_that_is_lost_with_its_connection_ends_the_thinking_and_the_next_one_is_answered(tmp_path, gemini):
    made = Keys(tmp_path, "reachy-1")
    async with serve() as sim:
        sim.behaviour = Behaviour(mode="echo", thinking_ms=60_000)
        async with running_hub(made, gemini(sim)) as hub, running_robot(made.robot("reachy-1"), hub.bound) as robot:
            await robot.welcomed()
            session = await sim.session(1)
            robot.desk.say(NUMBERS[0])
            await robot.desk.until(lambda: robot.core.standing[0] == "thinking")
            sim.behaviour = Behaviour(mode="echo")
            session.abort()
            await robot.desk.until(lambda: robot.core.standing[0] == "listening", 5.0)
            robot.desk.say(NUMBERS[1])
            await robot.answered(1)
            assert missing(robot.desk.played[:, 0], NUMBERS[1][:, 0]) == []


@pytest.mark.parametrize(("before_ms", "thinking_ms"), [(250, 500), (50, 50), (1000, 1200)])
async def test_an_answer_is_heard_behind_an_interruption_of_nothing(tmp_path, gemini, before_ms, thinking_ms):
    """Report A2."""
    made = Keys(tmp_path, "reachy-1")
    async with serve() as sim:
        sim.behaviour = Behaviour(mode="echo", speed=4, stray_interrupted_ms=before_ms, thinking_ms=thinking_ms)
        async with running_hub(made, gemini(sim)) as hub, running_robot(made.robot("reachy-1"), hub.bound) as robot:
            await robot.welcomed()
            for n, number in enumerate(NUMBERS[:2], 1):
                since = len(robot.desk.played)
                robot.desk.say(number)
                await robot.answered(n)
                assert missing(robot.desk.played[since:, 0], number[:, 0]) == []


def sound(n: int = 1) -> str:
    """So many tenths of a second of a tone, as the server sends them."""
    pcm = (8000 * np.sin(np.arange(2400) / 8)).astype("<i2").tobytes()
    part = {"inlineData": {"mimeType": "audio/pcm;rate=24000", "data": base64.b64encode(pcm).decode()}}
    return content(modelTurn={"parts": [part] * n})


def content(**what) -> str:
    return json.dumps({"serverContent": what})


@pytest.mark.parametrize("begins_s", [0.3, 0.8])
async def test_an_answer_right_behind_an_interruption_is_heard_although_no_turn_was_ended(tmp_path, gemini, begins_s):
    made = Keys(tmp_path, "reachy-1")
    async with serve() as sim:
        sim.behaviour = Behaviour(mode="tone", silent=True)
        async with running_hub(made, gemini(sim)) as hub, running_robot(made.robot("reachy-1"), hub.bound) as robot:
            await robot.welcomed()
            live = await sim.session(1)
            await live.until(lambda it: "setupComplete" in it.sent_kinds)
            live.send_raw(sound(30))
            await robot.desk.until(lambda: len(robot.desk.played) > 8000)
            live.send_raw(content(interrupted=True))
            await robot.desk.until(lambda: robot.desk.hushed)
            await asyncio.sleep(begins_s)  # as the server does
            since = len(robot.desk.played)
            for _ in range(30):  # 3 s, as fast as a server streams
                live.send_raw(sound())
                await asyncio.sleep(0.05)
            await robot.desk.until(lambda: np.abs(robot.desk.played[since:]).max(initial=0) > 0.05)


@pytest.mark.parametrize("generation", [True, False])
async def test_a_short_answer_behind_an_interruption_of_nothing_is_heard(tmp_path, gemini, generation):
    made = Keys(tmp_path, "reachy-1")
    async with serve() as sim:
        sim.behaviour = Behaviour(mode="tone", silent=True)
        async with running_hub(made, gemini(sim)) as hub, running_robot(made.robot("reachy-1"), hub.bound) as robot:
            await robot.welcomed()
            live = await sim.session(1)
            await live.until(lambda it: "setupComplete" in it.sent_kinds)
            live.send_raw(content(interrupted=True))
            since = len(robot.desk.played)
            live.send_raw(sound(20))
            if generation:
                live.send_raw(content(generationComplete=True))
            live.send_raw(content(turnComplete=True))
            await robot.desk.until(lambda: np.abs(robot.desk.played[since:]).max(initial=0) > 0.05)


async def test_half_an_emoji_in_mid_answer_costs_nothing(tmp_path, gemini):
    """Report B, on the way to the robot: its wire takes no half characters."""
    made = Keys(tmp_path, "reachy-1")
    half = '{"serverContent":{"outputTranscription":{"text":"done \\ud83d"},"inputTranscription":{"text":"\\udc00"}}}'
    async with serve() as sim:
        sim.behaviour = Behaviour(mode="echo", speed=4)
        async with running_hub(made, gemini(sim)) as hub, running_robot(made.robot("reachy-1"), hub.bound) as robot:
            await robot.welcomed()
            session = await sim.session(1)
            robot.desk.say(NUMBERS[0])
            await robot.desk.until(lambda: len(robot.desk.played) > 8000)
            session.send_raw(half)
            await robot.answered(1)
            assert missing(robot.desk.played[:, 0], NUMBERS[0][:, 0]) == []
            assert hub.tally.total("fault") == hub.tally.total("unsendable") == 0
            assert len(sim.sessions) == 1


async def test_an_answer_is_heard_in_a_room_whose_microphone_has_an_offset(tmp_path, gemini):
    """Report C: the server ends its turn as soon as it has sent everything, so only the gateway can cut the answer."""
    made = Keys(tmp_path, "reachy-1")
    async with serve() as sim:
        sim.behaviour = Behaviour(mode="tone", tone_ms=6000, speed=8, hold_turn_complete=False, vad_threshold_dbfs=-28)
        patient = Persona(vad=Vad(silence_duration_ms=1500))
        async with (
            running_hub(made, gemini(sim, persona=patient)) as hub,
            running_robot(made.robot("reachy-1"), hub.bound, Room()) as robot,
        ):
            await robot.welcomed()
            gate = hub.robots["reachy-1"].conversation.gate
            await robot.desk.until(lambda: len(robot.desk.said) > 4 * 16000)
            assert not gate.speaking
            robot.desk.say(NUMBERS[0])
            await robot.desk.until(lambda: gate.speaking)
            await robot.desk.until(lambda: not gate.speaking)
            await robot.answered(1)
            assert len(robot.desk.played) >= 6 * 16000
            assert robot.desk.hushed == []
            assert not gate.speaking


async def test_a_robot_is_told_that_its_answer_was_not_whole(tmp_path, gemini, monkeypatch):
    """Report I: the pacer holds 1.5 s, and an answer of 6 s arrives at once. What is not heard was dropped, and counted."""
    monkeypatch.setattr("reachy_gateway.talk.pacer.QUEUE_MAX_MS", 1500)
    made = Keys(tmp_path, "reachy-1")
    async with serve() as sim:
        sim.behaviour = Behaviour(mode="tone", tone_ms=6000, speed=0)
        async with running_hub(made, gemini(sim)) as hub, running_robot(made.robot("reachy-1"), hub.bound) as robot:
            await robot.welcomed()
            robot.desk.say(NUMBERS[0])
            await robot.desk.until(lambda: hub.stats.of("reachy-1").turns[False] == 1)
            await robot.desk.until(lambda: robot.core.summary)
            assert [turn.complete for turn in robot.core.summary] == [False]
            assert hub.stats.of("reachy-1").turns[True] == 0
            dropped_ms = hub.robots["reachy-1"].conversation.pacer.dropped_ms
            assert dropped_ms > 3000
            assert len(robot.desk.played) / 16 + dropped_ms == 6000
