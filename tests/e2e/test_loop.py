"""The programs run on uvloop, the other tests on asyncio's own loop. These tests cover the differences."""

import asyncio
from pathlib import Path

import uvloop
from rig import Keys, read_wav, running_hub, running_robot

from mock_gateway.voice import MockVoice


def test_a_robots_timer_may_be_one_that_uvloop_makes_a_plain_handle(tmp_path):
    """uvloop does so for timers due within half a millisecond, and a plain handle has no due time."""
    made = Keys(tmp_path, "reachy-1")
    speech = read_wav(Path(__file__).parent / "data" / "number-1.wav")[:16000]

    async def talk() -> tuple[int, int]:
        async with running_hub(made, lambda *_: MockVoice()) as hub, running_robot(made.robot("reachy-1"), hub.bound) as robot:
            await robot.welcomed()
            ours = hub.robots["reachy-1"]
            ours._timer = asyncio.get_running_loop().call_later(0, ours._tick)
            assert not hasattr(ours._timer, "when")
            ours._schedule()
            robot.desk.say(speech)
            await robot.answered(1)
            return hub.tally.total("fault"), len(robot.core.summary)

    assert uvloop.run(talk()) == (0, 1)
