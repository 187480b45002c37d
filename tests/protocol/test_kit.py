"""The kit in docs/protocol: the files are those that the models make, and other readers conclude what ours do."""

import json
from typing import get_args

import pytest
from jsonschema import Draft202012Validator
from protocol_kit import FULL, KIT, SAMPLES, files

from reachy_link import messages as m
from reachy_link.pcm import Format
from reachy_link.wire import WireError, check_audio, unpack_down, unpack_up

VECTORS = json.loads((KIT / "vectors.json").read_text())["vectors"]
SCHEMAS = {way: Draft202012Validator(json.loads((KIT / f"{way}.schema.json").read_text())) for way in ("up", "down")}
HELLO = Format(rate_hz=16000, channels=2)


@pytest.mark.parametrize("name", ["up.schema.json", "down.schema.json", "vectors.json"])
def test_a_file_is_what_the_models_make_it(name):
    assert (KIT / name).read_text() == files()[name], "make kit"


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["name"])
def test_our_reader_concludes_what_the_vector_says(vector):
    parts = [bytes.fromhex(part) for part in vector["parts"]]
    unpack = unpack_up if vector["way"] == "up" else unpack_down
    if "error" in vector:
        with pytest.raises(WireError) as dropped:
            check_audio(*unpack(parts), HELLO)
        assert dropped.value.cause == vector["error"]
        return
    message, payload = unpack(parts)
    check_audio(message, payload, HELLO)
    assert message.kind == vector["kind"]
    if "samples" in vector:
        assert memoryview(payload).cast("h").tolist()[: len(vector["samples"])] == vector["samples"]


def judged(vector) -> bool | None:
    """Whether the schema takes a vector's header; None for a header that no schema sees."""
    try:
        header = json.loads(bytes.fromhex(vector["parts"][1]))
    except ValueError:
        return None
    return SCHEMAS[vector["way"]].is_valid(header)


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["name"])
def test_the_schema_concludes_the_same_of_the_header(vector):
    # JSON Schema takes 412.0 for an integer, and does not know that a list of addresses may hold others.
    if vector["name"] in ("seq with a fraction", "v with a fraction", "an address that nobody can read among others"):
        assert judged(vector) is vector["name"].endswith("fraction")
    elif vector.get("error") in ("header", "kind", "version"):
        assert judged(vector) in (False, None)
    else:
        assert judged(vector)


def test_every_kind_has_a_vector_with_all_its_fields():
    for way, union in (("up", m.Up), ("down", m.Down)):
        fields = {each["kind"]: each.keys() for each in FULL[way]}
        assert len(fields) == len(get_args(union))
        for kind in get_args(union):
            base = m._Message if way == "up" else m._Down
            missing = kind.model_fields.keys() - base.model_fields.keys() - fields[kind.model_fields["kind"].default]
            assert not missing, f"{kind.__name__}: add {missing} to FULL in tools/protocol_kit.py, then make kit"


def test_audio_in_a_vector_tells_bytes_and_channels_apart():
    assert len(set(SAMPLES[:6])) == 6
    assert any(sample & 0xFF != sample >> 8 & 0xFF for sample in SAMPLES)


@pytest.mark.parametrize("way", ["up", "down"])
def test_what_our_programs_send_fits_the_schema(way):
    for fields in FULL[way]:
        kinds = {kind.model_fields["kind"].default: kind for kind in get_args(m.Up if way == "up" else m.Down)}
        message = kinds[fields["kind"]].model_validate_json(
            json.dumps({"v": 1, "robot": "r", "boot": "0" * 16, "seq": 0, "t_us": 0} | fields)
        )
        SCHEMAS[way].validate(json.loads(message.model_dump_json(exclude_none=True)))
