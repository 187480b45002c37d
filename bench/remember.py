"""A fleet that remembers: how long until a robot is heard again and where, what the store costs, and whether the books agree.

``python bench/remember.py [--runs 20] [--hangs 8] [--kills 60] [--robots 100] [--seconds 20]``. Two real gateways run on the
last core in front of the simulator, with a real Valkey. The robots are the real robot-io, on the first core. A robot is heard
again when a new connection to Gemini receives its microphone.
"""

import argparse
import asyncio
import inspect
import os
import random
import signal
import sqlite3
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager, closing
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, Final

from gemini_gateway.session.memory import Memory
from gemini_live_sim.behaviour import Behaviour
from gemini_live_sim.connection import SimSession
from gemini_live_sim.server import GeminiLiveSim, serve
from harness.devices import Light, robots
from harness.gateway import LOAD_CORE, Gateway, make_keys, run_load
from harness.results import Timing, keep, machine, table
from reachy_gateway.fleet.claims import Start
from reachy_gateway.fleet.member import Member
from reachy_gateway.fleet.place import parse
from reachy_gateway.fleet.present import Present
from reachy_gateway.fleet.seal import Seal
from reachy_gateway.fleet.valkey import Valkey
from reachy_gateway.provider.elsewhere import Elsewhere
from reachy_gateway.provider.ledger import Ledger
from reachy_gateway.provider.money import Money, nano_usd
from reachy_gateway.provider.shared_books import SharedBooks
from reachy_gateway.provider.usage import Tokens
from reachy_link.address import Address
from reachy_robot.runner import Runner

sys.path.append(str(Path(__file__).parent.parent / "tests" / "support"))

from relay import Relay
from stores import RunningStore, running_store

PORTS: Final = (27591, 27595)
"""The first of each gateway's ports."""
TALKING: Final = 3
"""How many robots talk at a time."""
SETTLE_S: Final = 1.0
RESUMED_S: Final = {"p50": 0.7, "max": 1.5}
CUT_S: Final = {"p50": 1.0, "max": 1.5}
SEEDED_S: Final = {"max": 3.5}
WOKEN_S: Final = {"max": 1.0}
AT_MOST: Final = 1.0
"""Percent of a core, for the store's share of the work for 100 robots."""
SAID: Final = tuple((who, "x" * 200) for _ in range(10) for who in ("person", "robot"))
"""The most that a new session is ever told. This much is written for each robot."""


class Line:
    """A line from the robots to a gateway. It can be cut, and opened again at the same ports."""

    def __init__(self, gateway: Gateway) -> None:
        self._to = gateway.address
        self.own = (0, 0)
        self.relay = Relay(self._to.host, self._to[1:], self.own)

    async def lay(self) -> Address:
        """Open the line."""
        self.relay = Relay(self._to.host, self._to[1:], self.own)
        up, down = await self.relay.start()
        self.own = up, down
        return Address("127.0.0.1", up, down)


class Fleet:
    """Two gateways, their lines, and robots that talk over them."""

    def __init__(self, work: Path, sim: GeminiLiveSim, store: RunningStore) -> None:
        self.sim = sim
        settings = {"GATEWAY_STORE_URL": store.url, "GATEWAY_ROBOTS_FILE": work / "robots.toml"}
        tables = (f'[robots.robot-{n}]\ninstruction = "{n}"\n' for n in range(TALKING))
        (work / "robots.toml").write_text("".join(tables), encoding="utf-8")
        self.gateways = [Gateway(work, sim.url, sim.root_path, port, **settings) for port in PORTS]
        self.lines = [Line(gateway) for gateway in self.gateways]
        self.runners: list[Runner] = []
        self.problems: list[str] = []

    def at(self, runner: Runner) -> int:
        """The number of the gateway that serves a robot."""
        here = runner.core.route.here
        return next(n for n, line in enumerate(self.lines) if here and line.own == here[1:])

    def newest(self, robot: int) -> SimSession:
        """The robot's newest connection that the simulator accepted."""
        return [it for it in self.sim.sessions if it.setup and it.setup.instruction == f"{robot}" and it.session_id][-1]

    async def settled(self) -> None:
        """Wait until all robots are at one gateway, both gateways run, and each robot has one connection, which hears it."""
        async with asyncio.timeout(30):
            while not (
                all(runner.core.welcomed for runner in self.runners)
                and len({self.at(runner) for runner in self.runners}) == 1
                and len(self.sim.open_sessions) == TALKING
                and all(it.heard_bytes > 0 for it in self.sim.open_sessions)
            ):
                await asyncio.sleep(0.01)
        await asyncio.sleep(SETTLE_S)

    async def again(self, fault: Callable[[int], Any], *, resumed: bool) -> list[float]:
        """How long until each robot is heard again after a fault of the gateway that serves all of them."""
        await self.settled()
        before = [self.newest(n) for n in range(TALKING)]
        for session in before:
            session.say(300)  # one turn, so that there is something to remember
        await asyncio.sleep(1.0)
        where, began = self.at(self.runners[0]), time.monotonic()
        done = fault(where)
        took: list[float] = []
        for n, was in enumerate(before):
            async with asyncio.timeout(15):
                while self.newest(n) is was or not self.newest(n).heard_bytes:
                    await asyncio.sleep(0.001)
            took.append(time.monotonic() - began)
            now = self.newest(n)
            if now.resumed is not resumed or (resumed and now.session_id != was.session_id):
                self.problems.append(f"robot-{n} was {'' if now.resumed else 'not '}resumed")
        if inspect.isawaitable(done):
            await done
        return took


