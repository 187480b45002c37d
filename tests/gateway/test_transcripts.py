"""Transcripts on a real disk: file modes, what is lost when writing fails, and that no caller waits for the disk."""

import asyncio
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest

from reachy_gateway.provider import transcripts
from reachy_gateway.provider.transcripts import CHARS_MAX, PIECES_MAX, Transcripts
from reachy_gateway.voice import Said

AT = datetime(2026, 11, 29, 12, tzinfo=UTC)
HELLO = Said("person", "hello")


@pytest.fixture
def directory(tmp_path):
    return tmp_path / "data" / "said"


@contextmanager
def keeping(directory: Path, keep_days: int = 0, **more: float) -> Iterator[Transcripts]:
    kept = Transcripts(directory, keep_days, AT.date, **more)
    try:
        yield kept
    finally:
        kept.close()


def lines(directory: Path, name: str = "reachy-1-2026-11-29.jsonl") -> list[str]:
    return [json.loads(line)["text"] for line in (directory / name).read_text(encoding="utf-8").splitlines()]


def until(condition, timeout_s: float = 10.0) -> None:
    """Wait for the thread."""
    by = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < by
        time.sleep(0.005)


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


# --- file modes -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077])
def test_nobody_else_may_read_them_whatever_the_umask_is(directory, umask):
    before = os.umask(umask)
    try:
        with keeping(directory) as kept:
            kept.keep("reachy-1", AT, HELLO)
    finally:
        os.umask(before)
    assert (mode(directory), mode(directory / "reachy-1-2026-11-29.jsonl")) == (0o700, 0o600)


def test_what_an_older_gateway_left_open_is_closed_at_the_start(directory):
    directory.mkdir(parents=True, mode=0o755)
    old = directory / "reachy-1-2026-11-28.jsonl"
    old.write_text("{}\n")
    old.chmod(0o644)
    other = directory / "notes.txt"
    other.touch(mode=0o644)
    with keeping(directory):
        until(lambda: mode(directory) == 0o700)
    assert (mode(old), mode(other)) == (0o600, 0o644)


def test_a_file_that_was_opened_to_others_is_closed_as_it_is_written(directory):
    with keeping(directory) as kept:
        kept.keep("reachy-1", AT, HELLO)
        path = directory / "reachy-1-2026-11-29.jsonl"
        until(path.exists)
        path.chmod(0o666)
        kept.keep("reachy-1", AT, HELLO)
    assert mode(path) == 0o600
    assert lines(directory) == ["hello", "hello"]


def test_a_directory_that_many_share_stays_as_it_is(tmp_path):
    tmp_path.chmod(0o1777)
    with keeping(tmp_path) as kept:
        kept.keep("reachy-1", AT, HELLO)
    assert tmp_path.stat().st_mode & 0o7777 == 0o1777
    assert mode(tmp_path / "reachy-1-2026-11-29.jsonl") == 0o600


def test_a_link_in_a_files_place_is_not_followed(directory, tmp_path):
    directory.mkdir(parents=True)
    (tmp_path / "elsewhere").touch()
    (directory / "reachy-1-2026-11-29.jsonl").symlink_to(tmp_path / "elsewhere")
    with keeping(directory) as kept:
        kept.keep("reachy-1", AT, HELLO)
    assert kept.take_lost()[0] == {"reachy-1": 1}
    assert (tmp_path / "elsewhere").read_bytes() == b""


# --- what is in them --------------------------------------------------------------------------------------------------

WORDS = ["Grüße, 你好, 🙂", "half an emoji \ud83d", "\udc80", 'a "quote"\nand a line', "\u2028\u2029\x85", "\0"]


