"""Gateways of a fleet and their store are killed, stopped, hung and cut off at random, while robots talk.

Run it for ten minutes:
``FLEET_S=600 pytest tests/e2e/test_fleet_chaos.py --override-ini timeout=0 --override-ini faulthandler_timeout=0``.
"""

import asyncio
import os
import random
import signal
import time
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from boxes import Box, boxes
from rig import Keys, read_wav, running_robot
from stores import running_store

from gemini_live_sim.behaviour import Behaviour
from gemini_live_sim.server import serve

FLEET_S = float(os.environ.get("FLEET_S", "20"))
QUESTION = read_wav(Path(__file__).parent.parent / "sim" / "data" / "question.wav")
ROBOTS = [f"reachy-{n}" for n in range(1, 4)]
BOTH_S = 1.0
"""A gateway that wakes from a hang hangs up within this time. Until then it may still hear audio that was queued before."""
QUIET_S = 15.0


class Watch:
    """Watches which connections hear which robot."""

    def __init__(self, sim) -> None:
        self.sim = sim
        self.worst: dict[str, float] = dict.fromkeys(ROBOTS, 0.0)
        """The longest time for which two connections heard a robot at once."""

    def of(self, robot: str):
        return [it for it in self.sim.sessions if it.setup and it.setup.instruction == robot]

    def hearing(self, robot: str):
        return [it for it in self.of(robot) if it.is_connected]

    async def run(self) -> None:
        heard: dict[int, int] = {}
        since: dict[str, float] = {}
        while True:
            await asyncio.sleep(0.1)
            now = time.monotonic()
            for robot in ROBOTS:
                grew = [it for it in self.hearing(robot) if it.heard_bytes > heard.get(it.number, 0)]
                heard |= {it.number: it.heard_bytes for it in self.of(robot)}
                since[robot] = since.get(robot, now) if len(grew) > 1 else now
                self.worst[robot] = max(self.worst[robot], now - since[robot])


async def befall(draw: random.Random, found: list[Box], store, log: list[str]) -> None:
    """Cause one fault, and end it."""
    box = draw.choice(found)
    what = draw.choice(["kill", "stop", "hang", "vanish", "cut", "kill the store", "hang the store", "empty the store"])
    log.append(f"{what} {box.name}")
    match what:
        case "kill":
            box.kill()
            await asyncio.sleep(draw.uniform(0, 2))
            box.start()
        case "stop":
            box.signal(signal.SIGTERM)
            await asyncio.to_thread(box.process.wait)
            box.start()
        case "hang":
            box.signal(signal.SIGSTOP)
            await asyncio.sleep(draw.uniform(0.5, 5))
            box.signal(signal.SIGCONT)
        case "vanish":
            box.vanish()
            await asyncio.sleep(draw.uniform(1, 5))
            box.come_back()
        case "cut":
            box.robots.cut()
        case "kill the store":
            store.kill()
            await asyncio.sleep(draw.uniform(0, 1))
            await asyncio.to_thread(store.start)
        case "hang the store":
            store.hang()
            await asyncio.sleep(draw.uniform(0.1, 2))
            store.wake()
        case "empty the store":
            store.empty()
    await asyncio.sleep(draw.uniform(0, 1.5))


@pytest.mark.timeout(150)
async def test_whatever_befalls_gateways_and_store_each_robot_is_at_one_and_talks(tmp_path):
    draw, log = random.Random(os.environ.get("FLEET_SEED", "5")), []  # noqa: S311 - must be repeatable
    made = Keys(tmp_path, *ROBOTS)
    toml = tmp_path / "robots.toml"
    toml.write_text("".join(f'[robots.{robot}]\ninstruction = "{robot}"\n' for robot in ROBOTS))
    async with AsyncExitStack() as stack:
        store = stack.enter_context(running_store(tmp_path / "store"))
        sim = await stack.enter_async_context(serve())
        sim.behaviour = Behaviour(mode="echo")
        found = await stack.enter_async_context(boxes(made, sim, store, 3, GATEWAY_ROBOTS_FILE=toml))
        robots = []
        for n, robot in enumerate(ROBOTS):
            order = [box.bind for box in (*found[n:], *found[:n])]
            robots.append(await stack.enter_async_context(running_robot(made.robot(robot), order[0], others=order[1:])))
        for robot in robots:
            await robot.welcomed()
        watch = Watch(sim)
        watching = asyncio.create_task(watch.run())
        until = time.monotonic() + FLEET_S
        while time.monotonic() < until:
            for robot in robots:
                if not robot.desk.saying:
                    robot.desk.say(QUESTION)
            await befall(draw, found, store, log)
        async with asyncio.timeout(QUIET_S):
            while not all(
                robot.core.welcomed and len(watch.hearing(name)) == 1 for name, robot in zip(ROBOTS, robots, strict=True)
            ):
                await asyncio.sleep(0.05)
        for name, robot in zip(ROBOTS, robots, strict=True):
            turns = len(robot.core.summary)
            robot.desk.say(QUESTION)
            await robot.desk.until(lambda robot=robot, turns=turns: len(robot.core.summary) > turns, 25)
            assert len(watch.hearing(name)) == 1
        watching.cancel()
        resumed = sum(it.resumed for it in sim.sessions)
        print(f"\n{len(log)} things, {len(sim.sessions)} connections, {resumed} resumed, two at a time {watch.worst}")  # noqa: T201
        assert max(watch.worst.values()) < BOTH_S, log
        assert resumed, log
        said = "".join(box.said() for box in found)
        assert "Traceback" not in said, log
