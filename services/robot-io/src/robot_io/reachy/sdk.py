"""The reachy-mini SDK's one connection to a robot. Here alone is it made and let go; sound, and later a body, are handed it.

The SDK ships no types, and blocks: everything here is called from a thread.
"""

import http.client
import json
import logging
import math
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import numpy as np

from reachy_robot.motion.pose import Pose, head_of, pose_of
from reachy_robot.sound import DeviceError

log = logging.getLogger(__name__)

ASK_S: Final = 2.0
RECONNECT_S: Final = 3.0
ANSWER_MAX_BYTES: Final = 65536
CARD_REMEDY: Final = "is the robot's USB cable in, and PulseAudio or PipeWire running?"


class Sdk:
    """A Reachy Mini, through the daemon and the sound card of this machine.

    Args:
        host: Where the daemon runs, if not on this machine. The sound card is this machine's in any case.
        port: The daemon's HTTP port.
    """

    def __init__(self, *, host: str | None = None, port: int = 8000) -> None:
        self._host = host
        self._port = port
        self._mini: Any = None
        self._has_card = False
        self.held = False
        """Whether a body has turned the motors on; whoever turns them off after that means it."""

    @property
    def media(self) -> Any:
        """The SDK's media manager; there between :meth:`connect` and :meth:`release`."""
        return self._mini.media

    def connect(self) -> None:
        """Connect to the daemon.

        Raises:
            DeviceError: If there is no daemon or no SDK, with what to do about it.
        """
        try:
            from reachy_mini import ReachyMini  # noqa: PLC0415 - robots of other kinds have no SDK

            self._has_card = _has_card()  # before the SDK looks: what comes up in between is not to be taken for what it found
        except (ImportError, ValueError) as error:  # ValueError: there is no introspection data of GStreamer
            words = f"the reachy-mini SDK cannot be loaded: {error}; see services/robot-io/README.md for what to install"
            raise DeviceError(words, final=True) from error
        where: dict[str, Any] = {"connection_mode": "localhost_only"}
        if self._host:
            where = {"connection_mode": "network", "host": self._host}
        try:
            # "local": the default wants the camera's socket, and goes for WebRTC without it. Never "no_media": that makes the
            # daemon let go of the sound card. Never spawn_daemon: that may kill a daemon that was started otherwise.
            self._mini = ReachyMini(**where, port=self._port, media_backend="local", log_level="WARNING")
        except OSError as error:  # ConnectionError, TimeoutError
            at = f"{self._host or 'localhost'}:{self._port}"
            words = f"no Reachy Mini daemon answers at {at}: switch the robot on, or start reachy-mini-daemon"
            raise DeviceError(words) from error

    def require_card(self) -> None:
        """A simulated robot has no sound card; a real one waits for its own, since robot-io may be up before the sound server.

        Raises:
            DeviceError: If the robot is real and its card was not there.
        """
        if self._has_card:
            return
        status = self._mini.client.get_status(wait=False)
        if not (status.simulation_enabled or status.mockup_sim_enabled):
            raise DeviceError(f"the robot's sound card is not there yet: {CARD_REMEDY}")
        log.warning("the robot is simulated and has no sound card: this machine's default microphone and speaker are used")

    def hears_daemon(self) -> bool:
        """Whether the daemon tells its state: true within 20 ms, false after 1 s."""
        return bool(self._mini.client.is_connected())

    def daemon_state(self) -> str:
        """The daemon's own word for how it stands; empty if there is none."""
        told = self._ask("daemon/status")
        return str(told.get("state", "")) if isinstance(told, dict) else ""

    def reconnect(self) -> None:
        """Connect to a daemon that was started anew, which the SDK never does. The sound is not touched.

        Raises:
            ConnectionError: If it does not answer after all.
        """
        mini = self._mini
        before = mini.client
        with _reaching():
            client = type(before)(host=before.host, port=before.port)
            client.wait_for_connection(RECONNECT_S)
        mini.client, self.held = client, False
        before.disconnect()

    @property
    def is_connected(self) -> bool:
        """Whether there is a connection, as far as is known; it may end at any moment."""
        return self._mini is not None

    def running_app(self) -> str:
        """The app that the daemon runs, and that may move the robot; empty for none, or where nobody knows."""
        told = self._ask("apps/current-app-status")
        try:
            return str(told["info"]["name"])[:100] if told and told["state"] in ("starting", "running", "stopping") else ""
        except (LookupError, TypeError):
            return ""

    def motors_are_off(self) -> bool:
        """Whether they hold nothing, or not where they are told to."""
        told = self._ask("motors/status")
        return isinstance(told, dict) and told.get("mode", "enabled") != "enabled"

    def heard_deg(self) -> float | None:
        """From where a voice comes, to the left of where the head looks; None if none is heard, or nobody knows.

        The array cannot tell front from back. Its angle is 0 on the left, and pi/2 ahead.
        """
        told = self._ask("state/doa")
        try:
            return 90.0 - math.degrees(float(told["angle"])) if told and told["speech_detected"] else None
        except (ValueError, LookupError, TypeError):
            return None

    def hold(self) -> Pose:
        """Turn the motors on, which then hold the robot where it is; which pose that is.

        The pose is sent before: an old daemon would go back to where it was told to be last.

        Raises:
            ConnectionError: If the daemon does not listen.
        """
        with _reaching():
            head = np.asarray(self._mini.get_current_head_pose(), float)
            (body_rad, *_), (right_rad, left_rad) = self._mini.get_current_joint_positions()
            present = pose_of(head.tolist(), body_rad, right_rad, left_rad)
            if present.is_finite:
                self._mini.set_target(head=head, antennas=[right_rad, left_rad], body_yaw=body_rad)
            self._mini.enable_motors()
            self.held = True
            return present

    def move(self, pose: Pose) -> None:
        """Send a target.

        Raises:
            ConnectionError: If the daemon does not listen.
        """
        antennas = [math.radians(pose.right_deg), math.radians(pose.left_deg)]
        with _reaching():
            self._mini.set_target(head=np.array(head_of(pose)), antennas=antennas, body_yaw=math.radians(pose.body_deg))

    def _ask(self, what: str) -> Any:
        """What the daemon tells of something; None if it does not."""
        host = f"[{self._host}]" if self._host and ":" in self._host else self._host or "127.0.0.1"
        near = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with near.open(f"http://{host}:{self._port}/api/{what}", timeout=ASK_S) as answer:
                return json.loads(answer.read(ANSWER_MAX_BYTES))
        except (OSError, ValueError, http.client.HTTPException):
            return None

    def release(self) -> None:
        """Close the SDK."""
        mini, self._mini = self._mini, None
        audio = mini.media.audio
        mini.__exit__(None, None, None)
        if audio is not None:
            audio.__del__()  # ends its thread; never called by itself, since the thread's bus watch holds on to it


def _has_card() -> bool:
    """Whether the robot's sound card is there: where it is not, the SDK silently takes this machine's default devices."""
    import gi  # noqa: PLC0415 - robots of other kinds have no GStreamer

    gi.require_version("Gst", "1.0")
    from gi.repository import Gst  # noqa: PLC0415
    from reachy_mini.media.audio_utils import has_reachymini_asoundrc  # noqa: PLC0415
    from reachy_mini.media.device_detection import get_audio_device  # noqa: PLC0415

    Gst.init([])
    return has_reachymini_asoundrc() or all(get_audio_device(kind) for kind in ("Source", "Sink"))


@contextmanager
def _reaching() -> Iterator[None]:
    """Whatever the SDK raises where the daemon has gone: its own errors, its socket's, or those of a connection let go of."""
    try:
        yield
    except Exception as error:
        raise ConnectionError(f"the daemon does not listen: {error}") from error
