"""The body's latency budgets, with the real robot-io, SDK and daemon, in one run on loopback; bench/README.md has the method.

``python bench/body.py``, five minutes. It needs ``.venv-reachy`` (``tests/reachy/setup``) and Debian's audio packages.
"""

import argparse
import asyncio
import math
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import numpy as np

from gemini_live_sim import Behaviour, GeminiLiveSim, SimSession, SimSettings, serve
from harness.devices import until
from harness.gateway import Gateway, cpu_s, make_keys
from harness.results import Timing, keep, machine, percentile, table
from reachy_robot.motion.composer import LOOK_S
from reachy_robot.motion.limits import TICK_MAX_DEG, is_in_box
from reachy_robot.motion.pose import Pose, head_of, pose_of

ROOT: Final = Path(__file__).parent.parent
REACHY_BIN: Final = ROOT / ".venv-reachy" / "bin"
PORT: Final = 27540
FLOOR_P99_MS: Final = 10.0
"""A run is void if a bare SDK took longer than this from its call to the daemon: the machine was busy."""
MOVED: Final = 0.25
"""In degrees: more than rounding."""
QUESTION: Final = ROOT / "tests" / "e2e" / "data" / "number-1.wav"
SPEECH_MS: Final = 4000

sys.path.insert(0, str(ROOT / "tests" / "reachy"))
from virtual_reachy import VirtualReachy, virtual_reachy  # noqa: E402


@dataclass
class Stamps:
    """When events were on Gemini's socket, in s."""

    called: list[float] = field(default_factory=list)
    cut: list[float] = field(default_factory=list)
    mic: list[tuple[float, int]] = field(default_factory=list)
    """The time, and how many bytes."""

    def note(self, _session: SimSession, name: str, at_ns: int, detail: Any) -> None:
        """Note an event of the simulator."""
        at_s = at_ns / 1e9
        if name == "audio_in":
            self.mic.append((at_s, len(detail)))
        elif name == "tool_call":
            self.called.append(at_s)
        elif name == "interrupted":
            self.cut.append(at_s)


