"""The real daemon without the microphone array's USB device: it reads angle and speech from the file $EARS.

Each head target that the daemon accepts is appended to the file $TARGETS: the time, and the matrix, 17 float64.
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
    """The stand-in for the array."""

    def read(self, name: str) -> list[float] | None:
        """The parameter that the daemon asks for: radians from the left, and 1.0 for speech."""
        try:
            angle, speech = map(float, Path(os.environ["EARS"]).read_text().split())
        except (OSError, ValueError):
            return None
        return [angle, speech] if name == "DOA_VALUE_RADIANS" else None

    def close(self) -> None:
        """Do nothing: nothing is open."""


targets = Path(os.environ["TARGETS"]).open("ab", buffering=0)  # noqa: SIM115 - open while the daemon runs
take = Backend.set_target_head_pose


def note_and_take(self: Backend, pose: Any, *more: Any, **named: Any) -> None:
    """Note a target, and let the daemon handle it as usual."""
    targets.write(np.array([time.monotonic(), *np.ravel(pose)], "<f8").tobytes())
    take(self, pose, *more, **named)


Backend.set_target_head_pose = note_and_take
audio_doa.init_respeaker_usb = Ears
sys.argv[0] = "reachy-mini-daemon"
main()
