"""All gateways that the console knows, and the pages that show them. The console asks for nothing while no page shows them."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from functools import partial
from typing import Final, NamedTuple

from reachy_console import messages
from reachy_console.admin_link import AdminLink
from reachy_console.browser import Page
from reachy_console.fleet import Gateway
from reachy_link import admin
from reachy_link.address import Address, is_ipv6
from reachy_link.keys import KeyPair
from reachy_robot.resolver import LookUp, Resolver, system_look_up
from reachy_robot.trouble import Trouble

TELL_S: Final = 1.0
PIECE_S: Final = 0.025
"""Pause between two pieces of a recording: a gateway answers 50 requests a second from one console."""
LOOK_S: Final = 0.2
"""Shortest time between two requests to the gateways, however fast pages switch robots."""
HANG_UP_S: Final = 15.0
"""The console disconnects this long after the last page left, so that a reloaded page finds everything unchanged."""
LOOK_UP_S: Final = 5.0
"""Time between two lookups of a name while a page shows the gateways: the name may have gained or lost a gateway."""


class Look(NamedTuple):
    """The part of the fleet that a page shows."""

    fleet: bool = False
    robot: str | None = None


class Gateways:
    """The gateways, their admin links, and the pages' looks.

    Args:
        keys: The console's operator keys.
        gateway_public: The public key that all gateways share.
        addresses: The admin ports. A name with several addresses stands for one gateway at each address, at most 16.
        talking: Whether somebody talks to a page's robot. Such a page shows costs, so the gateways are asked.
        look_up: Looks names up.
    """

    def __init__(
        self,
        keys: KeyPair | None,
        gateway_public: bytes,
        addresses: Sequence[Address],
        talking: Callable[[], bool],
        look_up: LookUp = system_look_up,
    ) -> None:
        self._talking = talking
        self._keys = keys
        self._gateway_public = gateway_public
        self._given = tuple(addresses) if keys else ()
        self._found: dict[str, list[str]] = {}
        """The addresses of each name that has several."""
        self._resolver = Resolver(self._looked_up, look_up)
        self._looked_up_at = float("-inf")
        self._looks: dict[Page, Look] = {}
        self._last_look = self._asked_at = float("-inf")
        self._soon: asyncio.TimerHandle | None = None
        self._known: list[tuple[Gateway, AdminLink]] = []
        self._settle()

    async def run(self) -> None:
        """Watch the gateways while a page shows them, until cancelled."""
        try:
            while True:
                now = time.monotonic()
                if self._looks or self._talking():
                    self._last_look = now
                if now - self._last_look > HANG_UP_S:
                    for _, link in self._known:
                        link.close()
                elif now - self._asked_at >= admin.WATCH_S - TELL_S / 2:
                    self._watch()
                if now - self._last_look <= HANG_UP_S and now - self._looked_up_at >= LOOK_UP_S:
                    self._looked_up_at = now
                    for name in {address.host for address in self._given if address.named}:
                        self._resolver.ask(name)
                self._tell_standing(list(self._looks))
                await asyncio.sleep(TELL_S)
        finally:
            self._resolver.close()
            for _, link in self._known:
                link.close()

    def _looked_up(self, name: str, ips: Sequence[str], _: Trouble) -> None:
        """Take a name's addresses, of one family only: a gateway may listen on both. libzmq resolves one address itself."""
        ips = [ip for ip in ips if not is_ipv6(ip)] or ips
        if len(ips) > 1 or (ips and self._found.get(name)):
            self._found[name] = sorted(ips)
            self._settle()
            self._watch_soon()

    def _settle(self) -> None:
        """Make one gateway for each address and keep the known ones. A gateway without an address stays until it is gone."""
        known = {gateway.name: (gateway, link) for gateway, link in self._known}
        settled: dict[str, tuple[Gateway, AdminLink]] = {}
        for given in self._given:
            for host in self._found.get(given.host) or [given.host]:
                name = f"{host}:{given.up_port}"
                if name not in settled:  # two names may lead to one gateway
                    settled[name] = known.pop(name) if name in known else self._made(name, given.at(host))
        now, names = time.monotonic(), {f"{given.host}:{given.up_port}" for given in self._given}
        for name, (gateway, link) in known.items():
            if name in names or gateway.standing(now) == "gone":
                link.close()
            else:
                settled[name] = gateway, link
        self._known = list(settled.values())

    def _made(self, name: str, address: Address) -> tuple[Gateway, AdminLink]:
        gateway = Gateway(name)
        assert self._keys  # noqa: S101 - without keys there are no addresses
        return gateway, AdminLink(self._keys, self._gateway_public, address, partial(self._told, gateway))

    def look(self, page: Page, look: Look) -> None:
        """Note what a page shows from now on, and send it the known state."""
        before = self._looks.get(page, Look())
        if look == Look():
            self._looks.pop(page, None)
        else:
            self._looks[page] = look
        looked_at = set(self._looked_at())
        for gateway, _ in self._known:
            gateway.forget(looked_at)  # spoken words are kept only while a page shows the robot
        if look.robot != before.robot or (look != Look() and not all(link.is_open for _, link in self._known)):
            self._watch_soon()
        if not self._looks and not self._talking():
            for _, link in self._known:
                link.tell(admin.Unwatch())
        self._tell_standing([page] if look != Look() else [])
        for gateway, _ in self._known:
            if before == Look() and look != Look():
                for news in gateway.all_rows():
                    page.tell(messages.Fleet(gateway=gateway.name, it=news))
            if look.robot and look.robot != before.robot and (detail := gateway.detail(look.robot)):
                page.tell(messages.Detail(gateway=gateway.name, it=detail))

    async def do(self, name: str, command: admin.Command) -> AsyncIterator[messages.Done]:
        """Send a command to the named gateway, or to all if the name is empty. Yields each answer as it comes."""
        asked = [(gateway, link) for gateway, link in self._known if name in ("", gateway.name)]
        if not asked:
            words = f"this console knows of no gateway {name}"
            yield messages.Done(gateway=name, it=admin.Answer(id=command.id, ok=False, words=words))

        async def ask(gateway: Gateway, link: AdminLink) -> messages.Done:
            answer, _ = await link.do(command)
            return messages.Done(gateway=gateway.name, it=answer)

        for done in asyncio.as_completed([ask(*each) for each in asked]):
            yield await done

    async def pieces(self, name: str, recording: str) -> AsyncIterator[bytes]:
        """Fetch a recording, piece by piece from its beginning.

        Raises:
            LookupError: If the recording cannot be fetched; the message says why.
        """
        link = next((link for gateway, link in self._known if gateway.name == name), None)
        if link is None:
            raise LookupError(f"this console knows of no gateway {name}")
        offset, size = 0, 1
        while offset < size:
            answer, piece = await link.do(admin.Fetch(id=0, recording=recording, offset=offset))
            if not answer.ok or answer.size_bytes is None:
                raise LookupError(answer.words)
            if not piece and offset < answer.size_bytes:
                raise LookupError("the recording on the gateway has become shorter")
            offset, size = offset + len(piece), answer.size_bytes
            yield piece
            await asyncio.sleep(PIECE_S)

    def money(self, robot: str) -> tuple[float, float | None] | None:
        """A robot's cost today over all gateways, and its budget, in dollars; None if no gateway has told."""
        known = [gateway for gateway, _ in self._known if robot in gateway.rows]
        rows = [gateway.rows[robot] for gateway in known]
        budgets = [row.budget for row in rows if row.budget is not None]
        alone = [gateway.rows[robot].dollars for gateway in known if not (gateway.whole and gateway.whole.fleet)]
        together = [gateway.rows[robot].dollars for gateway in known if gateway.whole and gateway.whole.fleet]
        return (sum(alone) + max(together, default=0.0), max(budgets, default=None)) if rows else None

    def _watch_soon(self) -> None:
        """Ask the gateways at once, but not within ``LOOK_S`` of the last time."""
        if self._soon is None:
            loop, wait_s = asyncio.get_running_loop(), max(0.0, self._asked_at + LOOK_S - time.monotonic())
            self._soon = loop.call_later(wait_s, self._watch)

    def _watch(self) -> None:
        """Send a watch request to all gateways, after dialling the disconnected ones."""
        if self._soon:
            self._soon.cancel()
            self._soon = None
        if not self._looks and not self._talking():
            return
        self._asked_at = time.monotonic()
        looked_at = self._looked_at()
        for gateway, link in self._known:
            link.dial()
            # The console has dropped this robot's details; the gateway believes that the console still has them.
            afresh = any(gateway.detail(robot) is None and robot in gateway.rows for robot in looked_at)
            link.tell(admin.Watch(robots=looked_at, afresh=afresh))

    def _looked_at(self) -> tuple[str, ...]:
        """The robots that pages show, the newest look first, at most ``LOOKED_AT_MAX``."""
        robots = dict.fromkeys(look.robot for look in reversed(self._looks.values()) if look.robot)
        return tuple(robots)[: admin.LOOKED_AT_MAX]

    def _told(self, gateway: Gateway, told: admin.Told) -> None:
        if isinstance(told, admin.Answer):
            return
        if not gateway.take(told, time.monotonic()):
            if gateway.is_to_tell_anew(time.monotonic()):
                link = next(link for known, link in self._known if known is gateway)
                link.tell(admin.Watch(robots=self._looked_at(), afresh=True))
            return
        for page, look in list(self._looks.items()):
            match told:
                case admin.Fleet():
                    page.tell(messages.Fleet(gateway=gateway.name, it=told))
                case admin.Detail() if told.robot == look.robot:
                    page.tell(messages.Detail(gateway=gateway.name, it=told))
                case admin.Event() if told.robot == look.robot:
                    page.tell(messages.Event(gateway=gateway.name, it=told))
                case admin.Levels() if told.robot == look.robot:
                    page.tell(messages.Levels(gateway=gateway.name, it=told))

    def _tell_standing(self, pages: Sequence[Page]) -> None:
        if not pages:
            return
        now = time.monotonic()
        told = messages.Gateways(
            gateways=tuple(
                messages.Gateway(
                    name=gateway.name,
                    standing=gateway.standing(now),
                    age_s=None if gateway.heard_at is None else round(now - gateway.heard_at, 1),
                    whole=gateway.whole,
                )
                for gateway, _ in self._known
            )
        )
        for page in pages:
            page.tell(told)
