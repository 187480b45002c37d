from reachy_link.tally import STRANGER_AGAIN_S, Strangers, Tally


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


def test_each_stranger_is_worth_a_line_a_day():
    strangers = Strangers()
    assert strangers.is_new("one", 0.0)
    assert not any(strangers.is_new("one", now) for now in (0.0, 1.0, STRANGER_AGAIN_S - 1))
    assert strangers.is_new("two", 10.0)
    assert strangers.is_new("one", STRANGER_AGAIN_S)
    assert strangers.is_new("three", 30 * STRANGER_AGAIN_S), "weeks later"


def test_a_crowd_of_strangers_does_not_fill_the_log_and_who_stays_is_told_in_time():
    strangers = Strangers()
    told = [now / 100 for now in range(360_000) if strangers.is_new(f"stranger {now}", now / 100)]
    assert len(told) == 20 + 59
    assert strangers.is_new("a robot that was set up now", 3600.0 + 60.0)


def test_the_strangers_that_are_remembered_are_bounded_and_the_oldest_are_forgotten():
    strangers = Strangers(most=3)
    for n in range(10):
        assert strangers.is_new(f"stranger {n}", n)
    assert len(strangers._told) == 3
    assert not strangers.is_new("stranger 9", 10.0)
    assert strangers.is_new("stranger 0", 10.0)
