"""Secrets that are root's, and lent to a process that is not: as Kubernetes mounts them."""

import grp
import os
import pwd
import stat
from collections.abc import Collection
from contextlib import suppress
from typing import Final

ACL: Final = "system.posix_acl_access"
"""The attribute of a file that names further people who may read it."""


def lent(status: os.stat_result, attributes: Collection[str] = ()) -> bool:
    """Whether a secret may be read by its group, as that is ours, nobody else is in it, and root alone can change the file.

    Kubernetes mounts the files of a Secret so for a pod with an ``fsGroup``, whatever mode was asked for
    (https://github.com/kubernetes/kubernetes/issues/57923).

    Args:
        status: The file's.
        attributes: The names of its extended attributes.
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
    """The accounts of this machine beside ours and root's that are in a group, by either file that says so."""
    accounts = {each.pw_name: each for each in pwd.getpwall()}
    found = {name for name, each in accounts.items() if each.pw_gid == group}
    with suppress(KeyError):  # a group without a name, as in most pods
        found |= set(grp.getgrgid(group).gr_mem)
    return {name for name in found if name not in accounts or accounts[name].pw_uid not in (0, os.geteuid())}
