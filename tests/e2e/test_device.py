"""A robot loses its device in mid-answer: the answer ends, and the next one is heard whole."""

from pathlib import Path

from rig import Keys, faults, read_wav, running_hub, running_robot

from gemini_live_sim.behaviour import Behaviour
from gemini_live_sim.server import serve
from reachy_robot.sound import Moment

NUMBER = read_wav(Path(__file__).parent / "data" / "number-1.wav")
ANSWER_MS = 4000


async def test_a_device_that_is_lost_in_mid_answer_and_found_again_plays_the_next_answer_alone(tmp_path, gemini, caplog):
    made = Keys(tmp_path, "reachy-1")
    async with serve() as sim:
        sim.behaviour = Behaviour(mode="echo")
        async with running_hub(made, gemini(sim)) as hub, running_robot(made.robot("reachy-1"), hub.bound) as robot:
            await robot.welcomed()
            session = await sim.session(1)
            session.say(ANSWER_MS)
            await robot.desk.until(lambda: len(robot.desk.played) > 16_000)
            robot.desk.be_lost()
            await robot.desk.until(lambda: not robot.core.has_device)
            before = len(robot.desk.played)
            assert not robot.runner.report()["ok"]
            await robot.desk.until(lambda: robot.core.has_device)
            assert robot.core.welcomed
            assert robot.desk.moments.count(Moment.READY) == 2, "a new device is told as well"
            await robot.desk.until(lambda: robot.core._presence.phase == "listening")
            assert len(robot.desk.played) == before, "the rest of the answer is not heard"
            robot.desk.say(NUMBER)
            await robot.answered(2)
            assert faults(robot.desk.played[before:, 0], NUMBER[:, 0]) == []
            assert [(turn.complete, turn.underruns) for turn in robot.core.summary] == [(False, 0), (True, 0)]
            assert robot.core.counts["no_device"] > 0
            told = hub.stats.of("reachy-1").turns
            await robot.desk.until(lambda: told == {True: 1, False: 1})
    assert "the desk was unplugged; trying again in 1 s" in caplog.text
