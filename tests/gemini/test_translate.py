"""How the SDK's messages are translated."""

import json

import pytest
from google.genai import types

from gemini_gateway.events import (
    FunctionCall,
    GoAway,
    Reason,
    Resumable,
    ToolCall,
    ToolCancelled,
    Unheard,
    Unknown,
    Working,
)
from gemini_gateway.sdk.pieces import Pieces
from gemini_gateway.sdk.shortcut import audio_of
from gemini_gateway.sdk.socket import interrupts
from gemini_gateway.sdk.translate import seconds, tokens_of, translated
from reachy_gateway.provider.usage import Tokens
from reachy_gateway.voice import Audio, Interrupted, ReplyGenerated, Said, SpeechNoticed, TurnComplete

NO_ID = "tool calls that cannot be answered: they have no id, too long an id, or are too many"


def events(wire: dict) -> list:
    """The events that a server's message becomes."""
    return list(translated(types.LiveServerMessage.model_validate(wire), Pieces()))


def audio(data: str = "AQACAA==", mime: str = "audio/pcm;rate=24000") -> dict:
    return {"inlineData": {"mimeType": mime, "data": data}}


def model_turn(*parts: dict, **content) -> dict:
    return {"serverContent": {"modelTurn": {"role": "model", "parts": list(parts)}, **content}}


# --- messages ---------------------------------------------------------------------------------------------------------


def test_audio_is_every_part_of_it_in_order():
    wire = model_turn(audio("AQA="), {"text": "a thought", "thought": True}, audio("AgA="), audio(mime="audio/pcm;rate=16000"))
    assert events(wire) == [Audio(b"\1\0", 24000), Unheard(), Audio(b"\2\0", 24000), Audio(b"\1\0\2\0", 16000)]


@pytest.mark.parametrize(
    ("mime", "rate_hz"),
    [
        ("audio/pcm", 24000),
        ("audio/pcm;rate=8000", 8000),
        ("audio/pcm; rate=48000", 48000),
        ("audio/L16;codec=pcm;rate=24000", 24000),
        ("AUDIO/PCM;RATE=16000", 16000),
        (' Audio/l16 ; Rate = "22050" ; channels=1', 22050),
        ("audio/raw", 24000),
    ],
)
def test_the_rate_of_audio_is_its_mime_types(mime, rate_hz):
    wire = model_turn(audio(mime=mime))
    assert events(wire) == audio_of(json.dumps(wire).encode()) == [Audio(b"\1\0\2\0", rate_hz)]


@pytest.mark.parametrize(
    "mime",
    [
        "audio/pcmu;rate=8000",
        "audio/PCMA",
        "audio/mpeg",
        "audio/L24;rate=24000",
        "audio/pcm;rate=24000;channels=2",
        "audio/pcm;bits=8",
        "audio/pcm;rate=fast",
        f"audio/pcm;rate={'9' * 5000}",
        "audio/\ud83d",
        "image/png",
        "",
        None,
    ],
)
def test_what_cannot_be_played_is_told(mime):
    wire = model_turn(audio(mime=mime))
    (told,) = events(wire)
    assert isinstance(told, Unknown)
    told.detail.encode()
    assert "cannot be played" in told.detail
    assert len(told.detail) < 150
    assert audio_of(json.dumps(wire).encode()) is None


@pytest.mark.parametrize("part", [audio(data=""), {}])
def test_what_holds_nothing_is_none(part):
    assert events(model_turn(part)) == []


# --- tokens -----------------------------------------------------------------------------------------------------------


def usage(**counts) -> Tokens:
    return tokens_of(types.UsageMetadata.model_validate(counts))


def details(**counts) -> list[dict]:
    return [{"modality": modality, "tokenCount": n} for modality, n in counts.items()]


def test_tokens_are_counted_by_modality():
    tokens = usage(
        promptTokenCount=352,
        promptTokensDetails=details(AUDIO=312, TEXT=30, IMAGE=4, VIDEO=6),
        responseTokenCount=32,
        responseTokensDetails=details(AUDIO=25, TEXT=7),
    )
    assert tokens == Tokens({"audio": 312, "text": 30, "image": 10}, {"audio": 25, "text": 7})


def test_what_the_details_leave_out_counts_as_audio_the_dearest():
    assert usage(promptTokenCount=100, responseTokenCount=50) == Tokens({"audio": 100}, {"audio": 50})
    assert usage(promptTokenCount=100, promptTokensDetails=details(TEXT=40)) == Tokens({"text": 40, "audio": 60}, {})


def test_details_that_are_more_than_the_sum_count_as_they_are():
    assert usage(promptTokenCount=10, promptTokensDetails=details(AUDIO=40)) == Tokens({"audio": 40}, {})


def test_a_modality_that_nobody_knows_counts_as_audio():
    with pytest.warns(UserWarning, match="SMELL"):
        assert usage(promptTokenCount=5, promptTokensDetails=details(SMELL=5)) == Tokens({"audio": 5}, {})
    assert usage(promptTokenCount=5, promptTokensDetails=[{"tokenCount": 5}]) == Tokens({"audio": 5}, {})


