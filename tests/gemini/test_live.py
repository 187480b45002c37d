"""What the SDK's messages, errors and settings become, in our own words. Nothing in this process opens a connection."""

import ssl
import subprocess
import sys
from pathlib import Path
from typing import get_args

import pytest
import websockets.exceptions
from google.genai import errors, types
from websockets.datastructures import Headers
from websockets.frames import Close
from websockets.http11 import Response

from gemini_gateway.events import GoAway, Resumable, Tokens, ToolCall, Unknown, Working
from gemini_gateway.live import config_of, explained, interrupts, seconds, tokens_of, translated
from gemini_gateway.personas import MODELS, Persona, Vad, impossible
from reachy_gateway.voice import Audio, Interrupted, ReplyGenerated, Said, SpeechNoticed, TurnComplete

NO_ID = "a tool call without an id, which nobody can answer"


def events(wire: dict) -> list:
    """What a message of the server is to us."""
    return list(translated(types.LiveServerMessage.model_validate(wire)))


def audio(data: str = "AQACAA==", mime: str = "audio/pcm;rate=24000") -> dict:
    return {"inlineData": {"mimeType": mime, "data": data}}


def model_turn(*parts: dict, **content) -> dict:
    return {"serverContent": {"modelTurn": {"role": "model", "parts": list(parts)}, **content}}


# --- messages ---------------------------------------------------------------------------------------------------------


def test_audio_is_every_part_of_it_in_order():
    wire = model_turn(audio("AQA="), {"text": "a thought", "thought": True}, audio("AgA="), audio(mime="audio/pcm;rate=16000"))
    assert events(wire) == [Audio(b"\1\0", 24000), Audio(b"\2\0", 24000), Audio(b"\1\0\2\0", 16000)]


@pytest.mark.parametrize(
    ("mime", "rate_hz"), [("audio/pcm", 24000), ("audio/pcm;rate=8000", 8000), ("audio/pcm; rate=48000", 48000)]
)
def test_the_rate_of_audio_is_its_mime_types(mime, rate_hz):
    assert events(model_turn(audio(mime=mime))) == [Audio(b"\1\0\2\0", rate_hz)]


@pytest.mark.parametrize(
    "part", [audio(data=""), audio(mime="image/png"), {"text": "words"}, {"inlineData": {"data": "AQA="}}, {}]
)
def test_what_is_no_audio_is_none(part):
    assert events(model_turn(part)) == []


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


def test_usage_and_an_interruption_come_first_and_the_end_of_the_turn_last():
    wire = model_turn(
        audio(),
        interrupted=True,
        outputTranscription={"text": "hi"},
        generationComplete=True,
        turnComplete=True,
    )
    wire["usageMetadata"] = {"promptTokenCount": 2, "promptTokensDetails": [{"modality": "AUDIO", "tokenCount": 2}]}
    assert events(wire) == [
        Tokens({"audio": 2}, {}),
        Interrupted(),
        Audio(b"\1\0\2\0", 24000),
        Said("robot", "hi"),
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
    [("IN_PROGRESS", [Working(on=True)]), ("IDLE", [Working(on=False)]), ("INTERACTION_STATUS_UNSPECIFIED", [])],
)
def test_a_thinking_model_says_whether_more_of_its_answer_is_to_come(status, told):
    assert events({"serverContent": {"turnComplete": True, "interactionStatus": status}}) == [TurnComplete(), *told]


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
    assert events({"toolCall": {"functionCalls": calls}}) == [ToolCall((("1", "wave"), ("2", "nod")))]


def test_a_tool_call_without_an_id_cannot_be_answered():
    calls = [{"name": "wave"}, {"id": "2", "name": "nod"}, {"id": "", "name": "bow"}]
    assert events({"toolCall": {"functionCalls": calls}}) == [ToolCall((("2", "nod"),)), Unknown(NO_ID)]
    assert events({"toolCall": {"functionCalls": calls[:1]}}) == [Unknown(NO_ID)]


@pytest.mark.parametrize("wire", [{}, {"setupComplete": {}}, {"toolCallCancellation": {"ids": ["1"]}}])
def test_other_messages_need_no_answer(wire):
    assert events(wire) == []


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
    assert usage(
        promptTokenCount=10, promptTokensDetails=details(TEXT=10), cachedContentTokenCount=4, totalTokenCount=99
    ) == Tokens({"text": 10}, {})


def test_no_counts_are_no_tokens():
    assert usage() == Tokens({}, {})


# --- settings ---------------------------------------------------------------------------------------------------------


