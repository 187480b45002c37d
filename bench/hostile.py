"""What a robot that talks notices while another, admitted and hostile, sends a million malformed messages.

``python bench/hostile.py [MESSAGES [PER_S]]``, by default 1,000,000 at 2,000 a second: 500 s. The gateway is the real process
before the simulator. The victim's microphone chunks hold their own numbers and are stamped at the robot and at Gemini's socket;
all the while it is answered. Exit status 1 if a chunk was lost either way, if its p99 is above 100 ms or the gateway's memory
grew by more than 5 MB.
"""

import asyncio
import os
import resource
import signal
import socket
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import numpy as np

from gemini_live_sim import Behaviour, GeminiLiveSim, SimSession, SimSettings, serve
from reachy_link import keys
from reachy_link.health import ask
from reachy_link.pcm import Format, Samples
from reachy_link.robot_end import Address
from robot_io.core import Profile
from robot_io.device import Device, Moment
from robot_io.runner import Runner

BIN = Path(sys.executable).parent
ATTACKER = Path(__file__).parent.parent / "tests" / "attacks" / "attacker.py"
CALM_S = 20.0
"""Measured before the attack, for comparison."""
ANSWER_MS, ANSWER_EVERY_S = 3000, 5.0
P99_MS, GROWN_MB = 100.0, 5.0
NUMBERS = 30_000
"""Chunks are numbered modulo this, 600 s: what a sample can hold."""
STEREO = Format(rate_hz=16000, channels=2)


class Numbered:
    """A device whose mic chunks hold their number, and which remembers when they were said."""

    lead_ms = 40
    mic = speaker = STEREO

    def __init__(self) -> None:
        self.said_s: list[float] = []
        self.ready = asyncio.Event()
        self._until = 0.0

    async def open(self) -> None:
        """Nothing to open."""

    async def record(self) -> AsyncIterator[Samples]:
        """A chunk every 20 ms, on time or at once."""
        due = time.monotonic()
        while True:
            due += 0.02
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            self.said_s.append(time.monotonic())
            yield np.full((320, 2), (len(self.said_s) % NUMBERS + 1) / 32768, np.float32)

    def play(self, samples: Samples) -> None:
        """As long as it lasts."""
        self._until = max(self._until, time.monotonic()) + len(samples) / 16000

    def queued_ms(self) -> float:
        """What a sound card would have yet to play."""
        return max(0.0, self._until - time.monotonic()) * 1000

    def hush(self) -> None:
        """Nothing is to be heard any more."""
        self._until = 0.0

    def notice(self, moment: Moment) -> None:
        """Be told when the link stands."""
        if moment is Moment.READY:
            self.ready.set()

    async def close(self) -> None:
        """Nothing to close."""


class Ear:
    """What arrived on Gemini's socket: chunk numbers with their time, whatever the connection."""

    def __init__(self) -> None:
        self.heard: list[tuple[int, float]] = []

    def note(self, _session: SimSession, name: str, at_ns: int, detail: Any) -> None:
        """The simulator's event hook."""
        if name == "audio_in":
            samples = np.frombuffer(detail, "<i2")
            self.heard += [(int(samples[start]), at_ns / 1e9) for start in range(0, len(samples), 320)]

    def took_ms(self, said_s: list[float]) -> tuple[list[float], int]:
        """How long each chunk took from the first that arrived on, and how many did not arrive."""
        took, at = [], self.heard[0][0] - 1
        for number, heard_s in self.heard:
            lost = (number - 1 - at) % NUMBERS
            took += [float("inf")] * lost
            at += lost
            took.append((heard_s - said_s[at - 1]) * 1000)
            at += 1
        return took, sum(ms == float("inf") for ms in took)


