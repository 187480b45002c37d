"""The real body: the port over the reachy-mini SDK's targets.

One thread of our own sends them, as the SDK takes a lock and may wait for it; the event loop only leaves the newest pose there.
Another one asks the daemon what it hears, as an answer may take seconds.
Nothing else of the SDK moves the robot: two that write tear the head, so there is no ``goto``, and no move of the daemon's own.

The connection is the sound's: its device makes it, and lets go of it. A body without one waits, and is lost with it.
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
"""How long a body waits for the sound to be there."""
DEAF_S: Final = 3.0
"""The daemon may take no target, or tell nothing, for so long; then the body is lost, and is looked for anew."""
NEAR: Final = 0.5
"""So near, in degrees and mm, a body that was held up has caught up."""
LOW_MM: Final = -60.0
"""A head that is told to be lower than this is where it cannot be: the daemon's kinematics have gone astray."""
LOOK_AROUND_S: Final = 5.0
"""How often it is looked whether another app has begun to run on the robot, or somebody has turned the motors off."""
LIMP: Final = "somebody has turned the robot's motors off: its body is left alone until they are on again"
HEAR_S: Final = 0.2
"""How often the daemon is asked from where a voice comes."""
LOOK_S: Final = 0.1
CLOSE_S: Final = 2.0


class ReachyBody:
    """Head, trunk and antennas of a Reachy Mini.

    Args:
        sdk: The connection, once the sound has made one.
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
        """Whether anybody wants to know that; else the daemon is not asked."""

    async def open(self) -> Pose:
        """Wait for the connection, turn the motors on where they are, and take hold.

        Raises:
            BodyError: If there is none, if another app or somebody has the body, or if the daemon does not know where it is.
        """
        loop = asyncio.get_running_loop()
        until = loop.time() + CONNECTED_S
        while (sdk := self._sdk()) is None or not await asyncio.to_thread(_hears, sdk):
            if loop.time() > until:
                raise BodyError("the robot's body waits for the daemon")
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
        """Be there next; the pose before is dropped if it was not sent yet.

        Raises:
            BodyError: If the daemon takes no targets any more.
        """
        if self._failure:
            raise self._failure
        if self._held is None or self._sdk() is not self._held:
            raise BodyError("the robot's connection was made anew")
        self._newest = pose
        self._more.set()

    def heard_deg(self) -> float | None:
        """From where a voice came just now, in degrees to the left of where the head looks; None for none."""
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
        """Send what is newest, until stopped; in a thread of its own.

        Targets that the daemon did not take in time are left out. The robot goes from the last one that was taken to the newest
        with its usual speeds, as a jump would tear the head.
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
            except ConnectionError as error:  # a stall of a second, or a connection that was let go of
                behind = Follower(taken)
                if time.monotonic() - taken_at > DEAF_S:
                    self._failure = BodyError(str(error))
                    return
                continue
            taken, taken_at = pose, now
            if behind and max(abs(a - b) for a, b in zip(pose, newest, strict=True)) < NEAR:
                behind = None

    def _ask(self, sdk: Sdk) -> None:
        """Ask the daemon what it knows, until stopped; in a thread of its own."""
        asked_at = heard_at = time.monotonic()
        while not self._stop.wait(HEAR_S):
            wanted, self._wanted = self._wanted, False
            self._heard_deg = sdk.heard_deg() if wanted else None
            if _hears(sdk):
                heard_at = time.monotonic()
            elif time.monotonic() - heard_at > DEAF_S:
                self._failure = BodyError("the daemon does not tell any more where the robot is")
                return
            if time.monotonic() - asked_at > LOOK_AROUND_S:
                asked_at = time.monotonic()
                if (app := sdk.running_app()) or sdk.motors_are_off():
                    self._failure = BodyError(_occupied(app) if app else LIMP)
                    return


def _hears(sdk: Sdk) -> bool:
    """Whether there is a daemon; the connection may be let go of at any moment."""
    try:
        return sdk.is_connected and sdk.hears_daemon()
    except AttributeError:
        return False


def _occupied(app: str) -> str:
    return f"the app {app} runs on the robot, and may move it: so its body is left alone"
