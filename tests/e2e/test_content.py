"""The person's words come back unchanged: the whole path, with real parts only."""

from pathlib import Path

import numpy as np
import pytest
from rig import Keys, faults, read_wav, running_hub, running_robot

from gemini_live_sim.behaviour import Behaviour
from gemini_live_sim.server import serve

DATA = Path(__file__).parent / "data"
NUMBERS = [read_wav(DATA / f"number-{n}.wav") for n in (1, 2, 3)]


async def test_numbered_speech_comes_back_whole_in_every_turn(tmp_path, gemini):
    made = Keys(tmp_path, "reachy-1")
    async with serve() as sim:
        sim.behaviour = Behaviour(mode="echo")
        async with running_hub(made, gemini(sim)) as hub, running_robot(made.robot("reachy-1"), hub.bound) as robot:
            await robot.welcomed()
            for n, number in enumerate(NUMBERS, 1):
                before = len(robot.desk.played)
                robot.desk.say(number)
                await robot.answered(n)
                heard = robot.desk.played[before:]
                assert np.array_equal(heard[:, 0], heard[:, 1]), "both channels play the same"
                assert faults(heard[:, 0], number[:, 0]) == []
                answered_ms = len(sim.sessions[0].answers[n - 1].pcm) / 2 / 24
                assert abs(len(heard) / 16 - answered_ms) <= 1.0
    assert [(turn.underruns, turn.concealed_ms, turn.complete) for turn in robot.core.summary] == [(0, 0, True)] * 3
    assert all(count == 0 for count in robot.core.counts.values()), robot.core.counts
    assert not hub.tally.counts


@pytest.mark.parametrize("drop", ["up", "down"])
async def test_the_check_itself_notices_one_lost_chunk(tmp_path, gemini, drop):
    """One chunk is removed on purpose, at the microphone or at the speaker. The content check must then fail."""
    made = Keys(tmp_path, "reachy-1")
    number = NUMBERS[0]
    cut = len(number) // 2
    lossy = np.concatenate([number[:cut], number[cut + 320 :]])
    async with serve() as sim:
        sim.behaviour = Behaviour(mode="echo")
        async with running_hub(made, gemini(sim)) as hub, running_robot(made.robot("reachy-1"), hub.bound) as robot:
            await robot.welcomed()
            robot.desk.say(lossy if drop == "up" else number)
            await robot.answered(1)
            handed = [samples for _, samples in robot.desk.handed]
            if drop == "down":
                del handed[len(handed) // 2]
            assert faults(np.concatenate(handed)[:, 0], number[:, 0]) != []
