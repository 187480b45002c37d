"""Which of several gateways a robot dials, at which of its addresses, and when it goes on. Pure: time is passed in."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Final, NamedTuple

from reachy_link.address import Address, is_ipv6

ROUND_S: Final = 3.0
"""After every gateway failed in a row, the robot stays so long at the last before it begins another round."""
ADDRESSES_ROUND_S: Final = 0.25
"""The same where there is one gateway, of several addresses at which nobody listens: libzmq's own pace of dialling."""
LOOK_UP_S: Final = 2.0
"""A robot waits so long for the first addresses of a name, then the round goes on without them."""
LOOK_AGAIN_S: Final = 0.5
"""A name is looked up again, while it is in question, so long after the last look-up began at the earliest."""


def spread(robot: str, addresses: Iterable[Address]) -> list[Address]:
    """The addresses in an order of the robot's own, the same at each start: rendezvous hashing.

    Robots spread evenly over the gateways; those of a gateway that is gone spread evenly over the others; a gateway that is
    added takes its share from all and moves nobody else.
    """
    return sorted(addresses, key=lambda address: blake2b(f"{robot} {address}".encode(), digest_size=8).digest())


class Place(NamedTuple):
    """One address of one gateway."""

    gateway: Address
    """As it was given."""
    address: Address
    """What is dialled; still the gateway's name where no address of it is known."""

    def __str__(self) -> str:
        return str(self.gateway) + (f" ({self.address.host})" if self.address != self.gateway else "")


@dataclass(slots=True)
class _Name:
    """What is known of a name."""

    found: tuple[str, ...] = ()
    """Its addresses by the last look-up that found any."""
    asked: float = float("-inf")
    """When the last look-up began."""
    asking: bool = False
    """That look-up has not ended."""
    doubted: bool = True
    """Another one is wanted."""


class Route:
    """The gateways in a robot's order, each with the addresses of its name, and at which of them the robot is.

    Args:
        gateways: In the order in which they are tried, round and round.
        now: When the robot turns to the first.
        robot: Whose order the addresses of one name have.
    """

    def __init__(self, gateways: Sequence[Address], now: float, robot: str = "") -> None:
        self._gateways = tuple(gateways)
        self._robot = robot
        self._names = {gateway.host: _Name() for gateway in gateways if gateway.named}
        self._places = self._all_places()
        self.place: Place | None = self._places[0] if self._places else None
        """Where the robot is."""
        self._failed = 0
        """Places that failed one after the other, before the one that the robot is at."""
        self._round_s = 0.0
        """How long the robot is to stay at the last of them: for as long as the slowest of these failures asks for."""
        self._since = now

    @property
    def several(self) -> bool:
        """Whether there is another place to go to."""
        return any(place != self.place for place in self._places)

    @property
    def one_gateway(self) -> bool:
        """Whether all places are addresses of one gateway."""
        return len(self._gateways) <= 1

    @property
    def here(self) -> Address | None:
        """What is dialled where the robot is."""
        return self.place.address if self.place else None

    @property
    def name(self) -> str:
        """The name of the gateway where the robot is; empty if it has none."""
        return self.place.gateway.host if self.place and self.place.gateway.named else ""

    @property
    def unknown(self) -> bool:
        """Whether nothing can be dialled here, as no address of the name is known."""
        return self.place is not None and self.place.address.named

    def here_s(self, now: float) -> float:
        """How long the robot has been there."""
        return now - self._since

    def served(self) -> None:
        """The gateway here has served for so long that what failed before is past."""
        self._failed = 0

    def onward(self, now: float, round_s: float = ROUND_S) -> bool:
        """Go on to the next place, as the one here has failed; false while it is too early for another round."""
        if not self.several:
            return False
        self._round_s = max(self._round_s, round_s)
        if self._failed >= len(self._places) - 1:
            if self.here_s(now) < self._round_s:
                return False
            self._failed, self._round_s = -1, 0.0
        self._failed += 1
        if self.place in self._places:
            at = self._places.index(self.place) + 1
        else:  # the name has other addresses by now
            at = self._first_of(self.place.gateway if self.place else None)
        self.place = self._places[at % len(self._places)]
        self._since = now
        return True

    def doubt(self) -> None:
        """What is known of names may be out of date, as a gateway has failed: they are looked up again."""
        for name in self._names.values():
            name.doubted = True

    def look_ups(self, now: float) -> list[str]:
        """The names that are to be looked up now; of each, one look-up is under way at a time."""
        due = []
        for host, name in self._names.items():
            if name.doubted and not name.asking and now - name.asked >= LOOK_AGAIN_S:
                name.asked, name.asking, name.doubted = now, True, False
                due.append(host)
        return due

    def overdue(self, now: float) -> bool:
        """Whether the look-up of the name here takes so long that it counts as one that failed."""
        name = self._names.get(self.name)
        return self.unknown and name is not None and name.asking and now - name.asked >= LOOK_UP_S

    def looked_up(self, host: str, ips: Sequence[str], now: float, *, stay: bool) -> bool:
        """A look-up has ended; without addresses it has failed, and those that were found before are kept.

        Args:
            host: The name.
            ips: Its addresses, in brackets if of IPv6.
            now: When that was.
            stay: The robot is served where it is, whatever the addresses are now.

        Returns:
            Whether the robot is at another place now.
        """
        name = self._names[host]
        name.asking = False
        if not ips or tuple(ips) == name.found:
            return False
        name.found = tuple(ips)
        self._places = self._all_places()
        if stay or self.place is None:
            return False
        for place in self._places:
            if place.address == self.place.address:
                self.place = place
                return False
        if self.place.gateway.host != host:
            return False
        self.place = self._places[self._first_of(self.place.gateway)]
        self._since = now
        return True

    def __contains__(self, address: Address | None) -> bool:
        """Whether the route leads there."""
        return any(address in place for place in self._places)

    def _first_of(self, gateway: Address | None) -> int:
        """The first place of a gateway; the first of all if its addresses are another's, too."""
        return next((n for n, place in enumerate(self._places) if place.gateway == gateway), 0)

    def _all_places(self) -> tuple[Place, ...]:
        places: dict[Address, Place] = {}
        for gateway in self._gateways:
            ips = self._names[gateway.host].found if gateway.named else ()
            for address in self._in_order(gateway, ips) or [gateway]:
                places.setdefault(address, Place(gateway, address))
        return tuple(places.values())

    def _in_order(self, gateway: Address, ips: Sequence[str]) -> list[Address]:
        """The addresses of a name: a family after the other, as the system prefers them; within it, in the robot's order."""
        addresses = [gateway.at(ip) for ip in ips]
        families = dict.fromkeys(is_ipv6(ip) for ip in ips)
        return [
            address
            for family in families
            for address in spread(self._robot, [each for each in addresses if is_ipv6(each.host) == family])
        ]
