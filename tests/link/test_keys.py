import os
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import zmq
from hypothesis import given
from hypothesis import strategies as st

from reachy_link import keys
from reachy_link.keys import (
    KINDS,
    RACY_NS,
    Keyring,
    KeysError,
    checked_public,
    checked_robot_id,
    load_pair,
    load_robot,
    make_pair,
)

MAKE = "reachy-keys gateway"


def new_public() -> str:
    return zmq.curve_keypair()[0].decode()


def robot_dir(tmp_path: Path, robot: str = "reachy-1") -> Path:
    """A robot's keys directory with all its files."""
    make_pair(tmp_path / "robot")
    keys.write(tmp_path / "robot" / "robot-id", f"{robot}\n")
    keys.write(tmp_path / "robot" / "gateway.pub", new_public() + "\n")
    return tmp_path / "robot"


# --- our own pair -----------------------------------------------------------------------------------------------------


def test_a_pair_that_was_made_is_the_pair_that_is_loaded(tmp_path):
    made = make_pair(tmp_path / "new" / "dir")
    assert load_pair(tmp_path / "new" / "dir", MAKE) == made
    assert (tmp_path / "new" / "dir" / "self.pub").read_text().strip().encode() == made.public
    assert zmq.curve_public(made.secret) == made.public


def test_a_secret_key_is_readable_by_its_owner_alone(tmp_path):
    make_pair(tmp_path)
    assert (tmp_path / "self.key").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("place", [".", "admitted", "operators", "viewers"])
def test_a_directory_in_which_others_could_put_keys_is_refused_with_the_remedy(tmp_path, place):
    make_pair(tmp_path)
    for folder in KINDS:
        Keyring(tmp_path, folder=folder).admit("reachy-1", zmq.curve_keypair()[0].decode())
    for mode in (0o777, 0o775, 0o770, 0o707, 0o730):
        (tmp_path / place).chmod(mode)
        with pytest.raises(KeysError, match=rf"mode {mode:03o}.*chmod go-w .*{place if place != '.' else tmp_path.name}"):
            load_pair(tmp_path, "make")
    for mode in (0o755, 0o700, 0o3777):  # Kubernetes sets the sticky bit: no user can replace another's file
        (tmp_path / place).chmod(mode)
        load_pair(tmp_path, "make")


@pytest.mark.parametrize("mode", [0o666, 0o664, 0o646, 0o620])
@pytest.mark.parametrize("name", ["gateway.pub", "robot-id"])
def test_a_file_that_others_can_write_makes_nobody_of_a_robot(tmp_path, name, mode):
    """A user who can write this file chooses the gateway that the robot trusts."""
    directory = robot_dir(tmp_path)
    (directory / name).chmod(mode)
    with pytest.raises(KeysError, match=rf"{name} has mode {mode:03o}, so others can change it: chmod go-w .*{name}"):
        load_robot(directory)
    (directory / name).chmod(0o644)
    load_robot(directory)


@pytest.mark.parametrize("mode", [0o666, 0o664])
def test_a_file_that_others_can_write_admits_nobody(tmp_path, mode):
    ring = Keyring(tmp_path)
    ring.admit("reachy-1", new_public())
    ring.admit("reachy-2", new_public())
    path = tmp_path / "admitted" / "reachy-1.pub"
    path.chmod(mode)
    ring.reload()
    assert list(ring.robots) == ["reachy-2"]
    assert ring.problems == [f"{path} has mode {mode:03o}, so others can change it: chmod go-w {path}"]


def test_what_is_made_here_is_taken_here_whatever_the_umask(tmp_path):
    for n, umask in enumerate((0o000, 0o002, 0o022, 0o077)):
        before = os.umask(umask)
        try:
            directory, public = tmp_path / f"gateway-{n}" / "deeper", new_public()
            Keyring(directory).admit("reachy-1", public)
            make_pair(directory)
            identity = robot_dir(tmp_path / f"robot-{n}")
        finally:
            os.umask(before)
        assert load_pair(directory, MAKE)
        assert load_robot(identity)
        assert Keyring(directory).robot_of(public) == "reachy-1"


def test_a_new_directory_of_keys_is_its_owners_alone(tmp_path):
    make_pair(tmp_path / "new")
    assert (tmp_path / "new").stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o644, 0o777])
