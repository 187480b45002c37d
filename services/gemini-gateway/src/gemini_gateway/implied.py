"""Derives a session's settings from a persona and its tools. Pure."""

from collections.abc import Sequence
from typing import Any, Final

from gemini_gateway import models
from gemini_gateway.personas import Persona
from gemini_gateway.session.timing import CALL_WAIT_MAX_S, SessionSettings, ToolTerms
from reachy_gateway.tools.port import Tool

TRAILING_S: Final = 1.0
"""The silence sent after the last word when the microphone pauses. By default Gemini's VAD ends a turn after 0.5 to 0.8 s."""
TRAILING_MARGIN_S: Final = 0.3


def session_settings(persona: Persona, tools: Sequence[Tool[Any]] = ()) -> SessionSettings:
    """The settings of a session with this persona and these tools."""
    silence_s = max(TRAILING_S, (persona.vad.silence_duration_ms or 0) / 1000 + TRAILING_MARGIN_S)
    return SessionSettings(
        park_after_s=persona.park_after_s,
        manual_vad=persona.vad.mode == "manual",
        interrupts=persona.vad.interrupts,
        transcripts=persona.transcripts,
        trailing_silence_s=0.0 if models.of(persona.model).stream_end_counts else silence_s,
        silence_is_billed=persona.vad.turn_coverage == "all_input",
        tools={tool.name: _terms(tool, persona.model) for tool in tools},
    )


def _terms(tool: Tool[Any], model: str) -> ToolTerms:
    waits = tool.mode == "wait" or models.behavior(model, waits=False) == "blocking"
    deadline_s = min(tool.deadline_s, CALL_WAIT_MAX_S) if waits else tool.deadline_s
    return ToolTerms(waits=waits, speaks=tool.reply == "speak", deadline_s=deadline_s, may_be_cut=tool.may_be_cut)
