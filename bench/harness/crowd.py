"""A simulation of many robots and gateways: how robots choose a gateway, and how gateways even out their load.

:class:`~reachy_robot.core.RobotCore` (route, hellos, timeouts) and :class:`~reachy_gateway.fleet.level.Leveller` are the
product's own code. The network, the gateways' processor cores and a gateway's answer to a hello (served, or refused when full)
are simulated. A gateway's core works on dials (libzmq's thread) and on sessions (the event loop) at once, each in order of
arrival. While both have work, each gets half of the core.
"""

import heapq
import itertools
import random
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from reachy_gateway.fleet.level import Leveller
from reachy_gateway.fleet.present import Neighbours, Present
from reachy_link.address import Address, spread
from reachy_link.messages import BeatDown, Bye, Down, Hello, Leave, Refuse, Welcome, make
from reachy_link.pcm import Format
from reachy_robot.core import RobotCore
from reachy_robot.decisions import Out, Profile, Redial, Send
from reachy_robot.presence import LOST_S
from reachy_robot.runner import TICK_S
from reachy_robot.trouble import UNREACHABLE, Trouble

MONO: Final = Format(rate_hz=16000, channels=1)
RECONNECT_S: Final = (0.1, 0.25)
"""libzmq waits this long after a failed dial, then dials again: see ``set_dialer`` in ``reachy_link.sockets``."""
CONNECT_S: Final = 1.0
"""A dial without an answer fails after this time: see ``set_dialer``, too."""
REFUSALS_S: Final = 1.0
"""Minimum pause between two refusals of one robot: see ``Hub``."""


class Costs(NamedTuple):
    """What one new robot costs: seconds of a gateway's core, and delays."""

    dial_s: float
    """Both CURVE handshakes."""
    session_s: float
    """The conversation: the claim, the dial of Gemini, the first messages."""
    latency_s: float = 0.001
    """One way over the link."""
    gemini_s: float = 0.0
    """The part of Gemini's dial that is waiting, not work."""
    start_s: float = 0.0
    """Work that a freshly started gateway does once, when its first robots arrive."""


@dataclass(eq=False)
class Robot:
    """One robot: its core, and its link."""

    core: RobotCore
    boot: str
    gateway: "Gateway | None" = None
    dialled: int = 0
    """Counts the robot's dials. Events of an earlier dial are ignored."""
    stands: bool = False
    ticking: bool = False
    served_at: float | None = None
    """When the robot was welcomed."""
    talks_at: float | None = None
    sent_on: int = 0
    """How often the robot was refused."""


@dataclass(eq=False)
class Gateway:
    """One gateway, and its processor core."""

    address: Address
    robots_max: int
    robots: dict[str, Robot] = field(default_factory=dict)
    alive: bool = True
    silent: bool = False
    """The machine is gone: robots get neither an answer nor an error."""
    work: tuple[deque[list[object]], deque[list[object]]] = field(default_factory=lambda: (deque(), deque()))
    """Dials and sessions: for each the seconds of work left, and what happens then."""
    at: float = 0.0
    starts: int = 1
    due: int = 0
    refused: dict[str, float] = field(default_factory=dict)
    level: Leveller = field(default_factory=Leveller)

    def header(self, robot: str, to_boot: str) -> dict[str, object]:
        """The header of a message to a robot."""
        return {"robot": robot, "boot": f"{self.starts:016x}", "seq": 0, "t_us": 0, "to_boot": to_boot}


