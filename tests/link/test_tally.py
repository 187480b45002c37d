from reachy_link.tally import Tally


def test_only_the_first_of_a_cause_and_a_peer_is_worth_a_line():
    tally = Tally()
    assert tally.count("late", "reachy-1")
    assert not tally.count("late", "reachy-1")
    assert tally.count("late", "reachy-2")
    assert tally.count("gap", "reachy-1")


def test_totals_are_by_cause_and_by_peer():
    tally = Tally()
    tally.count("gap", "reachy-1", 7)
    tally.count("gap", "reachy-2", 2)
    tally.count("late", "reachy-1")
    assert tally.total("gap") == 9
    assert tally.total("gap", "reachy-1") == 7
    assert tally.total("gap", "reachy-3") == 0
    assert tally.total("never") == 0


def test_peers_beyond_the_bound_count_as_other():
    tally = Tally(peers_max=3)
    for number in range(100):
        tally.count("key", f"robot-{number}")
    assert {peer for _, peer in tally.counts} <= {"robot-0", "robot-1", "robot-2", "other"}
    assert tally.total("key") == 100
    assert tally.total("key", "other") == 97
    assert not tally.count("key", "robot-0")


def test_the_number_of_peers_is_bounded_in_the_long_run():
    tally = Tally(peers_max=3)
    for number in range(10_000):
        tally.count("key", f"robot-{number}")
        tally.count("late", f"robot-{number}")
    assert len(tally.counts) <= 2 * 4
