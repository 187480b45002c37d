"""The connections of a real listening socket, and the judgement on them."""

import socket
import time
from collections.abc import Iterator
from itertools import count

import pytest
import zmq

from reachy_gateway.link.connections import Connections
from reachy_link.bucket import Rate

BURST_BYTES = 20_000


@pytest.fixture
def context() -> Iterator[zmq.Context]:
    """A context of libzmq."""
    context = zmq.Context()
    yield context
    context.destroy(linger=0)


LOOK_S = 0.05


def test_what_waited_behind_the_look_is_no_message_without_an_end(context: zmq.Context) -> None:
    """A delayed gateway looks at connections before it reads what arrived meanwhile. A silent robot is hung up on later."""
    with context.socket(zmq.PULL) as listener, context.socket(zmq.PUSH) as robot:
        port = listener.bind_to_random_port("tcp://127.0.0.1")
        connections = Connections(port, Rate(1e9, 10**9), Rate(1, BURST_BYTES))
        robot.connect(f"tcp://127.0.0.1:{port}")
        robot.send(b"hello")
        fd = connections.heard(listener.recv(copy=False), "key")
        looks = (connections.end_the_endless(time.monotonic() + n * LOOK_S) for n in count())
        assert [next(looks), next(looks)] == [[], []]

        robot.send(bytes(2 * BURST_BYTES))
        assert listener.poll(5000)
        assert next(looks) == []
        assert connections.heard(listener.recv(copy=False), "key") == fd
        assert [next(looks), next(looks), next(looks)] == [[], [], []]

        robot.send(bytes(2 * BURST_BYTES))
        assert listener.poll(5000)
        assert next(looks) == []
        [ended] = next(looks)
        assert "does not end" in ended.detail


@pytest.fixture
def plain() -> Iterator[tuple[socket.socket, socket.socket, Connections]]:
    """A robot's connection as the gateway accepted it. Nothing is read unless the test reads."""
    with socket.create_server(("127.0.0.1", 0)) as listener, socket.create_connection(listener.getsockname()) as robot:
        accepted, _ = listener.accept()
        with accepted:
            connections = Connections(listener.getsockname()[1], Rate(1e9, 10**9), Rate(1, BURST_BYTES))
            connections.accepted(accepted.fileno())
            yield robot, accepted, connections


def test_what_libzmqs_thread_has_not_read_yet_is_no_message_without_an_end(
    plain: tuple[socket.socket, socket.socket, Connections],
) -> None:
    """As when another program has the core: the kernel holds all bytes, and no code could have completed a message."""
    robot, accepted, connections = plain
    robot.sendall(bytes(2 * BURST_BYTES))
    looks = (connections.end_the_endless(10.0 + n * LOOK_S) for n in count())
    assert [next(looks) for _ in range(5)] == [[]] * 5
    read = 0
    while read < 2 * BURST_BYTES:
        read += len(accepted.recv(65536))
    assert next(looks) == [], "the message's end may still be unread"
    [ended] = next(looks)
    assert "does not end" in ended.detail


def test_a_connection_is_not_speechless_for_as_long_as_nobody_could_hear(
    plain: tuple[socket.socket, socket.socket, Connections],
) -> None:
    _, _, connections = plain
    assert connections.audit(100.0, 0.0) == []
    assert connections.audit(130.0, 25.0) == [], "the loop ran for only 5 s of them"
    assert connections.audit(132.0, 25.0) == []
    [ended] = connections.audit(134.0, 25.0)
    assert "says nothing" in ended.detail
