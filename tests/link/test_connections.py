"""The connections of a real listening socket, as they are judged."""

import time
from collections.abc import Iterator

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


def test_what_waited_behind_the_audit_is_no_message_without_an_end(context: zmq.Context) -> None:
    """A gateway that was held up audits before it hears what came meanwhile; who then says nothing more is hung up on."""
    with context.socket(zmq.PULL) as listener, context.socket(zmq.PUSH) as robot:
        port = listener.bind_to_random_port("tcp://127.0.0.1")
        connections = Connections(port, Rate(1e9, 10**9), Rate(1, BURST_BYTES))
        robot.connect(f"tcp://127.0.0.1:{port}")
        robot.send(b"hello")
        frame = listener.recv(copy=False)
        fd = connections.heard(frame, "key")
        now = time.monotonic()
        assert connections.audit(now) == []

        robot.send(bytes(2 * BURST_BYTES))
        assert listener.poll(5000)
        assert connections.audit(now + 0.25) == []
        assert connections.heard(listener.recv(copy=False), "key") == fd
        assert connections.audit(now + 0.5) == []

        robot.send(bytes(2 * BURST_BYTES))
        assert listener.poll(5000)
        assert connections.audit(now + 0.75) == []
        [ended] = connections.audit(now + 1.0)
        assert "does not end" in ended.detail
