"""A fleet on a real Docker Swarm of two nodes: what robots notice of failing tasks and nodes, and of an update.

``python bench/swarm.py [--runs 5]``, as root, with Docker's engine (dockerd) and the images (``docker compose build``,
``tools/valkey-image``). The stack is ``deploy/swarm.yml``, with the simulator in Google's place. Robots are the real robot-io,
outside the Swarm, with the nodes in their lists. A robot is heard again when another connection to the simulator receives its
microphone.
"""

import argparse
import asyncio
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

from gemini_live_sim.behaviour import Behaviour
from gemini_live_sim.connection import SimSession
from gemini_live_sim.server import GeminiLiveSim, serve
from gemini_live_sim.settings import SimSettings
from harness import swarm
from harness.devices import Light, robots, until
from harness.gateway import make_keys, run_load
from harness.results import Timing, keep, machine, table
from reachy_gateway.fleet.level import ABOVE
from reachy_link.address import Address, spread
from reachy_link.keys import load_pair

if TYPE_CHECKING:
    from reachy_robot.runner import Runner

TALKING: Final = 6
"""How many robots talk at a time."""
LOOK_S: Final = 0.002
SETTLE_S: Final = 1.5
DEPLOYED_S: Final = {"max": 60.0}
KILLED_S: Final = {"p50": 1.0, "max": 1.5}
CUT_S: Final = {"max": 3.5}
MOVED_S: Final = {"p50": 0.7, "max": 1.5}
STORE_S: Final = {"max": 0.5}
LEVEL_S: Final = {"max": 120.0}
"""From a gateway's return until the load is level: 30 s until the fleet has settled, then one robot a second."""


class Lab:
    """Robots that talk through the Swarm's gateways, and what the simulator hears of them."""

    def __init__(self, nodes: swarm.TwoNodes, sim: GeminiLiveSim) -> None:
        self.nodes = nodes
        self.sim = sim
        self.runners: list[Runner] = []
        self.problems: list[str] = []
        self.gaps: list[float] = []
        """For each robot, the longest time without audio at the simulator since the list was cleared."""

    def newest(self, robot: int) -> SimSession:
        """The robot's newest connection that the simulator accepted."""
        return [it for it in self.sim.sessions if it.setup and it.setup.instruction == f"{robot}" and it.session_id][-1]

    def at(self, robot: int) -> int:
        """The node that serves a robot; 0 if none does."""
        core = self.runners[robot].core
        here = core.route.here if core.welcomed else None
        return next((node for node in swarm.NODES if here and here.host == swarm.ip(node)), 0)

    def all_heard(self) -> bool:
        """Whether each robot is served and has one connection, which hears it."""
        open_ones = [it for it in self.sim.open_sessions if it.is_connected]
        return all(map(self.at, range(TALKING))) and len(open_ones) == TALKING and all(it.heard_bytes for it in open_ones)

    async def settled(self, limit_s: float = 60.0) -> None:
        """Wait until all robots are heard, and stay so."""
        await until(self.all_heard, limit_s)
        await asyncio.sleep(SETTLE_S)

    async def listen(self) -> None:
        """Note how long each robot is not heard, until cancelled."""
        heard, since = [0] * TALKING, [time.monotonic()] * TALKING
        while True:
            now = time.monotonic()
            for robot in range(TALKING):
                total = sum(it.heard_bytes for it in self.sim.sessions if it.setup and it.setup.instruction == f"{robot}")
                if total != heard[robot]:
                    heard[robot], since[robot] = total, now
                if self.gaps:
                    self.gaps[robot] = max(self.gaps[robot], now - since[robot])
            await asyncio.sleep(LOOK_S)

    async def gather(self, node: int) -> None:
        """Move all robots to a node: for a moment the other node has no gateway."""
        other = 3 - node
        self.nodes.may_have_a_gateway(other, yes=False)
        await until(lambda: all(self.at(robot) == node for robot in range(TALKING)), 60.0)
        self.nodes.may_have_a_gateway(other, yes=True)
        await until(lambda: self.nodes.container(other, "gateway"), 60.0, 0.5)
        await self.settled()
        await asyncio.sleep(3.0)  # until the gateway there is ready and both know each other

    async def again(self, fault: Callable[[], object], *, resumed: bool | None) -> list[float]:
        """How long until each robot affected by a fault is heard again: those at the second node."""
        await self.settled()
        before = [self.newest(robot) for robot in range(TALKING)]
        hit = [robot for robot in range(TALKING) if self.at(robot) == 2]
        for session in before:
            session.say(300)
        await asyncio.sleep(1.0)
        began = time.monotonic()
        done = asyncio.get_running_loop().run_in_executor(None, fault)
        took = []
        for robot in hit:
            await until(lambda it=robot: self.newest(it) is not before[it] and self.newest(it).heard_bytes, 30.0, LOOK_S)  # type: ignore[misc]
            took.append(time.monotonic() - began)
            now = self.newest(robot)
            if resumed is not None and now.resumed is not resumed:
                self.problems.append(f"robot-{robot} was {'' if now.resumed else 'not '}resumed")
        await done
        for robot in range(TALKING):
            if robot not in hit and self.newest(robot) is not before[robot]:
                self.problems.append(f"robot-{robot}, at the other node, was disturbed")
        return took

    @asynccontextmanager
    async def gaps_of(self, into: list[float]) -> AsyncIterator[None]:
        """Collect, for each robot, the longest time without audio at the simulator meanwhile."""
        self.gaps = [0.0] * TALKING
        yield
        into += self.gaps
        self.gaps = []


