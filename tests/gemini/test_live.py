"""What the SDK's messages, errors and settings become, in our own words. Nothing in this process opens a connection."""

import json
import ssl
import subprocess
import sys
from pathlib import Path
from typing import get_args

import pytest
import websockets.exceptions
from google.genai import errors, types
from hypothesis import given
from hypothesis import strategies as st
from websockets.datastructures import Headers
from websockets.frames import Close
from websockets.http11 import Response

from gemini_gateway.events import GoAway, Reason, Resumable, ToolCall, Unheard, Unknown, Working
from gemini_gateway.models import LEVELS, MODELS
from gemini_gateway.personas import Persona, Vad, impossible
from gemini_gateway.sdk.errors import explained
from gemini_gateway.sdk.pieces import Pieces, clean
from gemini_gateway.sdk.setup import config_of
from gemini_gateway.sdk.shortcut import audio_of
from gemini_gateway.sdk.socket import interrupts
from gemini_gateway.sdk.translate import seconds, tokens_of, translated
from reachy_gateway.provider.usage import Tokens
from reachy_gateway.voice import Audio, Interrupted, ReplyGenerated, Said, SpeechNoticed, TurnComplete

NO_ID = "a tool call without an id, which nobody can answer"


def events(wire: dict) -> list:
    """What a message of the server is to us."""
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


# --- words ------------------------------------------------------------------------------------------------------------


def spoken(*texts: str, end: bool = True) -> str:
    """What is told of an answer whose transcript comes in these pieces, as raw JSON."""
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
NEW_THINKER = "gemini-3.8-live-extended-thinking"
LEVELS_OF = {
    "gemini-3.8-live": set(),
    NEW_THINKER: {"low", "medium", "high"},
    "gemini-3.1-flash-live": {"minimal", "low", "medium", "high"},
    "gemini-2.5-flash-native-audio": set(),
}
"""What the fact sheets say, written down once more."""


@pytest.mark.parametrize("model", MODELS)
def test_a_model_is_sent_what_all_take_and_beside_that_only_what_the_table_says_it_takes(model):
    thinking = {"thinking_config"} if model == NEW_THINKER else set()
    assert set(config(seeded=True, **dict(EVERYTHING) | {"model": model})) == OURS | thinking
    for level in LEVELS:
        persona = EVERYTHING.model_copy(update={"model": model, "thinking_level": level})
        assert {name for name, _ in impossible(persona)} == ({"thinking_level"} if level not in LEVELS_OF[model] else set())


@pytest.mark.parametrize("model", [*MODELS, "models/gemini-3.8-live", "not-listed"])
@pytest.mark.parametrize(("key", "value"), [("proactive_audio", True), ("proactive_audio", False), ("affective_dialog", True)])
def test_what_no_model_takes_on_this_version_of_the_api_is_refused_in_words_and_never_sent(model, key, value):
    persona = EVERYTHING.model_copy(update={"model": model, key: value})
    ((name, why),) = impossible(persona)
    assert name == key
    assert "leave it out" in why
    assert not {"proactivity", "enable_affective_dialog"} & set(config(**dict(persona)))


@pytest.mark.parametrize(("asked", "sent"), [(None, "LOW"), ("low", "LOW"), ("medium", "MEDIUM"), ("high", "HIGH")])
def test_a_model_that_needs_a_thinking_level_gets_one(asked, sent):
    for name in (NEW_THINKER, f"models/{NEW_THINKER}"):
        assert config(model=name, thinking_level=asked)["thinking_config"] == {"thinking_level": sent}
        assert impossible(Persona(model=name, thinking_level=asked)) == []


def test_each_key_of_a_persona_arrives():
    asked = config(
        voice="Puck",
        language="de-DE",
        instruction="Be brief.",
        temperature=0.0,
        model="not-listed",
        thinking_level="low",
        transcripts=False,
    )
    assert asked["speech_config"] == {
        "voice_config": {"prebuilt_voice_config": {"voice_name": "Puck"}},
        "language_code": "de-DE",
    }
    assert asked["system_instruction"] == "Be brief."
    assert asked["temperature"] == 0.0
    assert asked["thinking_config"] == {"thinking_level": "LOW"}
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


@pytest.mark.parametrize("level", LEVELS)
def test_the_sdk_knows_every_thinking_level(level):
    assert config(model=next(iter(MODELS)), thinking_level=level)["thinking_config"] == {"thinking_level": level.upper()}


# --- errors -----------------------------------------------------------------------------------------------------------


def closed(code: int, reason: str) -> Exception:
    """What the SDK raises when the server closes while it receives."""
    return errors.APIError(code, reason)


def handshake(status: int, body: bytes = b"") -> Exception:
    return websockets.exceptions.InvalidStatus(Response(status, "", Headers(), body))


SETUP, LATER = False, True
"""Whether the setup had been answered."""
GOOGLE_SAYS_NO = b'{"error": {"code": 403, "message": "Your project has been denied access.", "status": "PERMISSION_DENIED"}}'
LOST_IN_MID_HANDSHAKE = websockets.exceptions.InvalidMessage("did not receive a valid HTTP response")


