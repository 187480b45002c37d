"""Stores the books: one SQLite file. A turn is booked when it ends, and its row survives a kill."""

import json
import logging
import os
import secrets
import sqlite3
import stat
from collections import deque
from collections.abc import Iterable, Mapping
from contextlib import ExitStack, closing, suppress
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
"""How long a write may wait for another process that holds the file. All audio waits during this time."""
UNWRITTEN_MAX: Final = 1000


class LedgerError(Exception):
    """The ledger cannot be opened or written. The message says why."""


class Ledger:
    """The ledger: one row for each turn, written when the turn ends.

    Raises:
        LedgerError: If the file cannot be used.
    """

    def __init__(self, path: Path) -> None:
        self._unwritten: deque[tuple[str, ...]] = deque(maxlen=UNWRITTEN_MAX)
        self.written = 0
        """Rows written since the start."""
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            _make(path)
            with ExitStack() as unusable:
                self._db = unusable.enter_context(closing(sqlite3.connect(path, isolation_level=None, timeout=LOCK_S)))
                self._set_up()
                _tighten(path)
                unusable.pop_all()
        except (OSError, sqlite3.Error) as error:
            raise LedgerError(f"{path} cannot be used: {error}; repair it, or set GATEWAY_LEDGER to another file") from None

    def _set_up(self) -> None:
        self._db.execute("PRAGMA journal_mode=WAL")
        self._db.execute("PRAGMA synchronous=NORMAL")  # FULL waits for the disk at each turn, and so would all audio
        self._db.executescript(SCHEMA)
        if "session" not in {row[1] for row in self._db.execute("PRAGMA table_info(turns)")}:
            self._db.execute("ALTER TABLE turns ADD COLUMN session TEXT NOT NULL DEFAULT ''")  # an older file lacks it
        self.name = self.note("name")
        """The name that tells this ledger from others."""
        if not self.name:
            self.rename()

    def add(self, day: date, robot: str, session: str, model: str, tokens: Tokens, cost: Money) -> None:
        """Book a turn.

        Raises:
            LedgerError: If it cannot be written now. The newest 1000 such turns are written with the next one that can be.
        """
        counts = (json.dumps(dict(tokens.prompt)), json.dumps(dict(tokens.reply)))
        self._unwritten.append((day.isoformat(), robot, session, model, *counts, str(cost)))
        self._write()

    # --- for a fleet --------------------------------------------------------------------------------------------------

    def rename(self, **notes: str) -> None:
        """Go on under a new name. The name and these notes are written together, or neither is.

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
        """Up to ``most`` rows of a day after this row: the last row, and what robots spent in them, in nano-dollars."""
        query = "SELECT robot, cost, rowid FROM turns WHERE day = ? AND rowid > ? ORDER BY rowid LIMIT ?"
        rows = self._ask(query, day.isoformat(), row, most)
        return (rows[-1][2] if rows else row), _sums(rows)

    def upto(self, day: date, row: int) -> dict[str, int]:
        """What robots spent on a day, up to this row, in nano-dollars."""
        return _sums(self._ask("SELECT robot, cost FROM turns WHERE day = ? AND rowid <= ?", day.isoformat(), row))

    def note(self, name: str) -> str:
        """The note under a name; empty if there is none."""
        found = self._ask("SELECT text FROM notes WHERE name = ?", name)
        return found[0][0] if found else ""

    def set_note(self, name: str, text: str) -> None:
        """Store a note for the next start.

        Raises:
            LedgerError: If it cannot be written now.
        """
        self.set_notes({name: text})

    def set_notes(self, notes: Mapping[str, str]) -> None:
        """Store all of these notes, or none.

        Raises:
            LedgerError: If they cannot be written now.
        """
        rows = ", ".join(["(?, ?)"] * len(notes))
        values = [text for note in notes.items() for text in note]
        try:
            self._db.execute(f"INSERT OR REPLACE INTO notes VALUES {rows}", values)  # noqa: S608 - rows is only question marks
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
        """All accounts of a day by robot, including unwritten turns; None if they cannot be read now."""
        rows = [(row[1], *row[4:]) for row in self._unwritten if row[0] == day.isoformat()]
        query = "SELECT robot, prompt, reply, cost FROM turns WHERE day = ?"
        try:
            rows += self._db.execute(query, (day.isoformat(),)).fetchall()
        except sqlite3.Error:
            log.exception("the ledger cannot be read: what was spent on %s counts towards no budget until it can be", day)
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
        """Close the file. Turns that still cannot be written are lost."""
        with suppress(LedgerError):
            self._write()
        if self._unwritten:
            log.error("the ledger cannot be written: the last %d turns are lost", len(self._unwritten))
        self._db.close()


def _sums(rows: Iterable[tuple[Any, ...]]) -> dict[str, int]:
    """Sums of costs by robot, in nano-dollars. A cost that cannot be read counts as nothing, as it does in the accounts."""
    sums: dict[str, int] = {}
    for robot, cost, *_ in rows:
        with suppress(ArithmeticError, ValueError, TypeError):
            sums[robot] = sums.get(robot, 0) + nano_usd(Money(cost))
    return sums


def _make(path: Path) -> None:
    """Make a new ledger that only the gateway's user may read. SQLite gives its companion files the same mode."""
    with suppress(FileExistsError):
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))


def _tighten(path: Path) -> None:
    """Remove access that an older gateway gave to others.

    It uses file names, because opening and closing a database file would drop this process's locks on it. A file system
    without modes, or a file of another owner, does not stop the start.
    """
    for file in (path, *(path.with_name(path.name + companion) for companion in ("-wal", "-shm"))):
        try:
            if stat.S_IMODE(file.stat().st_mode) & 0o077:
                file.chmod(0o600)
        except FileNotFoundError:
            pass
        except OSError as error:
            log.warning("others can read %s, and that cannot be changed: %s", file, error)
