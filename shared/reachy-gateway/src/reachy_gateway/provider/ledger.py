"""Where the books are kept: one SQLite file. What was booked survives a kill; a turn is booked when it ends."""

import json
import logging
import os
import secrets
import sqlite3
import stat
from collections import deque
from collections.abc import Iterable, Mapping
from contextlib import suppress
from datetime import date
from pathlib import Path
from typing import Any, Final

from reachy_gateway.provider.money import Money, nano_usd
from reachy_gateway.provider.usage import Account, Tokens

log = logging.getLogger(__name__)

SCHEMA = """
CREATE TABLE IF NOT EXISTS turns (
    day TEXT NOT NULL, robot TEXT NOT NULL, model TEXT NOT NULL, at TEXT NOT NULL DEFAULT CURRENT_TIMESTAMP,
    prompt TEXT NOT NULL, reply TEXT NOT NULL, cost TEXT NOT NULL, session TEXT NOT NULL DEFAULT ''
);
CREATE INDEX IF NOT EXISTS turns_by_day ON turns (day, robot);
CREATE INDEX IF NOT EXISTS turns_in_order ON turns (day);
CREATE TABLE IF NOT EXISTS notes (name TEXT PRIMARY KEY, text TEXT NOT NULL);
"""


LOCK_S: Final = 0.05
"""How long a write may wait for another process that holds the file: everybody's audio waits with it."""
UNWRITTEN_MAX: Final = 1000


class LedgerError(Exception):
    """The ledger cannot be opened or written; the message says why."""


