"""The TCP connections of a listening socket, as the operating system sees them.

libzmq 4.3.5 cannot hang up on a peer. It does not count the bytes of a message that never ends, and keeps about 10 KB for each
subscription. So this module watches connections from outside. Every message names the file descriptor that it came through,
the kernel tells how many bytes came, and ``shutdown`` ends a connection, after which libzmq frees its memory. A connection
costs descriptors and, with a subscription, a copy of every message. So each key may have only a few, and none may stay silent.
"""

import fcntl
import socket
import struct
import sys
import termios
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final, NamedTuple

import zmq

from reachy_link.bucket import Rate, TokenBucket

BYTES_RECEIVED: Final = struct.Struct("=128xQ")
"""``tcpi_bytes_received`` of Linux's ``struct tcp_info``."""


PER_KEY: Final = 8
"""Connections of one key to one port. An honest robot has one, and for a moment also those that it has hung up."""
SPEECHLESS_S: Final = 8.0
"""How long a connection may stay without any message. A robot subscribes at once, and says hello every 5 s."""


class Ended(NamedTuple):
    """A connection that was ended."""

    key: str
    """The key of the connection; empty if nothing was ever said."""
    detail: str
    """Why the connection was ended."""


@dataclass(slots=True)
class _Connection:
    peer: tuple[str, int]
    key: str
    flow: TokenBucket
    since: float
    first_audit: float | None = None
    received: int = 0
    messages: int = 0
    seen: int = 0
    """The value of ``messages`` at the last look."""
    stuck: TokenBucket | None = None
    judged: int = 0
    """Bytes that :attr:`stuck` has been charged for."""
    unjudged: int = 0
    """Bytes that libzmq had read at the last look. Newer bytes are charged at the next look, because the event loop may have
    been blocked before it handled the message that they complete. Then their sender is honest."""


