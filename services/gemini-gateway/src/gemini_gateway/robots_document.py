"""The robots file of a fleet: a change of the file at one gateway holds for all gateways.

The text in use and its version are noted in the ledger. So a gateway that restarts while the store is away goes on with that
text. This module never writes the file itself.
"""

import json
import logging
import time
from collections.abc import Callable
from typing import Final, NamedTuple

from gemini_gateway.configuration import Configuration
from gemini_gateway.robots_table import digest
from reachy_gateway.fleet.admissions import FIRST
from reachy_gateway.fleet.port import StoreError
from reachy_gateway.fleet.shelf import Shelf, Thing
from reachy_gateway.provider.ledger import Ledger, LedgerError

log = logging.getLogger(__name__)

SHELF: Final = "documents"
NAME: Final = "robots"


class _Counts(NamedTuple):
    """The text in use with its version, and this gateway's own file at that time."""

    version: int
    text: str
    own: str
    """The digest of the gateway's own file."""


class RobotsDocument:
    """Follows both the gateway's file and the fleet's shelf.

    Args:
        on_change: Called when another text is in use.
        now_ms: The time in milliseconds since 1970.
    """

    def __init__(
        self,
        configuration: Configuration,
        ledger: Ledger,
        on_change: Callable[[], None],
        now_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
    ) -> None:
        self._configuration = configuration
        self._ledger = ledger
        self._on_change = on_change
        self._now_ms = now_ms
        self._shelf: Shelf | None = None
        self._refused = ""
        """The fleet's text that cannot be used here."""
        self._seen = FIRST
        """The newest version that was seen in the fleet."""

    def look(self) -> None:
        """Look at once, because this gateway's file may have changed."""
        if self._shelf:
            self._shelf.look()

    async def follow(self, shelf: Shelf) -> None:
        """Keep the file and the shelf alike, until cancelled."""
        self._shelf = shelf
        counts = self._noted()
        while True:
            try:
                counts = self._own_word(counts)
                theirs = (await shelf.newest()).get(NAME)
                self._seen = max(self._seen, theirs.version if theirs else FIRST)
                if theirs and counts.version <= theirs.version and theirs.text != counts.text:
                    counts = self._take(theirs, counts)
                elif (not theirs or theirs.version < counts.version) and (counts.text or counts.version > FIRST):
                    # A gateway that never had a file publishes nothing: an empty text would remove the others' budgets.
                    await shelf.put({NAME: Thing(counts.version, counts.text)})
            except StoreError as error:
                log.debug("the fleet's robots file is not known yet: %s", error)
            await shelf.news()

    def _noted(self) -> _Counts:
        """The text in use when this gateway stopped, if its own file has not changed since then."""
        own = digest(self._configuration.own)
        try:
            noted = self._ledger.note(SHELF)
            counts = _Counts(*json.loads(noted)) if noted else None
        except (LedgerError, ValueError, TypeError):
            counts = None
        if counts is None:
            return _Counts(FIRST, self._configuration.own, own)
        if counts.own == own and (problems := self._use(counts.text)):
            self._refuse(counts.text, problems)
        return counts

    def _own_word(self, counts: _Counts) -> _Counts:
        """If somebody has changed this gateway's file, its text becomes the newest version."""
        own = digest(self._configuration.own)
        if own == counts.own or self._configuration.robots_file is None:  # a gateway without a file removes no budgets
            return counts
        return self._note(_Counts(max(self._now_ms(), 1 + max(counts.version, self._seen)), self._configuration.own, own))

    def _take(self, theirs: Thing, counts: _Counts) -> _Counts:
        if problems := self._use(theirs.text):
            self._refuse(theirs.text, problems)
            return counts
        if theirs.text != self._configuration.own:
            path = self._configuration.robots_file
            log.info("the fleet's robots file is used%s", f", not {path}, which is older" if path else "")
        return self._note(_Counts(theirs.version, theirs.text, counts.own))

    def _refuse(self, text: str, problems: list[str]) -> None:
        if text != self._refused:
            self._refused = text
            for problem in problems:
                log.error("%s (the last good one stays in use)", problem)

    def _use(self, text: str) -> list[str]:
        if text == self._configuration.text:
            return []
        problems = self._configuration.overrule(text, "the robots file of the fleet")
        if not problems:
            self._on_change()
        return problems

    def _note(self, counts: _Counts) -> _Counts:
        try:
            self._ledger.set_note(SHELF, json.dumps(counts))
        except LedgerError as error:
            log.warning("%s: after a restart this gateway would not know which robots file is the newest", error)
        return counts
