import pytest

from reachy_gateway.provider.reconnects import CAUSES, Reconnects


def counts(gaps: Reconnects) -> dict[str, int]:
    assert sum(gaps.counts.values()) == sum(seconds.cumulative()[-1][1] for seconds in gaps.seconds.values())
    return {cause: count for cause, count in gaps.counts.items() if count}


def test_the_first_connection_ends_no_gap():
    gaps = Reconnects()
    gaps.counted("unreachable")
    assert gaps.opened(5.0) is None
    assert counts(gaps) == {}


def test_a_gap_without_trouble_is_a_renewal():
    gaps = Reconnects()
    gaps.opened(0.0)
    gaps.counted("go_away")
    gaps.closed(100.0, idle=False)
    assert gaps.opened(100.2) == ("renewal", pytest.approx(0.2))
    assert counts(gaps) == {"renewal": 1}
    assert gaps.seconds["yes"].total == pytest.approx(0.2)


@pytest.mark.parametrize("cause", CAUSES[1:])
def test_a_gap_has_the_cause_of_its_first_trouble(cause):
    gaps = Reconnects()
    gaps.opened(0.0)
    gaps.counted(cause)
    gaps.closed(100.0, idle=False)
    gaps.counted("unreachable")
    assert gaps.opened(103.0) == (cause, 3.0)
    gaps.closed(110.0, idle=False)
    gaps.opened(110.1)
    assert counts(gaps) == {cause: 1, "renewal": 1}
    assert gaps.seconds["no"].total == pytest.approx(3.0)


def test_a_renewal_whose_dial_fails_has_that_cause():
    gaps = Reconnects()
    gaps.opened(0.0)
    gaps.closed(1.0, idle=False)
    gaps.counted("unreachable")
    gaps.opened(4.0)
    assert counts(gaps) == {"unreachable": 1}


def test_while_none_is_wanted_there_is_no_gap():
    gaps = Reconnects()
    gaps.opened(0.0)
    gaps.closed(1.0, idle=True)
    assert gaps.opened(500.0) is None
    assert counts(gaps) == {}
