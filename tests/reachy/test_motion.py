"""Whatever happens at random, the daemon gets poses within the limits, from one writer. ``MOTION_S`` sets longer runs."""

import asyncio
import json
import math
import os
import random
import time
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path

import pytest
from moving import Moved, Probe, connected, taken, turn
from virtual_reachy import VirtualReachy, virtual_reachy

from reachy_link.messages import Cancel
from reachy_robot.acts import LOOKS, Acts
from reachy_robot.motion.composer import POSTURES
from reachy_robot.motion.limits import HEAD_DEG_S, TICK_MAX_DEG, TILT_MAX_DEG, is_in_box
from reachy_robot.motion.moves import MOVES, Move
from reachy_robot.motion.pose import ASLEEP, Pose, head_of
from reachy_robot.motion.recorded import recorded
from reachy_robot.sender import Sender
from robot_io.reachy.sdk import Sdk

MOTION_S = float(os.environ.get("MOTION_S", "40"))
WINDOW_S = 0.2


def jumpy(t: float) -> Pose:
    """A pose that no head can reach."""
    way = math.copysign(1.0, math.sin(17 * t))
    return Pose(90 * way, -80 * way, 300 * way, 70 * way, 80 * way, 179 * way, -170 * way, 400 * way, 900 * way)


def deep() -> Move:
    """A recorded move into a region where the daemon's kinematics fails."""
    targets = [
        {"head": head_of(Pose(z_mm=z, yaw_deg=yaw)), "antennas": [3.1, -3.1], "body_yaw": 2.0 * (-1) ** n}
        for n, (z, yaw) in enumerate([(0, 0), (-180, 150), (-180, -150), (60, 0)] * 5)
    ]
    return recorded(json.dumps({"time": [0.1 * n for n in range(20)], "set_target_data": targets}).encode())[0]


ALL: Mapping[str, Move] = {**MOVES, "jumpy": Move(jumpy, 2.0), "deep": deep(), "nothing": Move(lambda _: Pose(math.nan), 1.0)}


class Listened(Sdk):
    """The SDK, with a record of what it was told and when."""

    def __init__(self, port: int) -> None:
        super().__init__(port=port)
        self.told: list[tuple[float, Pose]] = []

    def move(self, pose: Pose) -> None:
        super().move(pose)
        self.told.append((time.monotonic(), pose))


def do_something(moved: Moved, draw: random.Random) -> None:
    acts = moved.acts
    match draw.randrange(10):
        case 0 | 1 | 2:
            name = draw.choice(sorted(ALL))
            moved.act("dance" if ALL[name].dances else "gesture", name=name)
        case 3 | 4:
            moved.act("look", direction=draw.choice(sorted(LOOKS)))
        case 5:
            moved.act(draw.choice(["rest", "wake", "wake", "stop", "turn"]))
        case 6:
            key = draw.choice([None, moved.n])
            acts.cancel(Cancel(robot="reachy-1", boot="c81d3fa2907be654", seq=0, t_us=0, id=key), time.monotonic())
        case 7:
            acts.flush(10**6, time.monotonic())
        case 8:
            acts.mood = draw.choice(sorted(POSTURES))
        case _:
            acts.person_speaks = not acts.person_speaks


@pytest.mark.timeout(MOTION_S + 120)
def test_whatever_comes_the_daemon_is_told_poses_within_the_limits_and_by_nobody_else(tmp_path: Path) -> None:
    seed = random.randrange(10**6)  # noqa: S311
    print(f"\nseed {seed}")  # noqa: T201
    draw = random.Random(seed)  # noqa: S311

    async def move(rig: VirtualReachy) -> tuple[Listened, Probe]:
        with connected(rig, Listened(rig.daemon_port)) as sdk:
            assert isinstance(sdk, Listened)
            moved = await taken(sdk, Acts(Sender("reachy-1", "5f0c9d7a41e2b386"), ALL))
            probe = Probe(rig)
            until, doing_at = time.monotonic() + MOTION_S, 0.0
            while (now := time.monotonic()) < until:
                if now >= doing_at:
                    doing_at = now + draw.uniform(0.05, 1.2)
                    do_something(moved, draw)
                moved.step(draw.choice([None, draw.random()]), draw.uniform(-180, 180))
                await asyncio.sleep(0.02 if draw.random() > 0.01 else draw.uniform(0.03, 0.4))
            moved.acts.flush(10**6, time.monotonic())
            moved.acts.mood, moved.acts.person_speaks = "listening", False
            moved.act("look", direction="left")
            moved.act("stop")
            await moved.run(5.0)
            assert probe.newest.yaw_deg == pytest.approx(40, abs=4), "the robot must still do what it is told"
            probe.close()
            await moved.body.close()
            return sdk, probe

    with virtual_reachy(tmp_path) as rig:
        sdk, probe = asyncio.run(move(rig))
    told, seen = sdk.told, probe.poses
    assert len(told) > 30 * MOTION_S
    assert len(seen) > 10 * MOTION_S
    assert all(pose.is_finite for _, pose in told)
    assert max(turn(a[1], b[1]) for a, b in pairwise(told)) <= TICK_MAX_DEG
    up = next(n for n, (_, pose) in enumerate(told) if is_in_box(pose))
    assert up < 300, "the head must have risen from where it lay"
    assert [pose for _, pose in told[up:] if not is_in_box(pose, 0.5) and not is_between_sleep_and_neutral(pose)] == []
    speeds, strays = [], []
    first = 0
    for n, (at, pose) in enumerate(seen):
        while seen[first][0] < at - WINDOW_S:
            first += 1
        if first:
            speeds.append(turn(seen[first - 1][1], pose) / (at - seen[first - 1][0]))
        lately = [it for when, it in told if at - 1.0 <= when <= at]
        if n and lately:
            strays.append(min(max(turn(it, pose), abs(it.z_mm - pose.z_mm)) for it in lately))
    fastest, farthest = max(speeds), max(strays)
    print(f"told {len(told)}, seen {len(seen)}: {fastest:.0f} deg/s at most, {farthest:.2f} from what was told")  # noqa: T201
    assert fastest <= HEAD_DEG_S * 1.1, "the daemon's report, over a fifth of a second"
    assert farthest < 2.0, "another writer moves the head"


def is_between_sleep_and_neutral(pose: Pose) -> bool:
    """Whether a pose is on the way that leads out of the box."""
    return ASLEEP.z_mm - 1 <= pose.z_mm <= 0 and abs(pose.yaw_deg) < 3.5 and 0 <= pose.pitch_deg + 3.5 < TILT_MAX_DEG
