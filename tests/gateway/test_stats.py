import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reachy_gateway.stats import Buckets, RobotStats
from reachy_gateway.talk.latency import TurnTimes
from reachy_link.messages import BeatUp


def test_a_value_counts_into_its_bucket_and_all_above():
    buckets = Buckets((0.1, 0.5))
    for value in (0.05, 0.1, 0.3, 9.0):
        buckets.observe(value)
    assert buckets.cumulative() == [("0.1", 2), ("0.5", 3), ("+Inf", 4)]
    assert buckets.total == pytest.approx(9.45)


@given(st.lists(st.floats(0, 1e9)))
def test_every_value_is_counted_once(values):
    buckets = Buckets((0.001, 1, 1000))
    for value in values:
        buckets.observe(value)
    counts = dict(buckets.cumulative())
    assert counts["+Inf"] == len(values)
    assert counts["1"] == sum(value <= 1 for value in values)
    assert buckets.total == pytest.approx(math.fsum(values))


def beat(boot="aaaaaaaaaaaaaaaa", **told):
    return BeatUp(robot="reachy-1", boot=boot, seq=0, t_us=0, **told)


def test_what_a_robot_dropped_counts_from_its_first_beat_here():
    numbers = RobotStats()
    beats = [beat(window=7, overflow=2, losses=1), beat(window=7, overflow=2, losses=1), beat(window=9, overflow=5, losses=2)]
    for each in beats:
        numbers.beat(each)
    assert (numbers.robot_drops, numbers.link_losses) == ({"window": 2, "overflow": 3}, 1)


def test_a_new_start_of_the_robot_counts_its_losses_from_its_first_beat():
    numbers = RobotStats()
    for boot, told in (("a" * 16, (2, 3)), ("b" * 16, (5, 5, 6))):
        for losses in told:
            numbers.beat(beat(boot, losses=losses))
    assert numbers.link_losses == 2


def test_a_robot_that_tells_less_or_nothing_counts_nothing():
    numbers = RobotStats()
    for each in (beat(), beat(window=3), beat(window=1), beat()):
        numbers.beat(each)
    assert numbers.robot_drops == {"window": 3, "overflow": 0}


def test_a_turn_counts_with_what_is_known_of_it():
    numbers = RobotStats()
    numbers.turn(TurnTimes(1, True, 2000, 1, 5, 640.0, {"voice": 600.0}))  # noqa: FBT003 - as the robot tells it
    numbers.turn(TurnTimes(2, False, 100, 2, 10, None, {}, barge_in_ms=8.0))  # noqa: FBT003
    assert numbers.turns == {True: 1, False: 1}
    assert (numbers.underruns, numbers.concealed_ms) == (3, 15)
    assert (numbers.last_total_s, numbers.total_s.total) == (0.64, 0.64)
    assert numbers.parts_s["voice"].total == 0.6
    assert numbers.parts_s["link_up"].cumulative()[-1] == ("+Inf", 0)
    assert numbers.barge_in_s.cumulative()[2:4] == [("0.01", 1), ("0.02", 1)]
