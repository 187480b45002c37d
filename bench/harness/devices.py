"""The real robot-io with devices that cost next to nothing, in the bench's own process on the first core."""

import asyncio
import logging
import os
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import numpy as np

from reachy_link import keys
from reachy_link.address import Address
from reachy_link.pcm import Format, Samples
from reachy_robot.decisions import Profile
from reachy_robot.runner import Runner
from reachy_robot.sound import Device, Moment

STEREO: Final = Format(rate_hz=16000, channels=2)
CHUNK_S: Final = 0.02
CHUNK_SAMPLES: Final = 320
NUMBERS: Final = 30_000
"""Chunks are numbered modulo this (600 s of audio), because a sample holds no larger number."""
logging.getLogger("reachy_robot").setLevel(logging.ERROR)  # robots' warnings about killed gateways would hide the tables


class Light:
    """A device that costs next to nothing: a faint microphone, and a speaker that notes when samples arrive."""

    lead_ms = 40
    mic = speaker = STEREO

    def __init__(self) -> None:
        self.ready_at = self.played_at = 0.0
        self._until = 0.0

    def forget(self) -> None:
        """Forget what was noted so far."""
        self.ready_at = self.played_at = 0.0

    async def open(self) -> None:
        """Do nothing: there is nothing to open."""

    async def record(self) -> AsyncIterator[Samples]:
        """Yield the same chunk every 20 ms."""
        chunk = np.full((CHUNK_SAMPLES, 2), 1 / 32768, np.float32)
        due = time.monotonic()
        while True:
            due = max(due + CHUNK_S, time.monotonic())
            await asyncio.sleep(due - time.monotonic())
            yield chunk

    def play(self, samples: Samples) -> None:
        """Note when the first samples arrive."""
        now = time.monotonic()
        self.played_at = self.played_at or now
        self._until = max(self._until, now) + len(samples) / STEREO.rate_hz

    def queued_ms(self) -> float:
        """How much a sound card would still have to play."""
        return max(0.0, self._until - time.monotonic()) * 1000

    def hush(self) -> None:
        """Drop what is queued."""
        self._until = 0.0

    def notice(self, moment: Moment) -> None:
        """Note when the robot is welcomed."""
        if moment is Moment.READY:
            self.ready_at = self.ready_at or time.monotonic()

    async def close(self) -> None:
        """Do nothing: there is nothing to close."""


class Numbered(Light):
    """A device whose microphone chunks hold their number. It remembers when each chunk was recorded."""

    def __init__(self) -> None:
        super().__init__()
        self.said_s: list[float] = []

    async def record(self) -> AsyncIterator[Samples]:
        """Yield a chunk every 20 ms, or at once when late. Its number is 1 + its index, modulo ``NUMBERS``."""
        due = time.monotonic()
        while True:
            due += CHUNK_S
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            number = len(self.said_s) % NUMBERS + 1
            self.said_s.append(time.monotonic())
            yield np.full((CHUNK_SAMPLES, 2), number / 32768, np.float32)


def chunk_numbers(pcm: bytes) -> list[int]:
    """The numbers of the :class:`Numbered` device's chunks in a message on Gemini's socket."""
    return [int(number) for number in np.frombuffer(pcm, "<i2")[::CHUNK_SAMPLES]]


def make_runner(work: Path, robot: str, make_device: Callable[[], Device], *addresses: Address) -> Runner:
    """A robot with keys of :func:`make_keys` that knows these gateways."""

    def profile(device: Device) -> Profile:
        return Profile(robot, os.urandom(8).hex(), device.mic, device.speaker, device.lead_ms, "bench")

    return Runner(make_device, keys.load_robot(work / robot), addresses[0], profile, addresses[1:])


@asynccontextmanager
async def robots(work: Path, devices: Sequence[Device], *addresses: Address) -> AsyncIterator[list[Runner]]:
    """Run one robot for each device: robot-0 and so on."""
    runners = [make_runner(work, f"robot-{n}", lambda it=it: it, *addresses) for n, it in enumerate(devices)]  # type: ignore[misc]
    tasks = [asyncio.create_task(runner.run()) for runner in runners]
    try:
        yield runners
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)


async def until(condition: Callable[[], object], limit_s: float = 30.0, look_s: float = 0.005) -> None:
    """Wait until a condition holds in this process; look again every ``look_s``.

    Raises:
        TimeoutError: If the condition does not hold in time.
    """
    async with asyncio.timeout(limit_s):
        while not condition():
            await asyncio.sleep(look_s)