def config(handle: str | None = None, *, seeded: bool = False, **persona) -> dict:
    """What is asked of the SDK, but for what is not set."""
    return config_of(Persona(**persona), handle, seeded=seeded).model_dump(mode="json", exclude_none=True)


def test_nothing_is_left_to_compile_when_the_first_robot_talks():
    """In a process of its own: others of these tests compile what they use."""
    script = Path(__file__).with_name("first_conversation.py")
    found = subprocess.run([sys.executable, script], capture_output=True, text=True, check=True, timeout=50)
    assert found.stdout.split() == []


def test_the_default_persona_asks_for_sound_transcripts_resumption_and_compression():
    asked = config()
    assert asked["response_modalities"] == ["AUDIO"]
    assert asked["system_instruction"] == Persona().instruction
    assert asked["speech_config"] == {"voice_config": {"prebuilt_voice_config": {"voice_name": "Kore"}}}
    assert asked["input_audio_transcription"] == asked["output_audio_transcription"] == {}
    assert asked["session_resumption"] == {}
    assert asked["context_window_compression"] == {"sliding_window": {}}
    assert asked["realtime_input_config"] == {"automatic_activity_detection": {}}


@pytest.mark.parametrize("key", ["temperature", "thinking_config", "proactivity", "enable_affective_dialog", "tools"])
def test_what_a_persona_does_not_say_is_left_to_the_model(key):
    assert key not in config()


def test_a_handle_resumes():
    assert config(handle="h")["session_resumption"] == {"handle": "h"}


def test_a_session_that_is_told_what_was_said_before_announces_that():
    assert "history_config" not in config()
    assert config(seeded=True)["history_config"] == {"initial_history_in_client_content": True}


EVERYTHING = Persona(
    voice="Puck",
    language="de-DE",
    temperature=0.5,
    vad=Vad(interrupts=False, start_sensitivity="low", end_sensitivity="low", prefix_padding_ms=20, silence_duration_ms=300),
)
OURS = {
    "response_modalities",
    "system_instruction",
    "temperature",
    "speech_config",
    "input_audio_transcription",
    "output_audio_transcription",
    "realtime_input_config",
    "session_resumption",
    "context_window_compression",
    "history_config",
}
"""What is sent to every model: of none of it do Google's pages say that one of the table does not take it."""
SOME = {"thinking_level": "thinking_config", "proactive_audio": "proactivity", "affective_dialog": "enable_affective_dialog"}
"""What not every model takes: keys of a persona, and what is sent for them."""


@pytest.mark.parametrize("model", MODELS)
def test_a_model_is_sent_what_all_take_and_beside_that_only_what_the_table_says_it_takes(model):
    values = {"thinking_level": "low", "proactive_audio": True, "affective_dialog": True}
    assert set(config(seeded=True, **dict(EVERYTHING) | {"model": model})) == OURS
    for key, sent in SOME.items():
        persona = EVERYTHING.model_copy(update={"model": model, key: values[key]})
        refused = {name for name, _ in impossible(persona)}
        takes = {"gemini-3.1-flash-live-preview": {"thinking_level"}}.get(model, {"proactive_audio"})
        assert refused == {key} - takes
        assert set(config(seeded=True, **dict(persona))) == OURS | {sent}


def test_each_key_of_a_persona_arrives():
    asked = config(
        voice="Puck",
        language="de-DE",
        instruction="Be brief.",
        temperature=0.0,
        thinking_level="low",
        proactive_audio=False,
        affective_dialog=True,
        transcripts=False,
    )
    assert asked["speech_config"] == {
        "voice_config": {"prebuilt_voice_config": {"voice_name": "Puck"}},
        "language_code": "de-DE",
    }
    assert asked["system_instruction"] == "Be brief."
    assert asked["temperature"] == 0.0
    assert asked["thinking_config"] == {"thinking_level": "LOW"}
    assert asked["proactivity"] == {"proactive_audio": False}
    assert asked["enable_affective_dialog"] is True
    assert "input_audio_transcription" not in asked
    assert "output_audio_transcription" not in asked


def test_each_key_of_the_vad_arrives():
    vad = Vad(
        interrupts=False,
        start_sensitivity="low",
        end_sensitivity="high",
        prefix_padding_ms=0,
        silence_duration_ms=300,
        turn_coverage="all_input",
    )
    assert config(vad=vad)["realtime_input_config"] == {
        "automatic_activity_detection": {
            "start_of_speech_sensitivity": "START_SENSITIVITY_LOW",
            "end_of_speech_sensitivity": "END_SENSITIVITY_HIGH",
            "prefix_padding_ms": 0,
            "silence_duration_ms": 300,
        },
        "activity_handling": "NO_INTERRUPTION",
        "turn_coverage": "TURN_INCLUDES_ALL_INPUT",
    }


