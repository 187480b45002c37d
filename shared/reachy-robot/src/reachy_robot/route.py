"""Which of several gateways a robot dials, at which address, and when it goes to the next. Pure: time is passed in."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from reachy_link.address import Address, is_ipv6, spread

ROUND_S: Final = 3.0
"""When all gateways have failed one after the other, the robot stays this long at the last before it starts another round."""
ADDRESSES_ROUND_S: Final = 0.25
"""The same pause for a single gateway with several addresses at which nobody listens: libzmq's own pace of dialling."""
LOOK_UP_S: Final = 2.0
"""The robot waits this long for the first addresses of a name; then the round goes on without them."""
LOOK_AGAIN_S: Final = 0.5
"""The shortest time from the start of a name's look-up to the start of its next."""
LEARNED_MAX: Final = 17
"""Learned gateways that are kept, and places of them: as many as a welcome has room for, and the robot's own. The others are
forgotten."""
LOOK_UPS_MAX: Final = 8
"""Look-ups of learned names at a time, so that there is room for look-ups of given names."""


class Place(NamedTuple):
    """One address of one gateway."""

    gateway: Address
    """The gateway as it was given or learned."""
    address: Address
    """The address to dial; the gateway's name while no address of it is known."""

    def __str__(self) -> str:
        return str(self.gateway) + (f" ({self.address.host})" if self.address != self.gateway else "")


@dataclass(slots=True)
class _Name:
    """The state of a name's look-ups."""

    found: tuple[str, ...] = ()
    """The name's addresses, from the last look-up that found any."""
    asked: float = float("-inf")
    """When the last look-up began."""
    asking: bool = False
    """Whether that look-up is still running."""
    doubted: bool = True
    """Whether another look-up is needed."""


