"""One ledger's part in a fleet's books: which rows the store has, which rows to tell it, and what the other gateways spent.

Rows are told in order, in batches. Each batch names the row before its first, and the store takes it only if it has the ledger
up to that row. So no row is counted twice or left out, even if a program is killed. A store that has forgotten is told again.
"""

import json
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import date, timedelta
from typing import Final

from reachy_gateway.fleet.port import Booking
from reachy_gateway.provider.elsewhere import Elsewhere
from reachy_gateway.provider.ledger import Ledger, LedgerError

ROWS_MAX: Final = 500
"""The most rows that are told at a time."""
SKIP: Final = "skip"
"""The name of a note: the rows that must not be told, because they were told under the ledger's former name."""


class SharedBooks:
    """The one implementation of :class:`reachy_gateway.fleet.port.Accounts`.

    Args:
        ledger: This gateway's own ledger.
        elsewhere: What the other gateways spent. It is kept up to date from here.
        today: Returns the date.
    """

    def __init__(self, ledger: Ledger, elsewhere: Elsewhere, today: Callable[[], date]) -> None:
        self._elsewhere = elsewhere
        self._ledger = ledger
        self._today = today
        self._seen = -1
        """How many rows the ledger had written when none of them was left to tell."""
        self._marks: dict[date, int] = {}
        """The last row that the store has, by day."""
        self._told: dict[date, dict[str, int]] = {}
        """What the store has of this ledger, by day and robot."""
        self._skip = _skip(ledger)
        """By day: rows up to this one are in the store under another name."""

    def day(self) -> str:
        """Today, as text."""
        return self._today().isoformat()

    def to_tell(self, *, news_only: bool = False) -> Booking | None:
        """Rows that the store does not know yet. Without any: None if ``news_only``, else the last row that the store knew.

        The latter asks whether the store still has that row. A ledger that cannot be read now tells nothing.
        """
        if news_only and self._ledger.written == self._seen:
            return None
        with suppress(LedgerError):
            written, booking = self._ledger.written, self._to_tell()
            if booking and booking.upto > booking.after:
                return booking
            self._seen = written  # all of these rows are known to the store
            return None if news_only else booking
        return None

    def _to_tell(self) -> Booking | None:
        today, name = self._today(), self._ledger.name
        for day in (today - timedelta(days=1), today):
            text, newest = day.isoformat(), self._ledger.newest(day)
            mark = self._marks.get(day)
            if not newest:
                continue
            if day in self._skip:
                return Booking(text, name, 0, self._skip[day], {})
            if mark is not None and newest > mark:
                upto, sums = self._ledger.after(day, mark, ROWS_MAX)
                return Booking(text, name, mark, upto, sums)
            if mark is None or day == today:
                return Booking(text, name, newest, newest, {})
        return None

    def told(self, booking: Booking, upto: int) -> None:
        """Take the store's answer: it has this ledger up to that row."""
        with suppress(LedgerError):
            self._take(booking, date.fromisoformat(booking.day), upto)

    def _take(self, booking: Booking, day: date, upto: int) -> None:
        if upto == booking.upto and booking.after == self._marks.get(day):
            told = self._told.setdefault(day, {})
            for robot, nano in booking.nano_usd.items():
                told[robot] = told.get(robot, 0) + nano
        elif upto > self._ledger.newest(day):
            # The store has rows that this ledger has lost, as after a restored backup. New rows would be taken for them, so the
            # ledger gets a new name. The store has all rows of the day before, because that day is told first.
            skip = {each: self._ledger.newest(each) for each in (day - timedelta(days=1), day)}
            skip = {each: row for each, row in skip.items() if row}
            self._ledger.rename(**{SKIP: json.dumps({each.isoformat(): row for each, row in skip.items()})})
            self._marks, self._told, self._skip = {}, {}, skip
            return
        else:
            self._told[day] = self._ledger.upto(day, upto)
        self._marks[day] = upto
        if self._skip.pop(day, None):
            self._ledger.set_note(SKIP, json.dumps({each.isoformat(): row for each, row in self._skip.items()}))
        for old in [old for old in self._marks if old < day - timedelta(days=2)]:
            self._marks.pop(old)
            self._told.pop(old, None)

    def spent(self, day: str, nano_usd: Mapping[str, int]) -> None:
        """Take what all gateways spent on a day. It is ignored until this gateway's own share of it is known."""
        when = date.fromisoformat(day)
        with suppress(LedgerError):
            if when in self._told or not self._ledger.newest(when):
                self._elsewhere.learn(when, nano_usd, self._told.get(when, {}))


def _skip(ledger: Ledger) -> dict[date, int]:
    """The note of a gateway that was stopped before it was done; empty if it cannot be read."""
    with suppress(LedgerError, ValueError, TypeError, AttributeError):
        return {date.fromisoformat(day): int(row) for day, row in json.loads(ledger.note(SKIP) or "{}").items()}
    return {}