async def faults(lab: Lab, runs: int) -> list[Timing]:
    """Cause every fault of a fleet, one after the other."""
    nodes = lab.nodes
    killed: list[float] = []
    cut: list[float] = []
    drained: list[float] = []
    updated: list[float] = []
    store: list[float] = []
    level: list[float] = []
    for _ in range(runs):
        await lab.gather(2)
        killed += await lab.again(lambda: nodes.docker(2, "kill", nodes.container(2, "gateway")), resumed=True)
        await until(lambda: nodes.container(2, "gateway"), 60.0, 0.5)
    for _ in range(runs):
        await lab.gather(2)
        async with lab.gaps_of(drained):  # the Swarm's delay before it tells the gateway, up to 3 s, does not count
            await lab.again(lambda: nodes.availability(2, "drain"), resumed=True)
            await lab.settled()
        nodes.availability(2, "active")
        began = time.monotonic()
        await until(lambda: nodes.container(2, "gateway"), 60.0, 0.5)
        if not level:
            await until(lambda: sum(lab.at(robot) == 2 for robot in range(TALKING)) >= _share(), LEVEL_S["max"] * 2, 0.1)
            level.append(time.monotonic() - began)
    for _ in range(max(1, runs // 2)):
        await lab.gather(2)
        cut += await lab.again(lambda: nodes.cut(2), resumed=None)
        nodes.heal(2)
        await until(lambda: nodes.nodes().get(swarm.name(2)) == "Ready", 90.0, 0.5)
        await until(lambda: nodes.container(2, "gateway"), 90.0, 0.5)
        await asyncio.sleep(5.0)
    for _ in range(max(1, runs // 2)):
        await lab.settled()
        async with lab.gaps_of(updated):
            await asyncio.to_thread(nodes.manager, "service", "update", "--force", "--quiet", f"{swarm.STACK}_gateway")
            await lab.settled()
    for _ in range(runs):
        await lab.settled()
        before = [lab.newest(robot) for robot in range(TALKING)]
        async with lab.gaps_of(store):
            await asyncio.to_thread(nodes.docker, 1, "kill", nodes.container(1, "store"))
            await asyncio.sleep(5.0)
        if [lab.newest(robot) for robot in range(TALKING)] != before:
            lab.problems.append("a conversation was restarted as the store was killed")
    return [
        Timing("a task killed (docker kill) -> its robots are heard in the resumed session", killed, KILLED_S),
        Timing("a node's wire cut -> its robots are heard in a new session with the transcript", cut, CUT_S),
        Timing("a node drained, sessions resumed: longest time in which a robot was not heard", drained, MOVED_S),
        Timing("rolling update of both gateways: the same", updated, MOVED_S),
        Timing("the store killed: longest time in which a robot was not heard", store, STORE_S),
        Timing("an empty gateway is there -> it has its share of the robots", level, LEVEL_S),
    ]


def _share() -> int:
    """How many robots an empty second gateway gets: those that prefer it, until the first is about as full."""
    places = [Address(swarm.name(node)) for node in swarm.NODES]
    own = sum(spread(f"robot-{n}", places)[0].host == swarm.name(2) for n in range(TALKING))
    return min(own, TALKING - int(ABOVE * TALKING / 2))


async def measure(work: Path, runs: int) -> tuple[list[Timing], list[str]]:
    """Measure a fleet from deployment to the last fault."""
    make_keys(work / "secrets", TALKING)
    robots_file = work / "robots.toml"
    robots_file.write_text("".join(f'[robots.robot-{n}]\ninstruction = "{n}"\n' for n in range(TALKING)), encoding="utf-8")
    settings = SimSettings(host=swarm.LAB_IP, port=swarm.SIM_PORT, tls_names=(swarm.LAB_IP,), speed=0)
    async with serve(settings) as sim:
        sim.behaviour = Behaviour(speed=0)
        (work / "secrets" / "gemini-api-key").write_text("no-key", encoding="utf-8")
        swarm.run(swarm.ROOT / "deploy" / "make-secrets", env=os.environ | {"SECRETS": str(work / "secrets")})
        more = swarm.prepare(work, sim.root_path, robots_file)
        nodes = swarm.TwoNodes(work)
        lab = Lab(nodes, sim)
        began = time.monotonic()
        await asyncio.to_thread(nodes.deploy, more)
        try:
            await until(lambda: all(nodes.container(node, "gateway") for node in swarm.NODES), 60.0, 0.2)
            for n in range(TALKING):
                await admitted(nodes, f"robot-{n}", load_pair(work / "secrets" / f"robot-{n}", "").public.decode())
            await until(
                lambda: (
                    nodes.docker(2, "exec", nodes.container(2, "gateway"), "reachy-keys", "list").count("robot-") == TALKING
                ),
                60.0,
                0.5,
            )
            addresses = [Address(swarm.ip(node)) for node in swarm.NODES]
            async with robots(work / "secrets", [Light() for _ in range(TALKING)], *addresses) as lab.runners:
                await until(lab.all_heard, 60.0)
                deployed = Timing("docker stack deploy -> every robot is heard", [time.monotonic() - began], DEPLOYED_S)
                listening = asyncio.create_task(lab.listen())
                timings = [deployed, *await faults(lab, runs)]
                listening.cancel()
        except BaseException:
            for node in swarm.NODES:
                print(nodes.logs(node, "gateway")[-3000:], file=sys.stderr)
            print(nodes.manager("service", "ps", "--no-trunc", f"{swarm.STACK}_gateway"), file=sys.stderr)
            raise
        return timings, lab.problems


async def admitted(nodes: swarm.TwoNodes, robot: str, public: str) -> None:
    """Admit a robot at the first gateway, once it has started. The store tells the other."""
    until_s = time.monotonic() + 15.0
    while True:
        try:
            nodes.docker(1, "exec", nodes.container(1, "gateway"), "reachy-keys", "admit", robot, public)
        except RuntimeError:
            if time.monotonic() > until_s:
                raise
        else:
            return
        await asyncio.sleep(0.2)


def main() -> int:
    """Print the table; exit status 1 if something did not hold."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--out", type=Path, help="a folder for swarm.json")
    parser.add_argument("--inside", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.inside is None:
        with tempfile.TemporaryDirectory(prefix="swarm-") as directory, swarm.TwoNodes(Path(directory)) as nodes:
            return subprocess.run(nodes.in_lab([__file__, "--inside", directory, *sys.argv[1:]]), check=False).returncode
    about = machine()
    timings, problems = run_load(measure(given.inside, given.runs))
    print(table(timings, "s", 2))
    for problem in problems:
        print(f"WRONG: {problem}")
    keep(given.out, "swarm", about, {"timings": [timing.told() for timing in timings], "wrong": problems})
    return 1 if problems or not all(timing.held for timing in timings) else 0


if __name__ == "__main__":
    sys.exit(main())
