"""A persona as the SDK's configuration."""

import subprocess
import sys
from pathlib import Path
from typing import get_args

import pytest

from gemini_gateway.models import LEVELS, MODELS
from gemini_gateway.personas import Persona, Vad, impossible
from gemini_gateway.sdk.setup import config_of


def audio(data: str = "AQACAA==", mime: str = "audio/pcm;rate=24000") -> dict:
    return {"inlineData": {"mimeType": mime, "data": data}}


def config(handle: str | None = None, *, seeded: bool = False, **persona) -> dict:
    """The SDK's configuration without unset fields."""
    return config_of(Persona(**persona), handle, seeded=seeded).model_dump(mode="json", exclude_none=True)


def test_nothing_is_left_to_compile_when_the_first_robot_talks():
    """In its own process, because other tests here compile what they use."""
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
"""What is sent to every model. Google's pages name no model of the table that refuses any of it."""
NEW_THINKER = "gemini-3.8-live-extended-thinking"
LEVELS_OF = {
    "gemini-3.8-live": set(),
    NEW_THINKER: {"low", "medium", "high"},
    "gemini-3.1-flash-live": {"minimal", "low", "medium", "high"},
    "gemini-2.5-flash-native-audio": set(),
}
"""The values of the fact sheets, written down a second time."""


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
