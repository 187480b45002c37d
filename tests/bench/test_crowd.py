"""The simulation of crowds, and the search for the number of robots that a machine carries, without real runs."""

import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

sys.path.append(str(Path(__file__).parent.parent.parent / "bench"))

from capacity import STEP, Found
from harness.crowd import Costs, Crowd
from reachy_robot.presence import LOST_S

COSTS = Costs(dial_s=0.005, session_s=0.02)


def settled(robots=100, gateways=4, robots_max=40, **more) -> Crowd:
    crowd = Crowd(robots, gateways, robots_max, COSTS, **more)
    crowd.run(30.0, crowd.all_talk)
    assert crowd.all_talk()
    return crowd


def counts(crowd) -> list[int]:
    return [len(gateway.robots) for gateway in crowd.gateways]


def test_a_gateway_works_no_faster_than_its_core():
    crowd = settled(50, 1, 50)
    assert crowd.now >= 50 * (COSTS.dial_s + COSTS.session_s)


def test_the_same_draw_is_the_same_fate():
    first, again, other = settled(seed=1), settled(seed=1), settled(seed=2)
    assert (first.now, counts(first)) == (again.now, counts(again))
    assert first.now != other.now


def test_a_full_gateway_refuses_and_its_robots_go_on():
    crowd = settled(100, 4, 25)
    assert counts(crowd) == [25] * 4
    assert crowd.refusals > 0


@pytest.mark.parametrize("silently", [False, True])
def test_robots_of_a_gateway_that_dies_talk_at_the_others_and_a_lost_machine_takes_longer_to_notice(silently):
    crowd = settled(robots_max=60)
    crowd.run(crowd.now + 5.0)
    began, [dead, *others] = crowd.now, crowd.gateways
    before = sum(len(gateway.robots) for gateway in others)
    hit = crowd.kill([dead], silently=silently)
    assert hit
    assert not crowd.all_talk()
    crowd.run(began + 30.0, crowd.all_talk)
    assert crowd.all_talk()
    assert counts(crowd)[0] == 0
    assert sum(counts(crowd)) == before + len(hit) == 100
    assert (min(robot.talks_at for robot in hit) - began > LOST_S) == silently


def test_a_gateway_that_is_started_again_serves_them_anew():
    crowd = settled(20, 1, 20)
    crowd.kill(crowd.gateways, silently=False)
    crowd.run(crowd.now + 5.0)
    assert not any(robot.talks_at for robot in crowd.robots)
    crowd.revive(crowd.gateways)
    began = crowd.now
    crowd.run(began + 10.0, crowd.all_talk)
    assert crowd.all_talk()
    assert crowd.now - began < 3.0


def test_a_gateway_that_is_added_gets_its_share():
    crowd = settled(60, 1, 60)
    crowd.add_gateways(1)
    crowd.become_level()
    crowd.run(crowd.now + 120.0)
    assert crowd.all_talk()
    assert counts(crowd)[1] == crowd.moves > 15


def tried(most):
    """Search with a machine that carries so many robots. Returns the result and the tried counts."""
    found, counts = Found(), []
    while (count := found.next_count()) is not None:
        counts.append(count)
        found = found.with_run(SimpleNamespace(robots=count, verdict="yes" if count <= most else "no", memory_mb=99.0))
    return found, counts


@pytest.mark.parametrize("most", [5, 19, 20, 39, 47, 85, 100, 319, 1000])
def test_what_a_machine_carries_is_found_to_a_step_in_a_few_runs(most):
    found, counts = tried(most)
    assert len(counts) <= 10
    assert len(set(counts)) == len(counts)
    carried = found.holds.robots if found.holds else 0
    assert carried <= most
    assert carried > most - 2 * STEP or carried == 320


def test_the_advice_leaves_room_and_a_core():
    words = tried(85)[0].advice(cores=4)
    assert "GATEWAY_MAX_ROBOTS=85" in words
    assert "Plan 68 robots" in words
    assert "3 gateways, 204 robots" in words
    assert "does not carry" in tried(3)[0].advice(cores=4)
