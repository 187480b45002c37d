"""Makes a gateway a member of a fleet, if there is a store."""

import asyncio
import logging
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass, field
from functools import partial
from hashlib import blake2b
from typing import Any, Final

from reachy_gateway.boundary import Boundary
from reachy_gateway.fleet.keyfolder import KeyFolder
from reachy_gateway.fleet.member import Member
from reachy_gateway.fleet.port import Accounts
from reachy_gateway.fleet.present import Present
from reachy_gateway.fleet.seal import Seal
from reachy_gateway.fleet.shelf import Shelf
from reachy_gateway.hub import Hub
from reachy_gateway.settings import GatewaySettings
from reachy_link.keys import ADMITTED_NAME, KeyPair

log = logging.getLogger(__name__)

AGAIN_S: Final = 1.0
Work = Callable[[], Coroutine[Any, Any, None]]
Follow = Callable[[Shelf], Coroutine[Any, Any, None]]


@dataclass(frozen=True)
class Parts:
    """The parts of a service that the gateways of a fleet share, besides conversations and keys."""

    accounts: Accounts | None = None
    """What the service spends."""
    shelves: dict[str, Follow] = field(default_factory=dict)
    """Other shelves by name: a function that follows the shelf until cancelled."""


class Fleet:
    """A gateway's part in its fleet.

    Args:
        member: Claims robots.
        folder: The admitted keys.
        follows: Functions that follow the shelves.
    """

    def __init__(self, member: Member, folder: KeyFolder, follows: Mapping[str, Work]) -> None:
        self._member = member
        self._folder = folder
        self._follows = follows

    @property
    def unready(self) -> str:
        """Why no robot should be sent here yet, in words; empty if there is no reason. It asks neither disk nor store."""
        if self._folder.has_list:
            return ""
        return "who is admitted is not known yet: neither the folder nor the store has told"

    async def run(self) -> None:
        """Take part in the fleet, until cancelled."""
        parts = {"member": self._member.run, **self._follows}
        async with asyncio.TaskGroup() as group:
            for name, part in parts.items():
                group.create_task(_kept_up(name, part), name=f"fleet: {name}")

    async def close(self) -> None:
        """Finish writing, and leave the fleet."""
        await self._member.close()


def joined(hub: Hub, settings: GatewaySettings, keys: KeyPair, parts: Parts) -> Fleet | None:
    """Join the gateways with the same key and store. Returns None for a gateway that is alone.

    Raises:
        OSError: If the store's root certificate cannot be read.
    """
    place = settings.store()
    if place is None:
        return None
    from reachy_gateway.fleet.valkey import Valkey  # noqa: PLC0415 - a gateway that is alone needs no redis-py

    store = Valkey(place, blake2b(keys.public, digest_size=4).hexdigest())
    seal = Seal(keys.secret)
    member = Member(store, seal, lambda: _present(hub, member, settings), parts.accounts)
    member.on_lost = hub.moved
    hub.fleet = member
    folder = KeyFolder(settings.keys_dir, seeded=settings.keys_from is not None)
    follows = {ADMITTED_NAME: folder.follow, **parts.shelves}
    return Fleet(member, folder, {name: partial(follow, Shelf(name, store, seal, member)) for name, follow in follows.items()})


async def _kept_up(name: str, work: Work) -> None:
    """Run one part, and start it again whenever it ends. The other parts go on meanwhile."""
    while True:
        with Boundary(lambda error: log.error("a bug in the fleet's part %s, which starts again", name, exc_info=error)):
            await work()
        await asyncio.sleep(AGAIN_S)


def _present(hub: Hub, member: Member, settings: GatewaySettings) -> Present:
    return Present(
        inbox=member.inbox,
        name=settings.called,
        where=settings.advertise,
        robots=len(hub.robots),
        robots_max=hub.max_robots,
        draining=hub.draining,
        software=hub.software,
    )
