"""The gateway's end of the link: two sockets that only admitted robots reach. Each robot reaches only its own messages."""

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
from reachy_gateway.link.zap import FAILURES, Zap
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
"""Bytes through one up connection. 48 kHz in stereo takes 0.2 MB/s."""
DOWN_FLOW: Final = Rate(4096, 65536)
"""Bytes through one down connection. A robot sends its subscription there, and heartbeats if it has any."""
STUCK: Final = Rate(512, 65536)
"""Bytes through one connection on which no message completes: enough for heartbeats."""
DENIALS: Final = Rate(1, 20)
"""Subscriptions of one key that are refused. Beyond this rate the connection is ended."""
DIALS: Final = Rate(4, 40)
"""Handshakes of one admitted key. Further ones are told to try later. A robot makes two each time it dials, at most every
0.5 s if a gateway answers."""
AUDIT_S: Final = 0.25
AUDITS_A_READING: Final = 4
"""In one of so many audits every key file is looked at; in the others the directory, which shows added and removed files."""
LOOK_S: Final = 0.05
"""How often the up socket is checked for endless messages. In a quarter second 150,000 parts can arrive. If such a message then
ends, the gateway must discard it part by part, which blocks the event loop for 0.2 s."""
LATE_S: Final = 2 * LOOK_S
"""While the event loop runs, it does so at least every :data:`LOOK_S`. After a pause of this length it has stalled."""
STALL_S: Final = 0.5
"""After a stall of this length the check for endless messages is skipped once: the end of a message may wait to be read."""
BAR_S: Final = 10.0
"""How long a key is refused after the gateway hung up on it."""
CROWDED: Final = 0.8
"""If this share of the process's file descriptors is in use, half of them by the link, the log says so."""


class Listener(Protocol):
    """What a :class:`GatewayEnd` calls when messages and problems come in."""

    def on_arrival(self, robot: str, size: int) -> Arrival:
        """Decide on a message of an admitted robot by the message's size alone, before the message costs anything."""

    def on_up(self, message: Up, payload: bytes) -> None:
        """Take a message of an admitted robot. The message names the robot of its connection's key."""

    def on_keys_changed(self) -> None:
        """Take note that the admitted keys have changed, or the problems of their files."""

    def on_bad(self, cause: LinkCause, robot: str, words: str, who: str = "", address: str = "") -> None:
        """Take note of a drop or refusal.

        Args:
            cause: The cause to count.
            robot: The robot, if known; else empty.
            words: What happened.
            who: If no robot is known: a key or an address that tells strangers apart.
            address: Where it came from, if known.
        """


class Bind(NamedTuple):
    """Where a gateway listens. Port 0 lets the system choose. The host is as :func:`~reachy_link.address.listening` has it."""

    host: str = ANY
    up_port: int = 5555
    down_port: int = 5556


class GatewayEnd:
    """Hears all admitted robots, and publishes to each robot only its own messages.

    A connection's CURVE key decides which robot it is. The key is looked up again for every message. From the message after a
    revocation on, the key's messages are ignored. Its connections are ended.
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
        """The sum of all stalls of the event loop. No robot could be heard during them."""
        self._beat()
        return self._pulse.stalled_s

    def connected(self) -> list[tuple[str, str, float]]:
        """Robot, key and connection time (seconds since 1970) of every connected key. Safe to call from any thread."""
        since = self._up_from.since()
        named = ((self._ring.robot_of(key), key, at) for key, at in since.items())
        return sorted((robot, key, at) for robot, key, at in named if robot)

    def publish(self, message: Down, payload: bytes = b"") -> bool:
        """Send to the robot that the header names. Returns false if the robot's queue is full and the message is lost.

        If that robot has no connection, the message goes nowhere, which counts as sent.
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
        """Stop listening. Messages that have not been sent yet are lost."""
        for timer in self._timers:
            timer.cancel()
        for drain in self._drains:
            drain.close()
        for monitor in self._monitors:
            monitor.close()
        self._zap.close()
        self._context.destroy(linger=0)

    def _bind(self, socket: SyncSocket, host: str, port: int) -> int:
        socket.ipv6 = host == ANY or is_ipv6(host)  # for ANY, libzmq falls back to IPv4 if the machine has no IPv6
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
            self._listener.on_bad("impostor", robot, f"spoke as {message.robot}: was its key admitted under a wrong name?")
        else:
            self._listener.on_up(message, payload)
        return True

    def _down_ready(self) -> bool:
        """Grant or refuse one subscription: the gatekeeper of the down socket.

        libzmq 4.3.5 keeps notifications in one queue and their connections in another. A message that is no subscription takes
        a place in the second queue only. Until both queues are empty again, a grant could reach another robot's connection, so
        nothing is granted. A robot that hears nothing for 1 s subscribes again.
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
            pass  # the connection has ended, or the key was revoked since its handshake
        elif self._tainted:
            if notice[:1] == b"\1":
                self._listener.on_bad("subscription", robot, "refused for now: the subscription queue may be out of step")
        elif notice[1:] == down_topic(robot):
            self._down.setsockopt(zmq.SUBSCRIBE if notice[:1] == b"\1" else zmq.UNSUBSCRIBE, notice[1:])
        elif notice[:1] == b"\1":
            self._listener.on_bad("subscription", robot, f"asked for {notice[1:80]!r}, which is not its own topic")
            denials = self._denials.setdefault(key, TokenBucket(DENIALS))
            if not denials.take(1, time.monotonic(), self._pulse.stalled_s) and self._down_to.hang_up(fd):
                self._bar(Ended(key, "keeps subscribing to other topics than its own"))
        return True

    @staticmethod
    def _key(part: zmq.Frame) -> str:
        """The key of the connection that a part came through, as ZAP admitted it."""
        try:
            return str(part.get("User-Id"))
        except zmq.ZMQError:
            return ""  # the notice of a subscription that ended with its connection has no key

    def _beat(self) -> float:
        """Note that the event loop runs. Returns how long it had stalled."""
        return self._pulse.beat(time.monotonic())

    def _follow_ring(self) -> None:
        """Take note of keys that were admitted or revoked."""
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
        """End connections that exceed limits which libzmq does not enforce."""
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
            self._listener.on_bad("crowded", "", f"nearly all {most} file descriptors are in use: robots may fail to connect")

    def _look(self) -> None:
        self._timers[1] = self._loop.call_at(next_tick(self._loop.time(), LOOK_S), self._look)
        stalled_s = self.stalled_s
        recently_s, self._stalled_at_look_s = stalled_s - self._stalled_at_look_s, stalled_s
        if recently_s >= STALL_S:
            return
        for ended in self._up_from.end_the_endless(time.monotonic()):
            self._bar(ended)

    def _bar(self, ended: Ended) -> None:
        """Report a connection that the gateway has ended, and refuse its key for ``BAR_S``."""
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
                self._listener.on_bad(
                    "handshake", "", FAILURES.get(event, f"a handshake failed (event {event:#x}, value {value:#x})")
                )

        return monitored


def _descriptors() -> float:
    """How many file descriptors the process has open, for any purpose. Counting them takes one more."""
    try:
        return sum(1 for _ in Path("/dev/fd").iterdir())
    except OSError:
        return float("inf")