@pytest.mark.parametrize(
    ("error", "opened", "kind", "words"),
    [
        (closed(1007, "API key not valid. Please pass a valid API key."), SETUP, "refused", "GEMINI_API_KEY"),
        (closed(1008, "API key expired"), LATER, "refused", "GEMINI_API_KEY"),
        (handshake(401), SETUP, "refused", "GEMINI_API_KEY"),
        (handshake(403), SETUP, "refused", "project"),
        (closed(1008, "Permission denied on resource project"), SETUP, "refused", "project"),
        (closed(1008, "models/nonsense is not found for API version v1beta"), SETUP, "refused", "GEMINI_MODEL"),
        (
            closed(1008, "models/x is not found for API version v1, or is not supported for bidi"),
            SETUP,
            "refused",
            "GEMINI_MODEL",
        ),
        (handshake(404), SETUP, "refused", "GEMINI_MODEL"),
        (closed(1008, "BidiGenerateContent session not found."), SETUP, "refused", "session"),
        (closed(1008, "BidiGenerateContent session expired."), SETUP, "refused", "session"),
        (closed(1007, "Request contains an invalid argument."), SETUP, "refused", "setup"),
        (closed(1007, "Request contains an invalid argument."), LATER, "refused", "sent"),
        (closed(1007, "Voice 'Bob' is none of ours."), SETUP, "refused", "Voice 'Bob'"),
        (closed(1008, "Nein."), SETUP, "refused", "Nein."),
        (closed(1007, ""), SETUP, "refused", "1007"),
        (closed(1008, "The operation was aborted."), SETUP, "declined", "aborted"),
        (closed(1007, "User location is not supported for the API use."), SETUP, "refused", "where this gateway's address is"),
        (handshake(400), SETUP, "refused", "setup"),
        (handshake(403, GOOGLE_SAYS_NO), SETUP, "refused", "denied access"),
        (closed(1011, "You exceeded your current quota, please check your plan"), LATER, "quota", "quota"),
        (closed(1011, "RESOURCE_EXHAUSTED"), SETUP, "quota", "quota"),
        (closed(1011, "Your prepayment credits are depleted. Please go to AI Studio."), SETUP, "quota", "billing"),
        (closed(1008, "Billing is disabled for this project."), SETUP, "quota", "billing"),
        (handshake(429), SETUP, "quota", "rate limit"),
        (closed(1011, "Something that nobody has seen yet."), SETUP, "declined", "nobody has seen"),
        (closed(4000, "come back on Tuesday"), SETUP, "declined", "Tuesday"),
        (closed(1011, "Something that nobody has seen yet."), LATER, "lost", "nobody has seen"),
        (closed(1011, "Internal error encountered."), SETUP, "lost", "1011 Internal error encountered."),
        (closed(1008, "The operation was aborted."), LATER, "lost", "aborted"),
        (closed(1000, ""), LATER, "lost", "1000"),
        (closed(1006, "abnormal closure [internal]"), SETUP, "lost", "1006"),
        (closed(1011, "Deadline expired before operation could complete."), LATER, "lost", "Deadline"),
        (handshake(500), SETUP, "unreachable", "HTTP 500"),
        (handshake(503), SETUP, "unreachable", "HTTP 503"),
        (handshake(302), SETUP, "unreachable", "not Gemini"),
        (handshake(511), SETUP, "unreachable", "HTTP 511"),
        (handshake(407), SETUP, "unreachable", "not Gemini"),
        (ConnectionRefusedError(111, "Connection refused"), SETUP, "unreachable", "Connection refused"),
        (TimeoutError("timed out during opening handshake"), SETUP, "unreachable", "timed out"),
        (ssl.SSLError("handshake failure"), SETUP, "unreachable", "handshake failure"),
        (LOST_IN_MID_HANDSHAKE, SETUP, "unreachable", "valid HTTP"),
        (
            websockets.exceptions.ConnectionClosedError(Close(1011, "Internal error"), None),
            LATER,
            "lost",
            "1011 Internal error",
        ),
        (websockets.exceptions.ConnectionClosedError(None, Close(1011, "keepalive ping timeout")), LATER, "lost", "keepalive"),
        (websockets.exceptions.ConnectionClosedError(None, None), LATER, "lost", "connection lost"),
        (websockets.exceptions.InvalidHandshake("strange"), SETUP, "unreachable", "InvalidHandshake: strange"),
        (OSError("broken pipe"), LATER, "lost", "broken pipe"),
    ],
    ids=str,
)
def test_an_error_says_what_kind_of_trouble_it_is_and_what_to_do(error, opened, kind, words):
    said = explained(error, opened=opened)
    assert said.kind == kind
    assert words in said.words
    assert str(said) == said.words


@pytest.mark.parametrize("status", [400, 401, 403, 404, 407, 429, 502])
def test_what_a_proxy_says_is_neither_the_keys_fault_nor_the_models(status):
    said = explained(websockets.exceptions.InvalidProxyStatus(Response(status, "", Headers())), opened=False)
    assert said.kind == "unreachable"
    assert f"HTTP {status}" in said.words
    assert "proxy" in said.words
    assert "key" not in said.words
    assert "model" not in said.words


@pytest.mark.parametrize(
    "body", [b"", b"<html>Log in to the hotel's Wi-Fi</html>", b'{"error": "no"}', b"[]", b"\xff", b"[" * 9999]
)
def test_a_status_that_is_not_surely_googles_is_doubted(body):
    for status in (400, 401, 403, 404):
        assert not explained(handshake(status, body), opened=False).sure
    assert explained(handshake(403, GOOGLE_SAYS_NO), opened=False).sure


def test_a_refusal_in_words_that_nobody_knows_is_doubted():
    assert not explained(closed(1007, "Request contains an invalid argument."), opened=False).sure
    assert explained(closed(1007, "API key not valid."), opened=False).sure


def test_long_reasons_are_told_in_short_and_on_one_line():
    said = explained(closed(1011, "word\n" * 1000), opened=True)
    assert len(said.words) < 400
    assert "\n" not in said.words
    assert len(explained(OSError("x" * 1000), opened=False).words) <= 400