@asynccontextmanager
async def running(work: Path, store: RunningStore) -> AsyncIterator[Fleet]:
    """Run both gateways, and robots at the first."""
    async with AsyncExitStack() as stack:
        sim = await stack.enter_async_context(serve())
        sim.behaviour = Behaviour(speed=0)
        fleet = Fleet(work, sim, store)
        for gateway in fleet.gateways:
            await stack.enter_async_context(gateway)
        addresses = [await line.lay() for line in fleet.lines]
        devices = [Light() for _ in range(TALKING)]
        fleet.runners = await stack.enter_async_context(robots(work, devices, *addresses))
        yield fleet
        for line in fleet.lines:
            line.relay.stop()


async def faults(fleet: Fleet, runs: int, hangs: int) -> list[Timing]:
    """Every fault of a gateway, many times. It hits the gateway that has the robots."""

    async def killed(where: int) -> None:
        await fleet.gateways[where].kill()
        await fleet.gateways[where].start()

    async def stopped(where: int) -> None:
        os.kill(fleet.gateways[where].pid, signal.SIGTERM)
        await fleet.gateways[where].ended()
        await fleet.gateways[where].start()

    async def cut(where: int) -> None:
        fleet.lines[where].relay.stop()
        await asyncio.sleep(1.0)
        await fleet.lines[where].lay()

    woken: list[float] = []

    def hung(where: int) -> Any:
        os.kill(fleet.gateways[where].pid, signal.SIGSTOP)
        held = [fleet.newest(n) for n in range(TALKING)]

        async def wake() -> None:
            os.kill(fleet.gateways[where].pid, signal.SIGCONT)
            began = time.monotonic()
            async with asyncio.timeout(10):
                while any(session.is_connected for session in held):
                    await asyncio.sleep(0.001)
            woken.append(time.monotonic() - began)

        return wake()

    def lost(where: int) -> Any:
        fleet.lines[where].relay.open.clear()
        back = hung(where)

        async def come_back() -> None:
            fleet.lines[where].relay.open.set()
            await back

        return come_back()

    def at_once(work: Callable[[int], Any], where: int) -> Any:
        return asyncio.ensure_future(work(where))

    timings = []
    for what, fault, count, resumed, limits in (
        ("gateway killed -> heard in the resumed session", partial(at_once, killed), runs, True, RESUMED_S),
        ("gateway stopped (SIGTERM) -> the same", partial(at_once, stopped), runs, True, RESUMED_S),
        ("both lines cut, gateway alive -> the same", partial(at_once, cut), runs, True, CUT_S),
        ("gateway hangs (SIGSTOP) -> heard in a new session with the transcript", hung, hangs, False, SEEDED_S),
        ("its machine lost, nobody told -> the same", lost, hangs, False, SEEDED_S),
    ):
        took = []
        for _ in range(count):
            took += await fleet.again(fault, resumed=resumed)
        timings.append(Timing(what, took, limits))
    timings.append(Timing("it wakes -> it has hung up at Gemini", woken, WOKEN_S))
    return timings


async def books(work: Path, store: RunningStore, kills: int) -> dict[str, Any]:
    """Kill gateways and store at random while each robot has a turn every 0.1 s. Do the sums agree afterwards?"""
    draw = random.Random(7)  # noqa: S311 - must be repeatable
    async with running(work, store) as fleet:
        talking = asyncio.create_task(_chatter(fleet.sim))
        done = {"gateway": 0, "store": 0, "store emptied": 0}
        for n in range(kills):
            await asyncio.sleep(draw.uniform(0.1, 1.0))
            what = "store emptied" if n % 10 == 9 else draw.choice(["gateway", "gateway", "store"])
            done[what] += 1
            if what == "gateway":
                gateway = draw.choice(fleet.gateways)
                await gateway.kill()
                await gateway.start()
            elif what == "store":
                store.kill()
                await asyncio.sleep(draw.uniform(0.0, 0.5))
                await asyncio.to_thread(store.start)
            else:
                await asyncio.to_thread(store.empty)
        talking.cancel()
        await asyncio.sleep(5.0)  # time for late counts, a claim, and beats that report everything
        day = datetime.now(UTC).astimezone().date().isoformat()
        turns, owed = 0, 0
        for path in work.glob("ledger-*.sqlite"):
            with closing(sqlite3.connect(path)) as ledger:
                rows = ledger.execute("SELECT cost FROM turns WHERE day = ?", (day,)).fetchall()
            turns += len(rows)
            owed += sum(nano_usd(Money(cost)) for (cost,) in rows)
        with store.client() as client:
            [key] = [key for key in client.keys("*") if key.endswith(f":day:{day}".encode())]
            has = sum(int(value) for name, value in client.hgetall(key).items() if name.startswith(b"robot:"))
    return {"kills": done, "turns": turns, "ledgers, nano-dollars": owed, "store, nano-dollars": has, "off": has - owed}


