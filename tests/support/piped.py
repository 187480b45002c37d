"""The minimal robots of docs/protocol as programs: a test is their microphone and their speaker, by pipes, in real time."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import numpy as np
from ports import free_ports
from rig import Keys, read_wav, running_hub

from mock_gateway.voice import MockVoice
from reachy_gateway.hub import Hub
from reachy_gateway.link.end import Bind
from reachy_link.pcm import to_pcm16

CHUNK_BYTES = 640
SPEECH = to_pcm16(read_wav(Path(__file__).parents[1] / "e2e" / "data" / "number-1.wav")[:, :1])
"""A sentence, 16 kHz mono."""
NAME = "reachy-1"


class Piped:
    """One running robot. Its microphone gives 20 ms every 20 ms, silence where nothing is said."""

    def __init__(self, program: asyncio.subprocess.Process) -> None:
        self.program = program
        self.played: list[bytes] = []
        """What it gave the speaker, 20 ms each."""
        self.given = 0
        """So many times 20 ms its microphone gave: for each it gives the speaker as much."""
        self.complaints = ""
        self._saying = bytearray()

    def say(self, pcm: bytes) -> None:
        self._saying += pcm

    @property
    def loud(self) -> list[bool]:
        """Whether each 20 ms at the speaker is sound."""
        return [bool(np.abs(np.frombuffer(chunk, "<i2").astype(int)).max() > 200) for chunk in self.played]

    async def until(self, condition, timeout_s: float = 20.0) -> None:
        async with asyncio.timeout(timeout_s):
            while not condition():
                await asyncio.sleep(0.01)

    async def listen(self) -> None:
        assert self.program.stdout
        while True:
            self.played.append(await self.program.stdout.readexactly(CHUNK_BYTES))

    async def speak(self) -> None:
        assert self.program.stdin
        loop = asyncio.get_running_loop()
        due = loop.time()
        while True:
            chunk = bytes(self._saying[:CHUNK_BYTES]).ljust(CHUNK_BYTES, b"\0")
            del self._saying[:CHUNK_BYTES]
            self.program.stdin.write(chunk)
            self.given += 1
            due += 0.02
            await asyncio.sleep(due - loop.time())

    async def complain(self) -> None:
        assert self.program.stderr
        async for line in self.program.stderr:
            self.complaints += line.decode()


@asynccontextmanager
async def piped(command: list[str], made: Keys, bound: Bind) -> AsyncIterator[Piped]:
    """Run a robot: ``command`` and NAME HOST KEYS UP_PORT DOWN_PORT."""
    made.robot(NAME)
    where = ["127.0.0.1", str(made.robot_dir(NAME)), str(bound.up_port), str(bound.down_port)]
    pipe = asyncio.subprocess.PIPE
    program = await asyncio.create_subprocess_exec(*command, NAME, *where, stdin=pipe, stdout=pipe, stderr=pipe)
    robot = Piped(program)
    tasks = [asyncio.create_task(work()) for work in (robot.listen, robot.speak, robot.complain)]
    try:
        yield robot
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        if program.returncode is None:
            program.kill()
        await program.wait()


def serving(made: Keys, bound: Bind | None = None, **more):
    """A gateway with a deterministic voice."""
    ports = {"up_port": bound.up_port, "down_port": bound.down_port} if bound else {}
    return running_hub(made, lambda *_: MockVoice(), **ports, **more)


def dropped(hub: Hub) -> dict[str, int]:
    """What the gateway dropped or refused of the robot, by cause."""
    causes = ("header", "kind", "topic", "payload", "parts", "repeat", "late", "upstream", "flood")
    return {cause: n for cause in causes if (n := hub.tally.total(cause))}


async def talks(command: list[str], made: Keys) -> None:
    """It says hello, is heard, and plays the whole answer; at the end of its microphone it says goodbye and ends with 0."""
    async with serving(made) as hub, piped(command, made, hub.bound) as robot:
        await robot.until(lambda: NAME in hub.robots)
        robot.say(SPEECH)
        await robot.until(lambda: sum(robot.loud) * 0.02 > 0.8 * len(SPEECH) / 32000 and not any(robot.loud[-25:]))
        first = robot.loud.index(True)
        answer = robot.loud[first : first + sum(robot.loud)]
        assert sum(answer) > 0.9 * len(answer), "an answer without holes"
        assert dropped(hub) == {}
        assert robot.program.stdin
        robot.program.stdin.close()
        await robot.until(lambda: NAME not in hub.robots, 5)
        assert await robot.program.wait() == 0


async def is_interrupted(command: list[str], made: Keys) -> None:
    """Speech into an answer silences it: within 100 ms of the flush nothing of it is heard any more."""
    async with serving(made) as hub, piped(command, made, hub.bound) as robot:
        await robot.until(lambda: NAME in hub.robots)
        robot.say(SPEECH * 3)
        await robot.until(lambda: any(robot.loud))
        peer = hub.robots[NAME].peer
        floor = peer.floor
        robot.say(SPEECH)
        await robot.until(lambda: peer.floor > floor)
        at = robot.given
        await robot.until(lambda: len(robot.played) > at + 15)
        assert not any(robot.loud[at + 5 : at + 15])


async def returns(command: list[str], made: Keys) -> None:
    """It comes when its key is admitted only later, and again after the gateway has started anew."""
    up_port, down_port = free_ports(2)
    bound = Bind("127.0.0.1", up_port, down_port)
    async with piped(command, made, bound) as robot:
        async with serving(made, bound) as hub:
            await robot.until(lambda: hub.tally.total("key"))
            made.ring.admit(NAME, made.robot(NAME).keys.public.decode())
            await robot.until(lambda: NAME in hub.robots, 10)
        async with serving(made, bound) as hub:
            await robot.until(lambda: NAME in hub.robots, 10)
            robot.say(SPEECH)
            await robot.until(lambda: any(robot.loud))


async def is_refused(command: list[str], made: Keys) -> None:
    """It tells the person why the gateway does not serve it, and asks again every 5 s."""
    async with serving(made, max_robots=0) as hub, piped(command, made, hub.bound) as robot:
        await robot.until(lambda: hub.tally.total("refused") >= 2, 15)
        assert "GATEWAY_MAX_ROBOTS" in robot.complaints
        assert hub.tally.total("refused") == 2
