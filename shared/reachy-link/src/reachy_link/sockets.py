"""What both ends do with a ZeroMQ socket: its options, draining it from the event loop, and reading its monitor."""

import asyncio
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Final

import zmq
from zmq.utils.monitor import parse_monitor_message

from reachy_link.keys import KeyPair

SyncSocket = zmq.Socket[bytes]
NOW: Final = int(zmq.NOBLOCK)
"""The flags of a message's parts; combining pyzmq's own anew for each takes as long as sending it."""
MORE: Final = int(zmq.SNDMORE)

ZAP_DOMAIN: Final = b"reachy"
UP_MESSAGE_MAX_BYTES: Final = 16384
DOWN_SUBSCRIPTION_MAX_BYTES: Final = 512
SEND_QUEUE_MESSAGES: Final = 200
"""At one message per 20 ms that is 4 s; the pacer and the ack window keep far less under way."""
SUBSCRIPTION_QUEUE_MESSAGES: Final = 4
"""Of one connection. libzmq takes in what comes of them in one go, before the gateway sees the first, each at 10 KB: a longer
queue is refilled meanwhile, and a flood of them holds everybody up."""


def set_common(socket: SyncSocket) -> None:
    """Options of every socket of the link; ``docs/protocol.md`` says what each is for."""
    socket.linger = 0
    # No heartbeats of ZMTP: while a program does not read, libzmq 4.3.5 ends the process over them (decision 0015).
    socket.tcp_keepalive, socket.tcp_keepalive_idle, socket.tcp_keepalive_intvl, socket.tcp_keepalive_cnt = 1, 3, 1, 3
    socket.tcp_maxrt = 3000
    socket.handshake_ivl = 2000
    socket.sndhwm = socket.rcvhwm = SEND_QUEUE_MESSAGES


def set_dialer(socket: SyncSocket, keys: KeyPair, gateway_public: bytes) -> None:
    """Make the socket one that dials a gateway it can authenticate."""
    set_common(socket)
    socket.reconnect_ivl, socket.reconnect_ivl_max, socket.connect_timeout = 100, 250, 1000
    # Only who sends: of one who reads libzmq 4.3.5 drops what had come when a connection is lost, between the parts of a
    # message, too, and then ends the process (fq.cpp, "!_more").
    socket.immediate = socket.type != zmq.SUB
    socket.curve_serverkey, socket.curve_publickey, socket.curve_secretkey = gateway_public, keys.public, keys.secret


def set_listener(socket: SyncSocket, keys: KeyPair, message_max_bytes: int) -> None:
    """Make the socket one that only admitted keys can reach: without a ZAP handler it refuses everyone."""
    set_common(socket)
    socket.backlog = 1024
    socket.maxmsgsize = message_max_bytes
    socket.curve_server = True
    socket.curve_secretkey = keys.secret
    socket.zap_domain = ZAP_DOMAIN
    socket.setsockopt(zmq.ZAP_ENFORCE_DOMAIN, 1)


@contextmanager
def patient_threads() -> Iterator[None]:
    """Threads that are started within, as libzmq's by a context's first socket, do not interrupt who runs when they wake up.

    libzmq's wakes up for every message. Where it shares its core with the event loop, that would be two switches for each,
    and one message sealed at a time; it takes its turn within 3 ms. Linux only, and where the system permits it.
    """
    policy = os.sched_getscheduler(0) if sys.platform == "linux" else None
    try:
        if sys.platform == "linux" and policy == os.SCHED_OTHER:
            os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
    except OSError:
        policy = None
    try:
        yield
    finally:
        if sys.platform == "linux" and policy == os.SCHED_OTHER:
            os.sched_setscheduler(0, policy, os.sched_param(0))


