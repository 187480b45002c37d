"""The robot's end of the link, at real sockets of gateways that misbehave."""

import asyncio

import pytest
import zmq
from ports import free_ports

from reachy_link.address import Address
from reachy_link.keys import KeyPair, RobotIdentity
from reachy_link.sockets import SEND_QUEUE_MESSAGES, set_common
from reachy_robot.link import RobotEnd


async def test_who_goes_elsewhere_when_something_else_answers_leaves_nothing_behind():
    """The robot's end, told of the trouble, closes the very socket that reported the event."""
    problems, troubles = [], []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: problems.append(context))

    async def greet(_reader, writer):
        writer.write(b"SSH-2.0-OpenSSH_9.6\r\n" * 4)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(greet, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    wrong, other = Address("127.0.0.1", port, port), Address("127.0.0.1", 1, 2)
    public, secret = zmq.curve_keypair()
    identity = RobotIdentity("reachy-1", KeyPair(public, secret), zmq.curve_keypair()[0])
    left = asyncio.Event()

    def go_on(trouble):
        troubles.append(trouble)
        if end.address == wrong:
            end.redial(other)
            left.set()

    end = RobotEnd(identity, wrong, lambda _: None, go_on)
    await asyncio.wait_for(left.wait(), 10)
    with_the_next = len(troubles)
    async with asyncio.timeout(10):
        while len(troubles) < with_the_next + 2:
            await asyncio.sleep(0.05)
    await asyncio.sleep(1.0)  # the longest possible delay of a dial to the first gateway
    end.close()
    server.close()
    assert problems == []


async def test_what_hangs_up_at_once_may_be_a_gateway_that_starts_and_is_dialled_every_second():
    """Docker's proxy hangs up at once until the container behind it listens."""
    loop = asyncio.get_running_loop()
    dialled_s, often, troubles = [], asyncio.Event(), []

    def hang_up(_reader, writer):
        writer.transport.abort()
        dialled_s.append(loop.time())
        if len(dialled_s) == 5:
            often.set()

    server = await asyncio.start_server(hang_up, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    public, secret = zmq.curve_keypair()
    identity = RobotIdentity("reachy-1", KeyPair(public, secret), zmq.curve_keypair()[0])
    end = RobotEnd(identity, Address("127.0.0.1", port, 1), lambda _: None, troubles.append)
    await asyncio.wait_for(often.wait(), 15)
    end.close()
    server.close()
    assert dialled_s[4] - dialled_s[0] == pytest.approx(0.5 + 3 * 1.0, abs=0.5), "0.5, 1, 1, 1"
    [words] = {trouble.words for trouble in troubles if str(port) in trouble.words}
    assert "hung up during the handshake: it is still starting, or its public key is not" in words


async def test_what_is_asked_again_while_nobody_listens_does_not_wait_for_somebody_who_does():
    """Else a returning gateway gets hundreds of subscriptions, and the queue has no room for the newest one."""
    public, secret = zmq.curve_keypair()
    context = zmq.Context()
    identity = RobotIdentity("reachy-1", KeyPair(*zmq.curve_keypair()), public)
    unreachable = asyncio.Event()

    def listen(port: int) -> zmq.Socket[bytes]:
        gateway = context.socket(zmq.XPUB)
        set_common(gateway)
        gateway.curve_server, gateway.curve_secretkey = True, secret
        gateway.xpub_verboser = True
        gateway.bind(f"tcp://127.0.0.1:{port}")
        return gateway

    async def asked(gateway: zmq.Socket[bytes], most: int) -> list[bytes]:
        return await asyncio.to_thread(lambda: [gateway.recv() for _ in range(most) if gateway.poll(1000)])

    async def stands(gateway: zmq.Socket[bytes]) -> None:
        async with asyncio.timeout(10):
            while not gateway.poll(0):
                end.resubscribe()
                await asyncio.sleep(0.01)
        assert await asked(gateway, 2) == [b"\0reachy-1/down", b"\1reachy-1/down"]

    [port] = free_ports(1)
    end = RobotEnd(identity, Address("127.0.0.1", 1, port), lambda _: None, lambda _: unreachable.set())
    for _ in range(SEND_QUEUE_MESSAGES):
        end.resubscribe()
    gateway = listen(port)
    assert await asked(gateway, 2) == [b"\1reachy-1/down"]
    await stands(gateway)

    gateway.close()
    unreachable.clear()
    await asyncio.wait_for(unreachable.wait(), 10)
    for _ in range(SEND_QUEUE_MESSAGES):
        end.resubscribe()
    gateway = listen(port)
    assert await asked(gateway, 2) == [b"\1reachy-1/down"]
    await stands(gateway)
    end.close()
    context.destroy(linger=0)


async def test_a_name_is_never_dialled():
    """libzmq would look the name up, and would end the process for a name that it cannot parse."""
    identity = RobotIdentity("reachy-1", KeyPair(*zmq.curve_keypair()), zmq.curve_keypair()[0])
    troubles, told = [], asyncio.Event()
    end = RobotEnd(identity, Address("_gateway"), lambda _: None, lambda trouble: (troubles.append(trouble), told.set()))
    for at in (Address("gate!way", 1, 2), Address("box.lab", 1, 2)):
        end.redial(at)
        end.redial()
        end.send((b"reachy-1/up", b"{}", b""))
        end.resubscribe()
    end.redial(Address("127.0.0.1", 1, 2))
    await asyncio.wait_for(told.wait(), 10)
    end.close()
    assert {trouble.cause for trouble in troubles} == {"unreachable"}
    assert all("127.0.0.1" in trouble.words for trouble in troubles)
