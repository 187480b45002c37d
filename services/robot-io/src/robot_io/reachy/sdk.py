"""The reachy-mini SDK's one connection to a robot. Here alone is it made and let go; sound, and later a body, are handed it.

The SDK ships no types, and blocks: everything here is called from a thread.
"""

import logging
from typing import Any, Final

from reachy_robot.sound import DeviceError

log = logging.getLogger(__name__)

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
