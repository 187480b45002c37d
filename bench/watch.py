"""What a watched fleet costs a gateway, compared with its robots' own work; ``bench/README.md`` has the method.

``python bench/watch.py`` takes a minute and a half. 60 robots are connected and have turns, without audio. The consoles are in
a process of their own, over CURVE. The bench counts the processor time of the admin port's own code, in the event loop and in
its libzmq thread.
"""

import argparse
import asyncio
import multiprocessing
import os
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any, Final

from harness.results import keep, machine
from mock_gateway.voice import MockVoice
from reachy_console.admin_link import AdminLink
from reachy_console.fleet import Gateway
from reachy_gateway.admin.office import NoOffice, Permits
from reachy_gateway.admin.port import AdminPort
from reachy_gateway.admin.service import Admin
from reachy_gateway.feed import Transcribed, TurnPlayed
from reachy_gateway.hub import Hub
from reachy_gateway.link.end import Bind
from reachy_gateway.talk.latency import TurnTimes
from reachy_link import admin
from reachy_link.address import Address
from reachy_link.keys import KeyPair, Keyring, make_pair
from reachy_link.messages import Hello, Mic
from reachy_link.operators import Operators
from reachy_link.pcm import Format
from reachy_link.sockets import set_dialer

PORT: Final = 27580
MONO: Final = Format(rate_hz=16000, channels=1)
TURN_S: Final = 6.0
"""Pause between two turns of a robot; a turn has ten pieces of transcript."""
AT_MOST: Final = 1.0
"""Percent of a core, for one console that shows the fleet and one robot."""
GROWTH_MB: Final = 4.0


class Permissive(NoOffice):
    """Shows transcripts, because that costs most."""

    def permits(self, robot: str) -> Permits:
        """Permit everything."""
        del robot
        return Permits(transcripts=True)


class Clocked:
    """Measures the processor time of some methods."""

    def __init__(self, kind: type, *names: str) -> None:
        self.seconds = 0.0
        for name in names:
            setattr(kind, name, self._clocked(getattr(kind, name)))

    def _clocked(self, work: Callable[..., Any]) -> Callable[..., Any]:
        def clocked(*args: Any, **named: Any) -> Any:
            began = time.thread_time()
            try:
                return work(*args, **named)
            finally:
                self.seconds += time.thread_time() - began

        return clocked


class Fleet:
    """Connected robots, without sockets: their hellos, their chunks of silence, and their turns."""

    def __init__(self, hub: Hub, names: list[str]) -> None:
        self._hub = hub
        self._names = names
        self._seq = count()

    def _up(self, kind: type[Any], robot: str, payload: bytes = b"", **fields: Any) -> None:
        header = {"robot": robot, "boot": "0" * 16, "seq": next(self._seq), "t_us": int(time.monotonic() * 1e6)}
        self._hub.on_up(kind(**header, **fields), payload)

    async def run(self) -> None:
        """Run until cancelled."""
        for name in self._names:
            self._up(Hello, name, mic=MONO, speaker=MONO, lead_ms=40)
        for tick in count():
            for at, name in enumerate(self._names):
                if tick % 5 == at % 5:
                    self._up(Mic, name, bytes(640), samples=320)
                if (tick + at) % round(TURN_S * 50) == 0:
                    self._turn(name, tick)
            await asyncio.sleep(0.02)

    def _turn(self, name: str, number: int) -> None:
        for piece in range(10):
            self._hub.feed.tell(Transcribed(name, "robot", f"a few words, {piece} ", number))
        parts: dict[Any, float] = dict.fromkeys(("link_up", "voice", "gateway", "link_down", "playout"), 12.3)
        times = {"played_ms": 2400, "underruns": 0, "concealed_ms": 0, "total_ms": 655.0, "parts_ms": parts}
        self._hub.feed.tell(TurnPlayed(name, TurnTimes(number, complete=True, **times)))  # type: ignore[arg-type]


def console(keys: tuple[bytes, bytes], gateway: bytes, consoles: int, deaf: int, ready: Any) -> None:
    """Run consoles that watch, and some that never read, in a process of their own."""
    asyncio.run(_console(KeyPair(*keys), gateway, consoles, deaf, ready))


