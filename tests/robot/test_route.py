from collections import Counter

import pytest

from reachy_link.address import Address
from robot_io.route import ROUND_S, Route, spread

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