def test_thoughts_are_text_that_is_replied_and_tools_results_text_that_is_asked():
    tokens = usage(
        promptTokenCount=10,
        promptTokensDetails=details(TEXT=10),
        toolUsePromptTokenCount=3,
        responseTokenCount=5,
        responseTokensDetails=details(AUDIO=5),
        thoughtsTokenCount=8,
    )
    assert tokens == Tokens({"text": 13}, {"audio": 5, "text": 8})


def test_what_is_cached_is_part_of_the_prompt_and_not_counted_twice():
    assert usage(promptTokenCount=10, promptTokensDetails=details(TEXT=10), cachedContentTokenCount=4) == Tokens(
        {"text": 10}, {}
    )


def test_what_the_total_has_beyond_the_counts_is_told():
    assert usage(promptTokenCount=10, responseTokenCount=5, totalTokenCount=99) == Tokens({"audio": 10}, {"audio": 5}, 84)
    assert usage(totalTokenCount=575) == Tokens({}, {}, 575)
    assert usage(promptTokenCount=10, totalTokenCount=9) == Tokens({"audio": 10}, {}), "as it is, and no less"


def test_a_count_below_nothing_is_none():
    negative = usage(
        promptTokenCount=-5,
        promptTokensDetails=details(AUDIO=-7, TEXT=3),
        responseTokenCount=-1,
        thoughtsTokenCount=-2,
        toolUsePromptTokenCount=-3,
        totalTokenCount=-99,
    )
    assert negative == Tokens({"text": 3}, {})


def test_no_counts_are_no_tokens():
    assert usage() == Tokens({}, {})


@pytest.mark.filterwarnings("ignore:A_REASON_OF_2027 is not a valid")
@pytest.mark.parametrize("reason", ["RESPONSE_REJECTED", "GENERATED_AUDIO_SAFETY", "A_REASON_OF_2027"])
def test_why_a_turn_ends_is_told_where_it_is_no_ordinary_end(reason):
    assert events({"serverContent": {"turnComplete": True, "turnCompleteReason": reason}}) == [Reason(reason), TurnComplete()]


def test_an_ordinary_end_needs_no_reason():
    wire = {"serverContent": {"turnComplete": True, "turnCompleteReason": "TURN_COMPLETE_REASON_UNSPECIFIED"}}
    assert events(wire) == [TurnComplete()]


def test_a_turn_that_waits_for_more_of_the_person_is_no_failure():
    wire = {"serverContent": {"turnComplete": True, "turnCompleteReason": "NEED_MORE_INPUT"}}
    assert events(wire) == [Reason("NEED_MORE_INPUT", expected=True), TurnComplete()]


@pytest.mark.parametrize(
    ("content", "event"),
    [
        ({"interrupted": True}, Interrupted()),
        ({"generationComplete": True}, ReplyGenerated()),
        ({"turnComplete": True}, TurnComplete()),
        ({"inputTranscription": {"text": "hello"}}, Said("person", "hello")),
        ({"outputTranscription": {"text": "hi"}}, Said("robot", "hi")),
    ],
)
def test_each_kind_of_content_is_an_event(content, event):
    assert events({"serverContent": content}) == [event]


@pytest.mark.parametrize(
    "content",
    [
        {},
        {"interrupted": False},
        {"turnComplete": False},
        {"inputTranscription": {"text": ""}},
        {"outputTranscription": {"finished": True}},
    ],
)
def test_content_that_says_nothing_is_no_event(content):
    assert events({"serverContent": content}) == []


def test_an_interruption_comes_first_and_usage_behind_what_it_counts_and_the_end_of_the_turn_last():
    wire = model_turn(
        audio(),
        interrupted=True,
        outputTranscription={"text": "hi"},
        generationComplete=True,
        turnComplete=True,
    )
    wire["usageMetadata"] = {"promptTokenCount": 2, "promptTokensDetails": [{"modality": "AUDIO", "tokenCount": 2}]}
    assert events(wire) == [
        Interrupted(),
        Audio(b"\1\0\2\0", 24000),
        Said("robot", "hi"),
        Tokens({"audio": 2}, {}),
        ReplyGenerated(),
        TurnComplete(),
    ]


@pytest.mark.parametrize(
    ("raw", "told"),
    [
        (b'{"serverContent":{"interrupted":true}}', True),
        (b'{"serverContent": {"turnComplete": true, "interrupted" : true}, "usageMetadata": {}}', True),
        (b'{"serverContent":{"interrupted":false}}', False),
        (b'{"serverContent":{"outputTranscription":{"text":"interrupted"}}}', False),
        (b'{"toolCall":{"functionCalls":[{"id":"1","name":"f","args":{"interrupted":true}}]}}', False),
        (b'{"serverContent":["interrupted"]}', False),
        (b'["interrupted"]', False),
        (b'{"interrupted"', False),
        (b'\xff"interrupted"', False),
        (b'{"serverContent":{"interrupted":' + b"[" * 200_000, False),
    ],
)
def test_only_a_message_that_says_so_silences_the_robot_before_it_is_read(raw, told):
    assert interrupts(raw) is told
    assert interrupts(memoryview(raw)) is told


