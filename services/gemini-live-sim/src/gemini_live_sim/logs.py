"""The log: a bounded queue takes the lines, and a thread writes them. So a stream that nobody reads cannot stop the server."""

import logging
import os
import queue
import threading
from typing import Final, TextIO

WAITING_MAX: Final = 1000
"""Most lines that wait. Further lines are dropped and counted."""
EXIT_S: Final = 1.0
"""Longest time that an ending program waits for unwritten lines."""


class Lines(logging.Handler):
    """Writes log lines to a stream. The caller never waits, even if the stream is full or closed or its disk is full.

    The first line after a loss tells how many lines were lost.
    """

    def __init__(self, stream: TextIO | None) -> None:
        super().__init__()
        self._waiting: queue.Queue[str] = queue.Queue(WAITING_MAX)
        self.lost = 0
        self._told = 0
        self._stream = stream
        if stream is not None:
            threading.Thread(target=self._run, args=(stream,), name="log", daemon=True).start()

    def emit(self, record: logging.LogRecord) -> None:
        """Queue a line."""
        if self._stream is None:
            return
        try:
            self._waiting.put_nowait(self.format(record) + "\n")
        except queue.Full:
            self.lost += 1

    def flush(self) -> None:
        """Wait until everything is written, for ``EXIT_S`` at most."""
        with self._waiting.all_tasks_done:
            self._waiting.all_tasks_done.wait_for(lambda: not self._waiting.unfinished_tasks, EXIT_S)

    def _run(self, stream: TextIO) -> None:
        while True:
            line, lost = self._waiting.get(), self.lost
            if lost > self._told:
                line = f"{lost - self._told} log lines are lost: they could not be written\n{line}"
            try:
                _write(stream, line)
                self._told = lost
            except (OSError, ValueError):
                self.lost += 1
            self._waiting.task_done()


def _write(stream: TextIO, text: str) -> None:
    """Write past the stream's own buffer, because an ending program would wait for the buffer's lock."""
    rest = text.encode(stream.encoding or "utf-8", "backslashreplace")
    while rest:
        rest = rest[os.write(stream.fileno(), rest) :]


def tell(stream: TextIO | None, text: str) -> None:
    """Write a program's last words to a stream, waiting ``EXIT_S`` at most."""
    lines = Lines(stream)
    lines.emit(logging.makeLogRecord({"msg": text}))
    lines.flush()