def test_a_secret_key_that_others_can_read_is_refused_with_the_remedy(tmp_path, mode):
    make_pair(tmp_path)
    (tmp_path / "self.key").chmod(mode)
    with pytest.raises(KeysError, match=rf"mode {mode:03o}.*chmod 600 .*self\.key"):
        load_pair(tmp_path, MAKE)


def test_a_key_is_never_overwritten(tmp_path):
    make_pair(tmp_path)
    before = (tmp_path / "self.key").read_text()
    with pytest.raises(KeysError, match="exists"):
        make_pair(tmp_path)
    assert (tmp_path / "self.key").read_text() == before


def test_a_missing_key_is_told_with_the_command_that_makes_one(tmp_path):
    with pytest.raises(KeysError, match=r"self\.key is missing; make one with: reachy-keys gateway"):
        load_pair(tmp_path, MAKE)


@pytest.mark.parametrize(
    "content", [b"", b"short", b"x" * 41, b"\xff\xfe" * 20, b'"' * 40, "ü".encode() * 20], ids=lambda content: repr(content[:8])
)
def test_a_damaged_secret_key_is_told_in_words(tmp_path, content):
    make_pair(tmp_path)
    (tmp_path / "self.key").write_bytes(content)
    with pytest.raises(KeysError, match=r"self\.key (holds no secret key|cannot be read).*reachy-keys gateway"):
        load_pair(tmp_path, MAKE)


def test_a_secret_never_shows_in_a_repr(tmp_path):
    pair = make_pair(tmp_path)
    assert pair.secret.decode() not in repr(pair)
    assert pair.public.decode() in repr(pair)


def test_a_file_is_written_whole_or_not_at_all(tmp_path):
    path = tmp_path / "file"
    keys.write(path, "old")
    with pytest.raises(UnicodeEncodeError):
        keys.write(path, "half of it \ud800")
    assert path.read_text() == "old"
    keys.write(path, "new")
    assert path.read_text() == "new"
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]


# --- a robot's identity -----------------------------------------------------------------------------------------------


def test_a_robot_knows_who_it_is_and_whom_it_trusts(tmp_path):
    directory = robot_dir(tmp_path)
    identity = load_robot(directory)
    assert identity.robot == "reachy-1"
    assert identity.keys == load_pair(directory, MAKE)
    assert identity.gateway_public.decode() == (directory / "gateway.pub").read_text().strip()


@pytest.mark.parametrize(
    ("name", "remedy"), [("self.key", "robot ID"), ("robot-id", "robot ID"), ("gateway.pub", "trust GATEWAY_KEY")]
)
def test_what_a_robot_lacks_is_told_with_the_command_that_makes_it(tmp_path, name, remedy):
    directory = robot_dir(tmp_path)
    (directory / name).unlink()
    with pytest.raises(KeysError) as caught:
        load_robot(directory)
    assert f"{name} is missing" in str(caught.value)
    assert f"reachy-keys --dir {directory} {remedy}" in str(caught.value)


@pytest.mark.parametrize(("name", "content"), [("robot-id", "Reachy One"), ("robot-id", ""), ("gateway.pub", "not a key")])
def test_what_is_damaged_at_a_robot_is_named(tmp_path, name, content):
    directory = robot_dir(tmp_path)
    (directory / name).write_text(content)
    with pytest.raises(KeysError, match=name):
        load_robot(directory)


# --- keys and names from people ---------------------------------------------------------------------------------------


@given(text=st.text(max_size=50) | st.text(st.characters(max_codepoint=127), min_size=40, max_size=40))
def test_whatever_is_given_as_a_public_key_is_one_or_is_refused(text):
    try:
        key = checked_public(text, "here")
    except KeysError as error:
        assert str(error).startswith("here: ")  # noqa: PT017 - both outcomes are right
    else:
        assert zmq.utils.z85.decode(key)
        assert key.decode() == text.strip()


def test_a_public_key_may_have_a_newline_around_it():
    public = new_public()
    assert checked_public(f" {public}\n", "here") == public.encode()


