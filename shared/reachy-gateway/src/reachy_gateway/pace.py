"""The pace of a gateway with many robots: messages get longer, and messages that come within a few ms are handled together.

An event loop that wakes up for each message finds the processor's caches cold each time. The same work then takes up to three
times as long. Network cards have the same problem and the same remedy: interrupt moderation.
"""

import asyncio
import time
from collections.abc import Callable
from typing import Final

from reachy_gateway.provider.load import Load

REST_S: Final = 0.004
"""How long one rest of the event loop lasts: the most that it delays a message."""
EMPTY_S: Final = 0.0001
"""A turn of the event loop that took less time than this did nothing, or nearly nothing."""
EMPTY_TURNS: Final = 2
"""After so many empty turns in a row there is nothing left to do. A single one may only have woken a task for the next turn."""


class Pace:
    """Follows the load, and makes the event loop rest while the load is high.

    An event loop that has nothing to do rests: it sleeps, and blocks on purpose, instead of waiting for the next message. An
    event loop that always has something to do never rests.
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
        """Look at the load, once a second, on the event loop's thread. Returns true if it has become crowded or calm."""
        if not self.load.look(now, time.thread_time(), self._rested_s, robots):
            return False
        self.close()
        if self.load.crowded:
            self._handle = self._loop.call_soon(self._turn)
        return True

    def close(self) -> None:
        """Stop resting."""
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
