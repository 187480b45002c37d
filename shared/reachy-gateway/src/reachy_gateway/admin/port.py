"""The admin port's socket: a ROUTER that only operators' keys reach. Nothing here blocks, so no robot is delayed."""

import asyncio
import logging
import time
from collections.abc import Callable, Collection
from functools import partial
from typing import Final

import zmq
from pydantic import BaseModel, ConfigDict, ValidationError

from reachy_gateway.admin.watcher import Picture, Watcher, robots_of
from reachy_gateway.boundary import Boundary
from reachy_gateway.hub import Hub
from reachy_gateway.link.connections import Connections
from reachy_gateway.link.end import HANDSHAKE_FAILURES
from reachy_gateway.link.zap import Zap
from reachy_link import admin
from reachy_link.address import ANY, endpoint, is_ipv6
from reachy_link.bucket import Rate, TokenBucket
from reachy_link.keys import KeyPair
from reachy_link.operators import Operators
from reachy_link.sockets import MORE, NOW, Drain, Inbox, Monitor, SyncSocket, next_tick, patient_threads, set_listener

log = logging.getLogger(__name__)

DOMAIN: Final = b"reachy-admin"
QUEUE: Final = 64
"""How many messages may wait for or from one console. Beyond this the console is told everything again, once it reads."""
AUDIT_S: Final = 0.25
AUDITS_A_READING: Final = 4
"""In one of so many audits every key file and every connection is looked at; in the others only the folders of keys."""
NEWS_S: Final = 0.8
"""How often consoles are told news, so that a page is never more than a second old."""
LEVELS_S: Final = 0.1
AT_ONCE_S: Final = 0.2
"""A console that asks for something new is told at once, but at most once in this time."""
REQUESTS: Final = Rate(50, 200)
"""Requests of one key. Further ones are dropped."""
FLOW: Final = Rate(500_000, 1_000_000)
"""Bytes through one connection."""
STUCK: Final = Rate(512, 4 * admin.REQUEST_MAX_BYTES)
DIALS: Final = Rate(4, 40)
"""Handshakes of one operator's key."""
WATCHERS_MAX: Final = 32
COMMANDS_MAX: Final = 8
"""How many commands are carried out at a time. Further ones are refused with a reason."""


class _Numbered(BaseModel):
    """The one field that is read from an invalid request."""

    model_config = ConfigDict(extra="ignore", strict=True)

    id: admin.Ident