@pytest.mark.parametrize("text", ["", "Reachy", "reachy_1", "-r", "a/b", "../x", "r" * 64, "a b"])
def test_what_cannot_name_a_robot_is_refused_with_what_can(text):
    with pytest.raises(KeysError, match=r"robot id: .*a-z, 0-9 and hyphens"):
        checked_robot_id(text, "robot id")


# --- who is admitted --------------------------------------------------------------------------------------------------


def test_an_admitted_key_stands_for_its_robot(tmp_path):
    ring = Keyring(tmp_path)
    one, two, stranger = new_public(), new_public(), new_public()
    assert ring.admit("reachy-1", one)
    assert ring.admit("reachy-2", two)
    assert (ring.robot_of(one), ring.robot_of(two), ring.robot_of(stranger)) == ("reachy-1", "reachy-2", None)
    assert ring.robots == {"reachy-1": [one], "reachy-2": [two]}
    assert Keyring(tmp_path).robots == ring.robots, "it was written"


def test_admitting_twice_changes_nothing(tmp_path):
    ring = Keyring(tmp_path)
    public = new_public()
    assert ring.admit("reachy-1", public)
    assert not ring.admit("reachy-1", public)
    assert ring.robots == {"reachy-1": [public]}


def test_while_a_key_is_rotated_both_stand_for_the_robot(tmp_path):
    ring = Keyring(tmp_path)
    old, new = new_public(), new_public()
    ring.admit("reachy-1", old)
    ring.admit("reachy-1", new)
    assert ring.robot_of(old) == ring.robot_of(new) == "reachy-1"
    assert ring.revoke("reachy-1", old) == 1
    assert (ring.robot_of(old), ring.robot_of(new)) == (None, "reachy-1")


def test_revoking_a_robot_revokes_all_its_keys_and_nobody_elses(tmp_path):
    ring = Keyring(tmp_path)
    mine, also_mine, other = new_public(), new_public(), new_public()
    ring.admit("reachy-1", mine)
    ring.admit("reachy-1", also_mine)
    ring.admit("reachy-2", other)
    assert ring.revoke("reachy-1") == 2
    assert ring.robots == Keyring(tmp_path).robots == {"reachy-2": [other]}


def test_one_key_cannot_stand_for_two_robots(tmp_path):
    ring = Keyring(tmp_path)
    public = new_public()
    ring.admit("reachy-1", public)
    with pytest.raises(KeysError, match="admitted as reachy-1 already"):
        ring.admit("reachy-2", public)
    assert ring.robot_of(public) == "reachy-1"


def test_one_key_in_two_files_is_a_problem_in_words_and_never_changes_hands(tmp_path):
    ring = Keyring(tmp_path)
    public = new_public()
    ring.admit("reachy-1", public)
    (tmp_path / "admitted" / "reachy-2.pub").write_text(public)
    ring.reload()
    (problem,) = ring.problems
    assert "reachy-2.pub" in problem
    assert "already admitted as reachy-1" in problem
    assert ring.robot_of(public) == "reachy-1"


@pytest.mark.parametrize("robot", ["reachy-1", "nobody"])
def test_what_is_not_admitted_cannot_be_revoked(tmp_path, robot):
    ring = Keyring(tmp_path)
    ring.admit("reachy-1", new_public())
    with pytest.raises(KeysError, match="no such key admitted"):
        ring.revoke(robot, new_public())
    assert list(ring.robots) == ["reachy-1"]


@pytest.mark.parametrize(("robot", "public"), [("Bad Name", None), ("../../reachy-1", None), ("reachy-1", "no key")])
def test_what_is_no_name_or_no_key_is_never_written(tmp_path, robot, public):
    with pytest.raises(KeysError):
        Keyring(tmp_path).admit(robot, public or new_public())
    assert list(tmp_path.iterdir()) == []


# --- following the directory ------------------------------------------------------------------------------------------


def settle(path: Path) -> None:
    """Give a directory a time stamp that will differ from the next change's."""
    os.utime(path, ns=(time.time_ns(), time.time_ns() - 10**9))


def test_a_key_admitted_by_another_process_is_seen_without_a_restart(tmp_path):
    Keyring(tmp_path).admit("reachy-1", new_public())
    settle(tmp_path / "admitted")
    ring = Keyring(tmp_path)
    assert not ring.refresh(), "nothing has changed"
    public = new_public()
    Keyring(tmp_path).admit("reachy-2", public)
    assert ring.robot_of(public) is None
    assert ring.refresh()
    assert ring.robot_of(public) == "reachy-2"
    assert not ring.refresh()


