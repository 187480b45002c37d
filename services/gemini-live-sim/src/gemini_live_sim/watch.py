"""Waiting for something to have happened, without asking again and again."""

import asyncio
from collections.abc import Callable


class Watch:
    """Whoever changes something calls :meth:`changed`; whoever waits gives a condition."""

    def __init__(self) -> None:
        self._waiters: set[asyncio.Future[None]] = set()

    def changed(self) -> None:
        """Let all who wait look again. Costs nothing while nobody waits."""
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_result(None)

    async def until(self, condition: Callable[[], bool], timeout_s: float) -> None:
        """Wait until the condition holds.

        Raises:
            TimeoutError: If it does not in time.
        """
        async with asyncio.timeout(timeout_s):
            while not condition():
                waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
                self._waiters.add(waiter)
                try:
                    await waiter
                finally:
                    self._waiters.discard(waiter)