@pytest.mark.parametrize("text", WORDS, ids=ascii)
def test_every_text_is_kept_whatever_the_locale_is(directory, text):
    program = (
        "import sys, json; from pathlib import Path; from datetime import date, datetime, UTC\n"
        "from reachy_gateway.provider.transcripts import Transcripts; from reachy_gateway.voice import Said\n"
        "kept = Transcripts(Path(sys.argv[1]), 0, date.today)\n"
        "kept.keep('reachy-1', datetime(2026, 11, 29, tzinfo=UTC), Said('person', json.loads(sys.argv[2])))\n"
        "kept.close(); assert kept.take_lost() == ({}, ''), kept.take_lost()"
    )
    env = {"PATH": os.environ["PATH"], "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    subprocess.run([sys.executable, "-c", program, directory, json.dumps(text)], env=env, check=True, timeout=30)
    assert lines(directory) == [text]


def test_a_piece_is_kept_under_the_day_it_was_said(directory):
    with keeping(directory) as kept:
        kept.keep("reachy-1", AT.replace(hour=23), HELLO)
        kept.keep("reachy-1", AT.replace(day=30, hour=0), HELLO)
    assert sorted(path.name for path in directory.iterdir()) == ["reachy-1-2026-11-29.jsonl", "reachy-1-2026-11-30.jsonl"]


# --- a disk that does not do its part ---------------------------------------------------------------------------------


def test_a_full_disk_loses_whole_lines_and_what_fits_later_is_kept(directory):
    """A limit on the file's size cuts a line in its middle, as a full disk does."""
    program = (
        "import sys, resource; from pathlib import Path; from datetime import date, datetime, UTC\n"
        "from reachy_gateway.provider.transcripts import Transcripts; from reachy_gateway.voice import Said\n"
        "at = datetime(2026, 11, 29, tzinfo=UTC)\n"
        "def keep(n, text):\n"
        "    kept = Transcripts(Path(sys.argv[1]), 0, date.today)\n"
        "    for _ in range(n): kept.keep('reachy-1', at, Said('person', text))\n"
        "    kept.close(); return kept.take_lost()\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, resource.RLIM_INFINITY))\n"
        "lost, trouble = keep(10, 'x' * 200)\n"
        "assert lost == {'reachy-1': 7} and 'File too large' in trouble, (lost, trouble)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))\n"
        "assert keep(1, 'again') == ({}, '')"
    )
    subprocess.run([sys.executable, "-c", program, directory], check=True, timeout=30)
    assert lines(directory) == ["x" * 200] * 3 + ["again"]


def test_a_directory_that_is_gone_is_made_again(directory):
    with keeping(directory) as kept:
        kept.keep("reachy-1", AT, HELLO)
        path = directory / "reachy-1-2026-11-29.jsonl"
        until(lambda: path.exists() and path.stat().st_size)
        path.unlink()
        directory.rmdir()
        kept.keep("reachy-1", AT, HELLO)
    assert lines(directory) == ["hello"]
    assert mode(directory) == 0o700


@pytest.mark.parametrize("thing", ["a file for the directory", "a pipe for the file", "a directory for the file"])
def test_what_cannot_be_written_is_counted_by_robot_with_the_reason_until_it_can_be(directory, thing):
    path = directory / "reachy-1-2026-11-29.jsonl"
    directory.parent.mkdir()
    if thing == "a file for the directory":
        directory.write_text("in the way")
    else:
        directory.mkdir()
        os.mkfifo(path) if thing == "a pipe for the file" else path.mkdir()
    with keeping(directory) as kept:
        for _ in range(3):
            kept.keep("reachy-1", AT, HELLO)
        until(lambda: not kept._pieces and kept._trouble and sum(kept._lost.values()) == 3)
        lost, trouble = kept.take_lost()
        assert lost == {"reachy-1": 3}
        assert trouble
        directory.unlink() if thing == "a file for the directory" else path.rmdir() if path.is_dir() else path.unlink()
        kept.keep("reachy-1", AT, HELLO)
    assert kept.take_lost() == ({}, "")
    assert lines(directory) == ["hello"]


class StuckDisk(Transcripts):
    """A disk that accepts nothing until the test releases it."""

    lets_go: threading.Event

    def _write(self, piece):
        self.lets_go.wait()
        super()._write(piece)


@pytest.fixture
def stuck(directory):
    StuckDisk.lets_go = threading.Event()
    kept = StuckDisk(directory, 0, AT.date)
    yield kept
    kept.lets_go.set()
    kept.close()


@pytest.mark.parametrize(("pieces", "text"), [(PIECES_MAX, "x"), (10, "x" * (CHARS_MAX // 10))], ids=["many", "long"])
def test_a_disk_that_takes_nothing_holds_nobody_up_and_what_waits_is_bounded(stuck, directory, pieces, text):
    stuck.keep("reachy-1", AT, HELLO)
    until(lambda: not stuck._pieces)  # the piece is being written
    began = time.monotonic()
    for _ in range(pieces + 5):
        stuck.keep("reachy-1", AT, Said("person", text))
    stuck.keep("reachy-2", AT, HELLO if pieces == PIECES_MAX else Said("person", text))
    assert time.monotonic() - began < 1.0
    lost, trouble = stuck.take_lost()
    assert lost == {"reachy-1": 5, "reachy-2": 1}
    assert "too slow" in trouble
    stuck.lets_go.set()
    stuck.close()
    assert stuck.take_lost() == ({}, "")
    assert lines(directory) == ["hello", *[text] * pieces]


def test_a_gateway_that_stops_waits_for_a_stuck_disk_for_a_bounded_time_and_says_what_is_lost(stuck, caplog):
    for _ in range(3):
        stuck.keep("reachy-1", AT, HELLO)
    began = time.monotonic()
    stuck.close()
    assert time.monotonic() - began < transcripts.CLOSE_S + 1.0
    assert "are lost" in caplog.text


async def test_no_file_is_touched_by_the_event_loop(directory):
    """Python reports to its audit hooks which thread opens which file."""
    opened = []

    def hear(event, args):
        if event in ("open", "os.mkdir", "os.chmod") and str(args[0]).startswith(str(directory)):
            opened.append(threading.current_thread().name)

    sys.addaudithook(hear)
    with keeping(directory) as kept:
        kept.keep("reachy-1", AT, HELLO)
        await asyncio.to_thread(until, (directory / "reachy-1-2026-11-29.jsonl").exists)
    assert set(opened) == {"transcripts"}


# --- their age --------------------------------------------------------------------------------------------------------


def some_days(directory: Path) -> list[str]:
    directory.mkdir(parents=True)
    names = [f"reachy-1-2026-{day}.jsonl" for day in ("01-01", "10-29", "10-30", "11-29", "12-31")]
    for name in [*names, "reachy-1-2026-02-31.jsonl", "2020-01-01.jsonl", "notes-2020-01-01.txt"]:
        (directory / name).touch()
    return names


@pytest.mark.parametrize(("keep_days", "left"), [(0, 5), (30, 3), (1, 2), (400, 5)])
def test_files_of_days_that_are_too_long_ago_are_deleted_and_no_others(directory, keep_days, left):
    names = some_days(directory)
    with keeping(directory, keep_days) as kept:
        kept.sweep()
    there = {path.name for path in directory.iterdir()}
    assert there >= {"reachy-1-2026-02-31.jsonl", "2020-01-01.jsonl", "notes-2020-01-01.txt"}
    assert [name for name in names if name in there] == names[-left:]


def test_they_are_deleted_by_themselves_once_the_clock_may_be_trusted(directory, caplog):
    names = some_days(directory)
    caplog.set_level("INFO", "reachy_gateway")
    with keeping(directory, 30, sweep_first_s=0.05):
        until(lambda: not (directory / names[1]).exists())
    assert "2 transcripts from before 2026-10-30 are deleted" in caplog.text
    with keeping(directory, 1) as kept:
        kept.keep("reachy-1", AT, HELLO)
    assert (directory / names[2]).exists(), "a gateway that has just begun deletes nothing"
