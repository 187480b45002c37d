"""A timed wait that can be cut short."""

import asyncio


class Alarm:
    """An alarm for one waiting task. A ring without a waiter is not lost: the next wait returns at once."""

    def __init__(self) -> None:
        self._waiter: asyncio.Future[None] | None = None
        self._rung = False
        self._due: float | None = None

    async def wait(self, due: float | None) -> None:
        """Wait until ``due`` on the loop's clock (None: without limit), or until :meth:`ring`."""
        loop = asyncio.get_running_loop()
        if self._rung:
            self._rung = False
            return
        self._waiter = waiter = loop.create_future()
        self._due = due
        timer = loop.call_at(due, _wake, waiter) if due is not None else None
        try:
            await waiter
        finally:
            self._waiter = None
            self._rung = False
            if timer is not None:
                timer.cancel()

    def ring(self, due: float | None = None) -> None:
        """Wake the waiter. With ``due``, wake it only if it would otherwise sleep longer than until ``due``."""
        if due is not None and self._waiter is not None and self._due is not None and self._due <= due:
            return
        self._rung = True
        if self._waiter is not None:
            _wake(self._waiter)


def _wake(waiter: asyncio.Future[None]) -> None:
    if not waiter.done():
        waiter.set_result(None)
