"""What each model refuses, as observed on the real server."""

import pytest

from gemini_live_sim import Close
from gemini_live_sim.models import MODELS, find_model
from gemini_live_sim.opening import Door

OLDER = "gemini-2.5-flash-native-audio-preview-12-2025"
MIDDLE = "gemini-3.1-flash-live-preview"
NEWER = "gemini-3.8-live"
THINKING = "gemini-3.8-live-extended-thinking"
ANOTHER = "another-model"
EVERY = [OLDER, MIDDLE, NEWER, THINKING]
INVALID = "Request contains an invalid argument."


def level(name: str) -> dict:
    return {"generationConfig": {"thinkingConfig": {"thinking_level": name}}}


def functions(*declared: dict) -> dict:
    return {"tools": [{"functionDeclarations": list(declared)}]}


def refusal(talk, model: str, setup: dict, **fields) -> str | None:
    """The reason why the setup was refused; None if it was accepted. Adds what extended thinking needs."""
    if model == THINKING and "generationConfig" not in setup:
        setup = setup | level("LOW")
    opened = talk({"model": f"models/{model}", **setup}, **fields)
    closes = [output for _, output in opened.out if isinstance(output, Close)]
    assert (opened.times("setupComplete") == []) == bool(closes)
    assert {close.code for close in closes} <= {1007}
    return closes[0].reason if closes else None


@pytest.mark.parametrize("model", EVERY)
def test_proactivity_is_a_name_that_the_beta_does_not_know(talk, model) -> None:
    for version in ("v1beta", "v1"):
        assert 'Unknown name "proactivity"' in refusal(talk, model, {"proactivity": {}}, api_version=version)


@pytest.mark.parametrize(
    ("model", "takes"), [(OLDER, {True, False}), (MIDDLE, set()), (NEWER, {True}), (THINKING, {True}), (ANOTHER, {True, False})]
)
def test_the_alpha_takes_proactivity_as_the_model_has_it(talk, model, takes) -> None:
    for proactive in (True, False):
        setup = {"proactivity": {"proactive_audio": proactive}}
        assert (refusal(talk, model, setup, api_version="v1alpha") is None) == (proactive in takes)


@pytest.mark.parametrize(
    ("model", "takes"),
    [
        (OLDER, {"", "MINIMAL", "LOW", "MEDIUM", "HIGH"}),
        (MIDDLE, {"", "MINIMAL", "LOW", "MEDIUM", "HIGH"}),
        (NEWER, {""}),
        (THINKING, {"LOW", "MEDIUM", "HIGH"}),
        (ANOTHER, {"", "MINIMAL", "LOW", "MEDIUM", "HIGH", "GALAXY"}),
    ],
)
def test_thinking_levels(talk, model, takes) -> None:
    for name in ("", "MINIMAL", "LOW", "MEDIUM", "HIGH"):
        assert (refusal(talk, model, level(name)) is None) == (name in takes), name


def test_extended_thinking_says_that_it_wants_a_level(talk) -> None:
    assert refusal(talk, THINKING, {"generationConfig": {}}) == "Thinking level must be specified."
    assert refusal(talk, NEWER, level("LOW")) == INVALID


@pytest.mark.parametrize(("model", "takes"), [(OLDER, True), (MIDDLE, False), (NEWER, False), (ANOTHER, True)])
@pytest.mark.parametrize("on", [True, False])
def test_affective_dialog(talk, model, takes, on) -> None:
    setup = {"generationConfig": {"enableAffectiveDialog": on}}
    assert refusal(talk, model, setup) == (None if takes else INVALID)


def test_affective_dialog_is_gone_with_extended_thinking_too(talk) -> None:
    asked = level("LOW")["generationConfig"] | {"enableAffectiveDialog": True}
    assert refusal(talk, THINKING, {"generationConfig": asked}) == INVALID


@pytest.mark.parametrize(
    ("model", "blocking"), [(OLDER, True), (MIDDLE, True), (NEWER, True), (THINKING, False), (ANOTHER, True)]
)
def test_blocking_functions(talk, model, blocking) -> None:
    assert refusal(talk, model, functions({"name": "look", "behavior": "BLOCKING"})) == (None if blocking else INVALID)
    assert refusal(talk, model, functions({"name": "look", "behavior": "NON_BLOCKING"}, {"name": "nod"})) is None