class Connections:
    """The connections of one listening socket. Bounded by the process's file descriptors.

    Args:
        port: The socket's port.
        flow: How much a connection may send.
        stuck: How much a connection may send without completing a message: enough for heartbeats.
    """

    def __init__(self, port: int, flow: Rate, stuck: Rate) -> None:
        self._port = port
        self._flow = flow
        self._stuck = stuck
        self._by_fd: dict[int, _Connection] = {}

    def __len__(self) -> int:
        return len(self._by_fd)

    def accepted(self, fd: int) -> None:
        """Note that a connection was accepted."""
        self._learn(fd, "")

    def heard(self, part: zmq.Frame, key: str) -> int:
        """Note a message of a key. Returns the message's file descriptor, or -1 if libzmq does not tell."""
        try:
            fd = int(part.get("__fd"))
        except (zmq.ZMQError, ValueError):
            return -1
        connection = self._by_fd.get(fd)
        if connection is None or connection.key != key:
            connection = self._learn(fd, key)
        if connection:
            connection.messages += 1
        return fd

    def since(self) -> dict[str, float]:
        """The time (seconds since 1970) of each key's oldest connection that sent a message. Safe to call from any thread."""
        since: dict[str, float] = {}
        for connection in list(self._by_fd.values()):
            if connection.key:
                since[connection.key] = min(connection.since, since.get(connection.key, connection.since))
        return since

    def hang_up(self, fd: int) -> bool:
        """End a connection. Returns false if it has ended already."""
        connection = self._by_fd.pop(fd, None)
        if connection is None:
            return False
        with _borrowed(fd) as tcp:
            if tcp is None or self._peer(tcp) != connection.peer:
                return False
            try:
                tcp.shutdown(socket.SHUT_RDWR)
            except OSError:
                return False
        return True

    def hang_up_on(self, unwanted: Callable[[str], bool]) -> list[Ended]:
        """End the connections of unwanted keys."""
        fds = {fd: connection.key for fd, connection in self._by_fd.items() if connection.key and unwanted(connection.key)}
        return [Ended(key, "its key is no longer admitted") for fd, key in fds.items() if self.hang_up(fd)]

    def audit(self, now: float, stalled_s: float = 0.0) -> list[Ended]:
        """End the connections that send more than they may. Call this a few times a second.

        Args:
            now: The time.
            stalled_s: The sum of all stalls of the event loop.
        """
        ended = []
        awake_s = now - stalled_s
        of_key: Counter[str] = Counter()
        for fd, connection in list(self._by_fd.items()):
            with _borrowed(fd) as tcp:
                received = _received(tcp) if tcp and self._peer(tcp) == connection.peer else None
            if received is None:
                del self._by_fd[fd]
                continue
            news, connection.received = received - connection.received, received
            words = ""
            if not connection.flow.take(news, now, stalled_s):
                words = f"sends more than {self._flow.per_s:.0f} bytes/s"
            if connection.first_audit is None:
                connection.first_audit = awake_s
            if connection.key:
                of_key[connection.key] += 1
                if of_key[connection.key] > PER_KEY:
                    words = f"has more than {PER_KEY} connections to one port"
            elif awake_s - connection.first_audit > SPEECHLESS_S:
                words = "connects and says nothing"
            if words and self.hang_up(fd):
                ended.append(Ended(connection.key, words))
        return ended

    def end_the_endless(self, now: float) -> list[Ended]:
        """End the connections on which an endless message arrives.

        This may be called often. A connection that completed a message since the last call is skipped.
        """
        ended = []
        for fd, connection in list(self._by_fd.items()):
            if connection.messages != connection.seen:
                connection.seen, connection.stuck = connection.messages, None
                continue
            with _borrowed(fd) as tcp:
                received = _received(tcp) - _unread(tcp) if tcp else 0  # hang_up checks whose descriptor it is
            if connection.stuck is None:
                connection.stuck, connection.judged = TokenBucket(self._stuck), received
            elif connection.stuck.take(connection.unjudged - connection.judged, now):
                connection.judged = connection.unjudged
            elif self.hang_up(fd):
                ended.append(Ended(connection.key, "sends a message that does not end"))
            connection.unjudged = received
        return ended

    def _learn(self, fd: int, key: str) -> _Connection | None:
        with _borrowed(fd) as tcp:
            peer = self._peer(tcp) if tcp else None
        if peer is None:
            self._by_fd.pop(fd, None)
            return None
        known = self._by_fd.get(fd)
        if known and known.peer == peer:
            known.key = key or known.key
            return known
        self._by_fd[fd] = _Connection(peer, key, TokenBucket(self._flow), time.time())
        return self._by_fd[fd]

    def _peer(self, tcp: socket.socket) -> tuple[str, int] | None:
        """The address of the other end; None if this is not, or no longer, a connection of our port."""
        try:
            if tcp.getsockname()[1] != self._port:
                return None
            host, port = tcp.getpeername()[:2]
        except (OSError, IndexError, TypeError):
            return None
        return str(host), int(port)


@contextmanager
def _borrowed(fd: int) -> Iterator[socket.socket | None]:
    """A file descriptor that libzmq owns, as a socket that does not close it; None if it is closed."""
    try:
        tcp = socket.socket(socket.AF_INET, socket.SOCK_STREAM, 0, fileno=fd)
    except OSError:
        yield None
        return
    try:
        yield tcp
    finally:
        tcp.detach()


def _received(tcp: socket.socket) -> int:
    """How many bytes came through a connection; 0 if the system does not count them."""
    if not hasattr(socket, "TCP_INFO"):
        return 0
    try:
        info = tcp.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, BYTES_RECEIVED.size)
        (received,) = BYTES_RECEIVED.unpack(info)
    except (OSError, struct.error):
        return 0
    return int(received)


def _unread(tcp: socket.socket) -> int:
    """How many of these bytes still wait in the kernel, because libzmq's thread has not read them yet."""
    try:
        waiting = fcntl.ioctl(tcp.fileno(), termios.FIONREAD, bytes(4))
    except OSError:
        return 0
    return int.from_bytes(waiting, sys.byteorder)
