"""A person asks for a movement: the whole path, from the simulator's call to the poses of a virtual body."""

import asyncio
import json
import logging
import re
import wave
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib import resources
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from rig import Desk, Keys, running_hub, running_robot

from gemini_gateway.personas import Persona
from gemini_live_sim.actions import CallTools, WantedCall
from gemini_live_sim.server import serve
from reachy_gateway.tools.body import NAMES, OFFERED_MAX, tools_of
from reachy_gateway.tools.port import flaws
from reachy_link.address import Address
from reachy_link.messages import BodyOffer
from reachy_robot.acts import OFFER, Manner
from reachy_robot.body import BodyError
from reachy_robot.decisions import Profile
from reachy_robot.motion.pose import ASLEEP, Pose
from reachy_robot.runner import Runner
from robot_io.wav.body import PERSON_DEG, WavBody

PHRASES = Path(str(resources.files("gemini_live_sim"))) / "phrases"


def spoken(name: str) -> np.ndarray:
    with wave.open(str(PHRASES / f"{name}.wav")) as file:
        return (np.frombuffer(file.readframes(file.getnframes()), "<i2").astype(np.float32) / 32768)[:, None]


STILL = Manner(breathing=False, posture=False, wobble=False, turn=False, sense=True)


class Shown(WavBody):
    """A body whose poses the test sees. It can be lost."""

    def __init__(self, path: Path | None = None) -> None:
        super().__init__(path)
        self.poses: list[Pose] = []
        self.lost = False

    def target(self, pose: Pose) -> None:
        if self.lost:
            raise BodyError("the body was unplugged")
        self.poses.append(pose)
        super().target(pose)


class Moving:
    """A robot with a body, at its desk."""

    def __init__(self, runner: Runner, desk: Desk, bodies: list[Shown]) -> None:
        self.runner = runner
        self.desk = desk
        self.bodies = bodies

    @property
    def poses(self) -> list[Pose]:
        return [pose for body in self.bodies for pose in body.poses]

    async def awake(self) -> None:
        await self.desk.until(lambda: self.poses and abs(self.poses[-1].z_mm) < 6 and self.runner.core.welcomed)


def moving(made: Keys, hub, *, body: BodyOffer | None = OFFER, path: Path | None = None):
    desk, bodies = Desk(), []
    identity = made.robot("reachy-1")

    def make_body() -> Shown:
        bodies.append(Shown(path))
        return bodies[-1]

    def profile(device) -> Profile:
        return Profile(identity.robot, "5f0c9d7a41e2b386", device.mic, device.speaker, device.lead_ms, "test", body=body)

    address = Address(hub.bound.host, hub.bound.up_port, hub.bound.down_port)
    runner = Runner(lambda: desk, identity, address, profile, make_body=make_body if body else None)
    return Moving(runner, desk, bodies)


@asynccontextmanager
async def running(robot: Moving) -> AsyncIterator[Moving]:
    """Run a robot for the length of a block."""
    task = asyncio.create_task(robot.runner.run())
    try:
        await (robot.awake() if robot.runner._make_body else robot.desk.until(lambda: robot.runner.core.welcomed))
        yield robot
    finally:
        robot.desk.switch_off()
        await task


@pytest.mark.parametrize(
    ("phrase", "moved"),
    [
        ("look-left", lambda pose: pose.yaw_deg > 30),
        ("dance", lambda pose: abs(pose.y_mm) > 5),
        ("nod", lambda pose: pose.pitch_deg > 5),
        ("rest", lambda pose: pose.z_mm < ASLEEP.z_mm + 2),
    ],
)
async def test_what_the_person_asks_for_is_done_and_spoken_of(tmp_path, gemini, caplog, phrase, moved):
    caplog.set_level(logging.INFO)
    made = Keys(tmp_path, "reachy-1")
    async with serve() as sim, running_hub(made, gemini(sim)) as hub, running(moving(made, hub)) as robot:
        await sim.session(1)
        before = len(robot.poses)
        robot.desk.say(spoken(phrase))
        await robot.desk.until(lambda: any(moved(pose) for pose in robot.poses[before:]))
        await robot.desk.until(lambda: len(robot.desk.played) > 8000)
        [session] = sim.sessions
        [response] = session.tool_responses
        assert response["response"] == {"status": "started"}
        assert response["scheduling"] == "SILENT"
    assert re.search(r"called \w+: done in \d+ ms", caplog.text)


