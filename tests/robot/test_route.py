from collections import Counter

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from reachy_link.address import Address, spread
from reachy_robot.route import ADDRESSES_ROUND_S, LEARNED_MAX, LOOK_UP_S, LOOK_UPS_MAX, ROUND_S, Route

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
    assert route.overdue(2.0 + ROUND_S), "the look-up has not ended since"
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
    assert route.several is stay, "the name now has another address"
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
    assert route.onward(0.4, ROUND_S), "a gateway here has answered, and refused"
    assert [route.onward(now, ADDRESSES_ROUND_S) for now in (1.0, 3.3, 3.5)] == [False, False, True]


@given(st.lists(st.tuples(st.sampled_from("odafl"), st.integers(0, 3), st.booleans()), max_size=60))
def test_whatever_happens_a_robot_is_at_a_place_that_is_known_or_on_its_way(steps):
    """Random steps: go on, doubt, ask, find addresses, or find nothing."""
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


# --- gateways that were learned of --------------------------------------------------------------------------------------

A, B, C, D, E = (Address(f"10.0.0.{n}") for n in range(1, 6))


def walk(route: Route, now: float = 100.0) -> list[Address]:
    """All places of one round in order, from where the robot is."""
    visited = [route.here]
    while route.onward(now):
        visited.append(route.here)
    return visited


@pytest.mark.parametrize("at", [0, 1])
def test_what_was_learned_is_tried_after_all_that_was_given_wherever_a_round_begins(at):
    route = Route([A, B], 0.0, "reachy-1", [C, D])
    if at:
        route.onward(0.0)
        route.served()
    first = walk(route, 0.0)
    assert first[:2] == [[A, B], [B, A]][at]
    assert first[2:] == spread("reachy-1", [C, D])
    assert not route.onward(ROUND_S - 0.1)
    assert route.onward(ROUND_S)
    assert [route.here, *walk(route, ROUND_S)[1:]] == [A, B, *first[2:]]


def test_a_learned_gateway_that_served_and_fails_is_left_for_the_first_that_was_given():
    route = Route([A, B], 0.0, "reachy-1", [C])
    assert walk(route, 0.0)[-1] == C
    route.served()
    assert walk(route, 50.0) == [C, A, B]


def test_robots_spread_over_what_they_have_learned():
    firsts = Counter(walk(Route([A], 0.0, robot, [B, C, D]), 0.0)[1] for robot in ROBOTS)
    assert all(280 < count < 390 for count in firsts.values())


@pytest.mark.parametrize("learned", [[], [A], [B], [A, B], [Address("10.0.0.1", 5555, 5556)]])
def test_what_was_given_is_not_learned(learned):
    route = Route([A, B], 0.0, "reachy-1", learned)
    route.learn(learned)
    assert walk(route, 0.0) == [A, B]


def test_one_gateway_in_two_spellings_is_one():
    route = Route([Address("box.lab."), A], 0.0, "reachy-1", [BOX, Address("b.lab"), Address("b.lab.")])
    assert route.look_ups(0.0) == ["box.lab.", "b.lab"]
    route.looked_up("b.lab", ["10.0.0.1"], 0.0, stay=False)
    assert walk(route, 0.0) == [Address("box.lab."), A], "and b.lab is another name of A"


def test_who_serves_the_robot_stays_known_though_it_does_not_name_itself():
    route = Route([A], 0.0, "reachy-1", [B])
    assert walk(route, 0.0) == [A, B]
    route.learn([A, C])
    route.served()
    assert walk(route, 50.0) == [B, A, C]
    assert route.onward(50.0 + ROUND_S)
    assert set(walk(route, 50.0 + ROUND_S)) == {A, B, C}


def test_where_the_robot_was_is_forgotten_once_it_is_served_where_it_was_told_to_go():
    for served_at_given in (True, False):
        route = Route([A], 0.0, "reachy-1", [B, C])
        if not served_at_given:
            assert route.onward(0.1)
        route.arrived()
        assert set(walk(route, 0.2)) == ({A, C} if served_at_given else {B, C})
    route = Route([A], 0.0, "reachy-1", [B, C])
    route.arrived()
    route.learn([B])
    route.arrived()
    assert set(walk(route, 0.3)) == {A, B}, "the address must count again when a gateway names it"


