"""The file of gateways that the robot has learned of: one address a line, in plain text, for the next start.

A forged address gains little: a gateway is known by its key, so a wrong address costs one dial. So a bad file never prevents a
start, and the robot never waits for a write: a memory card may take seconds for one line.
"""

import logging
import os
import stat
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from reachy_link.address import Address, readable
from reachy_link.keys import write
from reachy_link.text import BOM

log = logging.getLogger(__name__)

READ_MAX_BYTES: Final = 16384
"""More than 17 lines of the longest addresses; the rest of a longer file is not read."""
KEPT_MAX: Final = 17
"""Addresses that are kept: the address of the last gateway that served, and the addresses of a welcome."""


def read(path: Path) -> list[Address]:
    """The addresses in the file, none if there is no file. Mistakes are logged in one line."""
    try:
        with open(path, "rb", opener=lambda name, flags: os.open(name, flags | os.O_NONBLOCK)) as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise OSError("it is no file")  # noqa: TRY301 - handled like the errors of the system
            text = file.read(READ_MAX_BYTES).decode("utf-8", errors="replace")
    except FileNotFoundError:
        return []
    except OSError as error:
        log.warning("ROBOT_GATEWAYS_FILE: %s cannot be read (%s); the robot uses only ROBOT_GATEWAY", path, error)
        return []
    lines = [line for line in text.removeprefix(BOM).splitlines() if line.strip()]
    addresses = readable(lines)[:KEPT_MAX]
    if len(addresses) < len(lines):
        log.warning("ROBOT_GATEWAYS_FILE: of %d lines in %s, %d are used as addresses", len(lines), path, len(addresses))
    return addresses


class Keeper:
    """Writes the file in a thread of its own, which nobody waits for. The thread writes the newest addresses."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._wanted: str | None = None
        self._writes = False
        self._told = False

    def keep(self, addresses: Sequence[Address]) -> None:
        """Write these addresses in place of the earlier ones."""
        with self._lock:
            self._wanted = "".join(f"{address}\n" for address in addresses)
            if self._writes:
                return
            try:
                threading.Thread(target=self._work, name="gateways file", daemon=True).start()
            except RuntimeError as error:  # the system has no room for another thread
                self._tell(error)
            else:
                self._writes = True

    def _work(self) -> None:
        while True:
            with self._lock:
                text, self._wanted = self._wanted, None
                if text is None:
                    self._writes = False
                    return
            try:
                self._write(text)
            except OSError as error:
                self._tell(error)

    def _write(self, text: str) -> None:
        """Write the file completely or not at all.

        Raises:
            OSError: If the file cannot be written.
        """
        if self._path.exists() and not self._path.is_file():
            raise OSError("it is no file")
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        write(self._path, text, mode=0o600)

    def _tell(self, error: Exception) -> None:
        if not self._told:
            self._told = True
            log.warning("ROBOT_GATEWAYS_FILE: %s cannot be written (%s); everything else works", self._path, error)
