from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reachy_link.address import Address
from reachy_robot.route import ADDRESSES_ROUND_S, LOOK_UP_S, ROUND_S, Route, spread

ONE, TWO, THREE, FOUR = (Address(f"gateway-{n}.lab") for n in (1, 2, 3, 4))
ROBOTS = [f"reachy-{n}" for n in range(1000)]


def test_robots_spread_evenly_over_the_gateways_and_over_the_rest_when_one_is_gone():
    orders = [spread(robot, [ONE, TWO, THREE]) for robot in ROBOTS]
    assert all(280 < count < 390 for count in Counter(order[0] for order in orders).values())
    heirs = Counter(order[1] for order in orders if order[0] == TWO)
    assert heirs.keys() == {ONE, THREE}
    assert all(120 < count < 210 for count in heirs.values())


def test_the_order_does_not_hang_on_that_of_the_list():
    assert spread("reachy-1", [ONE, TWO, THREE]) == spread("reachy-1", [THREE, ONE, TWO])


def test_gateways_on_one_host_are_told_apart_by_their_ports():
    pair = [Address("host", 5555, 5556), Address("host", 5557, 5558)]
    firsts = Counter(spread(robot, pair)[0] for robot in ROBOTS)
    assert all(430 < count < 570 for count in firsts.values())


def test_a_gateway_that_is_added_or_removed_moves_only_its_own_robots():
    before = {robot: spread(robot, [ONE, TWO, THREE])[0] for robot in ROBOTS}
    more = {robot: spread(robot, [ONE, TWO, THREE, FOUR])[0] for robot in ROBOTS}
    assert {more[robot] for robot in ROBOTS if more[robot] != before[robot]} == {FOUR}
    fewer = {robot: spread(robot, [ONE, THREE])[0] for robot in ROBOTS}
    assert {before[robot] for robot in ROBOTS if fewer[robot] != before[robot]} == {TWO}


@pytest.mark.parametrize("addresses", [[], [ONE]])
def test_with_one_gateway_there_is_nowhere_to_go(addresses):
    route = Route(addresses, 0.0)
    assert not route.several
    assert not route.onward(1000.0)


def test_a_round_is_quick_and_the_next_one_waits():
    route = Route([ONE, TWO, THREE], 0.0)
    moved = [(tick / 100, route.here) for tick in range(1, 902) if route.onward(tick / 100)]
    visited = [(0.0, ONE), *moved]
    assert [address for _, address in visited] == [ONE, TWO, THREE] * 3
    starts = [at for at, address in visited if address == ONE]
    assert starts == [0.0, pytest.approx(ROUND_S + 0.02), pytest.approx(2 * (ROUND_S + 0.02))]


def test_a_gateway_that_served_and_fails_is_left_at_once():
    route = Route([ONE, TWO], 0.0)
    assert route.onward(0.1)
    assert not route.onward(0.2), "both have failed"
    route.served()
    assert route.onward(0.3)
    assert route.here == ONE
    assert route.here_s(1.0) == pytest.approx(0.7)


# --- names ------------------------------------------------------------------------------------------------------------

BOX, IP = Address("box.lab"), Address("10.0.0.9")


def known(now: float = 0.0, *ips: str, gateways=(BOX,), robot: str = "reachy-1") -> Route:
    """A route whose name has been looked up."""
    route = Route(gateways, now, robot)
    assert route.look_ups(now) == ["box.lab"]
    route.looked_up("box.lab", ips, now, stay=False)
    return route


def test_a_name_cannot_be_dialled_before_it_has_been_looked_up():
    route = Route([BOX], 0.0)
    assert (route.unknown, route.name, str(route.place)) == (True, "box.lab", "box.lab:5555+5556")
    assert route.look_ups(0.0) == ["box.lab"]
    assert route.looked_up("box.lab", ["10.0.0.1"], 0.1, stay=False)
    assert (route.unknown, route.here, route.here_s(0.3)) == (False, BOX.at("10.0.0.1"), pytest.approx(0.2))
    assert str(route.place) == "box.lab:5555+5556 (10.0.0.1)"
    assert not route.several


def test_every_address_of_a_name_is_a_place_of_its_own():
    route = known(0.0, "10.0.0.1", "10.0.0.2", "10.0.0.3", gateways=(BOX, IP))
    visited = [route.here, *(route.here for _ in range(3) if route.onward(0.1))]
    assert {address.host for address in visited[:3]} == {"10.0.0.1", "10.0.0.2", "10.0.0.3"}
    assert visited[3] == IP
    assert not route.onward(0.2), "all have failed"


def test_the_addresses_of_a_name_are_in_an_order_of_the_robots_own_but_a_family_stays_together():
    ips = ["[fd00::1]", "[fd00::2]", "10.0.0.1", "10.0.0.2"]
    orders = Counter()
    for robot in ROBOTS:
        route = known(0.0, *ips, robot=robot)
        order = [route.here.host, *(route.here.host for _ in range(3) if route.onward(0.1))]
        assert (set(order[:2]), set(order[2:])) == (set(ips[:2]), set(ips[2:])), "IPv6 first, as the system prefers it"
        orders[order[0]] += 1
    assert all(430 < count < 570 for count in orders.values())


