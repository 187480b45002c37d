"""The robot's end of the link, at real sockets that do not do their part."""

import asyncio

import zmq

from reachy_link.address import Address
from reachy_link.keys import KeyPair, RobotIdentity
from reachy_link.robot_end import RobotEnd


async def test_who_goes_elsewhere_when_something_else_answers_leaves_nothing_behind():
    """The end that is told of the trouble closes the very socket whose event that was."""
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
    await asyncio.sleep(1.0)  # the longest that a dial of the first gateway could have been put off
    end.close()
    server.close()
    assert problems == []
