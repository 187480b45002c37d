"""A stream that blocks, refuses or cannot encode the text makes no caller wait."""

import fcntl
import io
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from reachy_service.spool import EXIT_S, WAITING_MAX, Spool, tell

PIPE = 4096


@pytest.fixture
def pipe():
    """A pipe of 4 KiB: its reading end, and a stream that writes to it."""
    reader, writer = os.pipe()
    fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, PIPE)
    with os.fdopen(reader, "rb", buffering=0) as read, os.fdopen(writer, "w", encoding="ascii") as write:
        yield read, write


def until(read, words: bytes) -> bytes:
    got = b""
    while words not in got:
        got += read.read(PIPE)
    return got


def test_lines_come_in_their_order(pipe):
    read, write = pipe
    out = Spool(write)
    for n in range(20):
        out.put(f"line {n}\n")
    assert out.flush()
    assert read.read(PIPE).decode().split("\n") == [*(f"line {n}" for n in range(20)), ""]
    assert out.lost == 0


def test_a_pipe_that_nobody_reads_keeps_nobody_waiting_and_what_is_lost_is_told_when_it_flows_again(pipe):
    read, write = pipe
    out = Spool(write, gap=lambda n: f"{n} lost\n")
    line = "x" * 1023 + "\n"
    for _ in range(3 * WAITING_MAX // len(line)):
        out.put(line)
    assert out.lost > WAITING_MAX // len(line)
    assert not out.flush(0.01)
    out.put("the last\n")
    lost = out.lost
    got = until(read, b"the last\n")
    told = [each for each in got.split(b"\n") if each and each.strip(b"x")]
    *gaps, last = told  # one gap, unless the writing thread was late
    assert last == b"the last"
    assert sum(int(gap.removesuffix(b" lost")) for gap in gaps) == lost
    assert len(got) <= WAITING_MAX + PIPE + 2 * len(line)


def test_one_line_that_is_longer_than_all_that_may_wait_is_written_whole(pipe):
    read, write = pipe
    out = Spool(write)
    out.put("y" * 2 * WAITING_MAX + "\n")
    assert len(until(read, b"\n")) == 2 * WAITING_MAX + 1


def test_a_pipe_that_somebody_made_non_blocking_loses_nothing(pipe):
    read, write = pipe
    os.set_blocking(write.fileno(), False)
    out = Spool(write)
    text = "".join(f"{n:07}\n" for n in range(2000))
    out.put(text)
    assert until(read, b"0001999\n").decode() == text
    assert out.lost == 0


def test_a_pipe_whose_reader_is_gone_and_a_full_disk_refuse_lines_which_are_counted(pipe):
    read, write = pipe
    read.close()
    with Path("/dev/full").open("w", encoding="utf-8") as full:
        for stream in (write, full):
            out = Spool(stream)
            for n in range(3):
                out.put(f"{n}\n")
            assert out.flush()
            assert out.lost == 3


def test_after_a_full_disk_the_rest_begins_on_a_line_of_its_own(tmp_path):
    """A file that may not grow beyond a limit accepts part of a line."""
    script = (
        "import resource, signal, sys\n"
        "from reachy_service.spool import Spool\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)\n"
        "out = Spool(sys.stderr, gap=lambda n: f'{n} lost\\n')\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (10, hard))\n"
        "out.put('first\\n'); out.put('second\\n'); out.put('third\\n'); out.flush()\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))\n"
        "out.put('fourth\\n'); out.flush()\n"
    )
    with (tmp_path / "log").open("wb") as log:
        subprocess.run([sys.executable, "-c", script], stderr=log, check=True, timeout=20)
    assert (tmp_path / "log").read_text() == "first\nseco\n2 lost\nfourth\n"


def test_what_an_encoding_lacks_is_escaped(pipe):
    read, write = pipe
    out = Spool(write)
    out.put("naïve \ud83d 한\n")
    assert out.flush()
    assert read.read(PIPE) == b"na\\xefve \\ud83d \\ud55c\n"
    text = io.StringIO()
    out = Spool(text)
    out.put("half \ud83d\n")
    assert out.flush()
    assert text.getvalue() == "half \\ud83d\n"


def test_a_line_is_cleaned_when_it_is_written_however_long_it_has_waited(pipe):
    read, write = pipe
    secrets: list[str] = []

    def clean(text: str) -> str:
        for secret in secrets:
            text = text.replace(secret, "[secret]")
        return text

    out = Spool(write, clean)
    out.put("x" * 3 * PIPE + "\n")
    out.put("the key is abc\n")
    secrets.append("abc")
    assert until(read, b"[secret]\n").endswith(b"the key is [secret]\n")


def test_with_no_stream_at_all_lines_are_counted():
    out = Spool(None)
    out.put("nowhere\n")
    assert out.flush()
    assert out.lost == 1


def test_a_stream_that_was_closed_loses_lines_and_nothing_else(pipe):
    _, write = pipe
    out = Spool(write)
    write.close()
    out.put("late\n")
    assert out.flush()
    assert out.lost == 1
    out.close()


def test_a_closed_descriptor_of_the_three_is_opened_on_nothing():
    script = (
        "import os, sys\n"
        "from reachy_service.spool import hold_standard_streams\n"
        "hold_standard_streams()\n"
        "assert os.open('/etc/hostname', os.O_RDONLY) > 2\n"
        "assert os.readlink('/proc/self/fd/2') == '/dev/null'\n"
    )
    subprocess.run(["sh", "-c", 'exec "$0" -c "$1" 2>&- 0<&-', sys.executable, script], check=True, timeout=20)


def test_what_a_program_says_at_its_end_takes_a_second_at_most(pipe):
    read, write = pipe
    began = time.monotonic()
    tell(write, "x" * 2 * PIPE)
    assert time.monotonic() - began < EXIT_S + 0.5
    assert read.read(PIPE) == b"x" * PIPE
