import json
from base64 import b64encode, urlsafe_b64encode

import pytest

from gemini_live_sim import wire
from gemini_live_sim.wire import WireError, camel, decode_base64, parse

PCM = bytes(range(256)) * 5 + b"\xfb\xff\xfe"


def audio(data: str, mime_type: str = "audio/pcm;rate=16000") -> str:
    return json.dumps({"realtime_input": {"audio": {"data": data, "mime_type": mime_type}}})


@pytest.mark.parametrize("encode", [b64encode, urlsafe_b64encode])
@pytest.mark.parametrize("strip", ["", "="])
@pytest.mark.parametrize("n_bytes", [0, 1, 2, 3, 1283])
def test_both_base64_alphabets_with_and_without_padding(encode, strip, n_bytes) -> None:
    text = encode(PCM[-n_bytes:] if n_bytes else b"").decode()
    assert decode_base64(text.rstrip(strip) if strip else text, "x") == PCM[len(PCM) - n_bytes :]


@pytest.mark.parametrize("data", ["a", "ab!d", "ab\nd", "äöü=", "A=BC", 12, None])
def test_broken_base64_is_refused_in_words(data) -> None:
    with pytest.raises(WireError, match="Base64 decoding failed") as error:
        decode_base64(data, "realtime_input.audio.data")
    assert error.value.code == 1007


def test_both_spellings_mixed_in_one_message() -> None:
    mixed = {"realtimeInput": {"audio": {"data": "AAA", "mimeType": "audio/pcm"}, "activity_start": {}}}
    assert parse(json.dumps(mixed)) == [wire.Audio(b"\0\0", 16_000), wire.ActivityStart()]


def test_keys_of_the_user_are_left_alone() -> None:
    answer = {"function_responses": [{"id": "1", "response": {"snake_case": {"a_b": 1}}}]}
    assert camel(answer) == {"functionResponses": [{"id": "1", "response": {"snake_case": {"a_b": 1}}}]}


def test_the_rate_comes_from_the_mime_type() -> None:
    assert parse(audio("AAAA", "audio/pcm;rate=48000")) == [wire.Audio(b"\0\0\0", 48_000)]


def test_text_turns_carry_roles_and_whether_an_answer_is_wanted() -> None:
    turns = [{"role": "user", "parts": [{"text": "a"}, {"text": "b"}]}, {"role": "model", "parts": [{"text": "c"}]}]
    raw = json.dumps({"client_content": {"turns": turns, "turn_complete": True}})
    assert parse(raw) == [wire.Content((("user", "ab"), ("model", "c")), turn_complete=True)]


def test_binary_messages_are_read_too() -> None:
    assert parse(b'{"realtimeInput": {"audioStreamEnd": true}}') == [wire.StreamEnd()]


@pytest.mark.parametrize(
    "raw",
    [
        "",
        "{",
        "[]",
        "3",
        "{}",
        b"\xff\xfe\xfd",
        "[" * 100_000,
        '{"a":' * 5_000 + "1" + "}" * 5_000,
        '{"n": ' + "9" * 10_000 + "}",
        '{"setup": []}',
        '{"nonsense": {}}',
        '{"setup": {}, "realtimeInput": {}}',
        '{"realtimeInput": {"nonsense": 1}}',
        '{"realtimeInput": {"audio": "AAAA"}}',
        '{"realtimeInput": {"audio": {"data": "AAAA"}}}',
        '{"realtimeInput": {"mediaChunks": {}}}',
        '{"realtimeInput": {"text": 1}}',
        '{"clientContent": {"turns": "hello"}}',
        '{"clientContent": {"turns": [{"parts": [{"text": 3}]}]}}',
        '{"toolResponse": {"functionResponses": [1]}}',
        audio("AAAA", "audio/mpeg"),
        audio("AAAA", "audio/pcm;rate=1000"),
    ],
)
def test_what_cannot_be_understood_is_a_1007_in_words(raw) -> None:
    with pytest.raises(WireError) as error:
        parse(raw)
    assert error.value.code == 1007
    assert len(error.value.reason) > 20
