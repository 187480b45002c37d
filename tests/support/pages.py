"""The console as a server, and a page that a test plays: its socket, its microphone and its speaker."""

import asyncio
import json
import secrets
import socket
import urllib.request
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import uvicorn
from rig import Keys
from websockets.asyncio.client import ClientConnection, connect

from reachy_console.__main__ import server_config
from reachy_console.app import Console
from reachy_console.gateways import Gateways
from reachy_console.login import Logins
from reachy_console.seats import Seat, Seats
from reachy_console.settings import ConsoleSettings
from reachy_link.address import Address
from reachy_link.keys import KeyPair
from reachy_link.pcm import Samples, from_pcm16, to_pcm16
from reachy_robot.resolver import LookUp, system_look_up

CHUNK_S = 0.02
SECRET = "s" * 20


class Served:
    """A running console."""

    def __init__(self, port: int, console: Console, logins: Logins, seats: Seats) -> None:
        self.port = port
        self.console = console
        self.logins = logins
        self.seats = seats
        self.now: Callable[[], float] = asyncio.get_running_loop().time
        self.cookie_name = f"reachy-console-{port}"
        self._tabs = count()

    @classmethod
    def at(cls, port: int) -> "Served":
        """A console that runs in another process."""
        return cls(port, None, None, None)  # type: ignore[arg-type]

    def open_link(self, code: str) -> str:
        """Open a link. Returns the cookie that the console sets."""
        request = urllib.request.Request(f"{self.url}/login", code.encode(), {"Origin": self.url})  # noqa: S310
        with urllib.request.urlopen(request, timeout=5) as response:  # noqa: S310 - the loopback
            return str(response.headers["Set-Cookie"]).partition(";")[0].partition("=")[2]

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def url(self) -> str:
        return f"http://{self.host}"

    def let_in(self, role: str = "operator") -> str:
        """A cookie, as after opening a link."""
        token = self.logins.redeem(self.logins.make_link(role, self.now()), self.now())  # type: ignore[arg-type]
        assert token
        return token

    @asynccontextmanager
    async def page(self, cookie: str, rate_hz: int = 16000, tab: str = "", **headers: str) -> AsyncIterator["FakePage"]:
        given = {"Cookie": f"{self.cookie_name}={cookie}", **headers}
        url = f"ws://{self.host}/ws"
        async with connect(url, origin=self.url, additional_headers=given, compression=None, max_size=None) as line:  # type: ignore[arg-type]
            page = FakePage(line, rate_hz, tab or f"tab-{next(self._tabs)}")
            tasks = [asyncio.create_task(page.read()), asyncio.create_task(page.listen())]
            try:
                yield page
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.wait(tasks)


class FakePage:
    """A page. It sends what it is told to say as its microphone, and remembers what it receives."""

    def __init__(self, socket: ClientConnection, rate_hz: int, tab: str) -> None:
        self.tab = tab
        self.n = 0
        self.socket = socket
        self.rate_hz = rate_hz
        self.told: list[dict[str, Any]] = []
        self.heard: list[bytes] = []
        self.closed: tuple[int | None, str] | None = None
        self._speech: list[Samples] = []
        self._changed = asyncio.Event()
        self._talks = False

    async def start(self) -> None:
        """Ask for a robot, and talk to it from now on."""
        self.n += 1
        await self.tell({"kind": "start", "rate_hz": self.rate_hz, "tab": self.tab, "n": self.n, "visible": True})
        self._talks = True

    def deafen(self) -> None:
        """Stop reading, like a page whose network is gone."""
        self.socket.transport.pause_reading()
        self._talks = False

    async def tell(self, message: object) -> None:
        await self.socket.send(json.dumps(message))

    def say(self, samples: Samples) -> None:
        """Speak, at the page's rate, mono."""
        length = int(self.rate_hz * CHUNK_S)
        padded = np.concatenate([samples, np.zeros((-len(samples) % length, 1), np.float32)])
        self._speech += list(padded.reshape(-1, length, 1))

    @property
    def states(self) -> list[str]:
        return [it["state"] for it in self.told if it["kind"] == "standing"]

    def kinds(self, kind: str) -> list[dict[str, Any]]:
        return [it for it in self.told if it["kind"] == kind]

    @property
    def sound(self) -> Samples:
        return np.concatenate([np.zeros((0, 1), np.float32), *(from_pcm16(pcm, 1) for pcm in self.heard)])

    async def until(self, condition: Callable[[], object], timeout_s: float = 15.0) -> None:
        """Wait for a condition that a message, or the socket's end, makes true."""
        async with asyncio.timeout(timeout_s):
            while not condition():
                self._changed.clear()
                await self._changed.wait()

    async def read(self) -> None:
        try:
            async for item in self.socket:
                if isinstance(item, bytes):
                    self.heard.append(item)
                else:
                    self.told.append(json.loads(item))
                self._changed.set()
        finally:
            self.closed = self.socket.close_code, self.socket.close_reason or ""
            self._changed.set()

    async def listen(self) -> None:
        """Send the microphone in real time, with silence when nothing is said."""
        loop = asyncio.get_running_loop()
        due = loop.time()
        silence = np.zeros((int(self.rate_hz * CHUNK_S), 1), np.float32)
        with suppress(Exception):
            while True:
                due += CHUNK_S
                await asyncio.sleep(max(0.0, due - loop.time()))
                if self._talks:
                    await self.socket.send(to_pcm16(self._speech.pop(0) if self._speech else silence))


@asynccontextmanager
async def running_console(
    made: Keys,
    addresses: Sequence[Address],
    robots: Sequence[str] = ("browser-1", "browser-2"),
    at: int = 0,
    logins: Logins | None = None,
    operator: KeyPair | None = None,
    look_up: LookUp = system_look_up,
    **settings: Any,
) -> AsyncIterator[Served]:
    """Run a console with these robots, on a free port or at a given one."""
    given = ConsoleSettings(state_dir=Path("unused"), **settings)
    seats = Seats([Seat(made.robot(it), addresses, given.quiet_s, half_duplex=given.half_duplex) for it in robots])
    logins = logins or Logins(lambda: secrets.token_urlsafe(9))
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", at))
        port = listener.getsockname()[1]
        gateways = Gateways(operator, made.pair.public, given.admin_addresses(), lambda: bool(seats.taken), look_up)
        console = Console(seats, logins, gateways, port=port, secret=SECRET, names=given.names.split(","))
        server = uvicorn.Server(server_config(given, console))
        task = asyncio.create_task(server.serve([listener]))
        try:
            while not server.started:
                await asyncio.sleep(0.01)
                assert not task.done()
            yield Served(port, console, logins, seats)
        finally:
            server.should_exit = True
            await task
