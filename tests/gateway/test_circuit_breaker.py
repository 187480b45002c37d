from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reachy_gateway.provider.circuit_breaker import (
    DIAL_S,
    FIRST_S,
    HASTY_S,
    LONG_CAP_S,
    PROBE_MAX_S,
    PROBE_MIN_S,
    RELEASE_PER_S,
    SHORT_CAP_S,
    SHORT_S,
    CircuitBreaker,
)

TICK_S = 0.05
"""How often a waiting robot asks whether it may dial."""
TOOK_S = 0.1
"""How long a healthy server takes to answer a dial."""
DRAWS = st.lists(st.floats(0, 1), min_size=1, max_size=40)


def drawn(values) -> CircuitBreaker:
    """A breaker whose random draws are these, over and over."""
    values = list(values)
    turn = iter(range(10**9))
    return CircuitBreaker(lambda: values[next(turn) % len(values)])


def down(draw: float = 1.0, took_s: float = TOOK_S) -> CircuitBreaker:
    """A breaker that the robot "first" has just tripped, at time 0."""
    breaker = CircuitBreaker(lambda: draw)
    breaker.opened(took_s)
    assert breaker.may_dial("first", -1.0)
    breaker.failed("first", 0.0)
    return breaker


# --- up ---------------------------------------------------------------------------------------------------------------


def test_while_the_server_is_up_everybody_may_dial():
    breaker = CircuitBreaker(lambda: 1.0)
    assert not breaker.down
    assert breaker.may_dial("a", 0.0)
    assert breaker.may_dial("b", 0.1)
    assert breaker.may_dial("a", 0.2)


@given(st.lists(st.floats(0, 0.05), min_size=50, max_size=200))
def test_no_more_dials_a_second_are_granted_than_that(steps):
    breaker = CircuitBreaker(lambda: 1.0)
    now, granted = 0.0, []
    for step in steps:
        now += step
        if breaker.may_dial("a", now):
            granted.append(now)
    assert all(after - before > 0.999 / RELEASE_PER_S for before, after in pairwise(granted))


def test_robots_that_all_want_to_dial_get_as_many_a_second():
    breaker = CircuitBreaker(lambda: 1.0)
    waiting = [f"r{n}" for n in range(60)]
    now = 0.0
    while waiting:
        now += 0.001
        waiting = [robot for robot in waiting if not breaker.may_dial(robot, now)]
    assert now == pytest.approx(60 / RELEASE_PER_S, abs=0.1)


# --- down -------------------------------------------------------------------------------------------------------------


def test_one_failure_takes_the_server_for_down_and_one_robot_probes():
    breaker = down(draw=0.0)
    assert breaker.down
    assert breaker.may_dial("b", 0.0)
    assert not breaker.may_dial("a", 0.0)
    assert not breaker.may_dial("first", 5.0), "b has not reported its result"


def test_the_prober_may_be_another_each_time():
    breaker = down(draw=0.0)
    for robot in ("a", "b", "a", "c"):
        assert breaker.may_dial(robot, 1.0)
        breaker.failed(robot, 1.0)


def test_a_prober_that_leaves_frees_the_role():
    breaker = down(draw=0.0)
    assert breaker.may_dial("a", 0.0)
    breaker.gave_up("b")
    assert not breaker.may_dial("b", 0.0), "b did not have the role to give up"
    breaker.gave_up("a")
    assert breaker.may_dial("b", 0.0)


def test_a_robot_that_failed_but_does_not_probe_changes_nothing():
    breaker = down(draw=1.0)
    assert breaker.may_dial("a", 0.1)
    breaker.failed("late", 0.2)
    assert not breaker.may_dial("b", 0.9), "a still probes"
    breaker.failed("a", 0.25)
    assert not breaker.may_dial("b", 0.29), "the pause is still running, from 0.1 to 0.3"
    assert breaker.may_dial("b", 0.31)


