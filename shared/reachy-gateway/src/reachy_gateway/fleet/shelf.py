"""Things that a fleet keeps for all of its gateways, by name and version. The newest version counts."""

import asyncio
from collections.abc import Mapping
from itertools import islice
from typing import Final, NamedTuple

from reachy_gateway.fleet.member import Member
from reachy_gateway.fleet.port import Store, Versioned
from reachy_gateway.fleet.seal import Seal

PAUSE_S: Final = 0.1
DROPS_MAX: Final = 1000
"""How many things are dropped at a time."""
LOOK_S: Final = 5.0
"""A change is told at once. If the message is lost, the change is found within this time."""


class Thing(NamedTuple):
    """One thing on a shelf."""

    version: int
    text: str


class Shelf:
    """One shelf: all things of one kind.

    Args:
        name: The shelf's name.
    """

    def __init__(self, name: str, store: Store, seal: Seal, member: Member) -> None:
        self._name = name
        self._store = store
        self._seal = seal
        self._changed = asyncio.Event()
        self._read: dict[str, tuple[Versioned, Thing | None]] = {}
        member.on_shelf[name] = self._changed.set

    def look(self) -> None:
        """Note that something may have changed here."""
        self._changed.set()

    async def news(self) -> None:
        """Wait until somebody says that something was put on the shelf, or for ``LOOK_S``.

        It waits at least ``PAUSE_S``, so frequent messages are handled at a bounded pace.
        """
        await asyncio.sleep(PAUSE_S)
        try:
            async with asyncio.timeout(LOOK_S - PAUSE_S):
                await self._changed.wait()
        except TimeoutError:
            pass
        self._changed.clear()

    async def newest(self) -> dict[str, Thing]:
        """All things on the shelf that this fleet has sealed. Others are removed.

        Raises:
            StoreError: If the store does not answer.
        """
        found = await self._store.newest(self._name)
        self._read = {name: self._opened(name, thing) for name, thing in found.items()}
        if strange := {name: thing for name, (thing, read) in self._read.items() if read is None}:
            await self._store.drop(self._name, dict(islice(strange.items(), DROPS_MAX)))  # they would block the fleet's own
        return {name: thing for name, (_, thing) in self._read.items() if thing}

    async def put(self, things: Mapping[str, Thing]) -> None:
        """Put these things on the shelf, if they are newer.

        Raises:
            StoreError: If the store does not take them.
        """
        if things:
            sealed = {
                name: Versioned(it.version, self._seal.close(it.text, self._place(name, it.version)))
                for name, it in things.items()
            }
            await self._store.put(self._name, sealed)

    def _opened(self, name: str, thing: Versioned) -> tuple[Versioned, Thing | None]:
        if (known := self._read.get(name)) and known[0] == thing:
            return known
        text = self._seal.open(thing.sealed, self._place(name, thing.version))
        return thing, None if text is None else Thing(thing.version, text)

    def _place(self, name: str, version: int) -> str:
        return f"shelf {self._name} {name} {version}"
