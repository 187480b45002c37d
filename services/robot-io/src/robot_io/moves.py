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
"""Files that are looked at; further ones are left out."""
NAME: Final = re.compile(r"[a-z0-9_]{1,24}")


def read(folder: Path) -> tuple[Mapping[str, Move], list[str]]:
    """The moves of the folder's ``*.json``, by their names; and what is to be said of them.

    Raises:
        OSError: If there is no such folder, or it cannot be read.
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
                remarks.append(f"{path.name} reaches further than the robot does: it is held back there")
    return moves, remarks


def _move(path: Path, home: Path) -> tuple[Move, bool]:
    """One file's.

    Raises:
        RecordingError: If it is no move.
    """
    if not NAME.fullmatch(path.stem):
        raise RecordingError("its name has others than a-z, 0-9 and _, or more than 24 of them")
    if path.stem in MOVES:
        raise RecordingError("a move of that name is there already")
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
    """The path without links; ``Path.resolve`` has another error for links that lead round."""
    return Path(os.path.realpath(path, strict=True))
