"""Lines for a stream that may block or fail: a bounded queue takes the lines, and a thread writes them."""

import errno
import os
import select
import threading
from collections import deque
from collections.abc import Callable
from typing import Final, TextIO

WAITING_MAX: Final = 2**20
"""At most this many characters wait."""
EXIT_S: Final = 1.0
"""At its end a program waits at most this long for unwritten lines."""


class Spool:
    """Takes lines without blocking, even if the stream is full, closed, slow or on a full disk.

    Bounded: ``WAITING_MAX`` characters wait, or one longer line. The oldest lines make room for new ones and are counted in
    ``lost``, as are lines that the stream refuses. When lines flow again, the spool first writes how many are lost.

    Args:
        stream: The stream to write to; None for none. If it has a file descriptor, the spool bypasses the stream's own buffer:
            a program that ends would wait for the buffer's lock.
        clean: Applied to each line when it is written, however long it has waited.
        gap: Makes the line that says how many lines are lost.
    """

    def __init__(
        self, stream: TextIO | None, clean: Callable[[str], str] = str, gap: Callable[[int], str] = lambda _lost: ""
    ) -> None:
        self.stream = stream
        self.lost = 0
        self._told = 0
        self._clean = clean
        self._gap = gap
        self._lines: deque[str] = deque()
        self._waiting = 0
        self._writes = False
        self._torn = False
        self._closed = stream is None
        self._changed = threading.Condition()
        if stream is not None:
            threading.Thread(target=self._run, args=(stream,), name="log", daemon=True).start()

    def put(self, line: str) -> None:
        """Queue a line, which includes its line feed."""
        with self._changed:
            if self._closed:
                self.lost += 1
                return
            self._lines.append(line)
            self._waiting += len(line)
            while self._waiting > WAITING_MAX and len(self._lines) > 1:
                self._waiting -= len(self._lines.popleft())
                self.lost += 1
            self._changed.notify_all()

    def flush(self, timeout_s: float = EXIT_S) -> bool:
        """Wait until everything is written, but not longer than this; returns whether it is."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._lines and not self._writes, timeout_s)

    def close(self) -> None:
        """Refuse further lines; the waiting lines are still written."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def _run(self, stream: TextIO) -> None:
        while True:
            with self._changed:
                self._writes = False
                self._changed.notify_all()
                self._changed.wait_for(lambda: self._lines or self._closed)
                if not self._lines:
                    return
                line = self._lines.popleft()
                self._waiting -= len(line)
                self._writes = True
                lost = self.lost
            if lost > self._told:
                line = self._gap(lost - self._told) + line
            written = self._write(stream, self._clean(line))
            with self._changed:
                self._told = lost if written else self._told
                self.lost += not written

    def _write(self, stream: TextIO, text: str) -> bool:
        """Write a text; returns whether the stream took it. Characters that the stream's encoding lacks are escaped."""
        encoding = getattr(stream, "encoding", None) or "utf-8"
        data = text.encode(encoding, "backslashreplace")
        try:
            try:
                descriptor = stream.fileno()
            except (AttributeError, OSError):  # a stream without a descriptor, as in a test
                stream.write(data.decode(encoding))
                stream.flush()
            else:
                self._write_all(descriptor, data)
        except (OSError, ValueError):  # no reader, no room, or closed
            return False
        return True

    def _write_all(self, descriptor: int, data: bytes) -> None:
        rest = b"\n" + data if self._torn else data
        whole = len(rest)
        try:
            while rest:
                try:
                    rest = rest[os.write(descriptor, rest) :]
                except OSError as error:
                    if error.errno != errno.EAGAIN:
                        raise
                    poll = select.poll()  # another process that has this pipe has made it non-blocking
                    poll.register(descriptor, select.POLLOUT)
                    poll.poll()
        finally:
            self._torn = 0 < len(rest) < whole or (self._torn and len(rest) == whole)


def tell(stream: TextIO | None, text: str) -> None:
    """Write a program's last words, for ``EXIT_S`` at most: a pipe that nobody reads does not keep the program."""
    spool = Spool(stream)
    spool.put(text)
    spool.flush()
    spool.close()


def hold_standard_streams() -> None:
    """Open ``/dev/null`` for each closed descriptor from 0 to 2: else a file or socket gets the number, and printed text."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest number that is free
