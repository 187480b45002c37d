import pytest

from reachy_gateway.link.pulse import Pulse


def test_a_loop_that_runs_has_not_stalled():
    pulse = Pulse(0.1)
    assert [pulse.beat(10 + n * 0.09) for n in range(1000)] == [0.0] * 1000
    assert pulse.stalled_s == 0.0


def test_a_stall_is_what_is_beyond_the_usual_and_stalls_add_up():
    pulse = Pulse(0.1)
    pulse.beat(10.0)
    assert pulse.beat(15.0) == pytest.approx(4.9)
    assert pulse.beat(15.05) == 0.0
    assert pulse.beat(16.05) == pytest.approx(0.9)
    assert pulse.stalled_s == pytest.approx(5.8)
