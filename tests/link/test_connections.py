"""The connections of a real listening socket, as they are judged."""

import time
from collections.abc import Iterator
from itertools import count

import pytest
import zmq

from reachy_link.bucket import Rate
from reachy_link.connections import Connections

BURST_BYTES = 20_000


@pytest.fixture
def context() -> Iterator[zmq.Context]:
    """libzmq's."""
    context = zmq.Context()
    yield context
    context.destroy(linger=0)


LOOK_S = 0.05


def test_what_waited_behind_the_look_is_no_message_without_an_end(context: zmq.Context) -> None:
    """A gateway that was held up looks before it hears what came meanwhile; who then says nothing more is hung up on."""
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
