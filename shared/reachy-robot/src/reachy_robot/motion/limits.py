"""The limits of every pose and of its changes, whatever is asked for. Pure.

By the daemon's kinematics, the head can reach every value in the box, whatever the other values of the pose are. The speeds are
those that motors and ears can bear. Targets stay so far inside the box that no path between two of them leaves the box.
"""

import math
from typing import Final

from reachy_robot.motion.pose import Pose

TILT_MAX_DEG: Final = 30.0
TWIST_MAX_DEG: Final = 60.0
"""Between head and body."""
BODY_MAX_DEG: Final = 150.0
ANTENNA_MAX_DEG: Final = 175.0
SHIFT_MAX_MM: Final = 10.0
"""Forwards, backwards and sideways."""
LOW_MM, HIGH_MM = -25.0, 5.0
MARGIN_DEG: Final = 5.0
"""The distance of targets from the box's limits of tilt and twist: a path that turns needs room."""
EDGE: Final = 0.2
"""The distance of targets from the box's other limits, in degrees and mm: in steps of a tick, a path overshoots a target a
little."""

HEAD_DEG_S: Final = 200.0
HEAD_DEG_S2: Final = 2500.0
TICK_MAX_DEG: Final = 6.0
"""A larger step within one tick shakes the head. A step of 50 degrees makes the daemon's kinematics wrong for good."""
STEP_S: Final = 0.028
"""A late tick moves no further than a tick of this length: at ``HEAD_DEG_S`` these are ``TICK_MAX_DEG``."""
STALL_S: Final = 0.06
"""After this long without a target the body stands still, and starts again from rest."""

TILT_DEG_S: Final = 110.0
YAW_DEG_S: Final = 120.0
"""Combined with the speed of the tilt, for tilts within the box, the head turns slower than ``HEAD_DEG_S``."""
BODY_DEG_S: Final = 60.0
ANTENNA_DEG_S: Final = 300.0
SHIFT_MM_S: Final = 34.0
"""On each of three axes: 60 mm/s together."""
TILT_DEG_S2: Final = 1200.0
TWIST_DEG_S2: Final = 700.0
BODY_DEG_S2: Final = 400.0
ANTENNA_DEG_S2: Final = 3000.0
SHIFT_MM_S2: Final = 250.0
SLOW: Final = 0.35
"""The share of the speeds on the way from the pose in which the robot was found."""


def boxed(pose: Pose) -> Pose:
    """The nearest pose that may be a target. A value that is not finite becomes 0."""
    x, y, z, roll, pitch, yaw, body, left, right = (value if math.isfinite(value) else 0.0 for value in pose)
    tilt = math.hypot(roll, pitch)
    shrink = min(1.0, (TILT_MAX_DEG - MARGIN_DEG) / tilt) if tilt else 1.0
    body = _within(body, BODY_MAX_DEG - EDGE)
    twist = TWIST_MAX_DEG - MARGIN_DEG
    return Pose(
        _within(x, SHIFT_MAX_MM - EDGE),
        _within(y, SHIFT_MAX_MM - EDGE),
        min(HIGH_MM - EDGE, max(LOW_MM + EDGE, z)),
        roll * shrink,
        pitch * shrink,
        body + _within(yaw - body, twist),
        body,
        _within(left, ANTENNA_MAX_DEG - EDGE),
        _within(right, ANTENNA_MAX_DEG - EDGE),
    )


def is_in_box(pose: Pose, slack: float = 1e-6) -> bool:
    """Whether a pose is within the box."""
    return (
        math.hypot(pose.roll_deg, pose.pitch_deg) <= TILT_MAX_DEG + slack
        and abs(pose.yaw_deg - pose.body_deg) <= TWIST_MAX_DEG + slack
        and abs(pose.body_deg) <= BODY_MAX_DEG + slack
        and max(abs(pose.left_deg), abs(pose.right_deg)) <= ANTENNA_MAX_DEG + slack
        and max(abs(pose.x_mm), abs(pose.y_mm)) <= SHIFT_MAX_MM + slack
        and LOW_MM - slack <= pose.z_mm <= HIGH_MM + slack
    )


def _within(value: float, most: float) -> float:
    return min(most, max(-most, value))