def test_no_more_is_kept_than_a_welcome_holds_and_where_the_robot_is():
    route = Route([A], 0.0, "reachy-1")
    for n in range(50):
        route.learn([Address(f"10.{n}.{m}.1") for m in range(40)])
        route.learn([Address(f"n{n}-{m}.lab") for m in range(40)])
    assert len(route._learned) == LEARNED_MAX
    assert len(route._names) <= LEARNED_MAX
    assert Route([], 0.0, "reachy-1", [A]).here is None


def test_names_that_were_learned_and_do_not_answer_hold_nobody_up_and_leave_room_for_what_was_given():
    route = Route([BOX, A], 0.0, "reachy-1", [Address(f"n{n}.lab") for n in range(16)])
    asked = route.look_ups(0.0)
    assert asked[0] == "box.lab"
    assert len(asked) == 1 + LOOK_UPS_MAX
    route.learn([Address(f"m{n}.lab") for n in range(16)])
    assert route.look_ups(100.0) == [], "the forgotten ones are still being looked up"
    for host in asked[1:]:
        assert not route.looked_up(host, ["10.0.0.9"] if host == asked[1] else [], 100.0, stay=False)
    assert len(route.look_ups(101.0)) == LOOK_UPS_MAX
    assert len(route._names) == 1 + 16
    assert walk(route, 200.0) == [BOX, A]


def test_names_that_were_learned_and_are_unknown_are_each_looked_up_in_their_turn():
    route, asked = Route([A], 0.0, "reachy-1", [Address(f"n{n}.lab") for n in range(16)]), Counter()
    for tick in range(100):
        route.doubt()
        for host in route.look_ups(tick / 100):
            asked[host] += 1
            route.looked_up(host, [], tick / 100, stay=False)
    assert len(asked) == 16
    assert set(asked.values()) == {2}, "twice a second, as any other"
    assert not route.several


def test_every_address_of_a_learned_name_is_a_place_and_moves_with_it():
    route = Route([A], 0.0, "reachy-1", [BOX])
    route.look_ups(0.0)
    route.looked_up("box.lab", ["10.0.0.2", "10.0.0.3"], 0.0, stay=False)
    assert set(walk(route, 0.0)[1:]) == {B, C}
    assert str(route.place).startswith("box.lab:5555+5556 (10.0.0.")
    route.doubt()
    route.look_ups(1.0)
    assert route.looked_up("box.lab", ["10.0.0.4"], 1.0, stay=False)
    assert route.here == D


def test_a_name_that_was_never_found_is_left_for_what_was_remembered_and_comes_first_once_it_is():
    route = Route([BOX], 0.0, "reachy-1", [C])
    route.look_ups(0.0)
    assert (route.here, route.several) == (BOX, True)
    assert route.onward(0.1)
    assert (route.here, route.given, route.name, route.unknown) == (C, False, "", False)
    route.looked_up("box.lab", ["10.0.0.1", "10.0.0.2"], 0.2, stay=False)
    assert route.here == C, "this gateway may be about to serve the robot"
    assert set(walk(route, 0.3)[1:]) == {A, B}
    assert route.onward(0.3 + ROUND_S)
    assert route.here in (A, B)


def test_an_address_that_was_remembered_is_where_the_name_leads():
    route = Route([BOX], 0.0, "reachy-1", [C])
    route.look_ups(0.0)
    route.onward(0.1)
    assert not route.looked_up("box.lab", ["10.0.0.3"], 0.2, stay=True)
    assert (route.given, route.several, str(route.place)) == (True, False, "box.lab:5555+5556 (10.0.0.3)")


def test_the_other_address_of_a_name_is_tried_at_once_where_what_was_remembered_is_one_of_them():
    route = Route([BOX], 0.0, "reachy-1", [C])
    route.look_ups(0.0)
    route.onward(0.1)
    route.looked_up("box.lab", ["10.0.0.3", "10.0.0.4"], 0.2, stay=False)
    assert (route.here, walk(route, 0.3)[1:]) == (C, [D])


def test_a_name_that_has_another_address_each_time_takes_no_memory():
    route = Route([BOX], 0.0, "reachy-1", [C])
    for n in range(1000):
        route.doubt()
        route.look_ups(float(n))
        route.looked_up("box.lab", [f"10.1.{n // 250}.{n % 250}"], float(n), stay=False)
        route.onward(float(n))
    assert len(route._down) <= 3


def test_what_was_given_does_not_wait_until_all_that_was_learned_has_timed_out():
    """As when the other gateways were removed for good, and the only one that is left restarts."""
    route, dialled = Route([A], 0.0, "reachy-1", [Address(f"10.9.0.{n}") for n in range(16)]), []
    for now in range(1, 23):
        dialled.append(route.here)
        assert route.onward(now) is (now < 22), "a round is over when all have failed"
    assert dialled[::4] == [A] * len(dialled[::4])
    assert len(dialled) - dialled.count(A) == 16, "and each of the others was dialled once"


