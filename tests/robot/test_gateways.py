"""The file of the gateways that a robot was told of."""

import os
import stat
import threading
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from reachy_link.address import Address
from robot_io import gateways
from robot_io.gateways import KEPT_MAX, READ_MAX_BYTES, Keeper, read

A, B = Address("10.0.0.1", 5557, 5558), Address("[fd00::1]")


def written() -> None:
    """Wait for the threads that write."""
    for thread in threading.enumerate():
        if thread.name == "gateways file":
            thread.join(5.0)


def keep(path: Path, *addresses: Address) -> Keeper:
    keeper = Keeper(path)
    keeper.keep(addresses)
    written()
    return keeper


def test_what_was_kept_is_read_and_its_folder_made(tmp_path, caplog):
    path = tmp_path / "share" / "reachy-link" / "gateways"
    keep(path, A, B, Address("box.lab"))
    assert path.read_text() == "10.0.0.1:5557+5558\n[fd00::1]:5555+5556\nbox.lab:5555+5556\n"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert read(path) == [A, B, Address("box.lab")]
    assert [each.name for each in path.parent.iterdir()] == ["gateways"]
    assert caplog.text == ""


def test_a_file_that_is_not_there_is_no_trouble(tmp_path, caplog):
    assert read(tmp_path / "gateways") == []
    assert read(tmp_path / "nowhere" / "gateways") == []
    assert caplog.text == ""


DAMAGED = {
    "half a line": (b"10.0.0.1:5557+5558\n10.0.0.", [A]),
    "an editor's": (b"\xef\xbb\xbf10.0.0.1:5557+5558\r\n\r\n [fd00::1] \r\n", [A, B]),
    "words": (b"# gateways\n10.0.0.1:5557+5558\nthe other one\n", [A]),
    "binary": (bytes(range(256)) * 8, []),
    "UTF-16": ("10.0.0.1:5557+5558\n".encode("utf-16"), []),
    "zeros": (b"\0" * 4096, []),
    "twice": (b"10.0.0.1:5557+5558\n" * 2, [A]),
    "huge": (b"10.0.0.1:5557+5558\n" + b"x" * READ_MAX_BYTES * 100, [A]),
}


@pytest.mark.parametrize("kind", DAMAGED)
def test_what_is_damaged_is_left_out_and_told_in_one_line_at_most(tmp_path, caplog, kind):
    path = tmp_path / "gateways"
    path.write_bytes(DAMAGED[kind][0])
    assert read(path) == DAMAGED[kind][1]
    assert len(caplog.records) == (kind != "an editor's")
    assert caplog.text.count("\n") == len(caplog.records)


def test_of_very_many_addresses_as_many_are_read_as_would_be_kept(tmp_path, caplog):
    path = tmp_path / "gateways"
    path.write_text("".join(f"10.{n // 250}.{n % 250}.1\n" for n in range(10_000)))
    assert len(read(path)) == KEPT_MAX
    assert len(caplog.records) == 1


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=300))
def test_whatever_bytes_are_in_the_file_the_robot_starts(tmp_path, data):
    path = tmp_path / "gateways"
    path.write_bytes(data)
    assert all(isinstance(address, Address) for address in read(path))


@pytest.mark.parametrize("kind", ["a folder", "a pipe", "a device", "a folder in the way"])
def test_what_is_no_file_is_neither_waited_for_nor_replaced(tmp_path, caplog, kind):
    path = tmp_path / "gateways"
    match kind:
        case "a folder":
            path.mkdir()
        case "a pipe":
            os.mkfifo(path)
        case "a device":
            path.symlink_to("/dev/zero")
        case "a folder in the way":
            path.write_text("")
            path /= "gateways"
    before = sorted(tmp_path.iterdir())
    assert read(path) == []
    keep(path, A).keep([B])
    written()
    assert sorted(tmp_path.iterdir()) == before
    assert caplog.text.count("cannot be written") == 1, "said once"


def test_the_robot_goes_on_while_a_card_takes_its_time_and_what_is_newest_is_written(tmp_path, monkeypatch):
    path, begun, goes_on, texts = tmp_path / "gateways", threading.Event(), threading.Event(), []
    write = gateways.write

    def slowly(where: Path, text: str, mode: int) -> None:
        texts.append(text)
        begun.set()
        assert goes_on.wait(5.0)
        write(where, text, mode)

    monkeypatch.setattr(gateways, "write", slowly)
    keeper = Keeper(path)
    keeper.keep([A])
    assert begun.wait(5.0)
    for n in range(100):
        keeper.keep([Address(f"10.0.1.{n}")])
    goes_on.set()
    written()
    assert texts == ["10.0.0.1:5557+5558\n", "10.0.1.99:5555+5556\n"]
    assert path.read_text() == texts[-1]


def test_where_there_is_no_room_for_a_thread_nothing_is_written_and_the_robot_goes_on(tmp_path, monkeypatch, caplog):
    def start(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", start)
        keeper = Keeper(tmp_path / "gateways")
        keeper.keep([A])
    assert "can't start new thread" in caplog.text
    keeper.keep([B])
    written()
    assert read(tmp_path / "gateways") == [B]
