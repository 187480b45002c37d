"""Whatever keeps a robot from its gateway: within 3 s the robot's log names the cause and what to do. The robot goes on trying
at a moderate pace, and talks by itself once the cause is gone."""

import asyncio
import time
from contextlib import AsyncExitStack, suppress

import pytest
import zmq
from ports import free_ports
from rig import Keys, running_hub, running_robot

from mock_gateway.voice import MockVoice
from reachy_gateway.link import end as gateway_end
from reachy_gateway.link.end import Bind

WITHIN_S = 3.0
DIALS_IN_3_S = 14
"""To both ports together, where a program answers. After a failed handshake robot-io sets the pace and slows down."""
REFUSED_IN_3_S = 26
"""Where no program listens libzmq sets the pace: four a second for each port. A gateway that starts again is found at once, and
until then no program has to answer."""


@pytest.fixture
def made(tmp_path):
    return Keys(tmp_path, "reachy-1")


def hub_at(made, bound):
    return running_hub(made, lambda *_: MockVoice(), bound.up_port, bound.down_port)


def free():
    """Two ports that no program listens on."""
    return Bind("127.0.0.1", *free_ports(2))


class Listens:
    """A program that is not a gateway, on both ports. Counts the connections."""

    def __init__(self, answer=None):
        self.dialled = 0
        self._answer = answer
        self._servers = []
        self._writers = []

    async def __aenter__(self):
        self._servers = [await asyncio.start_server(self._serve, "127.0.0.1", 0) for _ in range(2)]
        self.bound = Bind("127.0.0.1", *(server.sockets[0].getsockname()[1] for server in self._servers))
        return self

    async def __aexit__(self, *_):
        for server in self._servers:
            server.close()
        for writer in self._writers:
            writer.transport.abort()

    async def _serve(self, reader, writer):
        self.dialled += 1
        self._writers.append(writer)
        with suppress(OSError):
            while await reader.read(4096):
                if self._answer:
                    writer.write(self._answer)
                    writer.close()
                    return


async def told(robot, caplog, words):
    """Wait for these words. Returns how long after the robot's first dial they came: at most 3 s."""
    began = time.monotonic()
    await robot.desk.until(lambda: words in caplog.text, WITHIN_S)
    return time.monotonic() - began


async def paced(robot, dials, most=DIALS_IN_3_S):
    """Count for 3 s how often a robot dials, and check the limit."""
    before, began = dials(), time.monotonic()
    await robot.desk.until(lambda: time.monotonic() - began > 3)
    assert 1 <= dials() - before <= most


async def talks(robot):
    """Wait until the robot is welcomed, by itself."""
    await robot.desk.until(lambda: robot.core.welcomed, 8)


def handshakes(hub):
    """Counts handshakes from now on, whatever their result."""
    seen, decide = [], hub._end._zap._decide
    hub._end._zap._decide = lambda request: seen.append(request) or decide(request)
    return lambda: len(seen)


async def test_a_key_that_is_not_admitted(tmp_path, caplog):
    made = Keys(tmp_path)
    identity = made.robot("reachy-9")
    async with running_hub(made, lambda *_: MockVoice()) as hub, running_robot(identity, hub.bound) as robot:
        await told(robot, caplog, f"reachy-keys admit reachy-9 '{identity.keys.public.decode()}'")
        await paced(robot, handshakes(hub))
        made.ring.admit("reachy-9", identity.keys.public.decode())
        await talks(robot)


async def test_a_gateway_with_another_key(made, tmp_path, caplog):
    """Repaired by starting the right gateway."""
    other = Keys(tmp_path / "other", "reachy-1")
    async with AsyncExitStack() as stack:
        wrong = await stack.enter_async_context(running_hub(other, lambda *_: MockVoice()))
        async with running_robot(made.robot("reachy-1"), wrong.bound) as robot:
            await told(robot, caplog, "reachy-keys trust KEY")
            await paced(robot, lambda: wrong.tally.total("handshake"))
            await stack.aclose()
            async with hub_at(made, wrong.bound):
                await talks(robot)


