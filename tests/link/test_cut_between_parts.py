"""A connection is lost while its messages wait, one of which the program has read in part.

If this goes wrong, libzmq ends the process. So the robot of this test is a separate process: this file, run.
"""

import subprocess
import sys

import zmq

from reachy_link.keys import KeyPair
from reachy_link.sockets import Inbox, set_common, set_dialer

MESSAGES = 60
TICKS = 100
"""A libzmq socket notices changes of its connections at every hundredth part that is read."""


def read_what_came_before_the_cut() -> int:
    """How many messages of three parts are read once the gateway is gone."""
    context = zmq.Context()
    gateway, robot = context.socket(zmq.XPUB), context.socket(zmq.SUB)
    public, secret = zmq.curve_keypair()
    set_common(gateway)
    gateway.curve_server, gateway.curve_secretkey = True, secret
    port = gateway.bind_to_random_port("tcp://127.0.0.1")
    set_dialer(robot, KeyPair(*zmq.curve_keypair()), public)
    monitor = robot.get_monitor_socket(zmq.EVENT_CONNECT_RETRIED)
    robot.subscribe(b"robot/down")
    robot.connect(f"tcp://127.0.0.1:{port}")
    while not gateway.poll(10):
        assert not robot.poll(0)  # libzmq makes progress only within a call
    assert gateway.recv() == b"\1robot/down"

    gateway.send(b"robot/down: one part, so that the hundredth is the last of three")
    for _ in range(MESSAGES):
        gateway.send_multipart([b"robot/down", b"{}", bytes(100)])
    inbox, taken = Inbox(robot), []
    assert robot.poll(10_000)
    assert len(inbox.next()) == 1
    gateway.close(linger=5000)
    assert monitor.poll(10_000), "the robot's end must notice that the gateway is gone"
    try:
        while True:
            taken.append(len(inbox.next()))
    except zmq.Again:
        robot.disable_monitor()
        context.destroy(linger=0)
        assert set(taken) == {3}
        assert sum(taken) > TICKS
        return len(taken)


def test_ends_no_robot_and_loses_nothing_that_had_come() -> None:
    """With ``ZMQ_IMMEDIATE`` on the reading socket: ``Assertion failed: !_more (src/fq.cpp:80)``, and the process is gone."""
    robot = subprocess.run([sys.executable, __file__], capture_output=True, text=True, check=False, timeout=30)
    assert (robot.returncode, robot.stdout.strip()) == (0, str(MESSAGES)), robot.stderr


if __name__ == "__main__":
    print(read_what_came_before_the_cut())  # noqa: T201