async def test_the_model_is_offered_what_the_robot_told_and_nothing_where_it_has_no_body(tmp_path, office):
    made = Keys(tmp_path, "reachy-1")
    few = BodyOffer(gestures=("nod", "of_its_own"))
    async with serve() as sim:
        async with running_hub(made, office(sim).make) as hub, running(moving(made, hub, body=few)):
            session = await sim.session(1)
            functions = {it["name"]: it for it in session.setup_json["tools"][0]["functionDeclarations"]}
        assert functions.keys() == set(NAMES) - {"dance", "turn_to_me", "volume"}
        assert functions["gesture"]["parameters"]["properties"]["name"]["enum"] == ["nod", "of_its_own"]
        for persona, body in ((Persona(), None), (Persona(body=False), OFFER), (Persona(tools=()), OFFER)):
            number = len(sim.sessions) + 1
            async with running_hub(made, office(sim, persona).make) as hub, running(moving(made, hub, body=body)):
                session = await sim.session(number)
                assert "tools" not in session.setup_json


async def test_what_the_body_cannot_do_is_told_to_the_model_in_words(tmp_path, gemini):
    made = Keys(tmp_path, "reachy-1")
    boastful = BodyOffer(gestures=("nod", "fly"))
    async with serve() as sim, running_hub(made, gemini(sim)) as hub, running(moving(made, hub, body=boastful)) as robot:
        session = await sim.session(1)
        session.do(CallTools(calls=(WantedCall(name="gesture", args={"name": "fly"}),)))
        await session.until(lambda it: it.tool_responses)
        assert "knows no such gesture" in session.tool_responses[0]["response"]["error"]
        robot.bodies[-1].lost = True
        await robot.desk.until(lambda: not robot.runner.core._acts._composer)
        session.do(CallTools(calls=(WantedCall(name="gesture", args={"name": "nod"}),)))
        await session.until(lambda it: len(it.tool_responses) == 2)
        assert "unplugged" in session.tool_responses[1]["response"]["error"]
        await robot.desk.until(lambda: len(robot.bodies) == 2 and robot.bodies[1].poses)
        session.do(CallTools(calls=(WantedCall(name="gesture", args={"name": "nod"}),)))
        await session.until(lambda it: len(it.tool_responses) == 3)
        assert session.tool_responses[2]["response"] == {"status": "started"}


async def test_the_body_shows_that_the_robot_speaks_and_is_still_after_an_interruption(tmp_path, gemini):
    made = Keys(tmp_path, "reachy-1")
    async with serve() as sim, running_hub(made, gemini(sim)) as hub, running(moving(made, hub)) as robot:
        session = await sim.session(1)
        session.say(8000)
        await robot.desk.until(lambda: len(robot.desk.played) > 24000)
        speaking = [pose.yaw_deg for pose in robot.poses[-60:]]
        assert max(speaking) - min(speaking) > 1.0, "it moves with its speech"
        session.interrupt()
        await robot.desk.until(lambda: robot.desk.hushed)
        n = len(robot.poses)
        await robot.desk.until(lambda: len(robot.poses) > n + 60)
        still = [pose.yaw_deg for pose in robot.poses[n + 10 :]]
        assert max(still) - min(still) < 0.6, "200 ms later it does not"


async def test_the_gateway_tells_a_robot_with_a_body_whether_the_person_speaks(tmp_path, gemini):
    made = Keys(tmp_path, "reachy-1")
    async with serve() as sim, running_hub(made, gemini(sim)) as hub, running(moving(made, hub)) as robot:
        await sim.session(1)
        acts = robot.runner.core._acts
        robot.desk.say(np.tile(spoken("time"), (2, 1)))
        await robot.desk.until(lambda: acts.person_speaks)
        await robot.desk.until(lambda: not acts.person_speaks)