def test_the_servers_own_vad_is_heard_when_speech_starts():
    assert events({"voiceActivity": {"voiceActivityType": "ACTIVITY_START"}}) == [SpeechNoticed()]
    assert events({"voiceActivity": {"voiceActivityType": "ACTIVITY_END"}}) == []


def test_a_go_away_says_how_long():
    assert events({"goAway": {"timeLeft": "50s"}}) == [GoAway(50.0)]
    assert events({"goAway": {}}) == [GoAway(0.0)]


@pytest.mark.parametrize(
    ("text", "value"),
    [("50s", 50), ("0.5s", 0.5), ("0s", 0), ("9.999999999s", 9.999999999), (None, 0), ("", 0), ("soon", 0), ("-3s", 0)],
)
def test_durations_are_googles(text, value):
    assert seconds(text) == pytest.approx(value)


@pytest.mark.parametrize(
    ("status", "told"),
    [
        ("IN_PROGRESS", [Reason("", expected=True), TurnComplete(), Working(on=True)]),
        ("IDLE", [TurnComplete(), Working(on=False)]),
        ("INTERACTION_STATUS_UNSPECIFIED", [TurnComplete()]),
    ],
)
def test_a_thinking_model_says_whether_more_of_its_answer_is_to_come(status, told):
    assert events({"serverContent": {"turnComplete": True, "interactionStatus": status}}) == told


@pytest.mark.parametrize("rate_hz", [0, 7999, 48001, 10**12])
def test_audio_at_a_rate_that_is_none_is_not_understood(rate_hz):
    wire = model_turn(audio(mime=f"audio/pcm;rate={rate_hz}"), audio("AgA="))
    assert events(wire) == [Unknown(f"audio at {rate_hz} Hz"), Audio(b"\2\0", 24000)]


def test_a_handle_counts_only_while_the_session_can_be_resumed():
    assert events({"sessionResumptionUpdate": {"newHandle": "h", "resumable": True}}) == [Resumable("h")]
    assert events({"sessionResumptionUpdate": {"newHandle": "h", "resumable": False}}) == [Resumable(None)]
    assert events({"sessionResumptionUpdate": {}}) == [Resumable(None)]


def test_a_tool_call_names_every_function():
    calls = [{"id": "1", "name": "wave", "args": {"hand": "left"}}, {"id": "2", "name": "nod"}]
    assert events({"toolCall": {"functionCalls": calls}}) == [
        ToolCall((FunctionCall("1", "wave", {"hand": "left"}), FunctionCall("2", "nod", {})))
    ]


def test_a_tool_call_without_an_id_cannot_be_answered():
    calls = [{"name": "wave"}, {"id": "2", "name": "nod"}, {"id": "", "name": "bow"}]
    assert events({"toolCall": {"functionCalls": calls}}) == [ToolCall((FunctionCall("2", "nod", {}),)), Unknown(NO_ID)]
    assert events({"toolCall": {"functionCalls": calls[:1]}}) == [Unknown(NO_ID)]


@pytest.mark.parametrize(
    ("args", "told"),
    [
        ({"text": "x" * 4000}, True),
        ({"text": "x" * 5000}, False),
        ({"x" * 5000: 1}, False),
        ({"list": [0] * 5000}, False),
        ({"list": ["x" * 100] * 100}, False),
        ({"deep": [[[[[[[1]]]]]]]}, True),
        ({"deep": [[[[[[[[[1]]]]]]]]]}, False),
        ({"text": "x" * 1_000_000}, False),
    ],
)
def test_arguments_that_nobody_wants_to_read_are_left_out(args, told):
    (call,) = events({"toolCall": {"functionCalls": [{"id": "1", "name": "wave", "args": args}]}})[0].calls
    assert call.args == (args if told else None)


def test_of_a_thousand_calls_each_is_told_and_what_is_beyond_is_counted():
    calls = [{"id": str(n), "name": "wave"} for n in range(1200)]
    called, unknown = events({"toolCall": {"functionCalls": calls}})
    assert len(called.calls) == 1000
    assert unknown == Unknown(NO_ID)
    assert events({"toolCall": {"functionCalls": [{"id": "x" * 501, "name": "wave"}]}}) == [Unknown(NO_ID)]


def test_a_call_comes_before_the_end_of_its_turn():
    both = {"serverContent": {"turnComplete": True}, "toolCall": {"functionCalls": [{"id": "1", "name": "wave"}]}}
    assert events(both) == [ToolCall((FunctionCall("1", "wave", {}),)), TurnComplete()]


def test_calls_that_are_taken_back_are_named():
    assert events({"toolCallCancellation": {"ids": ["1", "2"]}}) == [ToolCancelled(("1", "2"))]


@pytest.mark.parametrize("wire", [{}, {"setupComplete": {}}])
def test_other_messages_need_no_answer(wire):
    assert events(wire) == []
