"""Gateways that die: how long until every robot talks again, on loopback, with CURVE and TLS.

``python bench/storm.py [--robots 50] [--runs 5] [--kills 12]``. Robots and the server in Gemini's place share this process on
the first core; a gateway is the real process, on the last. Ten of the robots are the real robot-io, the others the light ones
of ``load``, because fifty robot-ios need more than one core. The server speaks at the start of each session. A robot talks
again when a new session hears its microphone and the robot's device has received that speech.
"""

import argparse
import asyncio
import itertools
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Final

import zmq

from gemini_live_sim.health import ROOT
from harness.devices import Light, robots, until
from harness.gateway import GATEWAY_CORE, LOAD_CORE, Gateway, make_keys, pinned, reserved, run_load
from harness.results import BUSY_MAX, Timing, keep, machine, table
from load.plan import TICK_S
from load.robot import CHUNK_S, Robot
from load.server import Desk, Server, frame, message
from reachy_link.keys import load_robot
from reachy_robot.presence import HELLO_S

ONE = reserved(27561)
TWO = ONE + 4
"""The first of each gateway's ports."""
TALK_S, START_S, FAIL_OVER_S = 2.0, 3.0, 3.0
REAL: Final = 10
"""How many robots are the real robot-io."""
SAYS: Final = 5
"""Messages of speech at the start of a session."""
RESUMABLE: Final = frame(b'{"sessionResumptionUpdate":{"newHandle":"CAESBm9wYXF1ZQ","resumable":true}}')
GENERATED: Final = message({"generationComplete": True})
COMPLETE: Final = frame(
    b'{"serverContent":{"turnComplete":true},"usageMetadata":{"promptTokenCount":40,"responseTokenCount":5,"totalTokenCount":45,'
    b'"promptTokensDetails":[{"modality":"TEXT","tokenCount":40}],"responseTokensDetails":[{"modality":"AUDIO","tokenCount":5}]}}'
)


class Gemini(Desk):
    """Speaks at the start of each session, as completely as Gemini does, and notes when a session first hears its robot."""

    def __init__(self, work: Path) -> None:
        super().__init__(work / "tls")
        self.root = work / "tls" / ROOT
        self.first: dict[int, float] = {}
        """When each session was first heard."""
        self._numbers = itertools.count(1)

    async def listen(self) -> int:
        """Listen on the loopback. Returns the port."""
        port = await super().listen()
        self.url = f"https://127.0.0.1:{port}"
        return port

    def opened(self, server: Server) -> None:
        """Speak at the start of a session."""
        server.number = next(self._numbers)
        server.out.write(b"".join([RESUMABLE, *self.speech[:SAYS], GENERATED, COMPLETE, RESUMABLE]))

    def heard(self, server: Server, pcm: bytes, now_ns: int) -> None:
        """Note when a session first hears its robot."""
        del pcm
        self.first.setdefault(server.number, now_ns / 1e9)


class LightRobot(Robot):
    """A robot of :mod:`load` that notes when it is welcomed and when it receives something to play."""

    ready_at = played_at = 0.0
    said_hello = float("-inf")

    def forget(self) -> None:
        """Forget what was noted so far: a gateway has died."""
        self.welcomed = False
        self.ready_at = self.played_at = 0.0

    def took(self, header: bytes, samples: int) -> None:
        """Note the welcome, and the first speech."""
        if self.welcomed and not self.ready_at:
            self.ready_at = time.monotonic()
        if samples and b'"kind":"speaker"' in header:
            self.played_at = self.played_at or time.monotonic()

    def tick(self, now: float) -> None:
        """Act as robot-io does: send hellos until welcomed, then the microphone."""
        if self.welcomed:
            while self.due <= now:
                self.say()
                self.due += CHUNK_S
        else:
            self.due = max(self.due, now)
            if now - self.said_hello >= HELLO_S:
                self.said_hello = now
                self.hello()


@asynccontextmanager
async def light_robots(work: Path, numbers: range, port: int) -> AsyncIterator[list[LightRobot]]:
    """Run light robots of these numbers. They talk."""
    context = zmq.Context[zmq.Socket[bytes]](io_threads=1)
    context.max_sockets = 4 * len(numbers) + 50
    made = [LightRobot(n, load_robot(work / f"robot-{n}"), context, port) for n in numbers]

    async def tick() -> None:
        while True:
            now = time.monotonic()
            for robot in made:
                robot.tick(now)
            await asyncio.sleep(TICK_S)

    ticker = asyncio.create_task(tick())
    try:
        yield made
    finally:
        ticker.cancel()
        await asyncio.wait([ticker])
        for robot in made:
            robot.close()
        context.destroy(linger=0)