@pytest.mark.parametrize("model", EVERY)
@pytest.mark.parametrize(
    "schema",
    [
        {"type": "OBJECT", "additionalProperties": False},
        {"type": "OBJECT", "additional_properties": {"type": "STRING"}},
        {"type": "OBJECT", "properties": {"where": {"type": "OBJECT", "additionalProperties": True}}},
        {"type": "ARRAY", "items": {"anyOf": [{"type": "OBJECT", "additionalProperties": False}]}},
    ],
)
def test_additional_properties(talk, model, schema) -> None:
    told = refusal(talk, model, functions({"name": "nod"}, {"name": "look", "parameters": schema}))
    assert 'Unknown name "additionalProperties"' in told
    assert "function_declarations[1]" in told
    assert refusal(talk, ANOTHER, functions({"name": "look", "parameters": schema})) is None
    assert refusal(talk, model, functions({"name": "look", "parametersJsonSchema": schema})) is None


def test_a_property_may_be_called_what_it_likes(talk) -> None:
    schema = {"type": "OBJECT", "properties": {"additionalProperties": {"type": "STRING"}}}
    assert refusal(talk, NEWER, functions({"name": "look", "parameters": schema})) is None


@pytest.mark.parametrize("name", ["", "1st", "look around", "schön", "a" * 129, None, 3])
@pytest.mark.parametrize("model", EVERY)
def test_illegal_names_of_functions(talk, model, name) -> None:
    assert "name" in refusal(talk, model, functions({"name": name}))
    assert refusal(talk, ANOTHER, functions({"name": name})) is None


@pytest.mark.parametrize("model", EVERY)
def test_two_functions_of_one_name(talk, model) -> None:
    assert "look" in refusal(talk, model, functions({"name": "look"}, {"name": "look"}))
    apart = {"tools": functions({"name": "look"})["tools"] * 2}
    assert "look" in refusal(talk, model, apart)
    assert refusal(talk, model, functions({"name": "look"}, {"name": "_server.look-at:me"})) is None
    assert refusal(talk, ANOTHER, apart) is None


@pytest.mark.parametrize("tool", ["code_execution", "url_context"])
def test_tools_that_an_older_model_does_not_have(talk, tool) -> None:
    assert refusal(talk, OLDER, {"tools": [{tool: {}}]}) == INVALID
    assert refusal(talk, MIDDLE, {"tools": [{tool: {}}]}) is None
    assert refusal(talk, OLDER, {"tools": [{"google_search": {}}]}) is None


@pytest.mark.parametrize("tools", [[3, None], [{"functionDeclarations": {}}], [{"functionDeclarations": [3]}]])
def test_tools_of_no_shape_harm_nobody(talk, tools) -> None:
    assert refusal(talk, NEWER, {"tools": tools}) is None


@pytest.mark.parametrize(
    ("model", "response", "taken"),
    [
        (NEWER, {"scheduling": "SILENT"}, True),
        (OLDER, {"scheduling": "SILENT"}, True),
        (THINKING, {"scheduling": "SILENT"}, False),
        (THINKING, {}, True),
        (NEWER, {"parts": [{"inline_data": {"mime_type": "image/jpeg", "data": ""}}]}, True),
        (NEWER, {"parts": [{"inline_data": {"mime_type": "application/pdf", "data": ""}}]}, False),
        (ANOTHER, {"parts": [{"inline_data": {"mime_type": "application/pdf", "data": ""}}]}, True),
    ],
)
def test_responses_of_functions(talk, model, response, taken) -> None:
    opened = talk({"model": f"models/{model}"} | (level("LOW") if model == THINKING else {}))
    opened.send({"tool_response": {"functionResponses": [{"id": "call-1", "name": "look", "response": {}} | response]}})
    assert len(opened.journal.tool_responses) == taken
    closes = [output for _, output in opened.out if isinstance(output, Close)]
    assert closes == ([] if taken else [Close(code=1007, reason=INVALID)])


@pytest.mark.parametrize("name", MODELS)
def test_a_model_is_found_by_the_beginning_of_its_name(name) -> None:
    assert find_model(name) == find_model(f"models/{name}") == find_model(f"{name}-preview-12-2025") == MODELS[name]


def test_a_model_that_is_not_listed_has_no_rules() -> None:
    assert not find_model("models/gemini-4-live").listed
    assert not find_model("").listed


@pytest.mark.parametrize(("voice", "taken"), [("Kore", True), ("Puck", False), ("", True)])
def test_a_voice_that_is_not_known_is_named(talk, door, voice, taken) -> None:
    strict = Door(door.handles, door.spoken, door.models, door.new_id, voices=frozenset({"Kore"}))
    speech = {"generationConfig": {"speechConfig": {"voice_config": {"prebuilt_voice_config": {"voice_name": voice}}}}}
    opened = type(talk({}))(strict, speech)
    closes = [output for _, output in opened.out if isinstance(output, Close)]
    assert (opened.times("setupComplete") == []) == bool(closes) == (not taken)
    assert all(close.code == 1007 and "Puck" in close.reason for close in closes)
