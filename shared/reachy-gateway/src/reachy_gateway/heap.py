"""The heap of a process that runs for months: kept flat, and out of the way of conversations."""

import ctypes
import gc
import sys
from typing import Final

M_TRIM_THRESHOLD: Final = -1
M_MMAP_THRESHOLD: Final = -3
M_ARENA_MAX: Final = -8
"""From malloc.h; mallopt(3) describes them."""
GIVE_BACK_S: Final = 60.0
LARGE_BYTES: Final = 512 * 1024
"""From this size on a block has pages of its own. uvloop takes half of that for each look at a TLS connection, twice for each
message of Gemini's: pages that are mapped and given back each time cost 2 % of what a robot does."""
SPARE_BYTES: Final = 1024 * 1024
"""So much of the heap's end is kept when it is free; else each such block would be given back, too."""


def keep_flat() -> bool:
    """Give large blocks back when they are freed; false where the C library is not glibc and decides by itself.

    glibc otherwise raises the threshold to the largest block that was ever freed (32 MiB at most) and keeps twice as much of
    the heap's end: some messages of megabytes, and the process stays larger for good (16 MiB after ten minutes of ``make
    soak``). An arena for each thread, of which a gateway has four and only one works, keeps its own share of that.
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
    """Give free pages in the middle of the heap back, too; false where there was none, or the C library is not glibc.

    Few of a megabyte's blocks that stay keep all of it: a gateway grew by 7 MiB in ten minutes of ``make soak``. To be called
    every ``GIVE_BACK_S``: of 50 MiB of such blocks it takes 5 to 7 ms on a slow machine, in which nobody is heard.
    """
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform == "linux" else None
    return trim is not None and bool(trim(0))


def keep_out() -> None:
    """Keep the garbage collector from what was imported, which lives as long as the process.

    Else a full collection, as fifty robots cause that come at once, walks all of it: 25 to 100 ms in which nobody is heard.
    """
    gc.freeze()