class Talk:
    """Whether, and since when, robots talk again after this object's creation."""

    def __init__(self, gemini: Gemini, devices: Sequence[Light | LightRobot]) -> None:
        self._gemini = gemini
        self._devices = devices
        self._after = max(gemini.first, default=0)
        for device in devices:
            device.forget()

    def _heard(self) -> list[float]:
        return [at for number, at in self._gemini.first.items() if number > self._after]

    async def again(self) -> tuple[float, float]:
        """Wait for all robots. Returns when the last was welcomed, and when the last talked both ways."""
        await until(lambda: all(device.ready_at and device.played_at for device in self._devices))
        await until(lambda: len(self._heard()) >= len(self._devices))
        welcomed = max(device.ready_at for device in self._devices)
        return welcomed, max(*self._heard(), *(device.played_at for device in self._devices))


async def storm(gemini: Gemini, work: Path, count: int, runs: int) -> tuple[list[Timing], float]:
    """Kill a gateway of many robots and start it again. Also returns the load generator's share of its core meanwhile."""
    gateway = Gateway(work, gemini.url, gemini.root, ONE)
    real = [Light() for _ in range(min(REAL, count))]
    starts, welcomes, talks, busy = [], [], [], []
    async with (
        robots(work, real, gateway.address) as runners,
        light_robots(work, range(len(real), count), ONE) as light,
    ):
        talk = Talk(gemini, [*real, *light])
        await gateway.start()
        await talk.again()
        for _ in range(runs):
            await asyncio.sleep(2.0)
            await gateway.kill()
            await until(lambda: not any(runner.core.welcomed for runner in runners))
            talk = Talk(gemini, [*real, *light])
            began, healthy = await gateway.start()
            cpu = time.process_time()
            welcomed, talked = await talk.again()
            busy.append((time.process_time() - cpu) / (time.monotonic() - healthy))
            starts.append(healthy - began)
            welcomes.append(welcomed - healthy)
            talks.append(talked - healthy)
        await gateway.kill()
    timings = [
        Timing("gateway: start -> healthy", starts, {"max": START_S}),
        Timing(f"kill -9 and start, {count} robots: healthy -> the last is welcomed", welcomes),
        Timing(f"kill -9 and start, {count} robots: healthy -> all talk both ways", talks, {"max": TALK_S}),
    ]
    return timings, max(busy)


async def fail_over(gemini: Gemini, work: Path, kills: int) -> list[Timing]:
    """Kill, again and again, the one of two gateways that serves the robot."""
    welcomes, talks = [], []
    async with AsyncExitStack() as stack:
        made = [await stack.enter_async_context(Gateway(work, gemini.url, gemini.root, port)) for port in (ONE, TWO)]
        gateways = {gateway.address: gateway for gateway in made}
        device = Light()
        [runner] = await stack.enter_async_context(robots(work, [device], *gateways))
        await Talk(gemini, [device]).again()
        for _ in range(kills):
            await asyncio.sleep(3.5)
            serving = runner.core.route.here
            assert serving
            talk = Talk(gemini, [device])
            killed = await gateways[serving].kill()
            welcomed, talked = await talk.again()
            welcomes.append(welcomed - killed)
            talks.append(talked - killed)
            await gateways[serving].start()
    return [
        Timing("kill -9 of one of two gateways: killed -> welcomed by the other", welcomes),
        Timing("kill -9 of one of two gateways: killed -> talks both ways", talks, {"max": FAIL_OVER_S}),
    ]


def imports_s() -> list[float]:
    """How long the imports of the gateway's start take: three times, on its core."""
    command = pinned(GATEWAY_CORE, [sys.executable, "-X", "importtime", "-c", "import gemini_gateway.program"])
    took = []
    for _ in range(3):
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        line = re.search(r"\|\s+(\d+) \|\s+gemini_gateway.program$", done.stderr, re.MULTILINE)
        assert line
        took.append(int(line[1]) / 1e6)
    return took


async def measure(count: int, runs: int, kills: int) -> tuple[list[Timing], float]:
    """All timings, and the load generator's share of its core in the busiest storm."""
    with tempfile.TemporaryDirectory(prefix="storm-") as directory:
        work = Path(directory)
        make_keys(work, count)
        gemini = Gemini(work)
        await gemini.listen()
        imports = Timing("of which imports", await asyncio.to_thread(imports_s))
        (start, *storms), busy = await storm(gemini, work, count, runs)
        return [start, imports, *storms, *await fail_over(gemini, work, kills)], busy


def main() -> int:
    """Print the table; exit status 1 if the run is void."""
    parser = argparse.ArgumentParser()
    for name, default in (("robots", 50), ("runs", 5), ("kills", 12)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--out", type=Path, help="a folder for storm.json")
    given = parser.parse_args()
    os.sched_setaffinity(0, {LOAD_CORE})
    about = machine()
    timings, busy = run_load(measure(given.robots, given.runs, given.kills))
    print(table(timings, "s", 2))
    print(
        f"\nRobots and the server in Gemini's place used up to {busy:.0%} of their core while the gateway's robots came back."
    )
    keep(given.out, "storm", about, [timing.told() for timing in timings])
    if busy > BUSY_MAX:
        print("VOID: the load generator was too busy to be believed.")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
