"""The pose of a robot's body at a moment: a posture, one move at a time, and on top breathing and speech movement. Pure.

::

    asleep ◄── a straight way ──► neutral ── posture ── look ── one move ── breath, speech ──► the box ──► the speeds ──► pose

For any input, the resulting pose is finite, differs from the last one by no more than the speeds allow, and is in the box while
the robot is awake (``limits``).
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

from reachy_link.messages import Phase
from reachy_robot.motion.limits import SLOW, Follower, boxed, is_in_box
from reachy_robot.motion.moves import Move, sine
from reachy_robot.motion.pose import ASLEEP, NEUTRAL, STILL, Pose, antennas, smooth

BLEND_S: Final = 0.3
"""How long a move is blended in and out, also when it is cut."""
POSTURE_S: Final = 0.5
"""A posture takes about this long."""
LOOK_S: Final = 8.0
"""How long a look is held, unless the caller says otherwise."""
FADING_MAX: Final = 4
"""Moves that may fade out at a time. Beyond this the oldest ends at once, and the speed limits smooth the step."""
REST_SHARE_S: Final = 0.7
REST_SHARE_S2: Final = 1.5
"""Speed and acceleration between neutral and asleep, as shares of the way: the whole way takes 2 s."""
NEAR: Final = 3.0
"""The way to sleep begins this near to neutral, in degrees and mm."""
BREATH_HZ: Final = 0.1
STILL_S: Final = 0.3
"""The antennas move again this long after the person has spoken."""
ATTACK_S, RELEASE_S = 0.05, 0.1
"""About how long the speech movement takes to follow louder and softer speech."""

Mood = Literal["alone", "listening", "thinking", "speaking", "waiting", "refused"]
"""The state that the robot shows: ``alone`` without a gateway, ``waiting`` for the voice's service."""
MOOD_OF: Final[Mapping[Phase, Mood]] = {
    "listening": "listening",
    "thinking": "thinking",
    "speaking": "speaking",
    "reconnecting": "waiting",
    "refused": "refused",
}
POSTURES: Final[Mapping[Mood, Pose]] = {
    "alone": Pose(z_mm=-8, pitch_deg=12).plus(antennas(50)),
    "listening": Pose(z_mm=2, pitch_deg=-4),
    "thinking": Pose(pitch_deg=-7, yaw_deg=12, roll_deg=4).plus(antennas(6)),
    "speaking": STILL,
    "waiting": Pose(z_mm=-4, pitch_deg=6).plus(antennas(30)),
    "refused": Pose(z_mm=-12, pitch_deg=16).plus(antennas(90)),
}
"""The posture of each mood."""
RECORDED: Final = Pose(left_deg=60)
"""One antenna hangs aside, as in no posture."""


@dataclass(frozen=True, slots=True)
class Situation:
    """The inputs of a pose, beside time and moves."""

    mood: Mood = "alone"
    person_speaks: bool = False
    level: float | None = None
    """The loudness of the robot's speech now, 0 to 1; None ends the speech movement at once, because the robot is silent."""
    breathes: bool = True
    postures: bool = True
    """Whether the posture shows the mood."""
    wobbles: bool = True
    """Whether the head moves with the robot's speech."""
    recorded: bool = False
    """Whether the conversation is recorded. The robot shows this whatever the other switches are."""


@dataclass(slots=True)
class _Playing:
    key: int
    move: Move
    began: float
    ends: float
    cut_at: float | None = None

    def weight(self, now: float) -> float:
        """The move's share in the pose."""
        until = self.ends if self.cut_at is None else min(self.ends, self.cut_at + BLEND_S)
        return smooth((now - self.began) / BLEND_S) * smooth((until - now) / BLEND_S)

    def is_over(self, now: float) -> bool:
        """Whether the move has ended."""
        return now >= (self.ends if self.cut_at is None else min(self.ends, self.cut_at + BLEND_S))


