"""Texts, and their halves of characters."""

import json

import pytest
from google.genai import types
from hypothesis import given
from hypothesis import strategies as st

from gemini_gateway.sdk.pieces import Pieces, clean
from gemini_gateway.sdk.translate import translated
from reachy_gateway.voice import Said


def spoken(*texts: str, end: bool = True) -> str:
    """The transcript that is reported of an answer whose raw JSON arrives in these pieces."""
    pieces, told = Pieces(), []
    wires = [{"serverContent": {"outputTranscription": {"text": text}}} for text in texts]
    for wire in [*wires, *([{"serverContent": {"turnComplete": True}}] if end else [])]:
        message = types.LiveServerMessage._from_response(response=json.loads(json.dumps(wire)), kwargs={})
        told += [event.text for event in translated(message, pieces) if isinstance(event, Said)]
    for text in told:
        text.encode()
    return "".join(told)


@pytest.mark.parametrize(
    ("texts", "whole"),
    [
        (["done \ud83d"], "done \ufffd"),
        (["done \ud83d", "\ude00 and well"], "done \U0001f600 and well"),
        (["\ude00 late"], "\ufffd late"),
        (["a\ud83db"], "a\ufffdb"),
        (["\ud83d", "\ud83d", "\ude00"], "\ufffd\U0001f600"),
        (["\ud83d\ude00"], "\U0001f600"),
        (["\ud83d", "x"], "\ufffdx"),
        (["\0 and \U0010ffff"], "\0 and \U0010ffff"),
        ([""], ""),
    ],
)
def test_halves_of_a_character_are_joined_or_replaced(texts, whole):
    assert spoken(*texts) == whole


def test_each_speaker_has_halves_of_their_own():
    pieces = Pieces()
    assert [pieces.join("person", "a\ud83d"), pieces.join("robot", "\ude00b"), pieces.join("person", "\ude00")] == [
        "a",
        "\ufffdb",
        "\U0001f600",
    ]
    assert pieces.rest() == []


@given(text=st.text(alphabet=st.characters(categories=["L", "So", "Cs"]), max_size=40), cut=st.integers(0, 40))
def test_no_text_loses_what_an_encoder_takes_wherever_it_is_cut(text, cut):
    pieces = Pieces()
    joined = pieces.join("robot", text[:cut]) + pieces.join("robot", text[cut:]) + "".join(rest for _, rest in pieces.rest())
    assert joined == clean(text)