async def _chatter(sim: GeminiLiveSim) -> None:
    while True:
        for session in sim.open_sessions:
            session.say(40)
        await asyncio.sleep(0.1)


async def cost(work: Path, store: RunningStore, count: int, seconds: float) -> dict[str, float]:
    """The processor share of the store's part of a gateway, measured in a process that does nothing else."""
    ledger, elsewhere = Ledger(work / "cost.sqlite"), Elsewhere()
    today = datetime.now(UTC).date()
    shared = SharedBooks(ledger, elsewhere, lambda: today)
    place = Present(inbox="it", name="it", robots=count, robots_max=1000)
    member = Member(Valkey(parse(store.url), "cost"), Seal(b"0" * 40), lambda: place, shared)
    run = asyncio.create_task(member.run())
    began = time.monotonic()

    def start() -> Start:
        return Start("0" * 16, int((time.monotonic() - began) * 1e6) + 1)

    memory = Memory(handle="h" * 200, handle_age_s=1.0, said=SAID[:19], model="gemini-3.8-live", account="0" * 16)
    assert len(memory.text()) > 4000
    names = [f"robot-{n}" for n in range(count)]
    tokens = [(await member.claim(name, start)).token for name in names]
    usage = Tokens({"audio": 200, "text": 50}, {"audio": 100})
    await asyncio.sleep(1.0)

    async def busy(keep: Callable[[str, str, Callable[[], str]], None]) -> float:
        """Give every robot something new to remember every 2 s, and a turn every 6 s. Returns percent of a core."""
        cpu, began_at, ticks = time.process_time(), time.monotonic(), 0
        while time.monotonic() - began_at < seconds:
            for n, name in enumerate(names):
                if (ticks + n) % 20 == 0:
                    keep(name, tokens[n], memory.text)
                if (ticks + n) % 60 == 0:
                    ledger.add(today, name, "s", "m", usage, Money("0.001234"))
            ticks += 1
            await asyncio.sleep(0.1)
        return 100 * (time.process_time() - cpu) / (time.monotonic() - began_at)

    used = await busy(member.keep)
    run.cancel()
    await asyncio.wait([run])
    without = await busy(lambda *_: None)
    await member.close()
    ledger.close()
    return {"robots": count, "CPU %": used - without, "at most": AT_MOST}


async def measure(given: argparse.Namespace) -> tuple[list[Timing], dict[str, Any], dict[str, float], list[str]]:
    """Measure everything, one after the other."""
    with tempfile.TemporaryDirectory(prefix="remember-") as directory:
        work = Path(directory)
        make_keys(work, TALKING)
        with running_store(work / "store") as store:
            priced = await cost(work, store, given.robots, given.seconds)
            async with running(work, store) as fleet:
                timings = await faults(fleet, given.runs, given.hangs)
            for path in work.glob("ledger-*.sqlite*"):
                path.unlink()
            store.empty()
            kept = await books(work, store, given.kills)
        return timings, kept, priced, fleet.problems


def main() -> int:
    """Print the tables; exit status 1 if something did not hold."""
    parser = argparse.ArgumentParser()
    for name, default in (("runs", 20), ("hangs", 8), ("kills", 60), ("robots", 100)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--out", type=Path, help="a folder for remember.json")
    given = parser.parse_args()
    os.sched_setaffinity(0, {LOAD_CORE})
    about = machine()
    timings, kept, priced, problems = run_load(measure(given))
    print(table(timings, "s", 2))
    cpu = f"{priced['CPU %']:.2f} % of a core, at most {AT_MOST}"
    print(f"\nThe store's part of a gateway with {priced['robots']:.0f} robots: {cpu}.")
    killed = ", ".join(f"{what} {n} times" for what, n in kept["kills"].items())
    print(f"\nBooks: {kept['turns']} turns, {killed}: {kept['off'] / 1000:+.3f} micro-dollars off.")
    for problem in problems:
        print(f"WRONG: {problem}")
    result = {"timings": [timing.told() for timing in timings], "books": kept, "cost": priced, "wrong": problems}
    keep(given.out, "remember", about, result)
    held = all(timing.held for timing in timings) and not problems and not kept["off"]
    return 0 if held and priced["CPU %"] <= AT_MOST else 1


if __name__ == "__main__":
    sys.exit(main())