class Composer:
    """Computes the poses of one body, beginning at the pose in which the body was found."""

    def __init__(self, present: Pose, now: float) -> None:
        present = present if present.is_finite else NEUTRAL
        self._follower = Follower(present)
        self._then = now
        self._found = True
        """Whether the body is still on its way from the pose in which it was found."""
        self._asleep = min(1.0, max(0.0, present.z_mm / ASLEEP.z_mm)) if not is_in_box(present, 2.0) else 0.0
        """The share of the way from neutral to asleep."""
        self._asleep_speed = 0.0
        self.rests = False
        """Whether the robot should sleep."""
        self._playing: list[_Playing] = []
        self._posture = self._look = STILL
        self._look_until = float("-inf")
        self._level = 0.0
        self._breath = 0.0
        self._frozen: Pose | None = None
        self._spoke_at = float("-inf")
        self.ended: list[tuple[int, Literal["done", "cancelled"]]] = []
        """Moves that have ended; the reader empties the list."""

    @property
    def awake(self) -> bool:
        """Whether the robot is awake, within the box."""
        return self._asleep == 0.0 and not self._found

    @property
    def moves(self) -> bool:
        """Whether a move is playing that was not cut."""
        return any(playing.cut_at is None for playing in self._playing)

    def start(self, key: int, move: Move, now: float, seconds: float | None = None) -> None:
        """Begin a move, which cuts the current one and wakes the robot."""
        self.rests = False
        self.cut(now)
        if len(self._playing) >= FADING_MAX:
            self.ended.append((self._playing.pop(0).key, "cancelled"))
        self._playing.append(_Playing(key, move, now, now + (move.seconds if seconds is None else seconds)))

    @property
    def yaw_deg(self) -> float:
        """The head's yaw in the world, as of the last pose."""
        return self._follower.pose.yaw_deg

    def look(self, yaw_deg: float, pitch_deg: float, now: float, seconds: float = LOOK_S) -> None:
        """Look there for a while. The body turns, too, if the head alone cannot reach the direction."""
        self.rests = False
        yaw = yaw_deg if math.isfinite(yaw_deg) else 0.0
        body = yaw - max(-25.0, min(25.0, yaw))
        self._look = Pose(yaw_deg=yaw, pitch_deg=pitch_deg, body_deg=body)
        self._look_until = now + seconds

    def cut(self, now: float, key: int | None = None) -> None:
        """End one move, or all moves."""
        for playing in self._playing:
            if playing.cut_at is None and key in (None, playing.key):
                playing.cut_at = now

    def rest(self, now: float) -> None:
        """Lie down to sleep."""
        self.cut(now)
        self._look_until = now
        self.rests = True

    def pose(self, now: float, situation: Situation) -> Pose:
        """The pose for now."""
        dt = max(0.0, now - self._then) if math.isfinite(now - self._then) else 0.0
        self._then = now
        self._end_moves(now)
        lively = self._asleep == 0.0 and not self.rests
        wanted = self._awake(now, dt, situation) if lively else NEUTRAL
        self._fall_or_rise(dt)
        target = NEUTRAL.toward(ASLEEP, self._asleep) if self._asleep else boxed(wanted)
        pose = self._follower.step(target, dt, SLOW if self._found else 1.0)
        self._found = self._found and _distance(pose, target) > NEAR
        return pose

    def _end_moves(self, now: float) -> None:
        for playing in self._playing:
            if playing.is_over(now):
                self.ended.append((playing.key, "done" if playing.cut_at is None else "cancelled"))
        self._playing = [playing for playing in self._playing if not playing.is_over(now)]

    def _fall_or_rise(self, dt: float) -> None:
        """Move on between neutral and asleep; the way begins at neutral."""
        if self.rests and self._asleep == 0.0 and _distance(self._follower.pose, NEUTRAL) > NEAR:
            return
        gap = (1.0 if self.rests else 0.0) - self._asleep
        dt = min(dt, 0.04)
        if not (gap and dt):
            self._asleep_speed = self._asleep_speed if gap else 0.0
            return
        brake = math.sqrt(2 * REST_SHARE_S2 * abs(gap))
        wanted = math.copysign(min(REST_SHARE_S, brake, abs(gap) / dt), gap)
        change = REST_SHARE_S2 * dt
        self._asleep_speed += min(change, max(-change, wanted - self._asleep_speed))
        self._asleep = min(1.0, max(0.0, self._asleep + self._asleep_speed * dt))
        if abs(gap) < 0.002:  # noqa: PLR2004 - the end is reached
            self._asleep, self._asleep_speed = (1.0 if self.rests else 0.0), 0.0

    def _awake(self, now: float, dt: float, situation: Situation) -> Pose:
        """The wanted pose of an awake robot, before the limits."""
        posture = POSTURES[situation.mood] if situation.postures else STILL
        posture = posture.plus(RECORDED) if situation.recorded else posture
        self._posture = self._posture.toward(posture, 1 - math.exp(-dt / POSTURE_S))
        pose = NEUTRAL.plus(self._posture).plus(self._look, smooth((self._look_until - now) / 1.0))
        for playing in self._playing:
            offset = playing.move.curve(now - playing.began)
            if offset.is_finite:
                pose = pose.plus(offset, playing.weight(now))
        pose = pose.plus(self._breathing(now, dt, situation)).plus(self._speech(now, dt, situation))
        return self._hush_antennas(pose, now, situation)

    def _breathing(self, now: float, dt: float, situation: Situation) -> Pose:
        """Breathing: slow; weaker while the person speaks; none during a move."""
        wanted = 0.0 if self.moves or not situation.breathes else 0.5 if situation.person_speaks else 1.0
        self._breath += (wanted - self._breath) * (1 - math.exp(-dt / POSTURE_S))
        breath = sine(now, BREATH_HZ) * self._breath
        return Pose(z_mm=2.5 * breath, pitch_deg=-1.0 * breath)

    def _speech(self, now: float, dt: float, situation: Situation) -> Pose:
        """Small, smooth movement with the audio at the speaker."""
        wanted = situation.level if situation.wobbles and situation.level is not None else 0.0
        wanted = min(1.0, max(0.0, wanted)) if math.isfinite(wanted) else 0.0
        if situation.level is None:
            self._level = 0.0
        else:
            self._level += (wanted - self._level) * (1 - math.exp(-dt / (ATTACK_S if wanted > self._level else RELEASE_S)))
        level = self._level
        return Pose(
            pitch_deg=3 * level * sine(now, 1.1), yaw_deg=4 * level * sine(now, 0.6), roll_deg=2 * level * sine(now, 0.8)
        )

    def _hush_antennas(self, pose: Pose, now: float, situation: Situation) -> Pose:
        """Keep the antennas still while the person speaks, also in a move: the microphone hears their motors."""
        if situation.person_speaks:
            self._spoke_at = now
        if now - self._spoke_at > STILL_S:
            self._frozen = None
            return pose
        self._frozen = self._frozen or self._follower.pose
        return pose._replace(left_deg=self._frozen.left_deg, right_deg=self._frozen.right_deg)


def _distance(one: Pose, other: Pose) -> float:
    """The largest difference, in degrees or mm."""
    return max(abs(a - b) for a, b in zip(one, other, strict=True))
