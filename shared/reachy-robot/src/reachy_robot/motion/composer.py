"""What a robot's body does at a moment: a posture, one move at a time, and on top breath and the movement of speech. Pure.

::

    asleep ◄── a straight way ──► neutral ── posture ── look ── one move ── breath, speech ──► the box ──► the speeds ──► pose

Whatever comes in, the pose that comes out is finite, differs from the last one by what the speeds allow, and is in the box
while the robot is awake (``limits``).
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

from reachy_link.messages import Phase
from reachy_robot.motion.limits import SLOW, Follower, boxed, is_in_box
from reachy_robot.motion.moves import Move, wave
from reachy_robot.motion.pose import ASLEEP, NEUTRAL, STILL, Pose, antennas, smooth

BLEND_S: Final = 0.3
"""A move is blended in, and out, also when it is cut."""
POSTURE_S: Final = 0.5
"""A posture is taken in about so long."""
LOOK_S: Final = 8.0
"""A look is held for so long, unless it is said otherwise."""
FADING_MAX: Final = 4
"""Moves that fade out at a time; of more the oldest ends at once, and the speeds smooth it."""
REST_SHARE_S: Final = 0.7
REST_SHARE_S2: Final = 1.5
"""Of the way between neutral and asleep: 2 s for the whole."""
NEAR: Final = 3.0
"""So near to neutral, in degrees and mm, the way to sleep begins."""
BREATH_HZ: Final = 0.1
STILL_S: Final = 0.3
"""The antennas move again so long after the person has spoken."""
ATTACK_S, RELEASE_S = 0.05, 0.1
"""In about so long the movement of speech follows its loudness up, and down."""

Mood = Literal["alone", "listening", "thinking", "speaking", "waiting", "refused"]
"""How things stand: ``alone`` without a gateway, ``waiting`` for the voice's service."""
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
"""What the robot shows without a word."""
RECORDED: Final = Pose(left_deg=60)
"""One antenna hangs aside, as no posture has it."""


@dataclass(frozen=True, slots=True)
class Situation:
    """What a pose depends on beside time and moves."""

    mood: Mood = "alone"
    person_speaks: bool = False
    level: float | None = None
    """How loud the robot is at this moment, 0 to 1; None if it is silent, at once."""
    breathes: bool = True
    postures: bool = True
    """Whether its posture shows the mood."""
    wobbles: bool = True
    """Whether the head moves with its speech."""
    recorded: bool = False
    """Whether the conversation is recorded, which the robot shows whatever else it does by itself."""


@dataclass(slots=True)
class _Playing:
    key: int
    move: Move
    began: float
    ends: float
    cut_at: float | None = None

    def weight(self, now: float) -> float:
        """How much of it there is."""
        until = self.ends if self.cut_at is None else min(self.ends, self.cut_at + BLEND_S)
        return smooth((now - self.began) / BLEND_S) * smooth((until - now) / BLEND_S)

    def is_over(self, now: float) -> bool:
        """Whether nothing is left of it."""
        return now >= (self.ends if self.cut_at is None else min(self.ends, self.cut_at + BLEND_S))