class Ledger:
    """A row a turn, written as it ends.

    Raises:
        LedgerError: If the file cannot be used.
    """

    def __init__(self, path: Path) -> None:
        self._unwritten: deque[tuple[str, ...]] = deque(maxlen=UNWRITTEN_MAX)
        self.written = 0
        """Rows since the start."""
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            _make(path)
            self._db = sqlite3.connect(path, isolation_level=None, timeout=LOCK_S)
            self._db.execute("PRAGMA journal_mode=WAL")
            self._db.execute("PRAGMA synchronous=NORMAL")  # FULL waits for the disk at each turn, and all audio with it
            self._db.executescript(SCHEMA)
            if "session" not in {row[1] for row in self._db.execute("PRAGMA table_info(turns)")}:
                self._db.execute("ALTER TABLE turns ADD COLUMN session TEXT NOT NULL DEFAULT ''")  # older than that column
            self.name = self.note("name")
            """What tells this ledger from others."""
            if not self.name:
                self.rename()
            _tighten(path)
        except (OSError, sqlite3.Error) as error:
            raise LedgerError(f"{path} cannot be used: {error}; mend it, or set GATEWAY_LEDGER to another file") from None

    def add(self, day: date, robot: str, session: str, model: str, tokens: Tokens, cost: Money) -> None:
        """Book a turn.

        Raises:
            LedgerError: If it cannot be written now; it will be with the next one that can, the newest 1000 of them.
        """
        counts = (json.dumps(dict(tokens.prompt)), json.dumps(dict(tokens.reply)))
        self._unwritten.append((day.isoformat(), robot, session, model, *counts, str(cost)))
        self._write()

    # --- for a fleet --------------------------------------------------------------------------------------------------

    def rename(self, **notes: str) -> None:
        """Go on as another ledger, with notes that are written together with the name, or not at all.

        Raises:
            LedgerError: If that cannot be written now.
        """
        name = secrets.token_hex(8)
        self.set_notes(notes | {"name": name})
        self.name = name

    def newest(self, day: date) -> int:
        """The last row of a day; 0 if there is none."""
        [row] = self._ask("SELECT COALESCE(MAX(rowid), 0) FROM turns WHERE day = ?", day.isoformat())
        return int(row[0])

    def after(self, day: date, row: int, most: int) -> tuple[int, dict[str, int]]:
        """What is behind a row of a day: the last row of so many at most, and what robots spent in them, in nano-dollars."""
        query = "SELECT robot, cost, rowid FROM turns WHERE day = ? AND rowid > ? ORDER BY rowid LIMIT ?"
        rows = self._ask(query, day.isoformat(), row, most)
        return (rows[-1][2] if rows else row), _sums(rows)

    def upto(self, day: date, row: int) -> dict[str, int]:
        """What robots spent on a day, up to a row, in nano-dollars."""
        return _sums(self._ask("SELECT robot, cost FROM turns WHERE day = ? AND rowid <= ?", day.isoformat(), row))

    def note(self, name: str) -> str:
        """What was noted under a name, for the next start; empty if nothing was."""
        found = self._ask("SELECT text FROM notes WHERE name = ?", name)
        return found[0][0] if found else ""

    def set_note(self, name: str, text: str) -> None:
        """Note something for the next start.

        Raises:
            LedgerError: If it cannot be written now.
        """
        self.set_notes({name: text})

    def set_notes(self, notes: Mapping[str, str]) -> None:
        """Note all of it, or nothing.

        Raises:
            LedgerError: If it cannot be written now.
        """
        rows = ", ".join(["(?, ?)"] * len(notes))
        values = [text for note in notes.items() for text in note]
        try:
            self._db.execute(f"INSERT OR REPLACE INTO notes VALUES {rows}", values)  # noqa: S608 - of question marks alone
        except sqlite3.Error as error:
            raise LedgerError(f"the ledger cannot be written: {error}") from None

    def _ask(self, query: str, *values: str | int) -> list[tuple[Any, ...]]:
        try:
            return self._db.execute(query, values).fetchall()
        except sqlite3.Error as error:
            raise LedgerError(f"the ledger cannot be read: {error}") from None

    def _write(self) -> None:
        query = "INSERT INTO turns (day, robot, session, model, prompt, reply, cost) VALUES (?, ?, ?, ?, ?, ?, ?)"
        try:
            while self._unwritten:
                self._db.execute(query, self._unwritten[0])
                self._unwritten.popleft()
                self.written += 1
        except sqlite3.Error as error:
            raise LedgerError(f"the ledger cannot be written: {error}") from None

    def accounts(self, day: date) -> dict[str, Account] | None:
        """All accounts of a day by robot, with what still waits to be written; None if they cannot be read now."""
        rows = [(row[1], *row[4:]) for row in self._unwritten if row[0] == day.isoformat()]
        query = "SELECT robot, prompt, reply, cost FROM turns WHERE day = ?"
        try:
            rows += self._db.execute(query, (day.isoformat(),)).fetchall()
        except sqlite3.Error:
            log.exception("the ledger cannot be read: until it can be, what was spent on %s counts towards no budget", day)
            return None
        out: dict[str, Account] = {}
        for robot, prompt, reply, cost in rows:
            try:
                turn = Tokens(json.loads(prompt), json.loads(reply)), Money(cost)
                out.setdefault(robot, Account()).add(*turn)
            except (ValueError, KeyError, TypeError, ArithmeticError):
                log.exception("a turn of %s in the ledger cannot be read: it counts towards no budget", robot)
        return out

    def close(self) -> None:
        """Finish; what still cannot be written is lost."""
        with suppress(LedgerError):
            self._write()
        if self._unwritten:
            log.error("the ledger cannot be written: the last %d turns are lost", len(self._unwritten))
        self._db.close()


def _sums(rows: Iterable[tuple[Any, ...]]) -> dict[str, int]:
    """Costs by robot, in nano-dollars; what cannot be read costs nothing, as it does in the accounts."""
    sums: dict[str, int] = {}
    for robot, cost, *_ in rows:
        with suppress(ArithmeticError, ValueError, TypeError):
            sums[robot] = sums.get(robot, 0) + nano_usd(Money(cost))
    return sums


def _make(path: Path) -> None:
    """Make a new ledger that nobody but the gateway's user may read; SQLite gives its companions the same mode."""
    with suppress(FileExistsError):
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))


def _tighten(path: Path) -> None:
    """Take away what an older gateway let others read.

    By name, as to open and close a database's file takes away the locks that this process has on it. A file system without
    modes, or a file of another owner, is no reason not to start.
    """
    for file in (path, *(path.with_name(path.name + companion) for companion in ("-wal", "-shm"))):
        try:
            if stat.S_IMODE(file.stat().st_mode) & 0o077:
                file.chmod(0o600)
        except FileNotFoundError:
            pass
        except OSError as error:
            log.warning("others can read %s, and that cannot be changed: %s", file, error)
