"""Waiting for a condition without polling."""

import asyncio
from collections.abc import Callable


class Watch:
    """Code that changes state calls :meth:`changed`; code that waits gives a condition to :meth:`until`."""

    def __init__(self) -> None:
        self._waiters: set[asyncio.Future[None]] = set()

    def changed(self) -> None:
        """Make all waiters check their conditions again. Costs nothing without waiters."""
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_result(None)

    async def until(self, condition: Callable[[], bool], timeout_s: float) -> None:
        """Wait until the condition holds.

        Raises:
            TimeoutError: If the condition does not hold in time.
        """
        async with asyncio.timeout(timeout_s):
            while not condition():
                waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
                self._waiters.add(waiter)
                try:
                    await waiter
                finally:
                    self._waiters.discard(waiter)