@pytest.mark.parametrize("whole", [True, False], ids=["the robot", "one of two keys"])
def test_a_key_revoked_by_another_process_is_gone_at_the_next_look(tmp_path, whole):
    old, new = new_public(), new_public()
    for public in (old, new):
        Keyring(tmp_path).admit("reachy-1", public)
    settle(tmp_path / "admitted")
    ring = Keyring(tmp_path)
    Keyring(tmp_path).revoke("reachy-1", None if whole else old)
    assert ring.refresh()
    assert ring.robot_of(old) is None
    assert ring.robot_of(new) == (None if whole else "reachy-1")


def test_a_directory_that_appears_or_vanishes_is_followed(tmp_path):
    ring = Keyring(tmp_path)
    assert not ring.refresh()
    public = new_public()
    Keyring(tmp_path).admit("reachy-1", public)
    assert ring.refresh()
    assert ring.robot_of(public) == "reachy-1"
    (tmp_path / "admitted" / "reachy-1.pub").unlink()
    (tmp_path / "admitted").rmdir()
    assert ring.refresh()
    assert ring.robots == {}


def test_a_file_edited_in_place_is_seen_at_a_reload(tmp_path):
    ring = Keyring(tmp_path)
    ring.admit("reachy-1", new_public())
    public = new_public()
    with (tmp_path / "admitted" / "reachy-1.pub").open("a") as file:
        file.write(f"\n  {public}  \n\n")
    ring.reload()
    assert ring.robot_of(public) == "reachy-1"
    assert ring.problems == []


@pytest.mark.parametrize("content", [b"not a key\n", b"\xff\xfe\x00", b"x" * 41])
def test_a_damaged_file_is_named_with_its_line_and_the_others_count(tmp_path, content):
    ring = Keyring(tmp_path)
    good = new_public()
    ring.admit("reachy-2", good)
    (tmp_path / "admitted" / "reachy-1.pub").write_bytes(content)
    ring.reload()
    (problem,) = ring.problems
    assert "reachy-1.pub" in problem
    assert ring.robots == {"reachy-2": [good]}
    (tmp_path / "admitted" / "reachy-1.pub").unlink()
    ring.reload()
    assert ring.problems == []


def test_a_directory_that_cannot_be_read_loses_nobody(tmp_path):
    ring = Keyring(tmp_path)
    public = new_public()
    ring.admit("reachy-1", public)
    (tmp_path / "admitted").rename(tmp_path / "elsewhere")
    (tmp_path / "admitted").write_text("no directory")
    assert ring.refresh()
    assert ring.robot_of(public) == "reachy-1"
    (problem,) = ring.problems
    assert "cannot be read" in problem


def test_a_file_that_names_no_robot_is_a_problem_in_words(tmp_path):
    ring = Keyring(tmp_path)
    ring.admit("reachy-1", new_public())
    (tmp_path / "admitted" / "My Robot.pub").write_text(new_public())
    (tmp_path / "admitted" / "README.txt").write_text("not a key file")
    ring.reload()
    (problem,) = ring.problems
    assert "My Robot" in problem
    assert list(ring.robots) == ["reachy-1"]


class Opened:
    """Counts the files that are opened below a directory, which Python reports to its audit hooks."""

    def __init__(self) -> None:
        self.below: str | None = None
        self.paths: list[str] = []
        sys.addaudithook(self._hear)

    def _hear(self, event: str, args: tuple[object, ...]) -> None:
        if self.below and event == "open" and str(args[0]).startswith(self.below):
            self.paths.append(Path(str(args[0])).name)

    def by(self, directory: Path, what: Callable[[], object]) -> list[str]:
        """The files that are opened meanwhile."""
        self.below, self.paths = str(directory), []
        what()
        self.below = None
        return sorted(set(self.paths))


OPENED = Opened()


def long_after() -> int:
    """A clock that is ahead, so that a file just written looks old."""
    return time.time_ns() + 2 * RACY_NS


