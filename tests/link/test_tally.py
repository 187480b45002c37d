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


def test_a_known_peer_counts_under_its_own_name_however_many_there_are():
    tally = Tally(peers_max=3, known=lambda peer: peer.startswith("reachy-"))
    for number in range(1000):
        tally.count("key", f"stranger-{number}")
    for number in range(1, 301):
        assert tally.count("impostor", f"reachy-{number}"), "worth a line of its own"
    assert [tally.total("impostor", f"reachy-{number}") for number in (1, 257, 300)] == [1, 1, 1]
    assert tally.total("key", "other") == 997


def test_a_peer_that_is_known_no_more_is_forgotten_and_a_stranger_is_not():
    known = {"reachy-1", "reachy-2"}
    tally = Tally(peers_max=3, known=lambda peer: peer in known)
    for peer in ("reachy-1", "reachy-2", "stranger", ""):
        tally.count("late", peer)
    tally.count("impostor", "reachy-1")
    known.remove("reachy-1")
    tally.forget()
    assert dict(tally.counts) == {("late", "reachy-2"): 1, ("late", "stranger"): 1, ("late", ""): 1}


def test_robots_that_are_replaced_leave_nothing_behind():
    known: set[str] = set()
    tally = Tally(peers_max=3, known=lambda peer: peer in known)
    for number in range(2000):
        known.clear()
        known.add(f"reachy-{number}")
        tally.count("clone", f"reachy-{number}")
        tally.forget()
        assert len(tally.counts) == 1
    assert tally.total("clone", "reachy-1999") == 1
