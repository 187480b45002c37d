"""Decides which robots a gateway sends to other gateways, so that an added gateway gets its share. Pure: time is passed in.

A robot stays where it is served, so without this an added gateway would stay empty. Each gateway decides for itself, and all
use the same rule. A robot's place is the first gateway in the robot's own order of all gateways
(:func:`~reachy_link.address.spread`), where it would also begin. So a robot moves at most once for each gateway that is added,
and never to and fro, even if the gateways' numbers of one another are old. If robots cannot reach a gateway at the address
that it tells, a few are sent in vain, and then fewer and fewer.
"""

from collections.abc import Collection, Mapping
from typing import Final

from reachy_gateway.fleet.present import Neighbours
from reachy_link.address import readable, spread

ABOVE: Final = 1.2
"""A gateway sends robots away while it has more than this multiple of the mean."""
SETTLED_S: Final = 30.0
"""No gateway may have come or gone for so long. So no robot is moved while gateways are restarted one after the other."""
IDLE_S: Final = 20.0
"""How long nobody must have spoken with a robot before it is moved."""
PACE_S: Final = 1.0
"""One robot is moved at a time, because each takes a dial at both gateways and one at Gemini."""
AGAIN_S: Final = 60.0
"""A robot that is still here after so long did not go, or came back. Perhaps robots cannot reach that gateway at its address.
Then no robot is sent there for this time, and after each further failure for twice as long."""
AGAIN_MAX_S: Final = 3600.0
GONE_S: Final = 10.0
"""A robot that has been away for so long has arrived."""
PENDING_MAX: Final = 3
"""How many robots may be asked to go to one gateway and still be here. Further ones wait."""
LOOKS: Final = 4
"""How many robots' places are computed at a time. Each takes a hash per gateway, up to 2 ms for 250 gateways."""


class Leveller:
    """Decides which robots move."""

    def __init__(self) -> None:
        self._gateways: frozenset[str] = frozenset()
        self._since = float("inf")
        """Since when these are all gateways that serve."""
        self._asked: dict[str, tuple[float, str]] = {}
        """When each robot was asked to go, and to which gateway."""
        self._vain: dict[str, tuple[int, float]] = {}
        """Gateways at which robots did not arrive: how many in a row, and when the next robot may be sent."""
        self._moved = float("-inf")
        self._looked = ""
        """The last robot, by name, whose place was computed."""

    def move(self, now: float, neighbours: Neighbours, idle_s: Mapping[str, float]) -> tuple[str, str] | None:
        """A robot that should move, and the address to move to; None if none should move now.

        Args:
            now: The time.
            neighbours: The fleet's gateways.
            idle_s: How long nobody has spoken with each robot that is here.
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
        """Judge the robots that were asked to go. A robot that is no longer here has gone."""
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
        """Some robots that may be moved: the next ones in the order of their names."""
        names = sorted(robot for robot, idle in idle_s.items() if idle >= IDLE_S and robot not in self._asked)
        behind = [name for name in names if name > self._looked]
        some = [*behind, *names[: len(names) - len(behind)]][:LOOKS]
        self._looked = some[-1] if some else ""
        return some
