"""A program does not read for a while, because its event loop is blocked, and a peer hangs up meanwhile.

If this goes wrong, libzmq ends the process. So the program of this test is a separate process: this file, run.
"""

import subprocess
import sys
import time

import pytest
import zmq

from reachy_link.sockets import SUBSCRIPTION_QUEUE_MESSAGES, set_common

HELD_S = 1.5
"""Several heartbeats of this test's interval."""
MESSAGES = 600
"""More than any queue holds, and few enough for the kernel to report the end after them."""


def listen(kind: int) -> tuple[zmq.Context, zmq.Socket]:
    context = zmq.Context()
    socket = context.socket(kind)
    set_common(socket)
    if kind == zmq.SUB:
        socket.subscribe(b"")
    else:
        socket.rcvhwm = SUBSCRIPTION_QUEUE_MESSAGES
    return context, socket


def be_held(which: str, heartbeats: str) -> int:
    """How many messages are read after a peer has filled the queue and hung up."""
    kind, other = {"up": (zmq.SUB, zmq.XPUB), "down": (zmq.XPUB, zmq.XSUB)}[which]
    context, socket = listen(kind)
    if heartbeats == "with":
        socket.heartbeat_ivl, socket.heartbeat_timeout, socket.heartbeat_ttl = 100, 1500, 2000
    port = socket.bind_to_random_port("tcp://127.0.0.1")
    peers = zmq.Context()
    peer = peers.socket(other)
    peer.linger, peer.sndhwm = 1000, 10_000
    monitor = socket.get_monitor_socket(zmq.EVENT_HANDSHAKE_SUCCEEDED)
    peer.connect(f"tcp://127.0.0.1:{port}")
    assert monitor.poll(5000)
    if other == zmq.XPUB:
        while not peer.poll(10):
            assert not socket.poll(0)  # libzmq makes progress only within a call
        peer.recv()
    for n in range(MESSAGES):
        peer.send(b"\1%05d" % n + b"x" * 100)
    peer.close()
    peers.term()  # sends what is queued, and hangs up
    time.sleep(HELD_S)  # this is the blocked loop
    read = 0
    while socket.poll(200):
        socket.recv()
        read += 1
    socket.disable_monitor()
    context.destroy(linger=0)
    return read


def run(which: str, heartbeats: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, __file__, which, heartbeats], capture_output=True, text=True, check=False, timeout=50
    )


@pytest.mark.parametrize("which", ["up", "down"])
def test_a_peer_that_fills_the_queue_of_a_program_that_is_held_and_hangs_up_ends_nothing(which):
    program = run(which, "without")
    assert program.returncode == 0, program.stderr
    assert int(program.stdout) > 0


@pytest.mark.parametrize("which", ["up", "down"])
def test_with_heartbeats_it_would_end_the_process(which):
    program = run(which, "with")
    assert "Assertion failed: !_io_error" in program.stderr
    assert program.returncode < 0


if __name__ == "__main__":
    print(be_held(*sys.argv[1:]))  # noqa: T201