class Composer:
    """One body, from the pose in which it was found."""

    def __init__(self, present: Pose, now: float) -> None:
        present = present if present.is_finite else NEUTRAL
        self._follower = Follower(present)
        self._then = now
        self._found = True
        """Whether it still moves away from where it was found."""
        self._asleep = min(1.0, max(0.0, present.z_mm / ASLEEP.z_mm)) if not is_in_box(present, 2.0) else 0.0
        """The share of the way from neutral to asleep."""
        self._asleep_speed = 0.0
        self.rests = False
        """Whether it is to sleep."""
        self._playing: list[_Playing] = []
        self._posture = self._look = STILL
        self._look_until = float("-inf")
        self._level = 0.0
        self._breath = 0.0
        self._frozen: Pose | None = None
        self._spoke_at = float("-inf")
        self.ended: list[tuple[int, Literal["done", "cancelled"]]] = []
        """Moves that have ended; whoever reads it empties it."""

    @property
    def awake(self) -> bool:
        """Whether it stands, within the box."""
        return self._asleep == 0.0 and not self._found

    @property
    def moves(self) -> bool:
        """Whether a move goes on that nobody has cut."""
        return any(playing.cut_at is None for playing in self._playing)

    def start(self, key: int, move: Move, now: float, seconds: float | None = None) -> None:
        """Begin a move; the one that goes on is cut. It wakes the robot."""
        self.rests = False
        self.cut(now)
        if len(self._playing) >= FADING_MAX:
            self.ended.append((self._playing.pop(0).key, "cancelled"))
        self._playing.append(_Playing(key, move, now, now + (move.seconds if seconds is None else seconds)))

    @property
    def yaw_deg(self) -> float:
        """Where the head looks, in the world: it was told so last."""
        return self._follower.pose.yaw_deg

    def look(self, yaw_deg: float, pitch_deg: float, now: float, seconds: float = LOOK_S) -> None:
        """Look there for a while; the body turns along where the head alone could not."""
        self.rests = False
        yaw = yaw_deg if math.isfinite(yaw_deg) else 0.0
        body = yaw - max(-25.0, min(25.0, yaw))
        self._look = Pose(yaw_deg=yaw, pitch_deg=pitch_deg, body_deg=body)
        self._look_until = now + seconds

    def cut(self, now: float, key: int | None = None) -> None:
        """End a move, or whatever goes on."""
        for playing in self._playing:
            if playing.cut_at is None and key in (None, playing.key):
                playing.cut_at = now

    def rest(self, now: float) -> None:
        """Lie down to sleep."""
        self.cut(now)
        self._look_until = now
        self.rests = True

    def pose(self, now: float, situation: Situation) -> Pose:
        """Where the body is to be now."""
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
        """Go on with the way between neutral and asleep; it begins at neutral."""
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
        if abs(gap) < 0.002:  # noqa: PLR2004 - it is there
            self._asleep, self._asleep_speed = (1.0 if self.rests else 0.0), 0.0

    def _awake(self, now: float, dt: float, situation: Situation) -> Pose:
        """What it would like, whatever the limits are."""
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
        """Slow, and less of it while the person speaks; none under a move."""
        wanted = 0.0 if self.moves or not situation.breathes else 0.5 if situation.person_speaks else 1.0
        self._breath += (wanted - self._breath) * (1 - math.exp(-dt / POSTURE_S))
        breath = wave(now, BREATH_HZ) * self._breath
        return Pose(z_mm=2.5 * breath, pitch_deg=-1.0 * breath)

    def _speech(self, now: float, dt: float, situation: Situation) -> Pose:
        """Small, smooth movement with what the speaker plays."""
        wanted = situation.level if situation.wobbles and situation.level is not None else 0.0
        wanted = min(1.0, max(0.0, wanted)) if math.isfinite(wanted) else 0.0
        if situation.level is None:
            self._level = 0.0
        else:
            self._level += (wanted - self._level) * (1 - math.exp(-dt / (ATTACK_S if wanted > self._level else RELEASE_S)))
        level = self._level
        return Pose(
            pitch_deg=3 * level * wave(now, 1.1), yaw_deg=4 * level * wave(now, 0.6), roll_deg=2 * level * wave(now, 0.8)
        )

    def _hush_antennas(self, pose: Pose, now: float, situation: Situation) -> Pose:
        """Still while the person speaks: their motors are heard."""
        if situation.person_speaks:
            self._spoke_at = now
        if now - self._spoke_at > STILL_S or self.moves:
            self._frozen = None
            return pose
        self._frozen = self._frozen or self._follower.pose
        return pose._replace(left_deg=self._frozen.left_deg, right_deg=self._frozen.right_deg)


def _distance(one: Pose, other: Pose) -> float:
    """The largest difference, in degrees or mm."""
    return max(abs(a - b) for a, b in zip(one, other, strict=True))
