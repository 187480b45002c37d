"""A gateway under faults for a long time: does it grow, and can every robot talk at the end?

``python bench/soak.py [--minutes 10] [--robots 6] [--seed 1]``; ``make soak``. The gateway is the real process on the last
core. Robots, persons, simulator and gremlin share this process on the first core. The gremlin strikes all robots but the last,
at random. It closes, aborts and stalls their sessions, or tells them to go away. It cuts and freezes their links, restarts
them, sends malformed messages, and revokes and admits them again. Now and then the simulator is gone for every robot. The last
robot is the bystander: it is never struck, and must not notice what happens to the others.

The gateway's process is sampled every 10 s. Exit status 1 if it grew beyond the bounds, or a robot does not talk at the end.
"""

import argparse
import asyncio
import itertools
import json
import os
import random
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

import numpy as np

from gemini_live_sim import GeminiLiveSim, SimSession, SimSettings, serve
from harness.devices import Light, make_runner, until
from harness.gateway import LOAD_CORE, Gateway, make_keys, memory_bytes
from harness.results import keep, machine
from reachy_gateway import heap
from reachy_link import keys
from reachy_link.address import Address
from reachy_link.pcm import Samples
from reachy_robot.decisions import TurnSummary
from reachy_robot.link import RobotEnd
from reachy_service.well import ask

sys.path.append(str(Path(__file__).parent.parent / "tests" / "support"))
from live_faults import LIVES
from relay import Relay

SAMPLE_S: Final = 10.0
TASKS_EVERY: Final = 5
"""Pause between two looks at the tasks, in tenths of a second."""
WARM_UP: Final = 0.2
"""The first share of the run, in which growth is allowed: pools, caches and the allocator fill up."""
RSS_MIB, DESCRIPTORS, THREADS, TASKS = 6.0, 4.0, 0.0, 3.0
"""How much the median of the last third may exceed that of the first third after the warm-up. A lasting fault holds a few."""
LATE_S: Final = 0.04
"""The process of robots and simulator may hold itself up this long: two thirds of what a speaker's jitter buffer covers."""
PORT: Final = 27570
RELAY_PORT: Final = 27580


class Person(Light):
    """A device with a person who asks again and again, answered or not."""

    def __init__(self, draw: random.Random) -> None:
        super().__init__()
        self._draw = draw
        self._noise = np.random.default_rng(draw.getrandbits(32)).normal(0, 0.1, (32000, 2)).astype(np.float32)

    async def record(self) -> AsyncIterator[Samples]:
        """Yield 0.8 s of noise that passes for speech every 3 to 6 s, and next to nothing in between."""
        speech_left, due = 0, time.monotonic()
        ask_at = due + self._draw.uniform(0.5, 2.0)
        while True:
            due = max(due + 0.02, time.monotonic())
            await asyncio.sleep(due - time.monotonic())
            if time.monotonic() > ask_at:
                speech_left, ask_at = 40, time.monotonic() + self._draw.uniform(3.0, 6.0)
            speech_left = max(0, speech_left - 1)
            at = self._draw.randrange(31_000)
            yield self._noise[at : at + 320] * (1.0 if speech_left else 1e-3)


class Robot:
    """A robot that can be started again, with its own relay to the gateway."""

    def __init__(self, work: Path, name: str, relay: Relay, addresses: tuple[Address, Address], draw: random.Random) -> None:
        self.identity = keys.load_robot(work / name)
        self.name = name
        self.relay = relay
        self.address, self.gateway = addresses
        """The relay's address, and that of the gateway behind it."""
        self.lost = 0
        """How often the robot was found without a welcome."""
        self._work = work
        self._draw = draw
        self._task: asyncio.Task[None] | None = None
        self.start()

    def start(self) -> None:
        """Start the robot."""
        self.person = Person(self._draw)
        self.runner = make_runner(self._work, self.name, lambda: self.person, self.address)
        self._task = asyncio.create_task(self.runner.run())

    async def stop(self) -> None:
        """Stop the robot."""
        assert self._task
        self._task.cancel()
        await asyncio.wait([self._task])

    def sessions(self, sim: GeminiLiveSim) -> list[SimSession]:
        """The robot's connections at the simulator, which tells robots apart by their instructions."""
        return [it for it in sim.sessions if it.setup and it.setup.instruction == f"You are {self.name}."]

    async def answered(self) -> float:
        """Wait until the speaker plays something. Returns how long that took."""
        began = time.monotonic()
        self.person.forget()
        await until(lambda: self.person.played_at)
        return time.monotonic() - began