def test_only_files_that_changed_are_read_again(tmp_path):
    admitted = tmp_path / "admitted"
    admitted.mkdir()
    for number in range(50):
        (admitted / f"reachy-{number}.pub").write_text(new_public())
    ring = Keyring(tmp_path, long_after)
    assert OPENED.by(admitted, ring.reload) == []
    changes = ring.changes
    public = new_public()
    (admitted / "reachy-7.pub").write_text(public)
    (admitted / "reachy-8.pub").unlink()
    (admitted / "new.pub").write_text(new_public())
    assert OPENED.by(admitted, ring.reload) == ["new.pub", "reachy-7.pub"]
    assert ring.robot_of(public) == "reachy-7"
    assert not ring.admits("reachy-8")
    assert ring.admits("new")
    assert ring.changes == changes + 1


@pytest.mark.parametrize("how", ["in place", "replaced"])
def test_a_change_that_keeps_the_size_and_the_time_of_a_file_is_seen(tmp_path, how):
    """As by a tool that copies files with their times: the earlier key is revoked."""
    old, new = new_public(), new_public()
    ring = Keyring(tmp_path, long_after)
    ring.admit("reachy-1", old)
    path = tmp_path / "admitted" / "reachy-1.pub"
    was = path.stat()
    target = path if how == "in place" else path.with_suffix(".new")
    target.write_text(f"{new}\n")
    os.utime(target, ns=(was.st_atime_ns, was.st_mtime_ns))
    target.replace(path)
    assert (path.stat().st_mtime_ns, path.stat().st_size) == (was.st_mtime_ns, was.st_size)
    ring.reload()
    assert (ring.robot_of(old), ring.robot_of(new)) == (None, "reachy-1")


def test_a_file_that_was_read_as_it_was_written_is_read_once_more(tmp_path):
    """The file system's clock ticks every few milliseconds or seconds: two changes within a tick leave the same stamp."""
    ring = Keyring(tmp_path)
    ring.admit("reachy-1", new_public())
    admitted = tmp_path / "admitted"
    assert OPENED.by(admitted, ring.reload) == ["reachy-1.pub"]
    assert OPENED.by(admitted, ring.reload) == ["reachy-1.pub"], "while the file is new it must be read again"


def test_a_file_with_a_mistake_is_read_again_until_it_is_mended(tmp_path):
    ring = Keyring(tmp_path, long_after)
    ring.admit("reachy-1", new_public())
    damaged = tmp_path / "admitted" / "reachy-2.pub"
    damaged.write_text("no key")
    for _ in range(2):
        ring.reload()
        assert OPENED.by(damaged.parent, ring.reload) == ["reachy-2.pub"]
        assert len(ring.problems) == 1
    damaged.write_text(new_public())
    ring.reload()
    assert ring.problems == []
    assert ring.admits("reachy-2")


# --- nothing is lost --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("line", ["# the red one", "damaged", "\u00e4" * 40])
def test_a_file_with_a_line_that_is_no_key_is_not_written_anew(tmp_path, line):
    """The good keys in it would be lost. None of them is admitted now, because of that line."""
    ring, path = Keyring(tmp_path), tmp_path / "admitted" / "reachy-1.pub"
    good, other = new_public(), new_public()
    ring.admit("reachy-1", good)
    text = f"{line}\n{good}\n"
    path.write_text(text)
    for change in (lambda: ring.admit("reachy-1", other), lambda: ring.revoke("reachy-1", good)):
        with pytest.raises(KeysError, match=r"reachy-1\.pub:1: .*mend the file, or .*reachy-keys revoke reachy-1"):
            change()
        assert path.read_text() == text
    assert ring.revoke("reachy-1") == 0, "to shut a robot out is possible in any case"
    assert not path.exists()
    assert ring.admit("reachy-1", other)


def test_a_key_that_stands_in_another_robots_file_too_stays_there(tmp_path):
    ring = Keyring(tmp_path)
    public, other = new_public(), new_public()
    ring.admit("reachy-1", public)
    path = tmp_path / "admitted" / "reachy-2.pub"
    path.write_text(f"{public}\n")
    ring.admit("reachy-2", other)
    assert path.read_text() == f"{public}\n{other}\n"


