"""A whole Reachy Link in one event loop, over real sockets: keys, gateway, robots, and a desk in place of the hardware."""

import asyncio
import time
import wave
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import numpy as np
from relay import Relay

from reachy_gateway.host import MakeVoice
from reachy_gateway.hub import Hub
from reachy_gateway.link.end import Bind
from reachy_gateway.provider.load import Load
from reachy_link import keys
from reachy_link.address import Address
from reachy_link.pcm import Format, Samples, from_pcm16
from reachy_robot.acts import OFFER
from reachy_robot.body import Body
from reachy_robot.decisions import Profile
from reachy_robot.runner import Runner
from reachy_robot.sound import DeviceError, Moment

STEREO_16K = Format(rate_hz=16000, channels=2)
TICK_MS = 10


def read_wav(path: Path) -> Samples:
    """A file's samples as float32 ``(n, channels)``."""
    with wave.open(str(path)) as file:
        return from_pcm16(file.readframes(file.getnframes()), file.getnchannels())


class Keys:
    """A gateway's and its robots' keys, in a test's own directory."""

    def __init__(self, directory: Path, *robots: str) -> None:
        self.directory = directory
        self.gateway_dir = directory / "gateway"
        self.pair = keys.make_pair(self.gateway_dir)
        self.ring = keys.Keyring(self.gateway_dir)
        for robot in robots:
            self.ring.admit(robot, self.robot(robot).keys.public.decode())

    def robot_dir(self, robot: str) -> Path:
        return self.directory / robot

    def robot(self, robot: str) -> keys.RobotIdentity:
        """The robot's identity, created when missing. Creation does not admit the robot."""
        directory = self.robot_dir(robot)
        if not directory.exists():
            keys.make_pair(directory)
            keys.write(directory / keys.ROBOT_ID_NAME, robot)
            keys.write(directory / keys.GATEWAY_NAME, self.pair.public.decode())
        return keys.load_robot(directory)


@asynccontextmanager
async def running_hub(
    made: Keys,
    make_voice: MakeVoice,
    up_port: int = 0,
    down_port: int = 0,
    max_robots: int = 20,
    host: str = "127.0.0.1",
    load: Load | None = None,
) -> AsyncIterator[Hub]:
    """Run a gateway on its own ports."""
    bind = Bind(host, up_port, down_port)
    ring = keys.Keyring(made.gateway_dir)
    hub = Hub(made.pair, ring, bind, make_voice, max_robots=max_robots, software="test", load=load)
    task = asyncio.create_task(hub.run())
    try:
        yield hub
    finally:
        task.cancel()
        await asyncio.wait([task])


