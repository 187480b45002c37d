"""A virtual body: it takes every pose at once, and writes its poses down."""

import json
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final, TextIO

from reachy_robot.body import BodyError
from reachy_robot.motion.pose import ASLEEP, Pose

EVERY: Final = 5
"""One in this many poses is written down; poses come 50 times a second."""
LINES_MAX: Final = 36_000
"""The most lines of the file: one hour."""
WIDTH, HEIGHT = 1000, 420
PERSON_DEG: Final = 35.0
"""The person's direction, to the robot's left."""
ROWS: Final[Sequence[tuple[str, str, float]]] = (
    ("yaw_deg", "head turns left, degrees", 60.0),
    ("pitch_deg", "head nods down, degrees", 30.0),
    ("roll_deg", "head tilts right, degrees", 30.0),
    ("z_mm", "head rises, mm", 44.0),
    ("left_deg", "left antenna goes out, degrees", 175.0),
    ("right_deg", "right antenna goes in, degrees", 175.0),
)
"""The rows of the picture: a field of the pose, its label, and the range both ways."""


class WavBody:
    """A body that is asleep at first. Its poses are written to a file of JSON lines, with a picture beside it.

    Args:
        path: The file; None for no file.
    """

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._file: TextIO | None = None
        self._began = 0.0
        self._n = 0
        self._newest = ASLEEP
        self._kept: list[tuple[float, Pose]] = []

    async def open(self) -> Pose:
        """Start a new file; returns the pose of the sleeping body.

        Raises:
            BodyError: If the file cannot be written.
        """
        self._began = time.monotonic()
        if self._path:
            try:
                self._path.parent.mkdir(parents=True, exist_ok=True)
                self._file = self._path.open("w", encoding="utf-8")
            except OSError as error:
                raise BodyError(f"the body's poses cannot be written: {error}; see ROBOT_MOTION_FILE", final=True) from None
        return ASLEEP

    def target(self, pose: Pose) -> None:
        """Take this pose."""
        self._newest = pose
        self._n += 1
        if self._n % EVERY or len(self._kept) >= LINES_MAX:
            return
        at_s = time.monotonic() - self._began
        self._kept.append((at_s, pose))
        if self._file:
            rounded = {name: round(value, 2) for name, value in pose._asdict().items()}
            self._file.write(json.dumps({"at_s": round(at_s, 2), **rounded}) + "\n")

    def heard_deg(self) -> float:
        """The person's direction, relative to the head: the person always speaks from one place."""
        return PERSON_DEG - self._newest.yaw_deg

    async def close(self) -> None:
        """Finish the file and draw the picture."""
        if self._file:
            self._file.close()
            self._file = None
        if self._path and self._kept:
            with suppress(OSError):  # the file of poses is complete
                self._path.with_suffix(".svg").write_text(picture(self._kept), encoding="utf-8")
            self._kept = []


def picture(poses: Sequence[tuple[float, Pose]]) -> str:
    """A picture of head and antennas over time, as SVG."""
    until_s = max(poses[-1][0], 1.0)
    row = HEIGHT / len(ROWS)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT + 20}" font-family="sans-serif" font-size="11">',
        f"<title>Head and antennas over {until_s:.0f} s</title>",
        f'<rect width="{WIDTH}" height="{HEIGHT + 20}" fill="white"/>',
    ]
    for n, (name, words, most) in enumerate(ROWS):
        middle = (n + 0.5) * row
        points = " ".join(
            f"{at_s / until_s * WIDTH:.1f},{middle - max(-1.0, min(1.0, getattr(pose, name) / most)) * row * 0.45:.1f}"
            for at_s, pose in poses
        )
        parts += [
            f'<line x1="0" x2="{WIDTH}" y1="{middle:.1f}" y2="{middle:.1f}" stroke="#ccc"/>',
            f'<text x="4" y="{middle - row * 0.32:.1f}" fill="#555">{words} (full height: {most:g})</text>',
            f'<polyline points="{points}" fill="none" stroke="#06c"/>',
        ]
    parts += [
        f'<text x="{second / until_s * WIDTH:.0f}" y="{HEIGHT + 14}">{second} s</text>' for second in range(0, int(until_s), 5)
    ]
    return "\n".join([*parts, "</svg>", ""])
