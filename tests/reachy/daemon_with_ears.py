"""The real daemon, but for the USB device of its microphone array: that tells what is in the file $EARS, angle and speech.

Each head's target that the daemon takes is written to the file $TARGETS: when, and the matrix, 17 float64.
"""

import os
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from reachy_mini.daemon.app.main import main
from reachy_mini.daemon.backend.abstract import Backend
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


targets = Path(os.environ["TARGETS"]).open("ab", buffering=0)  # noqa: SIM115 - for as long as the daemon runs
take = Backend.set_target_head_pose


def note_and_take(self: Backend, pose: Any, *more: Any, **named: Any) -> None:
    """As the daemon does."""
    targets.write(np.array([time.monotonic(), *np.ravel(pose)], "<f8").tobytes())
    take(self, pose, *more, **named)


Backend.set_target_head_pose = note_and_take
audio_doa.init_respeaker_usb = Ears
sys.argv[0] = "reachy-mini-daemon"
main()
