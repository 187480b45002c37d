"""The real gateway as a process on the last core, its keys, and how much processor time and memory it uses."""

import asyncio
import gc
import os
import socket
import sys
import time
from collections.abc import Coroutine, Iterable
from pathlib import Path
from typing import Any, Final, Self, TypeVar

import uvloop

from reachy_link import keys
from reachy_link.address import Address
from reachy_service.well import ask

BIN: Final = Path(sys.executable).parent
LOAD_CORE, GATEWAY_CORE = 0, (os.cpu_count() or 1) - 1
START_LIMIT_S: Final = 30.0
TICKS: Final = os.sysconf("SC_CLK_TCK")
PAGE: Final = os.sysconf("SC_PAGE_SIZE")
T = TypeVar("T")


_held: Final[list[socket.socket]] = []


def reserved(first: int) -> int:
    """This first port, or another one if a bench on this machine has reserved it: benches may run side by side.

    A UDP socket of the same number holds the reservation until this process ends.

    Raises:
        OSError: If many benches run.
    """
    for port in range(first, 32_000, 100):
        holder = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        try:
            holder.bind(("127.0.0.1", port))
        except OSError:
            holder.close()
            continue
        _held.append(holder)
        return port
    raise OSError(f"every 100th port from {first} on is in use")


def run_load(load: Coroutine[Any, Any, T]) -> T:
    """Run a load generator for minutes, as cheaply as possible.

    Python's garbage collector is off: it would stop all robots for up to 70 ms at a time and free nothing. The scheduler runs
    libzmq's threads, one for each robot, as a batch, so that they take turns and do not interrupt each other.
    """
    gc.disable()
    if sys.platform == "linux":
        os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
    return uvloop.run(load)


def pinned(core: int, command: Iterable[object]) -> list[str]:
    """The command with all its threads on one core, under the normal scheduler whatever this process uses."""
    return ["taskset", "--cpu-list", str(core), "chrt", "--other", "0", *map(str, command)]


def cpu_s(pid: int) -> float:
    """Processor time that a process has used, in all its threads."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def memory_bytes(pid: int) -> int:
    """A process's resident memory."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * PAGE


def make_keys(work: Path, count: int) -> None:
    """Make a gateway's keys and those of so many robots: robot-0 and so on."""
    public = keys.make_pair(work / "gateway").public.decode()
    ring = keys.Keyring(work / "gateway")
    for n in range(count):
        directory = work / f"robot-{n}"
        pair = keys.make_pair(directory)
        keys.write(directory / keys.ROBOT_ID_NAME, f"robot-{n}")
        keys.write(directory / keys.GATEWAY_NAME, public)
        ring.admit(f"robot-{n}", pair.public.decode())


class Gateway:
    """The real process, with all its threads on the last core, and its log in the working directory.

    Args:
        work: The directory of :func:`make_keys`.
        url: The server in Gemini's place.
        root: The root certificate of that server.
        port: The first of three ports on the loopback: up, down, health. Choose it below the system's ephemeral ports: many
            robots might take those.
        more: Further settings, named as in the environment.
    """

    def __init__(self, work: Path, url: str, root: Path, port: int, **more: object) -> None:
        self.address = Address("127.0.0.1", port, port + 1)
        self.health_port = port + 2
        settings: dict[str, object] = {
            "REACHY_KEYS_DIR": work / "gateway",
            "REACHY_HEALTH_PORT": self.health_port,
            "GATEWAY_HOST": self.address.host,
            "GATEWAY_UP_PORT": self.address.up_port,
            "GATEWAY_DOWN_PORT": self.address.down_port,
            "GATEWAY_MAX_ROBOTS": 1000,
            "GATEWAY_SIM_URL": url,
            "GATEWAY_SIM_ROOT": root,
            "GATEWAY_LEDGER": work / f"ledger-{port}.sqlite",
        }
        foreign = ("GEMINI", "GOOGLE", "GATEWAY", "REACHY")
        clean = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
        self._environment = clean | {name: str(value) for name, value in (settings | more).items()}
        self._log = work / f"gateway-{port}.log"
        self._process: asyncio.subprocess.Process | None = None

    @property
    def pid(self) -> int:
        """The number of the running process."""
        assert self._process
        return self._process.pid

    async def start(self) -> tuple[float, float]:
        """Start the gateway. Returns when it was started, and when its health check succeeded.

        Raises:
            RuntimeError: If the gateway does not become healthy; the message has its log.
        """
        began = time.monotonic()
        with self._log.open("ab") as log:
            command = pinned(GATEWAY_CORE, [BIN / "gemini-gateway"])
            self._process = await asyncio.create_subprocess_exec(*command, env=self._environment, stderr=log)
        while not (await asyncio.to_thread(ask, self.health_port))[0]:
            if self._process.returncode is not None or time.monotonic() - began > START_LIMIT_S:
                raise RuntimeError(f"the gateway does not start:\n{self._log.read_text()}")
            await asyncio.sleep(0.01)
        return began, time.monotonic()

    async def kill(self) -> float:
        """Kill the gateway with SIGKILL if it runs. Returns when."""
        assert self._process
        killed = time.monotonic()
        if self._process.returncode is None:
            self._process.kill()
            await self._process.wait()
        return killed

    async def ended(self) -> None:
        """Wait until the gateway has ended by itself."""
        assert self._process
        await self._process.wait()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.kill()
