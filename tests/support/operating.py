"""An operator at a gateway's admin port: the console's own end of the port, and a record of its messages."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from itertools import count
from pathlib import Path
from typing import Any

from rig import Keys

from gemini_gateway.office import GeminiOffice
from gemini_gateway.voices import Voices
from reachy_console.admin_link import AdminLink
from reachy_console.fleet import Gateway
from reachy_gateway.admin.office import NoOffice, Office, Permits
from reachy_gateway.admin.service import Admin
from reachy_gateway.hub import Hub
from reachy_link import admin
from reachy_link.address import Address
from reachy_link.keys import KeyPair, make_pair
from reachy_link.operators import Operators


class Permissive(NoOffice):
    """Permits operators everything."""

    def permits(self, robot: str) -> Permits:
        del robot
        return Permits(transcripts=True, recordings=True)


def gemini_office(voices: Voices) -> GeminiOffice:
    """The office of a test's voices."""
    return GeminiOffice(voices, voices._configuration, voices.toolbox.names, None)


def operator_of(made: Keys, name: str = "console", role: admin.Role = "operator") -> KeyPair:
    """Make the keys of an operator or viewer, and admit them at a test's gateway."""
    keys = make_pair(made.directory / f"{role}-{name}")
    Operators(made.gateway_dir).admit(role, name, keys.public.decode())
    return keys


@asynccontextmanager
async def running_admin(
    hub: Hub,
    made: Keys,
    office: Office | None = None,
    recordings: Path | None = None,
    port: int = 0,
    host: str = "127.0.0.1",
) -> AsyncIterator[Admin]:
    """Run the admin port of a running gateway."""
    made_of = {"directory": made.gateway_dir, "host": host, "port": port, "recordings": recordings}
    served = Admin(hub, made.pair, hub._ring, office or NoOffice(), **made_of)  # type: ignore[arg-type]
    task = asyncio.create_task(served.run())
    try:
        yield served
    finally:
        task.cancel()
        await asyncio.wait([task])
        await served.close()


class Operator:
    """A client that watches and commands."""

    def __init__(self, made: Keys, keys: KeyPair, port: int) -> None:
        self.view = Gateway("test")
        self.told: list[admin.Told] = []
        self.missed = 0
        self.changed = asyncio.Event()
        self.link = AdminLink(keys, made.pair.public, Address("127.0.0.1", port, 1), self._hear)
        self._numbers = count(1)

    def _hear(self, told: admin.Told) -> None:
        self.told.append(told)
        if not isinstance(told, admin.Answer):
            self.missed += not self.view.take(told, asyncio.get_running_loop().time())
        self.changed.set()

    def of(self, kind: type) -> list[Any]:
        return [told for told in self.told if isinstance(told, kind)]

    async def watch(self, *robots: str, afresh: bool = False) -> None:
        """Ask to watch these robots, until the request is sent."""
        request = admin.Watch(robots=robots, afresh=afresh)
        async with asyncio.timeout(5):
            while not self.link.tell(request):
                await asyncio.sleep(0.01)

    async def until(self, condition: Callable[[], object], timeout_s: float = 10.0) -> None:
        """Wait for a condition that a message makes true, and renew the watch meanwhile."""
        robots = self.view._looked.keys()
        async with asyncio.timeout(timeout_s):
            while not condition():
                self.changed.clear()
                try:
                    async with asyncio.timeout(admin.WATCH_S):
                        await self.changed.wait()
                except TimeoutError:
                    self.link.tell(admin.Watch(robots=tuple(robots)))

    async def do(self, kind: type, **fields: Any) -> admin.Answer:
        """Send a command, and wait for its answer."""
        answer, _ = await self.link.do(kind(id=next(self._numbers), **fields))
        return answer


@asynccontextmanager
async def operating(made: Keys, keys: KeyPair, port: int) -> AsyncIterator[Operator]:
    """Connect an operator to the admin port."""
    operator = Operator(made, keys, port)
    operator.link.dial()
    try:
        yield operator
    finally:
        operator.link.close()
