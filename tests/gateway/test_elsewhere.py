"""The spending of a fleet's other gateways."""

from datetime import date, timedelta

from hypothesis import given
from hypothesis import strategies as st

from reachy_gateway.provider.elsewhere import DAYS_KEPT, Elsewhere
from reachy_gateway.provider.money import Money

MONDAY = date(2026, 11, 23)
SUMS = st.dictionaries(st.sampled_from("abc"), st.integers(0, 10**12))


def test_of_nobody_nothing_is_known():
    elsewhere = Elsewhere()
    assert not elsewhere.heard
    assert (elsewhere.of(MONDAY, "a"), elsewhere.total(MONDAY)) == (0, 0)
    elsewhere.learn(MONDAY, {}, {})
    assert elsewhere.heard
    assert elsewhere.total(MONDAY) == 0


def test_what_is_not_ours_is_the_others():
    elsewhere = Elsewhere()
    elsewhere.learn(MONDAY, {"a": 1_500_000_000, "b": 7, "c": 5}, {"a": 500_000_000, "c": 5})
    assert [elsewhere.of(MONDAY, robot) for robot in "abcd"] == [1, Money("0.000000007"), 0, 0]
    assert elsewhere.total(MONDAY) == Money("1.000000007")
    assert elsewhere.total(MONDAY + timedelta(days=1)) == 0


@given(st.lists(st.tuples(SUMS, SUMS), max_size=8))
def test_a_store_that_forgets_takes_nothing_back_and_nobody_spends_less_than_nothing(told):
    elsewhere, known = Elsewhere(), dict.fromkeys("abc", Money(0))
    for spent, own in told:
        elsewhere.learn(MONDAY, spent, own)
        for robot, before in known.items():
            known[robot] = elsewhere.of(MONDAY, robot)
            assert known[robot] >= before
            assert known[robot] >= Money(spent.get(robot, 0) - own.get(robot, 0)) / 10**9
    assert elsewhere.total(MONDAY) == sum(known.values())


@given(st.lists(st.integers(0, 30), min_size=1, max_size=40))
def test_only_the_last_days_are_kept(days):
    elsewhere = Elsewhere()
    for day in days:
        elsewhere.learn(MONDAY + timedelta(days=day), {"a": 10**9}, {})
        assert len(elsewhere._days) <= DAYS_KEPT
    assert elsewhere.total(MONDAY + timedelta(days=max(days))) == 1