async def _console(keys: KeyPair, gateway: bytes, consoles: int, deaf: int, ready: Any) -> None:
    views = [Gateway("bench") for _ in range(consoles)]
    links = [
        AdminLink(keys, gateway, Address("127.0.0.1", PORT, 1), lambda told, view=view: view.take(told, 0.0))  # type: ignore[misc]
        for view in views
    ]
    for link in links:
        link.dial()
    import zmq  # noqa: PLC0415 - only this process needs it

    context = zmq.Context()
    sockets = [context.socket(zmq.DEALER) for _ in range(deaf)]
    for socket in sockets:
        set_dialer(socket, keys, gateway)
        socket.rcvhwm = 1
        socket.connect(f"tcp://127.0.0.1:{PORT}")
    watch = admin.Watch(robots=("robot-0",))
    while True:
        for link in links:
            link.tell(watch)
        for socket in sockets:
            if socket.poll(0, zmq.POLLOUT):
                socket.send(watch.model_dump_json().encode(), zmq.NOBLOCK)
        if all(view.rows for view in views):
            ready.set()
        await asyncio.sleep(admin.WATCH_S if ready.is_set() else 0.05)


def threads() -> set[int]:
    """The thread numbers of this process."""
    return {int(path.name) for path in Path("/proc/self/task").iterdir()}


def cpu_s(thread: int) -> float:
    """The processor time of a thread of this process."""
    fields = Path(f"/proc/self/task/{thread}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def resident_mb() -> float:
    """This process's resident memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE") / 1e6


async def measured(work: Path, robots: int, consoles: int, deaf: int, seconds: float) -> dict[str, float]:
    """Do one run. Returns percent of a core, and by how much memory grew."""
    directory = work / f"{consoles}-{deaf}"
    gateway = make_pair(directory)
    ring = Keyring(directory)
    names = [f"robot-{n}" for n in range(robots)]
    for name in names:
        ring.admit(name, make_pair(directory / name).public.decode())
    keys = make_pair(directory / "console")
    Operators(directory).admit("operator", "console", keys.public.decode())
    hub = Hub(gateway, ring, Bind("127.0.0.1", 0, 0), lambda *_: MockVoice(), max_robots=robots, software="bench")
    before = threads()
    served = Admin(hub, gateway, ring, Permissive(), directory=directory, host="127.0.0.1", port=PORT, recordings=None)
    theirs = threads() - before
    tasks = [asyncio.create_task(it) for it in (hub.run(), served.run(), Fleet(hub, names).run())]
    spawn = multiprocessing.get_context("spawn")
    ready = spawn.Event()
    watching = spawn.Process(target=console, args=((keys.public, keys.secret), gateway.public, consoles, deaf, ready))
    watching.start()
    try:
        async with asyncio.timeout(30):
            while not ready.is_set():
                await asyncio.sleep(0.05)
        await asyncio.sleep(seconds / 4)
        began, loop_s, threads_s, memory = time.monotonic(), CLOCK.seconds, sum(map(cpu_s, theirs)), resident_mb()
        await asyncio.sleep(seconds)
        took = time.monotonic() - began
        loop, own = (CLOCK.seconds - loop_s) / took * 100, (sum(map(cpu_s, theirs)) - threads_s) / took * 100
        return {"consoles": consoles, "deaf": deaf, "loop %": loop, "threads %": own, "grew MB": resident_mb() - memory}
    finally:
        watching.terminate()
        watching.join()
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        await served.close()


CLOCK = Clocked(AdminPort, "_tick", "_ready", "_follow", "happened")


def main() -> int:
    """Print the table; exit status 1 if a budget was missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--robots", type=int, default=60)
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    about = machine()
    columns = ("consoles", "that never read", "loop %", "libzmq's thread %", "memory grew MB", "at most %", "held")
    print(f"{about}\n\n| {' | '.join(columns)} |\n{'|---' * len(columns)}|", flush=True)
    results, missed = [], False
    with tempfile.TemporaryDirectory() as work:
        for consoles, deaf in ((0, 0), (1, 0), (1, 3), (4, 0)):
            result = asyncio.run(measured(Path(work), given.robots, consoles, deaf, given.seconds))
            at_most = AT_MOST * max(1, consoles)
            held = result["loop %"] + result["threads %"] <= at_most and result["grew MB"] <= GROWTH_MB
            missed = missed or not held
            cells = [str(consoles), str(deaf), *(f"{result[key]:.2f}" for key in ("loop %", "threads %", "grew MB"))]
            print(f"| {' | '.join([*cells, f'{at_most:g}', 'yes' if held else '**no**'])} |", flush=True)
            results.append(result)
    keep(given.out, "watch", about, results)
    return int(missed)


if __name__ == "__main__":
    threading.current_thread().name = "bench"
    sys.exit(main())
