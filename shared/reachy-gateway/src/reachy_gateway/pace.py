"""The pace of a gateway with many robots: longer messages, and what comes within a few ms is handled together.

An event loop that wakes up for each message finds the processor's caches cold each time, and the same work takes up to three
times as long. Network cards have the same trouble, and the same remedy: interrupt moderation.
"""

import asyncio
import time
from collections.abc import Callable
from typing import Final

from reachy_gateway.provider.load import Load

REST_S: Final = 0.004
"""So much later at most something is handled."""
EMPTY_S: Final = 0.0001
"""A turn of the event loop that took less time than that did nothing, or nearly."""
EMPTY_TURNS: Final = 2
"""After so many in a row nothing is left to do. One may have been what wakes up a task, which runs in the next."""


class Pace:
    """Follows the load, and has the event loop rest while there is much of it.

    It rests, and blocks on purpose, whenever it has nothing to do, in place of waiting for the next message. An event loop that
    always has something to do never rests.
    """

    def __init__(
        self, load: Load, clock: Callable[[], float] = time.monotonic, sleep: Callable[[float], None] = time.sleep
    ) -> None:
        self.load = load
        self._clock = clock
        self._sleep = sleep
        self._loop = asyncio.get_running_loop()
        self._handle: asyncio.Handle | None = None
        self._last = 0.0
        self._empty = 0
        self._rested_s = 0.0

    def look(self, now: float, robots: int) -> bool:
        """Look at the load, once a second, on the event loop's thread; true if it has become crowded, or is so no more."""
        if not self.load.look(now, time.thread_time(), self._rested_s, robots):
            return False
        self.close()
        if self.load.crowded:
            self._handle = self._loop.call_soon(self._turn)
        return True

    def close(self) -> None:
        """Rest no more."""
        if self._handle:
            self._handle.cancel()

    def _turn(self) -> None:
        now = self._clock()
        self._empty = self._empty + 1 if now - self._last < EMPTY_S else 0
        if self._empty >= EMPTY_TURNS:
            self._empty = 0
            self._sleep(REST_S)
            self._rested_s += REST_S
            now = self._clock()
        self._last = now
        self._handle = self._loop.call_soon(self._turn)
