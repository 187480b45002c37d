"""Gestures and dances: each a function of time that gives what is on top of the base pose. Pure.

A gesture of one's own is one more function here, with a line in ``MOVES``. It begins and ends anywhere, as the composer blends
it in and out.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from reachy_robot.motion.pose import Pose, antennas

Curve = Callable[[float], Pose]
"""The difference to the base pose, so many seconds after the beginning."""


@dataclass(frozen=True, slots=True)
class Move:
    """Something that a robot can do."""

    curve: Curve
    seconds: float
    dances: bool = False
    """A dance goes on for as long as it is asked for, and is not cut by an interruption."""


def wave(t: float, hz: float, phase: float = 0.0) -> float:
    """A sine."""
    return math.sin(2 * math.pi * (hz * t + phase))


def bump(t: float, begin: float, end: float) -> float:
    """From 0 to 1 and back, smoothly, between two moments."""
    return math.sin(math.pi * (t - begin) / (end - begin)) ** 2 if begin < t < end else 0.0


def hold(t: float, rise: float, until: float, fall: float) -> float:
    """From 0 to 1, there until a moment, and back."""
    if t < rise:
        return math.sin(math.pi / 2 * t / rise) ** 2
    if t < until:
        return 1.0
    return math.cos(math.pi / 2 * min(1.0, (t - until) / fall)) ** 2


def nod(t: float) -> Pose:
    """Yes, twice."""
    return Pose(pitch_deg=9 * (1 - math.cos(2 * math.pi * 1.1 * t)) / 2 * 1.6)


def shake(t: float) -> Pose:
    """No."""
    return Pose(yaw_deg=9 * wave(t, 0.9))


def tilt(t: float) -> Pose:
    """The head to one side, as one who wonders."""
    return Pose(roll_deg=16 * hold(t, 0.5, 1.2, 0.6)).plus(antennas(14), hold(t, 0.5, 1.2, 0.6))


def perk(t: float) -> Pose:
    """Attention: up, antennas upright."""
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
    """Nobody knows."""
    up = bump(t, 0.0, 1.2)
    return Pose(z_mm=5 * up, roll_deg=8 * up, pitch_deg=-4 * up).plus(antennas(45), up)


def wiggle(t: float) -> Pose:
    """The antennas, to and fro."""
    side = 32 * wave(t, 1.4)
    return Pose(left_deg=side, right_deg=side)


def startle(t: float) -> Pose:
    """A start."""
    back = hold(t, 0.18, 0.5, 0.6)
    return Pose(x_mm=-8 * back, z_mm=4 * back, pitch_deg=-12 * back).plus(antennas(55), back)


def think(t: float) -> Pose:
    """Up and aside, as one who searches for a word."""
    up = hold(t, 0.6, 1.8, 0.6)
    return Pose(roll_deg=6 * up, pitch_deg=-10 * up, yaw_deg=16 * up, right_deg=-25 * up)


def greet(t: float) -> Pose:
    """Hello."""
    nodding = 11 * bump(t, 0.2, 0.9)
    return Pose(
        z_mm=4 * bump(t, 0, 1.6),
        pitch_deg=nodding,
        roll_deg=7 * bump(t, 0.8, 1.6),
        left_deg=35 * wave(t, 1.6) * bump(t, 0.5, 1.9),
    )


def look_away(t: float) -> Pose:
    """Aside and down, as one who is shy."""
    away = hold(t, 0.6, 1.6, 0.7)
    return Pose(yaw_deg=-24 * away, pitch_deg=9 * away, roll_deg=-5 * away)


def celebrate(t: float) -> Pose:
    """Joy."""
    return Pose(z_mm=4 * abs(wave(t, 1.0)), roll_deg=10 * wave(t, 1.0), pitch_deg=-6).plus(antennas(40 * abs(wave(t, 1.5))))


def calm(t: float) -> Pose:
    """A deep breath."""
    breath = bump(t, 0.0, 3.0)
    return Pose(z_mm=4 * breath, pitch_deg=-5 * breath).plus(antennas(12), breath)


def sway(t: float) -> Pose:
    """A dance: from side to side."""
    return Pose(y_mm=8 * wave(t, 0.5), roll_deg=11 * wave(t, 0.5), yaw_deg=6 * wave(t, 0.25)).plus(antennas(18 * wave(t, 0.5)))


def bounce(t: float) -> Pose:
    """A dance: up and down, on the beat."""
    down = (1 - math.cos(2 * math.pi * 0.9 * t)) / 2
    return Pose(z_mm=-9 * down, pitch_deg=8 * down, roll_deg=5 * wave(t, 0.45)).plus(antennas(25), down)


def twist(t: float) -> Pose:
    """A dance: the body one way, the head the other."""
    return Pose(yaw_deg=8 * wave(t, 0.4), body_deg=-14 * wave(t, 0.4), roll_deg=6 * wave(t, 0.8)).plus(
        antennas(20 * wave(t, 0.8))
    )


def circles(t: float) -> Pose:
    """A dance: the head goes round."""
    return Pose(x_mm=7 * wave(t, 0.4), y_mm=7 * wave(t, 0.4, 0.25), roll_deg=9 * wave(t, 0.4, 0.25), pitch_deg=9 * wave(t, 0.4))


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
"""By the names that the gateway is told."""
GESTURES: Final = tuple(name for name, move in MOVES.items() if not move.dances)
DANCES: Final = tuple(name for name, move in MOVES.items() if move.dances)
