"""A gateway's keys directory whose key comes from a mounted folder that nobody may write, such as a Kubernetes Secret."""

import shutil
import stat
from contextlib import suppress
from pathlib import Path

from reachy_link import keys

LINKED = (keys.SECRET_NAME, keys.PUBLIC_NAME, keys.OPERATORS_NAME, keys.VIEWERS_NAME)


def use(folder: Path, directory: Path) -> None:
    """Link a mounted folder's key and operators into a writable keys directory, which holds the admitted keys.

    Call this function at each start: another secret may be mounted, and Kubernetes may have made a volume's files writable for
    a group.

    Args:
        folder: Holds ``self.key`` and perhaps ``operators`` and ``viewers``; its ``admitted`` is copied at the first start.
        directory: The keys directory; it is made if there is none.

    Raises:
        KeysError: If the folder has no key, or if the directory has a file of its own where a link belongs.
        OSError: If the directory cannot be written.
    """
    folder = folder.absolute()
    if not (folder / keys.SECRET_NAME).exists():
        raise keys.KeysError(f"{folder} holds no {keys.SECRET_NAME}: mount the gateway's secret there")
    keys.make_directory(directory)
    for name in LINKED:
        link = directory / name
        if link.exists() and not link.is_symlink():
            raise keys.KeysError(f"{link} is here already, and the mounted one would take its place: move one of them away")
        link.unlink(missing_ok=True)
        if (folder / name).exists():
            link.symlink_to(folder / name)
    admitted = directory / keys.ADMITTED_NAME
    if not admitted.exists():
        _copy(folder / keys.ADMITTED_NAME, admitted)
    for path in (directory, admitted, *admitted.iterdir()):
        _take_back(path)


def _copy(seeds: Path, admitted: Path) -> None:
    """Copy all keys or none: a gateway that is killed during the copy starts the copy again."""
    half = admitted.with_name(f".{admitted.name}")
    shutil.rmtree(half, ignore_errors=True)
    half.mkdir(mode=0o755)
    for path in sorted(seeds.glob("*.pub")):
        keys.write(half / path.name, path.read_text(encoding="utf-8"))
    half.rename(admitted)


def _take_back(path: Path) -> None:
    """Take the right to write from a path's group: a kubelet may have granted it.

    No kubelet lets everybody write. So a path that everybody may write stays as it is, and its reader refuses it. If the mode
    cannot be changed, the reader refuses the path, too.
    """
    with suppress(OSError):
        mode = path.lstat().st_mode
        if mode & stat.S_IWGRP and not stat.S_ISLNK(mode):
            path.chmod(stat.S_IMODE(mode) & ~stat.S_IWGRP)
