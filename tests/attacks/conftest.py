"""A gateway in its own process, a victim that talks to it, and hostile robots."""

import asyncio
import json
import os
import resource
import signal
import sys
import urllib.request
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import numpy as np
import pytest
from ports import free_ports
from rig import Keys, read_wav, running_robot

from gemini_live_sim.server import serve
from gemini_live_sim.settings import SimSettings
from reachy_gateway.link.end import Bind

HERE = Path(__file__).parent
SPEECH = read_wav(HERE.parent / "e2e" / "data" / "number-1.wav")[:16000]
FOREIGN = ("ROBOT_", "GATEWAY_", "GEMINI_", "GOOGLE_", "REACHY_", "SIM_")


class Gateway:
    """A running gateway, its health and its log."""

    def __init__(self, made, process, ports, log):
        self.made, self.process, self.log = made, process, log
        self.bound = Bind("127.0.0.1", *ports[:2])
        self._health = ports[2]
        self.ended = asyncio.ensure_future(process.wait())

    async def health(self):
        def ask():
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{self._health}/healthz", timeout=2) as response:
                    return json.load(response)
            except OSError:
                return {"ok": False, "robots": [], "counts": {}}

        return await asyncio.to_thread(ask)

    async def counted(self, cause, robot=""):
        return (await self.health())["counts"].get(f"{cause} {robot}".strip(), 0)

    async def until(self, condition, timeout_s=15.0):
        """Wait until the gateway's health fulfils a condition."""
        async with asyncio.timeout(timeout_s):
            while not condition(await self.health()):
                await asyncio.wait([self.ended], timeout=0.05)
                assert not self.ended.done(), self.said

    @property
    def memory_mb(self):
        return int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1]) * resource.getpagesize() / 1e6

    @property
    def descriptors(self):
        return len(list(Path(f"/proc/{self.process.pid}/fd").iterdir()))

    @property
    def said(self):
        return self.log.read_text()

    def busy(self):
        self.process.send_signal(signal.SIGUSR1)

    async def attack(self, name, robot, seconds, *more):
        """Run a hostile robot. Returns how much it did."""
        ports = (str(self.bound.up_port), str(self.bound.down_port))
        self.made.robot(robot)
        process = await asyncio.create_subprocess_exec(
            sys.executable, HERE / "attacker.py", name, self.made.robot_dir(robot), *ports, str(seconds), *more,
            stdout=asyncio.subprocess.PIPE,
        )  # fmt: skip
        try:
            out, _ = await asyncio.wait_for(process.communicate(), seconds + 20)
        finally:
            if process.returncode is None:
                process.kill()
        assert process.returncode == 0
        return int(out)


@pytest.fixture
def made(tmp_path):
    return Keys(tmp_path, "reachy-1", "reachy-2", "reachy-3")


def starter(made, tmp_path, program, sim=None):
    """A function that starts a gateway, without the named defence if one is given."""

    @asynccontextmanager
    async def start(without=None, descriptors=None, keys_dir=None):
        ports = free_ports(3)
        names = ("GATEWAY_UP_PORT", "GATEWAY_DOWN_PORT", "REACHY_HEALTH_PORT")
        clean = {name: value for name, value in os.environ.items() if not name.startswith(FOREIGN)}
        env = clean | dict(zip(names, map(str, ports), strict=True))
        env |= {"REACHY_KEYS_DIR": str(keys_dir or made.gateway_dir), "GATEWAY_HOST": "127.0.0.1"}
        if sim:
            env |= {"GATEWAY_SIM_URL": sim.url, "GATEWAY_SIM_ROOT": str(sim.root_path)}
            env |= {"GATEWAY_LEDGER": str(tmp_path / f"ledger-{ports[0]}.sqlite")}
        log = tmp_path / f"gateway-{ports[0]}.log"
        command = [sys.executable, HERE / "launcher.py", program, *([without] if without else [])]
        if descriptors:
            command = ["prlimit", f"--nofile={descriptors}:{descriptors}", *command]
        with log.open("w") as out:
            process = await asyncio.create_subprocess_exec(*command, env=env, stdout=out, stderr=out)
        running = Gateway(made, process, ports, log)
        try:
            await running.until(lambda health: health["ok"])
            yield running
            assert process.returncode is None, f"the gateway ended: {running.said}"
            assert "Traceback" not in running.said
            assert made.pair.secret.decode() not in running.said + json.dumps(await running.health())
        finally:
            if process.returncode is None:
                process.kill()
            await process.wait()

    return start


@pytest.fixture(params=["mock-gateway", "gemini-gateway"])
async def gateway(request, made, tmp_path):
    """Starts a gateway with all of its defences. gemini-gateway talks to a simulator."""
    async with AsyncExitStack() as stack:
        sim = None
        if request.param == "gemini-gateway":
            sim = await stack.enter_async_context(serve(SimSettings(mode="tone", tone_ms=700, thinking_ms=50, record_bytes=0)))
        yield starter(made, tmp_path, request.param, sim)


@pytest.fixture
def undefended(made, tmp_path):
    """Starts a mock-gateway without the named defence. These defences are the link's, so the voice makes no difference."""
    return starter(made, tmp_path, "mock-gateway")


class Victim:
    """An honest robot that talks all the time."""

    def __init__(self, robot, gateway):
        self.robot, self.gateway = robot, gateway
        self._answers = 0

    async def talks(self, times=1):
        """Speak, and hear the answer to its end."""
        for _ in range(times):
            self.robot.desk.say(SPEECH)
            self._answers += 1
            await self.robot.answered(self._answers)

    async def noticed(self):
        """The turns that were cut, and the counts of what was lost."""
        core, counts = self.robot.core, (await self.gateway.health())["counts"]
        cut = [turn for turn in core.summary if turn.underruns or not turn.complete]
        lost = {name: n for name, n in core.counts.items() if n}
        lost |= {name: n for name, n in counts.items() if name in {f"{cause} reachy-1" for cause in ("gap", "late", "flood")}}
        return cut, lost

    @property
    def p99_ms(self):
        """The p99 of the intervals at which audio reached the speaker while it spoke. About 10 ms is normal."""
        times = np.array([at for at, _ in self.robot.desk.handed])
        steps = np.diff(times)
        return float(np.percentile(steps[steps < 0.5], 99)) * 1000


@pytest.fixture
def victim():
    @asynccontextmanager
    async def start(gateway, name="reachy-1"):
        async with running_robot(gateway.made.robot(name), gateway.bound) as robot:
            await robot.welcomed()
            yield Victim(robot, gateway)

    return start


def pytest_collection_modifyitems(items):
    """Mark the tests that measure no time, so that ``tests/run`` can run them side by side."""
    for item in items:
        if "undefended" in getattr(item, "fixturenames", ()):
            item.add_marker("undefended")
