from hypothesis import given
from hypothesis import strategies as st

from reachy_link.sockets import next_tick


@given(st.floats(0, 1e7), st.sampled_from([0.05, 0.1, 0.25, 0.5]))
def test_a_tick_comes_within_one_and_a_half_and_all_come_at_the_same_moments(now, every_s):
    due = next_tick(now, every_s)
    assert 0.4 * every_s < due - now < 1.6 * every_s
    assert abs(due / every_s - round(due / every_s)) < 1e-3


def test_a_timer_that_fires_a_little_early_or_late_does_not_fire_twice():
    for moment in (9.999, 10.0, 10.001):
        assert next_tick(moment, 0.05) == 10.05
