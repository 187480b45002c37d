import os
import time
from pathlib import Path

import pytest
import zmq

from reachy_link.keys import Keyring, KeysError
from reachy_link.operators import Operators


def new_public() -> str:
    return zmq.curve_keypair()[0].decode()


def settle(path: Path) -> None:
    """Give a directory a time stamp that will differ from the next change's."""
    os.utime(path, ns=(time.time_ns(), time.time_ns() - 10**9))


def told(operators: Operators, public: str) -> tuple[str | None, str | None]:
    """A key's owner, and the owner's role."""
    return operators.robot_of(public), operators.role_of(public)


def test_an_operator_and_a_viewer_are_known_by_their_keys(tmp_path):
    operators = Operators(tmp_path)
    anna, also_anna, tom, stranger = (new_public() for _ in range(4))
    assert operators.admit("operator", "anna", anna)
    assert operators.admit("operator", "anna", also_anna)
    assert operators.admit("viewer", "tom", tom)
    assert not operators.admit("viewer", "tom", tom), "it was so already"
    for seen in (operators, Operators(tmp_path)):
        assert told(seen, anna) == told(seen, also_anna) == ("anna", "operator")
        assert told(seen, tom) == ("tom", "viewer")
        assert told(seen, stranger) == (None, None)
        assert seen.names == {"anna", "tom"}
        assert seen.problems == []
        assert list(seen.entries()) == [
            ("operator", "anna", anna),
            ("operator", "anna", also_anna),
            ("viewer", "tom", tom),
        ]
    assert (tmp_path / "operators" / "anna.pub").read_text() == f"{anna}\n{also_anna}\n"
    assert (tmp_path / "viewers" / "tom.pub").read_text() == f"{tom}\n"
    assert Keyring(tmp_path).robots == {}, "no operator may count as a robot"


@pytest.mark.parametrize("role", ["operator", "viewer"])
def test_what_changes_is_seen_without_a_restart(tmp_path, role):
    operators, public = Operators(tmp_path), new_public()
    assert not operators.refresh()
    changes = operators.changes
    Operators(tmp_path).admit(role, "anna", public)
    settle(tmp_path / f"{role}s")
    assert told(operators, public) == (None, None)
    assert operators.refresh()
    assert told(operators, public) == ("anna", role)
    assert operators.changes > changes
    assert not operators.refresh()
    (tmp_path / f"{role}s" / "anna.pub").write_text(other := new_public())
    operators.reload()
    assert (told(operators, public), told(operators, other)) == ((None, None), ("anna", role))
    assert Operators(tmp_path).dismiss("anna") == 1
    assert operators.refresh()
    assert told(operators, other) == (None, None)


def test_both_folders_are_read_again_at_one_look(tmp_path):
    operators, anna, tom = Operators(tmp_path), new_public(), new_public()
    other = Operators(tmp_path)
    other.admit("operator", "anna", anna)
    other.admit("viewer", "tom", tom)
    assert operators.refresh()
    assert (operators.role_of(anna), operators.role_of(tom)) == ("operator", "viewer")


@pytest.mark.parametrize(("has", "wants"), [("operator", "viewer"), ("viewer", "operator")])
def test_a_key_has_one_role_until_it_is_dismissed(tmp_path, has, wants):
    operators, public = Operators(tmp_path), new_public()
    operators.admit(has, "anna", public)
    for name in ("anna", "tom"):
        with pytest.raises(KeysError) as caught:
            operators.admit(wants, name, public)
        assert f"admitted as the {has} anna already; to change that, first: reachy-keys dismiss anna" in str(caught.value)
    assert told(Operators(tmp_path), public) == ("anna", has)
    assert operators.dismiss("anna", public) == 1
    assert operators.admit(wants, "anna", public)
    assert told(Operators(tmp_path), public) == ("anna", wants)


def test_a_key_that_stands_in_both_folders_may_only_watch_and_that_is_told(tmp_path):
    operators, public = Operators(tmp_path), new_public()
    operators.admit("operator", "anna", public)
    changes = operators.changes
    (tmp_path / "viewers").mkdir()
    (tmp_path / "viewers" / "tom.pub").write_text(public)
    operators.reload()
    assert told(operators, public) == ("tom", "viewer")
    (problem,) = operators.problems
    assert f"anna.pub: {public} is the viewer tom's, too, so it may only watch" in problem
    assert list(operators.entries()) == [("viewer", "tom", public)]
    assert operators.changes > changes
    assert operators.dismiss("tom") == 1
    assert told(operators, public) == ("anna", "operator")
    assert operators.problems == []


