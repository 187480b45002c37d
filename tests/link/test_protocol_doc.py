"""``docs/protocol.md`` and the code say the same: every example, every field of every kind, every constant."""

import ast
import re
from pathlib import Path
from pkgutil import resolve_name
from typing import Any, get_args

import pytest

from reachy_gateway.provider.causes import SessionCause
from reachy_link import messages as m
from reachy_link.causes import LinkCause, RobotCause, WireCause

DOC_OF_OPERATIONS = Path(__file__).parents[2] / "docs" / "operations.md"
DOC = (Path(__file__).parents[2] / "docs" / "protocol.md").read_text()
EXAMPLES = re.findall(r"^```json (up|down)\n(.+)\n```$", DOC, re.MULTILINE)
CONSTANTS = re.findall(r"^\| `((?:reachy|robot)_\S+)` \| `(.+?)` \|", DOC, re.MULTILINE)
ADAPTERS = {"up": m.UP, "down": m.DOWN}


@pytest.mark.parametrize(("way", "text"), EXAMPLES)
def test_an_example_is_what_the_code_sends(way, text):
    assert ADAPTERS[way].validate_json(text).model_dump_json(exclude_none=True) == text


@pytest.mark.parametrize(("way", "union"), [("up", m.Up), ("down", m.Down)])
def test_every_kind_has_an_example_with_all_its_fields(way, union):
    examples = {type(message): message for w, text in EXAMPLES if w == way for message in [ADAPTERS[way].validate_json(text)]}
    assert examples.keys() == set(get_args(union))
    for kind, message in examples.items():
        unset = {name for name in kind.model_fields if getattr(message, name) is None}
        assert unset <= {"to_boot", "mic_ms"}, f"{kind.__name__}: the example leaves out {unset}"


@pytest.mark.parametrize("kind", [*get_args(m.Up), *get_args(m.Down)])
def test_every_field_of_a_kind_is_described_in_a_section_of_its_name(kind):
    name = kind.model_fields["kind"].default
    sections = re.findall(rf"^### `{name}`\n(.*?)(?=^##|\Z)", DOC, re.MULTILINE | re.DOTALL)
    of_that_name = [k for k in (*get_args(m.Up), *get_args(m.Down)) if k.model_fields["kind"].default == name]
    section = dict(zip(of_that_name, sections, strict=True))[kind]
    for field in kind.model_fields.keys() - m._Message.model_fields.keys() - m._Down.model_fields.keys() - {"kind"}:
        assert re.search(rf"^\| `{field}[`.]", section, re.MULTILINE), f"{name}: {field}"


def test_the_table_of_constants_was_found():
    assert len(CONSTANTS) > 30


@pytest.mark.parametrize(("name", "value"), CONSTANTS)
def test_a_constant_is_what_the_code_has(name, value):
    assert resolve_name(name) == ast.literal_eval(value)


def words_of(causes: Any) -> set[str]:
    """Those of a Literal, or of a union of them."""
    return {word for part in get_args(causes) for word in ([part] if isinstance(part, str) else words_of(part))}


def test_the_table_of_errors_has_every_cause_and_no_other():
    errors = DOC[DOC.index("## Errors") : DOC.index("## Flows")]
    rows = re.findall(r"^\| (`.+?`) \| (both|gateway|robot) \|", errors, re.MULTILINE)
    at = {end: {word for words, where in rows if where == end for word in re.findall(r"`(\w+)`", words)} for _, end in rows}
    assert at["both"] | {"format"} == words_of(WireCause)
    assert at["both"] | at["gateway"] == words_of(LinkCause)
    assert at["both"] | at["robot"] | {"format"} == words_of(RobotCause)


def test_every_cause_of_a_session_is_in_the_table_of_metrics():
    operations = DOC_OF_OPERATIONS.read_text()
    [row] = re.findall(r"^\| `reachylink_gemini_events_total` .*$", operations, re.MULTILINE)
    [gaps] = re.findall(r"^\| `reachylink_gemini_reconnects_total` .*$", operations, re.MULTILINE)
    assert set(re.findall(r"`(\w+)`", row + gaps)) >= words_of(SessionCause)
