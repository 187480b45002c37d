"""Which robot a gateway sends to which other, so that a gateway that was added gets its share. Pure: time is passed in.

A robot stays where it is served, so without this a new gateway would stay empty. Each gateway decides for itself, and all
by the same rule: a robot's place is the first gateway in its own order of all of them (:func:`~reachy_link.address.spread`),
where it would also begin. So a robot moves at most once for each gateway that comes, and never to and fro, however old the
numbers are that gateways know of one another.
"""

from collections.abc import Mapping
from typing import Final

from reachy_gateway.fleet.present import Neighbours
from reachy_link.address import readable, spread

ABOVE: Final = 1.2
"""A gateway sends robots away while it has more than so many times the mean."""
SETTLED_S: Final = 30.0
"""So long no gateway has come or gone: robots are not sent about while gateways are restarted one after the other."""
IDLE_S: Final = 20.0
"""So long nobody has spoken with a robot that is sent."""
PACE_S: Final = 1.0
"""One robot at a time: each takes a dial of both gateways and one of Gemini's."""
AGAIN_S: Final = 60.0
"""A robot that did not go is asked again no sooner."""
LOOKS: Final = 4
"""Robots whose place is looked up at a time: that takes a hash for each gateway, up to 2 ms for 250 of them."""


class Leveller:
    """See the module."""

    def __init__(self) -> None:
        self._gateways: frozenset[str] = frozenset()
        self._since = float("inf")
        """Since when these are all gateways that serve."""
        self._asked: dict[str, float] = {}
        """When each robot was asked to go."""
        self._moved = float("-inf")
        self._looked = ""
        """The robot whose place was looked up last, by name."""

    def move(self, now: float, neighbours: Neighbours, idle_s: Mapping[str, float]) -> tuple[str, str] | None:
        """A robot that should go, and where to; None if none should now.

        Args:
            now: The time.
            neighbours: The fleet's gateways.
            idle_s: For how long nobody has spoken with each robot that is here.
        """
        serving = [it for it in neighbours if it.where and not it.draining]
        if (gateways := frozenset(it.inbox for it in serving)) != self._gateways:
            self._gateways, self._since = gateways, now
        own, settled = neighbours.own, now - self._since >= SETTLED_S
        if own is None or own not in serving or not settled or now - self._moved < PACE_S:
            return None
        mean = sum(it.robots for it in serving) / len(serving)
        if own.robots <= ABOVE * mean:
            return None
        by_address = {address: it for it in serving for address in readable([it.where])}
        for robot in self._some(now, idle_s):
            place = spread(robot, by_address)[0]
            there = by_address[place]
            if there.robots < min(mean, own.robots - 1, there.robots_max):
                self._moved = self._asked[robot] = now
                return robot, str(place)
        return None

    def _some(self, now: float, idle_s: Mapping[str, float]) -> list[str]:
        """Some robots that may be sent: those that come next in the order of their names."""
        self._asked = {robot: at for robot, at in self._asked.items() if now - at < AGAIN_S}
        names = sorted(robot for robot, idle in idle_s.items() if idle >= IDLE_S and robot not in self._asked)
        behind = [name for name in names if name > self._looked]
        some = [*behind, *names[: len(names) - len(behind)]][:LOOKS]
        self._looked = some[-1] if some else ""
        return some
