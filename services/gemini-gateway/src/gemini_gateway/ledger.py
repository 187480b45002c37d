"""Where the books are kept: one SQLite file. What was booked survives a kill; a turn is booked when it ends."""

import json
import sqlite3
from datetime import date
from pathlib import Path

from gemini_gateway.events import Tokens
from gemini_gateway.usage import Account, Money

SCHEMA = """
CREATE TABLE IF NOT EXISTS turns (
    day TEXT NOT NULL, robot TEXT NOT NULL, model TEXT NOT NULL, at TEXT NOT NULL DEFAULT CURRENT_TIMESTAMP,
    prompt TEXT NOT NULL, reply TEXT NOT NULL, cost TEXT NOT NULL, session TEXT NOT NULL DEFAULT ''
);
CREATE INDEX IF NOT EXISTS turns_by_day ON turns (day, robot);
"""


class LedgerError(Exception):
    """The ledger cannot be opened or written; the message says why."""


class Ledger:
    """A row a turn, written as it ends.

    Raises:
        LedgerError: If the file cannot be used.
    """

    def __init__(self, path: Path) -> None:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._db = sqlite3.connect(path, isolation_level=None)
            self._db.execute("PRAGMA journal_mode=WAL")
            self._db.executescript(SCHEMA)
            if "session" not in {row[1] for row in self._db.execute("PRAGMA table_info(turns)")}:
                self._db.execute("ALTER TABLE turns ADD COLUMN session TEXT NOT NULL DEFAULT ''")  # older than that column
        except (OSError, sqlite3.Error) as error:
            raise LedgerError(f"{path} cannot be used: {error}; mend it, or set GATEWAY_LEDGER to another file") from None

    def add(self, day: date, robot: str, session: str, model: str, tokens: Tokens, cost: Money) -> None:
        """Book a turn.

        Raises:
            LedgerError: If it cannot be written.
        """
        counts = (json.dumps(dict(tokens.prompt)), json.dumps(dict(tokens.reply)))
        row = (day.isoformat(), robot, session, model, *counts, str(cost))
        query = "INSERT INTO turns (day, robot, session, model, prompt, reply, cost) VALUES (?, ?, ?, ?, ?, ?, ?)"
        try:
            self._db.execute(query, row)
        except sqlite3.Error as error:
            raise LedgerError(f"the ledger cannot be written: {error}") from None

    def accounts(self, day: date) -> dict[tuple[date, str], Account]:
        """All accounts of a day."""
        out: dict[tuple[date, str], Account] = {}
        query = "SELECT robot, prompt, reply, cost FROM turns WHERE day = ?"
        for robot, prompt, reply, cost in self._db.execute(query, (day.isoformat(),)):
            account = out.setdefault((day, robot), Account())
            account.add(Tokens(json.loads(prompt), json.loads(reply)), Money(cost))
        return out

    def close(self) -> None:
        """Finish."""
        self._db.close()