def test_a_success_of_whoever_it_is_ends_the_outage():
    breaker = down(draw=1.0)
    assert breaker.may_dial("a", 0.1)
    breaker.opened(TOOK_S)
    assert not breaker.down
    assert breaker.may_dial("c", 0.15)
    assert breaker.may_dial("d", 0.2)


def test_the_others_are_released_at_a_bounded_rate():
    breaker = down(draw=1.0)
    assert breaker.may_dial("a", 5.0)
    breaker.opened(TOOK_S)
    assert [breaker.may_dial(robot, 5.1) for robot in "bcdef"] == [True, False, False, False, False]


def test_the_next_outage_begins_anew():
    breaker = down(draw=1.0)
    now = 0.0
    for _ in range(20):
        now += LONG_CAP_S
        assert breaker.may_dial("a", now)
        breaker.failed("a", now)
    breaker.opened(TOOK_S)
    breaker.failed("a", now)
    assert breaker.may_dial("a", now + FIRST_S + 0.001)
    assert breaker.dial_s == PROBE_MIN_S


def test_after_a_long_outage_a_dial_is_given_no_more_time_than_before():
    breaker = down(draw=0.0)
    for now in (10.0, 40.0):
        assert breaker.may_dial("a", now)
        breaker.failed("a", now)
    assert breaker.dial_s == DIAL_S
    breaker.opened(TOOK_S)
    assert breaker.dial_s == PROBE_MAX_S


def test_while_one_robot_alone_has_failed_another_need_not_wait_for_its_pause():
    breaker = down(draw=1.0)
    for n in range(1, 6):
        assert breaker.may_dial("first", n)
        breaker.failed("first", n + 0.01)
    assert not breaker.may_dial("first", 5.1), "the fault may be its own"
    assert breaker.may_dial("b", 5.1)
    assert not breaker.may_dial("c", 5.1), "one at a time"
    breaker.opened(TOOK_S)
    assert not breaker.down


def test_two_robots_that_have_failed_are_believed():
    breaker = down(draw=1.0)
    assert breaker.may_dial("b", 0.01)
    breaker.failed("b", 0.02)
    assert not any(breaker.may_dial(robot, 0.03) for robot in ("first", "b", "c"))
    assert breaker.may_dial("first", 1.0)
    breaker.failed("first", 1.0)
    assert not breaker.may_dial("c", 1.01), "still"


def test_a_dial_that_was_under_way_when_the_server_went_down_is_believed_too():
    breaker = down(draw=1.0)
    breaker.failed("b", 0.01)
    assert not breaker.may_dial("c", 0.02)


# --- pauses -----------------------------------------------------------------------------------------------------------


def pauses(breaker: CircuitBreaker, until_s: float, took_s: float = 0.0) -> list[tuple[float, float]]:
    """When each probe started, and how long after its start the next one may begin, while a server refuses."""
    now, found = 0.0, []
    while now < until_s:
        started = now
        while not breaker.may_dial("first", now):
            now += 0.001
        found.append((started, now - started))
        started = now
        now += took_s
        breaker.failed("first", now)
    return found


def test_pauses_double_from_a_tenth_of_a_second_to_the_short_cap():
    found = [pause_s for _, pause_s in pauses(down(draw=1.0), 6.0)]
    assert found[:5] == pytest.approx([FIRST_S, 0.2, 0.4, 0.8, 0.8], abs=0.003)
    assert max(found) <= SHORT_CAP_S + 0.003


def test_pauses_stay_short_for_thirty_seconds_and_then_grow_to_thirty():
    found = pauses(down(draw=1.0), 600.0)
    assert all(pause_s <= SHORT_CAP_S + 0.003 for at, pause_s in found if at < SHORT_S)
    assert all(pause_s <= 2 * SHORT_CAP_S + 0.003 for at, pause_s in found if at < 2 * SHORT_S), "pauses must grow gradually"
    assert any(pause_s > 2 * SHORT_CAP_S for at, pause_s in found if at < 4 * SHORT_S)
    assert found[-1][1] == pytest.approx(LONG_CAP_S, abs=0.003)
    assert all(after >= before - 0.003 for (_, before), (_, after) in pairwise(found))


