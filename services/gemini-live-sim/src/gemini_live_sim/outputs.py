"""A session's outputs: messages to send, notes to log, and faults that the connection carries out."""

from dataclasses import dataclass
from typing import TypeAlias

from gemini_live_sim.actions import Abort, Close, ResumeIo, Stall
from gemini_live_sim.wire import Json


@dataclass(frozen=True, slots=True)
class AudioOut:
    """The content of an audio message."""

    turn: int
    first: bool
    """Whether the message is the first of its turn."""
    pcm: bytes


@dataclass(frozen=True, slots=True)
class Send:
    """A message to send: an object goes out as JSON, text and bytes go out unchanged."""

    message: Json | str | bytes
    audio: AudioOut | None = None


@dataclass(frozen=True, slots=True)
class Note:
    """An event for the log; ``text`` is the log line."""

    name: str
    text: str
    turn: int = 0


Output: TypeAlias = Send | Note | Close | Abort | Stall | ResumeIo
