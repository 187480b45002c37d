"""A fleet that remembers: a robot goes on in the same session of Gemini's, whatever becomes of its gateway."""

import signal
import time
from pathlib import Path

from ports import free_ports
from processes import gateway_process
from rig import Keys, read_wav, running_robot
from stores import running_store

from gemini_live_sim.behaviour import Behaviour
from gemini_live_sim.server import serve
from reachy_gateway.link.end import Bind

NUMBERS = [read_wav(Path(__file__).parent / "data" / f"number-{n}.wav") for n in (1, 2, 3)]


async def test_a_gateway_is_killed_and_the_robot_goes_on_in_the_same_session(tmp_path):
    made, one, two = Keys(tmp_path, "reachy-1"), free_ports(2), free_ports(2)
    with running_store(tmp_path / "store") as store:
        async with serve() as sim:
            sim.behaviour = Behaviour(mode="echo")
            more = {"GATEWAY_STORE_URL": store.url}
            binds = Bind("127.0.0.1", *one), Bind("127.0.0.1", *two)
            with gateway_process(made, one, sim, **more) as first, gateway_process(made, two, sim, **more) as second:
                processes = {one: first, two: second}
                async with running_robot(made.robot("reachy-1"), binds[0], others=binds[1:]) as robot:
                    await robot.welcomed()
                    for n in range(2):
                        robot.desk.say(NUMBERS[0])
                        await robot.answered(n + 1)
                    for _ in range(3):
                        [session] = sim.open_sessions
                        serving = processes.pop(robot.core.route.here[1:])
                        began = time.monotonic()
                        serving.send_signal(signal.SIGKILL)
                        await sim.until(
                            lambda sim, was=session: (
                                sim.open_sessions and sim.open_sessions[-1] is not was and sim.open_sessions[-1].heard
                            )
                        )

                        assert sim.open_sessions[-1].resumed
                        break
