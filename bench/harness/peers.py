"""The programs that the gateway is compared with: bare loops and frameworks, each as a process on the gateway's core."""

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

from harness.gateway import GATEWAY_CORE, pinned

PROGRAMS: Final = Path(__file__).parent.parent / "peer"
VENVS: Final = Path(__file__).parent.parent.parent / ".venv-peers"
"""Directory of environments that ``make bench-peers`` makes."""
LOOPS: Final = ("sdk", "sdk+conversion", "raw")
FRAMEWORKS: Final = {"livekit-agents": "livekit_agents", "pipecat": "pipecat_ai"}
PEERS: Final = (*LOOPS, *FRAMEWORKS)
FLUSH_MAX_NS: Final = 3_000_000_000


class Peer:
    """A peer that runs."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self.pid = process.pid

    async def end(self, result: dict[str, Any]) -> None:
        """End the peer, and add what it heard to the load generator's result."""
        self._process.terminate()
        assert self._process.stdout
        told = json.loads(await self._process.stdout.readline())
        _join(result, told["heard"], told["flushed"])


def _join(result: dict[str, Any], heard: list[tuple[int, int, int, int]], flushed: list[tuple[int, int]]) -> None:
    """Add the speech that was sent within the window, and the interruptions, in the form that a gateway's robots report."""
    since, until = result["window_ns"]
    within = [(sent, at) for _, _, sent, at in heard if since <= sent < until]
    result["down_ms"] = [(at - sent) / 1e6 for sent, at in within]
    result["down_heard"] = 2 * len(within)  # a message is 40 ms; sent speech is counted in chunks of 20 ms
    for robot, turn, cut in result["cuts"]:
        silenced = [at for which, at in flushed if which == robot and cut <= at < cut + FLUSH_MAX_NS]
        old = [at for which, of, _, at in heard if (which, of) == (robot, turn) and at > cut]
        if silenced:
            result["cut_ms"].append((min(silenced) - cut) / 1e6)
            result["old_ms"].append((max(old, default=cut) - cut) / 1e6)


@asynccontextmanager
async def peer(what: str, url: str, root: Path, robots: int, *, bursts: bool = False) -> AsyncIterator[Peer]:
    """Run a peer for so many robots."""
    python = VENVS / what / "bin" / "python" if what in FRAMEWORKS else Path(sys.executable)
    program = FRAMEWORKS.get(what, "nothing" if what == "nothing" else "bare")
    command = [python, PROGRAMS / f"{program}.py", url, root, robots, "bursts" if bursts else "cycle", what]
    process = await asyncio.create_subprocess_exec(
        *pinned(GATEWAY_CORE, command),
        env=os.environ | {"SSL_CERT_FILE": str(root)},
        stdout=asyncio.subprocess.PIPE,
        limit=2**28,
    )
    try:
        yield Peer(process)
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


def version_of(what: str) -> str:
    """The installed version of a framework."""
    package = {"pipecat": "pipecat_ai"}.get(what, what.replace("-", "_"))
    found = sorted((VENVS / what / "lib").glob(f"python*/site-packages/{package}-*.dist-info"))
    return found[0].name.removeprefix(f"{package}-").removesuffix(".dist-info") if found else "not installed"
