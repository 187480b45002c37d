"""The reachy-mini SDK's one connection to a robot. Only this module makes and closes it; sound and body use it.

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
        host: The daemon's host, if not this machine. The sound card is always this machine's.
        port: The daemon's HTTP port.
    """

    def __init__(self, *, host: str | None = None, port: int = 8000) -> None:
        self._host = host
        self._port = port
        self._mini: Any = None
        self._has_card = False
        self.held = False
        """Whether a body has turned the motors on. If they are off after that, somebody has turned them off on purpose."""

    @property
    def media(self) -> Any:
        """The SDK's media manager; available between :meth:`connect` and :meth:`release`."""
        return self._mini.media

    def connect(self) -> None:
        """Connect to the daemon.

        Raises:
            DeviceError: If there is no daemon or no SDK; the message says what to do.
        """
        try:
            from reachy_mini import ReachyMini  # noqa: PLC0415 - other robots have no SDK

            self._has_card = _has_card()  # before the SDK looks: a card that appears after that must not count
        except (ImportError, ValueError) as error:  # ValueError: GStreamer's introspection data is missing
            words = f"the reachy-mini SDK cannot be loaded: {error}; see services/robot-io/README.md for what to install"
            raise DeviceError(words, final=True) from error
        where: dict[str, Any] = {"connection_mode": "localhost_only"}
        if self._host:
            where = {"connection_mode": "network", "host": self._host}
        try:
            # "local": the default needs the camera's socket, and uses WebRTC without it. Never "no_media": it makes the daemon
            # release the sound card. Never spawn_daemon: it may kill a daemon that was started in another way.
            self._mini = ReachyMini(**where, port=self._port, media_backend="local", log_level="WARNING")
        except OSError as error:  # ConnectionError, TimeoutError
            at = f"{self._host or 'localhost'}:{self._port}"
            words = f"no Reachy Mini daemon answers at {at}: switch the robot on, or start reachy-mini-daemon"
            raise DeviceError(words) from error

    def require_card(self) -> None:
        """Check the sound card. A simulated robot has none; a real one waits: robot-io may start before the sound server.

        Raises:
            DeviceError: If the robot is real and its card was missing.
        """
        if self._has_card:
            return
        status = self._mini.client.get_status(wait=False)
        if not (status.simulation_enabled or status.mockup_sim_enabled):
            raise DeviceError(f"the robot's sound card is not there yet: {CARD_REMEDY}")
        log.warning("the robot is simulated and has no sound card: this machine's default microphone and speaker are used")

    def hears_daemon(self) -> bool:
        """Whether the daemon reports its state: returns true within 20 ms, or false after 1 s."""
        return bool(self._mini.client.is_connected())

    def daemon_state(self) -> str:
        """The daemon's own word for its state; empty if there is none."""
        told = self._ask("daemon/status")
        return str(told.get("state", "")) if isinstance(told, dict) else ""

    def reconnect(self) -> None:
        """Connect to a daemon that has restarted, which the SDK never does. The sound is not touched.

        Raises:
            ConnectionError: If the daemon does not answer.
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
        """The name of the daemon's running app, which may move the robot; empty if there is none or the daemon does not say."""
        told = self._ask("apps/current-app-status")
        try:
            return str(told["info"]["name"])[:100] if told and told["state"] in ("starting", "running", "stopping") else ""
        except (LookupError, TypeError):
            return ""

    def motors_are_off(self) -> bool:
        """Whether the motors are off, or do not hold the position that they are told to."""
        told = self._ask("motors/status")
        return isinstance(told, dict) and told.get("mode", "enabled") != "enabled"

    def heard_deg(self) -> float | None:
        """The direction of a voice, to the left of where the head looks; None if no voice is heard, or the daemon does not say.

        The microphone array cannot tell front from back. Its angle is 0 on the left, and pi/2 ahead.
        """
        told = self._ask("state/doa")
        try:
            return 90.0 - math.degrees(float(told["angle"])) if told and told["speech_detected"] else None
        except (ValueError, LookupError, TypeError):
            return None

    def hold(self) -> Pose:
        """Turn the motors on, so that they hold the robot where it is; returns the pose.

        The pose is sent as a target first: an old daemon would otherwise go back to its last target.

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
        """The daemon's answer to a request; None without an answer."""
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
            audio.__del__()  # ends its thread; Python never calls it, because the thread's bus watch holds on to the object


def _has_card() -> bool:
    """Whether the robot's sound card is there; without it, the SDK silently takes this machine's default devices."""
    import gi  # noqa: PLC0415 - other robots have no GStreamer

    gi.require_version("Gst", "1.0")
    from gi.repository import Gst  # noqa: PLC0415
    from reachy_mini.media.audio_utils import has_reachymini_asoundrc  # noqa: PLC0415
    from reachy_mini.media.device_detection import get_audio_device  # noqa: PLC0415

    Gst.init([])
    return has_reachymini_asoundrc() or all(get_audio_device(kind) for kind in ("Source", "Sink"))


@contextmanager
def _reaching() -> Iterator[None]:
    """Turn every error that the SDK raises when the daemon has gone into a ConnectionError."""
    try:
        yield
    except Exception as error:
        raise ConnectionError(f"the daemon does not listen: {error}") from error
