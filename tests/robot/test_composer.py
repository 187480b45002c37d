"""The body's poses, whatever happens: within the limits, without a jump, and back to rest."""

import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reachy_robot.motion.composer import POSTURES, Composer, Situation
from reachy_robot.motion.limits import (
    HEAD_DEG_S,
    HEAD_DEG_S2,
    STEP_S,
    TICK_MAX_DEG,
    Follower,
    boxed,
    is_in_box,
)
from reachy_robot.motion.moves import DANCES, GESTURES, MOVES, Move
from reachy_robot.motion.pose import ASLEEP, NEUTRAL, Pose, antennas

TICK_S = 0.02
LISTENS = Situation("listening", breathes=False)


def turned(pose: Pose) -> np.ndarray:
    """The head's rotation: yaw, then pitch, then roll."""
    roll, pitch, yaw = np.radians([pose.roll_deg, pose.pitch_deg, pose.yaw_deg])
    about_x = np.array([[1, 0, 0], [0, math.cos(roll), -math.sin(roll)], [0, math.sin(roll), math.cos(roll)]])
    about_y = np.array([[math.cos(pitch), 0, math.sin(pitch)], [0, 1, 0], [-math.sin(pitch), 0, math.cos(pitch)]])
    about_z = np.array([[math.cos(yaw), -math.sin(yaw), 0], [math.sin(yaw), math.cos(yaw), 0], [0, 0, 1]])
    return about_z @ about_y @ about_x


def turn(one: Pose, other: Pose) -> np.ndarray:
    """The rotation from one to the other as a vector, in degrees."""
    between = turned(other) @ turned(one).T
    angle = math.acos(min(1.0, max(-1.0, (np.trace(between) - 1) / 2)))
    axis = np.array([between[2, 1] - between[1, 2], between[0, 2] - between[2, 0], between[1, 0] - between[0, 1]])
    return np.degrees(angle) * axis / max(np.linalg.norm(axis), 1e-12)


class Watched:
    """A body whose every step is checked."""

    def __init__(self, present: Pose = NEUTRAL) -> None:
        self.now = 100.0
        self.composer = Composer(present, self.now)
        self.pose = present if present.is_finite else NEUTRAL
        self.turned = np.zeros(3)
        self.was_awake = False
        self.fastest = self.sharpest = 0.0

    def step(self, situation: Situation = LISTENS, dt: float = TICK_S) -> Pose:
        self.now += dt
        pose = self.composer.pose(self.now, situation)
        assert pose.is_finite
        step = turn(self.pose, pose)
        length = float(np.linalg.norm(step))
        assert length <= TICK_MAX_DEG
        assert abs(pose.body_deg - self.pose.body_deg) <= TICK_MAX_DEG
        assert math.dist(pose[:3], self.pose[:3]) <= 60 * 0.028 + 1e-6
        assert max(abs(pose.left_deg - self.pose.left_deg), abs(pose.right_deg - self.pose.right_deg)) <= 300 * 0.028 + 1e-6
        if dt == TICK_S:
            self.fastest = max(self.fastest, length / TICK_S)
            self.sharpest = max(self.sharpest, float(np.linalg.norm(step - self.turned)) / TICK_S**2)
            assert length <= HEAD_DEG_S * TICK_S
            assert np.linalg.norm(step - self.turned) <= HEAD_DEG_S2 * TICK_S**2
            self.turned = step
        else:
            self.turned = step * TICK_S / min(dt, STEP_S) if dt > 0 else self.turned
        self.was_awake = self.was_awake or self.composer.awake
        if self.composer.awake:
            assert is_in_box(pose, 1e-6), pose
        self.pose = pose
        return pose

    def run(self, seconds: float, situation: Situation = LISTENS) -> Pose:
        for _ in range(round(seconds / TICK_S)):
            self.step(situation)
        return self.pose