class Route:
    """The gateways in the robot's order, the addresses of each, and the place where the robot is.

    *Given* gateways come from the robot's settings. *Learned* gateways were named by other gateways, or remembered from an
    earlier start; the robot tries them when all given gateways have failed.

    Args:
        gateways: The given gateways, in the order in which they are tried again and again.
        now: The time at which the robot goes to the first gateway.
        robot: The robot's name. It sets the order of a name's addresses and of the learned gateways.
        learned: Gateways learned at an earlier start; the first is where the robot was.
    """

    def __init__(self, gateways: Sequence[Address], now: float, robot: str = "", learned: Sequence[Address] = ()) -> None:
        self._gateways = tuple(gateways)
        self._learned: tuple[Address, ...] = ()
        self._robot = robot
        self._names = {gateway.host: _Name() for gateway in gateways if gateway.named}
        self._given_names = frozenset(self._names)
        self._places = self._places_of(self._gateways)
        """The places of the given gateways."""
        self._beyond: tuple[Place, ...] = ()
        """The places of the learned gateways. A name has places once its addresses are known."""
        self.place: Place | None = self._places[0] if self._places else None
        """The robot's current place."""
        self._failed = 0
        """How many places failed one after the other before the current one."""
        self._down: set[Address] = set()
        """The addresses that have failed in this round."""
        self._round_s = 0.0
        """How long the robot stays at the round's last place: as long as the slowest of the round's failures asks for."""
        self._since = now
        self._sent_to: Address | None = None
        """The gateway to which the robot was sent: its addresses come before all others."""
        self._sent = float("-inf")
        self._left_given = now
        """When the robot was last at a given gateway."""
        self._was: Address | None = learned[0] if learned else None
        """The robot's place at an earlier start, until a gateway serves the robot."""
        self.learn(learned)

    @property
    def several(self) -> bool:
        """Whether there is another place to go to."""
        return any(place != self.place for place in self._all())

    @property
    def one_gateway(self) -> bool:
        """Whether only one gateway was given, so that all given places are its addresses."""
        return len(self._gateways) <= 1

    @property
    def here(self) -> Address | None:
        """The address of the current place."""
        return self.place.address if self.place else None

    @property
    def given(self) -> bool:
        """Whether the current gateway was given, under any name."""
        return self.place is None or self.place.gateway in self._gateways

    @property
    def name(self) -> str:
        """The name of the current gateway; empty if it has none."""
        return self.place.gateway.host if self.place and self.place.gateway.named else ""

    @property
    def unknown(self) -> bool:
        """Whether the robot cannot dial here, because no address of the name is known."""
        return self.place is not None and self.place.address.named

    def here_s(self, now: float) -> float:
        """How long the robot has been at the current place."""
        return now - self._since

    def served(self) -> None:
        """The current gateway has served so long that earlier failures no longer count."""
        self._begin_round(at_given=self.given)

    def learn(self, gateways: Sequence[Address]) -> None:
        """Replace the learned gateways by these; an empty list changes nothing.

        The current address stays known: a gateway does not name itself.
        """
        here = [self.here] if self.here and not self.here.named else []
        if gateways and self._gateways:
            self._know([*here, *gateways])

    def arrived(self) -> None:
        """A gateway serves the robot. If it is a given one, forget the robot's place at an earlier start."""
        if self.given and self._was != self.here and self._was in self._learned:
            self._know([gateway for gateway in self._learned if gateway != self._was])
        self._was = None

    def go(self, gateway: Address, now: float) -> bool:
        """Go to a gateway that the current one has named, known or not.

        Returns:
            Whether the robot has moved. It does not move if it is there already, or was sent somewhere a moment ago.
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
        """Go to the next place because the current one has failed; false while it is too early for another round."""
        if not self.several:
            return False
        self._round_s = max(self._round_s, round_s)
        if self.given:
            self._left_given = now
        place = self._next()
        if place in self._beyond and now - self._left_given >= ROUND_S:  # given places must not wait for all of these
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
        """A gateway has failed, so known addresses may be out of date: look all names up again."""
        for name in self._names.values():
            name.doubted = True

    def look_ups(self, now: float) -> list[str]:
        """The names to look up now. Each name has one look-up at a time."""
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
        """Whether the look-up of the current name takes so long that it counts as failed."""
        if self.unknown and not self.given:
            return self.here_s(now) >= LOOK_UP_S  # the look-up may still wait for others to end
        name = self._names.get(self.name)
        return self.unknown and name is not None and name.asking and now - name.asked >= LOOK_UP_S

    def looked_up(self, host: str, ips: Sequence[str], now: float, *, stay: bool) -> bool:
        """A look-up has ended. Without addresses it has failed, and the earlier addresses stay.

        Args:
            host: The name.
            ips: The name's addresses; an IPv6 address is in brackets.
            now: The current time.
            stay: The robot is served and stays where it is, whatever the addresses are now.

        Returns:
            Whether the robot is at another place now.
        """
        name = self._names[host]
        name.asking = False
        if host not in self._wanted_names():
            del self._names[host]  # the name was forgotten during the look-up
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
        """Whether the address is on the route."""
        return any(address in place for place in self._all())

    def _all(self) -> tuple[Place, ...]:
        return self._places + self._beyond

    def _begin_round(self, *, at_given: bool) -> None:
        """Begin a round, in which nothing has failed. If the robot is at a given place, the round begins with this place."""
        self._failed = 0 if at_given else -1
        self._down.clear()

    def _next(self) -> Place | None:
        """The next place of this round; None if all have failed."""
        if self.here:
            self._down.add(self.here)
        order = self._given_from_here()
        if self.given and not self._beyond:
            return order[0] if self._failed < len(self._places) - 1 else None
        sent_to = [place for place in self._beyond if place.gateway == self._sent_to]
        return next((place for place in (*sent_to, *order, *self._beyond) if place.address not in self._down), None)

    def _given_from_here(self) -> tuple[Place, ...]:
        """The given places from the next one on; from the first one on if the robot is at none of them."""
        if self.place in self._places:
            at = self._places.index(self.place) + 1
        else:  # the name has other addresses now, or it was learned
            at = self._places.index(self._first_of(self.place.gateway)) if self.place and self.given else 0
        return self._places[at:] + self._places[:at]

    def _first_of(self, gateway: Address) -> Place:
        """A gateway's first place; without one, the first place at one of its addresses, or the first of all."""
        addresses = () if gateway in self._gateways else self._addresses(gateway)
        own = (place for place in self._all() if place.gateway == gateway)
        others = (place for address in addresses for place in self._all() if place.address == address)
        return next(own, None) or next(others, self._places[0])

    def _elsewhere(self, gateway: Address) -> list[Address]:
        """A gateway's addresses without the robot's current one; only the name while no address is known."""
        return [address for address in self._addresses(gateway) if address.same != (self.here and self.here.same)]

    def _know(self, gateways: Iterable[Address]) -> None:
        """Set the learned gateways; given ones among them are left out."""
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
        """Compute the places again."""
        beyond = self._beyond
        self._places = self._places_of(self._gateways)
        given = {place.address for place in self._places}
        found = self._places_of(self._learned)
        others = [place for place in found if place.address not in given and not place.address.named]
        self._beyond = tuple(place for n, place in enumerate(others) if n < LEARNED_MAX or place.address == self.here)
        self._down &= {place.address for place in self._all()}
        if beyond and not self._beyond:  # as if only given places had been tried
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
        """The addresses to dial for a gateway; its name while no address of it is known."""
        name = self._names.get(gateway.host)
        return self._in_order(gateway, name.found if name else ()) or [gateway]

    def _in_order(self, gateway: Address, ips: Sequence[str]) -> list[Address]:
        """A name's addresses: one family after the other, as the system prefers; within a family in the robot's order."""
        addresses = [gateway.at(ip) for ip in ips]
        families = dict.fromkeys(is_ipv6(ip) for ip in ips)
        return [
            address
            for family in families
            for address in spread(self._robot, [each for each in addresses if is_ipv6(each.host) == family])
        ]
