"""``docs/sessions.md`` and the code agree on every timer of the session, and its value."""

import re
from importlib import import_module
from pathlib import Path

import pytest
import sessions_doc

from gemini_gateway.session import timing

TEXT = sessions_doc.DOC.read_text(encoding="utf-8")
TIMERS = TEXT.partition("## Timers")[2].partition("\n## ")[0]
ENTRIES = [" ".join(entry.split()) for entry in re.findall(r"^- (.*?)(?=^-|^#|^$|\Z)", TIMERS, re.MULTILINE | re.DOTALL)]
ROWS = [re.fullmatch(r"(`[^=]+) = (.+?)\. .+", entry).groups() for entry in ENTRIES]
SECONDS = {"ms": 0.001, "s": 1, "min": 60, "h": 3600, "": 1}


def values(text):
    """``0.5, 1.5 s``, ``2 h`` or ``0.5 to 1 s`` as numbers in seconds, a range as a tuple; ``off`` is None."""
    if text == "off":
        return [None]
    listed, unit = re.fullmatch(r"([\d., to]+?) ?(ms|s|min|h|)", text).groups()
    found = [tuple(float(number) * SECONDS[unit] for number in part.split(" to ")) for part in listed.split(", ")]
    return [it[0] if len(it) == 1 else it for it in found]


def constants(text):
    """Each name before an entry's ``=``, with what it is in the code."""
    where = re.search(r"\(`(.+)\.py`\)", text)
    path = where[1] if where else "session/timing"
    package = "" if path.startswith("reachy_gateway") else "gemini_gateway."
    module = import_module(package + path.replace("/", "."))
    for name in re.findall(r"`([\w.]+)`", text.partition(" (")[0]):
        found = module
        for part in name.split("."):
            found = getattr(found(), part) if isinstance(found, type) else getattr(found, part)
        yield found


def test_the_list_was_found():
    assert len(ROWS) > 40


@pytest.mark.parametrize(("names", "value"), ROWS)
def test_a_timer_is_what_the_code_has(names, value):
    for ours, told in zip(constants(names), values(value), strict=True):
        assert ours == (told if told is None else pytest.approx(told))


def test_every_timer_of_the_session_is_in_the_list():
    named = set(re.findall(r"`(\w+)`", TIMERS))
    source = Path(timing.__file__).read_text(encoding="utf-8")
    assert {name for name in re.findall(r"^([A-Z]\w*_S): Final", source, re.MULTILINE) if name != "BYTES_PER_S"} <= named
