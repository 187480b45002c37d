"""Secret files that root owns and a process of another user may read, as Kubernetes mounts them."""

import grp
import os
import pwd
import stat
from collections.abc import Collection
from contextlib import suppress
from typing import Final

ACL: Final = "system.posix_acl_access"
"""The extended attribute that lists further accounts that may read a file."""


def lent(status: os.stat_result, attributes: Collection[str] = ()) -> bool:
    """Whether a secret's group may read it: the group is ours alone, and only root can change the file.

    Kubernetes mounts a Secret's files like this for a pod with an ``fsGroup``, whatever mode the pod asked for
    (https://github.com/kubernetes/kubernetes/issues/57923).

    Args:
        status: The file's status.
        attributes: The names of the file's extended attributes.
    """
    mode = stat.S_IMODE(status.st_mode)
    ours = status.st_gid in (os.getegid(), *os.getgroups())
    return (
        ACL not in attributes
        and not mode & 0o037
        and status.st_uid == 0
        and os.geteuid() != 0
        and ours
        and not _others_in(status.st_gid)
    )


def _others_in(group: int) -> set[str]:
    """The accounts in a group, by ``/etc/passwd`` and ``/etc/group``, except our own and root's."""
    accounts = {each.pw_name: each for each in pwd.getpwall()}
    found = {name for name, each in accounts.items() if each.pw_gid == group}
    with suppress(KeyError):  # a group without a name, as in most pods
        found |= set(grp.getgrgid(group).gr_mem)
    return {name for name in found if name not in accounts or accounts[name].pw_uid not in (0, os.geteuid())}