@pytest.mark.parametrize("role", ["operator", "viewer"])
def test_a_robots_key_is_no_operators_and_an_operators_is_no_robots(tmp_path, role):
    operators, robots = Operators(tmp_path), Keyring(tmp_path)
    of_robot, of_anna = new_public(), new_public()
    robots.admit("reachy-1", of_robot)
    operators.admit(role, "anna", of_anna)
    with pytest.raises(KeysError) as caught:
        operators.admit(role, "anna", of_robot)
    why = "a key that may be stolen with its robot must not watch or command the others"
    assert f"admitted as the robot reachy-1 already; the {role} needs a key of its own: {why}" in str(caught.value)
    with pytest.raises(KeysError) as caught:
        robots.admit("reachy-2", of_anna)
    assert f"admitted as the {role} anna already; the robot needs a key of its own: {why}" in str(caught.value)
    assert robots.robots == Keyring(tmp_path).robots == {"reachy-1": [of_robot]}
    assert [public for _, _, public in Operators(tmp_path).entries()] == [of_anna]


def test_one_key_is_one_operators(tmp_path):
    operators, public = Operators(tmp_path), new_public()
    operators.admit("operator", "anna", public)
    with pytest.raises(KeysError, match="admitted as anna already; every operator needs a key of its own"):
        operators.admit("operator", "tom", public)
    (tmp_path / "operators" / "tom.pub").write_text(public)
    operators.reload()
    assert operators.robot_of(public) == "anna"
    (problem,) = operators.problems
    assert problem.endswith("one key, one operator")


def test_dismissing_revokes_a_key_or_all_of_both_roles_and_nobody_elses(tmp_path):
    operators = Operators(tmp_path)
    old, new, watching, other = (new_public() for _ in range(4))
    for role, name, public in (("operator", "anna", old), ("operator", "anna", new), ("viewer", "anna", watching)):
        operators.admit(role, name, public)
    operators.admit("operator", "tom", other)
    assert operators.dismiss("anna", old) == 1
    assert [public for _, _, public in operators.entries()] == [new, other, watching]
    assert operators.dismiss("anna", watching) == 1
    operators.admit("viewer", "anna", watching)
    assert operators.dismiss("anna") == 2
    assert list(Operators(tmp_path).entries()) == [("operator", "tom", other)]
    for public in (None, new):
        with pytest.raises(KeysError, match="anna has no such key admitted; see: reachy-keys list"):
            operators.dismiss("anna", public)
    with pytest.raises(KeysError, match="'Anna B' is no operator's name: use a-z"):
        operators.dismiss("Anna B")


@pytest.mark.parametrize("mode", [0o666, 0o664, None])
@pytest.mark.parametrize("role", ["operator", "viewer"])
def test_a_file_that_others_can_write_or_that_is_damaged_lets_nobody_in(tmp_path, role, mode):
    operators, public = Operators(tmp_path), new_public()
    operators.admit(role, "anna", public)
    path = tmp_path / f"{role}s" / "anna.pub"
    if mode is None:
        path.write_text("damaged")
    else:
        path.chmod(mode)
    operators.reload()
    assert told(operators, public) == (None, None)
    (problem,) = operators.problems
    assert str(path) in problem
    if mode is None:
        with pytest.raises(KeysError, match=rf"mend the file, or shut the {role} out with: reachy-keys dismiss anna"):
            operators.admit(role, "anna", new_public())
        assert operators.dismiss("anna") == 0
        assert not path.exists()


@pytest.mark.parametrize(("name", "public"), [("Anna B", None), ("../../admitted/x", None), ("anna", "no key")])
def test_what_is_no_name_or_no_key_is_never_written(tmp_path, name, public):
    with pytest.raises(KeysError):
        Operators(tmp_path).admit("operator", name, public or new_public())
    assert list(tmp_path.iterdir()) == []