async def test_the_poses_are_kept_in_a_file_with_a_picture_beside_it(tmp_path, gemini):
    made = Keys(tmp_path, "reachy-1")
    file = tmp_path / "out" / "motion.jsonl"
    async with serve() as sim, running_hub(made, gemini(sim)) as hub, running(moving(made, hub, path=file)) as robot:
        await sim.session(1)
        robot.desk.say(spoken("nod"))
        await robot.desk.until(lambda: len(robot.desk.played) > 8000)
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    assert len(lines) > 10
    assert lines[0].keys() == {"at_s", *Pose._fields}
    assert all(a["at_s"] <= b["at_s"] for a, b in pairwise(lines))
    picture = file.with_suffix(".svg").read_text()
    assert picture.startswith("<svg ")
    assert picture.count("<polyline") == 6


def test_the_tools_of_a_body_can_be_offered():
    tools = tools_of(OFFER)
    assert [tool.name for tool in tools] == list(NAMES)
    assert [flaw for tool in tools for flaw in flaws(tool)] == []
    many = BodyOffer(gestures=tuple(f"g{n}" for n in range(80)))
    assert flaws(tools_of(many)[0]) == []
    offered = tools_of(many, first=("g77", "no_such"))[0].arguments.model_json_schema()["properties"]["name"]["enum"]
    assert offered[:3] == ["g77", "g0", "g1"]
    assert len(offered) == OFFERED_MAX


async def test_a_persona_keeps_the_body_still_or_has_it_turn(tmp_path, office):
    made = Keys(tmp_path, "reachy-1")
    async with serve() as sim:
        persona = Persona(body=False)
        async with running_hub(made, office(sim, persona).make) as hub, running(moving(made, hub)) as robot:
            await sim.session(1)
            await robot.desk.until(lambda: robot.runner.core._acts._manner == STILL)
        async with (
            running_hub(made, office(sim, Persona(manner={"turn": True})).make) as hub,
            running(moving(made, hub)) as robot,
        ):
            await sim.session(2)
            await robot.desk.until(lambda: robot.runner.core._acts._manner == Manner(turn=True, sense=True))


async def test_it_turns_to_the_person_and_speaks_as_loud_as_it_is_asked(tmp_path, gemini):
    made = Keys(tmp_path, "reachy-1")
    async with serve() as sim, running_hub(made, gemini(sim)) as hub, running(moving(made, hub)) as robot:
        session = await sim.session(1)
        robot.desk.say(np.tile(spoken("time"), (2, 1)))
        acts = robot.runner.core._acts
        await robot.desk.until(lambda: acts._direction.yaw_deg(robot.runner._now()) is not None)
        await robot.desk.until(lambda: hub.robots["reachy-1"].vitals().person_deg == pytest.approx(PERSON_DEG, abs=1))
        session.do(CallTools(calls=(WantedCall(name="turn_to_me", args={}), WantedCall(name="volume", args={"percent": 25}))))
        await session.until(lambda it: len(it.tool_responses) == 2)
        assert [it["response"] for it in session.tool_responses] == [{"status": "started"}] * 2
        await robot.desk.until(lambda: abs(robot.poses[-1].yaw_deg - PERSON_DEG) < 3)
        assert robot.runner.core._playback.gain.percent == 25


class Slow(Shown):
    """A body that takes long to let go of."""

    async def close(self) -> None:
        await asyncio.sleep(60)


async def test_a_robot_that_is_stopped_twice_lets_go_of_its_speaker_all_the_same(tmp_path, gemini):
    made = Keys(tmp_path, "reachy-1")
    async with serve() as sim, running_hub(made, gemini(sim)) as hub:
        async with running_robot(made.robot("reachy-1"), hub.bound, make_body=Slow) as robot:
            await robot.welcomed()
            while not robot.task.done():
                robot.task.cancel()
                await asyncio.sleep(0.01)
        assert robot.desk.closed
