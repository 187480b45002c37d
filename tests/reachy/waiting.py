"""Waits for what threads and other programs do."""

import asyncio
from collections.abc import Callable


async def until(condition: Callable[[], object], timeout_s: float) -> None:
    """Wait for a condition that no event announces.

    Raises:
        TimeoutError: If the condition does not come true.
    """
    async with asyncio.timeout(timeout_s):
        while not condition():
            await asyncio.sleep(0.01)
