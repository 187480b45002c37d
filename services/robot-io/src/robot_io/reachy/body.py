"""The real body: it implements the body's interface with the reachy-mini SDK's targets.

One thread of our own sends the targets, because the SDK takes a lock and may wait for it; the event loop only stores the newest
pose for the thread. Another thread asks the daemon what the robot hears, because an answer may take seconds. Nothing else of
the SDK moves the robot, neither ``goto`` nor the daemon's own moves: two writers would tear the head.

The sound device makes the connection and closes it. Without a connection the body waits; when the connection is lost, the body
is lost, too.
"""

import asyncio
import threading
import time
from collections.abc import Callable
from typing import Final

from reachy_robot.body import BodyError
from reachy_robot.motion.limits import STALL_S, Follower
from reachy_robot.motion.pose import Pose
from robot_io.reachy.sdk import Sdk

CONNECTED_S: Final = 30.0
"""How long a body waits for the sound device's connection."""
DEAF_S: Final = 3.0
"""After this long without a taken target or without news from the daemon, the body is lost, and opened again."""
NEAR: Final = 0.5
"""A delayed body that is this near to its target, in degrees and mm, has caught up."""
LOW_MM: Final = -60.0
"""The daemon's kinematics are wrong if they report a head lower than this: the head cannot be there."""
LOOK_AROUND_S: Final = 5.0
"""How often the robot checks whether another app has started on it, or somebody has turned the motors off."""
LIMP: Final = "somebody has turned the robot's motors off: robot-io does not move its body until they are on again"
HEAR_S: Final = 0.2
"""How often the daemon is asked for the direction of a voice."""
LOOK_S: Final = 0.1
CLOSE_S: Final = 2.0


class ReachyBody:
    """Head, trunk and antennas of a Reachy Mini.

    Args:
        sdk: Returns the connection, once the sound device has made one.
    """

    def __init__(self, sdk: Callable[[], Sdk | None]) -> None:
        self._sdk = sdk
        self._held: Sdk | None = None
        self._newest: Pose | None = None
        self._more = threading.Event()
        self._stop = threading.Event()
        self._failure: BodyError | None = None
        self._threads: list[threading.Thread] = []
        self._heard_deg: float | None = None
        self._wanted = False
        """Whether the direction of a voice is wanted; else the daemon is not asked."""

    async def open(self) -> Pose:
        """Wait for the connection, turn the motors on at the present pose, and take hold of the body.

        Raises:
            BodyError: If there is no connection, if another app or a person controls the body, or if the daemon does not know
                the body's pose.
        """
        loop = asyncio.get_running_loop()
        until = loop.time() + CONNECTED_S
        while (sdk := self._sdk()) is None or not await asyncio.to_thread(_hears, sdk):
            if loop.time() > until:
                raise BodyError("the robot's body still waits for the daemon")
            await asyncio.sleep(LOOK_S)
        if app := await asyncio.to_thread(sdk.running_app):
            raise BodyError(_occupied(app))
        if sdk.held and await asyncio.to_thread(sdk.motors_are_off):
            raise BodyError(LIMP)
        try:
            present = await asyncio.to_thread(sdk.hold)
        except ConnectionError as error:
            raise BodyError(f"the robot's body cannot be reached: {error}") from None
        if not present.is_finite or present.z_mm < LOW_MM:
            raise BodyError("the daemon does not know where the head is: restart reachy-mini-daemon")
        self._held = sdk
        self._threads = [
            threading.Thread(target=self._send, args=(sdk, present), name="body", daemon=True),
            threading.Thread(target=self._ask, args=(sdk,), name="ears", daemon=True),
        ]
        for thread in self._threads:
            thread.start()
        return present

    def target(self, pose: Pose) -> None:
        """Move to this pose next; an earlier pose that was not sent yet is dropped.

        Raises:
            BodyError: If the daemon takes no more targets.
        """
        if self._failure:
            raise self._failure
        if self._held is None or self._sdk() is not self._held:
            raise BodyError("the connection to the robot was made again")
        self._newest = pose
        self._more.set()

    def heard_deg(self) -> float | None:
        """The newest direction of a voice, in degrees to the left of where the head looks; None if there is none."""
        self._wanted = True
        return self._heard_deg

    async def close(self) -> None:
        """Stop; the daemon holds the head where it is."""
        self._stop.set()
        self._more.set()
        threads, self._threads = self._threads, []
        for thread in threads:
            await asyncio.to_thread(thread.join, CLOSE_S)

    def _send(self, sdk: Sdk, present: Pose) -> None:
        """Send the newest pose, until stopped. Runs in a thread of its own.

        Targets that the daemon did not take in time are left out. Then the robot goes from the last taken target to the newest
        one at its usual speeds, because a jump would tear the head.
        """
        taken, taken_at, tried_at = present, time.monotonic(), time.monotonic()
        behind: Follower | None = None
        while not self._stop.is_set():
            self._more.wait(LOOK_S)
            self._more.clear()
            newest, self._newest = self._newest, None
            if newest is None:
                continue
            now = time.monotonic()
            if behind is None and now - taken_at > STALL_S:
                behind = Follower(taken)
            pose = behind.step(newest, now - tried_at) if behind else newest
            tried_at = now
            try:
                sdk.move(pose)
            except ConnectionError as error:  # a stall of a second, or a closed connection
                behind = Follower(taken)
                if time.monotonic() - taken_at > DEAF_S:
                    self._failure = BodyError(str(error))
                    return
                continue
            taken, taken_at = pose, now
            if behind and max(abs(a - b) for a, b in zip(pose, newest, strict=True)) < NEAR:
                behind = None

    def _ask(self, sdk: Sdk) -> None:
        """Ask the daemon for its news, until stopped. Runs in a thread of its own."""
        asked_at = heard_at = time.monotonic()
        while not self._stop.wait(HEAR_S):
            wanted, self._wanted = self._wanted, False
            self._heard_deg = sdk.heard_deg() if wanted else None
            if _hears(sdk):
                heard_at = time.monotonic()
            elif time.monotonic() - heard_at > DEAF_S:
                self._failure = BodyError("the daemon no longer reports the robot's pose")
                return
            if time.monotonic() - asked_at > LOOK_AROUND_S:
                asked_at = time.monotonic()
                if (app := sdk.running_app()) or sdk.motors_are_off():
                    self._failure = BodyError(_occupied(app) if app else LIMP)
                    return


def _hears(sdk: Sdk) -> bool:
    """Whether the daemon reports its state; the connection may be closed at any moment."""
    try:
        return sdk.is_connected and sdk.hears_daemon()
    except AttributeError:
        return False


def _occupied(app: str) -> str:
    return f"the app {app} runs on the robot and may move it: robot-io does not move its body"