async def main(messages: int, per_s: int) -> int:
    """Measure, print, judge."""
    ear, probe = Ear(), Numbered()
    with tempfile.TemporaryDirectory(prefix="hostile-") as directory:
        work = Path(directory)
        for robot in ("reachy-1", "reachy-2"):
            made = await asyncio.create_subprocess_exec(
                BIN / "reachy-keys", "--dir", work / "gateway", "demo", work / robot, robot, stdout=asyncio.subprocess.DEVNULL
            )
            assert await made.wait() == 0
        up, down, health = free_ports(3)
        async with serve(SimSettings(), on_event=ear.note) as sim:
            sim.behaviour = Behaviour(mode="tone", vad_threshold_dbfs=0, max_age_s=None, session_limit_s=None)
            async with gateway(sim, work, up, down, health) as process, talking(work, probe, up, down) as runner:
                answers = asyncio.create_task(answered(sim))
                await asyncio.sleep(5.0)
                calm, before_mb = len(ear.heard), memory_mb(process)
                await asyncio.sleep(CALM_S)
                began = len(ear.heard)
                sent, most_mb = await attacked(process, work, [str(up), str(down)], messages, per_s)
                grown_mb = memory_mb(process) - before_mb
                await asyncio.sleep(2.0)
                answers.cancel()
                counts = ask(health)[1]
    took, lost = ear.took_ms(probe.said_s)
    cut = [turn for turn in runner.core.summary if turn.underruns or not turn.complete]
    lost_here = {cause: n for cause, n in runner.core.counts.items() if n}
    p50, p99, worst = np.percentile(took[began:], [50, 99, 100])
    print(f"{sent} malformed messages at {per_s} a second: {counts}")
    print(f"the victim's mic chunks, its socket -> Gemini's socket: {len(took) - began} during the attack, {lost} lost")
    print(f"  p50 {p50:.1f} ms, p99 {p99:.1f} ms, max {worst:.1f} ms")
    print(f"  before it: p50 {np.percentile(took[calm:began], 50):.1f} ms, p99 {np.percentile(took[calm:began], 99):.1f} ms")
    print(f"its answers: {len(runner.core.summary)}, cut or with an underrun: {len(cut)}; dropped at the robot: {lost_here}")
    print(f"the gateway's memory: {grown_mb:+.1f} MB at the end, {most_mb - before_mb:+.1f} MB at most")
    held = lost == 0 and not cut and not lost_here and p99 <= P99_MS and grown_mb <= GROWN_MB
    print("held" if held else f"NOT HELD: no chunk lost, p99 {P99_MS:g} ms, {GROWN_MB:g} MB")
    return 0 if held else 1


async def attacked(
    process: asyncio.subprocess.Process, work: Path, ports: list[str], messages: int, per_s: int
) -> tuple[int, float]:
    """Let the hostile robot loose; how much it sent, and the most memory that the gateway had."""
    words = ["malformed", str(work / "reachy-2"), *ports, str(messages / per_s), str(per_s)]
    attacker = await asyncio.create_subprocess_exec(sys.executable, ATTACKER, *words, stdout=asyncio.subprocess.PIPE)
    assert attacker.stdout
    most_mb, told = memory_mb(process), asyncio.ensure_future(attacker.stdout.read())
    while not told.done():
        await asyncio.wait([told], timeout=1.0)
        most_mb = max(most_mb, memory_mb(process))
    assert await attacker.wait() == 0
    return int(told.result()) + 1, most_mb


async def answered(sim: GeminiLiveSim) -> None:
    """Keep the victim's speaker busy."""
    while True:
        for session in sim.open_sessions[:1]:
            session.say(ANSWER_MS)
        await asyncio.sleep(ANSWER_EVERY_S)


@asynccontextmanager
async def gateway(sim: GeminiLiveSim, work: Path, up: int, down: int, health: int) -> AsyncIterator[asyncio.subprocess.Process]:
    """The real process."""
    settings = {
        "REACHY_KEYS_DIR": work / "gateway",
        "REACHY_LOG_LEVEL": "WARNING",
        "REACHY_HEALTH_PORT": health,
        "GATEWAY_HOST": "127.0.0.1",
        "GATEWAY_UP_PORT": up,
        "GATEWAY_DOWN_PORT": down,
        "GATEWAY_SIM_URL": sim.url,
        "GATEWAY_SIM_ROOT": sim.root_path,
        "GATEWAY_LEDGER": work / "ledger.sqlite",
    }
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("GEMINI", "GOOGLE", "GATEWAY"))}
    env = clean | {name: str(value) for name, value in settings.items()}
    process = await asyncio.create_subprocess_exec(BIN / "gemini-gateway", env=env)
    try:
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        await process.wait()


@asynccontextmanager
async def talking(work: Path, probe: Numbered, up: int, down: int) -> AsyncIterator[Runner]:
    """The victim, connected."""
    identity = keys.load_robot(work / "reachy-1")

    def profile(device: Device) -> Profile:
        return Profile(identity.robot, os.urandom(8).hex(), device.mic, device.speaker, device.lead_ms, "bench")

    runner = Runner(lambda: probe, identity, Address("127.0.0.1", up, down), profile)
    task = asyncio.create_task(runner.run())
    try:
        await asyncio.wait_for(probe.ready.wait(), 15)
        yield runner
    finally:
        task.cancel()
        await asyncio.wait([task])


def memory_mb(process: asyncio.subprocess.Process) -> float:
    """What a process has in memory."""
    return int(Path(f"/proc/{process.pid}/statm").read_text().split()[1]) * resource.getpagesize() / 1e6


def free_ports(n: int) -> list[int]:
    """Ports of the loopback that nobody uses now."""
    probes = [socket.create_server(("127.0.0.1", 0)) for _ in range(n)]
    ports = [int(each.getsockname()[1]) for each in probes]
    for each in probes:
        each.close()
    return ports


if __name__ == "__main__":
    asked = [int(word) for word in sys.argv[1:]]
    sys.exit(asyncio.run(main(*asked, *(1_000_000, 2000)[len(asked) :])))
