"""The gateway's end of the link: two sockets that only admitted robots reach, each for itself alone."""

import asyncio
import resource
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final, NamedTuple, Protocol

import zmq

from reachy_gateway.link.connections import Connections, Ended
from reachy_gateway.link.limits import Arrival
from reachy_gateway.link.pulse import Pulse
from reachy_gateway.link.zap import Zap
from reachy_link.address import ANY, endpoint, is_ipv6
from reachy_link.bucket import Rate, TokenBucket
from reachy_link.causes import LinkCause
from reachy_link.keys import KeyPair, Keyring
from reachy_link.messages import Down, Up
from reachy_link.sockets import (
    DOWN_SUBSCRIPTION_MAX_BYTES,
    MORE,
    NOW,
    SUBSCRIPTION_QUEUE_MESSAGES,
    UP_MESSAGE_MAX_BYTES,
    Drain,
    Inbox,
    Monitor,
    SyncSocket,
    next_tick,
    patient_threads,
    set_listener,
)
from reachy_link.wire import WireError, down_topic, pack_down, unpack_up

HANDSHAKE_FAILURES: Final = (
    zmq.EVENT_HANDSHAKE_FAILED_AUTH | zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL | zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL
)


UP_FLOW: Final = Rate(2_000_000, 4_000_000)
"""Bytes through one connection. 48 kHz in stereo takes 0.2 MB/s."""
DOWN_FLOW: Final = Rate(4096, 65536)
"""What a robot sends on its down connection is its subscription, and heartbeats if it has any."""
STUCK: Final = Rate(512, 65536)
"""Bytes through one connection without a message that is complete: heartbeats."""
DENIALS: Final = Rate(1, 20)
"""Subscriptions of one key that are merely not granted; beyond, the connection is ended."""
DIALS: Final = Rate(4, 40)
"""Handshakes of one admitted key; what is more is put off. A robot makes two each time it dials, where a gateway answers at
most every 0.5 s."""
AUDIT_S: Final = 0.25
AUDITS_A_READING: Final = 4
"""Once in so many audits every key file is looked at; else the directory alone, which tells of files that came and went."""
LOOK_S: Final = 0.05
"""How often messages without an end are looked for on the way up: in a quarter second come 150,000 parts, and what an end
completes the gateway must throw away part by part, 0.2 s of everybody's time."""
LATE_S: Final = 2 * LOOK_S
"""Between two moments at which the event loop runs are :data:`LOOK_S` at most: from so much on it has stalled."""
STALL_S: Final = 0.5
"""After so long a stall the messages without an end are looked for at the next look only: an end may wait to be heard."""
BAR_S: Final = 10.0
"""How long a key is kept out after the gateway hung up on it."""
CROWDED: Final = 0.8
"""With this share of the process's descriptors in use, half of them by the link, it is said."""


class Listener(Protocol):
    """Who a :class:`GatewayEnd` tells of what comes in."""

    def on_arrival(self, robot: str, size: int) -> Arrival:
        """Decide on a message of an admitted robot by its size alone, before it costs anything."""

    def on_up(self, message: Up, payload: bytes) -> None:
        """Take a message of an admitted robot, which speaks for itself."""

    def on_keys_changed(self) -> None:
        """Other keys are admitted than before, or something else is wrong with their files."""

    def on_bad(self, cause: LinkCause, robot: str, words: str, who: str = "", address: str = "") -> None:
        """Take note of something that was dropped or refused.

        Args:
            cause: What kind of thing.
            robot: The robot, where it is known, else empty.
            words: What happened.
            who: If no robot is known: what tells one of them from another, a key or an address.
            address: From where, if that is known.
        """


class Bind(NamedTuple):
    """Where a gateway listens; port 0 lets the system choose. The host is as :func:`~reachy_link.address.listening` has it."""

    host: str = ANY
    up_port: int = 5555
    down_port: int = 5556


