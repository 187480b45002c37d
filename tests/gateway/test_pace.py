"""The pace of the event loop of a gateway with many robots."""

import asyncio
from itertools import count

import pytest

from reachy_gateway.pace import EMPTY_S, EMPTY_TURNS, REST_S, Pace
from reachy_gateway.provider.load import CALM_LOOKS, FEW, MANY, Load


class Paced:
    """A pace whose clock advances a little at each look, and whose sleep is noted."""

    def __init__(self, turn_s: float) -> None:
        ticks = count()
        self.slept: list[float] = []
        self.pace = Pace(Load(), lambda: next(ticks) * turn_s, self.slept.append)

    async def turns(self, n: int) -> None:
        """Let so many turns of the event loop pass."""
        for _ in range(n):
            await asyncio.sleep(0)


async def test_with_few_robots_it_never_rests():
    paced = Paced(EMPTY_S / 10)
    assert not paced.pace.look(1.0, FEW)
    await paced.turns(100)
    assert paced.slept == []


async def test_with_many_it_rests_whenever_there_is_nothing_to_do():
    paced = Paced(EMPTY_S / 10)
    assert paced.pace.look(1.0, MANY)
    await paced.turns(EMPTY_TURNS * 20)
    assert set(paced.slept) == {REST_S}
    assert len(paced.slept) == pytest.approx(20, abs=1)
    paced.pace.close()


async def test_a_loop_that_always_has_something_to_do_never_rests():
    paced = Paced(EMPTY_S * 2)
    assert paced.pace.look(1.0, MANY)
    await paced.turns(100)
    assert paced.slept == []
    paced.pace.close()


@pytest.mark.parametrize("ends", ["few", "closed"])
async def test_it_rests_no_more_once_robots_are_few_or_the_gateway_stops(ends):
    paced = Paced(EMPTY_S / 10)
    paced.pace.look(1.0, MANY)
    await paced.turns(10)
    if ends == "closed":
        paced.pace.close()
    else:
        assert [paced.pace.look(2.0 + n, FEW) for n in range(CALM_LOOKS)] == [False] * (CALM_LOOKS - 1) + [True]
    rested = len(paced.slept)
    await paced.turns(100)
    assert len(paced.slept) == rested


async def test_to_look_again_does_not_make_it_rest_twice_as_often():
    paced = Paced(EMPTY_S / 10)
    paced.pace.look(1.0, MANY)
    assert not paced.pace.look(2.0, MANY)
    await paced.turns(EMPTY_TURNS * 10)
    assert len(paced.slept) == pytest.approx(10, abs=1)
    paced.pace.close()