def test_one_look_up_of_a_name_is_under_way_at_a_time_and_the_next_is_not_too_soon():
    route = Route([BOX, Address("box.lab", 7, 8), Address("other.lab")], 0.0)
    assert route.look_ups(0.0) == ["box.lab", "other.lab"]
    for now in (0.1, 10.0):
        route.doubt()
        assert route.look_ups(now) == []
    route.looked_up("box.lab", [], 10.0, stay=False)
    route.looked_up("other.lab", ["10.0.0.1"], 10.0, stay=False)
    assert route.look_ups(10.0) == ["box.lab", "other.lab"]
    route.looked_up("box.lab", [], 10.1, stay=False)
    route.doubt()
    assert [route.look_ups(now) for now in (10.1, 10.4, 10.5)] == [[], [], ["box.lab"]]
    route.looked_up("box.lab", [], 10.6, stay=False)
    assert route.look_ups(100.0) == [], "nothing has failed since"


def test_a_look_up_takes_too_long_after_2_s_also_for_who_comes_later():
    route = Route([BOX, IP], 0.0)
    route.look_ups(0.0)
    assert [route.overdue(now) for now in (1.9, LOOK_UP_S)] == [False, True]
    assert route.onward(2.0)
    assert not route.overdue(2.0), "here is an address"
    assert route.onward(2.0 + ROUND_S)
    assert route.overdue(2.0 + ROUND_S), "it has not ended since"
    route.looked_up("box.lab", ["10.0.0.1"], 9.0, stay=False)
    assert not route.overdue(9.0)


def test_a_look_up_that_fails_takes_nothing_away():
    route = known(0.0, "10.0.0.1")
    route.doubt()
    route.look_ups(1.0)
    assert not route.looked_up("box.lab", [], 1.0, stay=False)
    assert route.here == BOX.at("10.0.0.1")


@pytest.mark.parametrize("stay", [True, False])
def test_other_addresses_take_the_place_of_those_before_but_for_who_is_served(stay):
    route = known(0.0, "10.0.0.1")
    assert route.looked_up("box.lab", ["10.0.0.2"], 5.0, stay=stay) is not stay
    assert route.here == BOX.at("10.0.0.1" if stay else "10.0.0.2")
    assert route.several is stay, "there is another place, which the name means by now"
    assert route.onward(6.0) is stay
    assert route.here == BOX.at("10.0.0.2")


def test_an_address_that_stays_is_not_left_when_others_come():
    route = known(0.0, "10.0.0.2")
    assert not route.looked_up("box.lab", ["10.0.0.1", "10.0.0.2", "10.0.0.3"], 1.0, stay=False)
    assert route.here == BOX.at("10.0.0.2")
    assert {route.here.host for _ in range(2) if route.onward(1.0)} == {"10.0.0.1", "10.0.0.3"}


def test_two_names_of_one_gateway_are_one_place():
    route = known(0.0, "10.0.0.9", gateways=(BOX, IP))
    assert not route.several
    assert (route.place.gateway, IP in route) == (BOX, True)


def test_where_only_addresses_of_one_gateway_are_dead_the_next_round_begins_as_soon_as_libzmq_dials():
    route = known(0.0, "10.0.0.1", "10.0.0.2")
    assert route.onward(0.1, ADDRESSES_ROUND_S)
    assert [route.onward(now, ADDRESSES_ROUND_S) for now in (0.2, 0.34, 0.36)] == [False, False, True]
    assert route.onward(0.4, ROUND_S), "somebody has answered here, and refused"
    assert [route.onward(now, ADDRESSES_ROUND_S) for now in (1.0, 3.3, 3.5)] == [False, False, True]


@given(st.lists(st.tuples(st.sampled_from("odafl"), st.integers(0, 3), st.booleans()), max_size=60))
def test_whatever_happens_a_robot_is_at_a_place_that_is_known_or_on_its_way(steps):
    """It goes on, doubts, asks, finds, or finds nothing."""
    route, asked, now = Route([BOX, IP, Address("other.lab", 7, 8)], 0.0, "reachy-1"), set(), 0.0
    for step, n, stay in steps:
        now += 0.3
        match step:
            case "o":
                route.onward(now, 0.1)
            case "d":
                route.doubt()
            case "a":
                names = route.look_ups(now)
                assert not asked & set(names)
                asked |= set(names)
            case _ if asked:
                before = route.here
                name = sorted(asked)[n % len(asked)]
                asked.discard(name)
                ips = [f"10.0.0.{each}" for each in range(n)] if step == "f" else []
                moved = route.looked_up(name, ips, now, stay=stay)
                assert moved is (route.here != before)
        assert route.place is not None
        assert route.place.gateway in (BOX, IP, Address("other.lab", 7, 8))
        assert route.unknown is route.here.named
        assert route.several