class Lateness:
    """When this process was held up, by itself or by the machine. An underrun then may not be the gateway's fault."""

    LOOK_S = 0.01

    def __init__(self) -> None:
        self.spans: list[tuple[float, float]] = []

    async def watch(self) -> None:
        """Watch until cancelled."""
        while True:
            began = time.monotonic()
            await asyncio.sleep(self.LOOK_S)
            if (ended := time.monotonic()) - began > LATE_S:
                self.spans.append((began, ended))

    def explains(self, turn: TurnSummary) -> bool:
        """Whether this process was held up while a turn arrived or played."""
        if turn.started_us is None:
            return False
        begins = (turn.arrived_us or turn.started_us) / 1e6
        ends = turn.started_us / 1e6 + turn.played_ms / 1000 + 0.5  # 0.5 s for the gaps and for what the device still holds
        return any(began < ends and begins < ended for began, ended in self.spans)


class Gremlin:
    """Breaks something now and then. A seed makes its choices repeatable."""

    def __init__(self, sim: GeminiLiveSim, robots: list[Robot], ring: keys.Keyring, draw: random.Random) -> None:
        self.done: Counter[str] = Counter()
        self.outages = 0
        self._sim = sim
        self._robots = robots
        self._ring = ring
        self._draw = draw
        with tempfile.TemporaryDirectory() as directory:
            self._guest = keys.make_pair(Path(directory) / "guest").public.decode()

    async def run(self) -> None:
        """Break things until cancelled. :meth:`mend` then undoes what is still broken."""
        while True:
            await asyncio.sleep(self._draw.uniform(0.3, 1.2))
            robot = self._draw.choice(self._robots)
            strikes = (self._session, self._session, self._session, self._cut, self._freeze, self._restart, self._talk_rubbish)
            strike = self._draw.choice((*strikes, self._reload, self._revoke))
            if self._draw.random() < 0.02:
                strike = self._outage
            await strike(robot)

    async def mend(self) -> None:
        """Repair everything that was broken, except what the gateway must repair itself."""
        for robot in self._robots:
            robot.relay.open.set()
            self._ring.admit(robot.name, robot.identity.keys.public.decode())
        for session in self._sim.open_sessions:
            session.abort()

    async def _session(self, robot: Robot) -> None:
        session = next((it for it in reversed(robot.sessions(self._sim)) if it.open), None)
        if session:
            action = self._draw.choice(LIVES)
            session.do(action)
            self.done[action.do] += 1

    async def _cut(self, robot: Robot) -> None:
        robot.relay.cut()
        self.done["link cut"] += 1

    async def _freeze(self, robot: Robot) -> None:
        robot.relay.open.clear()
        asyncio.get_running_loop().call_later(self._draw.uniform(0.3, 4.0), robot.relay.open.set)
        self.done["link frozen"] += 1

    async def _restart(self, robot: Robot) -> None:
        await robot.stop()
        robot.start()
        self.done["robot restarted"] += 1

    async def _talk_rubbish(self, robot: Robot) -> None:
        """Connect with the robot's key and send malformed messages."""
        end = RobotEnd(robot.identity, robot.gateway, lambda _: None, lambda _: None)
        await asyncio.sleep(0.1)
        topic = f"{robot.name}/up".encode()
        for parts in (
            (topic, b"{", b""),
            (topic, os.urandom(200), b""),
            (b"robot-0/up", b"{}", b""),
            (topic, b"x" * 5000, b""),
        ):
            for _ in range(5):
                end.send(parts)
        await asyncio.sleep(0.05)
        end.close()
        self.done["rubbish"] += 1

    async def _reload(self, _robot: Robot) -> None:
        """Admit another robot and revoke it."""
        self._ring.admit("guest", self._guest)
        self._ring.revoke("guest")
        self.done["keys reloaded"] += 1

    async def _revoke(self, robot: Robot) -> None:
        public = robot.identity.keys.public.decode()
        self._ring.revoke(robot.name)
        await asyncio.sleep(0.5)
        self._ring.admit(robot.name, public)
        self.done["revoked for a while"] += 1

    async def _outage(self, _robot: Robot) -> None:
        """Make the simulator unreachable for a while."""
        swallow = self._draw.random() < 0.5
        await (self._sim.swallow() if swallow else self._sim.go_dark())
        self.outages += 1
        try:
            await asyncio.sleep(self._draw.uniform(1.0, 5.0))
        finally:
            await self._sim.come_back()
        self.done["outage"] += 1


