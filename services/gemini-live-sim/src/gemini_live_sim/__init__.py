"""A wire-compatible stand-in for the Gemini Live API.

``async with serve(SimSettings(mode="echo")) as sim`` runs a server inside a test; ``python -m gemini_live_sim`` runs one on
its own.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

import gemini_live_sim.threads  # noqa: F401 - before numpy

if TYPE_CHECKING:
    from gemini_live_sim.actions import (
        Abort,
        CallTools,
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
        WantedCall,
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
    "CallTools",
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
    "WantedCall",
    "serve",
]


_HOMES = {
    "Behaviour": "behaviour",
    "SimSession": "connection",
    "AnswerRecord": "journal",
    "AudioOut": "outputs",
    "Note": "outputs",
    "GeminiLiveSim": "server",
    "serve": "server",
    "SimSettings": "settings",
    "UsageReport": "usage",
}
"""Exported name -> its module. Names that are not listed are in ``actions``."""


def __getattr__(name: str) -> Any:
    """Import a name at its first use. The health check in this package then imports none of them."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(f"{__name__}.{_HOMES.get(name, 'actions')}"), name)
    return value
