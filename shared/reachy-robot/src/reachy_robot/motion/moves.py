"""Gestures and dances: each is a function of time whose result is added to the base pose. Pure.

To add a gesture, add a function here and a line in ``MOVES``. A gesture may begin and end at any pose, because the composer
blends it in and out.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from reachy_robot.motion.pose import Pose, antennas

Curve = Callable[[float], Pose]
"""Returns the difference to the base pose, this many seconds after the beginning."""


@dataclass(frozen=True, slots=True)
class Move:
    """A gesture or a dance."""

    curve: Curve
    seconds: float
    dances: bool = False
    """Whether the move is a dance: a dance lasts as long as asked for, and an interruption does not cut it."""


def sine(t: float, hz: float, phase: float = 0.0) -> float:
    """A sine between -1 and 1; ``phase`` is in periods."""
    return math.sin(2 * math.pi * (hz * t + phase))


def bump(t: float, begin: float, end: float) -> float:
    """From 0 to 1 and back, smoothly, between two moments."""
    return math.sin(math.pi * (t - begin) / (end - begin)) ** 2 if begin < t < end else 0.0


def hold(t: float, rise: float, until: float, fall: float) -> float:
    """From 0 to 1, then 1 until a moment, then back to 0."""
    if t < rise:
        return math.sin(math.pi / 2 * t / rise) ** 2
    if t < until:
        return 1.0
    return math.cos(math.pi / 2 * min(1.0, (t - until) / fall)) ** 2


def nod(t: float) -> Pose:
    """Yes, twice."""
    return Pose(pitch_deg=7.2 * (1 - math.cos(2 * math.pi * 1.1 * t)))


def shake(t: float) -> Pose:
    """No."""
    return Pose(yaw_deg=9 * sine(t, 0.9))


def tilt(t: float) -> Pose:
    """The head to one side, as if wondering."""
    return Pose(roll_deg=16 * hold(t, 0.5, 1.2, 0.6)).plus(antennas(14), hold(t, 0.5, 1.2, 0.6))


def perk(t: float) -> Pose:
    """Attention: head up, antennas upright."""
    up = hold(t, 0.35, 1.0, 0.5)
    return Pose(z_mm=5 * up, pitch_deg=-9 * up).plus(antennas(-8), up)


def droop(t: float) -> Pose:
    """Sadness."""
    down = hold(t, 0.9, 1.9, 0.8)
    return Pose(z_mm=-12 * down, pitch_deg=17 * down).plus(antennas(80), down)


def bow(t: float) -> Pose:
    """A bow, as a thank-you."""
    down = hold(t, 0.7, 1.1, 0.7)
    return Pose(x_mm=6 * down, z_mm=-10 * down, pitch_deg=22 * down)


def shrug(t: float) -> Pose:
    """A shrug: not knowing."""
    up = bump(t, 0.0, 1.2)
    return Pose(z_mm=5 * up, roll_deg=8 * up, pitch_deg=-4 * up).plus(antennas(45), up)


def wiggle(t: float) -> Pose:
    """The antennas, to and fro."""
    side = 32 * sine(t, 1.4)
    return Pose(left_deg=side, right_deg=side)


def startle(t: float) -> Pose:
    """A fright."""
    back = hold(t, 0.18, 0.5, 0.6)
    return Pose(x_mm=-8 * back, z_mm=4 * back, pitch_deg=-12 * back).plus(antennas(55), back)


def think(t: float) -> Pose:
    """The head up and aside, as if searching for a word."""
    up = hold(t, 0.6, 1.8, 0.6)
    return Pose(roll_deg=6 * up, pitch_deg=-10 * up, yaw_deg=16 * up, right_deg=-25 * up)


def greet(t: float) -> Pose:
    """Hello."""
    nodding = 11 * bump(t, 0.2, 0.9)
    return Pose(
        z_mm=4 * bump(t, 0, 1.6),
        pitch_deg=nodding,
        roll_deg=7 * bump(t, 0.8, 1.6),
        left_deg=35 * sine(t, 1.6) * bump(t, 0.5, 1.9),
    )


def look_away(t: float) -> Pose:
    """The head aside and down, as if shy."""
    away = hold(t, 0.6, 1.6, 0.7)
    return Pose(yaw_deg=-24 * away, pitch_deg=9 * away, roll_deg=-5 * away)


def celebrate(t: float) -> Pose:
    """Joy."""
    return Pose(z_mm=4 * abs(sine(t, 1.0)), roll_deg=10 * sine(t, 1.0), pitch_deg=-6).plus(antennas(40 * abs(sine(t, 1.5))))


def calm(t: float) -> Pose:
    """A deep breath."""
    breath = bump(t, 0.0, 3.0)
    return Pose(z_mm=4 * breath, pitch_deg=-5 * breath).plus(antennas(12), breath)


def sway(t: float) -> Pose:
    """A dance: from side to side."""
    return Pose(y_mm=8 * sine(t, 0.5), roll_deg=11 * sine(t, 0.5), yaw_deg=6 * sine(t, 0.25)).plus(antennas(18 * sine(t, 0.5)))


def bounce(t: float) -> Pose:
    """A dance: up and down, on the beat."""
    down = (1 - math.cos(2 * math.pi * 0.9 * t)) / 2
    return Pose(z_mm=-9 * down, pitch_deg=8 * down, roll_deg=5 * sine(t, 0.45)).plus(antennas(25), down)


def twist(t: float) -> Pose:
    """A dance: the body one way, the head the other."""
    return Pose(yaw_deg=8 * sine(t, 0.4), body_deg=-14 * sine(t, 0.4), roll_deg=6 * sine(t, 0.8)).plus(
        antennas(20 * sine(t, 0.8))
    )


def circles(t: float) -> Pose:
    """A dance: the head goes round."""
    return Pose(x_mm=7 * sine(t, 0.4), y_mm=7 * sine(t, 0.4, 0.25), roll_deg=9 * sine(t, 0.4, 0.25), pitch_deg=9 * sine(t, 0.4))


MOVES: Final[Mapping[str, Move]] = {
    "nod": Move(nod, 1.8),
    "shake": Move(shake, 2.2),
    "tilt": Move(tilt, 1.8),
    "perk": Move(perk, 1.5),
    "droop": Move(droop, 2.7),
    "bow": Move(bow, 1.8),
    "shrug": Move(shrug, 1.2),
    "wiggle": Move(wiggle, 1.6),
    "startle": Move(startle, 1.1),
    "think": Move(think, 2.4),
    "greet": Move(greet, 1.9),
    "look_away": Move(look_away, 2.3),
    "celebrate": Move(celebrate, 2.4),
    "calm": Move(calm, 3.0),
    "sway": Move(sway, 6.0, dances=True),
    "bounce": Move(bounce, 6.0, dances=True),
    "twist": Move(twist, 6.0, dances=True),
    "circles": Move(circles, 6.0, dances=True),
}
"""Moves by the names that the gateway gets."""
GESTURES: Final = tuple(name for name, move in MOVES.items() if not move.dances)
"""The names of the gestures."""
DANCES: Final = tuple(name for name, move in MOVES.items() if move.dances)
"""The names of the dances."""
