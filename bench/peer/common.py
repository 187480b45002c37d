"""What every peer's program does: push a microphone chunk every 20 ms, and note what the peer put out and when.

Runs in the peer's own environment, with numpy alone. Ends at SIGTERM, and then prints its notes as one line of JSON.
"""

import asyncio
import gc
import itertools
import json
import os
import signal
import sys
import time
from collections import deque
from collections.abc import Awaitable, Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))
from stamps import mark_of, stamped

CHUNK_S = 0.02
Push = Callable[[bytes], Awaitable[None] | None]


class Ears:
    """The peer's output: robot, turn, when it was sent and when it came out (ns); and when which robot was silenced."""

    def __init__(self) -> None:
        self.heard: list[tuple[int, int, int, int]] = []
        self.flushed: list[tuple[int, int]] = []

    def hear(self, pcm: bytes) -> None:
        """Note audio that came out."""
        if (mark := mark_of(pcm)) is not None:
            self.heard.append((*mark, time.monotonic_ns()))

    def flush(self, robot: int) -> None:
        """Note that a robot was silenced."""
        self.flushed.append((robot, time.monotonic_ns()))

    def tell(self) -> None:
        """Print all notes, and end the process."""
        print(json.dumps({"heard": self.heard, "flushed": self.flushed}), flush=True)
        os._exit(0)


class Speaker:
    """Plays bursts at the speaker's pace, and can be cleared. In a peer this is its transport's part."""

    def __init__(self, ears: Ears) -> None:
        self._ears = ears
        self._waiting: deque[bytes] = deque()
        self._more = asyncio.Event()
        self._task = asyncio.create_task(self._play())

    def put(self, pcm: bytes) -> None:
        """Queue audio."""
        self._waiting.append(pcm)
        self._more.set()

    def clear(self) -> None:
        """Drop the queued audio."""
        self._waiting.clear()

    async def _play(self) -> None:
        due = 0.0
        while True:
            while not self._waiting:
                self._more.clear()
                await self._more.wait()
            pcm = self._waiting.popleft()
            self._ears.hear(pcm)
            due = max(due, time.monotonic()) + len(pcm) / 48000
            await asyncio.sleep(max(0.0, due - time.monotonic()))


async def microphone(robot: int, robots: int, began: float, push: Push) -> None:
    """Push 20 ms every 20 ms, stamped with the time when they were due. Each robot starts at its own moment."""
    for n in itertools.count():
        due = began + CHUNK_S * (n + robot / robots)
        await asyncio.sleep(max(0.0, due - time.monotonic()))
        if (pushed := push(stamped(robot, int(due * 1e6)))) is not None:
            await pushed


async def run(connect: Callable[[int, Ears], Awaitable[Push]], robots: int) -> None:
    """Connect so many robots, and let them talk until SIGTERM."""
    ears = Ears()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ears.tell)
    pushes = [await connect(robot, ears) for robot in range(robots)]
    gc.freeze()
    began = time.monotonic() + 0.1
    await asyncio.gather(*(microphone(robot, robots, began, push) for robot, push in enumerate(pushes)))