def test_names_of_very_many_addresses_are_not_all_places():
    route = Route([A], 0.0, "reachy-1", [BOX, Address("b.lab")])
    for host, net in (("box.lab", 1), ("b.lab", 2)):
        route.look_ups(0.0)
        route.looked_up(host, [f"10.{net}.0.{n}" for n in range(16)], 0.0, stay=False)
    assert len(walk(route, 0.0)) == 1 + LEARNED_MAX


# --- being sent somewhere -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("to", [B, C, D])
def test_a_robot_goes_where_it_is_sent_whether_it_knew_that_gateway_or_not_and_from_there_on_as_ever(to):
    route = Route([A, B], 0.0, "reachy-1", [C])
    route.served()
    assert route.go(to, 50.0)
    assert (route.here, route.here_s(51.0)) == (to, 1.0)
    round_ = walk(route, 50.0)
    assert round_[0] == to
    assert set(round_) == {A, B, C, to}
    assert {*round_[:3]} >= {A, B}, "given gateways must come next"


def test_a_robot_is_not_sent_to_where_it_is():
    route = known(0.0, "10.0.0.1")
    for to in (A, BOX, Address("box.lab.")):
        assert not route.go(to, 50.0)
    assert not route.several, "nothing was learned"
    assert route.go(Address("10.0.0.1", 7, 8), 50.0)


def test_a_robot_that_is_sent_to_the_name_of_its_gateway_goes_to_its_other_address():
    route = known(0.0, "10.0.0.1", "10.0.0.2")
    here = route.here
    assert route.go(BOX, 50.0)
    assert {here, route.here} == {A, B}


def test_two_gateways_that_send_a_robot_to_each_other_do_not_keep_it_busy():
    route, moved = Route([A], 0.0, "reachy-1"), 0
    for tick in range(1000):
        moved += route.go(B if route.here == A else A, tick / 100)
    assert moved <= 10.0 / ROUND_S + 1


def test_all_addresses_of_the_name_that_a_robot_is_sent_to_come_before_anything_else():
    route = Route([A, B], 0.0, "reachy-1", [E])
    assert route.go(BOX, 50.0)
    assert (route.unknown, route.name) == (True, "box.lab")
    assert route.look_ups(50.0) == ["box.lab"]
    assert not route.overdue(50.0 + LOOK_UP_S - 0.1)
    assert route.overdue(50.0 + LOOK_UP_S)
    assert route.looked_up("box.lab", ["10.0.0.3", "10.0.0.4"], 50.1, stay=False)
    round_ = walk(route, 50.1)
    assert (set(round_[:2]), round_[2:]) == ({C, D}, [A, B, E])


@pytest.mark.parametrize("given", [[A], [A, B]])
def test_a_name_that_a_robot_is_sent_to_and_that_nobody_knows_is_left_for_what_was_given(given):
    route = Route(given, 0.0, "reachy-1")
    assert route.go(BOX, 50.0)
    assert walk(route, 50.1) == [BOX, *given]


def test_the_name_that_a_robot_is_sent_to_may_be_that_of_a_gateway_that_was_given():
    route = Route([A, B], 0.0, "reachy-1", [E])
    assert route.go(BOX, 50.0)
    route.look_ups(50.0)
    assert route.looked_up("box.lab", ["10.0.0.2"], 50.1, stay=False)
    assert route.here == B
    assert walk(route, 50.1) == [B, A, E]


def test_a_name_that_was_not_found_before_is_looked_up_again_when_a_robot_is_sent_there():
    route = Route([A], 0.0, "reachy-1", [BOX])
    route.look_ups(0.0)
    route.looked_up("box.lab", [], 0.0, stay=False)
    assert route.go(BOX, 50.0)
    assert route.look_ups(50.0) == ["box.lab"]


def test_a_robot_is_not_held_up_where_it_was_sent_while_the_look_ups_of_others_do_not_end():
    route = Route([A], 0.0, "reachy-1", [Address(f"n{n}.lab") for n in range(LOOK_UPS_MAX)])
    assert len(route.look_ups(0.0)) == LOOK_UPS_MAX
    assert route.go(BOX, 50.0)
    assert route.look_ups(50.0) == []
    assert [route.overdue(now) for now in (51.9, 52.0)] == [False, True]


