"""``docs/protocol.md``, ``docs/link.md`` and the code say the same: each example, each field of each kind, each constant."""

import ast
import json
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
LINK = (Path(__file__).parents[2] / "docs" / "link.md").read_text()
EXAMPLES = [
    (way, json.loads(text)) for way, text in re.findall(r"^```json (up|down)\n(.+?)\n```$", DOC, re.MULTILINE | re.DOTALL)
]
CONSTANTS = re.findall(r"^\| `((?:reachy|robot)_\S+)` \| `(.+?)` \|", LINK, re.MULTILINE)
ADAPTERS = {"up": m.UP, "down": m.DOWN}
SENDER = {"v": 1, "robot": "reachy-1", "boot": "5f0c9d7a41e2b386", "seq": 0, "t_us": 0}
"""The fields of every header, which the examples leave out."""


@pytest.mark.parametrize(("way", "fields"), EXAMPLES)
def test_an_example_is_what_the_code_sends(way, fields):
    sent = json.loads(ADAPTERS[way].validate_json(json.dumps(SENDER | fields)).model_dump_json(exclude_none=True))
    assert {name: value for name, value in sent.items() if name not in SENDER.keys() | {"floor"}} == fields


@pytest.mark.parametrize(("way", "union"), [("up", m.Up), ("down", m.Down)])
def test_every_kind_has_an_example_with_all_its_fields(way, union):
    examples = [fields for w, fields in EXAMPLES if w == way]
    base = m._Message if way == "up" else m._Down
    assert len(examples) == len(get_args(union))
    for kind in get_args(union):
        [example] = [fields for fields in examples if fields["kind"] == kind.model_fields["kind"].default]
        assert example.keys() == kind.model_fields.keys() - base.model_fields.keys(), f"{kind.__name__}: docs/protocol.md"


def test_the_page_describes_the_fields_of_every_header():
    message = DOC[DOC.index("## A message") : DOC.index("## Messages up")]
    for field in m._Down.model_fields.keys() | {"kind"}:
        assert f"| `{field}` |" in message


@pytest.mark.parametrize("kind", [*get_args(m.Up), *get_args(m.Down)])
def test_every_field_of_a_kind_is_described_in_a_section_of_its_name(kind):
    name = kind.model_fields["kind"].default
    sections = re.findall(rf"^### `{name}`\n(.*?)(?=^##|\Z)", DOC, re.MULTILINE | re.DOTALL)
    of_that_name = [k for k in (*get_args(m.Up), *get_args(m.Down)) if k.model_fields["kind"].default == name]
    section = dict(zip(of_that_name, sections, strict=True))[kind]
    for field in kind.model_fields.keys() - m._Message.model_fields.keys() - m._Down.model_fields.keys() - {"kind"}:
        assert re.search(rf"^- `{field}`,", section, re.MULTILINE), f"docs/protocol.md, {name}: write a line for `{field}`"


def test_the_table_of_constants_was_found():
    assert len(CONSTANTS) > 30


@pytest.mark.parametrize(("name", "value"), CONSTANTS)
def test_a_constant_is_what_the_code_has(name, value):
    assert resolve_name(name) == ast.literal_eval(value)


def words_of(causes: Any) -> set[str]:
    """The words of a Literal, or of a union of Literals."""
    return {word for part in get_args(causes) for word in ([part] if isinstance(part, str) else words_of(part))}


def test_the_tables_of_errors_have_every_cause_and_no_other():
    norm = DOC[DOC.index("## Errors") : DOC.index("## Minimal implementations")]
    assert set(re.findall(r"^\| `(\w+)` \|", norm, re.MULTILINE)) | {"format"} == words_of(WireCause)
    errors = LINK[LINK.index("## Counters") : LINK.index("## Constants")]
    rows = re.findall(r"^\| (`.+?`) \| (both|gateway|robot) \|", errors, re.MULTILINE)
    at = {end: {word for words, where in rows if where == end for word in re.findall(r"`(\w+)`", words)} for _, end in rows}
    assert at["both"] | {"format"} == words_of(WireCause)
    assert at["both"] | at["gateway"] == words_of(LinkCause)
    assert at["both"] | at["robot"] | {"format"} == words_of(RobotCause)


def test_every_cause_of_a_session_is_in_the_list_of_metrics():
    operations = DOC_OF_OPERATIONS.read_text(encoding="utf-8")
    flags = re.MULTILINE | re.DOTALL
    [events] = re.findall(r"^- `reachylink_gemini_events_total` .*?(?=^\S)", operations, flags)
    [gaps] = re.findall(r"^- `reachylink_gemini_reconnects_total` .*?(?=^\S)", operations, flags)
    assert set(re.findall(r"`(\w+)`", events + gaps)) >= words_of(SessionCause)