class GatewayEnd:
    """Hears all admitted robots, and publishes to each what is its own.

    The robot that a connection stands for is its CURVE key, looked up anew for every message: a revoked key is ignored from
    the next message on, and its connections are ended.
    """

    def __init__(self, keys: KeyPair, ring: Keyring, bind: Bind, listener: Listener) -> None:
        self._ring = ring
        self._listener = listener
        self._context = zmq.Context(io_threads=1)
        self._barred: dict[str, float] = {}
        self._denials: dict[str, TokenBucket] = {}
        self._dials: dict[str, TokenBucket] = {}
        self._pulse = Pulse(LATE_S)
        with patient_threads():
            self._zap = Zap(self._context, ring, listener.on_bad, self._is_barred)
        self._up: SyncSocket = self._context.socket(zmq.SUB)
        self._down: SyncSocket = self._context.socket(zmq.XPUB)
        set_listener(self._up, keys, UP_MESSAGE_MAX_BYTES)
        set_listener(self._down, keys, DOWN_SUBSCRIPTION_MAX_BYTES)
        self._down.rcvhwm = SUBSCRIPTION_QUEUE_MESSAGES
        self._down.setsockopt(zmq.XPUB_MANUAL, 1)
        self._down.setsockopt(zmq.XPUB_NODROP, 1)
        self._up.subscribe(b"")
        self.bound = Bind(
            bind.host,
            self._bind(self._up, bind.host, bind.up_port),
            self._bind(self._down, bind.host, bind.down_port),
        )
        self._up_from = Connections(self.bound.up_port, UP_FLOW, STUCK)
        self._down_to = Connections(self.bound.down_port, DOWN_FLOW, STUCK)
        self._monitors = [
            Monitor(socket, self._watcher(connections), HANDSHAKE_FAILURES | zmq.EVENT_ACCEPTED)
            for socket, connections in ((self._up, self._up_from), (self._down, self._down_to))
        ]
        self._tainted = False
        self._up_inbox, self._down_inbox = Inbox(self._up), Inbox(self._down)
        self._ring_seen = ring.changes
        self._drains = [
            Drain(self._up, self._up_ready, before=self._follow_ring),
            Drain(self._down, self._down_ready, before=self._beat),
        ]
        self._stalled_at_look_s = 0.0
        self._audits = 0
        self._loop = asyncio.get_running_loop()
        self._timers = [self._loop.call_soon(self._audit), self._loop.call_soon(self._look)]

    @property
    def stalled_s(self) -> float:
        """For how long, in all, the event loop did not run, and nobody could be heard."""
        self._beat()
        return self._pulse.stalled_s

    def connected(self) -> list[tuple[str, str, float]]:
        """Robot, key, and since when (seconds since 1970) of every key that is connected; for any thread."""
        since = self._up_from.since()
        named = ((self._ring.robot_of(key), key, at) for key, at in since.items())
        return sorted((robot, key, at) for robot, key, at in named if robot)

    def publish(self, message: Down, payload: bytes = b"") -> bool:
        """Send to the robot that the header names; false if its queue is full and the message is gone.

        Without a connection of that robot the message goes nowhere, which counts as sent.
        """
        if not self._ring.admits(message.robot):
            return True
        topic, header, payload = pack_down(message, payload)
        try:
            self._down.send(topic, MORE | NOW)
        except zmq.Again:
            return False
        self._down.send(header, MORE)
        self._down.send(payload)
        return True

    def close(self) -> None:
        """Stop listening; what was not sent yet is gone."""
        for timer in self._timers:
            timer.cancel()
        for drain in self._drains:
            drain.close()
        for monitor in self._monitors:
            monitor.close()
        self._zap.close()
        self._context.destroy(linger=0)

    def _bind(self, socket: SyncSocket, host: str, port: int) -> int:
        socket.ipv6 = host == ANY or is_ipv6(host)  # of both families, libzmq falls back to IPv4 where there is no other
        socket.bind(endpoint(host, port))
        return int(socket.getsockopt_string(zmq.LAST_ENDPOINT).rpartition(":")[2])

    def _up_ready(self) -> bool:
        try:
            parts = self._up_inbox.next()
        except zmq.Again:
            return False
        if not parts:
            return True
        key = self._key(parts[0])
        fd = self._up_from.heard(parts[0], key)
        robot = self._ring.robot_of(key)
        if robot is None:
            self._listener.on_bad("revoked", "", f"a message by {key}, which is no longer admitted", key)
            return True
        if self._up_inbox.overfull and self._up_from.hang_up(fd):
            self._bar(Ended(key, "sends a message of very many parts"))
        arrival = self._listener.on_arrival(robot, sum(map(len, parts)))
        if arrival is not Arrival.TAKE:
            if arrival is Arrival.HANG_UP and self._up_from.hang_up(fd):
                self._bar(Ended(key, "floods the gateway"))
            return True
        try:
            message, payload = unpack_up([part.bytes for part in parts])
        except WireError as error:
            self._listener.on_bad(error.cause, robot, error.detail)
            return True
        if message.robot != robot:
            self._listener.on_bad("impostor", robot, f"spoke as {message.robot}")
        else:
            self._listener.on_up(message, payload)
        return True

    def _down_ready(self) -> bool:
        """The gatekeeper: one notification, one decision.

        libzmq 4.3.5 keeps notifications and the connections that they came from in two queues, and a message that is no
        subscription takes a place in the second only. Until both are empty again a grant could reach another robot's
        connection, so nothing is granted: robots that hear nothing for 1 s subscribe again.
        """
        try:
            parts = self._down_inbox.next()
        except zmq.Again:
            self._tainted = False
            return False
        if not parts:
            return True
        key = self._key(parts[0])
        fd = self._down_to.heard(parts[0], key) if key else -1
        robot = self._ring.robot_of(key)
        notice = parts[0].bytes
        if len(parts) != 1 or notice[:1] not in (b"\0", b"\1"):
            self._tainted = True
            self._listener.on_bad("upstream", robot or "", "a message instead of a subscription")
            if self._down_to.hang_up(fd):
                self._bar(Ended(key, "sends messages on its down connection"))
        elif robot is None:
            pass  # the end of a connection, or a key that was revoked since its handshake
        elif self._tainted:
            if notice[:1] == b"\1":
                self._listener.on_bad("subscription", robot, "not granted while the subscription queue is in doubt")
        elif notice[1:] == down_topic(robot):
            self._down.setsockopt(zmq.SUBSCRIBE if notice[:1] == b"\1" else zmq.UNSUBSCRIBE, notice[1:])
        elif notice[:1] == b"\1":
            self._listener.on_bad("subscription", robot, f"asked for {notice[1:80]!r}, which is not its own")
            denials = self._denials.setdefault(key, TokenBucket(DENIALS))
            if not denials.take(1, time.monotonic(), self._pulse.stalled_s) and self._down_to.hang_up(fd):
                self._bar(Ended(key, "keeps asking for what is not its own"))
        return True

    @staticmethod
    def _key(part: zmq.Frame) -> str:
        """The key that a part came with, as ZAP admitted it."""
        try:
            return str(part.get("User-Id"))
        except zmq.ZMQError:
            return ""  # a subscription that ended with its connection has none

    def _beat(self) -> float:
        """The event loop runs: how long it had stalled until now."""
        return self._pulse.beat(time.monotonic())

    def _follow_ring(self) -> None:
        """Take notice of keys that were admitted or revoked."""
        self._beat()
        self._ring.refresh()
        if self._ring_seen != self._ring.changes:
            self._ring_seen = self._ring.changes
            for buckets in (self._denials, self._dials):
                for key in [key for key in buckets if self._ring.robot_of(key) is None]:
                    del buckets[key]
            for connections in (self._up_from, self._down_to):
                for ended in connections.hang_up_on(lambda key: self._ring.robot_of(key) is None):
                    self._listener.on_bad("revoked", "", f"{ended.key}: {ended.detail}: hung up", ended.key)
            self._listener.on_keys_changed()

    def _audit(self) -> None:
        """End what goes beyond its bounds where libzmq has none."""
        now = time.monotonic()
        self._timers[0] = self._loop.call_at(next_tick(self._loop.time(), AUDIT_S), self._audit)
        self._audits += 1
        if self._audits % AUDITS_A_READING == 0:
            self._ring.reload()
        self._follow_ring()
        self._barred = {key: until for key, until in self._barred.items() if until > now}
        for connections in (self._up_from, self._down_to):
            for ended in connections.audit(now, self._pulse.stalled_s):
                self._bar(ended)
        for ended in self._down_to.end_the_endless(now):
            self._bar(ended)
        most = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        if len(self._up_from) + len(self._down_to) > most * CROWDED / 2 and _descriptors() > most * CROWDED:
            self._listener.on_bad("crowded", "", f"nearly all of the {most} descriptors are in use: newcomers may not get in")

    def _look(self) -> None:
        self._timers[1] = self._loop.call_at(next_tick(self._loop.time(), LOOK_S), self._look)
        stalled_s = self.stalled_s
        recently_s, self._stalled_at_look_s = stalled_s - self._stalled_at_look_s, stalled_s
        if recently_s >= STALL_S:
            return
        for ended in self._up_from.end_the_endless(time.monotonic()):
            self._bar(ended)

    def _bar(self, ended: Ended) -> None:
        """Say on whom the gateway hung up, and keep its key out for a while."""
        robot = self._ring.robot_of(ended.key)
        if robot is not None:
            self._barred[ended.key] = time.monotonic() + BAR_S
        self._listener.on_bad("hung_up", robot or "", f"{ended.detail}: hung up", "" if robot else ended.key)

    def _is_barred(self, key: str) -> bool:
        now, stalled_s = time.monotonic(), self.stalled_s
        dials = self._dials.setdefault(key, TokenBucket(DIALS))
        return not dials.take(1, now, stalled_s) or self._barred.get(key, 0.0) > now

    def _watcher(self, connections: Connections) -> Callable[[int, int, str], None]:
        def monitored(event: int, value: int, _endpoint: str) -> None:
            if event == zmq.EVENT_ACCEPTED:
                connections.accepted(value)
            else:
                self._listener.on_bad("handshake", "", f"a handshake failed (event {event:#x}, value {value:#x})")

        return monitored


def _descriptors() -> float:
    """How many descriptors the process has, whatever they are for; to count them takes one more."""
    try:
        return sum(1 for _ in Path("/dev/fd").iterdir())
    except OSError:
        return float("inf")
