"""Several robots at one gateway: each has its own conversation and its own failures."""

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path

from rig import Keys, a_line_to, faults, read_wav, running_hub, running_robot

from gemini_live_sim.behaviour import Behaviour
from gemini_live_sim.server import serve
from mock_gateway.voice import MockVoice
from reachy_gateway.provider.load import Load
from reachy_gateway.voice import Audio, TurnComplete

DATA = Path(__file__).parent / "data"
NUMBERS = [read_wav(DATA / f"number-{n}.wav") for n in (1, 2, 3)]
NAMES = ["reachy-1", "reachy-2", "reachy-3"]


async def test_three_robots_at_once_each_hear_their_own_answer(tmp_path, gemini):
    made = Keys(tmp_path, *NAMES)
    async with serve() as sim, AsyncExitStack() as stack:
        sim.behaviour = Behaviour(mode="echo")
        hub = await stack.enter_async_context(running_hub(made, gemini(sim)))
        robots = [await stack.enter_async_context(running_robot(made.robot(name), hub.bound)) for name in NAMES]
        for robot, number in zip(robots, NUMBERS, strict=True):
            await robot.welcomed()
            robot.desk.say(number)
        for robot, number in zip(robots, NUMBERS, strict=True):
            await robot.answered(1)
            assert faults(robot.desk.played[:, 0], number[:, 0]) == []
        assert len(sim.open_sessions) == 3


async def test_killing_one_robot_in_mid_answer_leaves_the_others_untouched(tmp_path, gemini):
    made = Keys(tmp_path, *NAMES[:2])
    async with serve() as sim, AsyncExitStack() as stack:
        sim.behaviour = Behaviour(mode="echo")
        hub = await stack.enter_async_context(running_hub(made, gemini(sim)))
        doomed, other = [await stack.enter_async_context(running_robot(made.robot(name), hub.bound)) for name in NAMES[:2]]
        for robot in (doomed, other):
            await robot.welcomed()
            robot.desk.say(NUMBERS[0])
        await doomed.desk.until(lambda: doomed.desk.handed)
        doomed.task.cancel()
        await other.answered(1)
        assert faults(other.desk.played[:, 0], NUMBERS[0][:, 0]) == []
        other.desk.say(NUMBERS[1])
        await other.answered(2)
        assert [turn.underruns for turn in other.core.summary] == [0, 0]
        assert list(hub.robots) == ["reachy-2"]


class Eager(MockVoice):
    """Speaks before the person speaks."""

    async def run(self, emit):
        emit(Audio((NUMBERS[0][:, 0] * 32767).astype("<i2").tobytes(), 16000))
        emit(TurnComplete())
        await asyncio.Event().wait()


async def test_nothing_is_lost_of_what_is_said_before_the_robot_can_hear(tmp_path):
    """One of the robot's two connections stands first. Until the second stands, the robot is heard but does not hear."""
    made, stands = Keys(tmp_path, "reachy-1"), asyncio.Event()
    async with (
        running_hub(made, lambda *_: Eager()) as hub,
        a_line_to(hub.bound.down_port, stands) as (port, _),
        running_robot(made.robot("reachy-1"), hub.bound._replace(down_port=port)) as robot,
    ):
        await robot.desk.until(lambda: "reachy-1" in hub.robots and hub.robots["reachy-1"].conversation.pacer.queued_ms)
        assert not robot.core.welcomed
        stands.set()
        await robot.answered(1)
        assert faults(robot.desk.played[:, 0], NUMBERS[0][:, 0]) == []


class FaultyVoice(MockVoice):
    """A voice with a bug: it fails on the first speech that it hears, once per process."""

    broken = False

    def _listen(self, samples, emit):
        if not FaultyVoice.broken and samples.any():
            FaultyVoice.broken = True
            raise ZeroDivisionError("a bug, on purpose")
        super()._listen(samples, emit)


async def test_a_bug_in_one_robots_tasks_is_its_own_and_it_talks_again(tmp_path, caplog):
    made = Keys(tmp_path, *NAMES[:2])
    async with AsyncExitStack() as stack:
        hub = await stack.enter_async_context(
            running_hub(made, lambda robot, _: FaultyVoice() if robot == "reachy-1" else MockVoice())
        )
        faulty, other = [await stack.enter_async_context(running_robot(made.robot(name), hub.bound)) for name in NAMES[:2]]
        for robot in (faulty, other):
            await robot.welcomed()
            robot.desk.say(NUMBERS[0])
        await other.answered(1)
        assert other.core.summary[0].underruns == 0
        faulty.desk.say(NUMBERS[1])
        await faulty.answered(1)
        assert hub.tally.total("fault", "reachy-1") == 1
        assert hub.tally.total("fault", "reachy-2") == 0
        assert other.core.welcomed
    assert "a bug, on purpose" in caplog.text


async def test_one_robot_too_many_is_refused_in_words_and_served_when_there_is_room(tmp_path, caplog):
    made = Keys(tmp_path, *NAMES[:2])
    async with (
        running_hub(made, lambda *_: MockVoice(), max_robots=1) as hub,
        running_robot(made.robot("reachy-1"), hub.bound) as first,
    ):
        await first.welcomed()
        async with running_robot(made.robot("reachy-2"), hub.bound) as second:
            await second.desk.until(lambda: second.core.refused)
            assert "serves 1 robots already" in second.core.refused
            first.task.cancel()
            await second.desk.until(lambda: second.core.welcomed)
            second.desk.say(NUMBERS[0])
            await second.answered(1)


async def test_a_robot_talks_in_long_messages_where_the_gateway_likes_them(tmp_path):
    made = Keys(tmp_path, "reachy-1")
    async with (
        running_hub(made, lambda *_: MockVoice(), load=Load(40)) as hub,
        running_robot(made.robot("reachy-1"), hub.bound) as robot,
    ):
        await robot.welcomed()
        robot.desk.say(NUMBERS[0])
        await robot.answered(1)
        assert len(hub.robots["reachy-1"].heard_pcm) == 40 * 16 * 2
        assert robot.core.summary[0].complete
        assert robot.core.summary[0].underruns == 0
        assert hub.tally.counts == {}


async def test_where_no_time_is_left_a_newcomer_is_refused_in_words_and_the_others_are_served_as_before(tmp_path):
    made, load = Keys(tmp_path, *NAMES[:2]), Load()
    async with (
        running_hub(made, lambda *_: MockVoice(), load=load) as hub,
        running_robot(made.robot("reachy-1"), hub.bound) as first,
    ):
        await first.welcomed()
        load.full = True  # until the gateway checks again and has room
        async with running_robot(made.robot("reachy-2"), hub.bound) as second:
            await second.desk.until(lambda: second.core.refused)
            assert "the 1 robots of this gateway leave it no time for another" in second.core.refused
            first.desk.say(NUMBERS[0])
            await first.answered(1)
            await second.desk.until(lambda: second.core.welcomed)


async def test_a_robot_that_starts_again_is_served_anew(tmp_path):
    made = Keys(tmp_path, "reachy-1")
    async with running_hub(made, lambda *_: MockVoice()) as hub:
        for _ in range(2):
            async with running_robot(made.robot("reachy-1"), hub.bound) as robot:
                await robot.welcomed()
                robot.desk.say(NUMBERS[0])
                await robot.answered(1)
                assert robot.core.summary[0].complete
        assert hub.tally.total("clone") == 0
