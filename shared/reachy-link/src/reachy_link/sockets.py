"""ZeroMQ sockets as both ends use them: their options, reading them from the event loop, and their monitors."""

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
"""Flags for a message's parts, as plain numbers: combining pyzmq's flags for each part takes as long as sending the part."""
MORE: Final = int(zmq.SNDMORE)

ZAP_DOMAIN: Final = b"reachy"
UP_MESSAGE_MAX_BYTES: Final = 16384
DOWN_SUBSCRIPTION_MAX_BYTES: Final = 512
SEND_QUEUE_MESSAGES: Final = 200
"""4 s at one message per 20 ms. The pacer and the ack window keep far fewer messages under way."""
SUBSCRIPTION_QUEUE_MESSAGES: Final = 4
"""Messages of one connection that wait. libzmq reads all subscriptions that have arrived, at 10 KB each, before the gateway
sees the first. A longer queue fills up again while the gateway reads it, so a flood of subscriptions would delay every
robot."""


def set_common(socket: SyncSocket) -> None:
    """Set the options that every socket of the link has; ``docs/protocol.md`` explains each."""
    socket.linger = 0
    # No ZMTP heartbeats: with them libzmq 4.3.5 can end the process while a program does not read (decision 0015).
    socket.tcp_keepalive, socket.tcp_keepalive_idle, socket.tcp_keepalive_intvl, socket.tcp_keepalive_cnt = 1, 3, 1, 3
    socket.tcp_maxrt = 3000
    socket.handshake_ivl = 2000
    socket.sndhwm = socket.rcvhwm = SEND_QUEUE_MESSAGES


def set_dialer(socket: SyncSocket, keys: KeyPair, gateway_public: bytes) -> None:
    """Set the options of a socket that dials a gateway and checks the gateway's key."""
    set_common(socket)
    socket.reconnect_ivl, socket.reconnect_ivl_max, socket.connect_timeout = 100, 250, 1000
    # IMMEDIATE on the sending socket only. On a SUB, libzmq 4.3.5 discards queued input when a connection drops; between two
    # parts of a message it then ends the process (fq.cpp, "!_more").
    socket.immediate = socket.type != zmq.SUB
    socket.curve_serverkey, socket.curve_publickey, socket.curve_secretkey = gateway_public, keys.public, keys.secret


def set_listener(socket: SyncSocket, keys: KeyPair, message_max_bytes: int) -> None:
    """Set the options of a socket that only admitted keys can reach. Without a ZAP handler it refuses everyone."""
    set_common(socket)
    socket.backlog = 1024
    socket.maxmsgsize = message_max_bytes
    socket.curve_server = True
    socket.curve_secretkey = keys.secret
    socket.zap_domain = ZAP_DOMAIN
    socket.setsockopt(zmq.ZAP_ENFORCE_DOMAIN, 1)


@contextmanager
def patient_threads() -> Iterator[None]:
    """Threads that start in this context do not interrupt the running thread when they wake up.

    It is meant for libzmq's thread, which starts with a context's first socket and wakes up for every message. If that thread
    shares a core with the event loop, each message would cost two switches, and libzmq would encrypt one message at a time.
    With this policy the thread runs within 3 ms. Linux only, and only where the system permits it.
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
    """Reads a socket's messages in bounded steps: libzmq bounds the size of a part, but not the number of parts."""

    PARTS_KEPT: Final = 4
    """One more than a message has."""
    PARTS_AT_ONCE: Final = 64

    def __init__(self, socket: SyncSocket) -> None:
        self._socket = socket
        self.overfull = False
        """Whether the newest message has more parts than are read at once. The next calls of :meth:`next` discard its other
        parts."""

    def next(self) -> list[zmq.Frame]:
        """The parts of the next message (at most four), with the peer's properties; empty while a long message is discarded.

        Raises:
            zmq.Again: If there is no message.
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
    """When a timer with this period is due next. All timers of a loop fire together, so that an idle loop seldom wakes up."""
    return (round(now / every_s) + 1) * every_s


class Drain:
    """Hands a socket's messages to a callback from the event loop, for a bounded time per wake-up.

    A ZeroMQ socket's descriptor is edge-triggered, and using the socket can lose an edge. So :meth:`poke` is also called after
    a tick without a call: such a message waits two ticks at most. An exception in a callback goes to the event loop, and the
    messages behind it do not wait.
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
        """``on_ready`` takes one message, and returns false if there was none; ``before`` is called once per wake-up."""
        self._socket = socket
        self._before = before
        self._on_ready = on_ready
        self._loop = asyncio.get_running_loop()
        self._closed = False
        self._loop.add_reader(socket.fileno(), self.poke)
        self._tick_s = tick_s
        self._timer = self._loop.call_at(next_tick(self._loop.time(), tick_s), self._tick)
        # A socket that was never read gives no edge at all.
        self._again: asyncio.Handle | None = self._loop.call_soon(self.poke)
        self._poked = False
        """Whether :meth:`poke` was called since the last tick, or will be called soon."""

    def poke(self) -> None:
        """Take the waiting messages. If they exceed the budget, let other tasks run and then go on."""
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
    """Longer than a drain's, because nothing else uses the monitor's socket and no edge should be lost."""

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