class Inbox:
    """Takes a socket's messages, of which one may have any number of parts: libzmq bounds only their size."""

    PARTS_KEPT: Final = 4
    """One more than a message has."""
    PARTS_AT_ONCE: Final = 64

    def __init__(self, socket: SyncSocket) -> None:
        self._socket = socket
        self.overfull = False
        """Whether the message that was taken last has more parts than are taken at once: the next calls throw them away."""

    def next(self) -> list[zmq.Frame]:
        """The next message's parts with its peer's properties, the first four at most; empty while the rest is thrown away.

        Raises:
            zmq.Again: If there is none.
        """
        kept: list[zmq.Frame] = []
        for _ in range(self.PARTS_AT_ONCE):
            part = self._socket.recv(NOW, copy=False)
            if not self.overfull and len(kept) < self.PARTS_KEPT:
                kept.append(part)
            if not part.more:
                self.overfull = False
                return kept
        self.overfull = True
        return kept


def next_tick(now: float, every_s: float) -> float:
    """When a timer that runs so often is due next: all of a loop at the same moments, so that an idle one seldom wakes up."""
    return (round(now / every_s) + 1) * every_s


class Drain:
    """Hands a socket's messages to a callback from the event loop, for a bounded time per wake-up.

    A ZeroMQ socket's descriptor is edge-triggered: an edge is lost when the socket is used in between, so :meth:`poke`
    is called, too, when it was not for a tick: such a message is taken two ticks later at most. What a callback raises goes to
    the event loop, and the messages behind it do not wait for that.
    """

    BUDGET_S: Final = 0.005
    TICK_S: Final = 0.05

    def __init__(
        self,
        socket: SyncSocket,
        on_ready: Callable[[], bool],
        before: Callable[[], object] | None = None,
        tick_s: float = TICK_S,
    ) -> None:
        """``on_ready`` takes one message from the socket, false if there was none; ``before`` is called once per wake-up."""
        self._socket = socket
        self._before = before
        self._on_ready = on_ready
        self._loop = asyncio.get_running_loop()
        self._closed = False
        self._loop.add_reader(socket.fileno(), self.poke)
        self._tick_s = tick_s
        self._timer = self._loop.call_at(next_tick(self._loop.time(), tick_s), self._tick)
        # A socket that nobody has read yet gives no edge at all.
        self._again: asyncio.Handle | None = self._loop.call_soon(self.poke)
        self._poked = False
        """Whether that was so since the last tick."""

    def poke(self) -> None:
        """Take what is there; if that is more than the budget, let others run and go on."""
        self._again = None
        self._poked = True
        if self._before and not self._closed:
            self._before()
        until = self._loop.time() + self.BUDGET_S
        more = True
        try:
            while more and self._loop.time() < until:
                more = not self._closed and self._on_ready()
        finally:
            if more and not self._closed:
                self._again = self._loop.call_soon(self.poke)

    def close(self) -> None:
        """Stop; the socket stays open."""
        if not self._closed:
            self._closed = True
            self._timer.cancel()
            self._loop.remove_reader(self._socket.fileno())

    def _tick(self) -> None:
        self._timer = self._loop.call_at(next_tick(self._loop.time(), self._tick_s), self._tick)
        if not self._poked:
            self.poke()
        self._poked = self._again is not None


class Monitor:
    """Reports a socket's connection events to a callback as ``(event, value, endpoint)``."""

    TICK_S: Final = 0.5
    """Nobody else uses its socket, so that no edge should be lost."""

    def __init__(self, socket: SyncSocket, on_event: Callable[[int, int, str], None], events: int) -> None:
        self._socket = socket
        self._on_event = on_event
        self._pair = socket.get_monitor_socket(events)
        self._drain = Drain(self._pair, self._ready, tick_s=self.TICK_S)

    def close(self) -> None:
        """Stop monitoring; called before the socket is closed."""
        self._drain.close()
        self._socket.disable_monitor()
        self._pair.close()

    def _ready(self) -> bool:
        try:
            parts: Sequence[bytes] = self._pair.recv_multipart(zmq.NOBLOCK)
        except zmq.Again:
            return False
        event = parse_monitor_message(list(parts))
        self._on_event(int(event["event"]), int(event["value"]), event["endpoint"].decode(errors="replace"))
        return True
