"""A pose of a Reachy Mini, and sums of poses. Pure.

The robot's axes: x forward, y to its left, z up, in mm. Yaw is positive to its left, pitch **downwards**, roll towards its
right shoulder. Yaw is the head's yaw in the world, not relative to the body. An upright antenna is at 0; outwards the left one
is positive, the right one negative.
"""

import math
from collections.abc import Sequence
from typing import Final, NamedTuple


class Pose(NamedTuple):
    """The present or wanted pose of head, body and antennas; also the difference of two poses."""

    x_mm: float = 0.0
    y_mm: float = 0.0
    z_mm: float = 0.0
    roll_deg: float = 0.0
    pitch_deg: float = 0.0
    yaw_deg: float = 0.0
    body_deg: float = 0.0
    left_deg: float = 0.0
    right_deg: float = 0.0

    def plus(self, other: "Pose", weight: float = 1.0) -> "Pose":
        """The sum of this pose and a weighted other one."""
        return Pose(*(ours + theirs * weight for ours, theirs in zip(self, other, strict=True)))

    def toward(self, other: "Pose", share: float) -> "Pose":
        """The pose at this share of the way to another one."""
        return Pose(*(ours + (theirs - ours) * share for ours, theirs in zip(self, other, strict=True)))

    @property
    def is_finite(self) -> bool:
        """Whether every value is finite."""
        return all(map(math.isfinite, self))


STILL: Final = Pose()
"""No difference to another pose."""
NEUTRAL: Final = Pose(left_deg=10.0, right_deg=-10.0)
"""The pose at rest while awake. At 0 the antennas would shake."""
ASLEEP: Final = Pose(x_mm=-21.0, z_mm=-44.0, pitch_deg=24.0, left_deg=174.0, right_deg=-174.0)
"""The pose in which the head lies without motor power."""


def antennas(both_deg: float) -> Pose:
    """Both antennas outwards by this angle."""
    return Pose(left_deg=both_deg, right_deg=-both_deg)


def smooth(share: float) -> float:
    """Smooth a share of 0 to 1 so that it starts and ends at rest (the polynomial of least jerk)."""
    s = min(1.0, max(0.0, share))
    return s * s * s * (10 - 15 * s + 6 * s * s)


def head_of(pose: Pose) -> list[list[float]]:
    """The head's part of a pose in the SDK's form: a 4 x 4 matrix in metres; rotations in the order yaw, pitch, roll."""
    roll, pitch, yaw = (math.radians(value) for value in (pose.roll_deg, pose.pitch_deg, pose.yaw_deg))
    (cr, sr), (cp, sp), (cy, sy) = ((math.cos(angle), math.sin(angle)) for angle in (roll, pitch, yaw))
    return [
        [cy * cp, cy * sp * sr - sy * cr, cy * sp * cr + sy * sr, pose.x_mm / 1000],
        [sy * cp, sy * sp * sr + cy * cr, sy * sp * cr - cy * sr, pose.y_mm / 1000],
        [-sp, cp * sr, cp * cr, pose.z_mm / 1000],
        [0.0, 0.0, 0.0, 1.0],
    ]


def pose_of(head: Sequence[Sequence[float]], body_rad: float, right_rad: float, left_rad: float) -> Pose:
    """The pose from the parts that the SDK reports."""
    return Pose(
        x_mm=head[0][3] * 1000,
        y_mm=head[1][3] * 1000,
        z_mm=head[2][3] * 1000,
        roll_deg=math.degrees(math.atan2(head[2][1], head[2][2])),
        pitch_deg=math.degrees(-math.asin(min(1.0, max(-1.0, head[2][0])))),
        yaw_deg=math.degrees(math.atan2(head[1][0], head[0][0])),
        body_deg=math.degrees(body_rad),
        left_deg=math.degrees(left_rad),
        right_deg=math.degrees(right_rad),
    )
