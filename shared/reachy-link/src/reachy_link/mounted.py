"""A gateway's keys directory where its key is mounted as a secret: an orchestrator's folder, which nobody may write."""

import shutil
import stat
from contextlib import suppress
from pathlib import Path

from reachy_link import keys

LINKED = (keys.SECRET_NAME, keys.PUBLIC_NAME, keys.OPERATORS_NAME, keys.VIEWERS_NAME)


def use(folder: Path, directory: Path) -> None:
    """Use a mounted folder's key and operators in a keys directory that is written to: who is admitted is kept there.

    It is called at each start: another secret may be mounted, and Kubernetes may have let a group write what is in a volume.

    Args:
        folder: Holds ``self.key`` and perhaps ``operators`` and ``viewers``; its ``admitted`` counts at the first start.
        directory: The keys directory, which is made if there is none.

    Raises:
        KeysError: If the folder has no key, or the directory has one of its own.
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
    """All of them or none: a gateway that is killed meanwhile begins anew."""
    half = admitted.with_name(f".{admitted.name}")
    shutil.rmtree(half, ignore_errors=True)
    half.mkdir(mode=0o755)
    for path in sorted(seeds.glob("*.pub")):
        keys.write(half / path.name, path.read_text(encoding="utf-8"))
    half.rename(admitted)


def _take_back(path: Path) -> None:
    """Have no group write it, as a kubelet may have let one.

    That everybody may write it no kubelet does: that stays, and is refused. What cannot be changed is left to who reads it.
    """
    with suppress(OSError):
        mode = path.lstat().st_mode
        if mode & stat.S_IWGRP and not stat.S_ISLNK(mode):
            path.chmod(stat.S_IMODE(mode) & ~stat.S_IWGRP)
