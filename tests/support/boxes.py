"""A fleet of gateway processes with one simulator and one store. Each can be killed, hung, cut off and started again."""

import asyncio
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from types import SimpleNamespace

from ports import free_ports
from relay import Relay
from rig import Keys
from stores import RunningStore

from gemini_live_sim.server import GeminiLiveSim
from reachy_gateway.link.end import Bind

BIN = Path(sys.executable).parent


class Box:
    """One gateway, with its lines to the robots and to the store."""

    def __init__(self, made: Keys, sim: GeminiLiveSim, store: RunningStore | None, name: str, **more: object) -> None:
        self.name = name
        self.directory = made.directory / name
        self.keys_dir = shutil.copytree(made.gateway_dir, self.directory / "keys")
        self.ports = free_ports(3)
        self.log = self.directory / "log"
        self._sim = sim
        self._store = store
        self._more = more
        self._lines: list[Relay] = []
        self.process: subprocess.Popen[bytes] | None = None

    async def lay(self) -> None:
        """Open the lines."""
        self._lines = [Relay("127.0.0.1", self.ports[:2], (0, 0))]
        self.bind = Bind("127.0.0.1", *await self.robots.start())
        if self._store:
            self._lines.append(Relay("127.0.0.1", [self._store.port], [0]))
            self._store_port = (await self._lines[-1].start())[0]

    @property
    def robots(self) -> Relay:
        """The line from the robots."""
        return self._lines[0]

    @property
    def to_store(self) -> Relay:
        return self._lines[1]

    def start(self) -> None:
        up, down, health = self.ports
        settings: dict[str, object] = {
            "REACHY_KEYS_DIR": self.keys_dir,
            "REACHY_HEALTH_PORT": health,
            "GATEWAY_HOST": "127.0.0.1",
            "GATEWAY_UP_PORT": up,
            "GATEWAY_DOWN_PORT": down,
            "GATEWAY_NAME": self.name,
            "GATEWAY_ADVERTISE": f"127.0.0.1:{self.bind.up_port}+{self.bind.down_port}",
            "GATEWAY_SIM_URL": self._sim.url,
            "GATEWAY_SIM_ROOT": self._sim.root_path,
            "GATEWAY_LEDGER": self.directory / "ledger.sqlite",
        }
        if self._store:
            settings["GATEWAY_STORE_URL"] = self._store.url.replace(f":{self._store.port}", f":{self._store_port}")
        clean = {name: value for name, value in os.environ.items() if not name.startswith(("GEMINI", "GOOGLE", "GATEWAY"))}
        environment = clean | {name: str(value) for name, value in (settings | self._more).items()}
        with self.log.open("ab") as log:
            self.process = subprocess.Popen([BIN / "gemini-gateway"], env=environment, stderr=log, cwd=self.directory)

    @property
    def admitted(self) -> str:
        """The admitted keys, read from the gateway's files. A file that the gateway deletes meanwhile admits nobody."""
        found = []
        for path in (self.keys_dir / "admitted").glob("*.pub"):
            with suppress(FileNotFoundError):
                found.append(path.read_text())
        return " ".join(sorted(found))

    def said(self) -> str:
        return self.log.read_text()

    def signal(self, number: signal.Signals) -> None:
        assert self.process
        self.process.send_signal(number)

    def kill(self) -> None:
        """Kill the process. Unlike in a power failure, the kernel still closes its connections."""
        if self.process:
            self.process.kill()
            self.process.wait()

    def vanish(self) -> None:
        """Act as if all cables were pulled: no peer is told, and Gemini still holds its connection."""
        self.signal(signal.SIGSTOP)
        for line in self._lines:
            line.open.clear()

    def come_back(self) -> None:
        self.signal(signal.SIGCONT)
        for line in self._lines:
            line.open.set()

    async def close(self) -> None:
        if self.process and self.process.poll() is None:
            self.process.send_signal(signal.SIGCONT)
        self.kill()
        for line in self._lines:
            line.open.set()
            line.stop()
        await asyncio.sleep(0.01)  # the event loop closes the cut connections in its next turns


@asynccontextmanager
async def boxes(
    made: Keys, sim: GeminiLiveSim, store: RunningStore | None, count: int = 2, **more: object
) -> AsyncIterator[list[Box]]:
    """Run so many gateways, and wait until they listen."""
    found = [Box(made, sim, store, f"box-{n + 1}", **more) for n in range(count)]
    try:
        for box in found:
            await box.lay()
            box.start()
        for box in found:
            await until(lambda box=box: "listening on ports" in box.said())
        for box in found:
            await until(lambda box=box: store is None or "the store is there" in box.said())
        yield found
    finally:
        for box in found:
            await box.close()


async def until(condition, timeout_s: float = 15.0) -> None:
    """Wait for a condition in another process; look every 10 ms."""
    async with asyncio.timeout(timeout_s):
        while not condition():
            await asyncio.sleep(0.01)


def at(robot, found: list[Box]) -> SimpleNamespace:
    """The box that serves a robot, and the others."""
    [here] = [box for box in found if box.bind[1:] == robot.core.route.here[1:]]
    return SimpleNamespace(here=here, others=[box for box in found if box is not here])
