"""The C library's heap, kept from holding what nobody uses: a gateway runs for months, and its memory is to stay flat."""

import ctypes
import sys
from typing import Final

M_MMAP_THRESHOLD: Final = -3
M_ARENA_MAX: Final = -8
"""Both from malloc.h; mallopt(3) describes them."""
LARGE_BYTES: Final = 128 * 1024
"""From this size on a block has pages of its own. glibc's first value; chunks of audio are a tenth of it and less."""


def keep_flat() -> bool:
    """Give large blocks back when they are freed; false where the C library is not glibc and decides by itself.

    glibc otherwise raises the threshold to the largest block that was ever freed (32 MiB at most) and keeps twice as much of
    the heap's end: some messages of megabytes, and the process stays larger for good (16 MiB after ten minutes of ``make
    soak``). An arena for each thread, of which a gateway has four and only one works, keeps its own share of that.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    return mallopt is not None and bool(mallopt(M_MMAP_THRESHOLD, LARGE_BYTES) and mallopt(M_ARENA_MAX, 1))
