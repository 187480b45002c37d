"""Which robot a gateway sends to which other, so that a gateway that was added gets its share. Pure: time is passed in.

A robot stays where it is served, so without this a new gateway would stay empty. Each gateway decides for itself, and all
by the same rule: a robot's place is the first gateway in its own order of all of them (:func:`~reachy_link.address.spread`),
where it would also begin. So a robot moves at most once for each gateway that comes, and never to and fro, however old the
numbers are that gateways know of one another. Where robots cannot reach a gateway at the address that it tells, a few are sent
in vain, and fewer and fewer after that.
"""

from collections.abc import Collection, Mapping
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
"""A robot that is still here after so long did not go, or came back: perhaps robots cannot reach that gateway where it says it
is. Then none is sent there for so long, and after each further one for twice as long."""
AGAIN_MAX_S: Final = 3600.0
GONE_S: Final = 10.0
"""Who has been away for so long has arrived."""
PENDING_MAX: Final = 3
"""Robots that were asked and are still here, for each gateway: further ones wait for what becomes of them."""
LOOKS: Final = 4
"""Robots whose place is looked up at a time: that takes a hash for each gateway, up to 2 ms for 250 of them."""


class Leveller:
    """See the module."""

    def __init__(self) -> None:
        self._gateways: frozenset[str] = frozenset()
        self._since = float("inf")
        """Since when these are all gateways that serve."""
        self._asked: dict[str, tuple[float, str]] = {}
        """When each robot was asked to go, and to which gateway."""
        self._vain: dict[str, tuple[int, float]] = {}
        """Gateways at which robots did not arrive: how many one after the other, and when the next may be sent."""
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
        self._judge(now, idle_s)
        own, settled = neighbours.own, now - self._since >= SETTLED_S
        if own is None or own not in serving or not settled or now - self._moved < PACE_S:
            return None
        mean = sum(it.robots for it in serving) / len(serving)
        if own.robots <= ABOVE * mean:
            return None
        by_address = {address: it for it in serving for address in readable([it.where])}
        for robot in self._some(idle_s):
            place = spread(robot, by_address)[0]
            there = by_address[place]
            if there.robots < min(mean, own.robots - 1, there.robots_max) and self._may_send(there.inbox, idle_s, now):
                self._moved, self._asked[robot] = now, (now, there.inbox)
                return robot, str(place)
        return None

    def _may_send(self, inbox: str, here: Collection[str], now: float) -> bool:
        pending = sum(asked == inbox and robot in here for robot, (_, asked) in self._asked.items())
        failed, not_before = self._vain.get(inbox, (0, now))
        return pending < (1 if failed else PENDING_MAX) and now >= not_before

    def _judge(self, now: float, here: Collection[str]) -> None:
        """What has become of those who were asked: who is not here any more has gone."""
        for robot, (at, inbox) in list(self._asked.items()):
            if robot in here and now - at >= AGAIN_S:
                failed = self._vain.get(inbox, (0, now))[0]
                self._vain[inbox] = failed + 1, now + min(AGAIN_S * 2**failed, AGAIN_MAX_S)
                del self._asked[robot]
            elif robot not in here and now - at >= GONE_S:
                self._vain.pop(inbox, None)
                del self._asked[robot]
        self._vain = {inbox: vain for inbox, vain in self._vain.items() if inbox in self._gateways}

    def _some(self, idle_s: Mapping[str, float]) -> list[str]:
        """Some robots that may be sent: those that come next in the order of their names."""
        names = sorted(robot for robot, idle in idle_s.items() if idle >= IDLE_S and robot not in self._asked)
        behind = [name for name in names if name > self._looked]
        some = [*behind, *names[: len(names) - len(behind)]][:LOOKS]
        self._looked = some[-1] if some else ""
        return some
