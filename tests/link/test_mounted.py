"""A gateway's keys directory around a mounted secret."""

import pytest
import zmq

from reachy_link.keys import Keyring, KeysError, load_pair, make_pair
from reachy_link.mounted import use
from reachy_link.operators import Operators


def public() -> str:
    return zmq.curve_keypair()[0].decode()


@pytest.fixture
def folder(tmp_path):
    """The mounted folder: as in a pod, behind links that change when the secret does."""
    found = tmp_path / "mounted" / "..data"
    make_pair(found)
    (found / "self.pub").unlink()
    Operators(found).admit("operator", "anna", public())
    Keyring(found).admit("browser-1", public())
    for name in ("self.key", "operators", "admitted"):
        (tmp_path / "mounted" / name).symlink_to(f"..data/{name}")
    return tmp_path / "mounted"


@pytest.fixture
def directory(tmp_path):
    return tmp_path / "volume" / "keys"


def test_its_key_and_operators_are_used_and_who_is_admitted_is_kept_beside_them(folder, directory):
    for n in range(3):
        use(folder, directory)
        Keyring(directory).admit(f"reachy-{n}", public())
    assert load_pair(directory, "") == load_pair(folder, "")
    assert [name for _, name, _ in Operators(directory).entries()] == ["anna"]
    assert sorted(Keyring(directory).robots) == ["browser-1", "reachy-0", "reachy-1", "reachy-2"]
    assert (directory / "self.key").is_symlink(), "the secret must not be copied"
    assert sorted(Keyring(folder).robots) == ["browser-1"]


def test_a_robot_of_the_secret_that_was_revoked_stays_so(folder, directory):
    use(folder, directory)
    Keyring(directory).revoke("browser-1")
    use(folder, directory)
    assert not Keyring(directory).robots


def test_another_secret_counts_from_the_next_start_on(folder, directory, tmp_path):
    use(folder, directory)
    make_pair(tmp_path / "other")
    use(tmp_path / "other", directory)
    assert load_pair(directory, "") == load_pair(tmp_path / "other", "")
    assert not list(Operators(directory).entries())
    assert sorted(Keyring(directory).robots) == ["browser-1"]


def test_what_an_orchestrator_did_to_the_modes_of_a_volume_is_taken_back(folder, directory):
    use(folder, directory)
    for path in (directory, directory / "admitted"):
        path.chmod(0o2775)
    (directory / "admitted" / "browser-1.pub").chmod(0o664)
    with pytest.raises(KeysError, match="others can change"):
        load_pair(directory, "")
    use(folder, directory)
    assert load_pair(directory, "")
    assert list(Keyring(directory).robots) == ["browser-1"]


def test_a_key_of_the_directorys_own_is_not_replaced_nor_is_none_taken(folder, directory, tmp_path):
    own = make_pair(directory)
    with pytest.raises(KeysError, match=r"self\.key is here already"):
        use(folder, directory)
    assert load_pair(directory, "") == own
    with pytest.raises(KeysError, match=r"holds no self\.key"):
        use(tmp_path / "empty", tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_what_everybody_could_write_is_refused_as_before(folder, directory):
    use(folder, directory)
    (directory / "admitted").chmod(0o2777)
    use(folder, directory)
    with pytest.raises(KeysError, match="others can change the keys in it"):
        load_pair(directory, "")


def test_an_entry_that_cannot_be_looked_at_keeps_nothing_else_away(folder, directory, tmp_path):
    use(folder, directory)
    outside = tmp_path / "outside"
    outside.write_text("")
    outside.chmod(0o664)
    (directory / "admitted" / "gone.pub").symlink_to(tmp_path / "nothing")
    (directory / "admitted" / "elsewhere.pub").symlink_to(outside)
    use(folder, directory)
    assert list(Keyring(directory).robots) == ["browser-1"]
    assert outside.stat().st_mode & 0o777 == 0o664


def test_a_first_start_that_was_cut_short_begins_anew(folder, directory):
    directory.mkdir(parents=True)
    (directory / ".admitted").mkdir()
    (directory / ".admitted" / "half.pub").write_text("")
    use(folder, directory)
    assert list(Keyring(directory).robots) == ["browser-1"]
    assert not (directory / ".admitted").exists()
