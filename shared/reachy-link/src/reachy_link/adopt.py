"""Moves robots that an older layout admitted elsewhere into this layout, once."""

import fcntl
import os
import stat
from pathlib import Path
from typing import NamedTuple

from reachy_link.keys import ADMITTED_NAME, Keyring, KeysError, check_directory, checked_robot_id, keys_in


class Adopted(NamedTuple):
    """The result of an adoption."""

    robots: list[str]
    problems: list[str]
    """The files that were left in place, and why."""


def adopt(directory: Path, old: Path) -> Adopted:
    """Move an older folder's admitted keys into a gateway's keys directory. A robot that is in both has both keys.

    A robot's file leaves the older folder once its keys are here and on the disk, so a robot that is revoked later does not
    come back. A file that cannot be used stays there, and the other robots do not wait for it.

    Args:
        directory: The gateway's keys directory.
        old: The older folder. Nothing happens if there is none, or if it is this directory's own folder of admitted keys.

    Raises:
        KeysError: If the older folder is a link or no folder, or others could have put keys into it.
    """
    try:
        handle = os.open(old, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except FileNotFoundError:
        return Adopted([], [])
    except NotADirectoryError:
        raise KeysError(f"{old} is a link, or no folder: nothing is adopted from it") from None
    try:
        seen = os.fstat(handle)
        here = directory / ADMITTED_NAME
        if here.exists() and os.path.samestat(seen, here.stat()):
            return Adopted([], [])
        check_directory(old, seen.st_mode)
        fcntl.flock(handle, fcntl.LOCK_EX)
        moved = _moved(Keyring(directory), here, old)
        os.fsync(handle)
        return moved
    finally:
        os.close(handle)


def _moved(ring: Keyring, here: Path, old: Path) -> Adopted:
    robots, problems = [], []
    for path in sorted(old.glob("*.pub")):
        try:
            keys = _admitted(ring, path)
        except KeysError as error:
            problems.append(f"{path} is not adopted: {error}")
            continue
        if keys:
            for place in (here / path.name, here):
                _on_disk(place)
            robots.append(path.stem)
        path.unlink()
    return Adopted(robots, problems)


def _admitted(ring: Keyring, path: Path) -> list[str]:
    """Admit all keys of a robot's file, and return them."""
    if not stat.S_ISREG(path.lstat().st_mode):
        raise KeysError("it is a link, or no file")
    keys = keys_in(path, links=False)
    ring.admit_all(checked_robot_id(path.stem, "robot id"), keys)
    return keys


def _on_disk(place: Path) -> None:
    """Wait until the file or folder would survive the machine's sudden end."""
    handle = os.open(place, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
