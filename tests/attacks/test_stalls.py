"""A gateway whose event loop stood still because another program had the core: messages that piled up are no attack."""

import asyncio
import json
import secrets
import signal
import time
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import zmq

from reachy_link.sockets import set_dialer

STALL_S = 5.0
ALARMS = ("flood", "hung_up", "barred", "clone", "impostor", "subscription", "upstream", "key", "crowded")


class Headless:
    """A robot within its limits that ignores the window: it goes on at its pace, whatever the gateway acknowledges.

    Args:
        per_s: Messages a second.
        size: Bytes of each payload.
    """

    def __init__(self, identity, bound, per_s, size):
        self.robot, self._per_s, self._size = identity.robot, per_s, size
        self._boot, self._seq = secrets.token_hex(8), 0
        self._identity, self._bound = identity, bound
        self.sent = 0

    def _parts(self, kind, payload=b"", **fields):
        header = {"v": 1, "kind": kind, "robot": self.robot, "boot": self._boot, "seq": self._seq}
        header |= {"t_us": time.monotonic_ns() // 1000, **fields}
        self._seq += 1
        return [f"{self.robot}/up".encode(), json.dumps(header).encode(), payload]

    @asynccontextmanager
    async def talking(self):
        up, down = self._dial(zmq.XPUB, self._bound.up_port), self._dial(zmq.SUB, self._bound.down_port)
        down.subscribe(f"{self.robot}/down".encode())
        assert await asyncio.to_thread(up.poll, 5000), "the gateway's own subscription"
        up.recv()
        pcm = {"rate_hz": 16000, "channels": 2}
        up.send_multipart(self._parts("hello", mic=pcm, speaker=pcm, lead_ms=40))
        task = asyncio.create_task(self._talk(up))
        try:
            yield self
        finally:
            task.cancel()
            await asyncio.wait([task])
            for socket in (up, down):
                socket.close(linger=0)

    def _dial(self, kind, port):
        made = zmq.Context.instance().socket(kind)
        set_dialer(made, self._identity.keys, self._identity.gateway_public)
        made.sndhwm, made.tcp_maxrt = 20000, 0  # wait for a gateway that reads nothing; do not dial again
        made.connect(f"tcp://127.0.0.1:{port}")
        return made

    async def _talk(self, up):
        began, n = time.monotonic(), 0
        while True:
            await asyncio.sleep(0.005)
            while n < (time.monotonic() - began) * self._per_s:
                n += 1
                up.send_multipart(self._parts("mic", b"\0" * self._size, samples=self._size // 4), zmq.NOBLOCK)
                self.sent += 1


async def stopped(gateway, for_s):
    """Stop the gateway's process for a while."""
    gateway.process.send_signal(signal.SIGSTOP)
    try:
        await asyncio.sleep(for_s)
    finally:
        gateway.process.send_signal(signal.SIGCONT)


async def held(gateway, for_s):
    """Block the gateway's event loop, while its other threads go on."""
    assert for_s == STALL_S
    gateway.process.send_signal(signal.SIGUSR2)
    await asyncio.sleep(for_s)


PACES = {"mic": (50, 1280), "often": (180, 1280), "much": (95, 4800)}
"""Messages a second, and bytes of each: a usual microphone, and near each of the limits: 200 a second and 500,000 bytes."""


HONEST = [("mock-gateway", stall, "much") for stall in (stopped, held)] + [("gemini-gateway", stopped, "mic")]
# What piled up must be read before the allowance for the stall is over: as fast as a machine reads that does nothing else.
HONEST += [
    pytest.param(gateway, stall, "often", marks=pytest.mark.calm)
    for gateway, stall in (("mock-gateway", stopped), ("mock-gateway", held), ("gemini-gateway", held))
]
NAMES = lambda it: it if isinstance(it, str) else it.__name__  # noqa: E731


def in_tcp(port):
    """The bytes in TCP for a port: of the senders, and what reached the port and has not been read."""
    unsent = unread = 0
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        local, remote, _, queues = line.split()[1:5]
        sending, receiving = (int(n, 16) for n in queues.split(":"))
        unsent += sending if remote.endswith(f":{port:04X}") else 0
        unread += receiving if local.endswith(f":{port:04X}") else 0
    return unsent, unread


async def tcp_holds(port, for_s=1.0):
    """Whether TCP keeps back 100 kB for a port, at each look, although whatever reached the port has been read."""
    until = time.monotonic() + for_s
    while time.monotonic() < until:
        unsent, unread = in_tcp(port)
        if unread or unsent < 100_000:
            return False
        await asyncio.sleep(0.02)
    return True


@pytest.mark.parametrize(("gateway", "stall", "pace"), HONEST, indirect=["gateway"], ids=NAMES)
async def test_honest_robots_are_neither_hung_up_on_nor_an_alarm(gateway, victim, made, stall, pace):
    """TCP closes a window that nobody reads. If its opening is lost, which is rare, the sender asks again after 3 s: that is a
    broken link, and no longer the stall. Then the test begins again."""
    for _ in range(3):
        headless = Headless(made.robot("reachy-2"), None, *PACES[pace])
        async with gateway() as real, victim(real) as robot:
            headless._bound = real.bound
            async with headless.talking():
                await robot.talks()
                await stall(real, STALL_S)
                before = headless.sent
                await real.until(lambda health: health["ok"])
                if await tcp_holds(real.bound.up_port):
                    print(f"\n{stall.__name__}, {pace}: TCP holds what piled up")  # noqa: T201
                    continue
                await robot.talks(2)
                assert headless.sent > before
                health = await real.health()
                counts = {name: n for name, n in health["counts"].items() if name.partition(" ")[0] in ALARMS}
                print(f"\n{stall.__name__}, {pace}: {health['counts']}")  # noqa: T201
                assert counts == {}
                assert health["robots"] == ["reachy-1", "reachy-2"]
                assert "hung up" not in real.said
                return
    pytest.fail("TCP held what piled up three times in a row")


ATTACKED = [("mock-gateway", stopped), ("gemini-gateway", held)]


@pytest.mark.parametrize(("gateway", "stall"), ATTACKED, indirect=["gateway"], ids=NAMES)
async def test_an_attacker_is_still_hung_up_on_after_a_stall(gateway, victim, stall):
    """And without delay: 6,000 messages a second exceed within 3 s what the gateway tolerates."""
    async with gateway() as real, victim(real) as robot:
        await robot.talks()
        await stall(real, STALL_S)
        await real.until(lambda health: health["ok"])
        began = time.monotonic()
        task = asyncio.create_task(real.attack("flood", "reachy-2", 6))
        await real.until(lambda health: health["counts"].get("hung_up reachy-2"))
        took_s = time.monotonic() - began
        await task
        print(f"\nhung up {took_s:.1f} s after the attacker's process was started")  # noqa: T201
        await robot.talks()
        assert took_s < 6.0
        assert await real.counted("flood", "reachy-2") > 1000


@pytest.mark.parametrize("gateway", ["mock-gateway"], indirect=True)
async def test_a_flood_that_piles_up_in_a_stall_is_hung_up_on(gateway, victim):
    """A stall excuses what a robot may send in that time, not a flood."""
    async with gateway() as real, victim(real) as robot:
        await robot.talks()
        task = asyncio.create_task(real.attack("flood", "reachy-2", 10))
        await real.until(lambda health: health["counts"].get("flood reachy-2"))
        await stopped(real, 2.0)
        await real.until(lambda health: health["counts"].get("hung_up reachy-2"))
        await task
        await robot.talks()
