"""Reads ``docs/sessions.md``, for tests that compare the session manager with it."""

import re
from pathlib import Path

DOC = Path(__file__).parents[2] / "docs" / "sessions.md"


def transitions() -> set[tuple[str, str]]:
    """The ways from one state to another: the rows of the table of ways."""
    machine = DOC.read_text(encoding="utf-8").partition("## The state machine")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| (\w+) \| [^|]+ \| (\w+) \|$", machine, re.MULTILINE)
    return set(rows) - {("From", "To")}