class Targets:
    """The targets that the daemon received, and when."""

    def __init__(self, rig: VirtualReachy) -> None:
        self._file = rig.work / "targets"

    @property
    def told(self) -> list[tuple[float, Pose]]:
        """All head targets. Trunk and antennas are left out."""
        rows = np.frombuffer(self._file.read_bytes(), "<f8") if self._file.exists() else np.empty(0)
        return [
            (float(row[0]), pose_of(row[1:].reshape(4, 4).tolist(), 0.0, 0.0, 0.0))
            for row in rows[: len(rows) // 17 * 17].reshape(-1, 17)
        ]

    def since(self, at: float) -> list[tuple[float, Pose]]:
        """The targets from that moment on."""
        return [it for it in self.told if it[0] >= at]

    async def rest(self) -> Pose:
        """Wait until the head rests. Returns where."""

        def rests() -> bool:
            last = [pose for _, pose in self.told[-12:]]
            return len(last) == 12 and max(apart(last[-1], it) for it in last) < 0.01

        await until(rests)
        return self.told[-1][1]


def apart(one: Pose, other: Pose) -> float:
    """How far two head poses are apart, in degrees or mm, whichever is more."""
    return max(abs(a - b) for a, b in zip(one[:6], other[:6], strict=True))


def turned_deg(one: Pose, other: Pose) -> float:
    """The angle between two head poses."""
    between = np.array(head_of(other))[:3, :3] @ np.array(head_of(one))[:3, :3].T
    return math.degrees(math.acos(min(1.0, max(-1.0, float(np.trace(between) - 1) / 2))))


def floor(rig: VirtualReachy, count: int) -> Timing:
    """How long a bare SDK that turns the head a little takes from its call to the daemon."""
    command = [REACHY_BIN / "python", Path(__file__).with_name("baseline_body.py"), rig.daemon_port, count]
    told = subprocess.run([*map(str, command)], capture_output=True, text=True, check=True, env={**rig.environment})
    sent = [float(line) for line in told.stdout.split()]
    received = [at for at, _ in Targets(rig).told]
    took = [min(at for at in received if at >= then) - then for then in sent]
    return Timing("floor, bare SDK: set_target -> the daemon", [it * 1000 for it in took])


@asynccontextmanager
async def robot_io(work: Path, rig: VirtualReachy, gateway: Gateway, body: str) -> AsyncIterator[int]:
    """Run the real robot-io. Yields its process number."""
    own = {
        "REACHY_KEYS_DIR": work / "robot-0",
        "ROBOT_DEVICE": "reachy",
        "ROBOT_BODY": body,
        "ROBOT_DAEMON_PORT": rig.daemon_port,
        "ROBOT_GATEWAY": gateway.address.host,
        "ROBOT_UP_PORT": gateway.address.up_port,
        "ROBOT_DOWN_PORT": gateway.address.down_port,
    }
    environment = {**rig.environment, **{name: str(value) for name, value in own.items()}}
    with (work / "robot.log").open("ab") as log:
        process = await asyncio.create_subprocess_exec(REACHY_BIN / "robot-io", env=environment, stdout=log, stderr=log)
        try:
            yield process.pid
        finally:
            process.terminate()
            await process.wait()


async def calls(rig: VirtualReachy, session: SimSession, targets: Targets, stamps: Stamps, count: int) -> list[float]:
    """From a tool call on Gemini's socket to the first target at the daemon that turns the head, in ms."""
    took = []
    for n in range(count):
        await asyncio.to_thread(rig.say(QUESTION).wait)  # the gateway allows only a few calls for each question
        await asyncio.sleep(0.5 + random.uniform(0, 0.02))  # noqa: S311 - a random moment between two poses
        resting = await targets.rest()
        asked = len(stamps.called)
        session.tool_call("look_at", direction=("left", "right")[n % 2])
        await until(lambda then=resting, at=asked: len(stamps.called) > at and apart(targets.told[-1][1], then) > MOVED)  # type: ignore[misc]
        called_at = stamps.called[-1]
        moved_at = next(at for at, pose in targets.since(called_at) if apart(pose, resting) > MOVED)
        took.append((moved_at - called_at) * 1000)
    return took


async def cuts(session: SimSession, targets: Targets, stamps: Stamps, count: int) -> list[float]:
    """From an interruption on Gemini's socket to the last target at the daemon that still moves with speech, in ms."""
    took = []
    await asyncio.sleep(LOOK_S + 2.0)  # until the last look has ended
    for _ in range(count):
        resting = await targets.rest()
        session.say(SPEECH_MS)
        await until(lambda then=resting: apart(targets.told[-1][1], then) > 2 * MOVED)  # type: ignore[misc]
        before = len(stamps.cut)
        session.interrupt()
        await until(lambda n=before: len(stamps.cut) > n)  # type: ignore[misc]
        cut_at = stamps.cut[-1]
        resting = await targets.rest()
        moving = [at for at, pose in targets.since(cut_at) if apart(pose, resting) > MOVED]
        took.append((max([cut_at, *moving]) - cut_at) * 1000)
    return took


async def costs(sim: GeminiLiveSim, stamps: Stamps, pid: int, seconds: float) -> tuple[float, float]:
    """robot-io's share of a core while it speaks half of the time, in %; and how late mic chunks are at p99, in ms."""
    session = sim.open_sessions[-1]
    stamps.mic.clear()
    before, began = cpu_s(pid), time.monotonic()
    while time.monotonic() < began + seconds:
        session.say(SPEECH_MS)
        await asyncio.sleep(2 * SPEECH_MS / 1000)
    percent = (cpu_s(pid) - before) / (time.monotonic() - began) * 100
    heard_s, late = 0.0, []
    for at, size in stamps.mic:
        heard_s += size / 32000
        late.append(at - heard_s)
    return percent, percentile([(it - min(late)) * 1000 for it in late], 99)


def stream(told: list[tuple[float, Pose]]) -> dict[str, float]:
    """The largest step between two poses, and the number of poses outside the box, once the head is up."""
    up = next(n for n, (_, pose) in enumerate(told) if is_in_box(pose))
    poses = [pose for _, pose in told[up:]]
    steps = [turned_deg(a, b) for a, b in pairwise(poses)]
    return {"deg a tick": max(steps), "out of the box": float(sum(not is_in_box(it, 0.5) for it in poses))}


async def measure(n_calls: int, n_cuts: int, seconds: float, runs: int) -> dict[str, Any]:
    """Measure everything."""
    stamps = Stamps()
    with (
        tempfile.TemporaryDirectory(prefix="body-") as directory,
        tempfile.TemporaryDirectory(prefix="rig-") as robot,
        virtual_reachy(Path(robot), own_process=False, daemon=False, bin_dir=REACHY_BIN) as rig,
    ):
        work = Path(directory)
        make_keys(work, 1)
        (work / "robots.toml").write_text("[defaults.manner]\nbreathing = false\nposture = false\n")
        rig.start_daemon(ears=True)
        timings = [floor(rig, n_calls)]
        async with serve(SimSettings(), on_event=stamps.note) as sim:
            sim.behaviour = Behaviour(mode="tone", speed=0, thinking_ms=0, vad_threshold_dbfs=0, max_age_s=None)
            async with Gateway(work, sim.url, sim.root_path, PORT, GATEWAY_ROBOTS_FILE=work / "robots.toml") as gateway:
                targets = Targets(rig)
                async with robot_io(work, rig, gateway, "auto"):
                    before = len(targets.told)
                    await until(lambda: len(targets.told) > before + 100 and sim.open_sessions, 60)
                    began = targets.told[before][0]
                    session = sim.open_sessions[-1]
                    called = await calls(rig, session, targets, stamps, n_calls)
                    cut = await cuts(session, targets, stamps, n_cuts)
                    limits = stream(targets.since(began))
                shares: dict[str, list[tuple[float, float]]] = {"off": [], "auto": []}
                for _ in range(runs):
                    for body, measured in shares.items():
                        async with robot_io(work, rig, gateway, body) as pid:
                            known = len(sim.sessions)
                            await until(lambda at=known: len(sim.sessions) > at and sim.open_sessions, 60)  # type: ignore[misc]
                            await asyncio.sleep(3.0)  # until the robot is up and everything is loaded
                            measured.append(await costs(sim, stamps, pid, seconds))
    timings += [
        Timing("tool call on Gemini's socket -> set_target at the daemon", called, {"p50": 60, "p99": 120}),
        Timing("`interrupted` on Gemini's socket -> no movement of speech at the daemon", cut, {"max": 150}),
    ]
    return {"timings": timings, "limits": limits, "shares": shares}


def main() -> int:
    """Print the tables; exit status 1 if the run is void."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--calls", type=int, default=40)
    parser.add_argument("--cuts", type=int, default=30)
    parser.add_argument("--seconds", type=float, default=16.0, help="of each run with and without a body")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--out", type=Path, help="a folder for body.json")
    given = parser.parse_args()
    about = machine()
    told = asyncio.run(measure(given.calls, given.cuts, given.seconds, given.runs))
    timings: list[Timing] = told["timings"]
    print(table(timings, "ms", 1))
    print("\n| robot-io | % of a core | mic chunk late, p99 ms |\n|---|---|---|")
    for body, runs in told["shares"].items():
        cells = [", ".join(f"{run[n]:.1f}" for run in runs) for n in (0, 1)]
        print(f"| body {body} | {cells[0]} | {cells[1]} |")
    limits = told["limits"]
    print(f"\nThe stream of poses: {limits['deg a tick']:.2f} deg a tick at most ({TICK_MAX_DEG:g} allowed), ", end="")
    print(f"{limits['out of the box']:.0f} out of the box.")
    keep(given.out, "body", about, {"timings": [it.told() for it in timings], "limits": limits, "shares": told["shares"]})
    if timings[0].numbers["p99"] > FLOOR_P99_MS:
        print(f"VOID: a bare SDK took more than {FLOOR_P99_MS:g} ms at p99: the machine was busy.")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