NUMBERS = st.floats(allow_nan=True, allow_infinity=True) | st.floats(-400, 400)
POSES = st.tuples(*[NUMBERS] * 9).map(lambda numbers: Pose(*numbers))
SITUATIONS = st.builds(
    Situation,
    mood=st.sampled_from(sorted(POSTURES)),
    person_speaks=st.booleans(),
    level=st.none() | NUMBERS,
    breathes=st.booleans(),
    wobbles=st.booleans(),
    recorded=st.booleans(),
)
DOINGS = st.one_of(
    st.tuples(st.just("move"), st.sampled_from(sorted(MOVES))),
    st.tuples(st.just("odd move"), POSES),
    st.tuples(st.just("look"), st.tuples(NUMBERS, st.floats(-90, 90))),
    st.tuples(st.just("cut"), st.none()),
    st.tuples(st.just("rest"), st.none()),
    st.tuples(st.just("wake"), st.none()),
    st.tuples(st.just("jump"), st.sampled_from([0.0, -5.0, 0.01, 0.05, 0.1, 3.0, 5000.0])),
)


@settings(max_examples=40, deadline=None)
@given(
    present=st.sampled_from(
        [NEUTRAL, ASLEEP, Pose(), Pose(yaw_deg=50, pitch_deg=20), Pose(float("nan")), ASLEEP.plus(Pose(z_mm=6))]
    ),
    doings=st.lists(st.tuples(DOINGS, SITUATIONS, st.integers(1, 60)), max_size=10),
)
def test_whatever_comes_the_pose_stays_within_the_limits(present, doings):
    body = Watched(present)
    for n, ((what, how), situation, ticks) in enumerate(doings):
        composer = body.composer
        match what:
            case "move":
                composer.start(n, MOVES[how], body.now)
            case "odd move":
                composer.start(n, Move(lambda t, at=how: at if t % 0.4 < 0.2 else Pose(), 1.5), body.now)
            case "look":
                composer.look(*how, body.now)
            case "cut":
                composer.cut(body.now)
            case "rest":
                composer.rest(body.now)
            case "wake":
                composer.rests = False
            case "jump":
                body.step(situation, how)
        for _ in range(ticks):
            body.step(situation)
    body.composer.cut(body.now)
    body.composer.rests = False
    went_back_s = sum(-how for (what, how), _, _ in doings if what == "jump" and how < 0)  # what it began lasts as much longer
    body.run(18.0 + went_back_s)  # a look of 8 s as far aside as possible, from the pose at the start
    assert body.composer.awake
    rest = boxed(NEUTRAL.plus(POSTURES["listening"]))
    assert max(abs(a - b) for a, b in zip(body.pose, rest, strict=True)) < 4.0, "at rest again"


@pytest.mark.parametrize("name", sorted(MOVES))
def test_a_move_begins_and_ends_at_rest_and_is_seen(name):
    body = Watched()
    before = body.run(8.0)
    body.composer.start(1, MOVES[name], body.now)
    far = 0.0
    for _ in range(round(MOVES[name].seconds / TICK_S)):
        pose = body.step()
        far = max(far, *(abs(a - b) for a, b in zip(pose, before, strict=True)))
    assert far > 5.0
    body.run(3.0)
    assert body.composer.ended == [(1, "done")]
    assert max(abs(a - b) for a, b in zip(body.pose, before, strict=True)) < 4.0


def test_there_are_a_dozen_gestures_and_four_dances():
    assert len(GESTURES) >= 12
    assert len(DANCES) >= 4


def test_a_move_that_is_cut_ends_smoothly_within_its_blend():
    body = Watched()
    body.run(3.0)
    body.composer.start(1, MOVES["bow"], body.now)
    body.run(0.9)
    body.composer.cut(body.now)
    body.run(0.4)
    assert body.composer.ended == [(1, "cancelled")]
    body.run(1.0)
    assert abs(body.pose.pitch_deg - POSTURES["listening"].pitch_deg) < 2.0


def test_a_new_move_takes_the_place_of_the_one_that_goes_on():
    body = Watched()
    body.composer.start(1, MOVES["sway"], body.now)
    body.run(2.0)
    body.composer.start(2, MOVES["nod"], body.now)
    body.run(0.5)
    assert body.composer.ended == [(1, "cancelled")]


