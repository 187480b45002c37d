"""Builds the setup with which a session is opened."""

from collections.abc import Sequence
from typing import Any

from google.genai import types

from gemini_gateway import models
from gemini_gateway.personas import Persona
from reachy_gateway.tools.port import Parameter, Tool, parameters


def config_of(
    persona: Persona, handle: str | None, *, seeded: bool = False, tools: Sequence[Tool[Any]] = ()
) -> types.LiveConnectConfig:
    """A persona as the SDK's setup. Compression and resumption are always on: without them a session ends after 15 min.

    If the session will be told what was said before (``seeded``), the setup must announce it. Otherwise gemini-3.1 closes with
    1007, and other models take the history for an unfinished question.
    """
    vad = persona.vad
    detection = types.AutomaticActivityDetection(
        disabled=True if vad.mode == "manual" else None,
        start_of_speech_sensitivity=vad.start_sensitivity
        and types.StartSensitivity(f"START_SENSITIVITY_{vad.start_sensitivity.upper()}"),
        end_of_speech_sensitivity=vad.end_sensitivity
        and types.EndSensitivity(f"END_SENSITIVITY_{vad.end_sensitivity.upper()}"),
        prefix_padding_ms=vad.prefix_padding_ms,
        silence_duration_ms=vad.silence_duration_ms,
    )
    transcription = types.AudioTranscriptionConfig() if persona.transcripts else None
    thinking = persona.thinking_level or models.of(persona.model).thinking_default
    proactive = persona.proactive_audio if models.takes(persona.model, "proactive_audio") else None
    return types.LiveConnectConfig(
        response_modalities=[types.Modality.AUDIO],
        system_instruction=persona.instruction,
        tools=[types.Tool(function_declarations=[declared(tool, persona.model) for tool in tools])] if tools else None,
        temperature=persona.temperature,
        speech_config=types.SpeechConfig(
            voice_config=types.VoiceConfig(prebuilt_voice_config=types.PrebuiltVoiceConfig(voice_name=persona.voice)),
            language_code=persona.language,
        ),
        thinking_config=thinking and types.ThinkingConfig(thinking_level=types.ThinkingLevel(thinking.upper())),
        proactivity=None if proactive is None else types.ProactivityConfig(proactive_audio=proactive),
        enable_affective_dialog=persona.affective_dialog if models.takes(persona.model, "affective_dialog") else None,
        input_audio_transcription=transcription,
        output_audio_transcription=transcription,
        realtime_input_config=types.RealtimeInputConfig(
            automatic_activity_detection=detection,
            activity_handling=None if vad.interrupts else types.ActivityHandling.NO_INTERRUPTION,
            turn_coverage=vad.turn_coverage and types.TurnCoverage(f"TURN_INCLUDES_{vad.turn_coverage.upper()}"),
        ),
        session_resumption=types.SessionResumptionConfig(handle=handle),
        history_config=types.HistoryConfig(initial_history_in_client_content=True) if seeded else None,
        context_window_compression=types.ContextWindowCompressionConfig(sliding_window=types.SlidingWindow()),
    )


def declared(tool: Tool[Any], model: str) -> types.FunctionDeclaration:
    """A tool's declaration. It has ``parameters``, because extended thinking calls no function that has a JSON Schema."""
    known = models.of(model)
    behavior = models.behavior(model, waits=tool.mode == "wait")
    listed = parameters(tool.arguments)
    return types.FunctionDeclaration(
        name=tool.name,
        description=" ".join(tool.description.split()),
        behavior=None if behavior == known.calls_default else types.Behavior(behavior.upper()),
        parameters=types.Schema(
            type=types.Type.OBJECT,
            properties={parameter.name: _schema(parameter) for parameter in listed},
            required=[parameter.name for parameter in listed if parameter.required] or None,
        )
        if listed
        else None,
    )


def _schema(parameter: Parameter) -> types.Schema:
    return types.Schema(
        type=types.Type(parameter.type.upper()),
        description=parameter.description or None,
        enum=list(parameter.choices) or None,
        minimum=parameter.minimum,
        maximum=parameter.maximum,
    )