class Crowd:
    """The simulation that the module describes. Time begins at 0.

    Args:
        robots: How many robots.
        gateways: How many gateways; each has its own address.
        robots_max: How many robots each gateway serves.
        boots_s: All robots are switched on within this time.
        seed: Seed of all random draws.
    """

    def __init__(self, robots: int, gateways: int, robots_max: int, costs: Costs, boots_s: float = 0.2, seed: int = 7) -> None:
        self.now = 0.0
        self._costs = costs
        self._draw = random.Random(seed)  # noqa: S311 - must be repeatable
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._numbers = itertools.count()
        self.gateways = [Gateway(address_of(n), robots_max) for n in range(gateways)]
        self._by_address = {gateway.address: gateway for gateway in self.gateways}
        self.refusals = self.moves = 0
        self.robots = [self._made(f"reachy-{n}", [gateway.address for gateway in self.gateways]) for n in range(robots)]
        for robot in self.robots:
            self.after(self._draw.uniform(0.0, boots_s), lambda it=robot: self._switched_on(it))  # type: ignore[misc]

    def _made(self, name: str, addresses: Sequence[Address]) -> Robot:
        profile = Profile(name, f"{self._draw.getrandbits(64):016x}", MONO, MONO, 40, "simulated")
        return Robot(RobotCore(profile, 0.0, spread(name, addresses)), profile.boot)

    # --- time ---------------------------------------------------------------------------------------------------------

    def after(self, s: float, what: Callable[[], None]) -> None:
        """Schedule an action this much later."""
        heapq.heappush(self._events, (self.now + s, next(self._numbers), what))

    def run(self, until_s: float, done: Callable[[], bool] = lambda: False) -> None:
        """Let time pass until the given time, or until the condition holds."""
        while self._events and self._events[0][0] <= until_s and not done():
            self.now, _, what = heapq.heappop(self._events)
            what()

    def all_talk(self) -> bool:
        """Whether every robot has a conversation."""
        return self._talking == len(self.robots)

    _talking = 0

    # --- robots -------------------------------------------------------------------------------------------------------

    def _switched_on(self, robot: Robot) -> None:
        here = robot.core.route.here
        self._carry_out(robot, [Redial(here)])
        self._tick(robot)

    def _tick(self, robot: Robot) -> None:
        """Tick as the runner does, until the robot is served. The ticks of a served robot change nothing here."""
        if robot.served_at is not None:
            robot.ticking = False
            return
        robot.ticking = True
        self._carry_out(robot, robot.core.tick(self.now, 0.0))
        self.after(TICK_S, lambda: self._tick(robot))

    def _carry_out(self, robot: Robot, out: Sequence[Out]) -> None:
        for item in out:
            if isinstance(item, Redial):
                self._dial(robot, item.address)
            elif isinstance(item, Send) and robot.stands and robot.gateway:
                dialled, gateway, message = robot.dialled, robot.gateway, item.message
                if isinstance(message, Hello | Bye):
                    self.after(self._costs.latency_s, lambda it=message, to=gateway, n=dialled: self._arrives(to, robot, n, it))  # type: ignore[misc]

    def _dial(self, robot: Robot, address: Address | None) -> None:
        robot.dialled += 1
        robot.stands = False
        robot.gateway = self._by_address[address] if address else robot.gateway
        self._knock(robot, robot.dialled)

    def _knock(self, robot: Robot, dialled: int) -> None:
        """Dial as libzmq does: again and again."""
        if robot.dialled != dialled or robot.gateway is None:
            return
        gateway, latency_s = robot.gateway, self._costs.latency_s
        if gateway.silent:
            self.after(CONNECT_S, lambda: self._failed(robot, dialled))
        elif not gateway.alive:
            self.after(2 * latency_s, lambda: self._failed(robot, dialled))
        else:
            self.after(latency_s, lambda: self._add(gateway, 0, self._costs.dial_s, lambda: self._shaken(robot, dialled)))

    def _failed(self, robot: Robot, dialled: int) -> None:
        if robot.dialled != dialled or robot.gateway is None:
            return
        self.after(self._draw.uniform(*RECONNECT_S), lambda: self._knock(robot, dialled))
        self._carry_out(robot, robot.core.trouble(Trouble(UNREACHABLE, "nobody listens there"), self.now))

    def _shaken(self, robot: Robot, dialled: int) -> None:
        if robot.dialled == dialled:
            robot.stands = True

    def _told(self, robot: Robot, dialled: int, message: Down) -> None:
        """Handle a message from the gateway."""
        if robot.dialled != dialled or not robot.stands:
            return
        self._carry_out(robot, robot.core.down(message, b"", self.now, 0.0))
        if isinstance(message, Welcome) and robot.core.welcomed and robot.served_at is None:
            robot.served_at = self.now
        if isinstance(message, Leave) and robot.served_at is not None:
            self._unserved(robot)

    def _mute(self, robot: Robot) -> None:
        self._talking -= robot.talks_at is not None
        robot.talks_at = None

    def _unserved(self, robot: Robot) -> None:
        self._mute(robot)
        robot.served_at = None
        if not robot.ticking:
            self._tick(robot)

    # --- gateways -----------------------------------------------------------------------------------------------------

    def _arrives(self, gateway: Gateway, robot: Robot, dialled: int, message: Hello | Bye) -> None:
        """Handle a hello or a goodbye at a gateway."""
        name = message.robot
        if not gateway.alive or robot.dialled != dialled:
            if isinstance(message, Bye) and gateway.alive:
                gateway.robots.pop(name, None)
            return
        if isinstance(message, Bye):
            gateway.robots.pop(name, None)
            return
        known = gateway.header(name, message.boot)
        if name not in gateway.robots and len(gateway.robots) >= gateway.robots_max:
            if self.now - gateway.refused.get(name, -REFUSALS_S) >= REFUSALS_S:
                gateway.refused[name] = self.now
                self.refusals += 1
                robot.sent_on += 1
                self._answer(robot, dialled, make(Refuse, **known, reason="this gateway is full"))
            return
        if name not in gateway.robots:
            gateway.robots[name] = robot
            self._add(
                gateway, 1, self._costs.session_s, lambda: self.after(self._costs.gemini_s, lambda: self._talks(robot, dialled))
            )
        self._answer(robot, dialled, make(Welcome, **known))

    def _answer(self, robot: Robot, dialled: int, message: Down) -> None:
        self.after(self._costs.latency_s, lambda: self._told(robot, dialled, message))

    def _talks(self, robot: Robot, dialled: int) -> None:
        if robot.dialled == dialled and robot.talks_at is None:
            robot.talks_at = self.now
            self._talking += 1

    def _add(self, gateway: Gateway, which: int, cost_s: float, then: Callable[[], None]) -> None:
        self._work(gateway)
        gateway.work[which].append([cost_s, then])
        self._plan(gateway)

    def _work(self, gateway: Gateway) -> None:
        """Subtract the work that the core has done since the last look."""
        passed_s, gateway.at = self.now - gateway.at, self.now
        busy = [queue for queue in gateway.work if queue]
        for queue in busy:
            queue[0][0] -= passed_s / len(busy)  # type: ignore[operator]

    def _plan(self, gateway: Gateway) -> None:
        busy = [queue for queue in gateway.work if queue]
        gateway.due += 1
        if busy:
            next_s = min(float(queue[0][0]) for queue in busy) * len(busy)  # type: ignore[arg-type]
            self.after(max(0.0, next_s), lambda n=gateway.due: self._finish(gateway, n))  # type: ignore[misc]

    def _finish(self, gateway: Gateway, due: int) -> None:
        if gateway.due != due or not gateway.alive:
            return
        self._work(gateway)
        ended = [queue.popleft()[1] for queue in gateway.work if queue and queue[0][0] <= 1e-9]  # type: ignore[operator]
        self._plan(gateway)
        for then in ended:
            then()  # type: ignore[operator]

    # --- faults -----------------------------------------------------------------------------------------------------------

    def kill(self, gateways: Sequence[Gateway], *, silently: bool) -> list[Robot]:
        """Kill these gateways, or lose their machines. Returns the robots that were connected there."""
        hit = []
        for gateway in gateways:
            gateway.alive, gateway.silent = False, silently
            for queue in gateway.work:
                queue.clear()
            for name, robot in gateway.robots.items():
                hit.append(robot)
                self._mute(robot)
                robot.core.down(
                    make(BeatDown, **gateway.header(name, robot.boot)), b"", self.now, 0.0
                )  # the last message that the robot receives
                robot.stands = False
                if silently:
                    self.after(LOST_S - 0.01, lambda it=robot: self._unserved(it))  # type: ignore[misc]
                else:
                    dialled = robot.dialled
                    self.after(self._costs.latency_s, lambda it=robot: self._unserved(it))  # type: ignore[misc]
                    self.after(self._draw.uniform(*RECONNECT_S), lambda it=robot, n=dialled: self._knock(it, n))  # type: ignore[misc]
            gateway.robots.clear()
        return hit

    def revive(self, gateways: Sequence[Gateway]) -> None:
        """Start these gateways again. They know no robot."""
        for gateway in gateways:
            gateway.alive, gateway.silent, gateway.at = True, False, self.now
            gateway.starts += 1
            gateway.refused.clear()
            self._add(gateway, 1, self._costs.start_s, lambda: None)

    def add_gateways(self, n: int) -> None:
        """Add gateways. A robot learns of a new one when it is sent there."""
        for _ in range(n):
            gateway = Gateway(address_of(len(self.gateways)), self.gateways[0].robots_max, at=self.now)
            self.gateways.append(gateway)
            self._by_address[gateway.address] = gateway

    def become_level(self, idle_s: float = 60.0) -> None:
        """Let each gateway send robots away once a second from now on. Its knowledge of the others is a second old."""
        present = [
            Present(
                inbox=str(it.address),
                name=str(it.address),
                where=str(it.address),
                robots=len(it.robots),
                robots_max=it.robots_max,
            )
            for it in self.gateways
        ]
        mean = sum(it.robots for it in present) / len(present)

        def look() -> None:
            for gateway in self.gateways:
                if len(gateway.robots) > mean and (
                    move := gateway.level.move(
                        self.now, Neighbours(str(gateway.address), present), dict.fromkeys(gateway.robots, idle_s)
                    )
                ):
                    name, where = move
                    robot = gateway.robots[name]
                    self.moves += 1
                    known = gateway.header(name, robot.boot)
                    self._answer(robot, robot.dialled, make(Leave, **known, reason="more room", to=where))
            self.become_level(idle_s)

        self.after(1.0, look)


def address_of(n: int) -> Address:
    """The address of a gateway."""
    return Address(f"10.{n // 62500}.{n // 250 % 250}.{n % 250 + 1}")
