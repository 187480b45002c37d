"""``docs/admin.md`` and the models of the admin port agree: every example, every field, every bound."""

import json
import re
from pathlib import Path
from typing import get_args

import pytest

from reachy_gateway.admin import commands, desk, port, recorder, recordings
from reachy_link import admin

DOC = (Path(__file__).parents[2] / "docs" / "admin.md").read_text()
EXAMPLES = re.findall(r"^```json (request|told)\n(.+?)\n```$", DOC, re.MULTILINE | re.DOTALL)
ADAPTERS = {"request": admin.REQUEST, "told": admin.TOLD}
KINDS = {"request": (admin.Watch, admin.Unwatch, *get_args(admin.Command)), "told": get_args(admin.Told)}


@pytest.mark.parametrize(("way", "text"), EXAMPLES)
def test_an_example_is_what_the_code_sends(way, text):
    one_line = json.dumps(json.loads(text), ensure_ascii=False, separators=(",", ":"))  # keeps order, and 0.0 apart from 0
    assert ADAPTERS[way].validate_json(text).model_dump_json(exclude_none=True) == one_line


@pytest.mark.parametrize("way", KINDS)
def test_every_kind_has_an_example(way):
    assert {type(ADAPTERS[way].validate_json(text)) for known, text in EXAMPLES if known == way} == set(KINDS[way])


@pytest.mark.parametrize("kind", [*KINDS["request"], *KINDS["told"]])
def test_every_field_is_described_in_the_section_of_its_kind(kind):
    [section] = re.findall(rf"^### `{kind.model_fields['kind'].default}`\n(.*?)(?=^##|\Z)", DOC, re.MULTILINE | re.DOTALL)
    rows = "".join(re.findall(r"^\| (`.*?) \|", section, re.MULTILINE))
    assert set(re.findall(r"`(\w+)`", rows)) == kind.model_fields.keys() - {"kind", "v"}


@pytest.mark.parametrize(("model", "kind"), [(admin.Whole, "fleet"), (admin.Row, "fleet"), (admin.Stranger, "fleet"),
                                             (admin.Recording, "fleet"), (admin.Turn, "detail"), (admin.Said, "detail"),
                                             (admin.Note, "detail")])  # fmt: skip
def test_every_field_within_is_named_there(model, kind):
    [section] = re.findall(rf"^### `{kind}`\n(.*?)(?=^##|\Z)", DOC, re.MULTILINE | re.DOTALL)
    assert model.model_fields.keys() <= set(re.findall(r"`(\w+)`", section))


def test_the_bounds_are_those_of_the_code():
    flat = " ".join(DOC.replace(",", "").split())
    assert f"a request: {admin.REQUEST_MAX_BYTES} bytes" in flat
    assert f"{port.REQUESTS.per_s} requests a second of one key {port.REQUESTS.burst} at once" in flat
    assert f"{port.FLOW.per_s // 1000} kB a second" in flat
    assert f"| {port.COMMANDS_MAX} commands at a time" in flat
    assert f"a command: {commands.PATIENCE_S:.0f} s" in flat
    assert f"| {port.WATCHERS_MAX} consoles" in flat
    assert f"| {admin.LOOKED_AT_MAX} robots that one console" in flat
    assert f"| {port.QUEUE} messages that wait" in flat
    assert f"| {desk.STRANGERS_KEPT} keys that were refused of which {admin.STRANGERS_MAX}" in flat
    kept = f"{admin.TURNS_KEPT} turns {admin.SAID_KEPT} pieces of what was said {admin.NOTES_KEPT} notes"
    assert kept in flat
    assert f"| {recorder.LIMIT_S / 60:.0f} minutes for a recording | the recording ends |" in flat
    assert f"| {recordings.KEPT_MAX} recordings | the oldest is deleted |" in flat
    assert f"| {recordings.KEEP_S / 3600:.0f} hours | the recording is deleted |" in flat
    assert f"less than {recordings.FREE_BYTES / 1e6:.0f} MB" in flat
    assert f"again every {admin.WATCH_S:.0f} s: after {admin.LEASE_S:.0f} s" in flat
    assert f"At most {admin.ROWS_MAX} robots a message" in flat
    assert f"at most {admin.PIECE_MAX_BYTES} bytes" in flat
    assert f"every {port.NEWS_S} s what has changed" in flat
    assert 1 / port.LEVELS_S == 10
