import os
from pathlib import Path

import pytest
import zmq

from reachy_link.adopt import adopt
from reachy_link.keys import Keyring, KeysError
from reachy_link.operators import Operators


def new_public() -> str:
    return zmq.curve_keypair()[0].decode()


@pytest.fixture
def old(tmp_path) -> Path:
    """A volume of version 0.1 with admitted robots."""
    ring = Keyring(tmp_path / "before")
    ring.admit("reachy-1", new_public())
    ring.admit("reachy-2", new_public())
    ring.admit("reachy-2", new_public())
    return tmp_path / "before" / "admitted"


def test_all_robots_are_here_afterwards_and_nothing_is_left_there(tmp_path, old):
    robots = Keyring(tmp_path / "before").robots
    assert adopt(tmp_path / "new", old) == (["reachy-1", "reachy-2"], [])
    assert Keyring(tmp_path / "new").robots == robots
    assert list(old.iterdir()) == []
    assert (tmp_path / "new" / "admitted" / "reachy-2.pub").stat().st_mode & 0o777 == 0o644


def test_who_is_revoked_afterwards_does_not_come_back(tmp_path, old):
    adopt(tmp_path / "new", old)
    Keyring(tmp_path / "new").revoke("reachy-2")
    assert adopt(tmp_path / "new", old) == ([], [])
    assert list(Keyring(tmp_path / "new").robots) == ["reachy-1"]


def test_a_robot_that_is_here_already_has_both_its_keys(tmp_path, old):
    before, new = Keyring(tmp_path / "before").robots, new_public()
    Keyring(tmp_path / "new").admit("reachy-2", new)
    assert adopt(tmp_path / "new", old) == (["reachy-1", "reachy-2"], [])
    assert Keyring(tmp_path / "new").robots == {"reachy-1": before["reachy-1"], "reachy-2": [new, *before["reachy-2"]]}


def test_where_nothing_is_nothing_happens(tmp_path):
    assert adopt(tmp_path / "new", tmp_path / "before" / "admitted") == ([], [])
    assert not (tmp_path / "new").exists()


def test_the_folder_that_this_directory_has_loses_nobody(tmp_path, old):
    """As when a user's own compose file mounts no volume over the folder."""
    robots = Keyring(tmp_path / "before").robots
    (tmp_path / "same").symlink_to(tmp_path / "before")
    for before in (old, tmp_path / "same" / "admitted"):
        assert adopt(tmp_path / "before", before) == ([], [])
    assert Keyring(tmp_path / "before").robots == robots


def test_a_damaged_file_stays_where_it_is_and_the_others_do_not_wait(tmp_path, old):
    good = new_public()
    text = {"reachy-1": f"{good}\nno key\n", "Reachy One": good, "open": good, "of-anna": new_public()}
    for name, content in text.items():
        (old / f"{name}.pub").write_text(content)
    (old / "open.pub").chmod(0o664)
    (old / "README.txt").write_text("not a key file")
    Operators(tmp_path / "new").admit("operator", "anna", text["of-anna"])
    robots, problems = adopt(tmp_path / "new", old)
    assert robots == ["reachy-2"]
    assert list(Keyring(tmp_path / "new").robots) == ["reachy-2"]
    assert {path.name: path.read_text() for path in old.glob("*.pub")} == {f"{name}.pub": it for name, it in text.items()}
    for words in ("reachy-1.pub:2", "is no robot id", "chmod go-w", "admitted as the operator anna already"):
        assert len([problem for problem in problems if words in problem]) == 1, problems
    assert len(problems) == 4
    assert all(f"{old}/" in problem and "is not adopted" in problem for problem in problems)


def test_of_several_keys_all_are_adopted_or_none(tmp_path, old):
    first, _ = Keyring(tmp_path / "before").robots["reachy-2"]
    Keyring(tmp_path / "new").admit("reachy-3", first)
    robots, (problem,) = adopt(tmp_path / "new", old)
    assert robots == ["reachy-1"]
    assert "admitted as reachy-3 already" in problem
    assert list(Keyring(tmp_path / "new").robots) == ["reachy-1", "reachy-3"]
    assert (old / "reachy-2.pub").exists()


def test_links_are_not_followed(tmp_path, old):
    elsewhere = tmp_path / "elsewhere.pub"
    elsewhere.write_text(new_public())
    (old / "linked.pub").symlink_to(elsewhere)
    (old / "dangling.pub").symlink_to(tmp_path / "nothing")
    (old / "folder.pub").mkdir()
    os.mkfifo(old / "pipe.pub")
    robots, problems = adopt(tmp_path / "new", old)
    assert robots == ["reachy-1", "reachy-2"]
    assert len([problem for problem in problems if "it is a link, or no file" in problem]) == len(problems) == 4
    assert list(Keyring(tmp_path / "new").robots) == robots
    assert elsewhere.exists()

    link = tmp_path / "link"
    link.symlink_to(old)
    for place in (link, elsewhere):
        with pytest.raises(KeysError, match="is a link, or no folder"):
            adopt(tmp_path / "new", place)


@pytest.mark.parametrize("mode", [0o777, 0o775])
def test_nothing_is_adopted_from_where_others_could_put_keys(tmp_path, old, mode):
    old.chmod(mode)
    with pytest.raises(KeysError, match=rf"mode {mode:03o}.*chmod go-w {old}"):
        adopt(tmp_path / "new", old)
    assert not (tmp_path / "new").exists()
    assert len(list(old.iterdir())) == 2


def test_an_empty_file_admitted_nobody_and_is_removed(tmp_path, old):
    (old / "reachy-3.pub").write_text("\n")
    assert adopt(tmp_path / "new", old) == (["reachy-1", "reachy-2"], [])
    assert list(old.iterdir()) == []
