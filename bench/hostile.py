"""What a robot that talks notices while another one, admitted but hostile, sends a million malformed messages.

``python bench/hostile.py [MESSAGES [PER_S]]``, by default 1,000,000 at 2,000 a second: 500 s. The gateway is the real process,
in front of the simulator. The victim's microphone chunks hold their own numbers and are stamped at the robot and at Gemini's
socket. The victim hears answers all the time. Exit status 1 if a chunk was lost either way, if the p99 of the victim's chunks
is above 100 ms, or if the gateway's memory grew by more than 5 MB.
"""

import asyncio
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from gemini_live_sim import Behaviour, GeminiLiveSim, SimSession, SimSettings, serve
from harness.devices import NUMBERS, Numbered, chunk_numbers, robots, until
from harness.gateway import Gateway, make_keys, memory_bytes
from reachy_service.well import ask

ATTACKER = Path(__file__).parent.parent / "tests" / "attacks" / "attacker.py"
PORT = 27555
CALM_S = 20.0
"""Measured before the attack, for comparison."""
ANSWER_MS, ANSWER_EVERY_S = 3000, 5.0
P99_MS, GROWN_MB = 100.0, 5.0


class Ear:
    """What arrived on Gemini's socket: chunk numbers with their time, over all connections."""

    def __init__(self) -> None:
        self.heard: list[tuple[int, float]] = []

    def note(self, _session: SimSession, name: str, at_ns: int, detail: Any) -> None:
        """Note an event of the simulator."""
        if name == "audio_in":
            self.heard += [(number, at_ns / 1e9) for number in chunk_numbers(detail)]

    def took_ms(self, said_s: list[float]) -> tuple[list[float], int]:
        """How long each chunk took, from the first that arrived, and how many did not arrive."""
        took, at = [], self.heard[0][0] - 1
        for number, heard_s in self.heard:
            lost = (number - 1 - at) % NUMBERS
            took += [float("inf")] * lost
            at += lost
            took.append((heard_s - said_s[at]) * 1000)
            at += 1
        return took, sum(ms == float("inf") for ms in took)


async def main(messages: int, per_s: int) -> int:
    """Measure, print and judge. Returns the exit status."""
    ear, probe = Ear(), Numbered()
    with tempfile.TemporaryDirectory(prefix="hostile-") as directory:
        work = Path(directory)
        make_keys(work, 2)
        async with serve(SimSettings(), on_event=ear.note) as sim:
            sim.behaviour = Behaviour(mode="tone", vad_threshold_dbfs=0, max_age_s=None, session_limit_s=None)
            gateway = Gateway(work, sim.url, sim.root_path, PORT)
            async with gateway, robots(work, [probe], gateway.address) as [runner]:
                await until(lambda: probe.ready_at)
                answers = asyncio.create_task(answered(sim))
                await asyncio.sleep(5.0)
                calm, before_mb = len(ear.heard), memory_bytes(gateway.pid) / 1e6
                await asyncio.sleep(CALM_S)
                began = len(ear.heard)
                sent, most_mb = await attacked(gateway, work / "robot-1", messages, per_s)
                grown_mb = memory_bytes(gateway.pid) / 1e6 - before_mb
                await asyncio.sleep(2.0)
                answers.cancel()
                counts = ask(gateway.health_port)[1]
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


async def attacked(gateway: Gateway, attacker_dir: Path, messages: int, per_s: int) -> tuple[int, float]:
    """Run the hostile robot. Returns how many messages it sent, and the most memory that the gateway had, in MB."""
    words = ["malformed", attacker_dir, *gateway.address[1:], messages / per_s, per_s]
    command = [sys.executable, ATTACKER, *words]
    attacker = await asyncio.create_subprocess_exec(*map(str, command), stdout=asyncio.subprocess.PIPE)
    assert attacker.stdout
    most, told = memory_bytes(gateway.pid), asyncio.ensure_future(attacker.stdout.read())
    while not told.done():
        await asyncio.wait([told], timeout=1.0)
        most = max(most, memory_bytes(gateway.pid))
    assert await attacker.wait() == 0
    return int(told.result()) + 1, most / 1e6


async def answered(sim: GeminiLiveSim) -> None:
    """Keep the victim's speaker busy."""
    while True:
        for session in sim.open_sessions[:1]:
            session.say(ANSWER_MS)
        await asyncio.sleep(ANSWER_EVERY_S)


if __name__ == "__main__":
    asked = [int(word) for word in sys.argv[1:]]
    sys.exit(asyncio.run(main(*asked, *(1_000_000, 2000)[len(asked) :])))