async def test_nobody_listens(made, caplog):
    bound, dials = free(), []
    async with running_robot(made.robot("reachy-1"), bound) as robot:
        await robot.desk.until(lambda: robot.runner._end)
        carry = robot.runner._on_trouble
        robot.runner._end._on_trouble = lambda trouble: dials.append(trouble) or carry(trouble)
        await told(robot, caplog, "nobody listens at 127.0.0.1")
        assert "getent" not in caplog.text, "it is not a name"
        assert "is the gateway running, does its firewall let robots in, and is this its address?" in caplog.text
        await paced(robot, lambda: len(dials), REFUSED_IN_3_S)
        async with hub_at(made, bound):
            await talks(robot)


async def test_nobody_listens_at_a_name(made, caplog):
    bound = free()._replace(host="localhost")
    async with running_robot(made.robot("reachy-1"), bound) as robot:
        await told(robot, caplog, "nobody listens at 127.0.0.1:")
        assert "is this its address? (localhost has this address here)" in caplog.text
        async with hub_at(made, bound):
            await talks(robot)


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (None, "does not answer as a gateway: does it hang? Else check ROBOT_GATEWAY"),
        (b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n", "check ROBOT_GATEWAY"),
        (b"SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n", "check ROBOT_GATEWAY"),
    ],
    ids=["silence", "HTTP", "SSH"],
)
async def test_something_else_listens(made, caplog, answer, words):
    async with Listens(answer) as something:
        bound = something.bound
        async with running_robot(made.robot("reachy-1"), bound) as robot:
            await told(robot, caplog, words)
            await paced(robot, lambda: something.dialled)
            await something.__aexit__()
            async with hub_at(made, bound):
                await talks(robot)


async def test_a_socket_without_encryption_listens(made, caplog):
    context = zmq.Context()
    accepted = []
    plain = [context.socket(kind) for kind in (zmq.SUB, zmq.XPUB)]
    bound = Bind("127.0.0.1", *(each.bind_to_random_port("tcp://127.0.0.1") for each in plain))
    monitors = [each.get_monitor_socket(zmq.EVENT_ACCEPTED) for each in plain]

    def dials():
        for monitor in monitors:
            while monitor.poll(0):
                accepted.append(monitor.recv_multipart())
        return len(accepted)

    async with running_robot(made.robot("reachy-1"), bound) as robot:
        await told(robot, caplog, "is no gateway of Reachy Link: check ROBOT_GATEWAY")
        await paced(robot, dials)
        for each in plain:
            each.disable_monitor()
        context.destroy(linger=0)
        async with hub_at(made, bound):
            await talks(robot)


async def test_a_gateway_of_another_version(made, caplog, monkeypatch):
    pack = gateway_end.pack_down

    def newer(message, payload):
        topic, header, payload = pack(message, payload)
        return topic, header.replace(b'"v":1,', b'"v":2,'), payload

    with monkeypatch.context() as patched:
        patched.setattr(gateway_end, "pack_down", newer)
        async with (
            running_hub(made, lambda *_: MockVoice()) as hub,
            running_robot(made.robot("reachy-1"), hub.bound) as robot,
        ):
            dials = handshakes(hub)
            await told(robot, caplog, "speaks protocol version 2, this end 1: upgrade this end")
            assert not robot.core.welcomed
            await paced(robot, dials)
            patched.undo()
            await talks(robot)


async def test_a_second_robot_with_the_same_key(made, caplog):
    identity = made.robot("reachy-1")
    async with running_hub(made, lambda *_: MockVoice()) as hub, AsyncExitStack() as stack:
        first = await stack.enter_async_context(running_robot(identity, hub.bound))
        await first.welcomed()
        async with running_robot(identity, hub.bound) as second:
            await told(
                second,
                caplog,
                "another robot with the same key has taken its place: stop one of them, or give each a key of its own",
            )
            assert "two robots use the key of reachy-1" in caplog.text, "at the gateway"
            dials = handshakes(hub)
            began = time.monotonic()
            await second.desk.until(lambda: time.monotonic() - began > 3)
            assert dials() == 0, "a refused robot stays connected and asks again"
            refused, served = (first, second) if first.core.refused else (second, first)
            assert not served.core.refused
            served.task.cancel()
            await asyncio.wait([served.task])
            await refused.desk.until(lambda: refused.core.welcomed, 12)
