"""What ``docs/sessions.md`` says of the session manager, for the tests that hold it to that."""

import re
from pathlib import Path

DOC = Path(__file__).parents[2] / "docs" / "sessions.md"


def transitions() -> set[tuple[str, str]]:
    """The ways from one state to another, as the table of states has them."""
    rows = re.findall(r"^\| (\w+) \|.*\|([^|]*→[^|]*)\|$", DOC.read_text(), re.MULTILINE)
    states = {state for state, _ in rows}
    found = set()
    for state, ways in rows:
        for way in ways.split(";"):
            found |= {(state, word) for word in re.findall(r"\w+", way.partition("→")[2]) if word in states}
    return found