@dataclass(frozen=True)
class Sample:
    """The gateway's process at one moment."""

    at_s: float
    rss_mib: float
    descriptors: float
    threads: float
    tasks: float
    """The most since the last sample. A lost connection takes six tasks with it, so a low number means nothing."""


def sample(gateway: Gateway, at_s: float, tasks: int) -> Sample:
    """The operating system's numbers, with the tasks."""
    process = Path(f"/proc/{gateway.pid}")
    descriptors, threads = (sum(1 for _ in (process / of).iterdir()) for of in ("fd", "task"))
    return Sample(at_s, memory_bytes(gateway.pid) / 2**20, descriptors, threads, tasks)


def tasks_of(gateway: Gateway) -> int:
    """How many tasks the gateway's event loop has, from its health page."""
    return int(json.loads(ask(gateway.health_port)[1])["tasks"])


def growth(samples: list[Sample], name: str) -> float:
    """From the median of the first third after the warm-up to the median of the last third."""
    values = [getattr(it, name) for it in samples[int(len(samples) * WARM_UP) :]]
    third = max(1, len(values) // 3)
    return float(statistics.median(values[-third:]) - statistics.median(values[:third]))


@asynccontextmanager
async def robots(work: Path, count: int, gateway: Address, draw: random.Random) -> AsyncIterator[list[Robot]]:
    """Run the robots, each behind a relay."""
    relays = [Relay(gateway.host, gateway[1:], (port, port + 1)) for port in range(RELAY_PORT, RELAY_PORT + 2 * count, 2)]
    made = []
    for n, relay in enumerate(relays):
        address = Address("127.0.0.1", *await relay.start())
        made.append(Robot(work, f"robot-{n}", relay, (address, gateway), draw))
    try:
        yield made
    finally:
        for robot in made:
            await robot.stop()
        for relay in relays:
            relay.stop()


class Soak:
    """One run and its verdict."""

    def __init__(self, minutes: float, count: int, seed: int) -> None:
        self.samples: list[Sample] = []
        self.healed_s: list[float] = []
        self.wrong: list[str] = []
        self.done: Counter[str] = Counter()
        self._for_s = minutes * 60
        self._count = count
        self._draw = random.Random(seed)  # noqa: S311
        self.turns = 0
        self.busy = 0.0

    async def run(self, work: Path) -> None:
        """Run, and judge."""
        make_keys(work, self._count)
        instructions = (f'[robots.robot-{n}]\ninstruction = "You are robot-{n}."' for n in range(self._count))
        file = work / "robots.toml"
        file.write_text("[defaults]\nvad = {silence_duration_ms = 300}\n" + "\n".join(instructions) + "\n")
        settings = SimSettings(mode="tone", tone_ms=800, speed=2, max_age_s=None, record_bytes=0, keep_sessions=200)
        async with AsyncExitStack() as stack:
            sim = await stack.enter_async_context(serve(settings))
            made = Gateway(work, sim.url, sim.root_path, PORT, GATEWAY_ROBOTS_FILE=file)
            gateway = await stack.enter_async_context(made)
            everybody = await stack.enter_async_context(robots(work, self._count, gateway.address, self._draw))
            await self._soak(sim, gateway, everybody, keys.Keyring(work / "gateway"))

    async def _soak(self, sim: GeminiLiveSim, gateway: Gateway, everybody: list[Robot], ring: keys.Keyring) -> None:
        *struck, bystander = everybody
        for robot in everybody:
            await robot.answered()
        gremlin = Gremlin(sim, struck, ring, self._draw)
        began, cpu = time.monotonic(), time.process_time()
        lateness = Lateness()
        watching = asyncio.create_task(lateness.watch())
        breaking = asyncio.create_task(gremlin.run())
        interval_s = min(SAMPLE_S, self._for_s / 12)
        while time.monotonic() - began < self._for_s:
            tasks, ends_s = 0, (len(self.samples) + 1) * interval_s
            for look in itertools.count():
                if (at_s := time.monotonic() - began) >= ends_s:
                    break
                if look % TASKS_EVERY == 0:
                    tasks = max(tasks, await asyncio.to_thread(tasks_of, gateway))
                await asyncio.sleep(0.1)
                bystander.lost += not bystander.runner.core.welcomed
                if breaking.done():
                    breaking.result()
            self.samples.append(await asyncio.to_thread(sample, gateway, at_s, tasks))
        self.busy = (time.process_time() - cpu) / (time.monotonic() - began)
        for task in (breaking, watching):
            task.cancel()
        await asyncio.wait([breaking, watching])
        self._judge_bystander(sim, bystander, gremlin.outages, lateness)
        await gremlin.mend()
        self.done = gremlin.done
        for robot in everybody:
            try:
                self.healed_s.append(await robot.answered())
            except TimeoutError:
                self.wrong.append(f"{robot.name} does not talk at the end")
        for name, most in (("rss_mib", RSS_MIB), ("descriptors", DESCRIPTORS), ("threads", THREADS), ("tasks", TASKS)):
            if (grew := growth(self.samples, name)) > most:
                self.wrong.append(f"{name} grew by {grew:.1f}, at most {most:g}")

    def _judge_bystander(self, sim: GeminiLiveSim, bystander: Robot, outages: int, lateness: Lateness) -> None:
        core = bystander.runner.core
        self.turns = len(core.summary)
        if bystander.lost:
            self.wrong.append(f"the bystander's link was lost for {bystander.lost / 10:.1f} s")
        if dropped := core.counts.get("window", 0):
            self.wrong.append(f"{dropped} mic chunks of the bystander were dropped")
        if (sessions := len(bystander.sessions(sim))) > 1 + outages:
            self.wrong.append(f"the bystander had {sessions} sessions, with {outages} outages")
        if dry := sum(turn.underruns for turn in core.summary):
            own = sum(turn.underruns for turn in core.summary if lateness.explains(turn))
            self.wrong.append(
                f"the bystander's speaker ran dry {dry} times, {own} of them while this process itself was held up"
            )

    def markdown(self) -> str:
        """The result as Markdown."""
        first, last = self.samples[int(len(self.samples) * WARM_UP)], self.samples[-1]
        lines = ["| gateway's process | after the warm-up | at the end | least | most | grew, by medians of thirds | at most |"]
        lines.append("|---|---|---|---|---|---|---|")
        named = (("rss_mib", "RSS, MiB", RSS_MIB), ("descriptors", "descriptors", DESCRIPTORS))
        for name, words, most in (*named, ("threads", "threads", THREADS), ("tasks", "tasks of the event loop", TASKS)):
            values = [getattr(it, name) for it in self.samples]
            ends = f"{getattr(first, name):.4g} | {getattr(last, name):.4g} | {min(values):.4g} | {max(values):.4g}"
            lines.append(f"| {words} | {ends} | {growth(self.samples, name):+.1f} | {most:g} |")
        strikes = ", ".join(f"{n} {what}" for what, n in sorted(self.done.items()))
        lines.append(f"\n{self._count} robots, {self._for_s / 60:g} minutes, {self.done.total()} faults: {strikes}.")
        lines.append(f"The bystander heard {self.turns} answers. Robots and simulator used {self.busy:.0%} of their core.")
        if self.healed_s:
            lines.append(f"At the end every robot that talks was heard within {max(self.healed_s):.1f} s.")
        lines += [f"**{wrong}**" for wrong in self.wrong] or ["Held."]
        return "\n".join(lines)


async def soak(minutes: float, count: int, seed: int) -> Soak:
    """Do one run."""
    run = Soak(minutes, count, seed)
    with tempfile.TemporaryDirectory(prefix="soak-") as directory:
        await run.run(Path(directory))
    return run


def main() -> int:
    """Print the result; exit status 1 if something did not hold."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--robots", type=int, default=6)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path, help="a folder for soak.json, every sample in it")
    given = parser.parse_args()
    os.sched_setaffinity(0, {LOAD_CORE})
    about = machine()
    heap.keep_out()  # else a garbage collection of all imports holds robots up by 70 ms
    run = asyncio.run(soak(given.minutes, given.robots, given.seed))
    print(f"`python bench/soak.py --minutes {given.minutes:g} --robots {given.robots} --seed {given.seed}`\n\n{run.markdown()}")
    samples = [asdict(it) for it in run.samples]
    keep(given.out, "soak", about, {"wrong": run.wrong, "faults": dict(run.done), "samples": samples})
    return 1 if run.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
