"""Which of several gateways a robot dials, at which of its addresses, and when it goes on. Pure: time is passed in."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from reachy_link.address import Address, is_ipv6, spread

ROUND_S: Final = 3.0
"""After every gateway failed in a row, the robot stays so long at the last before it begins another round."""
ADDRESSES_ROUND_S: Final = 0.25
"""The same where there is one gateway, of several addresses at which nobody listens: libzmq's own pace of dialling."""
LOOK_UP_S: Final = 2.0
"""A robot waits so long for the first addresses of a name, then the round goes on without them."""
LOOK_AGAIN_S: Final = 0.5
"""A name is looked up again, while it is in question, so long after the last look-up began at the earliest."""
LEARNED_MAX: Final = 17
"""Gateways that are learned of, and their places: those that a welcome has room for, and where the robot is. The others are
forgotten."""
LOOK_UPS_MAX: Final = 8
"""Look-ups of names that were only learned of, under way at a time: so there is room for those of names that were given."""


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

    Beside those that were given it knows some that it has learned of. They are tried when all that were given have failed.

    Args:
        gateways: In the order in which they are tried, round and round.
        now: When the robot turns to the first.
        robot: Whose order the addresses of one name have, and the gateways that are learned of.
        learned: What was learned before: first where the robot was at an earlier start.
    """

    def __init__(self, gateways: Sequence[Address], now: float, robot: str = "", learned: Sequence[Address] = ()) -> None:
        self._gateways = tuple(gateways)
        self._learned: tuple[Address, ...] = ()
        self._robot = robot
        self._names = {gateway.host: _Name() for gateway in gateways if gateway.named}
        self._given_names = frozenset(self._names)
        self._places = self._places_of(self._gateways)
        """Of the gateways that were given."""
        self._beyond: tuple[Place, ...] = ()
        """Of those that were learned of; a name is one once its addresses are known."""
        self.place: Place | None = self._places[0] if self._places else None
        """Where the robot is."""
        self._failed = 0
        """Places that failed one after the other, before the one that the robot is at."""
        self._down: set[Address] = set()
        """Which of them have failed in this round."""
        self._round_s = 0.0
        """How long the robot is to stay at the last of them: for as long as the slowest of these failures asks for."""
        self._since = now
        self._sent_to: Address | None = None
        """The gateway that the robot was sent to: all its addresses come before anything else."""
        self._sent = float("-inf")
        self._left_given = now
        """When the robot was last at a gateway that was given."""
        self._was: Address | None = learned[0] if learned else None
        """Where the robot was at an earlier start, until it is served."""
        self.learn(learned)

    @property
    def several(self) -> bool:
        """Whether there is another place to go to."""
        return any(place != self.place for place in self._all())

    @property
    def one_gateway(self) -> bool:
        """Whether one gateway was given, so that all its places are its addresses."""
        return len(self._gateways) <= 1

    @property
    def here(self) -> Address | None:
        """What is dialled where the robot is."""
        return self.place.address if self.place else None

    @property
    def given(self) -> bool:
        """Whether the gateway where the robot is was given, by whatever name."""
        return self.place is None or self.place.gateway in self._gateways

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
        self._begin_round(at_given=self.given)

    def learn(self, gateways: Sequence[Address]) -> None:
        """Some gateways are known beside those that were given, in place of those before; with none nothing changes.

        Where the robot is stays known: who serves it does not name itself.
        """
        here = [self.here] if self.here and not self.here.named else []
        if gateways and self._gateways:
            self._know([*here, *gateways])

    def arrived(self) -> None:
        """The robot is served where it was told to go: that it was elsewhere at an earlier start does not matter any more."""
        if self.given and self._was != self.here and self._was in self._learned:
            self._know([gateway for gateway in self._learned if gateway != self._was])
        self._was = None

    def go(self, gateway: Address, now: float) -> bool:
        """Go to a gateway that the one here has named, whether it was known or not.

        Returns:
            Whether the robot is at another place now: not if it is there, or was sent somewhere a moment ago.
        """
        gateway = next((known for known in (*self._gateways, *self._learned) if known.same == gateway.same), gateway)
        if self.here is None or now - self._sent < ROUND_S or not self._elsewhere(gateway):
            return False
        self._know([gateway, *self._learned])
        self.doubt()
        self._sent, self._sent_to, self._since = now, gateway, now
        address = self._elsewhere(gateway)[0]
        self.place = next((place for place in self._all() if place.address == address), Place(gateway, address))
        self._begin_round(at_given=self.given)
        return True

    def onward(self, now: float, round_s: float = ROUND_S) -> bool:
        """Go on to the next place, as the one here has failed; false while it is too early for another round."""
        if not self.several:
            return False
        self._round_s = max(self._round_s, round_s)
        if self.given:
            self._left_given = now
        place = self._next()
        if place in self._beyond and now - self._left_given >= ROUND_S:  # what was given must not wait for all of these
            self._down -= {given.address for given in self._places}
            place = self._next()
        if place is None:
            if self.here_s(now) < self._round_s:
                return False
            self._begin_round(at_given=False)
            self._round_s, place = 0.0, self._given_from_here()[0]
        self._failed += 1
        self.place, self._since = place, now
        return True

    def doubt(self) -> None:
        """What is known of names may be out of date, as a gateway has failed: they are looked up again."""
        for name in self._names.values():
            name.doubted = True

    def look_ups(self, now: float) -> list[str]:
        """The names that are to be looked up now; of each, one look-up is under way at a time."""
        due = []
        room = LOOK_UPS_MAX - sum(name.asking for host, name in self._names.items() if host not in self._given_names)
        for host, name in self._names.items():
            if name.doubted and not name.asking and now - name.asked >= LOOK_AGAIN_S:
                if host not in self._given_names:
                    if room <= 0:
                        continue
                    room -= 1
                name.asked, name.asking, name.doubted = now, True, False
                due.append(host)
        return due

    def overdue(self, now: float) -> bool:
        """Whether the look-up of the name here takes so long that it counts as one that failed."""
        if self.unknown and not self.given:
            return self.here_s(now) >= LOOK_UP_S  # it may still wait for others to end
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
        if host not in self._wanted_names():
            del self._names[host]  # it was forgotten meanwhile
        if not ips or tuple(ips) == name.found:
            return False
        name.found = tuple(ips)
        self._settle()
        if stay or self.place is None:
            return False
        for place in self._all():
            if place.address == self.place.address:
                self.place = place
                return False
        if self.place.gateway.host != host:
            return False
        self.place = self._first_of(self.place.gateway)
        self._since = now
        return True

    def __contains__(self, address: Address | None) -> bool:
        """Whether the route leads there."""
        return any(address in place for place in self._all())

    def _all(self) -> tuple[Place, ...]:
        return self._places + self._beyond

    def _begin_round(self, *, at_given: bool) -> None:
        """Nothing has failed yet. Where the robot is at a place that was given, that is the first of the round."""
        self._failed = 0 if at_given else -1
        self._down.clear()

    def _next(self) -> Place | None:
        """The next place of this round; none if all have failed."""
        if self.here:
            self._down.add(self.here)
        order = self._given_from_here()
        if self.given and not self._beyond:
            return order[0] if self._failed < len(self._places) - 1 else None
        sent_to = [place for place in self._beyond if place.gateway == self._sent_to]
        return next((place for place in (*sent_to, *order, *self._beyond) if place.address not in self._down), None)

    def _given_from_here(self) -> tuple[Place, ...]:
        """The places that were given, from the next one on; from the first on where the robot is at none of them."""
        if self.place in self._places:
            at = self._places.index(self.place) + 1
        else:  # the name has other addresses by now, or it was learned
            at = self._places.index(self._first_of(self.place.gateway)) if self.place and self.given else 0
        return self._places[at:] + self._places[:at]

    def _first_of(self, gateway: Address) -> Place:
        """The first place of a gateway; if its addresses are another's, too, the first of all, or of those."""
        addresses = () if gateway in self._gateways else self._addresses(gateway)
        own = (place for place in self._all() if place.gateway == gateway)
        others = (place for address in addresses for place in self._all() if place.address == address)
        return next(own, None) or next(others, self._places[0])

    def _elsewhere(self, gateway: Address) -> list[Address]:
        """The addresses of a gateway at which the robot is not; the name alone where none is known."""
        return [address for address in self._addresses(gateway) if address.same != (self.here and self.here.same)]

    def _know(self, gateways: Iterable[Address]) -> None:
        """These are what has been learned, but for those that were given."""
        given = {gateway.same for gateway in self._gateways}
        learned: dict[Address, Address] = {}
        for gateway in gateways:
            if gateway.same not in given and len(learned) < LEARNED_MAX:
                learned.setdefault(gateway.same, gateway)
        self._learned = tuple(spread(self._robot, learned.values()))
        wanted = self._wanted_names()
        self._names = {host: name for host, name in self._names.items() if host in wanted or name.asking}
        for host in wanted:
            self._names.setdefault(host, _Name())
        self._settle()

    def _wanted_names(self) -> dict[str, None]:
        return dict.fromkeys(gateway.host for gateway in (*self._gateways, *self._learned) if gateway.named)

    def _settle(self) -> None:
        """Work the places out anew."""
        beyond = self._beyond
        self._places = self._places_of(self._gateways)
        given = {place.address for place in self._places}
        found = self._places_of(self._learned)
        others = [place for place in found if place.address not in given and not place.address.named]
        self._beyond = tuple(place for n, place in enumerate(others) if n < LEARNED_MAX or place.address == self.here)
        self._down &= {place.address for place in self._all()}
        if beyond and not self._beyond:  # as if only what was given had been tried
            self._failed = len(self._down - {self.here})
        if self.place and not self.given:
            self.place = next((place for place in self._all() if place.address == self.here), self.place)

    def _places_of(self, gateways: Sequence[Address]) -> tuple[Place, ...]:
        places: dict[Address, Place] = {}
        for gateway in gateways:
            for address in self._addresses(gateway):
                places.setdefault(address, Place(gateway, address))
        return tuple(places.values())

    def _addresses(self, gateway: Address) -> list[Address]:
        """What is dialled for a gateway; its name, while no address of that is known."""
        name = self._names.get(gateway.host)
        return self._in_order(gateway, name.found if name else ()) or [gateway]

    def _in_order(self, gateway: Address, ips: Sequence[str]) -> list[Address]:
        """The addresses of a name: a family after the other, as the system prefers them; within it, in the robot's order."""
        addresses = [gateway.at(ip) for ip in ips]
        families = dict.fromkeys(is_ipv6(ip) for ip in ips)
        return [
            address
            for family in families
            for address in spread(self._robot, [each for each in addresses if is_ipv6(each.host) == family])
        ]