POOL = [A, B, C, D, BOX, Address("other.lab", 7, 8), Address("third.lab"), Address("[fe80::1%eth0]")]
LISTS = st.lists(st.sampled_from(POOL), max_size=4)
STEPS = st.one_of(
    st.tuples(st.just("fails"), st.sampled_from([0.0, 0.3, 4.0])),
    st.tuples(st.just("answer"), st.lists(st.integers(1, 6).map("10.0.0.{}".format), max_size=3, unique=True)),
    st.tuples(st.just("learns"), LISTS),
    st.tuples(st.just("sent"), st.sampled_from(POOL)),
    st.tuples(st.just("served"), st.just(None)),
)


class Watched:
    """A route, and its rounds as seen from outside."""

    def __init__(self, gateways: list[Address], learned: list[Address]) -> None:
        self.route = Route(gateways, 0.0, "reachy-1", learned)
        self.now = 0.0
        self.failed: set[Address] = set()
        """The addresses that failed in this round."""
        self.left_given = 0.0
        self.steady = True
        """Whether the places have stayed the same since the round began."""
        self.asked: list[str] = []
        self.sent_to: Address | None = None

    def places(self) -> set[Address]:
        return {place.address for place in self.route._places + self.route._beyond}

    def begins_anew(self) -> None:
        self.failed, self.steady = set(), True

    def fails(self, seconds: float) -> None:
        self.now += seconds
        self.route.doubt()
        self.asked += self.route.look_ups(self.now)
        self.failed.add(self.route.here)
        if self.route.given:
            self.left_given = self.now
        if not self.route.onward(self.now):
            return
        again = self.route.given and self.route.here in self.failed
        if again and self.now - self.left_given >= ROUND_S and not self.places() <= self.failed:
            self.failed -= {place.address for place in self.route._places}
        if self.route.here in self.failed:
            assert not self.steady or self.places() <= self.failed, "each place was tried before the next round"
            self.begins_anew()
        if not self.route.given and self.route.place.gateway.same != self.sent_to:
            assert {place.address for place in self.route._places} <= self.failed, "given gateways must come first"

    def answer(self, ips: list[str]) -> None:
        if self.asked:
            here, before = self.route.here, self.places()
            assert self.route.looked_up(self.asked.pop(0), ips, self.now, stay=False) is (self.route.here != here)
            self.steady = self.steady and self.places() == before and self.route.here == here
            self.failed &= self.places()  # a place that is forgotten and known again is tried again in the same round

    def learns(self, gateways: list[Address]) -> None:
        """A welcome. Only a robot that is dialling a gateway is welcomed."""
        if not self.route.unknown:
            here, before = self.route.here, self.places()
            self.route.learn(gateways)
            assert self.route.here == here
            assert here in self.places() or not gateways, "the serving gateway must stay known"
            self.steady = self.steady and self.places() == before
            self.failed &= self.places()

    def sent(self, gateway: Address) -> None:
        if self.route.go(gateway, self.now):
            self.sent_to = gateway.same
            self.begins_anew()

    def served(self, _: None) -> None:
        if not self.route.unknown:
            self.route.served()
            self.begins_anew()


FORGOTTEN = [("fails", 0.0), ("served", None), ("fails", 0.0), ("learns", [A]), ("learns", [B]), ("fails", 0.0)]


@example([A], [B], FORGOTTEN)
@example(
    [C], [B], [("fails", 0.0), ("served", None), ("fails", 0.0), ("learns", [A]), ("learns", [A, B]), *[("fails", 0.0)] * 3]
)
@given(st.lists(st.sampled_from(POOL), min_size=1, max_size=3, unique=True), LISTS, st.lists(STEPS, max_size=80))
def test_whatever_is_learned_fails_and_is_found_what_was_given_comes_first_and_nothing_is_lost(gateways, learned, steps):
    seen = Watched(gateways, learned)
    route = seen.route
    for step, what in steps:
        seen.now += 0.01
        getattr(seen, step)(what)
        assert route.unknown is route.here.named
        assert not any(place.address.named for place in route._beyond)
        assert not {place.address for place in route._places} & {place.address for place in route._beyond}
        assert len(route._down) <= len(seen.places()) + 1
    dialled = set()
    for _ in range(len(seen.places()) ** 2 + 3):
        seen.now += 4.0
        route.onward(seen.now)
        dialled.add(route.here)
    assert dialled >= seen.places(), "every returning gateway must be found"
