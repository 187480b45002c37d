"""A robot whose key is revoked and admitted again while robot and gateway keep running."""

from pathlib import Path

import pytest
from rig import Keys, read_wav, running_hub, running_robot

from gemini_live_sim.behaviour import Behaviour
from gemini_live_sim.server import serve

NUMBER = read_wav(Path(__file__).parent / "data" / "number-1.wav")


@pytest.mark.timeout(60)
async def test_a_robot_that_is_admitted_again_speaks_again(tmp_path, gemini):
    made = Keys(tmp_path, "reachy-1")
    identity = made.robot("reachy-1")
    async with (
        serve() as sim,
        running_hub(made, gemini(sim)) as hub,
        running_robot(identity, hub.bound) as robot,
    ):
        sim.behaviour = Behaviour(mode="tone", tone_ms=500)
        await robot.welcomed()
        for turn in (1, 2):
            robot.desk.say(NUMBER)
            await robot.answered(turn)
        made.ring.revoke("reachy-1")
        await robot.desk.until(lambda: not hub.robots)
        made.ring.admit("reachy-1", identity.keys.public.decode())
        await robot.desk.until(lambda: robot.core.welcomed and hub.robots, 20)
        robot.desk.say(NUMBER)
        await robot.answered(3)
        assert robot.core.summary[-1].turn > 2
