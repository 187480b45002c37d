"""The gateway's end of the link: two sockets that only admitted robots reach, each for itself alone."""

from typing import Final, NamedTuple, Protocol

import zmq

from reachy_link.keys import KeyPair, Keyring
from reachy_link.messages import Down, Up
from reachy_link.sockets import (
    DOWN_SUBSCRIPTION_MAX_BYTES,
    UP_MESSAGE_MAX_BYTES,
    Drain,
    Monitor,
    SyncSocket,
    receive,
    set_listener,
)
from reachy_link.wire import WireError, down_topic, pack_down, unpack_up
from reachy_link.zap import Zap

HANDSHAKE_FAILURES: Final = (
    zmq.EVENT_HANDSHAKE_FAILED_AUTH | zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL | zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL
)


class Listener(Protocol):
    """Who a :class:`GatewayEnd` tells of what comes in."""

    def on_up(self, message: Up, payload: bytes) -> None:
        """Take a message of an admitted robot, which speaks for itself."""

    def on_bad(self, cause: str, peer: str, detail: str) -> None:
        """Take note of something that was dropped or refused; ``peer`` is a robot where it is known, else empty."""


class Bind(NamedTuple):
    """Where a gateway listens; port 0 lets the system choose."""

    host: str = "*"
    up_port: int = 5555
    down_port: int = 5556


class GatewayEnd:
    """Hears all admitted robots, and publishes to each what is its own.

    The robot that a connection stands for is its CURVE key, looked up anew for every message: a revoked key is ignored from
    the next message on, although libzmq cannot hang up on it.
    """

    def __init__(self, keys: KeyPair, ring: Keyring, bind: Bind, listener: Listener) -> None:
        self._ring = ring
        self._listener = listener
        self._context = zmq.Context(io_threads=1)
        self._zap = Zap(self._context, ring, listener.on_bad)
        self._up: SyncSocket = self._context.socket(zmq.SUB)
        self._down: SyncSocket = self._context.socket(zmq.XPUB)
        set_listener(self._up, keys, UP_MESSAGE_MAX_BYTES)
        set_listener(self._down, keys, DOWN_SUBSCRIPTION_MAX_BYTES)
        self._down.setsockopt(zmq.XPUB_MANUAL, 1)
        self._down.setsockopt(zmq.XPUB_NODROP, 1)
        self._up.subscribe(b"")
        self._monitors = [Monitor(socket, self._monitored, HANDSHAKE_FAILURES) for socket in (self._up, self._down)]
        self.bound = Bind(
            bind.host,
            self._bind(self._up, bind.host, bind.up_port),
            self._bind(self._down, bind.host, bind.down_port),
        )
        self._tainted = False
        self._drains = [Drain(self._up, self._up_ready, before=ring.refresh), Drain(self._down, self._down_ready)]

    def publish(self, message: Down, payload: bytes = b"") -> bool:
        """Send to the robot that the header names; false if its queue is full and the message is gone.

        Without a connection of that robot the message goes nowhere, which counts as sent.
        """
        topic, header, payload = pack_down(message, payload)
        try:
            self._down.send(topic, zmq.SNDMORE | zmq.NOBLOCK)
        except zmq.Again:
            return False
        self._down.send(header, zmq.SNDMORE)
        self._down.send(payload)
        return True

    def close(self) -> None:
        """Stop listening; what was not sent yet is gone."""
        for drain in self._drains:
            drain.close()
        for monitor in self._monitors:
            monitor.close()
        self._zap.close()
        self._context.destroy(linger=0)

    def _bind(self, socket: SyncSocket, host: str, port: int) -> int:
        socket.bind(f"tcp://{host}:{port}")
        endpoint = socket.getsockopt_string(zmq.LAST_ENDPOINT)
        return int(endpoint.rpartition(":")[2])

    def _up_ready(self) -> bool:
        try:
            parts = receive(self._up)
        except zmq.Again:
            return False
        robot = self._robot(parts[0])
        if robot is None:
            self._listener.on_bad("revoked", "", "a message by a key that is no longer admitted")
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
            parts = receive(self._down)
        except zmq.Again:
            self._tainted = False
            return False
        robot = self._robot(parts[0])
        notice = parts[0].bytes
        if len(parts) != 1 or notice[:1] not in (b"\0", b"\1"):
            self._tainted = True
            self._listener.on_bad("upstream", robot or "", "a message instead of a subscription")
        elif robot is None:
            pass  # the end of a connection, or a key that was revoked since its handshake
        elif self._tainted:
            if notice[:1] == b"\1":
                self._listener.on_bad("subscription", robot, "not granted while the subscription queue is in doubt")
        elif notice[:1] == b"\0":
            self._down.setsockopt(zmq.UNSUBSCRIBE, notice[1:])
        elif notice[1:] == down_topic(robot):
            self._down.setsockopt(zmq.SUBSCRIBE, notice[1:])
        else:
            self._listener.on_bad("subscription", robot, f"asked for {notice[1:80]!r}, which is not its own")
        return True

    def _robot(self, part: zmq.Frame) -> str | None:
        """The robot whose admitted key a part came with."""
        try:
            return self._ring.robot_of(str(part.get("User-Id")))
        except zmq.ZMQError:
            return None  # a subscription that ended with its connection has none

    def _monitored(self, event: int, value: int, _endpoint: str) -> None:
        self._listener.on_bad("handshake", "", f"a handshake failed (event {event:#x}, value {value:#x})")