@given(DRAWS)
def test_a_pause_is_drawn_from_nothing_to_its_cap(draws):
    for n, (_, pause_s) in enumerate(pauses(drawn(draws), 3.0, took_s=0.05)[1:]):
        cap_s = min(SHORT_CAP_S, FIRST_S * 2**n)
        assert pause_s <= max(0.05, draws[n % len(draws)] * cap_s) + 0.052


def test_an_outage_of_a_week_does_not_overflow():
    breaker = down(draw=1.0)
    now = 0.0
    for _ in range(3000):
        now += 300.0
        assert breaker.may_dial("a", now)
        breaker.failed("a", now)
    assert not breaker.may_dial("a", now + LONG_CAP_S - 0.01)
    assert breaker.may_dial("a", now + LONG_CAP_S + 0.01)


def test_a_pause_counts_from_the_start_of_the_dial():
    breaker = down(draw=1.0)
    for n in range(5):
        breaker.may_dial("a", 10.0 + n)
        breaker.failed("a", 10.0 + n)
    assert breaker.may_dial("a", 20.0)
    breaker.failed("a", 20.0 + PROBE_MIN_S)
    assert not breaker.may_dial("a", 20.0 + SHORT_CAP_S - 0.01)
    assert breaker.may_dial("a", 20.0 + SHORT_CAP_S + 0.01)


# --- how long a dial may take -----------------------------------------------------------------------------------------


def test_a_first_dial_may_take_its_time():
    assert CircuitBreaker(lambda: 1.0).dial_s == DIAL_S


@pytest.mark.parametrize(("took_s", "dial_s"), [(0.05, PROBE_MAX_S), (0.4, PROBE_MAX_S), (0.6, 2.4), (3.0, DIAL_S)])
def test_a_dial_to_a_server_that_is_up_may_take_four_times_what_it_last_took(took_s, dial_s):
    breaker = CircuitBreaker(lambda: 1.0)
    breaker.opened(took_s)
    assert breaker.dial_s == pytest.approx(dial_s)


@pytest.mark.parametrize(("took_s", "dial_s"), [(0.05, PROBE_MIN_S), (0.4, 1.6), (0.6, PROBE_MAX_S), (3.0, PROBE_MAX_S)])
def test_a_probe_is_given_four_times_as_well_but_less_at_most(took_s, dial_s):
    assert down(took_s=took_s).dial_s == pytest.approx(dial_s)


def test_a_probe_of_a_server_that_was_never_up_is_given_two_seconds():
    breaker = CircuitBreaker(lambda: 1.0)
    breaker.failed("a", 0.0)
    assert breaker.dial_s == PROBE_MAX_S


def test_probes_are_given_more_time_the_longer_haste_has_not_helped():
    breaker = down(draw=0.0)
    given_s = {}
    for tenth in range(400):
        now = tenth / 10
        assert breaker.may_dial("a", now)
        breaker.failed("a", now)
        given_s[now] = breaker.dial_s
    assert {s for at, s in given_s.items() if at < HASTY_S} == {PROBE_MIN_S}
    assert {s for at, s in given_s.items() if HASTY_S <= at < SHORT_S} == {PROBE_MAX_S}
    assert {s for at, s in given_s.items() if at >= SHORT_S} == {DIAL_S}


# --- a whole breaker ---------------------------------------------------------------------------------------------------


def back_after(
    breaker: CircuitBreaker, *, down_s: float, swallows: bool, took_s: float = TOOK_S, first_at: float = 0.0
) -> float:
    """How long after the server's return a robot talks again that lost its connection when the server failed.

    A dial is refused at once, or gets no answer and times out. A dial that ends after the server's return still fails. The
    robot asks for permission every tick.
    """
    breaker.opened(TOOK_S)
    now = first_at
    while True:
        while not breaker.may_dial("a", now):
            now += TICK_S
        started, patience_s = now, breaker.dial_s
        if started >= down_s and took_s < patience_s:
            return started + took_s - down_s
        now += patience_s if swallows or started >= down_s else 0.002
        breaker.failed("a", now)
        now += TICK_S


