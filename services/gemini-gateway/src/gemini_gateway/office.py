"""Answers the admin port's requests about Gemini's voices: money, personas, and what personas permit."""

import asyncio
import logging
import os
import stat
import sys
import tomllib
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any, Final

from gemini_gateway import personas
from gemini_gateway.configuration import Configuration
from gemini_gateway.loosening import loosened
from gemini_gateway.personas import Personas
from gemini_gateway.robots_table import TableError, digest, table_of, with_table
from gemini_gateway.voices import Voices
from reachy_gateway.admin.office import OfficeError, Permits, Spending, Table
from reachy_link.keys import write
from reachy_link.text import TextError

log = logging.getLogger(__name__)

KEPT_BACK: Final = ("budget_usd_per_day", "transcripts", "transcripts_to_file", "transcripts_to_console", "recordings")
"""The keys of a persona that concern money or privacy. They are changed only in the file itself."""


def paste(path: Path | None) -> str:
    """What to do with a table that the gateway may not write itself, into the robots file at ``path``."""
    own = "make your own from config/robots.example.toml, name it in GATEWAY_ROBOTS_FILE, and restart the gateway"
    if path is None:
        return f"this gateway has no robots file: {own}"
    if Path(sys.prefix) in path.parents:
        return f"{path} comes with the program and cannot be changed: {own}"
    return f"this gateway may not write {path}: paste the table into that file, and it is read within a second"


class GeminiOffice:
    """One gateway's office. The one implementation of :class:`reachy_gateway.admin.office.Office` that has personas.

    Args:
        tools: The names of all tools.
        model: The model of robots for which the robots file names none.
    """

    def __init__(self, voices: Voices, configuration: Configuration, tools: Collection[str], model: str | None) -> None:
        self._voices = voices
        self._configuration = configuration
        self._tools = tools
        self._base: dict[str, Any] = {"model": model} if model else {}
        self._alone = asyncio.Lock()

    def permits(self, robot: str) -> Permits:
        """What the robot's persona permits."""
        persona = self._configuration.personas.of(robot)
        return Permits(transcripts=persona.transcripts_to_console, recordings=persona.recordings)

    def spending(self) -> Spending:
        """Today's costs and budgets."""
        costs = self._voices.spent()
        known = self._configuration.personas
        own = {robot: known.of(robot).budget_usd_per_day for robot in {*known.robots, *self._voices.voices, *costs}}
        budgets = {robot: limit for robot, limit in own.items() if limit is not None}
        return Spending(costs, budgets, self._voices.budget, self._voices.spent_by_all)

    def service(self) -> str:
        """The server's name, and whether the server is known not to answer."""
        name = self._configuration.endpoint.name
        return f"{name} does not answer" if self._voices.down else name

    async def read_persona(self, robot: str) -> Table:
        """The robot's table in the robots file."""
        return await asyncio.to_thread(self._read, robot)

    async def save_persona(self, robot: str, text: str, digest: str, *, only_check: bool) -> str:
        """Replace the robot's table by a text. The robots file is read again at once."""
        async with self._alone:
            words, saved = await asyncio.to_thread(self._save, robot, text, digest, only_check=only_check)
            if saved:
                self._voices.reload()
            return words

    # --- in a thread: parsing TOML with its comments is slow ----------------------------------------------------------

    def _read(self, robot: str) -> Table:
        path = self._configuration.robots_file
        table = _told(lambda: table_of(self._file(), robot))
        may_save = self._may_save
        return Table(table, digest(table), may_save, str(path) if may_save else paste(path))

    def _save(self, robot: str, text: str, was: str, *, only_check: bool) -> tuple[str, bool]:
        path, before = self._configuration.robots_file, self._file()
        if _told(lambda: digest(table_of(before, robot))) != was:
            raise OfficeError("somebody has changed the table since you opened it: read it again")
        text = text.replace("\r\n", "\n")
        after = _told(lambda: with_table(before, robot, text if text.endswith("\n") else text + "\n"))
        name = path.name if path else "the table"
        read, problems = personas.parsed(tomllib.loads(after), name, self._base, self._tools)
        if problems:
            raise OfficeError("\n".join(problems))
        known = self._configuration.personas
        if keys := [*_kept_back(known, read, robot), *loosened(known, read)]:
            raise OfficeError(f"{', '.join(keys)}: change money and privacy in the robots file on the gateway's machine")
        if only_check:
            return "the table is correct", False
        if path is None or not self._may_save:
            raise OfficeError(f"the table is correct, but {paste(path)}")
        try:
            write(path, after, stat.S_IMODE(path.stat().st_mode))
        except OSError as error:
            raise OfficeError(f"{path} cannot be written: {error}") from None
        return f"saved; {robot} uses the new persona from its next quiet moment on", True

    @property
    def _may_save(self) -> bool:
        path = self._configuration.robots_file
        return path is not None and os.access(path, os.W_OK) and os.access(path.parent, os.W_OK)

    def _file(self) -> str:
        path, known = self._configuration.robots_file, self._configuration
        try:
            text = personas.text_of(path)
        except (OSError, TextError) as error:
            raise OfficeError(f"{path} cannot be read: {error}") from None
        return text if text != known.own or known.text == known.own else known.text  # the fleet's text may be newer


def _told(work: Callable[[], str]) -> str:
    try:
        return work()
    except TableError as error:
        raise OfficeError(str(error)) from None


def _kept_back(before: Personas, after: Personas, robot: str) -> list[str]:
    """The keys of ``KEPT_BACK`` that the new table would change."""
    was, now = (known.of(robot).model_dump(include=set(KEPT_BACK)) for known in (before, after))
    return [key for key in KEPT_BACK if was[key] != now[key]]
