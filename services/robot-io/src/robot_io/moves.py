"""A folder of recorded moves, read once at start."""

import os
import re
from collections.abc import Mapping
from itertools import islice
from pathlib import Path
from typing import Final

from reachy_robot.motion.moves import MOVES, Move
from reachy_robot.motion.recorded import BYTES_MAX, RecordingError, recorded

FILES_MAX: Final = 1000
"""Files that are read; further files are left out."""
NAME: Final = re.compile(r"[a-z0-9_]{1,24}")


def read(folder: Path) -> tuple[Mapping[str, Move], list[str]]:
    """The moves of the folder's ``*.json`` by name, and remarks for the log.

    Raises:
        OSError: If there is no such folder, or if it cannot be read.
    """
    home = _whole(folder)
    paths = sorted(islice((path for path in folder.iterdir() if path.suffix == ".json"), FILES_MAX + 1))
    moves: dict[str, Move] = {}
    remarks = [f"{folder}: more than {FILES_MAX} files: the others are left out"] if len(paths) > FILES_MAX else []
    for path in paths[:FILES_MAX]:
        try:
            moves[path.stem], too_far = _move(path, home)
        except RecordingError as error:
            remarks.append(f"{path.name!a} is refused: {error}")
        else:
            if too_far:
                remarks.append(f"{path.name} goes beyond the robot's limits: the robot stays within them")
    return moves, remarks


def _move(path: Path, home: Path) -> tuple[Move, bool]:
    """Read the move of one file.

    Raises:
        RecordingError: If the file is no recorded move.
    """
    if not NAME.fullmatch(path.stem):
        raise RecordingError("its name may have only a-z, 0-9 and _, at most 24 characters")
    if path.stem in MOVES:
        raise RecordingError("there is already a move of this name")
    try:
        if not _whole(path).is_relative_to(home):
            raise RecordingError("it is a link that leads out of the folder")
        if not path.is_file():
            raise RecordingError("it is no file")
        with path.open("rb") as file:
            return recorded(file.read(BYTES_MAX + 1))
    except OSError as error:
        raise RecordingError(f"it cannot be read: {error.strerror}") from None


def _whole(path: Path) -> Path:
    """The path without links. ``Path.resolve`` raises another error for a loop of links."""
    return Path(os.path.realpath(path, strict=True))
