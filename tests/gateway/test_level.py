"""Which robots are sent to a gateway that joins."""

from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st

from reachy_gateway.fleet.level import AGAIN_MAX_S, AGAIN_S, IDLE_S, LOOKS, PENDING_MAX, SETTLED_S, Leveller
from reachy_gateway.fleet.present import Neighbours, Present
from reachy_link.address import parse, spread


class Fleet:
    """Gateways whose knowledge of one another is a second old, and robots that go where they are sent."""

    def __init__(self, robots: int, *gateways: str, robots_max: int = 50) -> None:
        self.robots_max = robots_max
        self.at: dict[str, str] = {}
        self.idle_s = dict.fromkeys((f"reachy-{n}" for n in range(robots)), IDLE_S)
        self.levellers = {name: Leveller() for name in gateways}
        self.moves: Counter[str] = Counter()
        self.now = 0.0
        self.draining: set[str] = set()
        for robot in self.idle_s:
            self.at[robot] = self.place(robot)

    def place(self, robot: str) -> str:
        return spread(robot, [parse(name)[0] for name in self.levellers])[0].host

    def add(self, name: str) -> None:
        self.levellers[name] = Leveller()

    def counts(self) -> dict[str, int]:
        return {name: sum(at == name for at in self.at.values()) for name in self.levellers}

    def second(self) -> int:
        """Let one second pass. Returns how many robots were sent."""
        self.now += 1.0
        counts, sent = self.counts(), 0
        all_of_them = [
            Present(inbox=name, name=name, where=f"{name}:5555+5556", robots=count, robots_max=self.robots_max,
                    draining=name in self.draining)
            for name, count in counts.items()
        ]  # fmt: skip
        for name, leveller in self.levellers.items():
            here = {robot: self.idle_s[robot] for robot, at in self.at.items() if at == name}
            if move := leveller.move(self.now, Neighbours(name, all_of_them), here):
                robot, where = move
                assert self.at[robot] == name
                self.at[robot] = parse(where)[0].host
                self.moves[robot] += 1
                sent += 1
        return sent

    def settle(self, seconds: int = 400) -> int:
        return sum(self.second() for _ in range(seconds))


def test_a_gateway_that_was_added_gets_its_share_and_nobody_moves_twice():
    fleet = Fleet(40, "g1")
    fleet.add("g2")
    fleet.settle()
    stay = sum(fleet.place(robot) == "g1" for robot in fleet.at)
    assert fleet.counts()["g1"] == max(stay, 1.2 * 20) == 26
    assert set(fleet.moves.values()) == {1}
    assert all(fleet.place(robot) == "g2" for robot in fleet.moves)


def test_one_goes_at_a_time_and_none_before_the_fleet_has_settled():
    fleet = Fleet(40, "g1")
    fleet.settle(100)
    fleet.add("g2")
    sent = [fleet.second() for _ in range(int(SETTLED_S) + 10)]
    assert sent[: int(SETTLED_S)] == [0] * int(SETTLED_S)
    assert max(sent) == 1
    assert sum(sent) >= 5


def test_gateways_that_are_restarted_one_after_the_other_send_nobody_about():
    fleet = Fleet(60, "g1", "g2", "g3")
    for name in ("g1", "g2", "g3"):
        fleet.draining.add(name)
        for _ in range(20):
            assert not fleet.second()
        fleet.draining.clear()
        for _ in range(20):
            assert not fleet.second()


def test_who_speaks_stays():
    fleet = Fleet(40, "g1")
    fleet.add("g2")
    fleet.idle_s = dict.fromkeys(fleet.idle_s, IDLE_S - 0.1)
    fleet.settle()
    assert not fleet.moves


def test_a_fleet_that_is_about_even_stays_as_it_is():
    fleet = Fleet(200, "g1", "g2", "g3", "g4")
    fleet.settle()
    assert not fleet.moves


def test_two_robots_that_are_at_one_gateway_each_stay():
    fleet = Fleet(1, "g1", "g2")
    fleet.settle()
    assert not fleet.moves


def test_where_robots_do_not_arrive_ever_fewer_are_sent():
    """They may be unable to reach the address that it advertises. Each of them was silent for a moment."""
    leveller, names = Leveller(), [f"reachy-{n}" for n in range(40)]
    both = [Present(inbox=name, name=name, where=name, robots=40 * (name == "g1"), robots_max=50) for name in ("g1", "g2")]
    asked = [now for now in range(4 * 3600) if leveller.move(now, Neighbours("g1", both), dict.fromkeys(names, IDLE_S))]
    assert len([now for now in asked if now < SETTLED_S + AGAIN_S]) == PENDING_MAX
    assert len(asked) <= PENDING_MAX + 10
    assert asked[-1] - asked[-2] >= AGAIN_MAX_S


def test_where_a_robot_arrives_others_are_sent_again():
    fleet, leveller = Fleet(40, "g1"), Leveller()
    both = [Present(inbox=name, name=name, where=name, robots=40 * (name == "g1"), robots_max=50) for name in ("g1", "g2")]
    here, arrives, sent = dict(fleet.idle_s), False, []
    for now in range(1200):
        if move := leveller.move(now, Neighbours("g1", both), here):
            sent.append(now)
            if arrives:
                del here[move[0]]
        arrives = now > 300
    assert len([now for now in sent if now <= 300]) <= PENDING_MAX + 2
    assert len([now for now in sent if now > 300]) > 5


def test_nobody_is_sent_to_a_gateway_that_is_full_or_does_not_say_where_it_is():
    for robots_max, where in ((3, "g2"), (9, "")):
        fleet, leveller = Fleet(9, "g1"), Leveller()
        own = Present(inbox="g1", name="g1", where="g1", robots=9, robots_max=9)
        other = Present(inbox="g2", name="g2", where=where, robots=3, robots_max=robots_max)
        assert not any(leveller.move(now, Neighbours("g1", [own, other]), fleet.idle_s) for now in range(300))


def test_a_gateway_that_nobody_else_sees_sends_nobody():
    leveller = Leveller()
    assert not any(leveller.move(now, Neighbours(), {"reachy-1": 100.0}) for now in range(100))


@settings(max_examples=25)
@given(robots=st.integers(0, 120), before=st.integers(1, 6), added=st.integers(1, 3))
def test_however_many_come_no_robot_moves_more_than_once_for_each_and_the_robots_become_level(robots, before, added):
    fleet = Fleet(robots, *(f"g{n}" for n in range(before)), robots_max=200)
    for n in range(added):
        fleet.add(f"new-{n}")
        fleet.settle(200)
    assert max(fleet.moves.values(), default=0) <= added
    assert not fleet.settle(100)
    for robot, at in fleet.at.items():  # a robot may stay if its gateway is not crowded, or its own place is full enough
        counts, mean = fleet.counts(), robots / (before + added)
        assert counts[at] <= 1.2 * mean or counts[fleet.place(robot)] >= min(mean, counts[at] - 1)


def test_only_some_robots_are_looked_up_at_a_time_and_each_has_its_turn():
    leveller = Leveller()
    names = {f"reachy-{n:02}": IDLE_S for n in range(11)}
    seen: list[str] = []
    for _ in range(6):
        some = leveller._some(names)
        assert len(some) == LOOKS
        seen += some
    assert set(seen) == set(names)
