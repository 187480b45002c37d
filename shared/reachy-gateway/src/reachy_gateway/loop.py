"""Runs a gateway's event loop, and ends the process when it is over."""

import asyncio
import ctypes
from collections.abc import Coroutine
from typing import Any, Final

import uvloop

TASKS_S: Final = 2.0
"""So long may take what is cancelled at the end."""


def run(main: Coroutine[Any, Any, int]) -> int:
    """Run it to its end, on uvloop: TLS and timers in C, a third less of a core for the same robots.

    A look-up of a name cannot be cancelled, and takes a minute where name servers are silent. uvloop would wait for it as it
    closes its loop, and libuv as the process ends: so the loop stays open, and the process leaves before libuv's turn, when
    everything of Python's has ended.
    """
    loop = uvloop.new_event_loop()
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(loop))  # uvloop complains of one that is freed open
    libc = ctypes.CDLL(None)
    if hasattr(libc, "on_exit"):  # glibc's
        libc.on_exit(ctypes.cast(libc._exit, ctypes.c_void_p), None)  # noqa: SLF001 - the name in C
    asyncio.set_event_loop(loop)
    return loop.run_until_complete(_alone(main))


async def _alone(main: Coroutine[Any, Any, int]) -> int:
    try:
        return await main
    finally:
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        if others:
            await asyncio.wait(others, timeout=TASKS_S)
        await asyncio.get_running_loop().shutdown_asyncgens()
