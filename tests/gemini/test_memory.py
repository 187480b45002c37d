"""What a gateway must know to continue a session that another gateway had."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from session_rim import Rim

from gemini_gateway.session.exchanges import CHARS, TURNS
from gemini_gateway.session.memory import FORM, HANDLE_CHARS, Memory
from reachy_gateway.voice import Said, TurnComplete

SAID = (("person", "What is your name?"), ("robot", "Reachy."))
MEMORY = Memory(handle="h1", handle_age_s=5, said=SAID, parked=True, session="s1", model="m1", account="a1")
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=CHARS // TURNS)
MEMORIES = st.builds(
    Memory,
    handle=st.none() | st.text(st.characters(exclude_categories=["Cs"]), max_size=50),
    handle_age_s=st.floats(0, 10**6),
    said=st.lists(st.tuples(st.sampled_from(["person", "robot"]), TEXT), max_size=TURNS).map(tuple),
    parked=st.booleans(),
    session=st.text("abc", max_size=9),
)


@given(MEMORIES)
def test_what_one_gateway_remembers_another_reads(memory):
    assert Memory.read(memory.text()) == memory


def test_of_a_newer_gateway_of_the_same_form_what_nobody_knows_here_is_passed_over():
    told = json.loads(MEMORY.text()) | {"mood": "merry", "said_at": [1, 2]}
    assert Memory.read(json.dumps(told)) == MEMORY


def test_of_an_older_gateway_what_it_leaves_out_is_empty():
    assert Memory.read("{}") == Memory()
    assert Memory.read(json.dumps({"handle": "h1", "said": SAID})) == Memory(handle="h1", said=SAID)


@pytest.mark.parametrize(
    "told",
    [
        {"form": FORM + 1},
        {"form": None},
        {"handle": 5},
        {"handle": "x" * (HANDLE_CHARS + 1)},
        {"handle_age_s": -1},
        {"handle_age_s": "soon"},
        {"handle_age_s": 1e999},
        {"said": [["somebody", "x"]]},
        {"said": [["robot"]]},
        {"said": [["robot", "x", "y"]]},
        {"said": [["robot", 5]]},
        {"said": "robot"},
        {"said": [["robot", "x"]] * (TURNS + 1)},
        {"said": [["robot", "x" * CHARS], ["person", "x"]]},
        {"said": [["robot", "x" * (CHARS + 1)]]},
        {"session": "x" * 101},
        {"model": "x" * 201},
        {"account": "x" * 101},
        {"parked": "perhaps"},
    ],
)
def test_what_nobody_understands_or_is_too_much_is_no_memory(told):
    assert Memory.read(json.dumps(told)) is None


@pytest.mark.parametrize("text", ["", "{", "[]", "17", "null", '"x"', "\ud800", '{"said":[["robot","\\ud800"]]}', "[" * 10_000])
def test_what_is_no_memory_at_all_is_none(text):
    assert Memory.read(text) is None


@given(
    st.text(),
    st.recursive(st.none() | st.booleans() | st.floats() | st.text(), lambda it: st.lists(it) | st.dictionaries(st.text(), it)),
)
def test_whatever_stands_there_is_read_or_is_none(text, value):
    for found in (Memory.read(text), Memory.read(json.dumps(value)), Memory.read(json.dumps({"said": value}))):
        assert found is None or sum(len(words) for _, words in found.said) <= CHARS


def test_it_grows_older():
    older = MEMORY.older(10, model="m1", account="a1")
    assert (older.handle, older.handle_age_s, older.said, older.parked) == ("h1", 15, SAID, True)


@pytest.mark.parametrize(("model", "account"), [("m2", "a1"), ("m1", "a2"), ("m2", "a2"), ("", "")])
def test_another_model_or_account_drops_the_handle_and_keeps_the_words(model, account):
    older = MEMORY.older(10, model=model, account=account)
    assert (older.handle, older.handle_age_s, older.said) == (None, 0.0, SAID)


# --- as a session has it ----------------------------------------------------------------------------------------------


def test_a_session_remembers_its_newest_handle_and_what_was_said():
    rim = Rim().open("h1")
    rim.server(Said("person", "What is "), Said("person", "your name?"), Said("robot", "Reachy."))
    rim.wait(7)
    memory = rim.session.memory(rim.now)
    assert (memory.handle, memory.said, memory.parked) == ("h1", SAID, False)
    assert memory.handle_age_s == pytest.approx(7)


def test_a_session_without_transcripts_remembers_none_and_takes_none():
    rim = Rim(transcripts=False).open("h1")
    rim.server(Said("person", "secret"))
    assert rim.session.memory(rim.now).said == ()
    other = Rim(transcripts=False)
    other.session.inherit(MEMORY, other.now, doubted=False)
    assert other.session.memory(other.now).said == ()


def test_a_session_that_has_no_handle_has_none_of_any_age():
    rim = Rim()
    memory = rim.session.memory(rim.now)
    assert (memory.handle, memory.handle_age_s, memory.said) == (None, 0.0, ())
    assert Memory.read(memory.text()) == memory


def test_what_a_session_remembers_is_bounded_whatever_the_server_sends():
    rim = Rim().open("h" * (HANDLE_CHARS + 1))
    for n in range(3 * TURNS):
        rim.server(Said("robot" if n % 2 else "person", f"{n} " * CHARS), *([TurnComplete()] if n % 2 else []))
    memory = rim.session.memory(rim.now)
    assert Memory.read(memory.text()) == memory
    assert memory.handle is None
    assert len(memory.text()) < 3 * CHARS


def test_a_session_that_was_handed_on_often_is_the_same_as_one_that_was_not():
    rim = Rim().open("h1")
    rim.server(Said("person", "What is your name?"), Said("robot", "Reachy."))
    memory = rim.session.memory(rim.now)
    for _ in range(5):
        other = Rim()
        other.session.inherit(Memory.read(memory.text()), other.now, doubted=False)
        memory = other.session.memory(other.now)
    assert memory == rim.session.memory(rim.now)