def test_it_lies_down_and_gets_up_along_one_way_and_may_turn_round_on_it():
    body = Watched()
    body.run(1.0)
    body.composer.start(1, MOVES["circles"], body.now)
    body.run(1.0)
    body.composer.rest(body.now)
    body.run(6.0)
    assert not body.composer.awake
    assert max(abs(a - b) for a, b in zip(body.pose, ASLEEP, strict=True)) < 0.5
    body.composer.rests = False
    body.run(1.0)
    body.composer.rest(body.now)
    body.run(5.0)
    body.composer.start(2, MOVES["nod"], body.now)
    body.run(6.0)
    assert body.composer.awake
    assert (2, "done") in body.composer.ended


def test_speech_moves_the_head_a_little_and_stops_at_once():
    body = Watched()
    body.run(5.0)
    quiet = body.pose
    yaws = [body.step(Situation("speaking", level=1.0)).yaw_deg for _ in range(100)]
    assert 2.0 < max(yaws) - min(yaws) < 9.0
    assert max(abs(b - a) / TICK_S for a, b in pairwise(yaws)) < 40
    body.run(0.16, Situation("speaking", level=None))
    assert abs(body.pose.yaw_deg - quiet.yaw_deg) < 1.0, "150 ms after a flush"


def test_antennas_are_still_while_the_person_speaks():
    body = Watched()
    body.run(2.0, Situation("thinking"))
    body.step(Situation("listening", person_speaks=True))
    before = body.run(0.5, Situation("listening", person_speaks=True))
    after = body.run(3.0, Situation("listening", person_speaks=True))
    assert (before.left_deg, before.right_deg) == pytest.approx((after.left_deg, after.right_deg), abs=0.2)


def test_antennas_are_still_while_the_person_speaks_into_a_gesture_and_go_on_with_it_afterwards():
    body = Watched()
    body.run(2.0)
    body.composer.start(1, MOVES["wiggle"], body.now, 6.0)
    body.run(0.5)
    before = body.run(0.3, Situation("listening", person_speaks=True))
    after = body.run(0.6, Situation("listening", person_speaks=True))
    assert (before.left_deg, before.right_deg) == pytest.approx((after.left_deg, after.right_deg), abs=0.2)
    swung = [body.step(Situation("listening")).left_deg for _ in range(60)]
    assert max(swung) - min(swung) > 20


def test_a_robot_that_breathes_moves_and_one_that_does_not_is_still():
    body = Watched()
    body.run(3.0)
    heights = [body.step(Situation("listening")).z_mm for _ in range(600)]
    assert max(heights) - min(heights) > 3.0
    body.run(4.0, Situation("listening", breathes=False))
    heights = [body.step(Situation("listening", breathes=False)).z_mm for _ in range(200)]
    assert max(heights) - min(heights) < 0.2


def test_the_state_shows_in_the_posture():
    seen = {}
    for mood in POSTURES:
        body = Watched()
        seen[mood] = body.run(6.0, Situation(mood, breathes=False))
    assert seen["refused"].pitch_deg > seen["waiting"].pitch_deg > seen["listening"].pitch_deg
    assert seen["thinking"].yaw_deg > 8
    assert seen["alone"].left_deg > seen["speaking"].left_deg + 20


@given(POSES)
def test_a_boxed_pose_is_in_the_box(pose):
    assert is_in_box(boxed(pose))


def test_what_follows_reaches_its_target_and_stays():
    follower = Follower(NEUTRAL)
    target = boxed(Pose(x_mm=9, y_mm=-9, z_mm=-20, roll_deg=12, pitch_deg=-15, yaw_deg=80, body_deg=50).plus(antennas(90)))
    for _ in range(250):
        pose = follower.step(target, TICK_S)
    assert max(abs(a - b) for a, b in zip(pose, target, strict=True)) < 0.05
