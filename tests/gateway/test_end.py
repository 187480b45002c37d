"""The gateway's real sockets, with robots that misbehave."""

import asyncio
from contextlib import suppress
from pathlib import Path

import pytest
import zmq
from ports import free_ports
from rig import Keys

from reachy_gateway.link.end import Bind, GatewayEnd
from reachy_gateway.link.limits import Arrival
from reachy_link import sockets
from reachy_link.messages import Speaker
from reachy_link.wire import down_topic

CHUNK = b"\1\0" * 640
CHUNKS = 8000
"""10 MB: more than three times the capacity of TCP's buffers and both queues."""


class Listener:
    """Accepts everything, and remembers what was wrong."""

    def __init__(self):
        self.bad = []

    def on_arrival(self, *_):
        return Arrival.TAKE

    def on_up(self, *_):
        pass

    def on_keys_changed(self):
        pass

    def on_bad(self, *what):
        self.bad.append(what)


@pytest.fixture
def made(tmp_path):
    return Keys(tmp_path, "reachy-1", "reachy-2")


@pytest.fixture
async def end(request, made, monkeypatch):
    """The gateway's end. A test may set how many messages each robot's queue holds."""
    monkeypatch.setattr(sockets, "SEND_QUEUE_MESSAGES", getattr(request, "param", sockets.SEND_QUEUE_MESSAGES))
    end = GatewayEnd(made.pair, made.ring, Bind("127.0.0.1", 0, 0), Listener())
    yield end
    end.close()


@pytest.fixture
def hearing(made, end):
    """A robot's down connection that its gateway has noticed."""
    context, kept = zmq.Context(), []

    async def subscribe(robot):
        identity = made.robot(robot)
        socket = context.socket(zmq.SUB)
        kept.append(socket)
        sockets.set_dialer(socket, identity.keys, identity.gateway_public)
        socket.rcvhwm, socket.rcvbuf = 1, 4096
        socket.subscribe(down_topic(robot))
        socket.connect(f"tcp://127.0.0.1:{end.bound.down_port}")
        async with asyncio.timeout(10):
            while not socket.poll(0):
                end.publish(speaker(robot, 0), CHUNK)
                await asyncio.sleep(0.01)
        return socket

    yield subscribe
    context.destroy(linger=0)


def speaker(robot, seq):
    return Speaker(robot=robot, boot="0123456789abcdef", seq=seq, t_us=1, turn=1, samples=320)


def fill(end):
    """How many chunks the gateway accepts for a robot that reads nothing."""
    return sum(end.publish(speaker("reachy-2", seq), CHUNK) for seq in range(CHUNKS))


async def test_what_a_robot_does_not_read_is_dropped_and_told(end, hearing):
    await hearing("reachy-2")
    taken = fill(end)
    assert sockets.SEND_QUEUE_MESSAGES <= taken < CHUNKS / 3
    assert not end.publish(speaker("reachy-2", CHUNKS), CHUNK)


@pytest.mark.parametrize("end", [0], indirect=True)
async def test_without_a_bound_all_of_it_would_be_kept(end, hearing):
    await hearing("reachy-2")
    assert fill(end) == CHUNKS


async def test_another_robot_hears_everything_meanwhile(end, hearing):
    await hearing("reachy-2")
    other = await hearing("reachy-1")
    while other.poll(50):
        other.recv_multipart()
    fill(end)
    refused = 0
    for seq in range(1000):
        refused += not end.publish(speaker("reachy-2", seq), CHUNK)
        assert end.publish(speaker("reachy-1", seq), CHUNK)
        assert other.poll(2000)
        topic, header, payload = other.recv_multipart()
        assert (topic, payload) == (b"reachy-1/down", CHUNK)
        assert b'"seq":%d,' % seq in header
    assert refused > 500


@pytest.mark.parametrize(("parts", "bad"), [(64, {"parts"}), (65, {"parts", "hung_up"})])
async def test_who_sends_a_message_of_very_many_parts_is_hung_up_on_once_it_has_come(made, end, parts, bad):
    identity, context = made.robot("reachy-1"), zmq.Context()
    with context.socket(zmq.XPUB) as robot:
        sockets.set_dialer(robot, identity.keys, identity.gateway_public)
        robot.connect(f"tcp://127.0.0.1:{end.bound.up_port}")
        async with asyncio.timeout(10):
            while not robot.poll(0):  # the gateway's subscription
                await asyncio.sleep(0.01)
            robot.send_multipart([b""] * parts)
            while not bad <= {cause for cause, *_ in end._listener.bad}:
                await asyncio.sleep(0.01)
            if "hung_up" not in bad:  # the robot is still heard
                robot.send_multipart([b""] * 4)
                while len(end._listener.bad) < 2:
                    await asyncio.sleep(0.01)
    context.destroy(linger=0)
    assert {(cause, who) for cause, who, *_ in end._listener.bad} == {(cause, "reachy-1") for cause in bad}


async def test_nothing_is_kept_of_a_key_that_is_revoked(made, end, hearing):
    """Else a fleet that replaces keys would lose a little memory for each of them, for ever."""
    keys = {robot: made.robot(robot).keys.public.decode() for robot in ("reachy-1", "reachy-2")}
    for robot in keys:
        socket = await hearing(robot)
        socket.subscribe(b"another")
    async with asyncio.timeout(10):
        while len(end._denials) < 2:
            await asyncio.sleep(0.01)
        assert end._denials.keys() == end._dials.keys() == set(keys.values())
        made.ring.revoke("reachy-2")
        while "revoked" not in {cause for cause, *_ in end._listener.bad}:
            await asyncio.sleep(0.01)
    assert end._denials.keys() == end._dials.keys() == {keys["reachy-1"]}


NEEDS_IPV6 = pytest.mark.skipif(not Path("/proc/net/if_inet6").exists(), reason="this machine has no IPv6")


@pytest.mark.parametrize(
    ("host", "families"),
    [
        pytest.param("*", {4, 6}, marks=NEEDS_IPV6),
        pytest.param("[::]", {4, 6}, marks=NEEDS_IPV6),
        pytest.param("[::1]", {6}, marks=NEEDS_IPV6),
        ("0.0.0.0", {4}),
        ("localhost", {4}),
    ],
)
async def test_a_gateway_listens_on_the_families_that_its_host_says(made, host, families):
    end = GatewayEnd(made.pair, made.ring, Bind(host, *free_ports(2)), Listener())
    reached = set()
    for version, ip in ((4, "127.0.0.1"), (6, "::1")):
        for port in end.bound[1:]:
            with suppress(ConnectionRefusedError):
                _, writer = await asyncio.open_connection(ip, port)
                writer.transport.abort()
                reached.add(version)
    end.close()
    assert reached == families