@pytest.mark.parametrize("coverage", get_args(Vad.model_fields["turn_coverage"].annotation.__args__[0]))
def test_the_sdk_knows_every_turn_coverage(coverage):
    asked = config(vad=Vad(turn_coverage=coverage))["realtime_input_config"]
    assert asked["turn_coverage"] == f"TURN_INCLUDES_{coverage.upper()}"


def test_manual_vad_switches_the_servers_own_off():
    detection = config(vad=Vad(mode="manual"))["realtime_input_config"]["automatic_activity_detection"]
    assert detection == {"disabled": True}


@pytest.mark.parametrize("level", ["minimal", "low", "medium", "high"])
def test_the_sdk_knows_every_thinking_level(level):
    assert config(model=next(iter(MODELS)), thinking_level=level)["thinking_config"] == {"thinking_level": level.upper()}


# --- errors -----------------------------------------------------------------------------------------------------------


def closed(code: int, reason: str) -> Exception:
    """What the SDK raises when the server closes while it receives."""
    return errors.APIError(code, reason)


def handshake(status: int) -> Exception:
    return websockets.exceptions.InvalidStatus(Response(status, "", Headers()))


@pytest.mark.parametrize(
    ("error", "kind", "words"),
    [
        (closed(1007, "API key not valid. Please pass a valid API key."), "refused", "GEMINI_API_KEY"),
        (closed(1008, "API key expired"), "refused", "GEMINI_API_KEY"),
        (handshake(401), "refused", "GEMINI_API_KEY"),
        (handshake(403), "refused", "project"),
        (closed(1008, "Permission denied on resource project"), "refused", "project"),
        (closed(1008, "models/nonsense is not found for API version v1beta"), "refused", "GEMINI_MODEL"),
        (handshake(404), "refused", "GEMINI_MODEL"),
        (closed(1008, "BidiGenerateContent session not found."), "refused", "session"),
        (closed(1008, "BidiGenerateContent session expired."), "refused", "session"),
        (closed(1007, "Request contains an invalid argument."), "refused", "setup"),
        (handshake(400), "refused", "setup"),
        (closed(1011, "You exceeded your current quota, please check your plan"), "quota", "quota"),
        (closed(1011, "RESOURCE_EXHAUSTED"), "quota", "quota"),
        (handshake(429), "quota", "rate limit"),
        (closed(1011, "Internal error encountered."), "lost", "1011 Internal error encountered."),
        (closed(1008, "The operation was aborted."), "lost", "aborted"),
        (closed(1000, ""), "lost", "1000"),
        (closed(1006, "abnormal closure [internal]"), "lost", "1006"),
        (closed(1011, "Deadline expired before operation could complete."), "lost", "Deadline"),
        (handshake(500), "unreachable", "HTTP 500"),
        (handshake(503), "unreachable", "HTTP 503"),
        (ConnectionRefusedError(111, "Connection refused"), "unreachable", "Connection refused"),
        (TimeoutError("timed out during opening handshake"), "unreachable", "timed out"),
        (ssl.SSLError("handshake failure"), "unreachable", "handshake failure"),
        (websockets.exceptions.InvalidMessage("did not receive a valid HTTP response"), "unreachable", "valid HTTP"),
        (websockets.exceptions.ConnectionClosedError(Close(1011, "Internal error"), None), "lost", "1011 Internal error"),
        (websockets.exceptions.ConnectionClosedError(None, Close(1011, "keepalive ping timeout")), "lost", "keepalive"),
        (websockets.exceptions.ConnectionClosedError(None, None), "lost", "connection lost"),
        (websockets.exceptions.InvalidHandshake("strange"), "lost", "InvalidHandshake: strange"),
    ],
    ids=str,
)
def test_an_error_says_what_kind_of_trouble_it_is_and_what_to_do(error, kind, words):
    said = explained(error)
    assert said.kind == kind
    assert words in said.words
    assert str(said) == said.words


def test_long_reasons_are_told_in_short_and_on_one_line():
    said = explained(closed(1011, "word\n" * 1000))
    assert len(said.words) < 400
    assert "\n" not in said.words
    assert len(explained(OSError("x" * 1000)).words) <= 300
