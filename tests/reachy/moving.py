"""A body that is moved as the runner moves it, and the daemon's reports on it from outside."""

import asyncio
import http.client
import json
import math
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
from virtual_reachy import VirtualReachy

from reachy_link.messages import Act
from reachy_robot.acts import Acts
from reachy_robot.motion.pose import Pose, head_of, pose_of
from reachy_robot.sender import Sender
from robot_io.reachy.body import ReachyBody
from robot_io.reachy.sdk import Sdk

TICK_S = 0.02


class Probe:
    """The daemon's own report of the robot's pose, polled from outside."""

    def __init__(self, rig: VirtualReachy) -> None:
        self.poses: list[tuple[float, Pose]] = []
        self._url = f"http://127.0.0.1:{rig.daemon_port}/api/state/full?with_head_pose=true&use_pose_matrix=true"
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)
        self._thread.start()

    def _look(self) -> None:
        while not self._stop.wait(0.02):
            try:
                with urllib.request.urlopen(self._url, timeout=2) as answer:  # noqa: S310 - the loopback
                    told = json.loads(answer.read())
            except (OSError, http.client.HTTPException):  # a daemon that is killed in mid-answer
                continue
            head = np.array(told["head_pose"]["m"]).reshape(4, 4).tolist()
            right, left = told["antennas_position"]
            self.poses.append((time.monotonic(), pose_of(head, told["body_yaw"], right, left)))

    @property
    def newest(self) -> Pose:
        return self.poses[-1][1]

    def close(self) -> None:
        self._stop.set()
        self._thread.join()


@contextmanager
def connected(rig: VirtualReachy, sdk: Sdk | None = None) -> Iterator[Sdk]:
    sdk = sdk or Sdk(port=rig.daemon_port)
    sdk.connect()
    try:
        yield sdk
    finally:
        sdk.release()


class Moved:
    """A body that is moved as the runner moves it."""

    def __init__(self, body: ReachyBody, acts: Acts) -> None:
        self.body = body
        self.acts = acts
        self.n = 0

    def act(self, what: str, /, **args: str | float) -> None:
        self.n += 1
        boot = "c81d3fa2907be654"
        self.acts.act(Act(robot="reachy-1", boot=boot, seq=self.n, t_us=0, id=self.n, name=what, args=args), time.monotonic())

    async def run(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            self.step(None, self.body.heard_deg())
            await asyncio.sleep(TICK_S)

    def step(self, level: float | None, heard_deg: float | None) -> None:
        pose, _ = self.acts.pose(time.monotonic(), level, heard_deg)
        assert pose
        self.body.target(pose)


async def taken(sdk: Sdk, acts: Acts | None = None) -> Moved:
    body, acts = ReachyBody(lambda: sdk), acts or Acts(Sender("reachy-1", "5f0c9d7a41e2b386"))
    acts.mood = "listening"
    acts.found(await body.open(), time.monotonic())
    return Moved(body, acts)


def turn(one: Pose, other: Pose) -> float:
    """The angle between two heads, in degrees."""
    between = np.array(head_of(other))[:3, :3] @ np.array(head_of(one))[:3, :3].T
    return math.degrees(math.acos(min(1.0, max(-1.0, (np.trace(between) - 1) / 2))))
