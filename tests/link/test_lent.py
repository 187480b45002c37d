"""Secrets as Kubernetes mounts them: owned by root, and readable by a process that is not root."""

import os
from contextlib import contextmanager
from types import SimpleNamespace

import pytest

from reachy_link.lent import lent

US, POD = 10001, 10777
"""A user without an account, and a group without a name, as in a pod."""
NOGROUP = 65534
"""A group that some accounts of every Debian belong to."""
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can be somebody else")


@contextmanager
def being(uid: int, gid: int, *groups: int):
    """Become another user for a while."""
    before = os.getgroups()
    os.setgroups(groups)
    os.setegid(gid)
    os.seteuid(uid)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(0)
        os.setgroups(before)


def a_file(mode: int, uid: int = 0, gid: int = POD):
    return SimpleNamespace(st_mode=0o100000 | mode, st_uid=uid, st_gid=gid)


@needs_root
@pytest.mark.parametrize("mode", [0o440, 0o400, 0o640, 0o600])
@pytest.mark.parametrize("groups", [(POD,), (POD, 20)])
def test_what_root_lends_to_our_group_alone_is_taken(mode, groups):
    with being(US, US, *groups):
        assert lent(a_file(mode))
    with being(US, POD):
        assert lent(a_file(mode))


@needs_root
@pytest.mark.parametrize(
    "file",
    [
        a_file(0o444), a_file(0o441), a_file(0o460), a_file(0o450), a_file(0o460 | 0o2), a_file(0o444 | 0o2),
        a_file(0o440, uid=US), a_file(0o440, uid=1), a_file(0o440, gid=20), a_file(0o440, gid=0), a_file(0o440, gid=NOGROUP),
    ],
)  # fmt: skip
def test_what_others_may_read_or_change_or_is_not_roots_is_not(file):
    with being(US, US, POD, NOGROUP):
        assert not lent(file)


@needs_root
def test_a_file_of_which_a_list_names_further_people_is_not():
    with being(US, US, POD):
        assert lent(a_file(0o440), ["user.note"])
        assert not lent(a_file(0o440), ["system.posix_acl_access"])


@needs_root
def test_root_itself_is_lent_nothing():
    assert not lent(a_file(0o440, gid=os.getegid()))
