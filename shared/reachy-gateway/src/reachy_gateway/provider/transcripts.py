"""Stores transcripts: a JSONL file per robot and day. One thread writes them, so that no audio waits for the disk."""

import json
import logging
import os
import re
import stat
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Final, NamedTuple

from reachy_gateway.voice import Said

log = logging.getLogger(__name__)

PIECES_MAX: Final = 1000
CHARS_MAX: Final = 1_000_000
"""How much may wait for the disk. Newer pieces are lost, and counted."""
CLOSE_S: Final = 1.0
"""How long a gateway that stops waits for the disk."""
SWEEP_FIRST_S: Final = 600.0
"""Old files are deleted this long after the start at the earliest: a clock may be wrong until it has found its time server."""
SWEEP_EVERY_S: Final = 3600.0
FILE_NAME: Final = re.compile(r"[a-z0-9-]+-(\d{4}-\d\d-\d\d)\.jsonl")
FLAGS: Final = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
"""Never write to a link or a pipe in the file's place."""
LINE_ENDS: Final = {ord(char): f"\\u{ord(char):04x}" for char in "\x85\u2028\u2029"}
"""Characters that JSON may contain unescaped, but that some readers take for line ends."""


class _Piece(NamedTuple):
    robot: str
    at: datetime
    said: Said


class Transcripts:
    """Stores what was said. Only the gateway's user can read the files, whatever the umask is and whoever made the files.

    Args:
        directory: The folder. It is made when the first piece is stored.
        keep_days: Files of earlier days than this are deleted; 0 keeps all.
        today: Returns the local date.
        sweep_first_s: How soon after the start old files may be deleted.
    """

    def __init__(
        self, directory: Path, keep_days: int, today: Callable[[], date], sweep_first_s: float = SWEEP_FIRST_S
    ) -> None:
        self._directory = directory
        self._keep_days = keep_days
        self._today = today
        self._sweep_at = time.monotonic() + sweep_first_s
        self._changed = threading.Condition()
        self._pieces: deque[_Piece] = deque()
        self._chars = 0
        self._lost: Counter[str] = Counter()
        self._trouble = ""
        self._closing = False
        self._thread = threading.Thread(target=self._write_all, name="transcripts", daemon=True)
        self._thread.start()

    def keep(self, robot: str, at: datetime, said: Said) -> None:
        """Have a piece written. Never waits for the disk."""
        with self._changed:
            if len(self._pieces) >= PIECES_MAX or self._chars + len(said.text) > CHARS_MAX:
                self._lost[robot] += 1
                self._trouble = self._trouble or "the disk is too slow"
                return
            self._pieces.append(_Piece(robot, at, said))
            self._chars += len(said.text)
            self._changed.notify()

    def take_lost(self) -> tuple[dict[str, int], str]:
        """How many pieces of each robot were lost since the last call, and why none can be written now; empty if they can."""
        with self._changed:
            lost, self._lost = self._lost, Counter()
            return dict(lost), self._trouble

    def close(self) -> None:
        """Write the waiting pieces, within a bounded time."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        self._thread.join(CLOSE_S)
        with self._changed:
            if self._pieces:
                log.error("the transcripts cannot be written in time: the last %d pieces are lost", len(self._pieces))

    # --- the thread -----------------------------------------------------------------------------------------------------

    def _write_all(self) -> None:
        with self._telling():
            self._tighten()
        while (piece := self._next()) is not None:
            with self._telling(piece.robot):
                self._write(piece)
                self._trouble = ""

    def _next(self) -> _Piece | None:
        """Wait for the next piece; None at the end. Old files are deleted while nothing waits."""
        while True:
            with self._changed:
                if self._pieces:
                    piece = self._pieces.popleft()
                    self._chars -= len(piece.said.text)
                    return piece
                if self._closing:
                    return None
                self._changed.wait(max(0.0, self._sweep_at - time.monotonic()))
            if time.monotonic() >= self._sweep_at:
                self._sweep_at = time.monotonic() + SWEEP_EVERY_S
                with self._telling():
                    self.sweep()

    @contextmanager
    def _telling(self, robot: str | None = None) -> Iterator[None]:
        """Note an error inside the block as the disk's trouble. The robot's piece, if any, is lost."""
        try:
            yield
        except (OSError, ValueError) as error:
            with self._changed:
                self._trouble = str(error)
                if robot:
                    self._lost[robot] += 1

    def _write(self, piece: _Piece) -> None:
        line = json.dumps({"at": piece.at.isoformat(), "who": piece.said.who, "text": piece.said.text}, ensure_ascii=False)
        data = (line.translate(LINE_ENDS) + "\n").encode("utf-8", "backslashreplace")  # a lone surrogate stays an escape
        path = self._directory / f"{piece.robot}-{piece.at.date().isoformat()}.jsonl"
        with self._opened(path) as file:
            size = os.fstat(file).st_size
            try:
                while data:
                    data = data[os.write(file, data) :]
            except OSError:
                os.ftruncate(file, size)  # half a line would damage the next one
                raise

    @contextmanager
    def _opened(self, path: Path) -> Iterator[int]:
        try:
            file = os.open(path, FLAGS, 0o600)
        except FileNotFoundError:
            self._directory.mkdir(parents=True, exist_ok=True)
            self._directory.chmod(0o700)
            file = os.open(path, FLAGS, 0o600)
        try:
            if stat.S_IMODE(os.fstat(file).st_mode) != 0o600:  # noqa: PLR2004
                os.fchmod(file, 0o600)
            yield file
        finally:
            os.close(file)

    def _files(self) -> Iterator[tuple[Path, date]]:
        """The files and their days."""
        for path in self._directory.iterdir() if self._directory.exists() else ():
            found = FILE_NAME.fullmatch(path.name)
            with suppress(ValueError):  # the name holds no real date
                if found and not path.is_symlink():
                    yield path, date.fromisoformat(found[1])

    def _tighten(self) -> None:
        """Remove access that an older gateway gave to others. A directory that others share (sticky bit) stays as it is."""
        for path, _ in self._files():
            if stat.S_IMODE(path.stat().st_mode) & 0o077:
                path.chmod(0o600)
        if self._directory.exists():
            mode = self._directory.stat().st_mode
            if mode & 0o077 and not mode & stat.S_ISVTX:
                self._directory.chmod(0o700)

    def sweep(self) -> None:
        """Delete the files of days that are too old."""
        if not self._keep_days:
            return
        oldest = self._today() - timedelta(days=self._keep_days)
        old = [path for path, day in self._files() if day < oldest]
        for path in old:
            path.unlink(missing_ok=True)
        if old:
            log.info("%d transcripts from before %s are deleted (GATEWAY_TRANSCRIPTS_KEEP_DAYS)", len(old), oldest.isoformat())