def test_several_keys_are_admitted_all_or_none(tmp_path):
    ring = Keyring(tmp_path)
    one, two, others = new_public(), new_public(), new_public()
    ring.admit("reachy-2", others)
    with pytest.raises(KeysError, match="admitted as reachy-2 already"):
        ring.admit_all("reachy-1", [one, two, others])
    assert ring.robots == Keyring(tmp_path).robots == {"reachy-2": [others]}
    assert ring.admit_all("reachy-1", [one, two, one]) == 2
    assert ring.admit_all("reachy-1", [two, one]) == 0
    assert ring.robots["reachy-1"] == [one, two]


def test_a_file_that_cannot_be_read_is_not_written_anew(tmp_path):
    ring, path = Keyring(tmp_path), tmp_path / "admitted" / "reachy-1.pub"
    ring.admit("reachy-1", new_public())
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(KeysError, match=r"cannot be read"):
        ring.admit("reachy-1", new_public())
    assert path.read_bytes() == b"\xff\xfe\x00"


def test_keys_that_are_admitted_at_the_same_time_are_all_admitted(tmp_path):
    publics = [new_public() for _ in range(24)]
    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(lambda public: Keyring(tmp_path).admit("reachy-1", public), publics))
    assert set(Keyring(tmp_path).robots["reachy-1"]) == set(publics)


def test_a_byte_order_mark_before_a_key_is_no_part_of_it(tmp_path):
    directory = robot_dir(tmp_path)
    for name in ("self.key", "gateway.pub", "robot-id"):
        (directory / name).write_bytes(b"\xef\xbb\xbf" + (directory / name).read_bytes())
    assert load_robot(directory).robot == "reachy-1"


def test_a_pipe_in_place_of_a_file_holds_nobody_up(tmp_path):
    ring = Keyring(tmp_path)
    ring.admit("reachy-2", new_public())
    os.mkfifo(tmp_path / "admitted" / "reachy-1.pub", 0o600)
    (tmp_path / "admitted" / "reachy-3.pub").mkdir()
    ring.reload()
    assert list(ring.robots) == ["reachy-2"]


@pytest.mark.parametrize("mark", [b"\xef\xbb\xbf", b""], ids=["with", "without"])
def test_key_files_are_read_with_and_without_a_byte_order_mark_and_in_any_line_ends(tmp_path, mark):
    directory = robot_dir(tmp_path)
    before = load_robot(directory)
    for file in directory.iterdir():
        file.write_bytes(mark + file.read_bytes().replace(b"\n", b"\r\n"))
    assert load_robot(directory) == before
    admitted = tmp_path / "gateway" / "admitted"
    admitted.mkdir(parents=True)
    (admitted / "reachy-1.pub").write_bytes(mark + before.keys.public + b"\r\n")
    ring = Keyring(tmp_path / "gateway")
    assert (ring.problems, ring.robot_of(before.keys.public.decode())) == ([], "reachy-1")


def test_a_key_file_in_another_encoding_is_named(tmp_path):
    directory = robot_dir(tmp_path)
    (directory / "gateway.pub").write_text(new_public(), encoding="utf-16")
    with pytest.raises(KeysError, match="UTF-16: save it as UTF-8"):
        load_robot(directory)


@pytest.mark.parametrize("number", sorted(keys.NOT_NOW))
def test_while_files_cannot_be_read_nobody_is_shut_out_and_nobody_is_let_in(tmp_path, monkeypatch, number):
    """A recently written file is read again. A process that takes all descriptors at that moment must not revoke the key."""
    ring, key, other = keys.Keyring(tmp_path), zmq.curve_keypair()[0].decode(), zmq.curve_keypair()[0].decode()
    ring.admit("reachy-1", key)

    def full(*_):
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as patched:
        patched.setattr(keys, "_opened", full)
        (tmp_path / "admitted" / "reachy-2.pub").write_text(other + "\n")
        ring.reload()
        assert ring.robot_of(key) == "reachy-1"
        assert ring.robot_of(other) is None
        assert len(ring.problems) == 2
    ring.reload()
    assert (ring.robot_of(other), ring.problems) == ("reachy-2", [])
    (tmp_path / "admitted" / "reachy-1.pub").unlink()
    ring.reload()
    assert ring.robot_of(key) is None
