"""Memory that is no longer used goes back to the operating system."""

import subprocess
import sys

import pytest

LARGE_MIB = 64
PROGRAM = f"""
import resource
import sys
from pathlib import Path
from reachy_gateway import heap

def rss_mib():
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() / 2**20

if sys.argv[1] == "flat":
    assert heap.keep_flat()
before = rss_mib()
first = b"x" * (8 << 20)
del first  # glibc takes it for the size of things to come
size, count = (1 << 16, 16) if sys.argv[1] == "given back" else (1 << 20, 1)
large, small = [], []
for _ in range({LARGE_MIB}):
    large.append([b"x" * size for _ in range(count)])
    small.append(b"x" * 50_000)  # what stays keeps the heap from shrinking
large.clear()
with_free_pages = rss_mib()
if sys.argv[1] == "given back":
    assert with_free_pages - before > {LARGE_MIB} / 2
    assert heap.give_back()
print(rss_mib() - before)
"""


def kept_mib(how: str) -> float:
    """How much memory a process keeps after it freed 64 MiB."""
    done = subprocess.run([sys.executable, "-c", PROGRAM, how], capture_output=True, text=True, check=True, timeout=60)
    return float(done.stdout)


@pytest.mark.skipif(sys.platform != "linux", reason="glibc's heap")
def test_large_blocks_go_back_to_the_system() -> None:
    """And without the setting they do not. If they did, the module could go."""
    assert kept_mib("flat") < LARGE_MIB / 8
    assert kept_mib("as it is") > LARGE_MIB / 2


@pytest.mark.skipif(sys.platform != "linux", reason="glibc's heap")
def test_free_pages_between_what_stays_go_back_too() -> None:
    """The program itself checks that they are not returned by themselves."""
    assert kept_mib("given back") < LARGE_MIB / 8