@given(DRAWS, st.booleans())
def test_after_five_seconds_it_talks_again_within_a_second_however_the_dice_fall(draws, swallows):
    assert back_after(drawn(draws), down_s=5.0, swallows=swallows) <= 1.0


@given(DRAWS, st.booleans(), st.floats(PROBE_MAX_S + TICK_S, HASTY_S + PROBE_MAX_S - 0.1))
def test_so_it_does_after_any_outage_that_outlasts_the_first_dial_and_not_haste(draws, swallows, down_s):
    assert back_after(drawn(draws), down_s=down_s, swallows=swallows) <= 1.0


@given(DRAWS, st.floats(0, SHORT_S))
def test_a_server_that_refused_for_up_to_thirty_seconds_is_talked_to_within_a_second(draws, down_s):
    assert back_after(drawn(draws), down_s=down_s, swallows=False) <= 1.0


@given(DRAWS, st.floats(0, SHORT_S), st.floats(0, 5))
def test_one_that_swallowed_for_up_to_thirty_seconds_costs_no_more_than_one_dial(draws, down_s, first_at):
    first_at = min(first_at, down_s)
    assert (
        back_after(drawn(draws), down_s=down_s, swallows=True, first_at=first_at) <= PROBE_MAX_S + FIRST_S + 2 * TICK_S + TOOK_S
    )


@settings(max_examples=40)
@given(DRAWS, st.floats(0, 400))
def test_a_long_outage_is_noticed_to_be_over_within_a_part_of_its_length(draws, down_s):
    assert back_after(drawn(draws), down_s=down_s, swallows=False) <= 1.0 + min(LONG_CAP_S, down_s / 6)


@given(DRAWS, st.floats(0.5, 4.5), st.floats(0, 60))
def test_a_server_that_is_slow_after_an_outage_is_reached(draws, took_s, down_s):
    limit_s = HASTY_S + 2 * PROBE_MAX_S if took_s < PROBE_MAX_S else SHORT_S + 2 * DIAL_S
    assert back_after(drawn(draws), down_s=down_s, swallows=True, took_s=took_s) <= limit_s + took_s + LONG_CAP_S / 10


def test_a_robot_whose_dials_alone_fail_holds_up_nobody_while_one_of_them_hangs():
    breaker = down(draw=1.0)
    assert breaker.may_dial("first", 0.2)
    assert breaker.may_dial("second", 0.25), "the fault may be the first one's own"
    assert not breaker.may_dial("third", 0.3)
    breaker.failed("second", 0.3)
    breaker.failed("first", 5.0)
    assert breaker.may_dial("third", 60.0)
    assert not breaker.may_dial("first", 60.0), "by now it is the server that is taken to be down"


@given(DRAWS, st.lists(st.tuples(st.sampled_from("abcde"), st.sampled_from(["dial", "fail", "leave", "wait"])), max_size=200))
def test_never_more_than_one_robot_probes_beside_one_that_is_doubted(draws, steps):
    breaker = drawn(draws)
    breaker.failed("a", 0.0)
    now, probing = 0.0, set()
    for robot, step in steps:
        now += 0.3
        match step:
            case "dial" if robot not in probing and breaker.may_dial(robot, now):
                probing.add(robot)
            case "fail" if robot in probing:
                breaker.failed(robot, now)
                probing.remove(robot)
            case "leave":
                breaker.gave_up(robot)
                probing.discard(robot)
        assert len(probing) <= 2
    for robot in probing:
        breaker.gave_up(robot)
    assert breaker.may_dial("z", now + LONG_CAP_S), "the role is never lost"
