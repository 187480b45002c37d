"""Gateways die and come back. The robot then talks again by itself."""

import asyncio
import signal
from pathlib import Path

from ports import free_ports
from processes import gateway_process
from rig import Keys, faults, read_wav, running_hub, running_robot

from gemini_live_sim.behaviour import Behaviour
from gemini_live_sim.server import serve
from mock_gateway.voice import MockVoice
from reachy_gateway.link.end import Bind

NUMBERS = [read_wav(Path(__file__).parent / "data" / f"number-{n}.wav") for n in (1, 2, 3)]


async def test_a_gateway_killed_in_mid_answer_and_started_again_talks_again(tmp_path):
    made, ports = Keys(tmp_path, "reachy-1"), free_ports(2)
    async with serve() as sim:
        sim.behaviour = Behaviour(mode="echo")
        async with running_robot(made.robot("reachy-1"), Bind("127.0.0.1", *ports)) as robot:
            with gateway_process(made, ports, sim) as first:
                await robot.welcomed()
                robot.desk.say(NUMBERS[0])
                await robot.desk.until(lambda: len(robot.desk.played) > 8000)
                first.send_signal(signal.SIGKILL)
                await robot.desk.until(lambda: not robot.core.welcomed)
            with gateway_process(made, ports, sim):
                await robot.welcomed()
                before, turns = len(robot.desk.played), len(robot.core.summary)
                robot.desk.say(NUMBERS[1])
                await robot.desk.until(lambda: len(robot.core.summary) > turns and robot.core.summary[-1].complete)
                assert faults(robot.desk.played[before:, 0], NUMBERS[1][:, 0]) == []


async def test_sigterm_ends_a_gateway_at_once_with_status_0(tmp_path):
    made, ports = Keys(tmp_path, "reachy-1"), free_ports(2)
    async with serve() as sim, running_robot(made.robot("reachy-1"), Bind("127.0.0.1", *ports)) as robot:
        with gateway_process(made, ports, sim) as process:
            await robot.welcomed()
            process.send_signal(signal.SIGTERM)
            assert await asyncio.to_thread(process.wait, 3) == 0


async def test_a_gateway_that_restarts_faster_than_the_robot_notices_is_known_by_its_boot(tmp_path):
    made = Keys(tmp_path, "reachy-1")
    async with running_hub(made, lambda *_: MockVoice()) as first:
        bound = first.bound
        robot_context = running_robot(made.robot("reachy-1"), bound)
        robot = await robot_context.__aenter__()
        await robot.welcomed()
        robot.desk.say(NUMBERS[0])
        await robot.answered(1)
    async with running_hub(made, lambda *_: MockVoice(), bound.up_port, bound.down_port) as second:
        await robot.desk.until(lambda: "reachy-1" in second.robots)
        robot.desk.say(NUMBERS[1])
        await robot.answered(2)
        assert robot.core.summary[-1].complete
        await robot_context.__aexit__(None, None, None)
