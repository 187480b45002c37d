"""The real daemon, but for the USB device of its microphone array: that tells what is in the file $EARS, angle and speech."""

import os
import sys
from pathlib import Path

from reachy_mini.daemon.app.main import main
from reachy_mini.media import audio_doa


class Ears:
    """What the daemon takes for the array."""

    def read(self, name: str) -> list[float] | None:
        """The one parameter that the daemon asks for: radians from the left, and 1.0 for speech."""
        try:
            angle, speech = map(float, Path(os.environ["EARS"]).read_text().split())
        except (OSError, ValueError):
            return None
        return [angle, speech] if name == "DOA_VALUE_RADIANS" else None

    def close(self) -> None:
        """Nothing is open."""


audio_doa.init_respeaker_usb = Ears
sys.argv[0] = "reachy-mini-daemon"
main()
