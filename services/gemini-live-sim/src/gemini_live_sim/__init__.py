"""A wire-compatible stand-in for the Gemini Live API.

``async with serve(SimSettings(mode="echo")) as sim`` runs one inside a test; ``python -m gemini_live_sim`` on its own.
"""

from gemini_live_sim.actions import (
    Abort,
    CancelTools,
    Close,
    GoAway,
    Interrupt,
    ResumeIo,
    Say,
    SendBig,
    SendError,
    SendRaw,
    Silent,
    Stall,
    Step,
    ToolCall,
)
from gemini_live_sim.behaviour import Behaviour
from gemini_live_sim.connection import SimSession
from gemini_live_sim.journal import AnswerRecord
from gemini_live_sim.outputs import AudioOut, Note
from gemini_live_sim.server import GeminiLiveSim, serve
from gemini_live_sim.settings import SimSettings
from gemini_live_sim.usage import UsageReport

__all__ = [
    "Abort",
    "AnswerRecord",
    "AudioOut",
    "Behaviour",
    "CancelTools",
    "Close",
    "GeminiLiveSim",
    "GoAway",
    "Interrupt",
    "Note",
    "ResumeIo",
    "Say",
    "SendBig",
    "SendError",
    "SendRaw",
    "Silent",
    "SimSession",
    "SimSettings",
    "Stall",
    "Step",
    "ToolCall",
    "UsageReport",
    "serve",
]