class Desk:
    """A device that a test plays: its microphone says what it is told, and its speaker remembers what it gets."""

    lead_ms = 40

    def __init__(self, mic: Format = STEREO_16K, speaker: Format = STEREO_16K) -> None:
        self.mic = mic
        self.speaker = speaker
        self._said = [np.zeros((0, mic.channels), np.float32)]
        self.handed: list[tuple[float, Samples]] = []
        """What the playout handed over, with the time."""
        self.hushed: list[float] = []
        self.moments: list[Moment] = []
        self.closed = False
        self._speech: deque[Samples] = deque()
        self._queued = 0
        self._changed = asyncio.Event()
        self._off = False
        self._lost = False

    def say(self, samples: Samples) -> None:
        """Speak into the microphone, after what is already queued."""
        spread = np.repeat(samples, self.mic.channels // samples.shape[1], axis=1)
        self._speech.extend(np.array_split(spread, max(1, len(spread) * 1000 // self.mic.rate_hz // TICK_MS)))

    def switch_off(self) -> None:
        """End the recording, and so the robot."""
        self._off = True

    def be_lost(self) -> None:
        """Fail as if unplugged. The device can be opened again."""
        self._lost = True

    @property
    def said(self) -> Samples:
        """Everything that the microphone gave, silence included."""
        self._said = [np.concatenate(self._said)]
        return self._said[0]

    @property
    def saying(self) -> bool:
        return bool(self._speech)

    @property
    def played(self) -> Samples:
        """Everything that was handed over, joined."""
        return np.concatenate([np.zeros((0, self.speaker.channels), np.float32), *(samples for _, samples in self.handed)])

    async def until(self, condition: Callable[[], object], timeout_s: float = 15.0) -> None:
        """Wait for a condition that a tick, or the robot's use of the device, can make true."""
        async with asyncio.timeout(timeout_s):
            while not condition():
                self._changed.clear()
                await self._changed.wait()

    async def open(self) -> None:
        self._lost = False
        self._queued = 0

    async def record(self) -> AsyncIterator[Samples]:
        loop = asyncio.get_running_loop()
        due = loop.time()
        while not self._off:
            due = max(due + TICK_MS / 1000, loop.time())
            await asyncio.sleep(due - loop.time())
            if self._lost:
                raise DeviceError("the desk was unplugged")
            self._queued = max(0, self._queued - self.speaker.rate_hz * TICK_MS // 1000)
            silence = np.zeros((self.mic.rate_hz * TICK_MS // 1000, self.mic.channels), np.float32)
            chunk = self._speech.popleft() if self._speech else silence
            self._said.append(chunk)
            self._changed.set()
            yield chunk

    def play(self, samples: Samples) -> None:
        self.handed.append((time.monotonic(), samples))
        self._queued += len(samples)

    def queued_ms(self) -> float:
        return self.speaker.ms(self._queued)

    def hush(self) -> None:
        self.hushed.append(time.monotonic())
        self._queued = 0

    def notice(self, moment: Moment) -> None:
        self.moments.append(moment)

    async def close(self) -> None:
        self.closed = True
        self._changed.set()


class RunningRobot:
    """A robot and its desk."""

    def __init__(self, runner: Runner, desk: Desk, task: "asyncio.Task[None]") -> None:
        self.runner = runner
        self.desk = desk
        self.task = task

    @property
    def core(self):
        return self.runner.core

    async def welcomed(self) -> None:
        await self.desk.until(lambda: self.core.welcomed)

    async def answered(self, n: int) -> None:
        """Wait until so many answers have been played to their end."""
        await self.desk.until(lambda: self.desk.moments.count(Moment.ANSWERED) >= n, 30.0)


@asynccontextmanager
async def running_robot(
    identity: keys.RobotIdentity,
    bound: Bind,
    desk: Desk | None = None,
    half_duplex_tail_ms: int | None = None,
    others: Sequence[Bind] = (),
    make_body: Callable[[], Body] | None = None,
    software: str = "test",
    **more_of_runner: Any,
) -> AsyncIterator[RunningRobot]:
    """Run a robot that dials a gateway on this machine, and the others if that one does not serve it."""
    desk = desk or Desk()
    boot = np.random.default_rng().bytes(8).hex()

    def profile(device: Desk) -> Profile:
        more = {"half_duplex_tail_ms": half_duplex_tail_ms, "body": OFFER if make_body else None}
        return Profile(identity.robot, boot, device.mic, device.speaker, device.lead_ms, software, **more)

    address, *more = (Address(bind.host, bind.up_port, bind.down_port) for bind in (bound, *others))
    runner = Runner(lambda: desk, identity, address, profile, more, make_body=make_body, **more_of_runner)
    task = asyncio.create_task(runner.run())
    try:
        yield RunningRobot(runner, desk, task)
    finally:
        task.cancel()
        await asyncio.wait([task])


@asynccontextmanager
async def a_line_to(port: int, stands: asyncio.Event | None = None) -> AsyncIterator[tuple[int, Callable[[], None]]]:
    """A relay to one port of a gateway. Yields its port, and a function that cuts it for good. Frozen before ``stands``."""
    relay = Relay("127.0.0.1", [port], [0])
    relay.open = stands or relay.open
    [own] = await relay.start()
    try:
        yield own, relay.stop
    finally:
        relay.stop()


def segments_with_speech(samples: Samples, rate_hz: int, threshold: float = 0.01) -> Iterator[tuple[int, Samples]]:
    """The 100 ms segments of a mono signal that hold speech, with their start."""
    n = rate_hz // 10
    for start in range(0, len(samples) - n + 1, n):
        segment = samples[start : start + n]
        if np.sqrt(np.mean(segment**2)) > threshold:
            yield start, segment


def best_match(segment: Samples, signal: Samples) -> tuple[int, float]:
    """Where in a mono signal the segment fits best, and its normalised correlation there."""
    n = 1 << (len(signal) + len(segment)).bit_length()
    dots = np.fft.irfft(np.fft.rfft(signal, n) * np.conj(np.fft.rfft(segment, n)), n)[: len(signal) - len(segment) + 1]
    power = np.concatenate([[0.0], np.cumsum(signal.astype(np.float64) ** 2)])
    norms = np.sqrt(np.maximum(power[len(segment) :] - power[: -len(segment)], 1e-9) * np.sum(segment.astype(np.float64) ** 2))
    scores = dots / norms[: len(dots)]
    at = int(np.argmax(scores))
    return at, float(scores[at])


WHOLE: Final = 0.98
"""The least correlation of a segment that arrived whole."""


def faults(heard: Samples, said: Samples) -> list[str]:
    """How an echo differs from what was said, both mono at 16 kHz: checked in segments of 100 ms that hold speech.

    A segment is searched first where the one before it was found. A search everywhere takes 5 ms a segment, and blocks the
    event loop of the tested robot.
    """
    found, lags = [], []
    for start, segment in segments_with_speech(said, 16000):
        near = max(0, start + lags[-1] - 1) if lags else len(heard)
        at, score = 0, 0.0
        if len(around := heard[near : near + len(segment) + 2]) >= len(segment):
            at, score = best_match(segment, around)
        if score < WHOLE:
            near = 0
            at, score = best_match(segment, heard)
        lags.append(near + at - start)
        if score < WHOLE:
            found.append(f"the segment at {start / 16:.0f} ms correlates {score:.3f}")
    if max(lags) - min(lags) > 1:
        found.append(f"lags spread over {max(lags) - min(lags)} samples")
    return found
