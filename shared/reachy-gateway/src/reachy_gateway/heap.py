"""Keeps the heap of a process that runs for months small, and keeps memory management from delaying conversations."""

import ctypes
import gc
import sys
from typing import Final

M_TRIM_THRESHOLD: Final = -1
M_MMAP_THRESHOLD: Final = -3
M_ARENA_MAX: Final = -8
"""Numbers from malloc.h; mallopt(3) describes them."""
GIVE_BACK_S: Final = 60.0
LARGE_BYTES: Final = 512 * 1024
"""A block of this size or more has pages of its own. uvloop allocates half of this at each read of a TLS connection, which is
twice for each message from Gemini. To map and return pages each time would cost 2 % of a robot's CPU time."""
SPARE_BYTES: Final = 1024 * 1024
"""How much free memory stays at the heap's end. Without it, each uvloop buffer would be returned to the system, too."""


def keep_flat() -> bool:
    """Return large blocks to the system when they are freed. Returns false if the C library is not glibc, or refuses.

    By default glibc raises the threshold to the largest block that was ever freed (32 MiB at most), and keeps twice as much
    at the heap's end. After a few messages of megabytes the process stays larger for good (16 MiB after ten minutes of ``make
    soak``). Each thread's arena keeps its own share. A gateway has four threads, and only one works: one arena is enough.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    return mallopt is not None and all(
        (
            mallopt(M_MMAP_THRESHOLD, LARGE_BYTES),
            mallopt(M_TRIM_THRESHOLD, SPARE_BYTES),
            mallopt(M_ARENA_MAX, 1),
        )
    )


def give_back() -> bool:
    """Return free pages inside the heap to the system. Returns false if there were none, or the C library is not glibc.

    A few live blocks keep a whole megabyte resident: a gateway grew by 7 MiB in ten minutes of ``make soak``. Call this every
    ``GIVE_BACK_S``. For 50 MiB of such blocks it blocks the event loop for 5 to 7 ms on a slow machine.
    """
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform == "linux" else None
    return trim is not None and bool(trim(0))


def keep_out() -> None:
    """Exempt the imported modules from garbage collection. They live as long as the process.

    Otherwise a full collection walks all of them. Fifty robots that connect at once cause one, which blocks the event loop
    for 25 to 100 ms.
    """
    gc.freeze()