class AdminPort:
    """Serves consoles from the moment at which it is made.

    Args:
        hub: The hub to show. It is told of drops and refusals.
        keys: The gateway's own keys.
        operators: Who may see, and who may command.
        host: The address to listen on.
        port: The port to listen on; 0 lets the system choose.
        boot: The gateway's boot.
        picture: Returns how everything stands now.
        detail: Returns everything that is kept of a robot, for a console that begins to look at it.
        levels: Returns how loud a robot is now, and its pose.
        do: Carries out a command of an operator.
    """

    def __init__(
        self,
        hub: Hub,
        keys: KeyPair,
        operators: Operators,
        host: str,
        port: int,
        *,
        boot: str,
        picture: Callable[[], Picture],
        detail: Callable[[str], dict[str, object]],
        levels: Callable[[str], admin.Levels | None],
        do: Callable[[admin.Command, str], "asyncio.Future[tuple[admin.Answer, bytes]]"],
    ) -> None:
        self._hub = hub
        self._operators = operators
        self._boot = boot
        self._picture, self._detail, self._levels, self._do = picture, detail, levels, do
        self._loop = asyncio.get_running_loop()
        self._watchers: dict[bytes, Watcher] = {}
        """Watching consoles, by the identity of their connection."""
        self._looked_at: set[str] = set()
        self._buckets: dict[str, tuple[TokenBucket, TokenBucket]] = {}
        """By key: the rates of its requests, and of its handshakes."""
        self._tasks: set[asyncio.Future[tuple[admin.Answer, bytes]]] = set()
        self._context = zmq.Context(io_threads=1)
        with patient_threads():
            self._zap = Zap(self._context, operators, hub.on_bad, self._is_barred, DOMAIN, "operator")
        self._socket: SyncSocket = self._context.socket(zmq.ROUTER)
        set_listener(self._socket, keys, admin.REQUEST_MAX_BYTES)
        self._socket.zap_domain = DOMAIN
        self._socket.router_mandatory = 1
        self._socket.sndhwm = self._socket.rcvhwm = QUEUE
        self._socket.ipv6 = host == ANY or is_ipv6(host)
        try:
            self._socket.bind(endpoint(host, port))
        except zmq.ZMQError:
            self._zap.close()
            self._context.destroy(linger=0)
            raise
        self.port = int(self._socket.getsockopt_string(zmq.LAST_ENDPOINT).rpartition(":")[2])
        self._connections = Connections(self.port, FLOW, STUCK)
        self._monitor = Monitor(self._socket, self._monitored, HANDSHAKE_FAILURES | zmq.EVENT_ACCEPTED)
        self._inbox = Inbox(self._socket)
        self._seen = operators.changes
        self._audits = 0
        self._drain = Drain(self._socket, self._ready, tick_s=AUDIT_S)
        self._timers = {every_s: self._loop.call_soon(self._tick, every_s) for every_s in (AUDIT_S,)}

    @property
    def watchers(self) -> int:
        """How many consoles watch."""
        return len(self._watchers)

    @property
    def looked_at(self) -> Collection[str]:
        """The robots that some console shows in detail."""
        return self._looked_at

    def close(self) -> None:
        """Close the port."""
        for timer in self._timers.values():
            timer.cancel()
        for task in self._tasks:
            task.cancel()
        self._drain.close()
        self._monitor.close()
        self._zap.close()
        self._context.destroy(linger=0)

    def happened(self, robot: str, item: admin.Turn | admin.Said | admin.Note) -> None:
        """Tell the consoles that look at a robot at once what happened to it."""
        if robot in self._looked_at:
            for identity, watcher in list(self._watchers.items()):
                if event := watcher.event(robot, item):
                    self._tell(identity, watcher, event)

    # --- requests -----------------------------------------------------------------------------------------------------

    def _ready(self) -> bool:
        try:
            parts = self._inbox.next()
        except zmq.Again:
            return False
        if not parts:
            return True
        self._follow()
        key = str(parts[-1].get("User-Id"))
        fd = self._connections.heard(parts[-1], key)
        name, role = self._operators.robot_of(key), self._operators.role_of(key)
        if name is None or role is None:
            self._hub.on_bad("revoked", "", f"a request by {key}, which is no longer an operator's", key)
        elif self._inbox.overfull or len(parts) != 2:  # noqa: PLR2004 - the console's identity, and the request
            self._hub.on_bad("parts", "", f"operator {name} sends {len(parts) - 1} parts, expected 1", key)
            self._connections.hang_up(fd)
        elif not self._buckets_of(key)[0].take(1, time.monotonic()):
            self._hub.on_bad("flood", "", f"operator {name} asks beyond {REQUESTS.per_s} times a second", key)
        else:
            self._request(parts[0].bytes, parts[1].bytes, key, name, role)
        return True

    def _request(self, identity: bytes, header: bytes, key: str, name: str, role: admin.Role) -> None:
        try:
            request = admin.REQUEST.validate_json(header)
        except ValidationError as error:
            self._misunderstood(identity, header, key, name, error)
            return
        match request:
            case admin.Watch():
                self._watch(identity, request, key, role)
            case admin.Unwatch():
                self._watchers.pop(identity, None)
                self._look()
            case _ if role == "viewer":
                log.warning("viewer %s asked for %s, and was refused", name, request.kind)
                self._answer(identity, request.id, "this console's key may look, and command nothing")
            case _ if len(self._tasks) >= COMMANDS_MAX:
                self._answer(identity, request.id, "too much is being done at once: try again")
            case _:
                task = self._do(request, name)
                self._tasks.add(task)
                task.add_done_callback(partial(self._done, identity, request.id, key))

    def _misunderstood(self, identity: bytes, header: bytes, key: str, name: str, error: ValidationError) -> None:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        words = f"{'.'.join(str(step) for step in first['loc']) or 'request'}: {first['msg']}"
        self._hub.on_bad("header", "", f"operator {name}: {words}", key)
        try:
            number = _Numbered.model_validate_json(header).id
        except ValidationError:
            return
        self._answer(identity, number, f"not understood: {words}"[:500])

    def _watch(self, identity: bytes, request: admin.Watch, key: str, role: admin.Role) -> None:
        now = time.monotonic()
        watcher = self._watchers.get(identity)
        if watcher is None:
            if len(self._watchers) >= WATCHERS_MAX:
                del self._watchers[min(self._watchers, key=lambda it: self._watchers[it].heard_at)]
            watcher = self._watchers[identity] = Watcher(self._boot, key, role, now)
        before = watcher.robots
        watcher.asked(request, now)
        self._look()
        if (request.afresh or watcher.robots != before or not watcher.was_told) and now - watcher.told_at >= AT_ONCE_S:
            self._news([identity])  # otherwise it is told with the next news

    def _done(self, identity: bytes, number: int, key: str, task: "asyncio.Future[tuple[admin.Answer, bytes]]") -> None:
        self._tasks.discard(task)
        if task.cancelled() or self._operators.role_of(key) is None:
            return

        def failed(error: Exception) -> None:
            log.error("a bug in a command of an operator", exc_info=error)
            self._answer(identity, number, "a bug in the gateway; see its log")

        with Boundary(failed):
            answer, payload = task.result()
            self._send(identity, answer, payload)

    # --- messages to consoles -----------------------------------------------------------------------------------------

    def _tick(self, every_s: float) -> None:
        """Run one of the clocks. The audit's clock always runs; the others run while somebody watches."""
        self._timers[every_s] = self._loop.call_at(next_tick(self._loop.time(), every_s), self._tick, every_s)
        if every_s == AUDIT_S:
            self._audit()
        elif every_s == NEWS_S:
            self._news(list(self._watchers))
        else:
            for robot in self._looked_at:
                if levels := self._levels(robot):
                    for identity, watcher in list(self._watchers.items()):
                        if robot in watcher.robots:
                            self._send(identity, levels)

    def _audit(self) -> None:
        now = time.monotonic()
        self._audits += 1
        if self._audits % AUDITS_A_READING == 0:
            self._operators.reload()
            ended = [*self._connections.audit(now, self._hub.stalled_s), *self._connections.end_the_endless(now)]
            for key, detail in ended:
                self._hub.on_bad("hung_up", "", f"at the admin port: {detail}: hung up", key)
        self._follow()
        late = [it for it, watcher in self._watchers.items() if now - watcher.heard_at > admin.LEASE_S]
        for identity in late:
            del self._watchers[identity]
        watches = bool(self._watchers) or NEWS_S not in self._timers
        if late or not watches or robots_of(list(self._watchers.values())) != self._looked_at:
            self._look()  # a console that has gone is noticed when it is sent something

    def _follow(self) -> None:
        """Take note of operators that were admitted or revoked."""
        self._operators.refresh()
        if self._seen == self._operators.changes:
            return
        self._seen = self._operators.changes
        for problem in self._operators.problems:
            log.warning("%s", problem)
        for identity, watcher in list(self._watchers.items()):
            if self._operators.role_of(watcher.key) != watcher.role:
                del self._watchers[identity]
        for key in [key for key in self._buckets if self._operators.role_of(key) is None]:
            del self._buckets[key]
        for key, detail in self._connections.hang_up_on(lambda key: self._operators.role_of(key) is None):
            self._hub.on_bad("revoked", "", f"at the admin port: {key}: {detail}: hung up", key)
        self._look()

    def _look(self) -> None:
        """Tell the robots whether somebody looks at them, and start or stop the clocks."""
        self._looked_at = robots_of(list(self._watchers.values()))
        for name, robot in self._hub.robots.items():
            robot.limbs.watch(on=name in self._looked_at)
        for every_s, needed in ((NEWS_S, bool(self._watchers)), (LEVELS_S, bool(self._looked_at))):
            if needed and every_s not in self._timers:
                self._timers[every_s] = self._loop.call_at(next_tick(self._loop.time(), every_s), self._tick, every_s)
            elif not needed and (timer := self._timers.pop(every_s, None)):
                timer.cancel()

    def _news(self, identities: Collection[bytes]) -> None:
        picture = self._picture()
        for name, robot in self._hub.robots.items():
            robot.limbs.watch(on=name in self._looked_at)
        for identity in identities:
            if watcher := self._watchers.get(identity):
                watcher.told_at = time.monotonic()
                for message in watcher.news(picture, self._detail):
                    self._tell(identity, watcher, message)

    def _tell(self, identity: bytes, watcher: Watcher, message: admin.Told) -> None:
        if not self._send(identity, message):
            watcher.lost()

    def _answer(self, identity: bytes, number: int, why_not: str) -> None:
        self._send(identity, admin.Answer(id=number, ok=False, words=why_not))

    def _send(self, identity: bytes, message: admin.Told, payload: bytes = b"") -> bool:
        """Send a message. Returns false if the console does not read, or is gone."""
        try:
            self._socket.send(identity, MORE | NOW)
        except zmq.Again:
            return False
        except zmq.ZMQError:  # the console is gone
            self._watchers.pop(identity, None)
            return False
        self._socket.send(message.model_dump_json(exclude_none=True).encode(errors="replace"), MORE)
        self._socket.send(payload)
        return True

    # --- connections --------------------------------------------------------------------------------------------------

    def _buckets_of(self, key: str) -> tuple[TokenBucket, TokenBucket]:
        return self._buckets.setdefault(key, (TokenBucket(REQUESTS), TokenBucket(DIALS)))

    def _is_barred(self, key: str) -> bool:
        return not self._buckets_of(key)[1].take(1, time.monotonic())

    def _monitored(self, event: int, value: int, _endpoint: str) -> None:
        if event == zmq.EVENT_ACCEPTED:
            self._connections.accepted(value)
        else:
            self._hub.on_bad("handshake", "", f"at the admin port a handshake failed (event {event:#x}, value {value:#x})")