class _Axis:
    """One value that follows a target as fast as allowed and comes to rest there."""

    __slots__ = ("at", "speed")

    def __init__(self, at: float) -> None:
        self.at = at
        self.speed = 0.0

    def wanted(self, target: float, dt: float, most: float, accel: float) -> float:
        """The speed that reaches the target soonest and still allows a stop there."""
        gap = target - self.at
        brake = math.sqrt((accel * dt / 2) ** 2 + 2 * accel * abs(gap)) - accel * dt / 2
        return math.copysign(min(most, brake, abs(gap) / dt), gap)

    def move(self, wanted: float, dt: float, accel: float) -> None:
        """Make a step; the speed changes by no more than allowed."""
        self.speed += _within(wanted - self.speed, accel * dt)
        self.at += self.speed * dt


class Follower:
    """Follows targets within all limits. It starts at rest at the robot's pose, in the box or not."""

    def __init__(self, present: Pose) -> None:
        self._x, self._y, self._z = _Axis(present.x_mm), _Axis(present.y_mm), _Axis(present.z_mm)
        self._roll, self._pitch = _Axis(present.roll_deg), _Axis(present.pitch_deg)
        self._twist, self._body = _Axis(present.yaw_deg - present.body_deg), _Axis(present.body_deg)
        self._left, self._right = _Axis(present.left_deg), _Axis(present.right_deg)

    @property
    def pose(self) -> Pose:
        """The current pose."""
        return Pose(
            self._x.at,
            self._y.at,
            self._z.at,
            self._roll.at,
            self._pitch.at,
            self._body.at + self._twist.at,
            self._body.at,
            self._left.at,
            self._right.at,
        )

    def step(self, target: Pose, dt: float, share: float = 1.0) -> Pose:
        """The next pose, ``dt`` after the last one, with at most this share of the speeds."""
        if dt > STALL_S:
            for axis in (self._x, self._y, self._z, self._roll, self._pitch, self._twist, self._body, self._left, self._right):
                axis.speed = 0.0
        dt = min(STEP_S, dt)
        if not dt > 0:
            return self.pose
        for axis, at in ((self._x, target.x_mm), (self._y, target.y_mm), (self._z, target.z_mm)):
            axis.move(axis.wanted(at, dt, SHIFT_MM_S * share, SHIFT_MM_S2), dt, SHIFT_MM_S2)
        for axis, at in ((self._left, target.left_deg), (self._right, target.right_deg)):
            axis.move(axis.wanted(at, dt, ANTENNA_DEG_S * share, ANTENNA_DEG_S2), dt, ANTENNA_DEG_S2)
        self._tilt(target, dt, share)
        body, twist = self._body, self._twist
        body.move(body.wanted(target.body_deg, dt, BODY_DEG_S * share, BODY_DEG_S2), dt, BODY_DEG_S2)
        most = (YAW_DEG_S - BODY_DEG_S) * share
        twist.move(twist.wanted(target.yaw_deg - target.body_deg, dt, most, TWIST_DEG_S2), dt, TWIST_DEG_S2)
        return self.pose

    def _tilt(self, target: Pose, dt: float, share: float) -> None:
        """Roll and pitch are one vector, so that the head tilts along a straight line."""
        roll, pitch = self._roll, self._pitch
        gap_roll, gap_pitch = target.roll_deg - roll.at, target.pitch_deg - pitch.at
        gap = math.hypot(gap_roll, gap_pitch)
        brake = math.sqrt((TILT_DEG_S2 * dt / 2) ** 2 + 2 * TILT_DEG_S2 * gap) - TILT_DEG_S2 * dt / 2
        most = min(TILT_DEG_S * share, brake, gap / dt)
        want_roll, want_pitch = (gap_roll / gap * most, gap_pitch / gap * most) if gap else (0.0, 0.0)
        more_roll, more_pitch = want_roll - roll.speed, want_pitch - pitch.speed
        more = math.hypot(more_roll, more_pitch)
        held = min(1.0, TILT_DEG_S2 * dt / more) if more else 0.0
        for axis, change in ((roll, more_roll * held), (pitch, more_pitch * held)):
            axis.speed += change
            axis.at += axis.speed * dt
